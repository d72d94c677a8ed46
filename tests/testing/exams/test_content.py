"""Strategies whose answer is decided by more than the present content of a row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.testing.exams.good import SMALL, Good, expect_found_out, failures, status


class ReadsAbsentFeatures(Good):
    def joined(self, batch):
        return torch.cat([batch.features[name] for name in self.spec.names], dim=-1)


class MultipliesByPresence(Good):
    def joined(self, batch):
        return torch.cat([batch.features[n] * batch.usable(n)[:, None] for n in self.spec.names], dim=-1)


class CentresOverTheBatch(Good):
    def joined(self, batch):
        joined = super().joined(batch)
        return joined - joined.mean(dim=0)


class DropsInEvaluation(Good):
    def joined(self, batch):
        return nn.functional.dropout(super().joined(batch), 0.5, training=True)


class Counts(Good):
    calls = 0

    def forward(self, batch):
        self.calls += 1
        return super().forward(batch) * self.calls


class SelectsWhatIsThere(Good):
    def joined(self, batch):
        return torch.cat([torch.where(batch.usable(n)[:, None], batch.features[n], 0) for n in batch.names], dim=-1)


class CentresOverModalities(Good):
    def joined(self, batch):
        joined = super().joined(batch)
        return joined - joined.mean(dim=1, keepdim=True)


class DropsInTraining(Good):
    def joined(self, batch):
        return nn.functional.dropout(super().joined(batch), 0.5, self.training)


WRONG = [
    (ReadsAbsentFeatures, "absent_content_is_never_read"),
    (MultipliesByPresence, "absent_content_is_never_read"),
    (CentresOverTheBatch, "output_of_a_row_ignores_other_rows"),
    (DropsInEvaluation, "evaluation_is_deterministic"),
    (Counts, "evaluation_is_deterministic"),
]
RIGHT = [
    (SelectsWhatIsThere, "absent_content_is_never_read"),
    (CentresOverModalities, "output_of_a_row_ignores_other_rows"),
    (DropsInTraining, "evaluation_is_deterministic"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


@pytest.mark.parametrize(("plugin", "name"), RIGHT, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_strategy_that_does_it_right_passes_the_same_check(plugin, name):
    assert status(plugin, name) == "passed"


def test_content_that_is_read_in_the_loss_alone_is_found_too():
    class LearnsFromAbsentRows(Good):
        def loss(self, output, batch, target):
            return super().loss(output, batch, target) + batch.features[self.spec.names[0]].mean()

    name = "absent_content_is_never_read"
    assert failures(LearnsFromAbsentRows, only=[name])[name].startswith(
        f"{SMALL[1].name}: the loss changed when absent rows were filled with "
    )


def test_rows_that_meet_in_training_mode_only_are_found():
    class CentresInTraining(Good):
        def joined(self, batch):
            joined = super().joined(batch)
            return joined - joined.mean(dim=0) if self.training else joined

    name = "output_of_a_row_ignores_other_rows"
    assert "rows influence each other in training mode" in failures(CentresInTraining, only=[name])[name]
