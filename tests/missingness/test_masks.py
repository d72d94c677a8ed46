from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fusionbench import MissingnessContext
from fusionbench.errors import ConfigError
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.masks import achieved_rate, achieved_share, mask_digest, present_mask
from fusionbench.missingness.mechanisms import masks_for
from fusionbench_plugins.missingness import mar, mcar, mnar
from fusionbench_plugins.missingness.mar import AtRandom
from fusionbench_plugins.missingness.mcar import CompletelyAtRandom
from fusionbench_plugins.missingness.mnar import NotAtRandom

NAMES = ("ehr", "cxr", "note")
RATES = (0.0, 0.2, 0.4, 0.6, 0.9)


def context(rows=4000, held=1.0, seed=0):
    rng = np.random.default_rng(seed)
    available = rng.random((rows, 3)) < held
    available[~available.any(1), 0] = True
    target = (rng.random(rows) < 0.2).astype(np.int64)
    summaries = np.where(available, rng.standard_exponential((rows, 3)) - 1, 0.0)
    return MissingnessContext(available, NAMES, target, summaries)


MECHANISMS = {"mcar": CompletelyAtRandom(), "mar": AtRandom(), "mnar": NotAtRandom()}


def masks(pattern, rates=RATES, name="mcar", ctx=None, seed=0):
    conditions = [Condition(pattern, rate) for rate in rates]
    return masks_for(MECHANISMS[name], ctx or context(), conditions, name=name, seed=seed)


@st.composite
def availability(draw):
    rows, modalities = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    available = draw(hnp.arrays(np.bool_, (rows, modalities)))
    available[~available.any(1), draw(st.integers(0, modalities - 1))] = True
    few = st.sampled_from([0.0, 0.25, 0.5, 0.75])  # ties
    return available, draw(hnp.arrays(np.float64, (rows, modalities), elements=few | st.floats(0, 1, exclude_max=True)))


@settings(max_examples=200, deadline=None)
@given(availability(), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_masks_are_nested_never_empty_and_hide_only_what_is_there(rows, one, other):
    available, thresholds = rows
    low, high = (present_mask(available, thresholds, rate) for rate in sorted((one, other)))
    assert low.any(1).all()
    assert high.any(1).all()
    assert not (high & ~low).any()
    assert not (low & ~available).any()
    assert (present_mask(available, thresholds, 0.0) == available).all()


@settings(max_examples=100, deadline=None)
@given(availability(), st.sampled_from(["random", "all", "natural", "m0", "m1+m0"]), st.integers(0, 3))
def test_every_pattern_keeps_the_promises_on_any_availability(rows, pattern, seed):
    available, _ = rows
    names = tuple(f"m{i}" for i in range(4))
    available = np.pad(available, ((0, 0), (0, 4 - available.shape[1])))
    ctx = MissingnessContext(available, names, np.zeros(len(available), np.int64), np.zeros(available.shape))
    rates = (0.0,) if pattern == "natural" else RATES
    for name, mechanism in MECHANISMS.items():
        got = masks_for(mechanism, ctx, [Condition(pattern, r) for r in rates], name=name, seed=seed)
        assert got.any(2).all()
        assert not (got & ~available).any()
        assert not (got[1:] & ~got[:-1]).any()


def test_the_cell_with_the_largest_threshold_stays():
    available = np.array([[True, True, True], [True, True, False]])
    thresholds = np.array([[0.1, 0.3, 0.2], [0.2, 0.1, 0.9]])
    assert present_mask(available, thresholds, 0.95).tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("held", [1.0, 0.7])
def test_one_modality_reaches_the_rate_and_the_others_are_untouched(name, held):
    ctx = context(held=held)
    got = masks("cxr", name=name, ctx=ctx)
    achieved = achieved_rate(ctx.available, got)
    assert (achieved[:, [0, 2]] == 0).all()
    only = (ctx.available[:, 1] & (ctx.available.sum(1) == 1)).sum() / ctx.available[:, 1].sum()
    np.testing.assert_allclose(achieved[:, 1], np.array(RATES) * (1 - only), atol=0.03)


def test_a_block_vanishes_together():
    got = masks("note+cxr")
    assert (got[..., 1] == got[..., 2]).all()
    assert got[..., 0].all()
    np.testing.assert_allclose(achieved_rate(context().available, got)[:, 2], RATES, atol=0.03)


def test_random_hides_each_modality_for_itself_less_what_no_row_may_lose():
    ctx = context()
    achieved = achieved_rate(ctx.available, masks("random"))
    rates = np.array(RATES)[:, None]
    np.testing.assert_allclose(achieved, np.broadcast_to(rates - rates**3 / 3, (5, 3)), atol=0.03)


def test_all_reduces_a_share_of_rows_to_subsets_that_are_equally_likely():
    got = masks("all", rates=(0.6,), ctx=context(rows=30_000))[0]
    reduced = got[~got.all(1)]
    assert len(reduced) / len(got) == pytest.approx(0.6, abs=0.02)
    counts = np.bincount(reduced @ [1, 2, 4], minlength=8)
    assert counts[0] == counts[7] == 0
    np.testing.assert_allclose(counts[1:7] / len(reduced), 1 / 6, atol=0.015)


def test_all_draws_among_what_a_row_has():
    available = np.tile([True, False, True], (9000, 1))
    ctx = MissingnessContext(available, NAMES, np.zeros(9000, np.int64))
    got = masks("all", rates=(0.9,), ctx=ctx)[0]
    counts = np.bincount(got @ [1, 2, 4], minlength=8)
    assert set(np.flatnonzero(counts)) == {1, 4, 5}
    assert counts[1] == pytest.approx(counts[4], rel=0.1)


def test_masks_depend_on_pattern_and_seed_and_not_on_rates_or_their_order():
    alone = masks("random", rates=(0.4,))[0]
    assert mask_digest(alone) == mask_digest(masks("random")[2])
    mixed = masks_for(
        MECHANISMS["mcar"], context(), [Condition("cxr", 0.6), Condition("random", 0.4)], name="mcar", seed=0
    )
    assert (mixed[1] == alone).all()
    assert mask_digest(masks("random", rates=(0.4,), seed=1)[0]) != mask_digest(alone)
    assert (masks("cxr+note") == masks("note + cxr")).all()


def test_the_digest_knows_shape_and_content():
    mask = np.ones((2, 4), bool)
    assert mask_digest(mask) == mask_digest(mask.copy())
    assert len({mask_digest(m) for m in (mask, mask.T, ~mask, mask.ravel())}) == 4


def test_achieved_rate_of_a_modality_nobody_has_is_not_a_number():
    available = np.array([[True, False], [True, False]])
    present = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(achieved_rate(available, present), [0.5, np.nan])


def test_the_plugins_register_themselves():
    found = {}
    for module in (mcar, mar, mnar):
        module.register_missingness(found.__setitem__)
    assert found == {"mcar": CompletelyAtRandom, "mar": AtRandom, "mnar": NotAtRandom}


def test_of_one_modality_at_random_rows_lose_their_nominal_share_and_single_ones_nothing():
    ctx = context(rows=6000, held=0.7)
    several = ctx.available.sum(axis=1) > 1
    found = masks("one", ctx=ctx)
    for rate, present in zip(RATES, found, strict=True):
        lost = (ctx.available & ~present).sum(axis=1)
        assert lost.max(initial=0) <= 1
        assert not lost[~several].any()
        assert lost[several].mean() == pytest.approx(rate, abs=0.02)
    assert all(not (later & ~earlier).any() for earlier, later in pairwise(found))
    last = ctx.available & ~found[-1]
    for has in (np.array([1, 1, 0], bool), np.array([1, 1, 1], bool)):  # each of what a row has, equally often
        mine = last[(ctx.available == has).all(axis=1)].mean(axis=0)
        assert mine[has] == pytest.approx(0.9 / has.sum(), abs=0.05)


def test_modalities_may_have_rates_of_their_own_in_one_proportion():
    ctx = context(rows=6000)
    found = masks("cxr:0.6+ehr:0.3", rates=(0.3, 0.6), ctx=ctx)
    for rate, present in zip((0.3, 0.6), found, strict=True):
        assert achieved_rate(ctx.available, present) == pytest.approx([rate / 2, rate, 0], abs=0.02)
    assert not (found[1] & ~found[0]).any()
    assert np.array_equal(found, masks("ehr:1 + cxr:2", rates=(0.3, 0.6), ctx=ctx))
    assert achieved_share(ctx.available, found[1]) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("pattern", ["cxr:0.6+cxr:0.3", "cxr:0", "cxr:much", "cxr:0.5+ehr", "pet:0.5", "cxr:inf"])
def test_shares_that_are_none_are_refused(pattern):
    with pytest.raises(ConfigError, match=r"needs each modality once, with a number above 0|no modality named 'pet'"):
        masks(pattern)
