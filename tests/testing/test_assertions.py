"""What checks say when they fail, and what they compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench import TargetKind
from fusionbench.testing import make_case
from fusionbench.testing.assertions import (
    expect,
    expect_equal,
    expect_finite,
    loss_and_gradients,
    snapshot,
    updated,
)
from fusionbench.testing.subjects import subject_for
from tests.testing.exams.good import Good

CASE = make_case(2, TargetKind.BINARY, "random")
ONE = {"x": torch.ones(2)}


def test_a_failure_names_the_case():
    expect(torch.tensor(True), CASE, "never said")
    with pytest.raises(AssertionError, match=r"^2 modalities, binary, random: it is wrong$"):
        expect(torch.tensor(False), CASE, "it is wrong")


@pytest.mark.parametrize(
    "found",
    [
        {"x": torch.tensor([1.0, 1.0 + 1e-6])},
        {"x": torch.ones(1)},
        {"x": torch.full((2,), float("nan"))},
        {"y": torch.ones(2)},
        {},
    ],
)
def test_other_numbers_shapes_and_names_are_not_equal(found):
    with pytest.raises(AssertionError, match="differs"):
        expect_equal(found, ONE, CASE, "differs")


def test_rounding_in_double_precision_and_the_precision_itself_are_no_difference():
    expect_equal({"x": torch.ones(2, dtype=torch.float64) + 1e-12}, ONE, CASE, "differs")


def test_nan_equals_nothing_not_even_itself():
    nothing = {"x": torch.full((2,), float("nan"))}
    with pytest.raises(AssertionError, match=r"differs \(x\)"):
        expect_equal(nothing, nothing, CASE, "differs")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_tensor_that_is_not_finite_is_named(value):
    with pytest.raises(AssertionError, match=r"not finite \(b\)"):
        expect_finite({"a": torch.zeros(1), "b": torch.tensor([0.0, value])}, CASE, "not finite")


class Halves(Good):
    """The loss is half the sum of its logits; one parameter takes no part."""

    def __init__(self, spec):
        super().__init__(spec)
        self.spare = nn.Parameter(torch.ones(3))

    def loss(self, output, batch, target):
        return output.logits.sum() / 2


def test_gradients_reach_parameters_and_shown_features_and_are_zero_elsewhere():
    subject = subject_for(Halves, cases=(CASE,))
    part = subject.build(CASE.spec)
    found = loss_and_gradients(subject, part, CASE)
    assert found["head.bias"].tolist() == [len(CASE.target) / 2]
    assert not found["spare"].any()
    half = part.head.weight[0, :8] / 2
    wanted = torch.where(CASE.batch.present["ehr"][:, None], half, 0)
    assert torch.allclose(found["features of ehr"], wanted)


def test_a_loss_for_each_row_is_refused():
    class OneForEachRow(Good):
        def loss(self, output, batch, target):
            return output.logits[:, 0]

    subject = subject_for(OneForEachRow, cases=(CASE,))
    with pytest.raises(AssertionError, match=r"the loss must be a scalar, found shape \(12,\)"):
        loss_and_gradients(subject, subject.build(CASE.spec), CASE)


def test_a_snapshot_stays_as_it_was():
    layer = nn.BatchNorm1d(2)
    kept = snapshot(layer)
    nn.init.zeros_(layer.weight)
    assert kept["weight"].tolist() == [1.0, 1.0]
    assert "running_mean" in kept


def test_new_buffer_values_are_those_of_one_pass_over_the_case():
    class CountsRows(Good):
        def __init__(self, spec):
            super().__init__(spec)
            self.register_buffer("rows", torch.zeros(()))

        def statistics(self, output, batch, target, predict):
            return {"rows": torch.tensor(float(len(target)))}

        def update(self, statistics, clock):
            return {"rows": self.rows + statistics["rows"] * clock.fraction}

    subject = subject_for(CountsRows, cases=(CASE,))
    part = subject.build(CASE.spec)
    assert updated(subject, part, CASE)["rows"] == 12 / 4
    assert part.rows == 0
