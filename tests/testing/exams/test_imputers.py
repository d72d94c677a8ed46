"""Imputers that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import Imputer, Provenance
from tests.testing.exams.good import failures


class GoodImputer(Imputer):
    """Fills with zeros."""

    provenance = Provenance(paper="none: written for this test")

    def forward(self, batch):
        return self.filled(batch, {name: batch.observed(name) for name in batch.names})

    def filled(self, batch, features, **changes):
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


def test_a_changed_modality_and_a_changed_width_are_told_apart():
    assert "the imputer changed observed ehr" in failures(ScalesObserved)["observed_content_is_kept"]
    assert failures(DeclaresNoCode, only=["code_has_the_declared_width"])["code_has_the_declared_width"].endswith(
        "latent_dim is 0, the code has width 3"
    )


def test_a_filling_for_every_row_alike_and_a_declared_code_pass():
    class FillsWithItsOwn(GoodImputer):
        """Fills with a vector that is learnt, and leaves a code."""

        latent_dim = 2

        def __init__(self, spec):
            super().__init__(spec)
            self.fills = torch.nn.ParameterDict({n: torch.randn(d) for n, d in spec.dims.items()})

        def forward(self, batch):
            code = torch.stack([batch.observed(n).sum(dim=1) for n in batch.names]).sum(dim=0)
            return replace(batch.filled(self.fills), latents=torch.stack([code, -code], dim=1))

    assert failures(FillsWithItsOwn) == {}
