"""The run again under other protocol settings, after it: same data, same workspace, models under keys of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from fusionbench.analysis.ranking.robustness import robustness_of
from fusionbench.config.alternatives import changed, flaws, shown
from fusionbench.config.sections import MAIN_SETTING, Benchmark
from fusionbench.contract.isolation import reason_of
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.plan.estimates import Estimate
from fusionbench.progress import Progress
from fusionbench.records import RunPlan, RunSummary
from fusionbench.run.executors.executor import Executor


class OtherRun(Protocol):
    """What is asked of a run under other settings."""

    plan: RunPlan

    def execute(self, *, limit: int | None = None, executor: Executor | None = None) -> RunSummary:
        """Train what is not stored, and make its tables."""

    def select(self, only: str) -> None:
        """Work on some arms only."""

    def forget(self) -> None:
        """Train again what is stored."""

    def estimate(self) -> Estimate:
        """Say how long it takes at most."""


@dataclass(frozen=True)
class Alternatives:
    """Runs under other settings, made ready before the first model is trained.

    Args:
        runs: By the name of the setting.
        changes: What each setting changes, in words.
        broken: Settings under which nothing can be run, with the reason.
    """

    runs: Mapping[str, OtherRun]
    changes: Mapping[str, str]
    broken: Mapping[str, str]

    @property
    def plans(self) -> dict[str, RunPlan]:
        """What each is going to do."""
        return {name: run.plan for name, run in self.runs.items()}


def alternatives_of(benchmark: Benchmark, ready: Callable[[Benchmark], OtherRun], progress: Progress) -> Alternatives:
    """Make the run ready under every other setting of ``robustness``.

    Args:
        benchmark: With its alternatives.
        ready: Makes a run of a benchmark ready on the data of this one.
        progress: Told of a setting that changes nothing.

    Raises:
        ConfigError: Under some setting it is no benchmark, or options are refused; all of them at once.
    """
    runs, broken, problems = dict[str, OtherRun](), dict[str, str](), list[str]()
    seen = [(changed(benchmark, a.model_copy(update={"set": {}})), MAIN_SETTING) for a in benchmark.robustness[:1]]
    for alternative in benchmark.robustness:
        place = f"robustness '{alternative.name}'"
        if wrong := [f"{place}: {text}" for _, text in flaws(alternative)]:
            problems += wrong
            continue
        try:
            other = changed(benchmark, alternative)
        except ValidationError as error:
            problems += [f"{place}: {e['msg']}" for e in error.errors()]
            continue
        twin = next((name for known, name in seen if known == other), None)
        if twin is not None:
            progress.note(f"{place}: the same settings as '{twin}', so it is left out")
            continue
        seen.append((other, alternative.name))
        try:
            runs[alternative.name] = ready(other)
        except ConfigError as problem:
            problems += [f"{place}: {p}" for p in problem.problems]
        except FusionBenchError as problem:
            broken[alternative.name] = reason_of(problem)
    if problems:
        raise ConfigError(problems)
    return Alternatives(runs, {a.name: shown(a) for a in benchmark.robustness}, broken)


def compare_settings(
    summary: RunSummary, others: Alternatives, limit: int | None, progress: Progress, executor: Executor | None = None
) -> None:
    """Run every other setting and add to the summary how much of the verdict survives; what fails loses nothing else.

    Args:
        summary: Of the run itself; its tables are whole.
        others: What is run.
        limit: Train this many models at most, of all of them together.
        progress: Told which one is run.
        executor: Who trains; None: this process.
    """
    boards = {MAIN_SETTING: summary.tables.leaderboard}
    summary.failures += [(f"robustness '{name}'", reason) for name, reason in others.broken.items()]
    for i, (name, run) in enumerate(others.runs.items(), 1):
        if summary.interrupted:
            break
        label = f"robustness '{name}'"
        progress.note(f"robustness, setting {i} of {len(others.runs)}: {name} ({others.changes[name]})")
        try:
            found = run.execute(limit=limit, executor=executor)
        except KeyboardInterrupt:
            summary.interrupted = True
        except Exception as problem:  # noqa: BLE001 - whatever it is, the run itself is done and keeps its tables
            summary.failures.append((label, reason_of(problem)))
        else:
            if found.tables.leaderboard["area"].notna().any():
                boards[name] = found.tables.leaderboard
            else:
                summary.notes.append(f"{label}: no line is complete, so nothing is said of it.")
            summary.failures += [(f"{label}: {cell}", reason) for cell, reason in found.failures]
            summary.trained += found.trained
            summary.interrupted = found.interrupted
            limit = None if limit is None else max(limit - found.trained, 0)
    if len(boards) > 1:
        summary.robustness = robustness_of(boards, others.changes)
