"""What does it cost to have work done elsewhere? Planning 100,000 cells, starting a worker, handing out a unit; by executor.

    python benchmarks/performance/units.py --folder /tmp/performance
    python benchmarks/performance/units.py --executors local ray slurm --folder /tmp/performance
    python benchmarks/performance/units.py --demo --folder /tmp/performance   # the demo by two processes and by one, in turns

*Planning*: a benchmark of 100,000 cells on little data: every key, what is stored, the units, and what a worker is told. *A
worker's start*: from the first unit that is given to its first words, of a worker that is not there yet. *A unit*: handed out,
opened, and returned, where all of its models are stored; the mean over many. A unit pays when its training takes much longer than
that: 33 times as long, so that what is lost is 3 %. Slurm needs a queue that is idle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from populations import markdown, write

from fusionbench import Executor, Message, Perform, Unit, UnitResult, Watch
from fusionbench.config.sections import Benchmark
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.run.executors.placed import Placed
from fusionbench.run.runner import Run

HOUSE = Path(__file__).resolve().parents[1]
PAYS = 33
"""How many times as long as its overhead a unit must train, for an overhead of 3 %."""
LARGE = {
    "name": "large",
    "task": {"name": "planted", "problem": "xor", "rows": 200},
    "encoders": {"first": "identity", "second": "identity"},
    "model": {"width": 4},
    "strategies": ["concat", "sum", "se_gate", "dwfuse"],
    "missingness": {
        "patterns": ["random", "all", "one", "first", "second"],
        "rates": [0, 0.1, 0.2, 0.3, 0.4, 0.5],
        "where": "grid",
    },
    "splits": {"folds": 5, "seeds": list(range(8))},
    "training": {"epochs": 1, "batch_size": 64},
    "evaluation": {"resamples": 100, "subsets": False},
    "observers": [],
}
SMALL = {**LARGE, "name": "small", "missingness": {"rates": [0, 0.5]}, "splits": {"folds": 5, "seeds": list(range(5))}}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "local": {"devices": ["cpu", "cpu"]},
    "ray": {},
    "slurm": {"tasks": 2, "time": "0:30:00", "poll_seconds": 0.5},
}


def prepared(document: Mapping[str, Any], workspace: Path) -> Run:
    """Return a run, prepared."""
    benchmark = Benchmark.model_validate(document)
    run = Run(benchmark, resolve(benchmark, Plugins(), str), workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    return run


@dataclass
class Noted:
    """Keeps when the first words came, and how many units were finished."""

    began: float = 0.0
    first: float | None = None
    finished_units: int = 0
    problems: list[str] = field(default_factory=list)

    def heard(self, unit: Unit, worker: str, message: Message) -> None:
        """The first words of all."""
        self.first = time.perf_counter() - self.began if self.first is None else self.first

    def finished(self, unit: Unit, worker: str, result: UnitResult) -> None:
        """One more."""
        self.finished_units += 1

    def lost(self, unit: Unit, worker: str, reason: str) -> None:
        """Nothing is to be lost here."""
        self.problems.append(reason)

    def given_up(self, unit: Unit, reason: str) -> None:
        """Nothing is to be given up here."""
        self.problems.append(reason)


class Keeper(Executor):
    """Takes what a run gives to an executor, and does nothing."""

    here = True

    def __init__(self, number: int) -> None:
        self._number = number
        self.given: tuple[Sequence[Unit], Perform] | None = None

    def places(self) -> int:
        """As many as units are wanted, four of them to a place."""
        return max(1, self._number // self.units_each)

    def work(self, units: Sequence[Unit], perform: Perform, watch: Watch) -> None:
        """Keep it."""
        self.given = (units, perform)


def planning(folder: Path, units: int) -> dict[str, Any]:
    """Time each part of planning 100,000 cells."""
    start = time.perf_counter()
    run = prepared(LARGE, folder / "large")
    ready = time.perf_counter() - start
    again = _seconds(run.planning.plan)
    keeper = Keeper(units)
    placed = Placed(keeper, (), (), str)
    divided = _seconds(lambda: placed.units(run, run.plan.todo))
    handed = _seconds(lambda: placed.work(run, run.plan.todo))
    cells = run.plan.cells
    return {
        "cells": f"{cells:,}",
        "models": f"{len(run.plan.fits):,}",
        "prepare and plan (s)": f"{ready:.1f}",
        "plan again (s)": f"{again:.2f}",
        "divide (s)": f"{divided:.2f}",
        "all that is done before the first unit (s)": f"{handed:.1f}",
        "cells / s": f"{cells / (ready + handed):,.0f}",
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def handing_out(name: str, folder: Path, number: int, rounds: int) -> dict[str, Any]:
    """Time a worker's start and a unit, where everything is stored."""
    run = prepared(SMALL, folder / "small")
    run.execute()
    keeper = Keeper(4)
    run.forget()
    Placed(keeper, (), (), str).work(run, run.plan.todo)
    assert keeper.given is not None
    units, perform = keeper.given
    run = prepared(SMALL, folder / "small")
    run.execute()
    starts, each = [], []
    for _ in range(rounds):
        starts.append(_one_round(name, perform, units[:1]).first or 0.0)
        few, many = (_copies(units, n) for n in (2, number))
        each.append((_timed(name, perform, many) - _timed(name, perform, few)) / (number - 2))
    overhead = median(each)
    return {
        "executor": name,
        "a worker's start (s)": _spread(starts),
        "a unit (s)": _spread(each),
        "units / s": f"{1 / overhead:,.1f}",
        "smallest unit that pays (s of training)": f"{PAYS * overhead:,.1f}",
    }


def _copies(units: Sequence[Unit], number: int) -> list[Unit]:
    """Units of other names: the same models, which are all stored."""
    first = units[0]
    return [Unit(f"{i:012x}", first.title, first.models, first.steps) for i in range(number)]


def _one_round(name: str, perform: Perform, units: Sequence[Unit]) -> Noted:
    executor: Executor = Plugins().get("executors", name).build("here", **OPTIONS[name])
    executor.require()
    noted = Noted(began=time.perf_counter())
    with perform.marked():  # type: ignore[attr-defined]
        executor.work(units, perform, noted)
    if noted.problems or noted.finished_units != len(units):
        sys.exit(f"{name}: {noted.finished_units} of {len(units)} units: {noted.problems[:3]}")
    return noted


def _timed(name: str, perform: Perform, units: Sequence[Unit]) -> float:
    return _seconds(lambda: _one_round(name, perform, units))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3f} ({min(values):.3f}, {max(values):.3f})"


# --------------------------------------------------------------------------------------------
# the demo


def demo(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Run the demo of mimic_ihm by one process, and by two that take units, in turns."""
    ways = {"one process": [], "executor local, two processes": ["--device", "cpu,cpu"]}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, words in ways.items():
            with _workspace(folder / f"demo-{number}") as workspace:
                start, before = time.perf_counter(), os.times()
                command = [sys.executable, "-m", "fusionbench", "run", str(HOUSE / "mimic_ihm.yaml"), "--quiet"]
                subprocess.run([*command, "--workspace", str(workspace), *words], check=True, stdout=subprocess.DEVNULL)
                after = os.times()
                spent = after.children_user + after.children_system - before.children_user - before.children_system
                found[way].append((time.perf_counter() - start, spent))
    alone = found["one process"]
    lines = []
    for way, times in found.items():
        seconds, processor = zip(*times, strict=True)
        ratios = [other[1] / one[1] for one, other in zip(alone, times, strict=True)]
        lines.append(
            {
                "the demo of mimic_ihm, by": way,
                "by the clock (s)": _spread(seconds),
                "processor seconds": _spread(processor),
                "processor, against one process": _spread(ratios),
            }
        )
    return lines


@contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Measure, print and write tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executors", nargs="*", choices=list(OPTIONS), default=["local"])
    parser.add_argument("--units", type=int, default=60, help="how many are handed out for the mean")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    keeping = nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory()
    with keeping as folder:
        here = Path(folder)
        here.mkdir(parents=True, exist_ok=True)
        if given.demo:
            tables = {"units_demo": demo(here, given.rounds)}
        else:
            tables = {
                "units_planning": [planning(here, 256)],
                "units": [handing_out(name, here, given.units, given.rounds) for name in given.executors],
            }
        for lines in tables.values():
            print(markdown(lines), "\n")
        write(here, tables, "what it costs to have work done elsewhere")


if __name__ == "__main__":
    main()
