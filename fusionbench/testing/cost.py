"""What a method costs, measured: its parameters, and its forward passes in a training on a few drawn rows.

Nothing is declared and nothing is timed. The training is that of every benchmark, with a population of one; calls
of the strategy are counted by what the loop was doing. Beside it stands the plainest fusion, one linear layer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.batch import Batch, FusionSpec
from fusionbench.contract.learners import Component, FusionStrategy, Imputer, Regulariser
from fusionbench.data.completion import Completed
from fusionbench.data.table import RowTable
from fusionbench.missingness.corruption import Corruption
from fusionbench.targets import TargetKind
from fusionbench.testing.subjects import subject_for
from fusionbench.training.loop import train
from fusionbench.training.members import Member
from fusionbench.training.model import FusionModel, View, count_parameters

SPEC: Final = FusionSpec({"a": 64, "b": 64, "c": 64}, 1, TargetKind.BINARY)
UNEQUAL: Final = replace(SPEC, dims={"a": 64, "b": 48, "c": 32})
SETTINGS: Final = TrainingSection(epochs=10, batch_size=16, patience=1000)
TRAINING_ROWS: Final = 32
VALIDATION_ROWS: Final = 8
MEMORY_ROWS: Final = 64


class Concatenation(FusionStrategy):
    """The reference: one linear layer on all embeddings side by side."""

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def forward(self, batch: Batch) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(torch.cat([batch.completed(n) for n in self.spec.names], dim=-1))
        return logits


@dataclass(frozen=True)
class Cost:
    """What a training of a few epochs took.

    Args:
        parameters: Trained numbers of the part alone, without encoders and projections.
        per_step: Forward passes of the strategy in one training step.
        per_epoch: Passes over all training rows after each epoch (and once before the first), not counting validation.
        elsewhere: Passes over whole splits between stages, in the whole training.
        epochs: Epochs trained for each planned one.
    """

    parameters: int
    per_step: float
    per_epoch: float
    elsewhere: int
    epochs: float


@dataclass
class _Tally:
    """Calls of the model, and of its strategies, by the model's method that the loop asked for."""

    doing: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    fused: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def passes(self, method: str) -> int:
        """Forward passes during a method; of a strategy made of others, those of the part that ran most often."""
        return max(self.fused[method].values(), default=0)

    def watch(self, strategy: FusionStrategy) -> None:
        """Count calls of a strategy, and of strategies inside it."""
        parts = [m for m in strategy.modules() if isinstance(m, FusionStrategy)]
        for i, part in enumerate(parts):
            part.register_forward_pre_hook(lambda *_, i=i: self.fused[self.doing].update([i]))


class _Watched(FusionModel):
    """A model that keeps a tally. Under the vectorising transform one call serves all members."""

    tally: _Tally

    def forward(self, method: str, *arguments: Any) -> Any:
        self.tally.doing = method
        self.tally.asked[method] += 1
        return super().forward(method, *arguments)


def build_part(target: type, spec: FusionSpec = SPEC, **options: Any) -> Component:
    """Build a strategy, an imputer or a regulariser; a required ``modality`` that is not given is the first."""
    return subject_for(target, cases=()).build(spec, dtype=torch.float32, **options)


def model_of(part: Component, tally: _Tally | None = None) -> FusionModel:
    """Return a model with one part of interest; the others do nothing, or are the reference."""
    imputer = part if isinstance(part, Imputer) and part.level == "embedding" else Completed(SPEC)
    fusion = part if isinstance(part, FusionStrategy) else Concatenation(SPEC)
    regularisers = [part] if isinstance(part, Regulariser) else []
    model = _Watched({}, {n: nn.Linear(d, d) for n, d in SPEC.dims.items()}, imputer, fusion, regularisers)
    model.tally = tally or _Tally()
    model.tally.watch(fusion)
    return model


def needs_common_width(target: type) -> bool:
    """Whether it refuses modalities of differing widths."""
    try:
        build_part(target, UNEQUAL)
    except ValueError:
        return True
    return False


def measure(target: type, **options: Any) -> Cost:
    """Train on drawn rows, and count.

    Args:
        target: A strategy, an imputer or a regulariser.
        options: Of its constructor.
    """
    tally = _Tally()
    part = build_part(target, **options)
    parameters = count_parameters(part)
    _, (fit,) = train([_member(lambda: model_of(part, tally))], SETTINGS, "auroc")
    return Cost(
        parameters=parameters,
        per_step=(tally.passes("learn") + tally.passes("modulate")) / tally.asked["learn"],
        per_epoch=tally.passes("statistics") / max(1, tally.asked["statistics"]),
        elsewhere=tally.passes("head_losses"),
        epochs=fit.epochs / SETTINGS.epochs,
    )


@cache
def reference() -> Cost:
    """The cost of the reference."""
    return measure(Concatenation)


def seconds_per_step(target: type = Concatenation, **options: Any) -> float:
    """Return the seconds of a training on drawn rows, for each planned step: probes, replicas and validation included."""
    part = build_part(target, **options)
    _, (fit,) = train([_member(lambda: model_of(part))], SETTINGS, "auroc")
    return fit.seconds / (SETTINGS.epochs * TRAINING_ROWS / SETTINGS.batch_size)


def kept_for_backward(target: type = Concatenation, **options: Any) -> int:
    """Return the bytes that one row's loss keeps for its backward pass, parameters aside."""
    model, table = model_of(build_part(target, **options)), _table(MEMORY_ROWS)
    view = View(dict(table.values), dict(table.zero), table.available, table.available)
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.learn(view, table.target)
    return sum(kept.values()) // MEMORY_ROWS


@cache
def reference_memory() -> int:
    """The bytes that one row keeps in the reference."""
    return kept_for_backward()


def _member(build: Callable[[], FusionModel]) -> Member:
    rows = TRAINING_ROWS + VALIDATION_ROWS
    table = _table(rows)
    return Member(
        build=build,
        table=table,
        fold=0,
        seed=0,
        train=torch.arange(TRAINING_ROWS),
        validation=torch.arange(TRAINING_ROWS, rows),
        present=table.available,
        learning_rate=1e-3,
        weight_decay=0.0,
        corruption=Corruption(),
    )


def _table(rows: int) -> RowTable:
    draw = torch.Generator().manual_seed(0)
    return RowTable(
        values={n: torch.randn(rows, d, generator=draw) for n, d in SPEC.dims.items()},
        lengths={},
        standardise={},
        zero={n: torch.zeros(d) for n, d in SPEC.dims.items()},
        zero_lengths={},
        available=torch.ones(rows, len(SPEC.dims), dtype=torch.bool),
        target=torch.arange(rows) % 2,
        kind=SPEC.kind,
        num_outputs=SPEC.num_outputs,
    )
