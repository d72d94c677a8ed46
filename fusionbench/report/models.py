"""The sections about trained models beyond their score: calibration, ranks over repetitions, what they recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.analysis.cells import RAW
from fusionbench.analysis.words import (
    arm_name,
    metric_name,
    number,
)
from fusionbench.contract.blocks import Block, Section, Table, Text
from fusionbench.missingness.conditions import COMPLETE, condition_label
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.charts import drawing, panels
from fusionbench.report.lines import mark_of, places
from fusionbench.training.imputation import TRACE

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


# --------------------------------------------------------------------------------------------
# calibration


def calibration(summary: RunSummary) -> Section | None:
    """Reliability diagrams of the best lines, and calibration error and Brier score of all."""
    found, cells = summary.tables.calibration, summary.tables.cells
    order = places(summary)
    lines = [line for line in order if line in set(lines_of(found))]
    if not lines:
        return None
    words = (
        "Predictions of test rows on complete data, all folds and seeds together, in ten bins; a bin with fewer "
        "than ten different rows is merged "
        "with its neighbour. On the diagonal, what is predicted happens; below it, the model promises too much. "
        "A larger dot stands for more predictions. Probabilities are recalibrated on validation rows before they are scored; the "
        "thin dotted line is of what the model said before."
    )
    blocks: list[Block] = [Text(words)]
    complete = cells[cells["pattern"] == COMPLETE.pattern]
    names = [f"{n}{end}" for n in ("ece", "brier", "log_loss") for end in ("", RAW) if n in complete]
    trained = condition_label(COMPLETE)
    # a cell says what its model was trained at; a line only where lines differ in that
    means = {
        Line(*map(str, key)): mine[names].mean()
        for key, mine in complete.groupby(["strategy", "imputer", "trained_at"])
    }
    errors = {line: means[line._replace(variant=line.variant or trained)] for line in lines}
    drawn = lines[: drawing.TOGETHER]
    blocks += [
        panels.calibration_picture(
            found[line.rows_of(found)],
            arm_name(*line),
            i,
            f"calibration-{i + 1}",
            f"{arm_name(*line)}: calibration error {number(errors[line].get('ece'))}",
            mark_of(summary),
        )
        for i, line in enumerate(drawn)
    ]
    rows = [[arm_name(*line), *map(number, errors[line])] for line in lines]
    caption = "Means over folds and seeds on complete data; lower is better. Raw: before recalibration."
    if len(lines) > len(drawn):
        caption += f" Drawn above: the first {len(drawn)} lines."
    blocks.append(Table(caption, ["strategy / imputer", *map(_title, names)], rows, name="calibration"))
    return Section("Calibration", blocks)


def _title(name: str) -> str:
    return f"{metric_name(name.removesuffix(RAW))}, raw" if name.endswith(RAW) else metric_name(name)


# --------------------------------------------------------------------------------------------
# traces


def traces(summary: RunSummary) -> Section | None:
    """What strategies recorded over the epochs."""
    found = summary.traces[summary.traces["what"] != TRACE]
    if len(found) == 0:
        return None
    recorded = list(dict.fromkeys(zip(found["strategy"], found["imputer"], found["what"], strict=True)))
    which = list(summary.plan.dataset.modalities)
    pictures = []
    for i, (strategy, imputer, what) in enumerate(recorded):
        mine = found[Line(strategy, imputer).rows_of(found) & (found["what"] == what)]
        order = [w for w in which if w in set(mine["which"])] + sorted(set(mine["which"]) - set(which))
        pictures.append(
            panels.trace_picture(
                mine,
                f"{arm_name(strategy, imputer)}: {_what(summary, (strategy, imputer), what)}",
                order[: drawing.TOGETHER],
                f"trace-{i + 1}",
                mark_of(summary),
            )
        )
    return Section("Over the epochs", [Text(_TRACES), *pictures])


_TRACES = (
    "What strategies, imputers and regularisers recorded while they were trained. A line is the mean over the models (folds and "
    "seeds) that are still trained; a step may be a model that has stopped."
)


def _what(summary: RunSummary, arm: tuple[str, str], what: str) -> str:
    """What was recorded, with the name of the regulariser in the place of its number."""
    found = next((a for a in summary.plan.arms if (a.title, a.imputer_name) == arm), None)
    for i, part in enumerate(found.regularisers if found is not None else ()):
        what = what.replace(f"regulariser.{i}.", f"{part.registration.name} ")
    return what
