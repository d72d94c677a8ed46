"""What there is to know about a MIMIC tree before training on it: ``fusionbench data check``.

Lines and pictures hold counts, shares and names of tables and variables, never an identifier or a value of a row.
"""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionbench import Dataset, Findings, TargetKind
from fusionbench.data.findings import funnel_lines, label_lines, leak_lines
from fusionbench.data.sameness import alike_lines
from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.studies import images
from fusionbench_plugins.tasks.mimic.tables import extract
from fusionbench_plugins.tasks.mimic.tables.database import database, execute, pattern
from fusionbench_plugins.tasks.mimic.tables.layout import find_mimic_cxr, find_mimic_iv
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS
from fusionbench_plugins.tasks.mimic.tables.variables import GCS_PARTS, NAMES
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE
from fusionbench_plugins.tasks.mimic.task.overview import Measured, Overview
from fusionbench_plugins.tasks.mimic.task.picture import draw_data
from fusionbench_plugins.tasks.mimic.task.prepare import Material, outside
from fusionbench_plugins.tasks.mimic.task.published import describe_rows

_SUSPICIOUS = 0.01
"""Share of a variable's values that are out of range, or in another unit, from which on it is worth a look."""
_LATE_HOURS = 6.0


def layout_problems(mimic_iv: Path, mimic_cxr: Path | None) -> list[str]:
    """Return one line for each tree that is not complete; each names all that is missing."""
    found = []
    for find, root in ((find_mimic_iv, mimic_iv), (find_mimic_cxr, mimic_cxr)):
        if root is None:
            continue
        try:
            find(root)
        except DataError as problem:
            found.append(f"problem: {problem}")
    return found


def findings(material: Material, dataset: Dataset) -> Findings:
    """Say what is in the tree.

    Args:
        material: What the extraction made of it.
        dataset: The data set, with published sizes in the notes of its funnel.
    """
    overview = Overview(dataset, *_measured(material))
    lines = [
        dataset.description,
        *_source_lines(material),
        "cohort",
        *funnel_lines(dataset),
        *_variable_lines(overview),
        *_modality_lines(dataset),
        *label_lines(dataset),
        *_leak_lines(material, overview),
        *alike_lines(dataset),
    ]
    return Findings(lines, partial(draw_data, overview))


def _source_lines(material: Material) -> Iterator[str]:
    facts, chest = material.events.facts, material.chest
    yield f"MIMIC-IV: {facts['layout']}"
    yield from describe_rows(facts["rows"])
    if chest is None:
        yield "MIMIC-CXR: no root was given"
        return
    pictures, texts = int(chest.has_picture.sum()), int(chest.has_text.sum())
    yield (
        f"MIMIC-CXR: {len(chest.links):,} of {len(material.stays):,} stays have an AP picture in time, "
        f"{pictures:,} of these can be read; {texts:,} have a report with text"
    )


def _measured(material: Material) -> tuple[dict[str, Measured], int]:
    rows, counts, shares = len(material.stays), material.events.facts["by_variable"], material.series.facts["measured"]
    stays, after_end = _events_by_variable(material)
    if RULE_SETS[material.options.rules].gcs_total:
        stays["gcs_total"] = _stays_with_all_parts(material)
    none = dict.fromkeys(("read", "other_unit", "out_of_range", "clipped", "late"), 0)
    return {
        name: Measured(
            **{key: counts.get(name, none)[key] for key in none}, stays=stays.get(name, 0) / rows, steps=shares[name]
        )
        for name in NAMES
    }, after_end


def _events_by_variable(material: Material) -> tuple[dict[str, int], int]:
    """Return the number of stays that have each variable, and of events after the end of their stay."""
    folder = material.events.folder
    with database(material.series.folder, material.options.resources) as connection:
        rows = execute(
            connection,
            f"""SELECT e.variable, count(DISTINCT e.row), count_if(NOT e.hours <= s.end_hours + {TOLERANCE!r})
            FROM read_parquet({pattern(folder / extract.EVENTS)}) e
            JOIN read_parquet({pattern(folder / extract.STAYS)}) s USING (row) GROUP BY e.variable""",
            "of events",
        ).fetchall()
    return {NAMES[variable]: stays for variable, stays, _ in rows}, sum(late for *_, late in rows)


def _stays_with_all_parts(material: Material) -> int:
    """Return the number of stays that have each part of the coma scale, and so a total."""
    parts = ", ".join(str(NAMES.index(name)) for name in GCS_PARTS)
    with database(material.series.folder, material.options.resources) as connection:
        rows = execute(
            connection,
            f"""SELECT count(*) FROM (SELECT row FROM read_parquet({pattern(material.events.folder / extract.EVENTS)})
            WHERE variable IN ({parts}) GROUP BY row HAVING count(DISTINCT variable) = {len(GCS_PARTS)})""",
            "of events",
        ).fetchall()
    return int(rows[0][0])


def _variable_lines(overview: Overview) -> Iterator[str]:
    yield f"{'variable':<17}{'read':>11}{'other unit':>12}{'impossible':>12}{'clipped':>9}{'stays':>8}{'steps':>8}"
    for name, m in overview.variables.items():
        parts = f"{_share(m.other_unit, m.read):>12}{_share(m.out_of_range, m.read):>12}{_share(m.clipped, m.read):>9}"
        yield f"{name:<17}{m.read:>11,}{parts}{m.stays:>8.1%}{m.steps:>8.1%}"
    yield "  stays: with a value; steps: with a new value, the others repeat the last or the normal one; other unit: converted"
    for name, m in overview.variables.items():
        if m.out_of_range >= max(_SUSPICIOUS * m.read, 1):
            yield f"warning: {name}: {m.out_of_range:,} of {m.read:,} values are impossible; look at items and units"
        if m.other_unit >= max(_SUSPICIOUS * m.read, 1):
            yield f"warning: {name}: {m.other_unit:,} of {m.read:,} values are in another unit than the item's label says"
    for name, m in overview.variables.items():
        if not m.stays:
            yield f"warning: {name}: none of {m.read:,} events holds a value that is known"


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if count else "."


def _modality_lines(dataset: Dataset) -> Iterator[str]:
    for name, count in sorted(combinations(dataset).items(), key=lambda item: -item[1]):
        yield f"{count:>10,}  stays ({count / len(dataset):.1%}) have {name}"
    if dataset.kind is TargetKind.BINARY:
        for name, has in zip(dataset.modalities, dataset.available.T, strict=True):
            if 0 < has.sum() < len(has):
                with_it, without = dataset.target[has].mean(), dataset.target[~has].mean()
                yield f"{dataset.outputs[0]}: {with_it:.1%} of the stays with {name}, {without:.1%} of those without"


def combinations(dataset: Dataset) -> dict[str, int]:
    """Return how many rows have exactly which modalities, by name (``ehr+cxr``)."""
    patterns, counts = np.unique(dataset.available, axis=0, return_counts=True)
    names = np.array(list(dataset.modalities))
    return {"+".join(names[has]): int(count) for has, count in zip(patterns, counts, strict=True)}


def _leak_lines(material: Material, overview: Overview) -> Iterator[str]:
    options, window = material.options, material.options.window
    yield f"leaks: what may be read ends with the {window}"
    yield f"{_mark(overview.after_end)}{overview.after_end} events lie after that end"
    late = sum(m.late for m in overview.variables.values())
    if late:
        kept = not RULE_SETS[options.rules].results_known
        known = "kept all the same" if kept else "left out"
        yield f"{_mark(kept)}{late:,} laboratory results were stored after that end: {known} by rule set {options.rules}"
    yield from _chest_leaks(material)
    yield from leak_lines(overview.dataset)
    if overview.dataset.split is None and overview.dataset.folds is None:
        repeated = len(overview.dataset) - len(np.unique(overview.dataset.groups))
        yield f"{repeated:,} stays are further ones of a patient: folds are made by patient"
    if window.hours is None:
        days = np.quantile(material.ends, (0.5, 1)) / 24
        yield (
            f"warning: series are as long as the stay (median {days[0]:.1f} days, longest {days[1]:.1f}): their length "
            "says how ill the patient is, and is known at discharge only; window_hours: 48 does without"
        )


def _chest_leaks(material: Material) -> Iterator[str]:
    if material.chest is None:
        return
    count = outside(material.chest.links, material.ends)
    yield f"{_mark(count)}{count} chest X-rays lie outside"
    late = _late_reports(material.chest.links, material.chest.has_text, material.ends)
    if late:
        yield (
            f"warning: {late:,} of {int(material.chest.has_text.sum()):,} reports belong to a picture of the last "
            f"{_LATE_HOURS:g} h: a report is written later and has no time of its own; report_margin_hours leaves it out"
        )


def _late_reports(links: Sequence[images.Link], has_text: NDArray[np.bool_], ends: NDArray[np.float64]) -> int:
    return sum(bool(has_text[link.row]) and link.hours > ends[link.row] - _LATE_HOURS for link in links)


def _mark(bad: float) -> str:
    return "warning: " if bad else ""
