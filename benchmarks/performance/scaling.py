"""How long does the real `mimic_ihm.yaml` take on many machines, where does it stop scaling, and what would change that?

    python benchmarks/performance/scaling.py --folder /tmp/performance
    python benchmarks/performance/scaling.py --places 1 8 64 512 --set tuning.trials=10 --set 'splits.seeds=[0,1]'

A simulation: the plan of the file is real, and so are its units (`run/executors/units.py`) and the order in which places take
them. What a model takes is what a two-layer LSTM took on two cores (docs/performance.md: 1,235 samples x models a second in a
population of 16), divided by ``--speed`` for a faster device; the starts of workers and what a unit costs are those that
`units.py` measured. Searches cannot be divided, so the longest one is the floor. No machine was rented for this.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from populations import markdown, write

from fusionbench.config.document import Places
from fusionbench.config.reading import load_benchmark
from fusionbench.contract.executors import Unit
from fusionbench.plan.jobs import conditions
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.run.executors.units import units_of

HOUSE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class World:
    """What the simulation takes as given.

    Args:
        model: Seconds of one model on one place, in a full population.
        start: Seconds until a worker has opened the run.
        unit: Seconds that each unit costs beside its models.
        stacked: Models of a full population.
        alone: How fast a model is trained in a population of one, against one in a full population.
        lost: How often a place is lost, per hour.
        again: Seconds until a lost place is replaced.
    """

    model: float
    start: float
    unit: float
    stacked: int
    alone: float
    lost: float
    again: float

    def seconds(self, unit: Unit, studies: int, trials: int, batch: int) -> float:
        """How long a place is at a unit: models that can be stacked are trained together, searches in rounds."""
        at_a_time = max(1, studies * batch)
        speed = self.alone + (1 - self.alone) * min(1.0, at_a_time / self.stacked)
        return self.unit + unit.steps * self.model / speed


def planned(file: Path, changes: Sequence[str]) -> tuple[list[Any], Any]:
    """Return the models of a benchmark as its plan has them, without data; and the benchmark."""
    benchmark = load_benchmark(file, changes, environ={"MIMIC_ROOT": "/data", "HOME": "/"})
    arms = resolve(benchmark, Plugins(), Places({(): "scaling"}).at).arms
    folds = range(benchmark.splits.folds) if benchmark.splits.use is None else benchmark.splits.use
    trained = conditions(benchmark) if benchmark.missingness.where != "test" else [None]
    fits = []
    for number, arm in enumerate(arms):
        for fold in folds:
            for seed in benchmark.splits.seeds:
                for k, _ in enumerate(trained):
                    name = f"{number}-{fold}"
                    fits.append(
                        SimpleNamespace(arm=arm, fold=fold, study=name, key=f"{name}-{seed}-{k}", untuned=False)
                    )
                    if benchmark.tuning.trials and benchmark.tuning.untuned:
                        plain = {"study": f"{name}-plain", "key": f"{name}-{seed}-{k}-plain", "untuned": True}
                        fits.append(SimpleNamespace(arm=arm, fold=fold, **plain))
    return fits, benchmark


def simulated(units: Sequence[tuple[Unit, float]], places: int, world: World, seed: int = 0) -> float:
    """Return seconds until the last unit is done: each place takes the next one when it is done with the last."""
    draw = random.Random(seed)
    free = [(world.start, i) for i in range(places)]
    heapq.heapify(free)
    ended = 0.0
    for _, seconds in units:
        now, place = heapq.heappop(free)
        left = seconds
        while world.lost and (until := draw.expovariate(world.lost / 3600)) < left:
            # what is stored is kept: a model is lost, on average half of it
            now, left = now + until + world.again + world.start, left - until + world.model / 2
        heapq.heappush(free, (now + left, place))
        ended = max(ended, now + left)
    return ended


def table(fits: Sequence[Any], benchmark: Any, places: Sequence[int], each: int, world: World) -> list[dict[str, Any]]:
    """Return a line for each number of places."""
    trials = benchmark.tuning.trials
    study = {f.key: f.study for f in fits}
    keys = list(study)

    def weight(name: str) -> int:
        return 0 if name.endswith("-plain") else trials

    def timed(wanted: int) -> list[tuple[Unit, float]]:
        units = units_of(fits, keys, wanted, weight, weight)
        return [(u, world.seconds(u, len({study[k] for k in u.models}), trials, benchmark.tuning.batch)) for u in units]

    alone = simulated(timed(each), 1, world)
    floor = max(seconds for _, seconds in timed(len(fits))) + world.start
    lines = []
    for number in places:
        # fewer units hold larger populations, more of them balance better: the better of both
        elapsed, units = min(
            (simulated(found, number, world), len(found)) for found in (timed(number), timed(number * each))
        )
        lines.append(
            {
                "places": number,
                "units": units,
                "hours": f"{elapsed / 3600:,.2f}",
                "times as fast as one": f"{alone / elapsed:,.1f}",
                "of what the places could do": f"{alone / elapsed / number:.0%}",
                "floor: the longest search (h)": f"{floor / 3600:,.2f}",
            }
        )
    return lines


def main() -> None:
    """Simulate, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=HOUSE / "mimic_ihm.yaml")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--places", type=int, nargs="*", default=[1, 8, 64, 512])
    parser.add_argument("--rows", type=int, default=14_000, help="training rows of a fold")
    parser.add_argument("--epochs", type=float, default=30, help="that a model is trained, on average")
    parser.add_argument(
        "--rate", type=float, default=1235, help="samples x models a second of two cores, full populations"
    )
    parser.add_argument("--speed", type=float, default=1, help="how many times as fast as two cores a place is")
    parser.add_argument("--start", type=float, default=10)
    parser.add_argument("--unit", type=float, default=0.02)
    parser.add_argument("--stacked", type=int, default=16)
    parser.add_argument("--alone", type=float, default=0.76, help="speed of a population of one, of a full one's")
    parser.add_argument("--lost", type=float, default=0, help="how often a place is lost, per hour")
    parser.add_argument("--again", type=float, default=120)
    parser.add_argument("--each", type=int, default=4, help="units for each place")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    model = given.rows * given.epochs / given.rate / given.speed
    world = World(model, given.start, given.unit, given.stacked, given.alone, given.lost, given.again)
    fits, benchmark = planned(given.file, given.changes)
    print(f"{len(fits)} models, {benchmark.tuning.trials} trials a search, {model:,.0f} s a model on one place")
    lines = table(fits, benchmark, given.places, given.each, world)
    print(markdown(lines))
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        write(given.folder, {"scaling": lines}, "simulated")


if __name__ == "__main__":
    main()
