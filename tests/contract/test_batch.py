"""Batches: absent rows are selected away, fills reach absent rows only, and nothing of what is hidden is left."""

from __future__ import annotations

import math

import pytest
import torch

from fusionbench.contract.batch import Batch, FusionSpec
from fusionbench.targets import TargetKind


def make(**changes):
    present = {"a": torch.tensor([True, False, True]), "b": torch.tensor([False, True, True])}
    features = {"a": torch.tensor([[1.0, 2.0], [math.nan, math.inf], [5.0, 6.0]]), "b": torch.arange(3.0)[:, None]}
    return Batch(**{"features": features, "present": present, "available": present, **changes})


def test_absent_rows_are_exact_zeros_whatever_they_hold():
    assert make().observed("a").tolist() == [[1, 2], [0, 0], [5, 6]]
    assert make().observed("b").tolist() == [[0], [1], [2]]


def test_imputed_rows_are_usable_and_completed_but_not_observed():
    batch = make(imputed={"b": torch.tensor([True, False, False])})
    assert batch.usable("b").tolist() == [True, True, True]
    assert batch.usable_mask().tolist() == [[True, True], [False, True], [True, True]]
    assert batch.completed("b").tolist() == [[0], [1], [2]]
    batch.features["b"][0] = 9
    assert batch.completed("b")[0] == 9
    assert batch.observed("b")[0] == 0


def test_features_of_more_axes_are_selected_by_row():
    tokens = torch.ones(3, 4, 2)
    found = make(features={"a": tokens}).observed("a")
    assert found.sum(dim=(1, 2)).tolist() == [8, 0, 8]


@pytest.mark.parametrize("fill", [torch.tensor([7.0, 8.0]), torch.tensor([[7.0, 8.0]] * 3)], ids=["one", "each row"])
def test_a_fill_goes_into_absent_rows_and_marks_them(fill):
    batch = make()
    found = batch.filled({"a": fill})
    assert found.features["a"].tolist() == [[1, 2], [7, 8], [5, 6]]
    assert found.imputed["a"].tolist() == [False, True, False]
    assert list(found.imputed) == ["a"]
    assert found.features["b"] is batch.features["b"]
    assert batch.features["a"][1].isnan().any()  # the batch itself is as it was


def test_rows_that_were_filled_before_are_filled_anew():
    twice = make().filled({"a": torch.zeros(2)}).filled({"a": torch.tensor([7.0, 8.0])})
    assert twice.features["a"].tolist() == [[1, 2], [7, 8], [5, 6]]


def test_gradients_reach_a_fill_through_absent_rows_and_features_through_present_ones():
    features = {"a": torch.ones(3, 2, requires_grad=True)}
    fill = torch.zeros(2, requires_grad=True)
    make(features=features).filled({"a": fill}).completed("a").sum().backward()
    assert features["a"].grad.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert fill.grad.tolist() == [1, 1]


def test_a_view_of_some_modalities_has_nothing_that_was_made_of_the_others():
    whole = make(latents=torch.ones(3, 1), extras={"code": torch.ones(3)}).filled({"b": torch.ones(1)})
    found = whole.only("a")
    assert found.present["a"].tolist() == [True, False, True]
    assert not found.usable("b").any()
    assert (found.imputed, found.latents, found.extras) == ({}, None, {})
    assert found.names == ("a", "b")
    assert whole.usable("b").all()


def test_the_common_width_is_an_error_where_there_is_none():
    assert FusionSpec({"a": 4, "b": 4}, 1, TargetKind.BINARY).width == 4
    uneven = FusionSpec({"a": 4, "b": 5}, 1, TargetKind.BINARY)
    assert uneven.names == ("a", "b")
    with pytest.raises(ValueError, match=r"must share one width, found \{'a': 4, 'b': 5\}; set model.width"):
        _ = uneven.width
