"""Learned filling."""

from __future__ import annotations

import torch

from fusionbench_plugins.imputers.learned import Learned
from tests.plugins.imputers.small import SPEC, make_batch


def test_every_modality_has_a_vector_of_its_width_that_starts_between_zero_and_one():
    tokens = Learned(SPEC).tokens
    assert {name: tuple(t.shape) for name, t in tokens.items()} == {"ehr": (3,), "cxr": (2,)}
    assert all(((t >= 0) & (t < 1)).all() and t.requires_grad for t in tokens.values())


def test_all_rows_that_lack_a_modality_read_the_same_vector():
    imputer = Learned(SPEC)
    completed = imputer(make_batch()).completed("cxr")
    assert torch.equal(completed[[0, 3]], imputer.tokens["cxr"].expand(2, -1))


def test_the_vector_of_a_modality_that_no_row_lacks_is_not_trained():
    imputer, batch = Learned(SPEC), make_batch()
    everybody = {**batch.present, "ehr": torch.ones(4, dtype=torch.bool)}
    completed = imputer(batch.__class__(batch.features, everybody))
    sum(completed.completed(n).sum() for n in SPEC.names).backward()
    assert not imputer.tokens["ehr"].grad.any()
    assert imputer.tokens["cxr"].grad.tolist() == [2.0, 2.0]
