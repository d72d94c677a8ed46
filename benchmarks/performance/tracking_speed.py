"""How long MLflow tracking takes: many curves into a SQLite file, and what it adds to a whole run.

    python benchmarks/performance/tracking_speed.py --curves 2000
    python benchmarks/performance/tracking_speed.py --curves 200 --run benchmarks/mimic_ihm.yaml --rounds 5

The first logs a small run's curves, copied under other names: four patterns at five rates, 15 numbers and more with
their intervals at each, files beside them. Then it tracks again: what is known is only compared, and with the marker
forgotten every run is looked up.

The second also runs a benchmark whole, from the command line and in new workspaces: without and with the tracker in turn, so
that what else the machine does falls on both. It prints each pair, medians and spread: seconds by the clock, and processor
seconds of all processes of the run. Prepared data are shared; nothing else is. Runs differ by more than tracking takes, so
it runs once more in this process, and prints how long the run stood in the tracker's hooks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from fusionbench import hookimpl
from fusionbench.config.reading import read_benchmark
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.records import RunPlan, RunSummary
from fusionbench.run.runner import Run
from fusionbench_plugins.observers.mlflow.observer import MlflowTracker

SMALL = """
name: tracked
task: {name: planted, problem: noise, rows: 300}
encoders: {strong: identity, weak: identity, noise: identity}
model: {width: 8}
strategies: [concat, sum]
missingness: {patterns: [random, strong, weak, noise], rates: [0, 0.2, 0.4, 0.6, 0.8]}
splits: {folds: 3}
training: {epochs: 2}
evaluation: {resamples: 100}
"""
HOOKS = ("fusionbench_run_started", "fusionbench_report_sections", "fusionbench_run_finished")
OBSERVERS = {"without": "[files, html]", "with": "[files, html, mlflow]"}


class Took(NamedTuple):
    """Seconds by the clock, and processor seconds."""

    clock: float
    processor: float


def timed(call: Callable[[], Any]) -> Took:
    """Time a call; processor seconds are those of child processes, whose end was waited for."""
    clock, before = time.perf_counter(), os.times()
    call()
    after = os.times()
    used = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return Took(time.perf_counter() - clock, used)


# --------------------------------------------------------------------------------------------
# many curves


def copied(summary: RunSummary, curves: int) -> RunSummary:
    """Return the summary with its arms copied under other names until there are at least so many curves."""
    plan, tables = summary.plan, summary.tables
    copies = -(-curves // (len(plan.arms) * len(plan.benchmark.missingness.patterns)))
    arms = [replace(arm, title=f"{arm.title} {i}") for i in range(copies) for arm in plan.arms]
    many = {f.name: _copied(getattr(tables, f.name), copies) for f in fields(tables)}
    return replace(summary, plan=replace(plan, arms=arms), tables=replace(tables, **many))


def _copied(table: Any, copies: int) -> Any:
    if not isinstance(table, pd.DataFrame) or "strategy" not in table:
        return table
    parts = [table.assign(strategy=table["strategy"].astype(str) + f" {i}") for i in range(copies)]
    return pd.concat(parts, ignore_index=True)


def prepared_run(path: Path, workspace: Path) -> Run:
    """Return a benchmark's run with its data prepared."""
    benchmark, places = read_benchmark(path, [])
    resolved = resolve(benchmark, Plugins([], []), places.at)
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress(), path)
    run.prepare()
    return run


def small_run(folder: Path) -> Run:
    """Return a small run with its data prepared."""
    path = folder / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return prepared_run(path, folder / "small")


def log_many(curves: int, folder: Path) -> None:
    """Log so many curves, again, and again with nothing remembered."""
    run = small_run(folder)
    summary = copied(run.execute(), curves)
    summary.files.clear()
    workspace = folder / "many"

    def log() -> None:
        tracker = MlflowTracker(run.benchmark, workspace)
        tracker.fusionbench_report_sections(summary)
        tracker.fusionbench_run_finished(summary)

    first, known = timed(log).clock, timed(log).clock
    shutil.rmtree(workspace / "results" / "tracked")
    looked_up = timed(log).clock
    print(f"{curves:,} curves to SQLite: {first:.1f} s, {1000 * first / curves:.1f} ms each (the database made first)")
    print(f"  tracked again: {known:.1f} s; with the marker forgotten: {looked_up:.1f} s")
    size = sum(p.stat().st_size for p in (workspace / "mlartifacts").rglob("*") if p.is_file())
    print(f"  database {(workspace / 'mlflow.db').stat().st_size / 1e6:.1f} MB, files {size / 1e6:.1f} MB")


# --------------------------------------------------------------------------------------------
# a whole run


def fusionbench(*words: object) -> None:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from fusionbench.cli import main; main()", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_once(path: Path, prepared: Path, workspace: Path, observers: str) -> Took:
    """Run a benchmark in a new workspace that only has prepared data."""
    shutil.copytree(prepared / "cache", workspace / "cache")
    words = ["run", path, "--quiet", "--workspace", workspace, "--set", f"observers={observers}"]
    took = timed(lambda: fusionbench(*words))
    shutil.rmtree(workspace)
    return took


def share_of(path: Path, rounds: int, folder: Path) -> None:
    """Run without and with the tracker in turn; which of the two comes first changes every round."""
    prepared = folder / "prepared"
    fusionbench("data", "prepare", path, "--quiet", "--workspace", prepared)
    pairs: list[dict[str, Took]] = []
    for i in range(rounds):
        order = list(OBSERVERS) if i % 2 == 0 else list(OBSERVERS)[::-1]
        pairs.append({o: run_once(path, prepared, folder / "run", OBSERVERS[o]) for o in order})
        print(f"  round {i + 1}: " + ", ".join(f"{o} {pairs[-1][o].clock:.1f} s" for o in OBSERVERS), flush=True)
    for kind in Took._fields if pairs else ():
        whole = [getattr(p["without"], kind) for p in pairs]
        added = [getattr(p["with"], kind) - w for p, w in zip(pairs, whole, strict=True)]
        shares = [a / w for a, w in zip(added, whole, strict=True)]
        print(f"{kind} seconds: without {spread(whole)}; tracking adds {spread(added)}, {percent(shares)} of a run")
    standing(path, prepared)


class Timed:
    """Holds the tracker's seconds beside what it does."""

    def __init__(self, tracker: MlflowTracker) -> None:
        self._tracker = tracker
        self.seconds = dict.fromkeys(HOOKS, 0.0)

    def _time(self, hook: str, given: RunPlan | RunSummary) -> None:
        self.seconds[hook] = timed(lambda: getattr(self._tracker, hook)(given)).clock

    @hookimpl
    def fusionbench_run_started(self, plan: RunPlan) -> None:
        """Begin, and time it."""
        self._time(HOOKS[0], plan)

    @hookimpl
    def fusionbench_report_sections(self, summary: RunSummary) -> None:
        """Hand over, and time it."""
        self._time(HOOKS[1], summary)

    @hookimpl(trylast=True)
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Wait for the end, and time it."""
        self._time(HOOKS[2], summary)


def standing(path: Path, workspace: Path) -> None:
    """Run in this process, where MLflow is not imported yet, and say how long the run stood in the tracker's hooks."""
    run = prepared_run(path, workspace)
    built = [o.build(run.benchmark, workspace) for o in run.resolved.observers]
    observers = [Timed(o) if isinstance(o, MlflowTracker) else o for o in built]
    whole = timed(lambda: run.execute(observers)).clock
    (tracker,) = [o for o in observers if isinstance(o, Timed)]
    parts = ", ".join(f"{hook.removeprefix('fusionbench_')} {s:.2f} s" for hook, s in tracker.seconds.items())
    stood = sum(tracker.seconds.values())
    print(f"in the tracker's hooks {stood:.2f} of {whole:.1f} s from prepared data on, {stood / whole:.1%}: {parts}")


def spread(values: Sequence[float]) -> str:
    """Return the median with lowest and highest."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def percent(values: Sequence[float]) -> str:
    """Return the median with lowest and highest, in percent."""
    return f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=2000, help="0: do not log many")
    parser.add_argument("--run", type=Path, help="a benchmark file that is run whole; the data it names must be there")
    parser.add_argument("--rounds", type=int, default=5, help="how many pairs of runs; 0: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.run is not None:
            share_of(given.run, given.rounds, Path(name))
        if given.curves:
            log_many(given.curves, Path(name))


if __name__ == "__main__":
    main()
