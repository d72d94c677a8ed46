"""The sections about imputers: their error over training, and where imputed embeddings lie beside the true ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis.words import arm_name, listed, number, percent, whole
from fusionbench.contract.blocks import Block, Legend, Picture, Section, Table, Text
from fusionbench.plan.lines import Line
from fusionbench.report.charts import drawing, panels
from fusionbench.report.epochs.similarity import similarity_blocks
from fusionbench.report.lines import mark_of, ranked_arms
from fusionbench.training.imputation import TRACE

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

MOST_DRAWN = 3 * drawing.TOGETHER
"""Lines with pictures; the tables hold all."""

NO_SPREAD = 1e-4
"""Of imputed embeddings, below which every row is taken to get the same."""

Arm = tuple[str, str]


def _of(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    return frame[Line(*arm).rows_of(frame)]


def _modalities(summary: RunSummary, found: Collection[str]) -> list[str]:
    return [n for n in summary.plan.dataset.modalities if n in found]


# --------------------------------------------------------------------------------------------
# over training

Courses = dict[tuple[Arm, str], pd.Series]
"""By arm and modality: the mean error over models, indexed by epoch."""


def imputation(summary: RunSummary) -> Section | None:
    """The relative error of imputed embeddings over epochs."""
    courses = _courses(summary)
    recorded = {arm for arm, _ in courses}
    arms = [arm for arm in ranked_arms(summary) if arm in recorded]
    if not arms:
        return None
    modalities = _modalities(summary, {modality for _, modality in courses})
    blocks: list[Block] = [Text(_OVER_TRAINING), *_not_over_training(summary, recorded)]
    if len(arms) > MOST_DRAWN:
        blocks.append(Text(f"Drawn are the first {MOST_DRAWN} of {len(arms)} lines; the table holds all."))
    for g, start in enumerate(range(0, min(len(arms), MOST_DRAWN), drawing.TOGETHER)):
        blocks += _error_pictures(courses, arms[start : start + drawing.TOGETHER], modalities, g, mark_of(summary))
    blocks += similarity_blocks(summary, courses, arms[: drawing.TOGETHER], modalities)
    return Section("Imputation over training", [*blocks, _error_table(courses, arms, modalities)])


_OVER_TRAINING = (
    "How well imputers imagine what is hidden, on validation rows after each epoch. Each "
    "modality is hidden in turn from the rows that have it and another one; what the imputer puts in its place is compared "
    "with the true embedding: mean squared distance between the two, divided by the mean squared distance of the true "
    "embeddings from their mean. 0 is perfect; 1, the dotted line, is what filling in the mean embedding of these very rows "
    "would give. A line is the mean over the models (folds and seeds) that are still trained. Encoders and projections move "
    "meanwhile: what is imagined changes with who imagines it."
)


def _courses(summary: RunSummary) -> Courses:
    found = summary.traces[summary.traces["what"] == TRACE]
    grouped = found.groupby(["strategy", "imputer", "which"], sort=False)
    return {((str(s), str(i)), str(which)): mine.groupby("epoch")["value"].mean() for (s, i, which), mine in grouped}


def _not_over_training(summary: RunSummary, recorded: Collection[Arm]) -> Iterator[Text]:
    """Say which imputers have no line."""
    drawn = {imputer for _, imputer in recorded}
    others = {a.imputer_name: a.imputer.registration.target for a in summary.plan.arms if a.imputer_name not in drawn}
    inputs = [name for name, imputer in others.items() if getattr(imputer, "level", "") == "input"]
    rest = [name for name in others if name not in inputs]
    if inputs:
        yield Text(
            f"No line has {listed(inputs)}, which completes inputs before training: its error stands in the table of "
            "original and imputed embeddings."
        )
    if rest:
        yield Text(f"No line has {listed(rest)}: no embedding is filled in that could be compared.")


def _error_pictures(
    courses: Courses, arms: Sequence[Arm], modalities: Sequence[str], g: int, mark: str
) -> Iterator[Block]:
    names = [arm_name(*arm) for arm in arms]
    yield Legend([(drawing.swatch(i, f"swatch-imputation-{g}-{i}"), name) for i, name in enumerate(names)])
    for m, modality in enumerate(modalities):
        mine = {i: courses[arm, modality] for i, arm in enumerate(arms) if (arm, modality) in courses}
        if mine:
            name = f"imputation-{m + 1}-{g + 1}"
            yield panels.imputation_picture(
                mine, names, modality, name, f"Relative error over epochs, {modality} hidden.", mark
            )


def _error_table(courses: Courses, arms: Sequence[Arm], modalities: Sequence[str]) -> Table:
    rows = []
    for arm in arms:
        for modality in modalities:
            if (arm, modality) in courses:
                course = courses[arm, modality]
                shown = (course.iloc[0], course.iloc[-1], course.min())
                rows.append([arm_name(*arm), modality, *map(number, shown), str(course.idxmin())])
    caption = "Relative error of imputed embeddings on validation rows, means over the models still trained."
    columns = ["strategy / imputer", "modality", "first epoch", "last epoch", "lowest", "in epoch"]
    return Table(caption, columns, rows, heads=2, name="imputation", folded=True)


# --------------------------------------------------------------------------------------------
# maps


def embedding_maps(summary: RunSummary) -> Section | None:
    """Where imputed embeddings lie beside the true ones, as densities."""
    numbers = summary.maps.numbers
    arms = [arm for arm in ranked_arms(summary) if len(_of(numbers, arm))]
    if not arms:
        return None
    alike = [arm for arm in arms if (_of(numbers, arm)["spread"] < NO_SPREAD).all()]
    drawn = [arm for arm in arms if arm not in alike]
    blocks: list[Block] = [Text(_MAPS)]
    if alike:
        names = listed([arm_name(*arm) for arm in alike])
        blocks.append(Text(f"Not drawn, because every row gets the same embedding, a single cell: {names}."))
    if len(drawn) > drawing.TOGETHER:
        blocks.append(Text(f"Drawn are the first {drawing.TOGETHER} of {len(drawn)} lines; the table holds all."))
    for a, arm in enumerate(drawn[: drawing.TOGETHER]):
        blocks += _map_pictures(summary, arm, a)
    return Section("Original and imputed embeddings", [*blocks, _map_table(summary, arms)])


_MAPS = (
    "Where imputed embeddings lie beside the true ones (the question of figure 8 of OmniFuse), for one model of each line: "
    "the first fold and seed, test rows that have the modality and another one. The axes are the first two principal "
    "components of the true embeddings, in their standard deviations; the modality is then hidden and imputed, and both are "
    "counted on one grid. Darker: more rows, on one scale in both panels. White: fewer than five rows, or none; no row is "
    "drawn, and none can be read from the page."
)


def _map_pictures(summary: RunSummary, arm: Arm, a: int) -> Iterator[Picture]:
    numbers, cells = (_of(table, arm) for table in summary.maps)
    for m, modality in enumerate(_modalities(summary, set(numbers["modality"]))):
        line = numbers[numbers["modality"] == modality].iloc[0]
        about = f"{arm_name(*arm)}, {modality}"
        alt = (
            f"Densities of true and imputed embeddings, {about}: means {line['distance']:.2f} spreads apart, spread of the "
            f"imputed ones {line['spread']:.2f} of that of the true ones, relative error {line['error']:.2f}."
        )
        mine = cells[cells["modality"] == modality]
        yield panels.map_picture(mine, int(line["rows"]), alt, f"map-{a + 1}-{m + 1}", f"{about}.", mark_of(summary))


def _map_table(summary: RunSummary, arms: Sequence[Arm]) -> Table:
    rows = [
        [
            arm_name(*arm),
            line["modality"],
            whole(line["rows"]),
            number(line["error"]),
            number(line["distance"]),
            number(line["spread"]),
            percent(line["explained"]),
            percent(round(line["hidden_true"] / line["rows"], 2)),
            percent(round(line["hidden_filled"] / line["rows"], 2)),
        ]
        for arm in arms
        for _, line in _of(summary.maps.numbers, arm).iterrows()
    ]
    columns = [
        "strategy / imputer",
        "modality",
        "rows",
        "relative error",
        "distance",
        "spread",
        "in two components",
        "true not shown",
        "imputed not shown",
    ]
    caption = (
        "One model of each line, test rows. Relative error: 0 perfect, 1 no better than the mean embedding. Distance: "
        "between the means of both, in spreads (root mean squared distance from the mean) of the true embeddings. Spread: of "
        "the imputed embeddings, as a share of that of the true ones; 0 where every row gets the same. In two components: "
        "share of the variance of the true embeddings that a map can show. Not shown: rows in cells with fewer than five, or "
        "off the grid."
    )
    return Table(caption, columns, rows, heads=2, name="embedding-maps")
