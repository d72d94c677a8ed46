"""Hiding modalities in training: uniform over the right subsets, never empty, a pure function of its draws."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fusionbench.errors import ConfigError, PluginError
from fusionbench.missingness.corruption import (
    STRICTNESS,
    Corruption,
    combined_policy,
    draw_shown,
    draw_uniforms,
    shown_from_uniforms,
)

HIDING = ("bernoulli", "uniform_subset", "partial_subset")


def codes(shown: torch.Tensor) -> torch.Tensor:
    return (shown.long() << torch.arange(shown.shape[-1])).sum(dim=-1)


def subset_codes(available: tuple[bool, ...], *, all_too: bool) -> set[int]:
    bits = [m for m, a in enumerate(available) if a]
    sizes = range(1, len(bits) + (1 if all_too or len(bits) == 1 else 0))
    return {sum(1 << b for b in combo) for size in sizes for combo in itertools.combinations(bits, size)}


def grid(available: tuple[bool, ...], points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One row for each of ``points`` evenly spaced values of the uniform that chooses."""
    uniforms = torch.full((points, len(available) + 1), 0.5, dtype=torch.float64)
    uniforms[:, -1] = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.tensor(available).expand(points, -1), uniforms


@pytest.mark.parametrize("available", [a for a in itertools.product((False, True), repeat=4) if any(a)])
@pytest.mark.parametrize("policy", ["uniform_subset", "partial_subset"])
def test_every_allowed_subset_has_the_same_share_of_the_unit_interval(policy, available):
    expected = subset_codes(available, all_too=policy == "uniform_subset")
    mask, uniforms = grid(available, points=12 * len(expected))
    counts = torch.bincount(codes(shown_from_uniforms(policy, 0.0, mask, uniforms)), minlength=16)
    assert {c for c in range(16) if counts[c]} == expected
    assert set(counts[counts > 0].tolist()) == {12}


@pytest.mark.parametrize("policy", ["uniform_subset", "partial_subset"])
def test_drawn_subsets_are_uniform(policy):
    available = (True, False, True, True)
    rows = torch.tensor(available).expand(20_000, -1)
    counts = torch.bincount(codes(draw_shown(policy, 0.0, rows, torch.Generator().manual_seed(1))), minlength=16)
    expected = sorted(subset_codes(available, all_too=policy == "uniform_subset"))
    assert counts.sum() == counts[expected].sum()
    assert stats.chisquare(counts[expected].numpy()).pvalue > 1e-3


def test_bernoulli_hides_at_its_rate_and_restores_one_of_the_emptied_uniformly():
    rows = torch.tensor([True, True, True]).expand(40_000, -1)
    counts = torch.bincount(codes(draw_shown("bernoulli", 0.4, rows, torch.Generator().manual_seed(2))), minlength=8)
    kept = [sum(c >> m & 1 for m in range(3)) for c in range(8)]
    share = [0.6**k * 0.4 ** (3 - k) for k in kept]
    expected = [0.0 if k == 0 else s + (0.4**3 / 3 if k == 1 else 0) for k, s in zip(kept, share, strict=True)]
    assert counts[0] == 0
    assert stats.chisquare(counts[1:].numpy(), [40_000 * e for e in expected[1:]]).pvalue > 1e-3


@given(
    masks=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6),
    policy=st.sampled_from(HIDING),
    rate=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_shown_is_within_available_and_empty_only_where_available_is(masks, policy, rate, seed):
    available = torch.tensor(masks)
    shown = draw_shown(policy, rate, available, torch.Generator().manual_seed(seed))
    assert not (shown & ~available).any()
    assert torch.equal(shown.any(dim=-1), available.any(dim=-1))
    if policy == "partial_subset":
        several = available.sum(dim=-1) > 1
        assert (shown.sum(dim=-1) < available.sum(dim=-1))[several].all()


@pytest.mark.parametrize("policy", HIDING)
@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_are_safe(policy, extreme):
    available = torch.tensor([[True, True, False], [False, False, True], [True, True, True], [False, False, False]])
    shown = shown_from_uniforms(policy, 0.5, available, torch.full((4, 4), extreme))
    assert torch.equal(shown.any(dim=-1), available.any(dim=-1))


@pytest.mark.parametrize("policy", HIDING)
def test_stacked_runs_equal_the_same_runs_alone(policy):
    available = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(3)) > 0.4
    uniforms = draw_uniforms(available.shape, torch.Generator().manual_seed(4))
    rates = torch.linspace(0.1, 0.9, 5).reshape(5, 1, 1)
    stacked = shown_from_uniforms(policy, rates, available, uniforms)
    alone = [shown_from_uniforms(policy, float(rates[k]), available[k], uniforms[k]) for k in range(5)]
    mapped = torch.vmap(lambda r, a, u: shown_from_uniforms(policy, r, a, u))(rates, available, uniforms)
    assert torch.equal(stacked, torch.stack(alone))
    assert torch.equal(stacked, mapped)


def test_none_shows_everything_and_draws_nothing():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    available = torch.tensor([[True, False]])
    assert torch.equal(draw_shown("none", 0.0, available, generator), available)
    assert torch.equal(generator.get_state(), before)


def test_an_unknown_policy_is_refused_when_drawing():
    with pytest.raises(ValueError, match="found 'most'"):
        shown_from_uniforms("most", 0.0, torch.ones(1, 2, dtype=torch.bool), torch.rand(1, 3))


def test_the_strictest_request_wins():
    asked = {
        "strategy 'a'": Corruption("bernoulli", 0.3),
        "imputer 'b'": Corruption("partial_subset"),
        "regulariser 'c'": Corruption("uniform_subset"),
    }
    assert combined_policy(asked) == Corruption("partial_subset")
    assert combined_policy({}) == Corruption()
    assert combined_policy({"a": Corruption("bernoulli", 0.1), "b": Corruption("bernoulli", 0.3)}).rate == 0.3
    assert [Corruption(p).strictness[0] for p in STRICTNESS] == [0, 1, 2, 3]


def test_a_stricter_setting_wins_over_requests():
    asked = {"strategy 'a'": Corruption(), "imputer 'b'": Corruption("uniform_subset")}
    assert combined_policy(asked, Corruption("uniform_subset")) == Corruption("uniform_subset")
    assert combined_policy(asked, Corruption("partial_subset")) == Corruption("partial_subset")


@pytest.mark.parametrize("setting", [Corruption(), Corruption("bernoulli", 0.5)])
def test_a_setting_that_hides_less_than_a_part_needs_is_an_error_naming_the_part(setting):
    with pytest.raises(ConfigError, match="hides less than imputer 'cra' needs \\('uniform_subset'\\)"):
        combined_policy({"strategy 'sum'": Corruption(), "imputer 'cra'": Corruption("uniform_subset")}, setting)
    with pytest.raises(ConfigError, match=r"^b.yaml:3: strategies\[0\].corruption: "):
        combined_policy({"x": Corruption("partial_subset")}, setting, "b.yaml:3: strategies[0].corruption")


@pytest.mark.parametrize(
    ("corruption", "message"),
    [
        (Corruption("unifrom_subset"), "did you mean 'uniform_subset'"),
        (Corruption("bernoulli"), "needs a rate between 0 and 1"),
        (Corruption("bernoulli", 1.0), "found 1.0"),
        (Corruption("uniform_subset", 0.2), "takes no rate"),
    ],
)
def test_policies_that_do_not_exist_are_refused(corruption, message):
    with pytest.raises(ConfigError, match=message):
        combined_policy({}, corruption)
    with pytest.raises(PluginError, match=f"strategy 'x': .*{message}"):
        combined_policy({"strategy 'x'": corruption})
