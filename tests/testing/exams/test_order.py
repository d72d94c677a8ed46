"""Strategies to which the order of modalities matters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench import TargetKind
from fusionbench.testing import make_case, run_checks
from tests.testing.exams.good import Good, expect_found_out, status


class PicksTheFirstAsMain(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleDict({name: nn.Linear(dim, spec.num_outputs) for name, dim in spec.dims.items()})

    def forward(self, batch):
        first = self.spec.names[0]
        return super().forward(batch) + self.heads[first](batch.completed(first))


class AddsModalitiesInTheirOrder(Good):
    def forward(self, batch):
        total = torch.zeros_like(batch.completed(self.spec.names[0]))
        for name in self.spec.names:
            total = torch.tanh(total + batch.completed(name))
        return super().forward(batch) + total.sum(dim=1, keepdim=True)


class KeepsHeadsInAList(Good):
    """A list with one entry for each modality, in the order of the benchmark."""

    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleList(nn.Linear(dim, spec.num_outputs) for dim in spec.dims.values())

    def forward(self, batch):
        return sum(head(batch.completed(name)) for name, head in zip(self.spec.names, self.heads, strict=True))


class WeighsModalities(Good):
    """One weight for each modality, in an axis of a tensor."""

    def __init__(self, spec):
        super().__init__(spec)
        self.weights = nn.Parameter(torch.randn(len(spec.names)))

    def joined(self, batch):
        return torch.cat([w * batch.completed(n) for n, w in zip(self.spec.names, self.weights, strict=True)], dim=-1)


WRONG = [
    (PicksTheFirstAsMain, "modality_order_does_not_matter"),
    (AddsModalitiesInTheirOrder, "modality_order_does_not_matter"),
]
RIGHT = [
    (Good, "modality_order_does_not_matter"),
    (KeepsHeadsInAList, "modality_order_does_not_matter"),
    (WeighsModalities, "modality_order_does_not_matter"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_one_modality_has_no_order():
    name = "modality_order_does_not_matter"
    (result,) = run_checks(Good, cases=[make_case(1, TargetKind.BINARY, "random")], only=[name])
    assert (result.status, result.reason) == ("skipped", "no case has more than one modality")
