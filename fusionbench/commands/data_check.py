"""``data check``: what is in a task's data, what is wrong with them, and a picture of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusionbench.contract.data import Dataset, Findings, Task
from fusionbench.data.preparation import cache_of, funnel_lines, task_options
from fusionbench.errors import ConfigError, DataError, did_you_mean
from fusionbench.plan.parts import Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    from fusionbench.progress import Progress

FEW_ROWS = 20
"""A label with fewer rows makes every number about it a guess."""


def tasks_for(folder: Path, name: str | None, assignments: Sequence[str], plugins: Plugins) -> list[Part]:
    """Return the tasks that recognise a folder, with the options that read it; the one of that name only, if given.

    Raises:
        ConfigError: No task does, or not that one.
    """
    known = [entry.name for entry in plugins.catalogue("tasks")]
    if name is not None and name not in known:
        raise ConfigError(f"no task named '{name}'{did_you_mean(name, known)}\n  tasks: {', '.join(known)}")
    parts = []
    for candidate in known if name is None else [name]:
        registration = plugins.get("tasks", candidate)
        target: type[Task] = registration.target
        options = target.recognises(folder)
        if options is not None:
            parts.append(Part(registration, {**options, **task_options(assignments)}, f"task {candidate}"))
    if not parts:
        who = "no task recognises" if name is None else f"task '{name}' does not recognise"
        raise ConfigError(f"{who} the files in {folder}; name a benchmark file, or a task with --set task.KEY=VALUE")
    return parts


def check_task(part: Part, workspace: Path, progress: Progress) -> Findings:
    """Return what a task finds in its data; where it has no check of its own, what the prepared data set tells."""
    cache = cache_of(workspace, part.registration.name)
    task = part.build()
    try:
        found: Findings | None = task.check(cache, progress)
        return Findings(describe(task.prepare(cache, progress))) if found is None else found
    except DataError as problem:
        return Findings([f"problem: {problem}"])


def draw(found: Findings, workspace: Path, part: Part) -> list[str]:
    """Draw the picture, where there is one, and say where it lies."""
    if found.draw is None:
        return []
    folder = workspace / "reports" / part.registration.name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"data.{ending}" for ending in ("png", "svg")]
    found.draw(paths)
    return [f"picture: {paths[0]} (and {paths[1].name})"]


def others(parts: Sequence[Part]) -> list[str]:
    """Say which other tasks read the same files."""
    names = [f"--task {part.registration.name}" for part in parts[1:]]
    return [f"checked as {parts[0].registration.name}; also possible: {', '.join(names)}"] if names else []


def describe(dataset: Dataset) -> list[str]:
    """Return what any data set tells: funnel, rows, modalities, labels, and patients in more than one part."""
    return [*funnel_lines(dataset), *rows_lines(dataset), *label_lines(dataset), *leak_lines(dataset)]


def rows_lines(dataset: Dataset) -> Iterator[str]:
    """Yield how many rows there are, and how many have which modality."""
    yield f"{len(dataset):,} rows of {len(np.unique(dataset.groups)):,} patients"
    for name, count in zip(dataset.modalities, dataset.available.sum(axis=0), strict=True):
        yield f"modality {name}: {count:,} of {len(dataset):,} rows ({count / len(dataset):.1%})"


def label_lines(dataset: Dataset) -> Iterator[str]:
    """Yield how many rows have each label or class; of many labels, the rarest and the most frequent."""
    target, outputs = dataset.target, dataset.outputs
    if dataset.kind is TargetKind.MULTICLASS:
        counts = np.bincount(target, minlength=len(outputs))
    else:
        counts = target.reshape(len(target), -1).sum(axis=0)
    order = np.argsort(counts)
    shown = order if len(order) <= 10 else order[[0, 1, -2, -1]]
    if len(shown) < len(order):
        yield f"{len(order)} labels, {counts.sum():,} of {target.size:,} are 1; the rarest two and the most frequent two:"
    for i in shown:
        yield f"label {outputs[i]}: {counts[i]:,} of {len(target):,} rows ({counts[i] / len(target):.1%})"
    few = np.flatnonzero(np.minimum(counts, len(target) - counts) < FEW_ROWS)
    if len(few):
        names = ", ".join(outputs[i] for i in few[:10])
        yield f"warning: fewer than {FEW_ROWS} rows with or without {len(few)} of {len(counts)} labels: {names}"


def leak_lines(dataset: Dataset) -> Iterator[str]:
    """Yield whether patients are in more than one part of a split, or fold, that the data bring."""
    for what, place in (("part of the split", dataset.split), ("fold", dataset.folds)):
        if place is None:
            continue
        pairs = np.unique(np.stack([dataset.groups, np.unique(place, return_inverse=True)[1]]), axis=1)
        several = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
        yield f"{'warning: ' if several else ''}{several} patients are in more than one {what}"
