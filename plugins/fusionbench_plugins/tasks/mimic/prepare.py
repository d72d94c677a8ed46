"""The mortality task from its files to a :class:`fusionbench.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic import arrays, extract, store
from fusionbench_plugins.tasks.mimic.cohort import Step, describe, require_rows
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.steps import Chest, chest_content, events_entry, series_entry
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.variables import COLUMNS, CONTINUOUS

if TYPE_CHECKING:
    from fusionbench import Dataset, Modality

MODALITIES = ("ehr", "cxr", "report")
_FEW_DEATHS = 50
_TOLERANCE = 1e-6


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

    events = events_entry(options, root, cache, progress)
    stays = pd.read_parquet(events.folder / extract.STAYS)
    series = series_entry(options, events, len(stays), cache)
    chest = chest_content(options, cxr_root, events, len(stays), cache, progress) if cxr_root is not None else None
    funnel = tuple(Step(*step) for step in events.facts["funnel"])
    dataset = _assemble(options, stays, series, chest, funnel, _ceiling(truth, stays["stay_id"].to_numpy()))
    return replace(dataset, warnings=(*dataset.warnings, *_event_warnings(events)))


def _assemble(
    options: Options,
    stays: Any,
    series: Entry,
    chest: Chest | None,
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


def _modalities(series: Entry, chest: Chest | None, rows: int) -> tuple[dict[str, Modality], NDArray[np.bool_]]:
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
    chest: Chest | None,
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


def _cohort_warnings(died: int, rows: int, chest: Chest | None) -> tuple[str, ...]:
    found = []
    if min(died, rows - died) < _FEW_DEATHS:
        found.append(f"only {died} of {rows} stays died: every interval is wide")
    if chest is None:
        found.append("no MIMIC-CXR root was given: modalities cxr and report are left out")
    return tuple(found)


def _event_warnings(events: Entry) -> tuple[str, ...]:
    unknown = events.facts["counts"]["unknown_texts"]
    return (f"{unknown} charted texts of scores are not known and were left out",) if unknown else ()
