"""The section with validation scores by epoch (the question of figure 2 of OmniFuse)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.epochs import mean_scores
from fusionbench.analysis.words import metric_name, number
from fusionbench.contract.blocks import Block, Legend, Picture, Section, Table, Text
from fusionbench.plan.lines import Line
from fusionbench.report.charts import drawing
from fusionbench.report.charts.drawing import GRID, WIDTH, look
from fusionbench.report.lines import mark_of, ranked_arms

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary

TITLE = "Validation score over epochs"
MOST_DRAWN = 3 * drawing.TOGETHER
"""Lines with pictures; the table holds all."""
Arm = tuple[str, str]


def scores_by_epoch(summary: RunSummary) -> Section | None:
    """How the score that chooses the epoch went, line by line."""
    courses = {arm: found for arm in ranked_arms(summary) if len(found := mean_scores(summary.scores, *arm))}
    if not courses:
        return None
    drawn = list(courses)[:MOST_DRAWN]
    words = _WORDS.format(score=score_name(summary))
    if len(courses) > len(drawn):
        words += f" Drawn are the first {len(drawn)} of {len(courses)} lines; the table holds all."
    blocks: list[Block] = [Text(words)]
    for g, start in enumerate(range(0, len(drawn), drawing.TOGETHER)):
        blocks += _group(summary, {arm: courses[arm] for arm in drawn[start : start + drawing.TOGETHER]}, g)
    return Section(TITLE, [*blocks, _table(summary, courses)])


_WORDS = (
    "{score} of validation rows after each epoch, means over the models of a line (folds and seeds); the band reaches from the "
    "worst model to the best. A line ends where its first model has stopped. Epochs count over all stages of a method: the first "
    "of MedFuse are those of its encoders alone, and their score is that of the encoders' heads. What is fitted at once has no "
    "epochs."
)


def score_name(summary: RunSummary) -> str:
    """What chooses the epoch, in words; higher is better."""
    if summary.plan.benchmark.training.selection == "loss":
        return "The negative loss"
    return metric_name(summary.plan.dataset.metric)


def _group(summary: RunSummary, courses: Mapping[Arm, pd.DataFrame], g: int) -> Iterator[Block]:
    names = [summary.plan.called(Line(*arm)) for arm in courses]
    yield Legend([(drawing.swatch(i, f"swatch-epochs-{g}-{i}"), name) for i, name in enumerate(names)])
    yield score_picture(list(courses.values()), names, f"epochs-{g + 1}", score_name(summary), mark_of(summary))


def score_picture(courses: Sequence[pd.DataFrame], names: Sequence[str], name: str, score: str, mark: str) -> Picture:
    """Draw scores over epochs, a line with its band for each.

    Args:
        courses: Columns ``score``, ``low``, ``high``, indexed by epoch.
        names: Of the lines.
        name: File name.
        score: Of the axis.
        mark: See :func:`fusionbench.report.charts.drawing.draw`.
    """

    def fill(panel: Any) -> None:
        for place, course in enumerate(courses):
            style, every = look(place), max(1, len(course) // 6)
            panel.fill_between(
                course.index, course["low"], course["high"], color=style["color"], alpha=0.12, linewidth=0
            )
            panel.plot(
                course.index,
                course["score"],
                linewidth=1.5,
                markersize=4.5,
                markevery=every,
                gid=f"arm{place}",
                **style,
            )
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("epoch")
        panel.set_ylabel(f"{score}, validation rows")
        panel.grid(axis="y", color=GRID, linewidth=0.6)

    said = "; ".join(
        f"{n} from {c['score'].iloc[0]:.3f} to {c['score'].iloc[-1]:.3f}" for n, c in zip(names, courses, strict=True)
    )
    alt = f"{score} of validation rows over epochs: {said}. The numbers are in the table below."
    return drawing.draw(name, (WIDTH, 2.9), fill, alt, "Means over the models of each line, with their range.", mark)


def _table(summary: RunSummary, courses: Mapping[Arm, pd.DataFrame]) -> Table:
    rows = []
    for arm, course in courses.items():
        best = course["score"].idxmax()
        shown = (course["score"].iloc[0], course["score"].iloc[-1], course["score"].max())
        rows.append(
            [
                summary.plan.called(Line(*arm)),
                *map(number, shown),
                str(best),
                str(len(course)),
                str(course["models"].iloc[0]),
            ]
        )
    columns = ["strategy", "first epoch", "last drawn", "best", "in epoch", "epochs drawn", "models"]
    caption = (
        f"{score_name(summary)} of validation rows, means over the models of a line while all of them are trained."
    )
    return Table(caption, columns, rows, name="scores-by-epoch", folded=True)
