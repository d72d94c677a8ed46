"""The mortality task from its files to a :class:`fusionbench.Dataset`, through cached steps.

::

    tables of MIMIC-IV --extract--> stays, events --arrays--> series
                                      |
    metadata of MIMIC-CXR --link--> links --decode--> images
                                      +-----read----> reports

Each step is a cache entry (:mod:`.store`) that is named by its inputs and options: another step length redoes
the series only, another picture size the pictures only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError, did_you_mean
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic import arrays, extract, images, reports, store
from fusionbench_plugins.tasks.mimic.cohort import Step, describe, require_rows
from fusionbench_plugins.tasks.mimic.files import Files
from fusionbench_plugins.tasks.mimic.images import Link
from fusionbench_plugins.tasks.mimic.layout import find_mimic_cxr, find_mimic_iv
from fusionbench_plugins.tasks.mimic.rules import RULE_SETS
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.variables import COLUMNS, CONTINUOUS, VARIABLES

if TYPE_CHECKING:
    from fusionbench import Dataset, Modality

MODALITIES = ("ehr", "cxr", "report")
_FEW_DEATHS = 50
_TOLERANCE = 1e-6
_MEMORY = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """What decides the data; :class:`~fusionbench_plugins.tasks.mimic_ihm.MimicIhm` documents each."""

    rules: str = "sound"
    step_hours: float = 2
    window_hours: float = 48
    image_size: int = 64
    report_margin_hours: float = 0.0
    cohort: str = "partial"
    memory_limit: str = "2GB"
    threads: int = 2

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one sentence each."""
        checks = [_number("step_hours", self.step_hours, 0), _number("window_hours", self.window_hours, 0)]
        checks.append(_whole("image_size", self.image_size, 8, 2048) or _whole("threads", self.threads, 1, 1024))
        if not any(checks) and not _divides(self.step_hours, self.window_hours):
            checks.append(f"step_hours must divide window_hours, found {self.step_hours} and {self.window_hours}")
        if not isinstance(self.rules, str) or self.rules not in RULE_SETS:
            hint = did_you_mean(str(self.rules), RULE_SETS)
            checks.append(f"rules must be one of {', '.join(RULE_SETS)}, found {self.rules!r}{hint}")
        if self.cohort not in ("partial", "paired"):
            checks.append(f"cohort must be 'partial' or 'paired', found {self.cohort!r}")
        margin = self.report_margin_hours
        if not _is_number(margin) or margin < 0 or (_is_number(self.window_hours) and margin > self.window_hours):
            checks.append(f"report_margin_hours must be from 0 to window_hours, found {margin!r}")
        if not isinstance(self.memory_limit, str) or not _MEMORY.fullmatch(self.memory_limit):
            checks.append(f"memory_limit must be a size such as '2GB', found {self.memory_limit!r}")
        return [problem for problem in checks if problem]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value).item()


def _number(name: str, value: object, above: float) -> str:
    good = _is_number(value) and isinstance(value, int | float) and value > above
    return "" if good else f"{name} must be a number above {above:g}, found {value!r}"


def _whole(name: str, value: object, low: int, high: int) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return "" if good else f"{name} must be a whole number from {low} to {high}, found {value!r}"


def _divides(step: float, window: float) -> bool:
    return window / step >= 1 - _TOLERANCE and abs(window / step - round(window / step)) < _TOLERANCE


@dataclass(frozen=True)
class _Chest:
    """What MIMIC-CXR adds: pictures ``[rows, size, size]``, texts ``[rows]``, and which of them are there."""

    links: Sequence[Link]
    pictures: NDArray[np.uint8]
    has_picture: NDArray[np.bool_]
    texts: Sequence[str]
    has_text: NDArray[np.bool_]
    with_reports: bool
    digests: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare(
    options: Options, root: Path, cxr_root: Path | None, cache: Path, progress: Progress, truth: Path | None = None
) -> Dataset:
    """Extract, link, encode, and put together.

    Args:
        options: What decides the data.
        root: A MIMIC-IV tree.
        cxr_root: A MIMIC-CXR-JPG tree with the reports; None: records only.
        cache: The folder of cache entries.
        progress: Where long steps report.
        truth: For synthetic trees: table of the best possible predictions.

    Raises:
        DataError: Files are missing or malformed, an input lies after the window, or no stay is left.
        WorkspaceError: The cache cannot be written.
    """
    import pandas as pd

    events = _events(options, root, cache, progress)
    stays = pd.read_parquet(events.folder / extract.STAYS)
    series = _series(options, events, len(stays), cache)
    chest = _chest(options, cxr_root, events, len(stays), cache, progress) if cxr_root is not None else None
    funnel = tuple(Step(*step) for step in events.facts["funnel"])
    dataset = _assemble(options, stays, series, chest, funnel, _ceiling(truth, stays["stay_id"].to_numpy()))
    dataset = replace(dataset, warnings=(*dataset.warnings, *_event_warnings(events)))
    progress.note(f"cohort of {root}:\n{describe(tuple(Step(*step) for step in dataset.funnel))}")
    return dataset


# --------------------------------------------------------------------------------------------
# cached steps


def _events(options: Options, root: Path, cache: Path, progress: Progress) -> Entry:
    tables = find_mimic_iv(root)
    rules = RULE_SETS[options.rules]
    key = {
        "version": extract.VERSION,
        "rules": store.digest(repr((rules, VARIABLES))),
        "window_hours": options.window_hours,
        "tables": {table.name: store.signature(table.path) for table in tables.values()},
    }

    def build(folder: Path) -> Mapping[str, Any]:
        return extract.extract(
            tables, rules, options.window_hours, folder, options.memory_limit, options.threads, progress
        )

    return store.entry(cache, "events", key, build)


def _series(options: Options, events: Entry, rows: int, cache: Path) -> Entry:
    rules = RULE_SETS[options.rules]
    key = {
        "version": arrays.VERSION,
        "events": events.folder.name,
        "content": events.sha256(extract.EVENTS),
        "step_hours": options.step_hours,
    }

    def build(folder: Path) -> Mapping[str, Any]:
        path = events.folder / extract.EVENTS
        return arrays.write_series(
            path, rows, rules, options.step_hours, options.window_hours, folder, options.memory_limit, options.threads
        )

    return store.entry(cache, "series", key, build)


def _chest(options: Options, root: Path, events: Entry, rows: int, cache: Path, progress: Progress) -> _Chest:
    linked = _links(options, root, events, cache)
    links = images.read_links(linked.folder / images.LINKS)
    pictures = _images(options, root, linked, links, rows, cache, progress)
    found = np.load(pictures.folder / images.FOUND)
    texts, report_entry = _texts(options, root, linked, links, cache, progress)
    return _Chest(
        links,
        np.load(pictures.folder / images.IMAGES, mmap_mode="r"),
        found,
        tuple(texts.get(row, "") for row in range(rows)),
        np.array([row in texts for row in range(rows)]),
        report_entry is not None,
        (pictures.sha256(images.IMAGES), pictures.sha256(images.FOUND), store.digest(sorted(texts.items()))),
        (*_image_warnings(linked, pictures), *_report_warnings(report_entry, root)),
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
        return images.write_links(metadata, stays, options.window_hours, folder, options.memory_limit, options.threads)

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

        return store.entry(cache, "images", key, build)


def _texts(
    options: Options, root: Path, linked: Entry, links: Sequence[Link], cache: Path, progress: Progress
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
    latest = options.window_hours - options.report_margin_hours + _TOLERANCE
    in_time = {link.row for link in links if link.hours <= latest}
    texts = reports.read_reports(made.folder / reports.REPORTS)
    return {row: text for row, text in texts.items() if row in in_time}, made


# --------------------------------------------------------------------------------------------
# putting together


def _assemble(
    options: Options,
    stays: Any,
    series: Entry,
    chest: _Chest | None,
    funnel: tuple[Step, ...],
    ceiling: NDArray[np.float64] | None,
) -> Dataset:
    from fusionbench import Dataset, FunnelStep, TargetKind

    modalities, available = _modalities(series, chest, len(stays))
    keep = np.ones(len(stays), dtype=np.bool_)
    if options.cohort == "paired":
        keep &= available.all(axis=1)
        funnel += (Step("every modality", int(keep.sum())),)
        require_rows(funnel)
    if chest is not None:
        _assert_in_window([link.hours for link in chest.links], options.window_hours)
    target = stays["label"].to_numpy(dtype=np.int64)[keep]
    groups = _running_numbers(stays["subject_id"].to_numpy()[keep])
    died = int(target.sum())
    if died in (0, len(target)):
        raise DataError(f"{died} of {len(target)} stays died: there is nothing to tell apart.\n{describe(funnel)}")
    names = tuple(modalities)
    return Dataset(
        modalities={name: _rows(modality, keep) for name, modality in modalities.items()},
        available=available[keep],
        target=target,
        kind=TargetKind.BINARY,
        outputs=("died",),
        groups=groups,
        digest=_digest(options, names, available[keep], target, groups, series, chest),
        metric="auroc",
        ceiling=None if ceiling is None else ceiling[keep][:, _subset_columns(names)],
        funnel=tuple(FunnelStep(*step) for step in funnel),
        warnings=(*_cohort_warnings(died, len(target), chest), *(chest.warnings if chest else ())),
        description=(
            f"In-hospital mortality from the first {options.window_hours:g} h of {len(target)} ICU stays "
            f"({died} died), {options.step_hours:g} h steps, rule set {options.rules}, {options.cohort} cohort"
        ),
    )


def _modalities(series: Entry, chest: _Chest | None, rows: int) -> tuple[dict[str, Modality], NDArray[np.bool_]]:
    from fusionbench import Modality

    values = np.load(series.folder / arrays.SERIES, mmap_mode="r")
    modalities = {"ehr": Modality("series", values, standardise=np.array(CONTINUOUS), columns=COLUMNS)}
    available = [np.ones(rows, dtype=np.bool_)]
    if chest is not None:
        modalities["cxr"] = Modality("image", chest.pictures)
        available.append(chest.has_picture)
        if chest.with_reports:
            modalities["report"] = Modality("text", chest.texts)
            available.append(chest.has_text)
    return modalities, np.stack(available, axis=1)


def _rows(modality: Modality, keep: NDArray[np.bool_]) -> Modality:
    if keep.all():
        return modality  # stays on disk
    values = modality.values
    if isinstance(values, np.ndarray):
        return replace(modality, values=values[keep])
    return replace(modality, values=tuple(text for text, kept in zip(values, keep, strict=True) if kept))


def _running_numbers(patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number patients 0, 1, ... in order of their first row."""
    _, first, inverse = np.unique(patients, return_index=True, return_inverse=True)
    numbers: NDArray[np.int64] = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    return numbers


def _assert_in_window(hours: Sequence[float], window: float) -> None:
    outside = sum(not -_TOLERANCE <= hour <= window + _TOLERANCE for hour in hours)
    if outside:
        raise DataError(f"{outside} chest X-rays lie outside the first {window:g} h: they would leak the outcome.")


def _digest(
    options: Options,
    names: tuple[str, ...],
    available: NDArray[np.bool_],
    target: NDArray[np.int64],
    groups: NDArray[np.int64],
    series: Entry,
    chest: _Chest | None,
) -> str:
    """Hash the content itself, so that a copy of the files gives the same digest anywhere."""
    content = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in (available, target, groups)))
    return store.digest(
        {
            "options": {k: v for k, v in asdict(options).items() if k not in ("memory_limit", "threads")},
            "modalities": names,
            "columns": COLUMNS,
            "rows": content.hexdigest(),
            "series": series.sha256(arrays.SERIES),
            "chest": chest.digests if chest else (),
        }
    )


def _subset_columns(names: tuple[str, ...]) -> list[int]:
    """Return, for each subset of the modalities at hand, its column among those of all three."""
    bits = [1 << MODALITIES.index(name) for name in names]
    return [sum(bit for position, bit in enumerate(bits) if subset >> position & 1) for subset in range(1 << len(bits))]


def _ceiling(path: Path | None, stay_ids: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if path is None:
        return None
    import pandas as pd

    columns = [f"p_{subset}" for subset in range(1 << len(MODALITIES))]
    try:
        table = pd.read_parquet(path).set_index("stay_id")[columns]
    except (OSError, ValueError, KeyError):
        raise DataError(f"{path}: not a table with stay_id and {columns[0]} to {columns[-1]}; write it anew.") from None
    missing = len(set(stay_ids.tolist()) - set(table.index.tolist()))
    if missing:
        raise DataError(f"{path}: {missing} stays of the cohort are not in it; it belongs to another cohort.")
    aligned: NDArray[np.float64] = table.loc[stay_ids].to_numpy(dtype=np.float64)
    return aligned


# --------------------------------------------------------------------------------------------
# what a reader must know


def _cohort_warnings(died: int, rows: int, chest: _Chest | None) -> tuple[str, ...]:
    found = []
    if min(died, rows - died) < _FEW_DEATHS:
        found.append(f"only {died} of {rows} stays died: every interval is wide")
    if chest is None:
        found.append("no MIMIC-CXR root was given: modalities cxr and report are left out")
    return tuple(found)


def _event_warnings(events: Entry) -> tuple[str, ...]:
    unknown = events.facts["counts"]["unknown_texts"]
    return (f"{unknown} charted texts of scores are not known and were left out",) if unknown else ()


def _image_warnings(linked: Entry, pictures: Entry) -> tuple[str, ...]:
    found = []
    if undated := linked.facts["without_time"]:
        found.append(f"{undated} of {linked.facts['pictures']} chest X-rays have no valid date and time: not linked")
    missing, damaged = pictures.facts["missing"], pictures.facts["damaged"]
    if missing or damaged:
        found.append(
            f"{missing} linked chest X-rays are missing and {damaged} are damaged, so these stays have no image; "
            f"{images.UNREADABLE} in cache entry {pictures.folder.name} names them"
        )
    return tuple(found)


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
