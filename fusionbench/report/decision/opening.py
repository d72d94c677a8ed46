"""The first screen: a title in words, the question, the answer, what weakens it, and the decision table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fusionbench.analysis.ranking.design import design_words
from fusionbench.analysis.words import listed
from fusionbench.contract.blocks import Block, Section, Text
from fusionbench.report.about import expected_lines
from fusionbench.report.decision.cost import quality_against_cost
from fusionbench.report.decision.table import decision_table

if TYPE_CHECKING:
    from fusionbench.records import RunPlan, RunSummary

MOST_NAMED: Final = 4
"""Modalities that a title names."""


def title_of(plan: RunPlan) -> str:
    """Return what a page is about in words: the file's title, what the data say of themselves, or which modalities go missing."""
    if plan.benchmark.title:
        return plan.benchmark.title
    words = plan.dataset.description.removeprefix("SYNTHETIC. ")
    words = re.split(r" \(|\. |, \d", words, maxsplit=1)[0].rstrip(".?")
    if not words:
        names = list(plan.dataset.modalities)
        what = listed(names) if len(names) <= MOST_NAMED else "modalities"
        return f"Which fusion when {what} {'goes' if len(names) == 1 else 'go'} missing"
    # digits stand apart in thousands, as everywhere on the page
    words = re.sub(r"\b\d{4,}\b", lambda m: f"{int(m[0]):,}", words)
    return f"{words}: which fusion when modalities go missing"


def answer(summary: RunSummary) -> Section:
    """The decision table, and what was expected; the page puts the sentences and what weakens them above it."""
    table, expected = decision_table(summary), expected_lines(summary)
    blocks: list[Block] = [table] if table is not None else []
    if expected:
        blocks.append(Text("What was expected before the run, and what became of it:", expected))
    return Section("Answer", blocks)


def sentences(summary: RunSummary) -> list[str]:
    """Return what the run says to a reader with one minute."""
    return [] if summary.answer is None else list(summary.answer.sentences)


def question(summary: RunSummary) -> str:
    """Return what the benchmark asks; empty where nobody says it."""
    return summary.plan.benchmark.question if summary.answer is None else summary.answer.question


def before(summary: RunSummary) -> list[str]:
    """Return what weakens the numbers, to be read before them."""
    of_data = set(summary.plan.dataset.warnings)  # they change what numbers are about, and seldom what they say
    first, last = ([n for n in summary.notes if (n in of_data) is known] for known in (False, True))
    return [*first, *design_words(summary.tables.design), *last]


def cost(summary: RunSummary) -> Section | None:
    """Quality against cost as a picture."""
    picture = quality_against_cost(summary)
    return None if picture is None else Section("Quality against cost", [picture])
