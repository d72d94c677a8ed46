"""Strategies that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

import random
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench import FusionOutput, FusionStrategy, Provenance, Stage, TargetKind
from fusionbench.testing import make_case, run_checks

SMALL = [make_case(m, kind, "random") for m, kind in [(1, TargetKind.BINARY), (3, TargetKind.MULTICLASS)]]
SMALL += [make_case(2, TargetKind.MULTILABEL, "single"), make_case(3, TargetKind.BINARY, "random")]


class Good(FusionStrategy):
    """The strategy that the wrong ones below are made from: one head on the concatenation."""

    uses_presence = True
    provenance = Provenance(paper="none: written for this test")

    def __init__(self, spec, width=0):
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def joined(self, batch):
        return torch.cat([batch.completed(name) for name in self.spec.names], dim=-1)

    def forward(self, batch):
        return self.head(self.joined(batch))


def failures(plugin, **settings):
    return {r.name: r.reason for r in run_checks(plugin, cases=SMALL, **settings) if not r.ok}


def test_a_correct_strategy_passes_everything():
    assert failures(Good) == {}


class ReadsAbsentFeatures(Good):
    def joined(self, batch):
        return torch.cat([batch.features[name] for name in self.spec.names], dim=-1)


class MultipliesByPresence(Good):
    def joined(self, batch):
        return torch.cat([batch.features[n] * batch.usable(n)[:, None] for n in self.spec.names], dim=-1)


class IgnoresImputedContent(Good):
    def joined(self, batch):
        return torch.cat([batch.observed(name) for name in self.spec.names], dim=-1)


class UsesBatchNorm(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.norm = nn.BatchNorm1d(self.head.in_features)

    def joined(self, batch):
        return self.norm(super().joined(batch))


class CentresOverTheBatch(Good):
    def joined(self, batch):
        joined = super().joined(batch)
        return joined - joined.mean(dim=0)


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


class UsesOwnDropout(Good):
    def joined(self, batch):
        return nn.functional.dropout(super().joined(batch), 0.5, self.training)


class DropsInEvaluation(Good):
    def joined(self, batch):
        return nn.functional.dropout(super().joined(batch), 0.5, training=True)


class Counts(Good):
    calls = 0

    def forward(self, batch):
        self.calls += 1
        return super().forward(batch) * self.calls


class Squeezes(Good):
    def forward(self, batch):
        return super().forward(batch).squeeze()


class DividesByTheNumberShown(Good):
    def loss(self, output, batch, target):
        rows = batch.usable(self.spec.names[0])
        losses = nn.functional.softplus(output.logits).mean(dim=1)
        return (losses * rows).sum() / rows.sum()


class BranchesOnValues(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return logits if logits.sum() > 0 else 2 * logits


class SelectsRows(Good):
    def loss(self, output, batch, target):
        shown = output.logits[batch.usable(self.spec.names[0])]
        return nn.functional.softplus(shown).sum() / len(target)


class PicksTheFirstAsMain(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleDict({name: nn.Linear(dim, spec.num_outputs) for name, dim in spec.dims.items()})

    def forward(self, batch):
        first = self.spec.names[0]
        return super().forward(batch) + self.heads[first](batch.completed(first))


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


class ShufflesInTraining(Good):
    def loss(self, output, batch, target):
        return super().loss(output, batch, target) * (1 + 0 * random.random())


class WritesToItsInput(Good):
    def joined(self, batch):
        for name in self.spec.names:
            batch.present[name][:] = True
        return super().joined(batch)


class FixesThePrecision(Good):
    def forward(self, batch):
        return super().forward(batch).float()


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

    def stages(self):
        return (Stage("first", overrides={"weights": torch.ones(1)}),)


class LeavesAHeadUnused(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.spare = nn.Linear(2, 2)


class CopiesItsHyperParameter(Good):
    def __init__(self, spec, strength=0.5):
        super().__init__(spec)
        self.hyper("strength", strength)
        self.copied = strength

    def loss(self, output, batch, target):
        return self.copied * super().loss(output, batch, target)


class NamesItsHyperParameterOtherwise(Good):
    def __init__(self, spec, strength=0.5):
        super().__init__(spec)
        self.hyper("power", strength)


class SuggestsAnUnknownOption(Good):
    @classmethod
    def search_space(cls, trial):
        return {"depth": trial.suggest_int("depth", 1, 2)}


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


class HasNoProvenance(Good):
    """Documented, but from nowhere."""

    provenance = None


class NamesAnUnknownModality(Good):
    def forward(self, batch):
        logits = super().forward(batch)
        return FusionOutput(logits, {"unimodal.mri": logits})


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


class SetsTheDefaultPrecision(Good):
    def __init__(self, spec):
        super().__init__(spec)
        torch.set_default_dtype(torch.float64)


class SetsASeed(Good):
    def forward(self, batch):
        torch.manual_seed(0)
        return super().forward(batch)


class Prints(Good):
    def forward(self, batch):
        print("forward", batch.names)
        return super().forward(batch)


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


class OneLogitForAllLabels(Good):
    def forward(self, batch):
        return super().forward(batch)[:, :1]


class AddsModalitiesInTheirOrder(Good):
    def forward(self, batch):
        total = torch.zeros_like(batch.completed(self.spec.names[0]))
        for name in self.spec.names:
            total = torch.tanh(total + batch.completed(name))
        return super().forward(batch) + total.sum(dim=1, keepdim=True)


WRONG = [
    (ReadsAbsentFeatures, "absent_content_is_never_read"),
    (MultipliesByPresence, "absent_content_is_never_read"),
    (IgnoresImputedContent, "imputed_content_counts_as_shown"),
    (UsesBatchNorm, "no_statistics_over_batches"),
    (CentresOverTheBatch, "output_of_a_row_ignores_other_rows"),
    (RemembersLabels, "prediction_ignores_labels"),
    (TakesLabels, "forward_takes_the_batch_and_nothing_else"),
    (UsesOwnDropout, "global_state_is_left_alone"),
    (DropsInEvaluation, "evaluation_is_deterministic"),
    (Counts, "evaluation_is_deterministic"),
    (Squeezes, "logits_have_one_row_per_sample_and_one_column_per_output"),
    (DividesByTheNumberShown, "single_modality_rows_train"),
    (DividesByTheNumberShown, "rows_without_any_modality_stay_finite"),
    (BranchesOnValues, "stacked_runs_equal_solo_runs"),
    (SelectsRows, "stacked_runs_equal_solo_runs"),
    (PicksTheFirstAsMain, "modality_order_does_not_matter"),
    (HidesTensorsInAList, "tensors_are_parameters_or_buffers"),
    (SavesHalfOfIt, "state_survives_saving"),
    (DrawsFromNumpy, "same_seed_gives_same_weights"),
    (ShufflesInTraining, "global_state_is_left_alone"),
    (WritesToItsInput, "inputs_are_not_changed"),
    (FixesThePrecision, "precision_follows_the_features"),
    (AveragesStatistics, "statistics_are_sums"),
    (UpdatesInPlace, "update_returns_new_values_of_own_buffers"),
    (NamesNoBuffer, "update_returns_new_values_of_own_buffers"),
    (NamesNoBuffer, "stages_can_be_run"),
    (LeavesAHeadUnused, "every_parameter_can_learn"),
    (CopiesItsHyperParameter, "hyper_parameters_act_through_their_buffers"),
    (NamesItsHyperParameterOtherwise, "hyper_parameters_are_constructor_arguments"),
    (SuggestsAnUnknownOption, "search_space_gives_constructor_arguments"),
    (DeniesUsingPresence, "presence_is_used_only_where_declared"),
    (ReadsMoreThanItSays, "only_declared_modalities_are_read"),
    (ForgetsTheRows, "head_losses_come_with_their_rows"),
    (HasNoProvenance, "provenance_is_given"),
    (NamesAnUnknownModality, "logits_have_one_row_per_sample_and_one_column_per_output"),
    (KeepsTheFirstRowsInTheClass, "nothing_is_shared_between_models"),
    (CountsInTheModule, "nothing_is_shared_between_models"),
    (SetsTheDefaultPrecision, "global_state_is_left_alone"),
    (SetsASeed, "global_state_is_left_alone"),
    (Prints, "nothing_is_printed"),
    (TakesTheRootOfWhatIsThere, "rows_without_any_modality_stay_finite"),
    (AveragesOverWhatIsThere, "single_modality_rows_train"),
    (OneLogitForAllLabels, "logits_have_one_row_per_sample_and_one_column_per_output"),
    (AddsModalitiesInTheirOrder, "modality_order_does_not_matter"),
]


@pytest.fixture(autouse=True)
def _as_before():
    """What the wrong ones leave behind in this process is taken away."""
    yield
    torch.set_default_dtype(torch.float32)
    CALLS.clear()
    KeepsTheFirstRowsInTheClass.kept.clear()


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out_by_the_check_meant_for_it(plugin, name):
    found = failures(plugin, only=[name])
    assert name in found
    assert not found[name].startswith("raised"), "a crash proves nothing about the check"


def test_there_are_more_than_twenty_kinds_of_wrong():
    assert len({name for _, name in WRONG}) > 20
