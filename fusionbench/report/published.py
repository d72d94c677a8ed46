"""The section with published values beside ours: table by table of each paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.words import NOTHING, metric_name, number, signed
from fusionbench.contract.blocks import Block, Section, Table, Text
from fusionbench.plan.lines import Line

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary

TITLE = "Published values"
COLUMNS = [
    "row",
    "column",
    "line",
    "published",
    "ours [interval]",
    "difference",
    "task",
    "cohort",
    "protocol",
    "obtained",
]


def published(summary: RunSummary) -> Section | None:
    """Published values of what this run asks, where it has a line for any of them; folded where the data are made up."""
    found = summary.published
    if not len(found) or found["ours"].isna().all():
        return None
    papers = {p.title: p.citation for p in summary.plan.papers}
    blocks: list[Block] = [Text(_WORDS)]
    if summary.plan.dataset.synthetic:
        blocks.append(Text(ON_OTHER_DATA))
    for paper in dict.fromkeys(found["paper"]):
        mine = found[found["paper"] == paper]
        blocks += _paper(paper, papers.get(paper, ""), mine, summary)
    return Section(TITLE, blocks)


_WORDS = (
    "What papers report for the same question, beside what this run found. Task says whether metric, modalities and the task's "
    "own options are the same, cohort whom the numbers are about, protocol whether this run is known to do anything otherwise. "
    "Where one of the three differs, a difference of numbers says nothing about the methods."
)
ON_OTHER_DATA = (
    "These data are made up, and the published values are of patients: published on other data. They are folded, and nothing "
    "can be concluded from a difference."
)


def _paper(paper: str, citation: str, found: pd.DataFrame, summary: RunSummary) -> Iterator[Block]:
    yield Text(f"{paper}: {citation}." if citation else f"{paper}.")
    if other := found["protocol"].iloc[0]:
        yield Text(f"This run is not of {paper}'s protocol.", other.split("; "))
    for table in dict.fromkeys(found["table"]):
        mine = found[found["table"] == table]
        if not mine["ours"].isna().all():
            yield _table(paper, table, mine, summary)


def _table(paper: str, table: str, found: pd.DataFrame, summary: RunSummary) -> Table:
    on = "published on other data" if summary.plan.dataset.synthetic else "published beside ours"
    metrics = ", ".join(dict.fromkeys(metric_name(m) for m in found["metric"]))
    return Table(
        f"{paper}, {table}: {metrics}, {on}.",
        COLUMNS,
        [_row(row, summary) for _, row in found.iterrows()],
        heads=3,
        name=f"published-{paper.lower()}-{table.replace(' ', '-').replace(',', '')}",
        folded=summary.plan.dataset.synthetic,
    )


def _row(row: Any, summary: RunSummary) -> list[str]:
    there = row["ours"] == row["ours"]
    line = summary.plan.called(Line(row["strategy"], row["imputer"])) if there else NOTHING
    return [
        row["row"],
        row["column"],
        line,
        value_of(row["published"], row["measure"]),
        beside(row) if there else NOTHING,
        signed(row["difference"]) if there else NOTHING,
        task_words(row["protocol"]),
        row["cohort"],
        "other" if row["protocol"] else "nothing known to differ",
        source_words(row["obtained"], row["hand"]),
    ]


def task_words(protocol: str) -> str:
    """Whether the task itself is the paper's; ``protocol`` holds what differs, clause by clause."""
    return "other options" if any(clause.startswith("task.") for clause in protocol.split("; ")) else "same"


def source_words(obtained: str, hand: str) -> str:
    """How a published value was obtained, and whether it is quoted from somebody else."""
    return f"{obtained} (second hand)" if hand == "second" else obtained


def value_of(value: float, measure: str) -> str:
    """A published number, with its sign where it is a difference."""
    return signed(value) if measure == "drop" else number(value)


def beside(row: Any) -> str:
    """Ours with its interval, where it has one."""
    shown = value_of(row["ours"], row["measure"])
    low, high = row["ours_low"], row["ours_high"]
    if low != low or high != high:  # noqa: PLR0124 - NaN is not equal to itself
        return shown
    ends = (signed(low), signed(high)) if row["measure"] == "drop" else (number(low), number(high))
    return f"{shown} [{ends[0]}, {ends[1]}]"
