"""Encoders that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench import Encoder, InputSpec, Provenance
from fusionbench.testing import InputCase, run_checks


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


def test_an_encoder_of_vectors_is_not_asked_about_padding():
    class OfVectors(GoodEncoder):
        accepts: ClassVar = frozenset({"vector"})

    (result,) = run_checks(OfVectors, only=["padding_is_never_read"])
    assert (result.status, result.reason) == ("skipped", "its inputs have no lengths")
