"""Zero filling."""

from __future__ import annotations

import torch

from fusionbench_plugins.imputers.zero import Zero
from tests.plugins.imputers.small import SPEC, make_batch


def test_zero_leaves_the_batch_as_it_is():
    batch = make_batch()
    assert Zero(SPEC)(batch) is batch
    assert torch.equal(batch.completed("cxr")[0], torch.zeros(2))


def test_a_strategy_still_knows_who_is_absent():
    completed = Zero(SPEC)(make_batch())
    assert completed.imputed == {}
    assert completed.usable("cxr").tolist() == [False, True, True, False]


def test_there_is_nothing_to_train_and_nothing_to_hide_for():
    imputer = Zero(SPEC)
    assert list(imputer.state_dict()) == []
    assert (imputer.corruption, imputer.latent_dim, imputer.uses_zero_input) == ("none", 0, False)
