"""Strategies that break what is asked of strategies only, and one that is right."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench import FusionOutput, Stage
from fusionbench.heads import head
from tests.testing.exams.good import Good, expect_found_out, failures


class IgnoresImputedContent(Good):
    def joined(self, batch):
        return torch.cat([batch.observed(name) for name in self.spec.names], dim=-1)


class RemembersLabels(Good):
    last = 0.0

    def forward(self, batch):
        return super().forward(batch) + self.last

    def loss(self, output, batch, target):
        self.last = float(target.double().mean())
        return super().loss(output, batch, target)


class TakesLabels(Good):
    def forward(self, batch, target=None):
        return super().forward(batch)


class Squeezes(Good):
    def forward(self, batch):
        return super().forward(batch).squeeze()


class OverridesNoBuffer(Good):
    def stages(self):
        return (Stage("first", overrides={"weights": torch.ones(1)}),)


class LeavesAHeadUnused(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.spare = nn.Linear(2, 2)


class OwnsADepthThatIsNotItsOwn(Good):
    owns_depth = "it says so"

    def __init__(self, spec):
        super().__init__(spec)
        self.head = head(spec, sum(spec.dims.values()))


class DeniesUsingPresence(Good):
    uses_presence = False

    def forward(self, batch):
        return super().forward(batch) + batch.usable_mask().sum(dim=1, keepdim=True)


class ReadsMoreThanItSays(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.reads = spec.names[:1]


class ForgetsTheRows(Good):
    def head_losses(self, output, batch, target):
        return {"joint": output.logits.mean(dim=1)}


class NamesAnUnknownModality(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return FusionOutput(logits, {"unimodal.mri": logits})


class OneLogitForAllLabels(Good):
    def forward(self, batch):
        return super().forward(batch)[:, :1]


class BeginsAnew(Good):
    def start_at(self, logits):
        self.head = nn.Linear(1, len(logits))


class BeginsAtInfinity(Good):
    def start_at(self, logits):
        for parameter in self.parameters():
            parameter.fill_(torch.inf)


WRONG = [
    (IgnoresImputedContent, "imputed_content_counts_as_shown"),
    (RemembersLabels, "prediction_ignores_labels"),
    (TakesLabels, "forward_takes_the_batch_and_nothing_else"),
    (Squeezes, "logits_have_one_row_per_sample_and_one_column_per_output"),
    (OverridesNoBuffer, "stages_can_be_run"),
    (BeginsAnew, "it_can_begin_at_the_prevalence"),
    (BeginsAtInfinity, "it_can_begin_at_the_prevalence"),
    (LeavesAHeadUnused, "every_parameter_can_learn"),
    (OwnsADepthThatIsNotItsOwn, "depth_is_that_of_the_benchmark_or_is_owned"),
    (DeniesUsingPresence, "presence_is_used_only_where_declared"),
    (ReadsMoreThanItSays, "only_declared_modalities_are_read"),
    (ForgetsTheRows, "head_losses_come_with_their_rows"),
    (NamesAnUnknownModality, "logits_have_one_row_per_sample_and_one_column_per_output"),
    (OneLogitForAllLabels, "logits_have_one_row_per_sample_and_one_column_per_output"),
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    expect_found_out(plugin, name)


def test_a_correct_strategy_passes_everything():
    assert failures(Good) == {}
