"""``data check``: what is in a task's data, what is wrong with them, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench.contract.data import Findings
from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.data.findings import describe
from fusionbench.data.preparation import cache_of
from fusionbench.errors import DataError, printable
from fusionbench.plan.parts import Part
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.progress import Progress


def check_task(part: Part, workspace: Path, progress: Progress) -> Findings:
    """Return what a task finds in its data; where it has no check of its own, what the prepared data set tells."""
    cache = cache_of(workspace, part.registration.name)
    task = part.build()
    try:
        with plugin_call(owner_of(task)):
            found: Findings | None = task.check(cache, progress)
            found = Findings(describe(task.prepare(cache, progress))) if found is None else found
            Workspace(workspace).keep_private()  # what a check kept is about people, for all that is known here
    except DataError as problem:
        return Findings([f"problem: {problem}"])
    return replace(found, lines=[printable(line, kept="\n\t") for line in found.lines])


def draw(found: Findings, workspace: Path, part: Part) -> list[str]:
    """Draw the picture, where there is one, and say where it lies."""
    if found.draw is None:
        return []
    folder = Workspace(workspace).report(part.registration.name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"data.{ending}" for ending in ("png", "svg")]
    with plugin_call(part.registration.title):
        found.draw(paths)
    return [f"picture: {paths[0]} (and {paths[1].name})"]


def others(parts: Sequence[Part]) -> list[str]:
    """Say which other tasks read the same files."""
    names = [f"--task {name}" for name in dict.fromkeys(part.registration.name for part in parts[1:])]
    return [f"checked as {parts[0].registration.name}; also possible: {', '.join(names)}"] if names else []
