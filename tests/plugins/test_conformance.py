"""Every built-in plugin takes the published exam; plugins that are wrong on purpose prove that it can be failed."""

from __future__ import annotations

import importlib
import pkgutil
import random
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import fusionbench_plugins.imputers
import fusionbench_plugins.regularisers
import fusionbench_plugins.strategies
from fusionbench import FusionOutput, FusionSpec, FusionStrategy, Imputer, Provenance, Stage, TargetKind
from fusionbench.testing import CHECKS, make_case, parametrize_with_checks, run_checks
from fusionbench.testing.checks import sentence

VARIANTS = {
    "concat": [{"head_hidden": 4}, {"mask_indicator": True}],
    "sum": [{"variant": "logit"}, {"rescale": True}],
    "late_average": [{"average": "logit"}],
    "se_gate": [{"granularity": "modality"}],
    "medfuse": [{"pretrain": False}, {"freeze_encoders": True}],
    "attention": [{"layers": 2, "heads": 2}],
    "lmf": [{"absent": "constant"}],
    "tmc": [{"annealing": 0.5}],
}


def built_ins():
    """Every class that a plugin file registers, with its default options and the variants above."""
    for package, hook in (
        (fusionbench_plugins.strategies, "register_fusion_strategies"),
        (fusionbench_plugins.imputers, "register_imputers"),
        (fusionbench_plugins.regularisers, "register_regularisers"),
    ):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            registered = {}
            register = getattr(importlib.import_module(info.name), hook, None)
            if register is not None:
                register(register=registered.__setitem__)
            for name, plugin in registered.items():
                yield from ((plugin, options) for options in [{}, *VARIANTS.get(name, [])])


@parametrize_with_checks(built_ins())
def test_built_in_plugin_conforms(subject, check):
    check(subject)


# --------------------------------------------------------------------------------------------
# wrong on purpose

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
]


@pytest.mark.parametrize(("plugin", "name"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_strategy_is_found_out(plugin, name):
    assert name in failures(plugin, only=[name])


class GoodImputer(Imputer):
    """Fills with zeros."""

    provenance = Provenance(paper="none: written for this test")

    def forward(self, batch):
        return self.filled(batch, {name: batch.observed(name) for name in batch.names})

    def filled(self, batch, features, **changes):
        from dataclasses import replace

        imputed = {name: ~rows for name, rows in batch.present.items()}
        return replace(batch, features=features, **{"imputed": imputed, **changes})


class ScalesObserved(GoodImputer):
    def filled(self, batch, features, **changes):
        return super().filled(batch, {name: 2 * f for name, f in features.items()}, **changes)


class MarksAsPresent(GoodImputer):
    def filled(self, batch, features, **changes):
        present = {name: torch.ones_like(rows) for name, rows in batch.present.items()}
        return super().filled(batch, features, present=present)


class FillsWithTheTruth(GoodImputer):
    def forward(self, batch):
        known = {n: torch.where(batch.available[n][:, None], f, 0) for n, f in batch.features.items()}
        return self.filled(batch, known)


class MarksWithNumbers(GoodImputer):
    def filled(self, batch, features, **changes):
        return super().filled(batch, features, imputed={n: (~p).double() for n, p in batch.present.items()})


class LeavesNaN(GoodImputer):
    def forward(self, batch):
        return self.filled(batch, dict(batch.features))


class FillsWithTheBatchMean(GoodImputer):
    def forward(self, batch):
        means = {n: batch.observed(n).mean(dim=0) for n in batch.names}
        return self.filled(
            batch, {n: torch.where(batch.present[n][:, None], f, means[n]) for n, f in batch.features.items()}
        )


class DeclaresNoCode(GoodImputer):
    def filled(self, batch, features, **changes):
        return super().filled(batch, features, latents=torch.zeros(len(batch.usable_mask()), 3).double())


WRONG_IMPUTERS = [
    (ScalesObserved, "observed_content_is_kept"),
    (MarksAsPresent, "observed_content_is_kept"),
    (FillsWithTheTruth, "hidden_truth_is_never_read"),
    (MarksWithNumbers, "filled_rows_are_finite_and_marked"),
    (LeavesNaN, "filled_rows_are_finite_and_marked"),
    (FillsWithTheBatchMean, "output_of_a_row_ignores_other_rows"),
    (DeclaresNoCode, "code_has_the_declared_width"),
]


def test_a_correct_imputer_passes_everything():
    assert failures(GoodImputer) == {}


@pytest.mark.parametrize(("plugin", "name"), WRONG_IMPUTERS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_imputer_is_found_out(plugin, name):
    assert name in failures(plugin, only=[name])


def test_every_check_rejects_some_wrong_plugin():
    proven = {name for _, name in WRONG + WRONG_IMPUTERS}
    assert proven == {sentence(check) for checks in CHECKS.values() for check in checks}


# --------------------------------------------------------------------------------------------
# how the kit reports


def result_of(name, plugin, **settings):
    (result,) = run_checks(plugin, cases=SMALL[-1:], only=[name], **settings)
    return result


def test_a_failure_names_the_case_and_says_how_to_mend():
    result = result_of("absent_content_is_never_read", ReadsAbsentFeatures)
    assert (result.status, result.ok) == ("failed", False)
    assert result.reason.startswith("3 modalities, binary, random: the answer changed")
    assert "Mend: read through" in result.advice


def test_an_expected_failure_carries_its_reason():
    reasons = {"modality_order_does_not_matter": "the first modality is the main one"}
    result = result_of("modality_order_does_not_matter", PicksTheFirstAsMain, expected_failures=reasons)
    assert (result.status, result.reason, result.ok) == (
        "failed as expected",
        "the first modality is the main one",
        True,
    )


def test_an_expected_failure_that_passes_is_reported():
    reasons = {"modality_order_does_not_matter": "no longer true"}
    result = result_of("modality_order_does_not_matter", Good, expected_failures=reasons)
    assert (result.status, result.ok) == ("passed unexpectedly", False)


def test_a_crash_is_never_an_expected_failure():
    class Crashes(Good):
        expected_failures: ClassVar = {"evaluation_is_deterministic": "it is random"}

        def forward(self, batch):
            raise KeyError("ehr")

    result = result_of("evaluation_is_deterministic", Crashes)
    assert (result.status, result.reason) == ("failed", "raised KeyError: 'ehr'")


def test_an_expected_failure_of_an_unknown_check_is_refused():
    with pytest.raises(ValueError, match="unknown checks: order"):
        run_checks(Good, expected_failures={"order": "misspelt"})


def test_a_strategy_that_cannot_be_stacked_may_say_so():
    class Honest(BranchesOnValues):
        stackable = False

    result = result_of("stacked_runs_equal_solo_runs", Honest)
    assert (result.status, result.reason) == ("skipped", "it says stackable = False and is trained one run at a time")


def test_a_plugin_that_cannot_be_built_fails_with_the_reason():
    class Picky(Good):
        def __init__(self, spec):
            super().__init__(spec)
            raise ValueError("needs four modalities")

    assert result_of("evaluation_is_deterministic", Picky).reason == "raised ValueError: needs four modalities"


def test_guests_bring_their_own_batches():
    seen = []

    class Watches(Good):
        def forward(self, batch):
            seen.append(batch.names)
            return super().forward(batch)

    run_checks(Watches, cases=[make_case(["left", "right"], TargetKind.BINARY, "random")])
    assert set(seen) == {("left", "right"), ("right", "left")}


def test_something_that_is_no_plugin_is_refused():
    with pytest.raises(TypeError, match="found <class 'int'>"):
        run_checks(int)


def test_the_kit_needs_pytest_only_for_the_decorator():
    program = "import sys, fusionbench.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_cases_cover_sizes_targets_and_patterns_and_leave_no_row_empty():
    from fusionbench.testing import default_cases

    cases = default_cases()
    assert len(cases) == 4 * 3 * 3
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        shown, known = case.batch.usable_mask(), torch.stack(list(case.batch.available.values()), dim=1)
        assert shown.any(dim=1).all()
        assert not (shown & ~known).any()
        assert isinstance(case.spec, FusionSpec)
