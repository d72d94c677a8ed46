"""What is examined: how a plugin of each kind is built, called and read out."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from fusionbench import FusionOutput, Imputer, Regulariser, TargetKind
from fusionbench.testing import default_cases, make_case
from fusionbench.testing.subjects import plain_output, subject_for
from tests.builders import plugin
from tests.testing.exams.good import Good

CASE = make_case(3, TargetKind.BINARY, "random")


class KeepsTotals(Imputer):
    """Works on inputs: it is fitted before it fills."""

    level: ClassVar = "input"

    def fit(self, batch):
        self.totals = {n: batch.observed(n).sum(dim=0) for n in batch.names}

    def forward(self, batch):
        return batch.filled(self.totals)


class AddsOne(Regulariser):
    """Adds the number one."""

    def loss(self, output, batch, target):
        return output.logits.sum() * 0 + 1


@pytest.mark.parametrize(("target", "kind"), [(Good, "strategy"), (KeepsTotals, "imputer"), (AddsOne, "regulariser")])
def test_the_kind_is_that_of_the_base_class(target, kind):
    assert subject_for(target, cases=(CASE,)).kind == kind


def test_something_else_is_refused_with_the_kinds_there_are():
    with pytest.raises(
        TypeError, match="subclasses of FittedStrategy, FusionStrategy, Imputer, Regulariser; found <class 'dict'>"
    ):
        subject_for(dict)


def test_options_are_part_of_the_name():
    assert str(subject_for(Good, cases=(CASE,))) == "Good"
    assert str(subject_for(Good, {"width": 3}, (CASE,))) == "Good(width=3)"


def test_building_leaves_chance_alone_and_follows_the_seed():
    subject, before = subject_for(Good, cases=(CASE,)), torch.get_rng_state()
    one, same, other = (subject.build(CASE.spec, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert one.head.weight.dtype == torch.float64


def test_a_required_modality_is_the_first_by_name_unless_it_is_given():
    unimodal = plugin("strategies", "unimodal")
    assert subject_for(unimodal, cases=(CASE,)).example().reads == ("cxr",)
    assert subject_for(unimodal, {"modality": "ehr"}, (CASE,)).example().reads == ("ehr",)


def test_fresh_subjects_do_not_share_tensors():
    subject = subject_for(Good, cases=(CASE,))
    fresh = subject.fresh()
    fresh.cases[0].batch.features["ehr"].zero_()
    assert subject.cases[0].batch.features["ehr"].any()


def test_some_cases_meet_every_size_target_and_pattern():
    chosen = subject_for(Good, cases=default_cases()).some(9)
    assert 6 <= len(chosen) <= 9
    assert {len(c.spec.names) for c in chosen} == {1, 2, 3, 4}
    assert {c.spec.kind for c in chosen} == set(TargetKind)
    assert {c.name.rpartition(", ")[2] for c in chosen} == {"complete", "random", "single"}


def test_covering_cases_have_each_spec_once_and_patterns_in_turn():
    chosen = subject_for(Good, cases=default_cases()).covering()
    assert len({(c.spec.names, c.spec.kind) for c in chosen}) == len(chosen) == 4 * 3
    patterns = [c.name.rpartition(", ")[2] for c in chosen]
    assert {patterns.count(p) for p in set(patterns)} == {4}


def test_a_strategy_may_answer_with_logits_alone_and_only_heads_of_modalities_are_read_out():
    class WithHeads(Good):
        def forward(self, batch):
            logits = super().forward(batch)
            return FusionOutput(logits, {"unimodal.ehr": logits, "weights": logits})

    for target, names in ((Good, {"logits"}), (WithHeads, {"logits", "unimodal.ehr"})):
        subject = subject_for(target, cases=(CASE,))
        assert set(subject.predict(subject.example(), CASE.batch)) == names


def test_an_imputer_of_inputs_is_fitted_before_it_answers():
    subject = subject_for(KeepsTotals, cases=(CASE,))
    found = subject.predict(subject.trained(CASE), CASE.batch)
    absent = ~CASE.batch.present["cxr"]
    assert absent.any()
    assert torch.equal(
        found["features of cxr"][absent], CASE.batch.observed("cxr").sum(dim=0).expand(int(absent.sum()), -1)
    )
    assert found["usable rows of cxr"].all()


def test_a_regulariser_is_given_a_prediction_without_parameters():
    subject = subject_for(AddsOne, cases=(CASE,))
    part = subject.example()
    assert subject.readout(subject.call(part, CASE.batch)) == {}
    made = plain_output(CASE.spec, CASE.batch)
    assert torch.equal(made.logits, sum(CASE.batch.completed(n)[:, :1] for n in CASE.spec.names))
