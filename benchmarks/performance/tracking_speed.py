"""How long MLflow tracking takes: many curves into a SQLite file, and its share of a whole run.

    python benchmarks/performance/tracking_speed.py --curves 2000
    python benchmarks/performance/tracking_speed.py --curves 200 --run benchmarks/mimic_ihm.yaml

The first logs a small run's curves, copied under other names: four patterns at five rates, 15 numbers and more with
their intervals at each, files beside them. Then it tracks again: what is known is only compared, and with the marker
forgotten every run is looked up. The second also runs a benchmark in a new workspace, and divides the seconds of
the tracker, with the import of MLflow, by those of the run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fusionbench import hookimpl
from fusionbench.config import read_benchmark
from fusionbench.plan import resolve
from fusionbench.plugins import Plugins
from fusionbench.progress import SilentProgress
from fusionbench.runner import Run, RunSummary
from fusionbench_plugins.observers.mlflow import MlflowTracker

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


class Timed:
    """Holds the tracker's seconds beside what it does."""

    def __init__(self, tracker: MlflowTracker) -> None:
        self._tracker, self.seconds = tracker, 0.0

    @hookimpl(trylast=True)
    def fusionbench_run_finished(self, summary: RunSummary) -> None:
        """Log, and time it."""
        self.seconds = timed(lambda: self._tracker.fusionbench_run_finished(summary))


def timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def prepared(path: Path, workspace: Path) -> tuple[Run, list[Any]]:
    """Return a run with its data prepared, and its observers; the tracker is timed."""
    benchmark, places = read_benchmark(path, [])
    resolved = resolve(benchmark, Plugins([], []), places.at)
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    built = [o.build(benchmark, workspace) for o in resolved.observers]
    return run, [Timed(o) if isinstance(o, MlflowTracker) else o for o in built]


def copied(summary: RunSummary, curves: int) -> RunSummary:
    """Return the summary with its arms copied under other names until there are at least so many curves."""
    plan, tables = summary.plan, summary.tables
    copies = -(-curves // (len(plan.arms) * len(plan.benchmark.missingness.patterns)))
    arms = [replace(arm, title=f"{arm.title} {i}") for i in range(copies) for arm in plan.arms]
    many = {f.name: _copied(getattr(tables, f.name), copies) for f in fields(tables)}
    return replace(summary, plan=replace(plan, arms=arms), tables=replace(tables, **many))


def _copied(table: pd.DataFrame, copies: int) -> pd.DataFrame:
    parts = [table.assign(strategy=table["strategy"].astype(str) + f" {i}") for i in range(copies)]
    return pd.concat(parts, ignore_index=True)


def log_many(curves: int, folder: Path) -> None:
    path = folder / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    run, _ = prepared(path, folder / "small")
    summary = copied(run.execute(), curves)
    summary.files.clear()
    workspace = folder / "many"
    tracker = MlflowTracker(run.benchmark, workspace)
    workspace.mkdir()

    def log() -> None:
        tracker.fusionbench_run_finished(summary)

    first = timed(log)
    known = timed(log)
    shutil.rmtree(workspace / "results" / "tracked")
    looked_up = timed(log)
    print(f"{curves:,} curves to SQLite: {first:.1f} s, {1000 * first / curves:.1f} ms each (the database made first)")
    print(f"  tracked again: {known:.1f} s; with the marker forgotten: {looked_up:.1f} s")
    size = sum(p.stat().st_size for p in (workspace / "mlartifacts").rglob("*") if p.is_file())
    print(f"  database {(workspace / 'mlflow.db').stat().st_size / 1e6:.1f} MB, files {size / 1e6:.1f} MB")


def share_of(path: Path, folder: Path) -> None:
    begun = time.perf_counter()
    run, observers = prepared(path, folder / "run")
    trained_from = time.perf_counter()
    run.execute(observers)
    ended = time.perf_counter()
    (tracker,) = [o for o in observers if isinstance(o, Timed)]
    for what, whole in (("with preparing the data", ended - begun), ("from prepared data on", ended - trained_from)):
        share = tracker.seconds / whole
        print(f"{run.benchmark.name}: tracking {tracker.seconds:.1f} s of {whole:.1f} s = {share:.1%}, {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=2000)
    parser.add_argument("--run", type=Path, help="a benchmark file that is run whole; the data it names must be there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.run is not None:  # first: MLflow is not imported yet, as in a run
            share_of(given.run, Path(name))
        log_many(given.curves, Path(name))


if __name__ == "__main__":
    main()
