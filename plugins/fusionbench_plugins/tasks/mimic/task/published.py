"""What is published about MIMIC's releases and cohorts, to hold one's own numbers beside.

Row counts: the official build checks of v2.0 to v3.1; v1.0 (big tables only) from MedFuse. Cohorts: Hayat et al. 2022
(MedFuse; the image counts of its correction of March 2023), and users of its lists with v2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fusionbench_plugins.tasks.mimic.tables.window import Window

if TYPE_CHECKING:
    from fusionbench import Dataset, FunnelStep

_TABLES = ("patients", "admissions", "diagnoses_icd", "labevents", "icustays", "chartevents")
_COUNTS: dict[str, tuple[int | None, ...]] = {
    "v1.0": (None, None, None, 122_103_667, None, 329_499_788),
    "v2.0": (315_460, 454_324, 5_006_884, 124_342_638, 76_943, 329_822_285),
    "v2.1": (299_777, 431_088, 4_752_265, 118_057_948, 73_141, 314_035_266),
    "v2.2": (299_712, 431_231, 4_756_326, 118_171_367, 73_181, 313_645_063),
    "v3.1": (364_627, 546_028, 6_364_488, 158_374_764, 94_458, 432_997_491),
    "the open demo v2.2": (100, 275, 4_506, 107_727, 140, 668_862),
}
ROWS: dict[str, dict[str, int]] = {
    release: {table: rows for table, rows in zip(_TABLES, counts, strict=True) if rows is not None}
    for release, counts in _COUNTS.items()
}
"""Rows by release and table."""

_EVENT, _PAIRED = "a diagnosis code, and an event", "every modality"
COHORTS: dict[str, dict[str, str]] = {
    "mimic_ihm": {
        _EVENT: "published: 26,226, of whom 3,262 died (MedFuse, v1.0)",
        _PAIRED: "published: 6,215 with an image in the first 48 h (MedFuse, v1.0)",
    },
    "mimic_phenotyping": {
        _EVENT: "published: 59,344 (MedFuse, v1.0), 56,888 (its lists, v2.2)",
        _PAIRED: "published: 10,804 with an image in the stay (MedFuse, v1.0)",
    },
}
"""By task and beginning of a step of the funnel."""
_WINDOWS = {"mimic_ihm": Window(48.0, full=True), "mimic_phenotyping": Window(None, full=False)}


def release_of(rows: Mapping[str, int]) -> tuple[str, list[str]]:
    """Tell the release by its row counts.

    Args:
        rows: By table, without folder.

    Returns:
        The release with the most equal counts (empty: none has any), and one line for each count that differs from it.
    """
    equal = {release: sum(rows.get(t) == n for t, n in counts.items()) for release, counts in ROWS.items()}
    best = max(equal, key=lambda release: equal[release])
    if not equal[best]:
        return "", []
    differs = {t: n for t, n in ROWS[best].items() if t in rows and rows[t] != n}
    return best, [f"{table} has {rows[table]:,} rows, {best} has {n:,}" for table, n in differs.items()]


def describe_rows(rows: Mapping[str, int]) -> list[str]:
    """Return lines about the rows that were read, and the release they speak for."""
    counted = ", ".join(f"{table} {n:,}" for table, n in rows.items())
    release, differing = release_of(rows)
    if not release:
        return [f"rows read: {counted} (of no release whose counts are published)"]
    lines = [f"rows read: {counted} (MIMIC-IV: {release})"]
    return [*lines, *(f"warning: {line}: is the file complete?" for line in differing)]


def beside_published(dataset: Dataset, task: str, window: Window) -> Dataset:
    """Return the data set with the published sizes in the notes of its funnel, where its window is theirs."""
    known = COHORTS[task] if task in COHORTS and window == _WINDOWS[task] else {}
    return replace(dataset, funnel=tuple(_noted(step, known) for step in dataset.funnel))


def _noted(step: FunnelStep, known: Mapping[str, str]) -> FunnelStep:
    found = next((text for beginning, text in known.items() if step.step.startswith(beginning)), "")
    return step._replace(note="; ".join(part for part in (step.note, found) if part))
