"""Generated problems: what they plant, their exact ceiling, and which options are refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fusionbench_plugins.tasks.planted import PROBLEMS, Lazy, Noise, Planted, Problem, Xor


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
    ]:
        with pytest.raises(ValueError, match=said):
            Planted(problem, dials=wrong)


def test_rows_have_a_bound():
    with pytest.raises(ValueError, match="rows must be at most 10,000,000, found 1,000,000,000,000"):
        Planted(rows=10**12)
