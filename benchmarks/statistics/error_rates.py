"""How often each test is wrong, and how often it sees a difference that is there.

Two "methods" are fitted on simulated patients with the splits that the benchmark uses (folds x seeds, AUROC). Under the null
they are one method under two sets of seeds; a seed is one set of initial weights, the same in every fold. Otherwise the second
lacks a part of the signal, and its true loss is measured on a large sample. A method is a ridge regression on random
features: a stand-in for a network whose initial weights are drawn, fitted in a millisecond. Run by hand; prints the table of
docs/statistics.md.

    python benchmarks/statistics/error_rates.py --samples 1000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fusionbench.metrics.intervals import ScoredFold
from fusionbench.metrics.resampling import bootstrap_blocks
from fusionbench.metrics.statistics import corrected_resampled_t, friedman, paired_t, wilcoxon

Floats = NDArray[np.float64]

FEATURES, HIDDEN, RIDGE, FOLDS, LEVEL = 10, 30, 3.0, 5, 0.05
LARGE = 20_000


@dataclass(frozen=True)
class Method:
    """Ridge regression on random features of the columns that it sees; ``blind`` of them are noise to it."""

    blind: int = 0

    def scores(self, x: Floats, y: NDArray[np.int64], new: Floats, seed: list[int]) -> Floats:
        """Fit and predict; ``seed`` draws the random features."""
        mixing = np.random.default_rng(seed).normal(size=(FEATURES, HIDDEN)) / np.sqrt(FEATURES)
        mixing[: self.blind] = 0
        train, test = (np.maximum(rows @ mixing, 0) for rows in (x, new))
        middle = train.mean(axis=0)
        train = train - middle
        weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(HIDDEN), train.T @ (y - y.mean()))
        predicted: Floats = (test - middle) @ weights
        return predicted


def patients(rows: int, draw: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Draw columns, each a little informative, and a label that three in ten have."""
    y = (draw.random(rows) < 0.3).astype(np.int64)
    return draw.normal(size=(rows, FEATURES)) + 0.35 * y[:, None], y


def sample(methods: tuple[Method, Method], rows: int, seeds: int, number: int) -> tuple[Floats, list[ScoredFold]]:
    """Return AUROC ``[folds * seeds, methods]`` and the blocks for the bootstrap."""
    draw = np.random.default_rng([number, rows, seeds])
    x, y = patients(rows, draw)
    fold_of = draw.permutation(rows) % FOLDS
    values, blocks = [], []
    for fold in range(FOLDS):
        test = np.flatnonzero(fold_of == fold)
        train = np.flatnonzero(fold_of != fold)
        for seed in range(seeds):
            scores = np.stack([m.scores(x[train], y[train], x[test], [number, seed, i]) for i, m in enumerate(methods)])
            values.append([roc_auc_score(y[test], s) for s in scores])
            blocks.append(ScoredFold(scores, y[test], test.astype(np.int64), fold))
    return np.array(values), blocks


def p_values(values: Floats, blocks: list[ScoredFold], rows: int, draw: np.random.Generator) -> dict[str, float]:
    """Return the p value of every test on one sample."""
    first, second = values.T
    train = rows * (FOLDS - 1) / FOLDS
    drawn = bootstrap_blocks(blocks, "auroc", 400, draw)
    return {
        "paired t, uncorrected": paired_t(first, second).p_value,
        "corrected resampled t": corrected_resampled_t(first, second, train, rows - train).p_value,
        "Wilcoxon": wilcoxon(first, second).p_value,
        "Friedman": friedman(values).p_value,
        "bootstrap over patients": drawn.difference(0, 1).p_value,
    }


def rates(methods: tuple[Method, Method], rows: int, seeds: int, samples: int) -> dict[str, float]:
    """Return the share of samples in which each test calls the methods different."""
    called: dict[str, int] = {}
    for number in range(samples):
        values, blocks = sample(methods, rows, seeds, number)
        for name, p in p_values(values, blocks, rows, np.random.default_rng([number, 1])).items():
            called[name] = called.get(name, 0) + (p < LEVEL)
    return {name: count / samples for name, count in called.items()}


def true_gap(method: Method, rows: int, repeats: int = 40) -> float:
    """Return how much AUROC a method loses to the full one, trained on as many rows, on a large sample."""
    gaps = []
    for number in range(repeats):
        draw = np.random.default_rng(number)
        x, y = patients(rows * (FOLDS - 1) // FOLDS, draw)
        new, label = patients(LARGE, draw)
        full, less = (roc_auc_score(label, m.scores(x, y, new, [number])) for m in (Method(), method))
        gaps.append(full - less)
    return float(np.mean(gaps))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="simulated studies for each column")
    parser.add_argument("--rows", type=int, default=500, help="patients of a study")
    arguments = parser.parse_args()
    start = time.perf_counter()
    columns = list(_columns(arguments.rows, arguments.samples))
    names = list(columns[0][1])
    print("| test | " + " | ".join(title for title, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{found[name]:.3f}" for _, found in columns) + " |")
    error = (0.05 * 0.95 / arguments.samples) ** 0.5
    print(
        f"\n{arguments.samples} studies of {arguments.rows} patients, {FOLDS} folds; standard error of .05: {error:.3f}"
    )
    print(f"{time.perf_counter() - start:.0f} s")


def _columns(rows: int, samples: int) -> Iterator[tuple[str, dict[str, float]]]:
    for seeds in (1, 3):
        yield f"null, {FOLDS} x {seeds}", rates((Method(), Method()), rows, seeds, samples)
    for blind in (1, 3):
        worse = Method(blind)
        yield f"loss of {true_gap(worse, rows):.3f}, {FOLDS} x 3", rates((Method(), worse), rows, 3, samples)


if __name__ == "__main__":
    main()
