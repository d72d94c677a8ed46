"""Lazy combinations: what is mined and when rows count. Numbers: test_parity_imputation."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind, TrainingClock
from fusionbench.targets import row_losses
from fusionbench_plugins.regularisers.tla import Tla, combinations, shown_id

SPEC = FusionSpec({"a": 1, "b": 1}, num_outputs=1, kind=TargetKind.BINARY)
PRESENT = {"a": torch.tensor([True, True, False, True]), "b": torch.tensor([True, False, True, True])}
BATCH = Batch({n: torch.zeros(4, 1) for n in PRESENT}, PRESENT)
TARGET = torch.tensor([0, 1, 1, 1])
OUTPUT = FusionOutput(torch.tensor([[0.5], [-1.0], [2.0], [0.0]]))
LOSSES = row_losses(OUTPUT.logits, TARGET, SPEC.kind)


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize("distance", ["ce", "one_minus_p", "brier"])
def test_distances_of_every_target_kind_are_zero_for_a_certain_correct_prediction(kind, distance):
    tla = Tla(FusionSpec({"m0": 1}, num_outputs=1 if kind is TargetKind.BINARY else 2, kind=kind), distance=distance)
    target = torch.tensor([[0, 1], [1, 0]]) if kind is TargetKind.MULTILABEL else torch.tensor([0, 1])
    right = {
        TargetKind.BINARY: [[-50.0], [50.0]],
        TargetKind.MULTICLASS: [[50.0, -50.0], [-50.0, 50.0]],
        TargetKind.MULTILABEL: [[-50.0, 50.0], [50.0, -50.0]],
    }[kind]
    batch = Batch({"m0": torch.zeros(2, 1)}, {"m0": torch.tensor([True, False])})

    def sums(logits):
        output = FusionOutput(torch.tensor(logits))
        return tla.statistics(output, batch, target, lambda view: output)

    assert_close(sums(right)["sums"], torch.zeros(1), atol=1e-6, rtol=0)
    wrong = sums((-torch.tensor(right)).tolist())
    assert_close(
        wrong["sums"],
        torch.tensor(
            [{"ce": 100.0 if kind is TargetKind.MULTICLASS else 50.0, "one_minus_p": 1.0, "brier": 2.0}[distance]]
        ),
    )
    assert_close(wrong["counts"], torch.ones(1))


def test_combinations_are_numbered_by_the_bits_of_their_modalities():
    assert combinations(2) == (1, 2, 3)
    assert combinations(3, max_absent=0) == (7,)
    assert combinations(3, max_absent=9) == combinations(3)
    assert shown_id(BATCH, ("a", "b")).tolist() == [3, 1, 2, 3]


def test_what_an_imputer_has_filled_is_not_shown():
    filled = BATCH.filled({"a": torch.ones(1), "b": torch.ones(1)})
    assert shown_id(filled, ("a", "b")).tolist() == [3, 1, 2, 3]


def test_each_combination_is_mined_on_the_rows_that_have_all_of_it():
    views = []

    def predict(view):
        views.append(tuple(n for n in view.names if view.present[n].any()))
        return OUTPUT

    found = Tla(SPEC).statistics(OUTPUT, BATCH, TARGET, predict)
    assert views == [("a",), ("b",), ("a", "b")]
    assert found["counts"].tolist() == [3.0, 3.0, 2.0]
    assert_close(found["sums"], torch.stack([LOSSES[[0, 1, 3]].sum(), LOSSES[[0, 2, 3]].sum(), LOSSES[[0, 3]].sum()]))


def test_the_laziest_is_the_one_with_the_worst_mean_not_the_largest_sum():
    sums = {"sums": torch.tensor([6.0, 4.0, 1.0]), "counts": torch.tensor([6.0, 2.0, 1.0])}
    assert Tla(SPEC).update(sums, TrainingClock(1, 9))["lazy_id"].tolist() == [2]


def test_rows_that_are_shown_exactly_the_lazy_combination_are_trained_on_again():
    tla = Tla(SPEC, weight=0.5)
    assert tla.loss(OUTPUT, BATCH, TARGET) == 0  # nothing is mined yet
    tla.lazy_id.fill_(3)
    assert_close(tla.loss(OUTPUT, BATCH, TARGET), LOSSES[[0, 3]].mean() / 2)
    over_all = Tla(SPEC, weight=0.5, reduction="batch_mean")
    over_all.lazy_id.fill_(3)
    assert_close(over_all.loss(OUTPUT, BATCH, TARGET), LOSSES[[0, 3]].sum() / 4 / 2)


def test_traces_say_which_modalities_are_lazy():
    tla = Tla(SPEC, top=2)
    assert tla.traces(OUTPUT, BATCH, TARGET) == {"lazy.a": 0, "lazy.b": 0}
    tla.lazy_id.copy_(torch.tensor([1, 3]))
    assert tla.traces(OUTPUT, BATCH, TARGET) == {"lazy.a": 1, "lazy.b": 0.5}


@pytest.mark.parametrize(("option", "accepted"), [("distance", "ce"), ("mine", "every_epoch"), ("head", "fused")])
def test_options_that_are_not_offered_are_refused_with_those_that_are(option, accepted):
    with pytest.raises(ValueError, match=f"{option} must be '{accepted}'.*, found 'other'"):
        Tla(SPEC, **{option: "other"})
