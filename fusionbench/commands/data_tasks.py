"""Which tasks a command about data means: by name, or by the files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionbench.commands.opening import Opened
from fusionbench.config.document import parse_assignment
from fusionbench.contract.data import Task
from fusionbench.contract.isolation import plugin_call
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.keys import canonical
from fusionbench.plan.parts import Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve


def tasks_of(opened: Opened) -> list[Part]:
    """Return the tasks of a benchmark file, each once where panels share it."""
    parts = [resolve(benchmark, opened.plugins, places.at).task for benchmark, places in opened.panels.values()]
    return list({canonical([part.registration.name, part.options]): part for part in parts}.values())


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
        with plugin_call(registration.title):
            options = target.recognises(folder)
        if options is not None:
            parts.append(Part(registration, {**options, **task_options(assignments)}, f"task {candidate}"))
    if not parts:
        who = "no task recognises" if name is None else f"task '{name}' does not recognise"
        raise ConfigError(f"{who} the files in {folder}; name a benchmark file, or a task with --set task.KEY=VALUE")
    return parts
