"""``fusionbench run``: one benchmark, or every panel of a file; a panel that cannot be run does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.commands.opening import Opened, command
from fusionbench.config.reading import once
from fusionbench.contract.isolation import owner_of, plugin_call
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.plan.arithmetic import ELSEWHERE, Abilities
from fusionbench.plan.estimates import Estimate
from fusionbench.plan.parts import Part
from fusionbench.plugins.resolving import resolve
from fusionbench.records import PanelOutcome
from fusionbench.report.suite import write_suite
from fusionbench.run.executors.executor import Executor, ThisProcess
from fusionbench.run.executors.placed import Placed
from fusionbench.run.executors.units import Shard, keys_of
from fusionbench.run.runner import Run
from fusionbench.training.devices import precision
from fusionbench.training.devices.device import find_devices

if TYPE_CHECKING:
    import torch

    from fusionbench.plan.parts import Resolved
    from fusionbench.records import Display, RunPlan

INTERRUPTED = 130


@dataclass(frozen=True)
class Asked:
    """What the user asked of ``run``.

    Args:
        config: The benchmark file.
        words: How the command names the file, plugins and assignments.
        workspace: Folder of results and reports.
        device: A device, or a list of several.
        dry_run: Print the plan only.
        limit: Train so many models at most.
        only: Pattern of the arms to work on.
        shard: A share, as ``2/4``.
        plugin: Files and modules given with ``-p``.
        no_plugin: What is left out.
        no_robustness: Leave out other settings.
        fresh: Train again what is stored.
        quiet: Results only.
        observers: More that follow every run.
        estimates: Where the estimate of each dry run is added.
    """

    config: Path
    words: Sequence[str]
    workspace: Path
    device: str = "auto"
    dry_run: bool = False
    limit: int | None = None
    only: str | None = None
    shard: str | None = None
    plugin: Sequence[str] = ()
    no_plugin: Sequence[str] = ()
    no_robustness: bool = False
    fresh: bool = False
    quiet: bool = False
    observers: Sequence[Any] = ()
    estimates: list[Estimate] = field(default_factory=list)


def run_file(opened: Opened, asked: Asked, display: Display) -> int:
    """Run what a benchmark file holds, and return the exit code: the worst of its panels.

    Raises:
        ConfigError: Plugins or options do not fit, in any panel; or no arm is the one to work on.
    """
    running = _Running(opened, asked, display)
    if not opened.suite.panels:
        return running.one("").code
    return running.all()


class _Running:
    """The panels of a file under way.

    Args:
        opened: The file.
        asked: What the user asked.
        display: Where everything is said.
    """

    def __init__(self, opened: Opened, asked: Asked, display: Display) -> None:
        self._opened, self._asked, self._display = opened, asked, display
        self._shard = None if asked.shard is None else Shard.parse(asked.shard)
        self._devices: list[torch.device] = find_devices(asked.device)
        self._resolved = _resolved(opened)
        self._executors = {name: self._executor_of(name) for name in opened.panels}
        self._left = asked.limit
        self._plans: list[RunPlan] = []
        self._estimates: list[Estimate] = []

    def all(self) -> int:
        """Run every panel that has an arm to work on."""
        names, start, outcomes = self._names(), time.perf_counter(), list[PanelOutcome]()
        for number, name in enumerate(names, 1):
            self._display.panel(self._opened.panels[name][0], number, len(names))
            outcomes.append(self._contained(name))
            if outcomes[-1].code == INTERRUPTED:
                break
        if self._asked.dry_run:
            seconds, failures = 0.0, dict[str, str]()
            for estimate in self._estimates:
                seconds, failures = seconds + estimate.seconds, {**failures, **estimate.failures}
            self._display.all_planned(self._plans, Estimate(seconds, failures))
        else:
            page = self._page()
            self._display.panels(outcomes, page, time.perf_counter() - start)
        return max((outcome.code for outcome in outcomes), default=0)

    def _names(self) -> list[str]:
        """The panels with an arm to work on."""
        only = self._asked.only
        found = [
            name
            for name, resolved in self._resolved.items()
            if only is None or any(fnmatchcase(n, only) for arm in resolved.arms for n in (arm.title, arm.label))
        ]
        if not found:
            labels = dict.fromkeys(arm.label for resolved in self._resolved.values() for arm in resolved.arms)
            raise ConfigError(f"--only {only}: no arm of any panel has this name\n  arms: {', '.join(labels)}")
        return found

    def _contained(self, name: str) -> PanelOutcome:
        try:
            return self.one(name)
        except FusionBenchError as problem:
            self._display.progress.note(f"panel {name} could not be run: {problem}")
            return PanelOutcome(name, problem.exit_code, str(problem))

    def _page(self) -> Path | None:
        """The page of all panels; a share of a run makes no tables, and so no page."""
        if self._shard is not None:
            return None
        benchmarks = {name: benchmark for name, (benchmark, _) in self._opened.panels.items()}
        return write_suite(self._opened.suite, benchmarks, self._asked.workspace)

    # ---------------------------------------------------------------- one benchmark

    def one(self, name: str) -> PanelOutcome:
        """Run one benchmark."""
        asked, display = self._asked, self._display
        resolved, benchmark = self._resolved[name], self._opened.panels[name][0]
        observers = [
            o.build(benchmark, asked.workspace) for o in resolved.observers
        ]  # they may refuse, before the work
        display.begin(benchmark)
        run = self._prepared(name)
        if asked.fresh and not asked.dry_run:
            run.forget()
        if asked.dry_run or not asked.quiet:
            display.plan(run.plan.emptied() if asked.fresh else run.plan)
        if asked.dry_run:
            self._plans.append(run.plan.emptied() if asked.fresh else run.plan)
            self._estimates.append(run.estimate())
            asked.estimates.append(self._estimates[-1])
            display.estimate(self._estimates[-1])
            if (placed := self._executors[name]) is not None:
                display.placed(placed.outlook(run, self._estimates[-1]))
            return PanelOutcome(name, 0)
        again = [*asked.words, *(["--panel", name] if name else []), "--workspace", str(asked.workspace)]
        executor: Executor = self._executors[name] or ThisProcess()
        if self._shard is None:
            summary = run.execute([*observers, *display.observers, *asked.observers], self._left, executor)
            display.summary(summary)
            return self._ended(PanelOutcome(name, summary.exit_code, "", summary.expectations), summary.trained)
        worked = run.work(display.observers, self._left, executor)
        display.share(str(self._shard), worked, command(["fusionbench", *again]))
        return self._ended(PanelOutcome(name, worked.exit_code), len(worked.trained))

    def _ended(self, outcome: PanelOutcome, trained: int) -> PanelOutcome:
        """Take what was trained off the limit, which is for all panels together."""
        self._left = None if self._left is None else max(self._left - trained, 0)
        return outcome

    def _prepared(self, name: str) -> Run:
        asked, (benchmark, _) = self._asked, self._opened.panels[name]
        if asked.no_robustness or self._shard is not None:
            # who makes the tables of all shares runs the other settings
            benchmark = benchmark.model_copy(update={"robustness": ()})
        run = Run(
            benchmark,
            self._resolved[name],
            asked.workspace,
            self._devices[0],
            self._display.progress,
            asked.config,
            self._abilities(name),
        )
        run.prepare()
        if asked.only is not None:
            run.select(asked.only)
        if self._shard is not None:
            run.take(keys_of(run, self._shard))
        return run

    # ---------------------------------------------------------------- who does the work

    def _executor_of(self, name: str) -> Placed | None:
        """The executor of a panel, asked whether it can be used; None: this process does the work.

        Raises:
            ConfigError: It cannot be used, or something else was asked for that does not go with it.
        """
        asked, part, plugins = self._asked, self._resolved[name].execution, self._opened.plugins
        several = [str(device) for device in self._devices] if len(self._devices) > 1 else []
        if part is None and several:
            part = Part(plugins.get("executors", "local"), {"devices": several}, "--device")
        elif part is not None and several:
            raise ConfigError(
                f"--device {asked.device}: {part.where} names the executor '{part.registration.name}', which chooses devices; "
                "name one device for what is done here, or leave the executor out"
            )
        if part is None:
            return None
        if self._shard is not None:
            raise ConfigError(
                f"--shard {asked.shard}: an executor ({part.where}: {part.registration.name}) divides the work itself; leave one "
                "of the two out"
            )
        executor = part.build()
        with plugin_call(owner_of(executor)):
            executor.require()
        sources = [str(Path(p).absolute()) if p.endswith(".py") else p for p in asked.plugin]
        return Placed(executor, sources, asked.no_plugin, self._opened.panels[name][1].at)

    def _abilities(self, name: str) -> Sequence[Abilities]:
        """What the places can do in which models are trained."""
        placed = self._executors[name]
        if placed is not None and not placed.executor.here:
            return [ELSEWHERE]
        return [precision.abilities(device) for device in self._devices]


def _resolved(opened: Opened) -> Mapping[str, Resolved]:
    """Every panel's plugins, loaded.

    Raises:
        ConfigError: With what is wrong in any of them.
    """
    found: dict[str, Resolved] = {}
    problems: dict[str, list[str]] = {}
    for name, (benchmark, places) in opened.panels.items():
        problems[name] = []
        try:
            found[name] = resolve(benchmark, opened.plugins, places.at)
        except ConfigError as problem:
            problems[name] = problem.problems
    if wrong := list(once(problems)):
        raise ConfigError(wrong)
    return found
