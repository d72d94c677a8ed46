"""Standardising by what was fitted, and by what was read back."""

from __future__ import annotations

import torch

from fusionbench.data.table import Scaling
from fusionbench.training.scalings import alike, stacked

ONE, TWO = (Scaling(torch.tensor([m, 0.0]), torch.tensor([2.0, 1.0])) for m in (1.0, 3.0))


def test_each_model_standardises_by_its_own():
    values = torch.tensor([[[5.0, 7.0]], [[5.0, 7.0]]])
    assert stacked([ONE, TWO]).standardise_(values).tolist() == [[[2.0, 7.0]], [[1.0, 7.0]]]


def test_one_that_is_read_back_is_that_of_every_model():
    found = alike({"a": TWO}, 2, torch.device("cpu"))["a"]
    assert found.mean.tolist() == [[3.0, 0.0], [3.0, 0.0]]
    found.mean[0] = 9
    assert found.mean[1].tolist() == [3.0, 0.0]
    assert TWO.mean.tolist() == [3.0, 0.0]
