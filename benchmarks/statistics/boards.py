"""Leaderboards on which the truth is known, to see how often the rule is wrong and what it finds.

*fit*: patients are drawn, every line is fitted for every fold and seed and scored on the test rows. A line is a ridge regression
on random rectified features: a stand-in for a network whose initial weights are drawn by fold and seed, fitted in a
millisecond. *score*: scores and influence values are drawn themselves, from normal distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.components import PatientCovariance
from fusionbench.statistics.influence import Influence, Patients, auroc_influence, smaller_class

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]

PREVALENCE, SHARED, OWN, HIDDEN, RIDGE, SIGNAL = 0.1, 10, 2, 30, 3.0, 0.3


class Scores(NamedTuple):
    """A board: float64 ``[folds, seeds, lines]``, and what patients add."""

    theta: Floats
    patients: PatientCovariance


class Profile(NamedTuple):
    """Curves: float64 ``[folds, seeds, points, lines]``, by fold what patients contribute, and its degrees of freedom."""

    theta: Floats
    influence: list[Floats]
    df: float


@dataclass(frozen=True)
class Fitted:
    """Boards of the kind *fit*.

    Args:
        patients: How many.
        folds: How many.
        seeds: How many.
        lines: How many.
        other_seeds: Lines are one strategy under other seeds; else equal strategies, each with columns of its own.
        worse: So many of the last lines see columns of their own that say nothing.
        score: ``auroc``, ``area`` (over four shares of rows that lack the columns of the line's own), ``labels`` (mean over
            three), or ``rows`` (two rows of each patient).
    """

    patients: int
    folds: int
    seeds: int
    lines: int = 16
    other_seeds: bool = False
    worse: int = 0
    score: str = "auroc"

    def board(self, number: int) -> Scores:
        """Draw patients, fit every line everywhere, and score."""
        kind = [number, self.patients, self.folds, self.seeds, self.other_seeds, self.worse, len(self.score)]
        draw = np.random.default_rng(kind)
        x, y, groups = self._rows(draw)
        fold_of = _stratified(y[:, 0], groups, self.folds, draw)
        theta = np.empty((self.folds, self.seeds, self.lines))
        influence, df = [], 0.0
        for fold in range(self.folds):
            test = fold_of == fold
            patients = Patients(groups[test])
            found = [
                [self._scored(x, y, test, line, patients, [number, fold, seed, line]) for line in range(self.lines)]
                for seed in range(self.seeds)
            ]
            theta[fold] = [[float(f.values) for f in row] for row in found]
            influence.append(np.array([[f.patients for f in row] for row in found]))
            df += smaller_class(y[test], patients)
        return Scores(theta, PatientCovariance.of_influence(influence, df))

    def profile(self, number: int, rates: Sequence[float]) -> Profile:
        """Draw patients, fit every line everywhere, and score it at several shares of rows that lack what they share."""
        draw = np.random.default_rng([number, self.patients, self.folds, self.seeds, self.other_seeds, self.worse, 99])
        x, y, groups = self._rows(draw)
        fold_of = _stratified(y[:, 0], groups, self.folds, draw)
        theta = np.empty((self.folds, self.seeds, len(rates), self.lines))
        influence, df = [], 0.0
        for fold in range(self.folds):
            test = fold_of == fold
            patients = Patients(groups[test])
            values = np.empty((self.seeds, len(rates), self.lines, patients.count))
            for seed in range(self.seeds):
                for line in range(self.lines):
                    found = self._curve(x, y, test, line, patients, [number, fold, seed, line], rates)
                    theta[fold, seed, :, line] = [float(f.values) for f in found]
                    values[seed, :, line] = [f.patients for f in found]
            influence.append(values)
            df += smaller_class(y[test], patients)
        return Profile(theta, influence, df)

    def _curve(
        self, x: Floats, y: Labels, test: Labels, line: int, patients: Patients, key: list[int], rates: Sequence[float]
    ) -> list[Influence]:
        """The scores of one trained line where the columns that all lines share are hidden in more and more rows."""
        own = SHARED + OWN * (0 if self.other_seeds else line)
        mine = np.r_[:SHARED, own : own + OWN]
        seen, new = x[~test][:, mine], x[test][:, mine]
        hidden = np.random.default_rng([*key[:2], 7]).random(len(new))  # the same rows for every line and seed
        shown = [np.where((hidden < r)[:, None] & (np.arange(len(mine)) < SHARED), 0.0, new) for r in rates]
        predicted = _ridge(seen, y[~test], np.concatenate(shown), key)[:, 0].reshape(len(rates), -1)
        return [auroc_influence(p, y[test][:, 0], patients) for p in predicted]

    def _rows(self, draw: np.random.Generator) -> tuple[Floats, Labels, NDArray[np.int64]]:
        each = 2 if self.score == "rows" else 1
        labels = 3 if self.score == "labels" else 1
        y = np.zeros((self.patients, labels), dtype=np.bool_)
        for label in range(labels):
            y[draw.permutation(self.patients)[: round(PREVALENCE * self.patients)], label] = True
        columns = SHARED + OWN * (1 if self.other_seeds else self.lines)
        own = draw.normal(size=(self.patients, columns))
        strength = np.full(columns, SIGNAL)
        if self.worse:
            strength[SHARED + OWN * (self.lines - self.worse) :] = 0.0
        rows = np.repeat(np.arange(self.patients), each)
        x = own[rows] if each == 1 else 0.7 * own[rows] + 0.7 * draw.normal(size=(len(rows), columns))
        return x + strength * y[rows].sum(axis=1, keepdims=True), y[rows], rows

    def _scored(self, x: Floats, y: Labels, test: Labels, line: int, patients: Patients, key: list[int]) -> Influence:
        own = SHARED + OWN * (0 if self.other_seeds else line)
        mine = np.r_[:SHARED, own : own + OWN]
        seen, new = x[~test][:, mine], x[test][:, mine]
        if self.score != "area":
            predicted = _ridge(seen, y[~test], new, key)
            parts = [auroc_influence(predicted[:, i], y[test][:, i], patients) for i in range(y.shape[1])]
            return _mean(parts, np.full(len(parts), 1 / len(parts)))
        hidden = np.random.default_rng([*key[:2], 7]).random(len(new))  # the same rows for every line and seed
        parts = []
        for rate in (0.0, 0.3, 0.6, 0.9):
            shown = np.where((hidden < rate)[:, None] & (np.arange(len(mine)) >= SHARED), 0.0, new)
            parts.append(auroc_influence(_ridge(seen, y[~test], shown, key)[:, 0], y[test][:, 0], patients))
        return _mean(parts, np.array([1, 2, 2, 1]) / 6)


def _mean(parts: list[Influence], weights: Floats) -> Influence:
    values = np.tensordot(weights, np.stack([p.values for p in parts]), axes=1)
    return Influence(values, np.tensordot(weights, np.stack([p.patients for p in parts]), axes=1))


def _ridge(seen: Floats, y: Labels, new: Floats, key: list[int]) -> Floats:
    """Fit and predict; the key draws the features."""
    mixing = np.random.default_rng(key).normal(size=(seen.shape[1], HIDDEN)) / np.sqrt(seen.shape[1])
    train, test = np.maximum(seen @ mixing, 0), np.maximum(new @ mixing, 0)
    middle = train.mean(axis=0)
    train = train - middle
    weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(HIDDEN), train.T @ (y - y.mean(axis=0)))
    predicted: Floats = (test - middle) @ weights
    return predicted


def _stratified(y: Labels, groups: NDArray[np.int64], folds: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Folds of patients, with as many positives in each as can be."""
    people = np.unique(groups)
    positive = np.isin(people, groups[y])
    fold = np.empty(len(people), dtype=np.int64)
    for mine in (positive, ~positive):
        where = draw.permutation(np.flatnonzero(mine))
        fold[where] = np.arange(len(where)) % folds
    return fold[np.searchsorted(people, groups)]


@dataclass(frozen=True)
class Drawn:
    """Boards of the kind *score*: truths are what they are, and nothing is shared by folds.

    Args:
        losses: How much worse than the best each line is.
        patients: How many; it sets the scale of what patients add.
        folds: How many.
        seeds: How many.
        run: Standard deviation of a cell over training runs.
        fold: Standard deviation of a line over training sets.
    """

    losses: tuple[float, ...]
    patients: int = 2000
    folds: int = 5
    seeds: int = 3
    run: float = 0.006
    fold: float = 0.003

    def board(self, number: int) -> Scores:
        """Draw scores and influence values: correlation .8 between lines, .92 between runs of a line."""
        key = [number, self.patients, self.seeds, len(self.losses), round(1e4 * sum(self.losses))]
        draw = np.random.default_rng(key)
        lines, each = len(self.losses), 200  # values stand for patients
        # Hanley and McNeil's standard error of an AUROC of .85 where one in ten is positive
        scale = 0.78 / np.sqrt(self.patients / self.folds) / np.sqrt(each)
        theta = np.empty((self.folds, self.seeds, lines))
        influence = []
        for fold in range(self.folds):
            common = np.sqrt(0.8) * draw.normal(size=(1, 1, each))
            own = np.sqrt(0.12) * draw.normal(size=(1, lines, each))
            again = np.sqrt(0.08) * draw.normal(size=(self.seeds, lines, each))
            values = (common + own + again) * scale
            influence.append(values)
            theta[fold] = 0.85 - np.array(self.losses) + values @ draw.choice([-1.0, 1.0], each)
            theta[fold] += self.fold * draw.normal(size=lines) + self.run * draw.normal(size=(self.seeds, lines))
        return Scores(theta, PatientCovariance.of_influence(influence, self.folds * (each - 1)))
