"""The sections about modalities: models shown or trained on some of them, what each is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.analysis.published import read_by
from fusionbench.analysis.words import NOTHING, arm_name, interval, metric_name, number
from fusionbench.contract.blocks import Block, Section, Table, Text
from fusionbench.plan.lines import Line, line_of, lines_by_row, lines_of
from fusionbench.report.charts import panels
from fusionbench.report.lines import mark_of, places

if TYPE_CHECKING:
    from fusionbench.records import RunSummary


# --------------------------------------------------------------------------------------------
# subsets of the modalities


def subsets(summary: RunSummary) -> Section | None:
    """Each line with only some of the modalities shown, and lines trained on some."""
    table, trained = _subset_table(summary), _trained_on(summary)
    if table is None and trained is None:
        return None
    words = (
        "The trained models are shown these modalities only, on the same test rows each time; a row that has "
        "none of them is predicted by "
        "the training prevalence. This is what a model trained on everything can do with less; a model trained "
        "on less may do better."
    )
    blocks: list[Block] = [] if trained is None else [Text(_TRAINED_ON), trained]
    if table is not None:
        blocks += [Text(words), table]
    return Section("Modality subsets", blocks)


def _subset_table(summary: RunSummary) -> Table | None:
    found, metric = summary.tables.subsets, summary.plan.dataset.metric
    if len(found) == 0:
        return None
    everything = _complete(summary)
    order = places(summary)
    names = list(summary.plan.dataset.modalities)
    reads = {(arm.title, arm.imputer_name): set(read_by(arm, names)) for arm in summary.plan.arms}
    shown = sorted(dict.fromkeys(found["subset"]), key=lambda s: (s.count("+"), [names.index(n) for n in s.split("+")]))
    rows = []
    for line in sorted(lines_of(found), key=lambda one: order.get(one, len(order))):
        mine = found[line.rows_of(found)].set_index("subset")
        seen = reads.get(line[:2], set(names))
        cells = [
            interval(mine.loc[s], metric) if s in mine.index and seen & {*s.split("+")} else NOTHING for s in shown
        ]
        rows.append([arm_name(*line), *cells, everything.get(line, NOTHING)])
    caption = f"{metric_name(metric)} [interval] when only these modalities are shown, nothing else hidden."
    if any(NOTHING in row for row in rows):
        caption += f" {NOTHING}: the line reads none of them."
    return Table(caption, ["strategy / imputer", *shown, "+".join(names)], rows, name="subsets")


_TRAINED_ON = (
    "Models that are trained on these modalities and see no others, as in table 3 of OmniFuse. All are scored on the same "
    "test rows; a row that has none of a model's modalities is predicted by the training prevalence."
)


def _trained_on(summary: RunSummary) -> Table | None:
    """Strategies that were trained on several sets of modalities: a row for each strategy, a column for each set."""
    names, ours = list(summary.plan.dataset.modalities), _complete(summary)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for arm in summary.plan.arms:
        line = Line(arm.title, arm.imputer_name)
        plain = not arm.regularisers and arm.corruption is None and not {*arm.strategy.options} - {"modality"}
        if plain and line in ours:
            name = arm.strategy.registration.name
            found.setdefault((name, arm.imputer_name), {})["+".join(read_by(arm, names))] = ours[line]
    if not any(len(cells) > 1 for (name, _), cells in found.items() if name != "unimodal"):
        return None
    sets = {s for cells in found.values() for s in cells}
    columns = sorted(sets, key=lambda s: (s.count("+"), [names.index(n) for n in s.split("+")]))
    rows = [[arm_name(*key), *(cells.get(s, NOTHING) for s in columns)] for key, cells in found.items()]
    caption = f"{metric_name(summary.plan.dataset.metric)} [interval] of models trained on these modalities, by strategy plugin."
    return Table(caption, ["strategy / imputer", *columns], rows, name="trained-on")


def _complete(summary: RunSummary) -> dict[Line, str]:
    """By line, the metric on complete data."""
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    at_zero = found[found["rate"] == 0].drop_duplicates([*Line._fields])
    return {line: interval(at_zero[line.rows_of(at_zero)].iloc[0], metric) for line in lines_of(at_zero)}


# --------------------------------------------------------------------------------------------
# modalities


def modalities(summary: RunSummary) -> Section | None:
    """Shapley values and laziness drops."""
    found = summary.tables.modalities
    if len(found) == 0:
        return None
    order = places(summary)
    found = found.assign(place=[order.get(line, -1) for line in lines_by_row(found)])
    found = found[found["place"] >= 0].sort_values("place", kind="stable")
    if len(found) == 0:
        return None
    names = [arm_name(*line) for line in lines_of(found)]
    found = found.assign(place=found["place"].rank(method="dense").astype(int) - 1)
    metric = metric_name(summary.plan.dataset.metric)
    words = (
        f"Shapley value: the share of {metric} above chance that a modality brings, over all orders in which "
        "modalities can be added; "
        "the values of a line add up to what it has over predicting the prevalence. Laziness: a model trained on "
        "a modality alone, minus the joint "
        "model when it is shown only this modality; above 0, joint training left the modality worse than it can be."
    )
    blocks: list[Block] = [
        Text(words),
        panels.modality_picture(
            found,
            "shapley",
            f"Shapley value, {metric}",
            names,
            "shapley",
            "Shapley value of each modality.",
            mark_of(summary),
        ),
    ]
    lazy = found[found["laziness"].notna()]
    if len(lazy):
        kept = list(dict.fromkeys(lazy["place"]))
        lazy = lazy.assign(place=[kept.index(p) for p in lazy["place"]])
        names = [names[p] for p in kept]
        caption = "Laziness of each modality; right of 0: joint training left it worse than it can be."
        blocks.append(
            panels.modality_picture(
                lazy, "laziness", f"laziness, {metric}", names, "laziness", caption, mark_of(summary)
            )
        )
    rows = [
        [arm_name(*line_of(r)), r["modality"], interval(r, "shapley"), number(r["only"]),
         number(r["alone"]), interval(r, "laziness")]
        for _, r in found.iterrows()
    ]  # fmt: skip
    columns = ["strategy / imputer", "modality", "Shapley value", "shown only this", "trained on it alone", "laziness"]
    blocks.append(
        Table("Shapley values and laziness, with intervals.", columns, rows, heads=2, name="modalities", folded=True)
    )
    return Section("What each modality is worth", blocks)
