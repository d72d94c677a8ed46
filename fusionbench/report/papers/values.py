"""Published values in the paper's own layout, and ours in the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.analysis.words import NOTHING, p_value, signed
from fusionbench.contract.blocks import Table
from fusionbench.metrics.statistics import paired_t
from fusionbench.plan.lines import Line
from fusionbench.report.published import beside, source_words, task_words, value_of

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.analysis.published import Value
    from fusionbench.records import RunSummary

LEVEL = 0.05
Key = tuple[str, str, str, str]
"""Table, row, column and measure: which published number it is."""


class Found(NamedTuple):
    """What was found for one published number.

    Args:
        row: Of the table of published values (:data:`fusionbench.records.PUBLISHED`).
        synthetic: Whether the data are made up.
        called: The line, as readers call it.
    """

    row: Any
    synthetic: bool
    called: str


def found_in(summaries: Sequence[RunSummary], paper: str) -> dict[Key, Found]:
    """Return what runs found for the numbers of a paper; of several the last."""
    found: dict[Key, Found] = {}
    for summary in summaries:
        table = summary.published
        for _, row in table[(table["paper"] == paper) & table["ours"].notna()].iterrows():
            called = summary.plan.called(Line(row["strategy"], row["imputer"]))
            key = (row["table"], row["row"], row["column"], row["measure"])
            found[key] = Found(row, summary.plan.dataset.synthetic, called)
    return found


def value_tables(values: Sequence[Value], found: Mapping[Key, Found], name: str) -> Iterator[Table]:
    """Yield a part's published values beside ours; apart and folded where ours are of made-up data.

    Args:
        values: Of the part.
        found: What runs found.
        name: Of the part.
    """
    if not values:
        return
    mine = {_key(value): value for value in values}
    there = {key: found[key] for key in mine if key in found}
    if any(not f.synthetic for f in there.values()):
        yield _layout(
            mine, lambda v: _both(v, there.get(_key(v))), f"{name}: published | ours [interval] | difference."
        )
        yield _agreement(mine, there)
        return
    if there:
        yield _layout(mine, lambda v: _ours(there.get(_key(v))), f"{name}: ours [interval], on made-up data.")
    yield _layout(mine, lambda v: value_of(v.value, v.measure), f"{name}: published on other data.", folded=bool(there))
    yield _sources(mine)


def _key(value: Value) -> Key:
    return value.table, value.row, value.column, value.measure


def _layout(values: Mapping[Key, Value], cell: Any, caption: str, *, folded: bool = False) -> Table:
    """Rows and columns as the paper has them."""
    rows = list(dict.fromkeys(v.row for v in values.values()))
    columns = list(dict.fromkeys(v.column for v in values.values()))
    at = {(v.row, v.column): v for v in values.values()}
    cells = [[cell(at[row, c]) if (row, c) in at else NOTHING for c in columns] for row in rows]
    return Table(
        caption, ["row", *columns], [[row, *line] for row, line in zip(rows, cells, strict=True)], folded=folded
    )


def _ours(found: Found | None) -> str:
    return NOTHING if found is None else beside(found.row)


def _both(value: Value, found: Found | None) -> str:
    published = value_of(value.value, value.measure)
    return published if found is None else f"{published} | {beside(found.row)} | {signed(found.row['difference'])}"


def _agreement(values: Mapping[Key, Value], found: Mapping[Key, Found]) -> Table:
    """Whether task, cohort and protocol agree, number by number."""
    rows = []
    for key, value in values.items():
        if key in found:
            row = found[key].row
            rows.append(
                [
                    value.row,
                    value.column,
                    found[key].called,
                    task_words(row["protocol"]),
                    row["cohort"],
                    row["protocol"] or "nothing known",
                    source_words(value.obtained, value.hand),
                ]
            )
    columns = ["row", "column", "line", "task", "cohort", "differs from the paper's protocol", "published value"]
    return Table("What agrees with the paper, and what does not.", columns, rows, heads=2, words=True, folded=True)


def _sources(values: Mapping[Key, Value]) -> Table:
    rows = [[v.row, v.column, value_of(v.value, v.measure), source_words(v.obtained, v.hand)] for v in values.values()]
    caption = "How each published value was obtained."
    return Table(caption, ["row", "column", "published", "obtained"], rows, heads=2, words=True, folded=True)


# --------------------------------------------------------------------------------------------
# the paper's test, and ours


def compared_by_both(
    strategy: str, values: Sequence[Value], found: Mapping[Key, Found], summary: RunSummary
) -> Table | None:
    """Compare a strategy with the others of its row by the paper's paired t over folds, and by our rule; None: there are none.

    Args:
        strategy: Name of the strategy that the others are compared with.
        values: Of the part.
        found: What the run found for them.
        summary: Of the run.
    """
    rows = []
    for row in dict.fromkeys(v.row for v in values):
        mine = [(v, found[_key(v)]) for v in values if v.row == row and v.measure == "score" and _key(v) in found]
        first = next((f for v, f in mine if v.strategy == strategy), None)
        rows += [] if first is None else [_test(row, first, f, summary) for v, f in mine if v.strategy != strategy]
    if not rows:
        return None
    columns = ["row", "compared", "difference", "p, paired t over folds", "the paper would say"]
    columns += ["p if trained again", "our rule says"]
    caption = (
        "The paper's test beside ours. A paired t over folds takes folds for independent, though they share training rows: it is "
        "too eager. p if trained again counts patients and training, and is corrected for all pairs of this run."
    )
    return Table(caption, columns, rows, heads=2, words=True, folded=True)


def _test(row: str, first: Found, other: Found, summary: RunSummary) -> list[str]:
    lines = [Line(f.row["strategy"], f.row["imputer"]) for f in (first, other)]
    a, b = (_by_fold(summary.tables.cells, line, first.row["metric"]) for line in lines)
    folds = a.index.intersection(b.index)
    eager = paired_t(a[folds].to_numpy(), b[folds].to_numpy()).p_value if len(folds) > 1 else float("nan")
    ours = difference_between(summary.tables.comparisons, *lines)
    again = float("nan") if ours is None else ours.p_adjusted
    said = [_shown(p, first.row["ours"] - other.row["ours"]) for p in (eager, again)]
    difference = signed(first.row["ours"] - other.row["ours"])
    return [row, f"{first.called} and {other.called}", difference, _p(eager), said[0], _p(again), said[1]]


def _by_fold(cells: pd.DataFrame, line: Line, metric: str) -> pd.Series:
    mine = cells[line.rows_of(cells) & (cells["rate"] == 0)]
    return mine.groupby("fold")[metric].mean()


def _p(p: float) -> str:
    return NOTHING if p != p else p_value(p)  # noqa: PLR0124 - NaN is not equal to itself


def _shown(p: float, difference: float) -> str:
    if p != p:  # noqa: PLR0124 - the same
        return NOTHING
    return ("better *" if difference > 0 else "worse *") if p < LEVEL else "not shown"


def count_words(values: Sequence[Value], found: Mapping[Key, Found]) -> str:
    """Say how many of a part's numbers have one of ours beside them."""
    there = sum(_key(v) in found for v in values)
    return f"{there} of {len(values)} published values have ours beside them."
