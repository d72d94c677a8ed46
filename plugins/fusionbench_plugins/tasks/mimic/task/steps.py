"""The cached steps of the tasks on MIMIC.

::

    tables of MIMIC-IV --extract--> stays, events --arrays--> series
                                      |
    metadata of MIMIC-CXR --link--> links --decode--> images
                                      +-----read----> reports

Each step is a cache entry (:mod:`.store`) that is named by its inputs and options: another step length redoes
the series only, another picture size the pictures only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.studies import images, reports
from fusionbench_plugins.tasks.mimic.studies.files import Files
from fusionbench_plugins.tasks.mimic.studies.images import Link
from fusionbench_plugins.tasks.mimic.tables import arrays, extract
from fusionbench_plugins.tasks.mimic.tables.layout import describe_layout, find_mimic_cxr, find_mimic_iv
from fusionbench_plugins.tasks.mimic.tables.rules import RULE_SETS
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE
from fusionbench_plugins.tasks.mimic.task.published import describe_rows

_FEW_LINKED = 0.05


@dataclass(frozen=True)
class Chest:
    """What MIMIC-CXR adds: pictures ``[rows, size, size]``, texts ``[rows]``, and which of them are there."""

    links: Sequence[Link]
    pictures: NDArray[np.uint8]
    has_picture: NDArray[np.bool_]
    texts: Sequence[str]
    has_text: NDArray[np.bool_]
    with_reports: bool
    digests: tuple[str, ...]
    warnings: tuple[str, ...]


def events_entry(options: Options, root: Path, cache: Path, progress: Progress) -> Entry:
    """Return the entry with ``stays.parquet`` and ``events.parquet``."""
    tables = find_mimic_iv(root)
    progress.note(f"MIMIC-IV in {root}: {describe_layout(tables)}")
    rules = RULE_SETS[options.rules]
    key = {
        "version": extract.VERSION,
        "rules": store.content_hash(repr((rules, VARIABLES))),
        "window": [options.window.hours, options.window.full],
        "tables": {table.name: store.signature(table.path) for table in tables.values()},
    }

    def build(folder: Path) -> Mapping[str, Any]:
        return extract.extract(tables, rules, options.window, folder, options.resources, progress)

    made = store.entry(cache, "events", key, build, progress=progress)
    for line in describe_rows(made.facts["rows"]):
        progress.note(line)
    return made


def series_entry(options: Options, events: Entry, ends: NDArray[np.float64], cache: Path) -> Entry:
    """Return the entry with ``series.npy`` and ``lengths.npy``; ``ends`` is the last hour of each row."""
    rules = RULE_SETS[options.rules]
    key = {
        "version": arrays.VERSION,
        "events": events.folder.name,
        "content": events.sha256(extract.EVENTS),
        "step_hours": options.step_hours,
        "max_steps": options.max_steps,
    }

    def build(folder: Path) -> Mapping[str, Any]:
        path = events.folder / extract.EVENTS
        return arrays.write_series(path, ends, rules, options.step_hours, options.max_steps, folder, options.resources)

    return store.entry(cache, "series", key, build)


def chest_content(
    options: Options, root: Path, events: Entry, ends: NDArray[np.float64], cache: Path, progress: Progress
) -> Chest:
    """Link, decode and read what MIMIC-CXR has for the stays; ``ends`` is the last hour of each row."""
    rows = len(ends)
    linked = _links(options, root, events, cache)
    links = images.read_links(linked.folder / images.LINKS)
    pictures = _images(options, root, linked, links, rows, cache, progress)
    found = np.load(pictures.folder / images.FOUND)
    texts, report_entry = _texts(options, root, linked, links, ends, cache, progress)
    return Chest(
        links,
        np.load(pictures.folder / images.IMAGES, mmap_mode="r"),
        found,
        tuple(texts.get(row, "") for row in range(rows)),
        np.array([row in texts for row in range(rows)]),
        report_entry is not None,
        (pictures.sha256(images.IMAGES), pictures.sha256(images.FOUND), store.content_hash(sorted(texts.items()))),
        (*_twins(root), *_image_warnings(linked, pictures), *_report_warnings(report_entry, root)),
    )


def _links(options: Options, root: Path, events: Entry, cache: Path) -> Entry:
    metadata = find_mimic_cxr(root)
    key = {
        "version": images.VERSION,
        "events": events.folder.name,
        "content": events.sha256(extract.STAYS),
        "table": store.signature(metadata.path),
    }

    def build(folder: Path) -> Mapping[str, Any]:
        stays = events.folder / extract.STAYS
        return images.write_links(metadata, stays, folder, options.resources)

    return store.entry(cache, "links", key, build)


def _images(
    options: Options, root: Path, linked: Entry, links: Sequence[Link], rows: int, cache: Path, progress: Progress
) -> Entry:
    with Files([root], root / "images.zip") as files:
        if not files:
            raise DataError(f"MIMIC-CXR root {root}: neither a folder files/ nor images.zip is there.")
        key = {
            "version": images.VERSION,
            "links": linked.folder.name,
            "files": files.signature(link.image_path for link in links),
            "size": options.image_size,
        }

        def build(folder: Path) -> Mapping[str, Any]:
            return images.write_images(links, files, rows, options.image_size, folder, options.threads, progress)

        return store.entry(cache, "images", key, build, resumable=True, progress=progress)


def _texts(
    options: Options,
    root: Path,
    linked: Entry,
    links: Sequence[Link],
    ends: NDArray[np.float64],
    cache: Path,
    progress: Progress,
) -> tuple[dict[int, str], Entry | None]:
    with Files([root, root / "mimic-cxr-reports"], root / "mimic-cxr-reports.zip") as files:
        if not files:
            return {}, None
        key = {
            "version": reports.VERSION,
            "links": linked.folder.name,
            "files": files.signature(link.report_path for link in links),
        }

        def build(folder: Path) -> Mapping[str, Any]:
            return reports.write_reports(links, files, folder, progress)

        made = store.entry(cache, "reports", key, build)
    margin = options.report_margin_hours - TOLERANCE
    # the text has no time of its own: that of its picture stands for it
    in_time = {link.row for link in links if link.hours <= ends[link.row] - margin}
    texts = reports.read_reports(made.folder / reports.REPORTS)
    return {row: text for row, text in texts.items() if row in in_time}, made


def _image_warnings(linked: Entry, pictures: Entry) -> tuple[str, ...]:
    found = []
    if undated := linked.facts["without_time"]:
        found.append(f"{undated} of {linked.facts['pictures']} chest X-rays have no valid date and time: not linked")
    found += _lost_links(linked.facts)
    missing, damaged = pictures.facts["missing"], pictures.facts["damaged"]
    if missing or damaged:
        found.append(
            f"{missing} linked chest X-rays are missing and {damaged} are damaged{pictures.facts['why']}, so these stays have no "
            f"image; {images.UNREADABLE} in cache entry {pictures.folder.name} names them"
        )
    if empty := pictures.facts["blank"]:
        found.append(
            f"{empty} of {pictures.facts['decoded']} linked chest X-rays are one even grey: there is nothing in them to see"
        )
    return tuple(found)


def _twins(root: Path) -> tuple[str, ...]:
    table = find_mimic_cxr(root)
    return (f"beside {table.path.name} lies {table.beside}, which is not read",) if table.beside else ()


def _lost_links(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say where most pictures are lost on the way to a stay."""
    pictures, known, front, linked = (facts[name] for name in ("pictures", "of_patients", "from_front", "linked"))
    if pictures and not linked:
        yield (
            f"none of the {pictures:,} chest X-rays is linked to a stay: {known:,} are of patients of the cohort, {front:,} of "
            "these have ViewPosition AP; are both trees of one release, and the dates as they were published?"
        )
    elif known < _FEW_LINKED * pictures:
        yield f"only {known:,} of {pictures:,} chest X-rays are of patients of the cohort"
    elif front < _FEW_LINKED * known:
        yield f"only {front:,} of {known:,} chest X-rays of these patients have ViewPosition AP; the others are not used"


def _report_warnings(made: Entry | None, root: Path) -> tuple[str, ...]:
    if made is None:
        return (f"{root} has no mimic-cxr-reports.zip (nor folder): modality report is left out",)
    facts = made.facts
    found = [
        f"{facts[count]} linked reports {what}"
        for count, what in (
            ("missing", "are missing: these stays have no report"),
            ("empty", "hold no findings, impression or last paragraph: these stays have no report"),
            ("not_utf8", "are not UTF-8: bad bytes are replaced by a mark"),
        )
        if facts[count]
    ]
    if facts["impression"] or facts["last_paragraph"]:
        found.append(
            f"reports without findings: {facts['impression']} are represented by their impression, "
            f"{facts['last_paragraph']} by their last paragraph, beside {facts['findings']} with findings"
        )
    return tuple(found)
