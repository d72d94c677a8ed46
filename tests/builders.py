"""Small tables, models, members and runs for tests of the heart of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusionbench import Dataset, FittedStrategy, FusionSpec, FusionStrategy
from fusionbench.analysis.calibration import Said, probabilities_of
from fusionbench.config.sections import Benchmark, TrainingSection
from fusionbench.data.table import RowTable
from fusionbench.missingness.corruption import Corruption
from fusionbench.plan.arithmetic import Abilities, settle
from fusionbench.plan.jobs import FitJob, common_key
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from fusionbench.records import RunSummary
from fusionbench.run.runner import Run
from fusionbench.targets import TargetKind
from fusionbench.training.members import Fit, Member
from fusionbench.training.model import FusionModel, seeded
from tests.front import TOY, toy_benchmark

DIMS = {"a": 5, "b": 4, "c": 3}
WIDTH = 4
ROWS = 130
BATCH = 16
FITTED = [n for n in Plugins().names("strategies") if issubclass(Plugins().get("strategies", n).target, FittedStrategy)]
STRATEGIES = [n for n in Plugins().names("strategies") if n not in FITTED]  # those that are trained
IMPUTERS = [n for n in Plugins().names("imputers") if Plugins().get("imputers", n).target.level == "embedding"]
REGULARISERS = Plugins().names("regularisers")
METHODS = [  # every built-in once: strategy, imputer, regularisers
    *[pytest.param(s, "mean", (), id=s) for s in STRATEGIES],
    *[pytest.param("dwfuse", i, (), id=i) for i in IMPUTERS],
    *[pytest.param("sum", "cra_cycle", (r,), id=r) for r in REGULARISERS],
]
OPTIONS: dict[str, dict[str, Any]] = {"unimodal": {"modality": "a"}}  # what has no default


def make_rows(rows: int = ROWS, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> RowTable:
    """Return three vectors that know the label, each absent in a fifth of the rows."""
    draw = np.random.default_rng(seed)
    target = draw.integers(0, 2, rows)
    values = {n: torch.tensor(draw.normal(2, 3, (rows, d)) + 2 * target[:, None], dtype=dtype) for n, d in DIMS.items()}
    available = draw.random((rows, len(DIMS))) >= 0.2
    available[:, 0] |= ~available.any(axis=1)
    table = RowTable(
        values=values,
        lengths={},
        standardise={n: torch.ones(d, dtype=torch.bool) for n, d in DIMS.items()},
        zero={n: torch.zeros(d, dtype=dtype) for n, d in DIMS.items()},
        zero_lengths={},
        available=torch.from_numpy(available),
        target=torch.from_numpy(target),
        kind=TargetKind.BINARY,
        num_outputs=1,
    )
    return replace(table, **changes)


def moved(table: RowTable, device: torch.device) -> RowTable:
    """Return a table on a device."""
    fields = ("values", "lengths", "standardise", "zero")
    tensors = {f: {n: t.to(device) for n, t in getattr(table, f).items()} for f in fields}
    return replace(table, **tensors, available=table.available.to(device), target=table.target.to(device))


def plugin(kind: str, name: str) -> Any:
    """Return the class behind a name."""
    return Plugins().get(kind, name).target


def make_model(
    strategy: str | type[FusionStrategy] = "concat",
    imputer: str = "zero",
    seed: int = 0,
    regularisers: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    spread: float = 0.0,
    **options: Any,
) -> FusionModel:
    """Build a model over :data:`DIMS`.

    Args:
        strategy: A registered name, or a class.
        imputer: A registered name.
        seed: Of the initial parameters.
        regularisers: Registered names.
        dtype: Of parameters and buffers.
        spread: Moves every hyper-parameter that may differ inside a population: multiplied by ``1 - spread``.
        options: Of the strategy.
    """
    spec = FusionSpec(dict.fromkeys(DIMS, WIDTH), 1, TargetKind.BINARY)
    made = plugin("strategies", strategy) if isinstance(strategy, str) else strategy
    options = {**OPTIONS.get(strategy if isinstance(strategy, str) else "", {}), **options}

    def build() -> FusionModel:
        filling = plugin("imputers", imputer)(spec)
        seen = replace(spec, latent_dim=filling.latent_dim)
        fusion = made(seen, **options)
        more = [plugin("regularisers", r)(seen) for r in regularisers]
        for part in (filling, fusion, *more):
            for name in getattr(part, "hyper_names", ()):
                setattr(part, name, getattr(part, name) * (1 - spread))
        return FusionModel({}, {n: nn.Linear(d, WIDTH) for n, d in DIMS.items()}, filling, fusion, more)

    model: FusionModel = seeded(seed, build)
    return model.to(dtype)


def policy_of(model: FusionModel) -> Corruption:
    """Return the strictest hiding policy that a part of a model asks for."""
    asked = [Corruption(model.fusion.corruption, model.fusion.corruption_rate), Corruption(model.imputer.corruption)]
    asked += [Corruption(r.corruption) for r in model.regularisers]
    return max(asked, key=lambda c: c.strictness)


def make_member(
    build: Callable[[], FusionModel], table: RowTable, *, train: int = 60, validation: int = 30, **changes: Any
) -> Member:
    """Return a member that trains on the first rows and validates on the last."""
    member = Member(
        build=build,
        table=table,
        fold=0,
        seed=0,
        train=torch.arange(train),
        validation=torch.arange(ROWS - validation, ROWS),
        present=table.available,
        learning_rate=0.03,
        weight_decay=0.01,
        corruption=policy_of(build()),
    )
    return replace(member, **changes)


def settings(**changes: Any) -> TrainingSection:
    """Return training settings for a few quick epochs."""
    return TrainingSection(**{"epochs": 3, "batch_size": BATCH, "patience": 10, "least_steps": 0, **changes})


def member_state(population: Any, index: int) -> dict[str, Tensor]:
    """Return one member's parameters and buffers."""
    return {n: t[index].clone() for n, t in population.snapshot().items()}


def outcome(fit: Fit) -> dict[str, Any]:
    """Return everything of a fit that has to be reproducible."""
    return {k: v for k, v in vars(fit).items() if k not in ("seconds", "memory")}


# --------------------------------------------------------------------------------------------
# whole runs


def make_benchmark(**changes: Any) -> Benchmark:
    """Return the smallest benchmark that trains, with changes."""
    return Benchmark.model_validate(toy_benchmark(**changes))


ABLE = Abilities("a device of the tests", native=True, recurrent=True, half=True)
"""A device that can do everything in half precision."""


def shared_key(able: Abilities = ABLE, **changes: Any) -> dict[str, Any]:
    """Return what the keys of all arms share, on a device of these abilities."""
    benchmark = make_benchmark(**changes)
    return common_key(benchmark, "digest", {}, settle(benchmark.training, [able]))


class GivenTask:
    """Stands where a benchmark's task stands, and prepares a data set that the test holds."""

    registration = SimpleNamespace(name="given")
    identity: ClassVar[Mapping[str, Any]] = {"name": "given", "distribution": "tests", "version": "", "source": ""}

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def build(self) -> GivenTask:
        return self

    def prepare(self, cache: Path, progress: Any) -> Dataset:
        return self.dataset


def toy_dataset(**options: Any) -> Dataset:
    """Return what the toy task prepares."""
    found: Dataset = Plugins([TOY]).get("tasks", "toy").target(**{"rows": 120, **options}).prepare(None, None)
    return found


def make_run(workspace: Path, dataset: Dataset | None = None, plugins: Sequence[str] = (), **changes: Any) -> Run:
    """Return a prepared run of the toy benchmark, with changes, on a data set of the test's own if one is given."""
    benchmark = make_benchmark(**changes)
    resolved = resolve(
        benchmark, Plugins([TOY, *plugins]), lambda location: f"toy.yaml: {'.'.join(map(str, location))}: "
    )
    if dataset is not None:
        resolved = replace(resolved, task=GivenTask(dataset))  # type: ignore[arg-type]
    run = Run(benchmark, resolved, workspace, torch.device("cpu"), SilentProgress())
    run.prepare()
    return run


def run_toy(workspace: Path, dataset: Dataset | None = None, **changes: Any) -> tuple[Run, RunSummary]:
    """Run the toy benchmark in this process, without observers."""
    run = make_run(workspace, dataset, **changes)
    return run, run.execute()


def said(run: Run, fit: FitJob, label: str) -> Said:
    """Return what a stored model says of the test rows under a condition, calibrated and raw."""
    result = run.store.load(fit.key)
    assert result is not None
    return probabilities_of(result, label, run.dataset, run.folds[fit.fold])


def stored(run: Run) -> dict[str, Mapping[str, Any]]:
    """Return what a run's results say, by key, without what may differ between equal runs."""
    found = {f.key: run.store.load(f.key) for f in run.plan.fits}
    return {
        k: {n: v for n, v in vars(r).items() if n not in ("seconds", "memory")}
        for k, r in found.items()
        if r is not None
    }
