"""Zero-input filling."""

from __future__ import annotations

import torch

from fusionbench_plugins.imputers.zero import Zero
from fusionbench_plugins.imputers.zero_input import ZeroInput
from tests.plugins.imputers.small import SPEC, make_batch


def test_an_absent_row_reads_as_the_embedding_of_an_all_zero_input():
    batch = make_batch()
    completed = ZeroInput(SPEC)(batch).completed("ehr")
    assert torch.equal(completed[2], batch.zero_input["ehr"])
    assert torch.equal(completed[[0, 1, 3]], batch.features["ehr"][[0, 1, 3]])


def test_it_differs_from_zero_filling_by_what_the_encoder_makes_of_zeros():
    batch = make_batch()
    difference = ZeroInput(SPEC)(batch).completed("cxr") - Zero(SPEC)(batch).completed("cxr")
    assert torch.equal(difference, torch.tensor([0.5, 0.0, 0.0, 0.5])[:, None].expand(4, 2))


def test_it_asks_for_that_embedding_and_trains_it_through_the_rows_that_lack_the_modality():
    assert ZeroInput.uses_zero_input
    batch = make_batch()
    ZeroInput(SPEC)(batch).completed("ehr").sum().backward()
    assert batch.zero_input["ehr"].grad.tolist() == [1.0] * 3  # one row lacks it
