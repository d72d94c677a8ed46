"""Strategies whose loss or gradients are not finite where rows lack something."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.testing.exams.good import Good, expect_found_out, failures, status


class DividesByTheNumberShown(Good):
    def loss(self, output, batch, target):
        rows = batch.usable(self.spec.names[0])
        losses = nn.functional.softplus(output.logits).mean(dim=1)
        return (losses * rows).sum() / rows.sum()


class TakesTheRootOfWhatIsThere(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.turn = nn.Linear(self.head.in_features, 4, bias=False)

    def forward(self, batch):
        # the slope of a root at an exact zero is infinite, and 0 * inf is NaN
        return super().forward(batch) + self.turn(self.joined(batch)).square().sum(dim=1, keepdim=True).sqrt()


class AveragesOverWhatIsThere(Good):
    def loss(self, output, batch, target):
        shown = torch.stack([batch.usable(n) for n in self.spec.names[:2]]).all(dim=0)
        return super().loss(output, batch, target) + output.logits[:, 0].mul(shown).sum() / shown.sum()


class DividesByAtLeastOne(Good):
    def loss(self, output, batch, target):
        rows = batch.usable(self.spec.names[0])
        losses = nn.functional.softplus(output.logits).mean(dim=1)
        return (losses * rows).sum() / rows.sum().clamp_min(1)


class TakesARootAwayFromZero(TakesTheRootOfWhatIsThere):
    def forward(self, batch):
        squares = self.turn(self.joined(batch)).square().sum(dim=1, keepdim=True)
        return self.head(self.joined(batch)) + (squares + 1e-6).sqrt()


WRONG = [
    (DividesByTheNumberShown, "single_modality_rows_train"),
    (DividesByTheNumberShown, "rows_without_any_modality_stay_finite"),
    (TakesTheRootOfWhatIsThere, "rows_without_any_modality_stay_finite"),
    (AveragesOverWhatIsThere, "single_modality_rows_train"),
]
RIGHT = [
    (DividesByAtLeastOne, "single_modality_rows_train"),
    (DividesByAtLeastOne, "rows_without_any_modality_stay_finite"),
    (TakesARootAwayFromZero, "rows_without_any_modality_stay_finite"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_the_modality_that_was_shown_alone_is_named():
    name = "single_modality_rows_train"
    found = failures(AveragesOverWhatIsThere, only=[name])[name]
    assert found.startswith("3 modalities, multiclass, random, only ehr: loss or gradient is not finite")
