"""A model built and trained for data in memory, by the same parts that a run is made of."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.config.sections import Benchmark
from fusionbench.contract.data import Dataset
from fusionbench.contract.learners import Imputer
from fusionbench.data.completion import complete_table
from fusionbench.data.encoding import check_modalities, encode_modalities
from fusionbench.data.features import Inputs
from fusionbench.data.splits import Development, Fold, SealedRows, whole
from fusionbench.data.table import RowTable, make_table
from fusionbench.errors import DataError
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.arithmetic import settle
from fusionbench.plan.parts import Arm, Resolved
from fusionbench.progress import Progress, SilentProgress
from fusionbench.run.rows import ModelRows
from fusionbench.run.searching import defaults
from fusionbench.training.blueprint import Blueprint
from fusionbench.training.devices import precision
from fusionbench.training.loop import train
from fusionbench.training.population import Population
from fusionbench.training.prediction import predict_conditions

if TYPE_CHECKING:
    from fusionbench.training.members import Course, Fit


@dataclass(frozen=True)
class Built:
    """A model of one arm, and how rows become what it reads.

    Args:
        benchmark: What was asked.
        resolved: Its plugins.
        dataset: What it was built for.
        blueprint: How its parts are built.
        population: The model, a population of one.
        development: Rows that it learns from.
        rows: How it is given rows, while it is trained.
        imputer: Of inputs, fitted; None: it has none.
        device: Where it lies.
    """

    benchmark: Benchmark
    resolved: Resolved
    dataset: Dataset
    blueprint: Blueprint
    population: Population
    development: Development
    rows: ModelRows
    device: torch.device
    imputer: Imputer | None = None

    @property
    def arm(self) -> Arm:
        """The strategy with its imputer."""
        return self.resolved.arms[0]

    @property
    def completes(self) -> bool:
        """Whether rows are completed before the model sees them."""
        return self.blueprint.input_imputer(self.arm) is not None

    def table(self, data: Dataset) -> RowTable:
        """Return rows as the model reads them; frozen encoders run, and nothing of it is kept."""
        with tempfile.TemporaryDirectory() as folder:
            inputs, _ = encode_modalities(data, self.resolved, Path(folder), self.device, SilentProgress())
            own = {n: replace(i, values=np.array(i.values)) for n, i in inputs.items()}  # the folder goes away
            return _table(data, self.blueprint, own, self.device)

    def completed(self, table: RowTable, shown: torch.Tensor) -> tuple[RowTable, torch.Tensor]:
        """Return a table as the model's imputer of inputs fills it, and bool ``[rows, modalities]``: there, or filled."""
        return (table, shown) if self.imputer is None else complete_table(table, self.imputer, shown)


def build(
    benchmark: Benchmark, resolved: Resolved, data: Dataset, features: Path, device: torch.device, progress: Progress
) -> Built:
    """Build the model of a benchmark of one arm, untrained.

    Args:
        benchmark: What is asked.
        resolved: Its plugins.
        data: The rows.
        features: Where embeddings of frozen encoders are kept.
        device: Where the model is trained.
        progress: Where encoders report.
    """
    check_modalities(data, resolved, progress)
    inputs, modalities = encode_modalities(data, resolved, features, device, progress)
    arithmetic = settle(benchmark.training, [precision.abilities(device)])
    blueprint = Blueprint(modalities, benchmark, len(data.outputs), data.kind, arithmetic)
    table = _table(data, blueprint, inputs, device)
    development = whole(data, benchmark.splits) if len(data) > 1 else Development(0, *[np.zeros(1, dtype=np.int64)] * 2)
    fold = Fold(development, SealedRows(np.zeros(0, dtype=np.int64)))
    rows = ModelRows(data, table, {0: fold}, blueprint, resolved.mechanism)
    member = torch.as_tensor(development.train, device=device)
    shown = torch.as_tensor(data.available, device=device)
    population = Population([blueprint.build(resolved.arms[0], 0, {})], table, [member], [shown])
    return Built(benchmark, resolved, data, blueprint, population, development, rows, device)


class Validated(NamedTuple):
    """What a model says of validation rows: see :class:`fusionbench.metrics.recalibration.Known`."""

    logits: NDArray[np.float32]
    target: NDArray[np.int64]
    shown: NDArray[np.int64]


def trained(built: Built, seed: int, progress: Progress | None = None) -> tuple[Built, Fit, Validated]:
    """Train the model, and return it with how that went and what it says of validation rows.

    Raises:
        DataError: It could not be trained.
    """
    arm, rows, device = built.arm, built.rows, built.device
    job = rows.job(arm, 0, seed, COMPLETE, defaults(built.benchmark), {}, None)
    with (progress or SilentProgress()).stage("training", 1, "models") as stage:

        def tell(course: Course) -> None:
            stage.working(1, course.epochs / course.planned)

        population, (fit,) = train([job.member], built.benchmark.training, built.dataset.metric, tell)
        stage.advance()
    if fit.failure is not None:
        raise DataError(f"{arm.label} could not be trained: {fit.failure}")
    imputer = rows.fitted(arm, 0, seed, COMPLETE) if built.completes else None
    table, usable = rows.given(arm, 0, seed, COMPLETE, COMPLETE)
    population.table = table
    held = torch.as_tensor(built.development.validation, device=device)
    logits = predict_conditions(population, held[None], usable[held][None, None])[0, 0].cpu().numpy()
    shown = rows.shown(COMPLETE, seed, 0, arm).cpu().numpy()[built.development.validation]
    bits = np.zeros(shown.shape[1], dtype=np.int64)
    for column in population.template.columns:
        bits[column] = 1 << column
    known = Validated(logits, built.dataset.target[built.development.validation], shown @ bits)
    return replace(built, population=population, imputer=imputer), fit, known


def _table(data: Dataset, blueprint: Blueprint, inputs: Mapping[str, Inputs], device: torch.device) -> RowTable:
    return make_table(
        inputs,
        data.available,
        data.target,
        data.kind,
        len(data.outputs),
        device,
        blueprint.arithmetic.features,
    )
