"""Run a benchmark from Python, and read what a run has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.api.asking import Asked
from fusionbench.api.memory import require, task_of
from fusionbench.api.results import Results
from fusionbench.commands.opening import checked, set_environment, umask_put_back
from fusionbench.commands.stored_runs import find_run
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.screen.notebook import Interrupted, Listener

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset


def run(
    benchmark: str | Path | Mapping[str, Any],
    strategies: Sequence[str | type | Mapping[str, Any]] = (),
    *,
    beside: bool = True,
    dataset: Dataset | None = None,
    workspace: str | Path = "runs",
    panel: str | None = None,
    plugins: Sequence[str] = (),
    device: str = "auto",
    only: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Results:
    """Run a benchmark: prepare, tune, train, score; what is stored in the workspace is not trained again.

    Args:
        benchmark: A benchmark file; the name of one that comes with the installation (``"mimic_ihm"``); or a dictionary that
            says what a file would.
        strategies: Strategies beside those of the benchmark: a name, a class of your own, or a dictionary with options
            (``{"name": MyFusion, "rank": 4}``).
        beside: False: these strategies only, and none of the benchmark's.
        dataset: Data in memory (:func:`fusionbench.dataset`), in place of the benchmark's task.
        workspace: Folder of cache, results, tracking and reports.
        panel: Which, of a file that has several.
        plugins: Files and modules of plugins, as ``-p`` takes them.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        only: Work on these arms only: ``"dwfuse"``, ``"concat*"``.
        limit: Train at most this many models.
        fresh: Train again what is stored.
        quiet: Show no progress.
        **settings: Keys of the benchmark that are changed: ``training={"epochs": 5}``, ``imputers=["zero"]``.

    Returns:
        What was found. Lines that could not be trained are in :attr:`Results.failures`.

    Raises:
        FusionBenchError: The benchmark, a plugin or the data are wrong; nothing was trained.
        KeyboardInterrupt: It was interrupted; what was trained is stored, and the same call goes on.
    """
    set_environment()
    found = Plugins(plugins).require_extra()
    if dataset is not None:
        found.add(task_of(require(dataset)))
        settings = {**settings, "task": task_of(dataset).name}
    asked = Asked(benchmark, strategies, settings, found, beside=beside)
    of_session = "a class" if asked.has_classes else "data" if dataset is not None else ""
    if of_session and (device == "cuda:all" or "," in device):
        raise ConfigError(f"device: {device!r} starts several processes, and {_nowhere(of_session)}")
    listener = Listener(quiet)
    with umask_put_back(), listener, asked.read(panel) as (readings, path):
        opened = checked(readings, found)
        executors = {b.execution.name for b, _ in opened.panels.values() if b.execution is not None}
        if of_session and executors:
            raise ConfigError(f"execution: {', '.join(executors)} works in other processes, and {_nowhere(of_session)}")
        from fusionbench.commands.running import Asked as Wanted
        from fusionbench.commands.running import run_file

        words = ["run", str(path)]
        wanted = Wanted(
            path,
            words,
            Path(workspace),
            device,
            limit=limit,
            only=only,
            fresh=fresh,
            quiet=quiet,
            plugin=[*plugins],
            observers=[listener],
        )
        name = next(iter(opened.panels))
        run_file(_of_panel(opened, name), wanted, listener)
    if listener.found is None:
        raise FusionBenchError("the run ended before its tables were made")
    if listener.found.interrupted:
        raise Interrupted
    return Results.of(listener.found)


def _nowhere(of_session: str) -> str:
    """What to do with what only this process has."""
    if of_session == "data":
        return "data of this session are in none of them; work in this one, or write files for the task 'table'"
    return "a class of this session is in none of them; work in this one, or use a file: plugins=['my_fusion.py']"


def _of_panel(opened: Any, name: str) -> Any:
    """One panel of a file as a file of its own: its page is not that of all panels."""
    from dataclasses import replace

    suite = replace(opened.suite, panels=())
    return replace(opened, suite=suite, panels={"": opened.panels[name]})


def load(workspace: str | Path = "runs", name: str | None = None) -> Results:
    """Read what a run has left in a workspace; trains nothing and prepares no data.

    Args:
        workspace: The folder that was given to the run, or ``reports/<benchmark>`` in it.
        name: Of the benchmark, where the workspace holds several.

    Raises:
        DataError: There is no such run, or there are several.
    """
    set_environment()
    return Results.stored(find_run(Path(workspace), name))
