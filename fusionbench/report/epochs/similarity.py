"""Pictures of similarity and score in one, by epoch (the question of figure 7 of OmniFuse)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.epochs import mean_scores
from fusionbench.contract.blocks import Block, Picture, Text
from fusionbench.plan.lines import Line
from fusionbench.report.charts import drawing
from fusionbench.report.charts.drawing import GREY, GRID, WIDTH, look, plain
from fusionbench.report.epochs.scores import score_name
from fusionbench.report.lines import mark_of

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary

Arm = tuple[str, str]

WORDS = (
    "Similarity of imputed and true embeddings, and the score, epoch by epoch (the question of figure 7 of OmniFuse). Similarity "
    "is 1 less the relative error: 1 is perfect, 0 what the mean embedding of these rows would reach, and less than 0 is worse "
    "than that. A cosine is not taken: the mean embedding, which knows nothing of a row, has a high one. On the left the "
    "similarity of each modality, on the right the validation score, over the same epochs."
)


def similarity_blocks(
    summary: RunSummary, courses: Mapping[tuple[Arm, str], pd.Series], arms: Sequence[Arm], modalities: Sequence[str]
) -> Iterator[Block]:
    """Yield a picture for each line that has both.

    Args:
        summary: Of the run.
        courses: By arm and modality, the relative error by epoch.
        arms: Those to draw.
        modalities: In order.
    """
    pictures: list[Picture] = []
    for arm in arms:
        scores = mean_scores(summary.scores, *arm)
        errors = {m: courses[arm, m] for m in modalities if (arm, m) in courses}
        if len(scores) and errors:
            pictures.append(_picture(summary, arm, errors, scores, f"similarity-{len(pictures) + 1}"))
    if pictures:
        yield Text(WORDS)
        yield from pictures


def _picture(
    summary: RunSummary, arm: Arm, errors: Mapping[str, pd.Series], scores: pd.DataFrame, name: str
) -> Picture:
    called, score, last = summary.plan.called(Line(*arm)), score_name(summary), int(scores.index.max())
    similar = {m: (1 - error)[error.index <= last] for m, error in errors.items()}

    def fill(panels: Any) -> None:
        left, right = panels
        left.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        for place, (modality, course) in enumerate(similar.items()):
            style = {**look(place), "marker": None}
            left.plot(
                course.index, course.clip(lower=-1), linewidth=1.6, label=plain(modality), gid=f"of{place}", **style
            )
        left.set_ylim(top=1)
        left.set_title("similarity of imputed and true", fontsize=9)
        left.legend(frameon=False, fontsize=8)
        right.fill_between(scores.index, scores["low"], scores["high"], color="#000000", alpha=0.1, linewidth=0)
        right.plot(scores.index, scores["score"], color="#000000", linewidth=1.6, gid="score")
        right.set_title(f"{score}, validation rows", fontsize=9)
        for panel in panels:
            panel.set_xlim(left=1, right=max(last, 2))
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.set_xlabel("epoch")
            panel.grid(axis="y", color=GRID, linewidth=0.6)

    said = "; ".join(f"{m} from {c.iloc[0]:.2f} to {c.iloc[-1]:.2f}" for m, c in similar.items())
    alt = (
        f"{called}: similarity of imputed embeddings over {last} epochs, {said}; {score} from {scores['score'].iloc[0]:.3f} to "
        f"{scores['score'].iloc[-1]:.3f}."
    )
    return drawing.draw(name, (WIDTH, 2.6), fill, alt, f"{called}.", mark_of(summary), panels=2)
