"""``data prepare``: make a task's data set ahead of a run, and say what is in it and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench.config.document import parse_assignment
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.plan.parts import Part
from fusionbench.plugins.catalogue import Plugins

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset, Modality
    from fusionbench.progress import Progress


def cache_of(workspace: Path, task: str) -> Path:
    """Return the folder that a task's ``prepare`` is given."""
    return workspace / "cache" / "tasks" / task


def tasks_named(name: str, assignments: Sequence[str], plugins: Plugins) -> list[Part]:
    """Return the task of this name, or all tasks whose ``source`` it is, with options from ``--set task.KEY=VALUE``.

    Raises:
        ConfigError: There is none, or an assignment is not an option of it.
    """
    known = [entry.name for entry in plugins.catalogue("tasks")]
    names = [name] if name in known else [k for k in known if k.startswith(f"{name}_") and _source(k, plugins) == name]
    if not names:
        raise ConfigError(
            f"'{name}' is neither a benchmark file nor a task{did_you_mean(name, known)}\n  tasks: {', '.join(known)}"
        )
    options = task_options(assignments)
    parts = [Part(plugins.get("tasks", known_name), options, f"task {known_name}") for known_name in names]
    problems = [f"{part.where}: {problem}" for part in parts if (problem := part.registration.problem_with(options))]
    if problems:
        raise ConfigError(problems)
    return parts


def _source(task: str, plugins: Plugins) -> str:
    return str(getattr(plugins.get("tasks", task).target, "source", ""))


def task_options(assignments: Sequence[str]) -> dict[str, object]:
    """Return the options that ``--set task.KEY=VALUE`` gives.

    Raises:
        ConfigError: An assignment is not one of the task.
    """
    return dict(_task_option(assignment) for assignment in assignments)


def _task_option(assignment: str) -> tuple[str, object]:
    path, value = parse_assignment(assignment)
    if len(path) != 2 or path[0] != "task":
        raise ConfigError(f"--set {assignment}: without a benchmark file only options of the task: task.KEY=VALUE")
    return path[1], value


def prepare_task(part: Part, workspace: Path, progress: Progress) -> Dataset:
    """Prepare a task's data in the workspace, where a run will find them.

    Raises:
        DataError: Files are missing or malformed, or no row is left.
        WorkspaceError: The cache cannot be written.
    """
    task = part.build()
    dataset: Dataset = task.prepare(cache_of(workspace, part.registration.name), progress)
    return dataset


def funnel_lines(dataset: Dataset) -> Iterator[str]:
    """Yield the funnel of the cohort, then the warnings."""
    for step in dataset.funnel:
        yield f"{step.rows:>10,}  {step.step}" + (f"  ({step.note})" if step.note else "")
    for warning in dataset.warnings:
        yield f"warning: {warning}"


def content_lines(dataset: Dataset, folder: Path) -> Iterator[str]:
    """Yield what the data set holds, modality by modality, and where it lies."""
    yield dataset.description or f"{len(dataset):,} rows"
    for name, modality in dataset.modalities.items():
        held = int(dataset.available[:, list(dataset.modalities).index(name)].sum())
        yield f"{name:>10}  {_content(modality)}, {held:,} of {len(dataset):,} rows have it"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    yield f"kept in {folder} ({size:,.1f} MB); manifest.json in each folder: settings, counts, versions, hashes"


def _content(modality: Modality) -> str:
    shape = getattr(modality.values, "shape", None)
    if shape is None:
        return modality.kind
    longest = "" if modality.lengths is None else " at most"
    return f"{modality.kind}{longest} {' x '.join(map(str, shape[1:]))}"
