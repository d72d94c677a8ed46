"""Mechanisms that are wrong on purpose: each is rejected by the check that is meant for it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fusionbench import Missingness
from fusionbench.testing import run_checks
from fusionbench.testing.exams.mechanisms import default_contexts


class GoodMechanism(Missingness):
    def thresholds(self, context, generator):
        return generator.random(context.available.shape)


class DrawsOneColumn(GoodMechanism):
    def thresholds(self, context, generator):
        return super().thresholds(context, generator)[:, :1].repeat(2, axis=1)


class ReachesOne(GoodMechanism):
    def thresholds(self, context, generator):
        return np.ceil(super().thresholds(context, generator))


class HidesTooEarly(GoodMechanism):
    def thresholds(self, context, generator):
        return super().thresholds(context, generator) ** 1.3


class UsesItsOwnGenerator(GoodMechanism):
    def thresholds(self, context, generator):
        return np.random.default_rng(0).random(context.available.shape)


class DrawsFromTheGlobalState(GoodMechanism):
    def thresholds(self, context, generator):
        random.random()
        return super().thresholds(context, generator)


class WritesToTheContext(GoodMechanism):
    def thresholds(self, context, generator):
        context.target[:] = 0
        return super().thresholds(context, generator)


class ReadsSummariesUnasked(GoodMechanism):
    def thresholds(self, context, generator):
        drawn = super().thresholds(context, generator)
        return drawn if context.summaries is None else drawn[::-1]


class SaysItIsBlindAndIsNot(GoodMechanism):
    blind = True

    def thresholds(self, context, generator):
        return np.roll(super().thresholds(context, generator), int(context.available.sum()), axis=0)


class NeedsManyRows(GoodMechanism):
    def thresholds(self, context, generator):
        drawn = super().thresholds(context, generator)
        return drawn if len(drawn) > 10 else drawn + 1


WRONG_MECHANISMS = [
    (SaysItIsBlindAndIsNot, "a_blind_mechanism_looks_at_nothing"),
    (NeedsManyRows, "few_rows_are_enough"),
    (DrawsOneColumn, "thresholds_have_one_entry_for_each_cell"),
    (ReachesOne, "thresholds_have_one_entry_for_each_cell"),
    (HidesTooEarly, "a_rate_hides_its_share"),
    (UsesItsOwnGenerator, "the_generator_decides_the_draw"),
    (DrawsFromTheGlobalState, "the_generator_decides_the_draw"),
    (WritesToTheContext, "the_context_is_not_changed"),
    (ReadsSummariesUnasked, "summaries_are_read_only_where_declared"),
]


def test_a_correct_mechanism_passes_everything():
    results = run_checks(type("GoodAndBlind", (GoodMechanism,), {"blind": True}))
    assert {r.status for r in results} == {"passed"}
    assert [r.name for r in run_checks(GoodMechanism) if r.status != "passed"] == ["a_blind_mechanism_looks_at_nothing"]


@pytest.mark.parametrize(("plugin", "name"), WRONG_MECHANISMS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_mechanism_is_found_out(plugin, name):
    (result,) = run_checks(plugin, only=[name])
    assert result.status == "failed"
    assert not result.reason.startswith("raised")


def test_contexts_cover_sizes_gaps_and_targets_and_leave_no_row_empty():
    contexts = default_contexts()
    assert len({case.name for case in contexts}) == len(contexts) == 2 * 2 * 3
    for case in contexts:
        context = case.context
        assert context.available.any(axis=1).all()
        assert context.available.all() == (case.name.endswith("complete") or len(context.names) == 1)
        assert not context.summaries[~context.available].any()


def test_contexts_are_the_same_every_time():
    one, other = default_contexts()[0].context, default_contexts()[0].context
    assert np.array_equal(one.target, other.target)
    assert np.array_equal(one.summaries, other.summaries)


def test_a_mechanism_that_says_it_reads_summaries_may():
    class ReadsSummariesAndSaysSo(ReadsSummariesUnasked):
        uses_summaries = True

    (result,) = run_checks(ReadsSummariesAndSaysSo, only=["summaries_are_read_only_where_declared"])
    assert (result.status, result.reason) == ("skipped", "it says uses_summaries = True")
