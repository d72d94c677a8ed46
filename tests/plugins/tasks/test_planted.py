"""Generated problems: what they plant, their exact ceiling, and which options are refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fusionbench_plugins.tasks._regimes import separation_of
from fusionbench_plugins.tasks.planted import PROBLEMS, Lazy, Noise, Planted, Problem, Regimes, Xor


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equal_options_give_equal_rows_and_others_another_digest(problem, tmp_path):
    one, two = (Planted(problem, rows=50).prepare(tmp_path, None) for _ in range(2))
    for name, modality in one.modalities.items():
        assert (modality.values == two.modalities[name].values).all()
    assert one.digest == two.digest
    others = [Planted(problem, rows=51), Planted(problem, rows=50, seed=1)]
    dial = next(iter(vars(PROBLEMS[problem]())))
    others.append(Planted(problem, rows=50, dials={dial: 3}))
    assert len({one.digest, *(t.prepare(tmp_path, None).digest for t in others)}) == 4
    assert one.synthetic
    assert one.available.all()


def obvious_posterior(problem, values, subset):
    """P(1 | subset) by adding up densities over every state of the hidden signs, without logs."""
    names = list(values)
    density = np.zeros(2)
    signs = 3 if isinstance(problem, Xor) and problem.modalities == 3 else 2
    for state in np.ndindex(*(2,) * signs):
        bits = 2 * np.array(state) - 1
        if isinstance(problem, Noise):
            label = state[0]
            means = {
                n: e * (2 * label - 1) / np.sqrt(len(values[n]))
                for n, e in zip(names, (problem.strong, problem.weak, 0), strict=True)
            }
        elif isinstance(problem, Xor):
            label = int(bits.prod() < 0)
            means = {n: problem.separation * b / np.sqrt(len(values[n])) for n, b in zip(names, bits, strict=True)}
        else:
            label = int(bits.prod() < 0)
            half = len(values["slow"]) // 2
            rest = len(values["slow"]) - half
            slow = np.r_[np.full(half, bits[0] / np.sqrt(half)), np.full(rest, bits[1] / np.sqrt(rest))]
            means = {
                "fast": problem.fast_separation * (2 * label - 1) / np.sqrt(len(values["fast"])),
                "slow": problem.slow_separation * slow,
            }
        density[label] += np.prod([np.exp(-0.5 * ((values[n] - means[n]) ** 2).sum()) for n in subset])
    return density[1] / density.sum()


@pytest.mark.parametrize(
    "problem",
    [Xor(), Xor(modalities=3, width=3), Noise(width=3, noise_width=2), Lazy(fast_width=6, slow_width=5)],
    ids=repr,
)
def test_the_ceiling_is_the_posterior_of_every_subset(problem: Problem):
    drawn = problem.draw(20, np.random.default_rng(1))
    names = list(drawn.values)
    for code in range(2 ** len(names)):
        subset = [n for m, n in enumerate(names) if code >> m & 1]
        for row in range(20):
            values = {n: v[row] for n, v in drawn.values.items()}
            assert drawn.ceiling[row, code] == pytest.approx(obvious_posterior(problem, values, subset), abs=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_ceiling_is_calibrated_and_labels_are_even(problem):
    drawn = PROBLEMS[problem]().draw(20_000, np.random.default_rng(0))
    p = drawn.ceiling[:, -1]
    for low in np.arange(0, 1, 0.2):
        rows = (p >= low) & (p < low + 0.2)
        if rows.sum() > 200:
            assert abs(drawn.target[rows].mean() - p[rows].mean()) < 4 * 0.5 / np.sqrt(rows.sum())
    assert abs(drawn.target.mean() - 0.5) < 0.02


def test_what_each_problem_plants():
    xor = Xor().draw(4000, np.random.default_rng(0))
    assert (xor.ceiling[:, :3] == 0.5).all()
    assert roc_auc_score(xor.target, xor.ceiling[:, 3]) > 0.98
    noise = Noise().draw(4000, np.random.default_rng(0))
    assert (noise.ceiling[:, 0b111] == noise.ceiling[:, 0b011]).all()
    assert (noise.ceiling[:, 0b100] == 0.5).all()
    lazy = Lazy().draw(4000, np.random.default_rng(0))
    fast, slow, both = (roc_auc_score(lazy.target, lazy.ceiling[:, c]) for c in (1, 2, 3))
    assert 0.85 < fast < slow < both


def test_everything_that_is_wrong_with_the_options_is_said_at_once():
    with pytest.raises(ValueError, match="no problem named 'xr'; did you mean 'xor'"):
        Planted("xr")
    dials = {"seperation": 1, "width": 0, "modalities": True}
    with pytest.raises(ValueError, match="no dial 'seperation'; did you mean 'separation'") as found:
        Planted("xor", rows=5, seed=-1, dials=dials)
    assert len(str(found.value).splitlines()) >= 4
    for problem, wrong, said in [
        ("xor", {"modalities": 5}, "2, 3 or 4"),
        ("xor", {"separation": float("inf")}, "separation must be 0 or more"),
        ("noise", {"strong": "much"}, "strong must be a number"),
        ("lazy", {"slow_width": 1}, "slow holds two signs"),
        ("lazy", {"fast_width": 1.5}, "fast_width must be a whole number"),
        ("lazy", [1], "dials must be a mapping"),
        ("regimes", {"imbalance": 1.5}, "imbalance must be between 0 and 1, found 1.5"),
        ("regimes", {"synergy": -0.1}, "synergy must be 0 or more"),
        ("regimes", {"redundancy": True}, "redundancy must be a number"),
        ("regimes", {"width": 2}, "width must be 3 or more"),
        ("regimes", {"strength": 4}, "strength must be at most 3"),
    ]:
        with pytest.raises(ValueError, match=said):
            Planted(problem, dials=wrong)


@pytest.mark.parametrize(("imbalance", "redundancy", "synergy"), [(0.3, 0.4, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_the_ceiling_of_a_regime_is_its_posterior(imbalance, redundancy, synergy):
    """P(1 | subset), by adding up densities over the label, the sign and a grid of the noise that both modalities share."""
    strength = 1.2
    problem = Regimes(6, strength, imbalance, redundancy, synergy)
    drawn = problem.draw(15, np.random.default_rng(1))
    share = {"first": (1 + imbalance) / 2, "second": (1 - imbalance) / 2}
    apart = separation_of(synergy * strength**2 / 2)
    common = strength * np.sqrt((1 - synergy) * redundancy)
    for row in range(15):
        # entries along the three directions; what is orthogonal to them is noise whatever the label
        along = {n: (v[row].reshape(3, 2).sum(axis=1) / np.sqrt(2)) for n, v in drawn.values.items()}
        assert along["first"][0] == pytest.approx(along["second"][0])
        for code, seen in enumerate([(), ("first",), ("second",), ("first", "second")]):
            density = np.zeros(2)
            for label, sign in np.ndindex(2, 2):
                y, b = 2 * label - 1, 2 * sign - 1
                value = norm.pdf(along["first"][0], common * y) if seen else 1.0
                for n in seen:
                    own = strength * np.sqrt((1 - synergy) * (1 - redundancy) * share[n])
                    mine = b if n == "first" else -b * y
                    value *= norm.pdf(along[n][1], own * y) * norm.pdf(along[n][2], apart * mine)
                density[label] += value
            assert drawn.ceiling[row, code] == pytest.approx(density[1] / density.sum(), abs=1e-9)


def test_dials_change_the_regime_and_not_how_much_can_be_known():
    steps = (0, 0.5, 1)
    for strength in (0.7, 1.0):
        whole = norm.cdf(np.sqrt(2) * strength)
        for i, r, s in itertools.product(steps, steps, steps):
            drawn = Regimes(6, strength, i, r, s).draw(20_000, np.random.default_rng(3))
            found = [roc_auc_score(drawn.target, p) for p in drawn.ceiling.T[1:]]
            # four standard errors, and what is approximate
            assert found[2] == pytest.approx(whole, abs=0.008), (i, r, s)
            assert found[0] >= found[1] - 0.015
            assert (found[0] - found[1] > 0.025) == (i > 0 and r < 1 and s < 1)
            if r == 1 or s == 1:  # one number in both, or nothing in either
                assert found[0] == pytest.approx(found[1])
            if s == 0 and (r == 1 or i == 1):
                assert found[0] == pytest.approx(found[2])


def test_rows_have_a_bound():
    with pytest.raises(ValueError, match="rows must be at most 10,000,000, found 1,000,000,000,000"):
        Planted(rows=10**12)
