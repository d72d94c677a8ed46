"""Manifest and blocks put together, with everything that is wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench import FunnelStep, TargetKind
from fusionbench.contract.names import name_problem
from fusionbench.data.files.frames import ID, read_frame
from fusionbench.errors import DataError, did_you_mean, printable
from fusionbench.keys import digest
from fusionbench_plugins.tasks.table.blocks import Block, read_block, texts_of
from fusionbench_plugins.tasks.table.leaks import Roles, leaks, names_of_patients
from fusionbench_plugins.tasks.table.manifest import (
    PRESENCE,
    Problems,
    flags,
    groups_across,
    read_folds,
    read_groups,
    read_split,
)
from fusionbench_plugins.tasks.table.target import Target, one_valued, read_target

_PATIENTS = re.compile(r"(patient|subject|person|participant)[_ ]?(id|nr|no|number|code)?|mrn")


@dataclass(frozen=True)
class Options:
    """What decides the data; :class:`~fusionbench_plugins.tasks.table.TableTask` documents each."""

    root: Path
    modalities: tuple[str, ...] | None
    manifest: str
    target: tuple[str, ...]
    kind: TargetKind | None
    group: str | None
    split: str | None
    folds: str | None
    positive: str | None = None


@dataclass(frozen=True)
class Content:
    """All rows of a table that are used, in manifest order.

    Args:
        blocks: By modality, in modality order; values are NaN where not available.
        available: Bool ``[rows, modalities]``; every row has one True at least.
        target: Labels.
        groups: Int64 ``[rows]``, patients.
        grouped: Whether patients were given.
        split: Text ``[rows]``, or None.
        folds: Int64 ``[rows]``, or None.
        funnel: How many rows are left after each rule.
        notes: What a reader of the numbers must know.
    """

    blocks: Mapping[str, Block]
    available: NDArray[np.bool_]
    target: Target
    groups: NDArray[np.int64]
    grouped: bool
    split: NDArray[np.str_] | None
    folds: NDArray[np.int64] | None
    funnel: tuple[FunnelStep, ...]
    notes: tuple[str, ...]

    def values(self, name: str) -> NDArray[np.float32]:
        """Float32 ``[rows, width]``, zero where the modality is not available."""
        has = self.available[:, list(self.blocks).index(name)]
        return np.where(has[:, None], self.blocks[name].values, np.float32(0))

    def digest(self, metric: str) -> str:
        """Hash the content itself, so that a copy of the folder gives the same digest anywhere."""
        arrays: list[NDArray[Any] | None] = [self.available, self.target.values, self.groups, self.split, self.folds]
        arrays += [self.values(name) for name in self.blocks]
        hashes = [None if a is None else _hash(a) for a in arrays]
        columns = {name: block.columns for name, block in self.blocks.items()}
        return digest([hashes, columns, self.target.kind, self.target.outputs, metric])


def read(options: Options) -> tuple[Content | None, Problems]:
    """Read a folder; without content there is a problem at least."""
    problems: Problems = []
    try:
        frame = read_frame(options.root / options.manifest)
    except DataError as problem:
        return None, [str(problem)]
    _check_samples(frame, problems)
    target = read_target(frame, options.target, options.kind, problems, options.positive)
    groups = read_groups(frame, options.group, problems)
    split = _optional(frame, options.split, "split", read_split, problems)
    folds = _optional(frame, options.folds, "fold", read_folds, problems)
    _check_groups(groups, split, folds, problems)
    blocks, available = _modalities(frame, options, target, problems)
    if problems or target is None:
        return None, problems
    problems += names_of_patients(target, groups, options.group is not None)
    used, funnel, notes = used_rows(available, folds if split is None else None)
    if not used.any():
        return None, ["no row has one of the modalities and a place in the split; look at the columns 'has_...'"]
    problems += _one_class_left(target, used, split)
    if problems:
        return None, problems
    notes = (*notes, *target.notes, *_patients_unnamed(frame, options))
    whole = Content(blocks, available, target, groups, options.group is not None, split, folds, funnel, notes)
    return (whole if used.all() else _only(whole, used)), []


def _named(frame: pd.DataFrame, options: Options) -> tuple[str, ...]:
    """Return the columns of patient, split and folds that are there."""
    return tuple(n for n in (options.group, options.split, options.folds) if n is not None and n in frame)


def _check_samples(frame: pd.DataFrame, problems: Problems) -> None:
    """Refuse rows that stand twice: one copy may be a training row and the other a test row."""
    if ID not in frame:
        return
    repeated = int(texts_of(frame[ID]).dropna().duplicated().sum())
    if repeated:
        problems.append(
            f"manifest: {repeated} rows repeat a {ID} of another row; a row is a sample of its own. Drop them, or rename the "
            "column where it means something else (a patient is named by 'group')"
        )


def _patients_unnamed(frame: pd.DataFrame, options: Options) -> tuple[str, ...]:
    """Say that a column looks like patients with several rows, where no column was named."""
    found = [
        str(c) for c in frame if _PATIENTS.fullmatch(str(c).strip().lower()) and 1 < frame[c].nunique() < len(frame)
    ]
    if options.group is not None or not found:
        return ()
    name = printable(found[0])
    return (
        f"column '{name}' of the manifest repeats: if it names patients, set group: {name}, or they may be in several parts",
    )


def _one_class_left(target: Target, used: NDArray[np.bool_], split: NDArray[np.str_] | None) -> Problems:
    parts = {"the rows that are left": used}
    if split is not None:
        parts["the training rows"] = used & (split == "train")
    for what, rows in parts.items():
        alike = one_valued(target, rows)
        if alike:
            return [
                f"manifest: target: {', '.join(alike[:5])} has one value in {what}; nothing can be learned from them"
            ]
    return []


def _optional(frame: pd.DataFrame, name: str | None, default: str, read_column: Any, problems: Problems) -> Any:
    """Read a column that may be absent, unless it was asked for under a name of its own."""
    if name is None or (name == default and name not in frame):
        return None
    return read_column(frame, name, problems)


def _check_groups(
    groups: NDArray[np.int64], split: NDArray[np.str_] | None, folds: NDArray[np.int64] | None, problems: Problems
) -> None:
    # folds count where there is no split
    for what, parts in (("part of the split", split), ("fold", folds if split is None else None)):
        across = 0 if parts is None else groups_across(groups, parts)
        if across:
            problems.append(
                f"manifest: {across} patients (column of 'group') are in more than one {what}: test rows would be known "
                "from training; repair it, or leave 'group' out to accept it"
            )


def _modalities(
    frame: pd.DataFrame, options: Options, target: Target | None, problems: Problems
) -> tuple[dict[str, Block], NDArray[np.bool_]]:
    declared = [str(c).removeprefix(PRESENCE) for c in frame if str(c).startswith(PRESENCE)]
    names = declared if options.modalities is None else list(options.modalities)
    if not names:
        problems.append(f"manifest: no column '{PRESENCE}<modality>'; add one for each modality, or name 'modalities'")
    roles = Roles(frame, options.target, _named(frame, options))
    blocks: dict[str, Block] = {}
    available = np.zeros((len(frame), len(names)), dtype=np.bool_)
    for i, name in enumerate(names):
        has = flags(frame, f"{PRESENCE}{name}", "modalities", problems) if name in declared else None
        try:
            block = read_block(options.root, name, frame)
        except DataError as problem:
            near = "" if name in declared or name_problem(name) else did_you_mean(name, declared)
            problems.append(f"{problem}{near}")
            continue
        blocks[name] = block
        available[:, i] = ~block.silent if has is None else has
        problems += _block_problems(block, available[:, i])
        problems += leaks(block, available[:, i], roles, target)
    return blocks, available


def _block_problems(block: Block, has: NDArray[np.bool_]) -> Problems:
    if not has.any():
        return [f"modality '{block.name}': no row has it; leave it out of 'modalities', or fill its file"]
    found = []
    hollow = int((has & block.silent).sum())
    if hollow:
        found.append(f"modality '{block.name}': {hollow} rows are marked present and hold no value")
    broken = block.broken & has[:, None]
    if broken.any():
        columns = np.flatnonzero(broken.any(axis=0))
        found.append(
            f"modality '{block.name}': {int(broken.any(axis=1).sum())} present rows hold NaN or infinity, in "
            f"{len(columns)} of {block.values.shape[1]} columns ({block.called(columns)}); fill them or leave the columns out"
        )
    return found


def used_rows(
    available: NDArray[np.bool_], folds: NDArray[np.int64] | None
) -> tuple[NDArray[np.bool_], tuple[FunnelStep, ...], tuple[str, ...]]:
    """Which rows take part, and what to say of the others."""
    something = np.asarray(available.any(axis=1))
    used = something
    steps = [FunnelStep("in the manifest", len(available)), FunnelStep("with a modality", int(something.sum()))]
    notes = [] if something.all() else [f"{int((~something).sum())} rows have none of the modalities and are left out"]
    if folds is not None:
        # the source says that these rows are for another purpose, most often its test split
        used = something & (folds >= 0)
        steps.append(FunnelStep("in a fold", int(used.sum())))
        if (folds < 0).any():
            notes.append(f"{int((folds < 0).sum())} rows are in no fold (-1) and are left out")
    return used, tuple(steps), tuple(notes)


def _only(content: Content, rows: NDArray[np.bool_]) -> Content:
    target = content.target
    return Content(
        blocks={n: Block(n, b.values[rows], b.columns) for n, b in content.blocks.items()},
        available=content.available[rows],
        target=Target(target.values[rows], target.kind, target.outputs),
        groups=content.groups[rows],
        grouped=content.grouped,
        split=None if content.split is None else content.split[rows],
        folds=None if content.folds is None else content.folds[rows],
        funnel=content.funnel,
        notes=content.notes,
    )


def _hash(array: NDArray[Any]) -> str:
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
