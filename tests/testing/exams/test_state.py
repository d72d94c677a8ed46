"""Strategies with weights, buffers or statistics that the training loop cannot rely on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.testing.exams.good import Good, expect_found_out, failures, status


@pytest.fixture(autouse=True)
def _as_before():
    """What the wrong ones leave behind in this process is taken away."""
    yield
    CALLS.clear()
    KeepsTheFirstRowsInTheClass.kept.clear()


class UsesBatchNorm(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.norm = nn.BatchNorm1d(self.head.in_features)

    def joined(self, batch):
        return self.norm(super().joined(batch))


class HidesTensorsInAList(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.factors = [nn.Parameter(torch.ones(spec.num_outputs))]

    def forward(self, batch):
        return super().forward(batch) * self.factors[0]


class SavesHalfOfIt(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("shift", torch.randn(spec.num_outputs), persistent=False)

    def forward(self, batch):
        return super().forward(batch) + self.shift


class DrawsFromNumpy(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.shift = float(np.random.default_rng().normal())
        self.head.bias.data.fill_(self.shift)


class AveragesStatistics(Good):
    def statistics(self, output, batch, target, predict):
        return {"mean": output.logits.mean(dim=0)}


class UpdatesInPlace(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(()))

    def update(self, statistics, clock):
        self.seen += 1
        return {}


class NamesNoBuffer(Good):
    def update(self, statistics, clock):
        return {"weights": torch.ones(1)}


class KeepsTheFirstRowsInTheClass(Good):
    kept: ClassVar[dict] = {}

    def forward(self, batch):
        logits = super().forward(batch)
        return logits + self.kept.setdefault(logits.shape[1], logits.detach()[0])


CALLS = []


class CountsInTheModule(Good):
    def forward(self, batch):
        CALLS.append(len(batch.names))
        return super().forward(batch)


class CountsInABuffer(Good):
    """Sums in ``statistics``, means in ``update``, everything saved."""

    def __init__(self, spec):
        super().__init__(spec)
        self.norm = nn.LayerNorm(self.head.in_features)
        self.register_buffer("shift", torch.zeros(spec.num_outputs))

    def joined(self, batch):
        return self.norm(super().joined(batch))

    def forward(self, batch):
        return super().forward(batch) - self.shift

    def statistics(self, output, batch, target, predict):
        return {"sum": output.logits.sum(dim=0), "rows": torch.tensor(float(len(target)))}

    def update(self, statistics, clock):
        return {"shift": self.shift + statistics["sum"] / statistics["rows"]}


WRONG = [
    (UsesBatchNorm, "no_statistics_over_batches"),
    (HidesTensorsInAList, "tensors_are_parameters_or_buffers"),
    (SavesHalfOfIt, "state_survives_saving"),
    (DrawsFromNumpy, "same_seed_gives_same_weights"),
    (AveragesStatistics, "statistics_are_sums"),
    (UpdatesInPlace, "update_returns_new_values_of_own_buffers"),
    (NamesNoBuffer, "update_returns_new_values_of_own_buffers"),
    (KeepsTheFirstRowsInTheClass, "nothing_is_shared_between_models"),
    (CountsInTheModule, "nothing_is_shared_between_models"),
]
RIGHT = [
    (CountsInABuffer, "no_statistics_over_batches"),
    (CountsInABuffer, "tensors_are_parameters_or_buffers"),
    (CountsInABuffer, "state_survives_saving"),
    (CountsInABuffer, "same_seed_gives_same_weights"),
    (CountsInABuffer, "statistics_are_sums"),
    (CountsInABuffer, "update_returns_new_values_of_own_buffers"),
    (CountsInABuffer, "nothing_is_shared_between_models"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_the_tensor_outside_torchs_sight_is_named():
    name = "tensors_are_parameters_or_buffers"
    assert failures(HidesTensorsInAList, only=[name])[name].endswith(
        ": factors holds tensors that torch does not know of"
    )


def test_what_was_kept_in_the_module_is_named():
    name = "nothing_is_shared_between_models"
    assert failures(CountsInTheModule, only=[name])[name].endswith(f"using the plugin changed {__name__}.CALLS")


def test_a_strategy_without_statistics_is_not_asked_whether_they_are_sums():
    assert status(Good, "statistics_are_sums") == "skipped"
