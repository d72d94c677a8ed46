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

import fusionbench_plugins.encoders
import fusionbench_plugins.imputers
import fusionbench_plugins.missingness
import fusionbench_plugins.regularisers
import fusionbench_plugins.strategies
from fusionbench import (
    Encoder,
    FusionSpec,
    Imputer,
    InputSpec,
    Missingness,
    Provenance,
    TargetKind,
)
from fusionbench.testing import CHECKS, InputCase, make_case, parametrize_with_checks, run_checks
from fusionbench.testing.checks import sentence
from fusionbench_plugins.tasks.planted import Planted
from tests.testing.exams.test_strategies import (
    SMALL,
    WRONG,
    BranchesOnValues,
    Good,
    PicksTheFirstAsMain,
    ReadsAbsentFeatures,
    failures,
)
from tests.testing.exams.test_tasks import WRONG_TASKS

VARIANTS = {
    "concat": [{"head_hidden": 4}, {"mask_indicator": True}],
    "sum": [{"variant": "logit"}, {"rescale": True}],
    "late_average": [{"average": "logit"}],
    "se_gate": [{"granularity": "modality"}],
    "medfuse": [{"pretrain": False}, {"freeze_encoders": True}],
    "attention": [{"layers": 2, "heads": 2}],
    "daft": [{"activation": "sigmoid", "condition": "mean"}, {"activation": "tanh", "residual": False}],
    "lmf": [{"absent": "constant"}],
    "tmc": [{"annealing": 0.5}],
    "lstm": [{"cell": "plain", "layers": 2, "dropout": 0.5, "bidirectional": True}],
    "mlp": [{"hidden": (7,), "dropout": 0.5}],
    "mar": [{"strength": -1.0, "driver": "ehr"}],
    "mnar": [{"strength": 0.0}],
}
# in place of the default options: small models with random weights, where the defaults are large ones to download
LOCAL = {
    "hf_text": [{"pretrained": False, "pool": pool} for pool in ("cls", "tokens")]
    + [{"pretrained": False, "pool": "mean", "frozen": False}],
    "timm_image": [{"model": "test_resnet", "pretrained": False, "size": 32, "frozen": f} for f in (True, False)],
}
# masks that were drawn elsewhere: it has no thresholds to look at
WITHOUT_THRESHOLDS = {"stored"}


def built_ins():
    """Every class that a plugin file registers, with its default options and the variants above."""
    for package, hook in (
        (fusionbench_plugins.strategies, "register_fusion_strategies"),
        (fusionbench_plugins.imputers, "register_imputers"),
        (fusionbench_plugins.regularisers, "register_regularisers"),
        (fusionbench_plugins.encoders, "register_encoders"),
        (fusionbench_plugins.missingness, "register_missingness"),
    ):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            registered = {}
            register = getattr(importlib.import_module(info.name), hook, None)
            if register is not None:
                register(register=registered.__setitem__)
            for name, plugin in registered.items():
                chosen = LOCAL.get(name, [{}, *VARIANTS.get(name, [])])
                yield from ((plugin, options) for options in chosen if name not in WITHOUT_THRESHOLDS)


# the other tasks read files
GENERATED = [(Planted, {"problem": problem, "rows": 80}) for problem in ("xor", "noise", "lazy")]


@parametrize_with_checks([*built_ins(), *GENERATED])
def test_built_in_plugin_conforms(subject, check):
    check(subject)


# --------------------------------------------------------------------------------------------
# wrong on purpose


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


class GoodEncoder(Encoder):
    """Two layers over the mean of the valid steps, or over the vector."""

    accepts: ClassVar = frozenset({"series", "vector", "image"})
    provenance = Provenance(paper="none: written for this test")

    def __init__(self, spec, width=3):
        super().__init__()
        self.output_dim = width
        self.layers = nn.Sequential(nn.Linear(spec.shape[-1], 4), nn.Tanh(), nn.Linear(4, width))

    def pooled(self, inputs, lengths):
        x = inputs.to(self.layers[0].weight.dtype)
        if x.ndim == 2:
            return x
        steps = torch.full(x.shape[:1], x.shape[1]) if lengths is None else lengths
        valid = torch.arange(x.shape[1]) < steps[:, None]
        return torch.where(valid[..., None], x, 0).sum(dim=1) / steps[:, None].to(x.dtype)

    def forward(self, inputs, lengths=None):
        return self.layers(self.pooled(inputs, lengths))


class AcceptsAnything(GoodEncoder):
    accepts: ClassVar = frozenset({"vector", "video"})


class GivesAnotherWidth(GoodEncoder):
    def __init__(self, spec):
        super().__init__(spec)
        self.output_dim = 4


class DividesByTheLargest(GoodEncoder):
    def forward(self, inputs, lengths=None):
        x = self.pooled(inputs, lengths)
        return self.layers(x / x.abs().amax(dim=1, keepdim=True))


class StandardisesAllRows(GoodEncoder):
    def prepare(self, values):
        return values - values.mean(axis=0).astype(values.dtype), None


class GivesShortLengths(GoodEncoder):
    accepts: ClassVar = frozenset({"series"})

    def prepare(self, values):
        return values, np.zeros(len(values), dtype=np.int64)


class ReadsPadding(GoodEncoder):
    def pooled(self, inputs, lengths):
        return super().pooled(inputs, None)


class LetsPaddingReachTheGradient(GoodEncoder):
    def forward(self, inputs, lengths=None):
        everything = self.layers[0](inputs.to(self.layers[0].weight.dtype))
        reached = everything.mean() if everything.ndim == 3 else 0.0
        return super().forward(inputs, lengths) + reached - (reached.detach() if everything.ndim == 3 else 0.0)


class CentresRows(GoodEncoder):
    def pooled(self, inputs, lengths):
        x = super().pooled(inputs, lengths)
        return x - x.mean(dim=0)


class EncodesWithChance(GoodEncoder):
    def forward(self, inputs, lengths=None):
        return nn.functional.dropout(super().forward(inputs, lengths), 0.5, training=True)


class KeepsRunningMeans(GoodEncoder):
    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs, lengths=None):
        self.seen += self.training
        return super().forward(inputs, lengths)


class WritesToItsInputs(GoodEncoder):
    def forward(self, inputs, lengths=None):
        return super().forward(inputs.abs_() if inputs.is_floating_point() else inputs, lengths)


class IsFrozenAndAsksForGradients(GoodEncoder):
    frozen = True


class LeavesALayerUnused(GoodEncoder):
    def __init__(self, spec):
        super().__init__(spec)
        self.spare = nn.Linear(2, 2)


class ForgetsItsWeights(GoodEncoder):
    def fingerprint(self):
        return "always the same"


class KeepsWeightsInAList(GoodEncoder):
    def __init__(self, spec):
        super().__init__(spec)
        self.scale = [float(torch.rand(())) + 1]
        for parameter in self.layers.parameters():
            nn.init.constant_(parameter, 0.1)

    def forward(self, inputs, lengths=None):
        return super().forward(inputs, lengths) * self.scale[0]


class BranchesOnInputs(GoodEncoder):
    def forward(self, inputs, lengths=None):
        encoded = super().forward(inputs, lengths)
        return encoded if encoded.sum() > 0 else 2 * encoded


class EncoderFromNowhere(GoodEncoder):
    """Documented, but from nowhere."""

    provenance = None


class SearchesAnUnknownOption(GoodEncoder):
    @classmethod
    def search_space(cls, trial):
        return {"depth": trial.suggest_int("depth", 1, 2)}


WRONG_ENCODERS = [
    (EncoderFromNowhere, "provenance_is_given"),
    (SearchesAnUnknownOption, "search_space_gives_constructor_arguments"),
    (AcceptsAnything, "accepts_names_input_kinds"),
    (GivesAnotherWidth, "embeddings_have_the_declared_width"),
    (DividesByTheLargest, "embeddings_have_the_declared_width"),
    (StandardisesAllRows, "preparation_treats_rows_alone"),
    (GivesShortLengths, "preparation_treats_rows_alone"),
    (ReadsPadding, "padding_is_never_read"),
    (LetsPaddingReachTheGradient, "padding_is_never_read"),
    (CentresRows, "embedding_of_a_row_ignores_other_rows"),
    (EncodesWithChance, "encoding_is_deterministic"),
    (EncodesWithChance, "encoding_leaves_everything_alone"),
    (KeepsRunningMeans, "encoding_leaves_everything_alone"),
    (WritesToItsInputs, "encoding_leaves_everything_alone"),
    (IsFrozenAndAsksForGradients, "frozen_means_that_no_gradient_arrives"),
    (LeavesALayerUnused, "frozen_means_that_no_gradient_arrives"),
    (ForgetsItsWeights, "fingerprint_says_what_decides_the_embedding"),
    (KeepsWeightsInAList, "fingerprint_follows_the_weights_in_use"),
    (BranchesOnInputs, "stacked_encoders_equal_solo_encoders"),
]


def failed(plugin, **settings):
    return {r.name for r in run_checks(plugin, **settings) if not r.ok}


def test_a_correct_encoder_passes_everything():
    assert failed(GoodEncoder) == set()
    assert {r.status for r in run_checks(GoodEncoder)} == {"passed"}


@pytest.mark.parametrize(("plugin", "name"), WRONG_ENCODERS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_encoder_is_found_out(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised") or plugin is SearchesAnUnknownOption, result.reason


def test_a_case_without_padding_cannot_prove_that_padding_is_left_alone():
    values = np.ones((2, 3, 4), dtype=np.float32)
    case = InputCase("full", InputSpec("series", (3, 4)), values, np.array([3, 3]))
    (result,) = run_checks(GoodEncoder, cases=[case], only=["padding_is_never_read"])
    assert result.reason == "full: no row is shorter than another: bring a case with padding"


class GoodMechanism(Missingness):
    def thresholds(self, context, generator):
        return generator.random(context.available.shape)


class DrawsOneColumn(GoodMechanism):
    def thresholds(self, context, generator):
        return super().thresholds(context, generator)[:, :1].repeat(2, axis=1)


class ReachesOne(GoodMechanism):
    def thresholds(self, context, generator):
        return np.ceil(super().thresholds(context, generator))


class HidesTooEarly(GoodMechanism):
    def thresholds(self, context, generator):
        return super().thresholds(context, generator) ** 1.3


class UsesItsOwnGenerator(GoodMechanism):
    def thresholds(self, context, generator):
        return np.random.default_rng(0).random(context.available.shape)


class DrawsFromTheGlobalState(GoodMechanism):
    def thresholds(self, context, generator):
        random.random()
        return super().thresholds(context, generator)


class WritesToTheContext(GoodMechanism):
    def thresholds(self, context, generator):
        context.target[:] = 0
        return super().thresholds(context, generator)


class ReadsSummariesUnasked(GoodMechanism):
    def thresholds(self, context, generator):
        drawn = super().thresholds(context, generator)
        return drawn if context.summaries is None else drawn[::-1]


WRONG_MECHANISMS = [
    (DrawsOneColumn, "thresholds_have_one_entry_for_each_cell"),
    (ReachesOne, "thresholds_have_one_entry_for_each_cell"),
    (HidesTooEarly, "a_rate_hides_its_share"),
    (UsesItsOwnGenerator, "the_generator_decides_the_draw"),
    (DrawsFromTheGlobalState, "the_generator_decides_the_draw"),
    (WritesToTheContext, "the_context_is_not_changed"),
    (ReadsSummariesUnasked, "summaries_are_read_only_where_declared"),
]


def test_a_correct_mechanism_passes_everything():
    assert {r.status for r in run_checks(GoodMechanism)} == {"passed"}


@pytest.mark.parametrize(("plugin", "name"), WRONG_MECHANISMS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_mechanism_is_found_out(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised")


def test_every_check_rejects_some_wrong_plugin():
    tables = {"encoder": WRONG_ENCODERS, "missingness": WRONG_MECHANISMS, "task": WRONG_TASKS}
    for kind, table in tables.items():
        assert {name for _, name in table} == {sentence(check) for check in CHECKS[kind]}
    proven = {name for _, name in WRONG + WRONG_IMPUTERS}
    others = {sentence(check) for kind, checks in CHECKS.items() if kind not in tables for check in checks}
    assert proven == others


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
