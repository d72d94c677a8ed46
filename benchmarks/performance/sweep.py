"""A large sweep: how long planning takes, what is estimated, how long it runs, and what storing and tracking cost of it.

    python benchmarks/performance/sweep.py plan                      # plan 100,000 cells, train nothing
    python benchmarks/performance/sweep.py run --workspace /tmp/ws   # 8 strategies x 10 rates x 4 patterns x 5 folds
    python benchmarks/performance/sweep.py table3 --device cuda --workspace /tmp/ws

``run`` uses the synthetic cohort of benchmarks/mimic_ihm.yaml; ``--where both`` trains a model for every rate and pattern
instead of one for all. ``table3`` is the grid of OmniFuse's table 3 (benchmarks/omnifuse/table3.yaml: 8 strategies x 4
subsets of modalities x 5 folds, one seed, 20 trials each) on a synthetic cohort of 20,000 stays with encoders that need no
weights. Time in the store and in the observers (files, MLflow) is measured by wrapping their methods.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fusionbench.config.document import Places
from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import Benchmark
from fusionbench.offline import disable_telemetry
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.run.runner import Run
from fusionbench.training.devices.device import find_device

HOUSE = Path(__file__).resolve().parents[1]
STRATEGIES = ["concat", "sum", "se_gate", "g_blend", "ogm_ge", "pmr", "medfuse", "dwfuse"]
RATES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def planned() -> Benchmark:
    """100,640 models of one cell each: 8 strategies x 37 conditions x 5 folds x 68 seeds."""
    return Benchmark.model_validate(
        {
            "name": "planning",
            "task": {"name": "planted", "problem": "noise", "rows": 2000},
            "encoders": {"strong": "identity", "weak": "identity", "noise": "identity"},
            "model": {"width": 8},
            "strategies": STRATEGIES,
            "missingness": {"patterns": ["random", "strong", "weak", "all"], "rates": RATES, "where": "both"},
            "splits": {"folds": 5, "seeds": list(range(68))},
            "evaluation": {"subsets": False},
        }
    )


def make(benchmark: Benchmark, workspace: Path, device: str = "cpu") -> Run:
    """Resolve the benchmark's names."""
    resolved = resolve(benchmark, Plugins(), Places({(): "sweep"}).at)
    return Run(benchmark, resolved, workspace, find_device(device), SilentProgress())


def plan(workspace: Path, rounds: int) -> None:
    """Time the planning itself, after the data are there."""
    run = make(planned(), workspace)
    start = time.perf_counter()
    run.prepare()
    print(f"prepare, with data and a first plan: {time.perf_counter() - start:.2f} s")
    cells = run.plan.cells
    for number in range(rounds):
        start = time.perf_counter()
        again = make(planned(), workspace)
        again.prepare()
        print(f"round {number + 1}: data, masks and plan of {cells:,} cells in {time.perf_counter() - start:.2f} s")


class Spent:
    """Seconds in wrapped methods; calls inside wrapped calls are not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def wrap(self, owner: Any, name: str, what: str) -> None:
        """Replace a method by one that is timed."""
        call: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(call)
        def timed(*arguments: Any, **more: Any) -> Any:
            if self._inside:
                return call(*arguments, **more)
            self._inside, start = True, time.perf_counter()
            try:
                return call(*arguments, **more)
            finally:
                self._inside = False
                self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)


def large(where: str, more: list[str]) -> Benchmark:
    """8 strategies x 10 rates x 4 patterns x 5 folds on the synthetic cohort."""
    names = "[" + ", ".join(STRATEGIES) + "]"
    changes = [f"strategies={names}", "imputers=[zero]", f"missingness.where={where}", "splits.folds=5"]
    changes += ["missingness.patterns=[random, ehr, cxr, report]", f"missingness.rates={RATES}", "name=sweep", *more]
    return load_benchmark(HOUSE / "mimic_ihm.yaml", changes, environ={})


def table3(more: list[str]) -> Benchmark:
    """The grid of OmniFuse's table 3 on 20,000 synthetic stays."""
    changes = ["task.synthetic.stays=20000", "tuning.trials=20", "tuning.batch=20", "splits.seeds=[0]"]
    return load_benchmark(HOUSE / "omnifuse" / "table3.yaml", [*changes, *more], environ={})


def sweep(benchmark: Benchmark, workspace: Path, device: str, only: str | None) -> None:
    """Run a sweep and print where its time went."""
    from fusionbench.run.observers import Observers

    run = make(benchmark, workspace, device)
    start = time.perf_counter()
    run.prepare()
    print(f"data, features and plan: {time.perf_counter() - start:.1f} s")
    if only is not None:
        run.select(only)
    plan = run.plan
    trials = benchmark.tuning.trials * len(plan.to_tune)
    print(
        f"{len(plan.dataset):,} rows, {plan.cells:,} cells; {len(plan.to_train):,} models and {trials:,} trials; "
        f"estimate: {run.estimate().seconds:.0f} s at most",
        flush=True,
    )
    spent = Spent()
    for name in (
        "save",
        "load",
        "scored",
        "save_weights",
        "save_failure",
        "seal_study",
        "sealed_study",
        "cost_of_study",
    ):
        spent.wrap(run.store, name, "store")
    spent.wrap(Observers, "tell", "observers")
    observers = [o.build(benchmark, workspace) for o in run.resolved.observers]
    start = time.perf_counter()
    summary = run.execute(observers)
    whole = time.perf_counter() - start  # with the observers' last words, which the summary's seconds cannot hold
    share = sum(spent.seconds.values()) / whole
    print(f"{summary.trained:,} models trained, {len(summary.failures)} failures, {whole:.1f} s")
    print(", ".join(f"{what} {seconds:.1f} s" for what, seconds in spent.seconds.items()) + f": {share:.1%} of the run")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plan", "run", "table3"])
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--where", choices=["test", "both"], default="both")
    parser.add_argument("--device", default="cpu", help="as of fusionbench run")
    parser.add_argument("--only", help="as of fusionbench run")
    parser.add_argument("--set", dest="more", action="append", default=[], help="as of fusionbench run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    disable_telemetry()
    if arguments.what == "plan":
        plan(arguments.workspace, arguments.rounds)
        return
    benchmark = large(arguments.where, arguments.more) if arguments.what == "run" else table3(arguments.more)
    sweep(benchmark, arguments.workspace, arguments.device, arguments.only)


if __name__ == "__main__":
    main()
