"""The tasks on MIMIC from their files to a :class:`fusionbench.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.data.patient_splits import Assignment
from fusionbench.errors import ConfigError, DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.studies.images import Link
from fusionbench_plugins.tasks.mimic.tables import arrays, extract
from fusionbench_plugins.tasks.mimic.tables.cohort import CohortRule, describe, require_rows
from fusionbench_plugins.tasks.mimic.tables.variables import COLUMNS, CONTINUOUS
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE
from fusionbench_plugins.tasks.mimic.task.steps import Chest, chest_content, events_entry, series_entry

if TYPE_CHECKING:
    from fusionbench import Dataset, Modality

MODALITIES = ("ehr", "cxr", "report")
Divide = Callable[[Any], Assignment]
"""From rows of ``stays.parquet`` to where they fall."""


@dataclass(frozen=True)
class Material:
    """What the cached steps leave: all that a data set is made of.

    Args:
        options: What decided it.
        stays: One row per stay of the cohort.
        target: Labels of all of them.
        events: Entry of the events.
        series: Entry of the series.
        chest: What MIMIC-CXR adds; None where no root was given.
        funnel: How many stays each rule of the cohort left.
    """

    options: Options
    stays: Any
    target: NDArray[np.int64]
    events: Entry
    series: Entry
    chest: Chest | None
    funnel: tuple[CohortRule, ...]

    @property
    def ends(self) -> NDArray[np.float64]:
        """The last hour of each stay that may be read."""
        ends: NDArray[np.float64] = self.stays["end_hours"].to_numpy(dtype=np.float64)
        return ends


def gather(
    options: Options, outcome: Outcome, root: Path, cxr_root: Path | None, cache: Path, progress: Progress
) -> Material:
    """Extract, link, encode.

    Args:
        options: What decides the inputs.
        outcome: What is predicted.
        root: A MIMIC-IV tree.
        cxr_root: A MIMIC-CXR-JPG tree with the reports; None: records only.
        cache: The folder of cache entries.
        progress: Where long steps report.

    Raises:
        DataError: Files are missing or malformed, an input lies after the window, or no stay is left.
        WorkspaceError: The cache cannot be written.
    """
    return furnish(options, outcome, root, events_entry(options, root, cache, progress), cxr_root, cache, progress)


def furnish(
    options: Options,
    outcome: Outcome,
    root: Path,
    events: Entry,
    cxr_root: Path | None,
    cache: Path,
    progress: Progress,
) -> Material:
    """Do what :func:`gather` does after the events: encode, link, label."""
    import pandas as pd

    stays = pd.read_parquet(events.folder / extract.STAYS)
    ends = stays["end_hours"].to_numpy(dtype=np.float64)
    series = series_entry(options, events, ends, cache)
    chest = chest_content(options, cxr_root, events, ends, cache, progress) if cxr_root is not None else None
    target = outcome.target(options, root, events, cache)
    funnel = tuple(CohortRule(*step) for step in events.facts["funnel"])
    return Material(options, stays, target, events, series, chest, funnel)


def prepare(material: Material, outcome: Outcome, truth: Path | None = None, divide: Divide | None = None) -> Dataset:
    """Put the data set together.

    Args:
        material: From :func:`gather`.
        outcome: What is predicted.
        truth: For synthetic trees: table of the best possible predictions.
        divide: Places the stays that are used in parts or folds; None: the task comes with none.

    Raises:
        DataError: An input lies after what may be read, no stay is left, or the labels are all alike.
    """
    from fusionbench import Dataset, FunnelStep

    options, chest, funnel = material.options, material.chest, material.funnel
    modalities, available = _modalities(material)
    keep = np.ones(len(material.stays), dtype=np.bool_)
    wanted = options.must_have(list(modalities))
    if missing := [name for name in wanted if name not in modalities]:
        raise ConfigError(
            f"task.cohort: stays must have {', '.join(wanted)}, and the files hold no {', '.join(missing)}: give cxr_root, or "
            "leave it out of the list"
        )
    if wanted:
        keep &= available[:, [list(modalities).index(name) for name in wanted]].all(axis=1)
        rule = "every modality" if options.cohort == "paired" else f"modalities {' and '.join(wanted)}"
        funnel += (CohortRule(rule, int(keep.sum())),)
        require_rows(funnel)
    parts = None if divide is None else divide(material.stays[keep])
    if parts is not None:
        keep[keep] = parts.used
        funnel += (CohortRule(parts.rule, int(keep.sum()), f"{parts.note}; used where splits.source is task"),)
        require_rows(funnel)
    if chest is not None:
        _assert_in_window(chest.links, material.ends)
    target = material.target[keep]
    if refusal := outcome.refusal(target):
        raise DataError(f"{refusal}\n{describe(funnel)}")
    groups = _running_numbers(material.stays["subject_id"].to_numpy()[keep])
    ceiling = _ceiling(truth, material.stays["stay_id"].to_numpy())
    names = tuple(modalities)
    return Dataset(
        modalities={name: _rows(modality, keep) for name, modality in modalities.items()},
        available=available[keep],
        target=target,
        kind=outcome.kind,
        outputs=outcome.outputs,
        groups=groups,
        digest=_digest(options, names, available[keep], target, groups, parts, material.series, chest),
        metric="auroc",
        split=None if parts is None or parts.split is None else parts.split[parts.used],
        folds=None if parts is None or parts.folds is None else parts.folds[parts.used],
        ceiling=None if ceiling is None else ceiling[keep][:, _subset_columns(names)],
        funnel=tuple(FunnelStep(*step) for step in funnel),
        warnings=(*outcome.remarks(target), *(parts.warnings if parts else ()), *input_warnings(material)),
        description=outcome.describe(target, options),
    )


def _modalities(material: Material) -> tuple[dict[str, Modality], NDArray[np.bool_]]:
    from fusionbench import Modality

    series, chest, rows = material.series, material.chest, len(material.stays)
    values = np.load(series.folder / arrays.SERIES, mmap_mode="r")
    lengths = np.load(series.folder / arrays.LENGTHS) if series.facts["ragged"] else None
    modalities = {"ehr": Modality("series", values, lengths, standardise=np.array(CONTINUOUS), columns=COLUMNS)}
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
        lengths = None if modality.lengths is None else modality.lengths[keep]
        return replace(modality, values=values[keep], lengths=lengths)
    return replace(modality, values=tuple(text for text, kept in zip(values, keep, strict=True) if kept))


def _running_numbers(patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number patients 0, 1, ... in order of their first row."""
    _, first, inverse = np.unique(patients, return_index=True, return_inverse=True)
    numbers: NDArray[np.int64] = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    return numbers


def outside(links: Sequence[Link], ends: NDArray[np.float64]) -> int:
    """Return how many chest X-rays lie before admission to the unit or after what may be read."""
    return sum(not -TOLERANCE <= link.hours <= ends[link.row] + TOLERANCE for link in links)


def _assert_in_window(links: Sequence[Link], ends: NDArray[np.float64]) -> None:
    if count := outside(links, ends):
        raise DataError(
            f"{count} chest X-rays lie outside what may be read of their stay: they would leak the outcome."
        )


def _digest(
    options: Options,
    names: tuple[str, ...],
    available: NDArray[np.bool_],
    target: NDArray[np.int64],
    groups: NDArray[np.int64],
    parts: Assignment | None,
    series: Entry,
    chest: Chest | None,
) -> str:
    """Hash the content itself, so that a copy of the files gives the same digest anywhere."""
    content = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in (available, target, groups)))
    return store.content_hash(
        {
            "options": {
                k: v for k, v in asdict(options).items() if k not in ("memory_limit", "threads", "temp_folder")
            },
            "modalities": names,
            "columns": COLUMNS,
            "rows": content.hexdigest(),
            "parts": [column.tolist() for column in (parts.split, parts.folds) if column is not None] if parts else [],
            "series": [series.sha256(name) for name in (arrays.SERIES, arrays.LENGTHS)],
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


def input_warnings(material: Material) -> tuple[str, ...]:
    """Say what was left out of the inputs, and how much of it."""
    chest, facts = material.chest, material.series.facts
    found = [*material.events.facts.get("remarks", ()), *_lost_values(material.events.facts.get("by_variable", {}))]
    found += chest.warnings if chest else ["no MIMIC-CXR root was given: modalities cxr and report are left out"]
    unknown = material.events.facts["counts"]["unknown_texts"]
    if unknown:
        found.append(f"{unknown} charted texts of scores are not known and were left out")
    if facts["cut"]:
        found.append(
            f"{facts['cut']} of {len(material.stays)} series are cut after {material.options.max_steps} steps: "
            f"{facts['steps_cut']} later steps are left out (max_steps; the longest stay has {facts['longest']})"
        )
    return tuple(found)


_LOST = 0.5
_BESIDE = 0.05


def _lost_values(by_variable: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Say of which variables most events fall away, or some for a reason that is a fault of the files."""
    for name, counts in by_variable.items():
        read, kept = counts["read"], counts["kept"]
        reasons = {
            "are decimal commas": counts.get("comma", 0),
            "have no text in 'value', though 'valuenum' holds a number": counts.get("beside", 0),
            "are texts that are not known": counts["unknown_texts"],
            "are impossible": counts["out_of_range"],
        }
        reasons["have neither text nor number"] = read - kept - sum(reasons.values())
        why = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count > 0)
        of_files = counts.get("comma", 0) or counts.get("beside", 0) > _BESIDE * read
        if kept < (1 - _LOST) * read or of_files:
            yield f"{name}: {read - kept:,} of {read:,} charted values cannot be read and are left out" + (
                f" ({why})" if why else ""
            )
