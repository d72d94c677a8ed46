"""Calibrated before scored: an intercept and a slope for the logits of a model, fitted on validation rows shown alike.

Rows that show different subsets of the modalities lie on different scales, and rows that show nothing are given the
prevalence: before such numbers are ranked together they have to mean the same. Each subset has its own fit, blended with that
of all rows, and the order of the rows inside a subset never changes. ``docs/statistics.md`` gives the rule in full.

Arrays in, arrays out, in double precision. Logits are standardised before a fit, so that ``c z + d`` with ``c > 0`` gives the
probabilities of ``z``. Many fits are made at a time: each is a segment of one long vector.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.targets import TargetKind

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

FEWEST: Final = 10
"""Rows of each class from which on intercept and slope are fitted."""
FEWEST_FOR_SLOPE: Final = 30
"""Rows from which on the slope alone is fitted where a class has fewer than :data:`FEWEST`."""
BLENDED: Final = 20
"""Rows of the rarer class with which the own fit of a subset weighs as much as the fit of all rows."""
FLATTEST: Final = 0.01
"""The least slope, in standard deviations of the logits."""
EQUAL: Final = 1e-12
"""Logits that scatter by no more than this, relative above 1, are equal."""
NEVER: Final = 1e-9
"""The least prevalence that a mean is fitted to: a label that no training row has keeps the order of its rows."""
STEPS, HALVINGS, CONVERGED = 200, 50, 1e-9


class Known(NamedTuple):
    """What logits are calibrated on: validation rows, shown as the condition shows test rows.

    Args:
        logits: Float ``[rows, outputs]``.
        target: Int64 ``[rows]``, or ``[rows, labels]``.
        shown: Integers ``[rows]``: the subset of modalities that a row shows; 0: nothing.
        prevalence: Float64 ``[outputs]``: shares among the training rows.
        kind: What the outputs mean.
    """

    logits: NDArray[np.floating[Any]]
    target: NDArray[np.int64]
    shown: Integers
    prevalence: Floats
    kind: TargetKind


class Fits(NamedTuple):
    """Calibrations ``a + b z``, a row for all validation rows and then one for each subset with a fit of its own.

    Args:
        subsets: Int64 ``[fits - 1]``, rising; the first fit is for all others.
        own: Bool ``[fits, columns]``: whether it is a fit of its own; elsewhere the first one stands.
        intercept: Float64 ``[fits, columns, outputs]``; one output for labels.
        slope: Float64 ``[fits, columns]``.
    """

    subsets: NDArray[np.int64]
    own: NDArray[np.bool_]
    intercept: Floats
    slope: Floats

    def row_of(self, shown: Integers) -> NDArray[np.intp]:
        """Return which fit each row takes."""
        if not len(self.subsets):
            return np.zeros(len(shown), dtype=np.intp)
        place = np.minimum(np.searchsorted(self.subsets, shown), len(self.subsets) - 1)
        return np.where(self.subsets[place] == shown, place + 1, 0)


def recalibrated(logits: NDArray[np.floating[Any]], shown: Integers, known: Known) -> Floats:
    """Return calibrated probabilities, float64 ``[rows, outputs]``; the prevalence for rows that show nothing.

    Args:
        logits: Float ``[rows, outputs]``.
        shown: As :attr:`Known.shown`.
        known: What they are calibrated on.
    """
    return applied(fits_of(known), logits, shown, known.prevalence, known.kind)


def applied(
    fits: Fits, logits: NDArray[np.floating[Any]], shown: Integers, prevalence: Floats, kind: TargetKind
) -> Floats:
    """Return probabilities calibrated by what was fitted before, float64 ``[rows, outputs]``.

    Args:
        fits: As :func:`fits_of` returns them.
        logits: Float ``[rows, outputs]``.
        shown: As :attr:`Known.shown`.
        prevalence: As :attr:`Known.prevalence`, for rows that show nothing.
        kind: What the outputs mean.
    """
    z = np.asarray(logits, dtype=np.float64)
    row = fits.row_of(shown)
    if kind != TargetKind.MULTICLASS:
        scores = plain(fits.intercept[row, :, 0] + fits.slope[row] * z, kind)
    elif z.shape[1] == 2:
        of_second = plain(fits.intercept[row, :, 0] + fits.slope[row] * (z[:, 1:] - z[:, :1]), TargetKind.BINARY)
        scores = np.concatenate([1 - of_second, of_second], axis=1)
    else:
        scores = plain(fits.intercept[row, 0] + fits.slope[row] * z, kind)
    return np.where((shown == 0)[:, None], prevalence, scores)


def plain(logits: NDArray[np.floating[Any]], kind: TargetKind) -> Floats:
    """Return the probabilities that logits ``[rows, outputs]`` say, in double precision."""
    from scipy.special import expit, softmax

    z = np.asarray(logits, dtype=np.float64)
    return np.asarray(softmax(z, axis=-1) if kind == TargetKind.MULTICLASS else expit(z))


def fits_of(known: Known) -> Fits:
    """Return the calibrations that validation rows give; two classes are one column, of what the second is above the first."""
    some = known.shown != 0
    z, shown = np.asarray(known.logits, dtype=np.float64)[some], np.asarray(known.shown, dtype=np.int64)[some]
    target, prevalence = known.target[some], known.prevalence
    if known.kind == TargetKind.MULTICLASS:
        if z.shape[1] != 2:
            return _of_classes(z, target, shown)
        z, prevalence = z[:, 1:] - z[:, :1], prevalence[1:]
    return _of_labels(z, target.reshape(z.shape) == 1, shown, prevalence)


# --------------------------------------------------------------------------------------------
# labels


def _of_labels(z: Floats, y: NDArray[np.bool_], shown: NDArray[np.int64], prevalence: Floats) -> Fits:
    """Calibrate columns: logits and labels are ``[rows, columns]``."""
    order = np.argsort(shown, kind="stable")
    z, y, shown = z[order], y[order], shown[order]
    subsets, begins = np.unique(shown, return_index=True)
    columns, groups = z.shape[1], len(subsets)
    intercept, slope = np.zeros((groups + 1, columns)), np.ones((groups + 1, columns))
    own = np.zeros((groups + 1, columns), dtype=np.bool_)
    own[0] = True
    if len(z):
        enough = np.minimum(y.sum(axis=0), (~y).sum(axis=0)) >= FEWEST
        few = np.flatnonzero(~enough)
        if len(few):
            wanted = np.clip(prevalence[few], NEVER, 1 - NEVER)
            intercept[0, few] = _intercepts(_Segments.of(z[:, few]), wanted)
        if enough.any():
            intercept[0, enough], slope[0, enough] = _lines(
                _Segments.of(z[:, enough]), _platt(y[:, enough], np.zeros(1, np.intp)).T.ravel()
            )
        if enough.any() and groups > 1:
            _by_subset(z, y, begins, enough, (own, intercept, slope))
    intercept, slope = np.where(own, intercept, intercept[:1]), np.where(own, slope, slope[:1])
    return Fits(subsets, own, intercept[:, :, None], slope)


def _by_subset(
    z: Floats,
    y: NDArray[np.bool_],
    begins: NDArray[np.intp],
    enough: NDArray[np.bool_],
    fits: tuple[NDArray[np.bool_], Floats, Floats],
) -> None:
    """Fill in the fits of the subsets, whose rows begin at ``begins``, for the columns that have enough rows in all."""
    own, intercept, slope = fits
    positive = np.add.reduceat(y, begins, axis=0, dtype=np.int64)
    rows = np.diff([*begins, len(z)])
    rarer = np.minimum(positive, rows[:, None] - positive)
    weight = np.repeat(rarer / (rarer + BLENDED), rows, axis=0)
    pooled = plain(intercept[0] + slope[0] * z, TargetKind.BINARY)
    target = weight * _platt(y, begins) + (1 - weight) * pooled
    own[1:] = (rarer >= 1) & enough
    fitted = np.repeat(own[1:], rows, axis=0).T
    if own[1:].any():
        lengths = np.broadcast_to(rows, own[1:].T.shape)[own[1:].T]
        a, b = _lines(_Segments(z.T[fitted], lengths), target.T[fitted])
        intercept[1:].T[own[1:].T], slope[1:].T[own[1:].T] = a, b


def _platt(y: NDArray[np.bool_], begins: NDArray[np.intp]) -> Floats:
    """Platt's targets of labels ``[rows, columns]``, by the counts of each group of neighbouring rows."""
    rows = np.diff([*begins, len(y)])
    positive = np.add.reduceat(y, begins, axis=0, dtype=np.float64)
    high, low = (positive + 1) / (positive + 2), 1 / (rows[:, None] - positive + 2)
    return np.where(y, np.repeat(high, rows, axis=0), np.repeat(low, rows, axis=0))


class _Segments:
    """Logits of many fits, one after the other.

    Args:
        z: Float64 ``[numbers]``.
        lengths: Of the fits, each 1 at least.
    """

    def __init__(self, z: Floats, lengths: Integers) -> None:
        self.z, self.lengths = z, np.asarray(lengths)
        self.begins = np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.intp)

    @classmethod
    def of(cls, columns: Floats) -> _Segments:
        """Return the fits of the columns of ``[rows, columns]``."""
        return cls(columns.T.ravel(), np.full(columns.shape[1], len(columns)))

    def sums(self, values: Floats) -> Floats:
        """Sum over each fit."""
        return np.asarray(np.add.reduceat(values, self.begins))

    def means(self, values: Floats) -> Floats:
        """Mean over each fit."""
        return self.sums(values) / self.lengths

    def spread(self, of_fits: Floats) -> Floats:
        """Give every row the number of its fit."""
        return np.repeat(of_fits, self.lengths)

    def some(self, chosen: NDArray[np.bool_]) -> tuple[_Segments, NDArray[np.bool_]]:
        """Return some of the fits, and their rows."""
        rows = np.repeat(chosen, self.lengths)
        return _Segments(self.z[rows], self.lengths[chosen]), rows


def _intercepts(fits: _Segments, mean: Floats) -> Floats:
    """Return a such that the mean of ``sigmoid(a + z)`` is ``mean``, for each fit.

    The mean rises with a, and a is between two known ends; Newton's steps that leave them are halved.
    """
    from scipy.special import expit, logit

    goal = logit(mean)
    low = goal - np.maximum.reduceat(fits.z, fits.begins)
    high = goal - np.minimum.reduceat(fits.z, fits.begins)
    a: Floats = (low + high) / 2
    for _ in range(STEPS):
        p = expit(fits.spread(a) + fits.z)
        above = fits.means(p) - mean
        low, high = np.where(above <= 0, a, low), np.where(above >= 0, a, high)
        curvature = fits.means(p * (1 - p))
        step = np.divide(-above, curvature, out=np.full_like(a, np.inf), where=curvature > 0)
        inside = (a + step > low) & (a + step < high)
        new = np.where(inside, a + step, (low + high) / 2)
        moved, a = np.abs(new - a), new
        if (moved <= CONVERGED * 1e-5 * np.maximum(1, np.abs(a))).all():
            break
    return a


def _lines(fits: _Segments, target: Floats) -> tuple[Floats, Floats]:
    """Return intercept and slope of the greatest likelihood for each fit; the slope is held above its floor."""
    from scipy.special import logit

    centre = fits.means(fits.z)
    moved = fits.z - fits.spread(centre)
    scale = np.sqrt(fits.means(moved**2))
    largest = np.maximum.reduceat(np.abs(fits.z), fits.begins)
    varied = scale > EQUAL * np.maximum(1, largest)
    a, b = logit(fits.means(target)), np.zeros(len(scale))  # b in standard deviations
    scale = np.where(varied, scale, 1.0)
    standard = _Segments(moved / fits.spread(scale), fits.lengths)
    if varied.any():
        some, rows = standard.some(varied)
        a[varied], b[varied] = _newton(some, target[rows])
    low = varied & (b < FLATTEST)
    if low.any():
        some, rows = standard.some(low)
        b[low] = FLATTEST
        some.z = some.z * FLATTEST
        a[low] = _intercepts(some, some.means(target[rows]))
    slope = b / scale
    return a - slope * centre, slope


def _newton(fits: _Segments, target: Floats) -> tuple[Floats, Floats]:
    """Newton's method for ``sigmoid(a + b z)``, z standardised; targets between 0 and 1, so that there is an end.

    A step that makes the likelihood worse is halved. Fits that have converged are left out when they are half of the rows.
    """
    from scipy.special import logit

    a, b = logit(fits.means(target)), np.zeros(len(fits.lengths))
    left = np.arange(len(a))
    here, t = fits, target
    cost, p = _cost(here, t, a, b)
    for _ in range(STEPS):
        step_a, step_b = _step(here, t, p)
        now_a, now_b = a[left], b[left]
        size = np.maximum(np.abs(step_a), np.abs(step_b))
        small = size <= CONVERGED * np.maximum(1, np.maximum(np.abs(now_a), np.abs(now_b)))
        share: Floats = np.ones(len(left))
        for _ in range(HALVINGS):
            new_cost, new_p = _cost(here, t, now_a + share * step_a, now_b + share * step_b)
            worse = ~small & ~(new_cost <= cost + 1e-12 * np.abs(cost))
            if not worse.any():
                break
            share[worse] /= 2
        a[left], b[left] = now_a + share * step_a, now_b + share * step_b
        if small.all():
            break
        cost, p = new_cost, new_p
        if here.lengths[~small].sum() <= len(here.z) / 2:
            here, rows = here.some(~small)
            left, cost, t, p = left[~small], cost[~small], t[rows], p[rows]
    return a, b


def _cost(fits: _Segments, target: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Minus the log-likelihood of each fit, and the probabilities."""
    from scipy.special import expit

    u = fits.spread(a) + fits.spread(b) * fits.z
    p = expit(u)
    # log(1 + exp(u)) without a second exponential
    rows = np.maximum(u, 0) - np.log(np.maximum(p, 1 - p)) - target * u
    return fits.sums(rows), p


def _step(fits: _Segments, target: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Newton's step of each fit."""
    left, weight = target - p, p * (1 - p)
    weighted = weight * fits.z
    gradient_a, gradient_b = fits.sums(left), fits.sums(left * fits.z)
    aa, ab, bb = fits.sums(weight), fits.sums(weighted), fits.sums(weighted * fits.z)
    ridge = 1e-14 * (aa + bb) + 1e-300
    aa, bb = aa + ridge, bb + ridge
    determinant = aa * bb - ab**2
    determinant = np.maximum(determinant, ridge * (aa + bb))
    return (bb * gradient_a - ab * gradient_b) / determinant, (aa * gradient_b - ab * gradient_a) / determinant


# --------------------------------------------------------------------------------------------
# classes


def _of_classes(z: Floats, target: NDArray[np.int64], shown: NDArray[np.int64]) -> Fits:
    """Calibrate classes: one slope, and a bias for each class; biases add up to 0."""
    classes = z.shape[1]
    z = z - z.mean(axis=1, keepdims=True)
    counts = np.bincount(target, minlength=classes)
    if counts.min() < FEWEST:
        slope = 1.0
        if len(z) >= FEWEST_FOR_SLOPE and (counts > 0).sum() >= 2:
            slope = _class_line(z, _class_targets(target, classes), with_biases=False)[1]
        nothing = np.zeros((1, 1, classes))
        return Fits(np.empty(0, np.int64), np.ones((1, 1), np.bool_), nothing, np.full((1, 1), slope))
    pooled = _class_line(z, _class_targets(target, classes), with_biases=True)
    subsets, fits = [], [pooled]
    every = np.unique(shown)
    for subset in every if len(every) > 1 else ():
        rows = shown == subset
        rarest = np.bincount(target[rows], minlength=classes).min()
        if rarest >= 1:
            weight = rarest / (rarest + BLENDED)
            said = plain(pooled[0] + pooled[1] * z[rows], TargetKind.MULTICLASS)
            blended = weight * _class_targets(target[rows], classes) + (1 - weight) * said
            subsets.append(subset)
            fits.append(_class_line(z[rows], blended, with_biases=True))
    intercept, slopes = np.stack([f[0] for f in fits])[:, None], np.array([[f[1]] for f in fits])
    return Fits(np.array(subsets, dtype=np.int64), np.ones(slopes.shape, np.bool_), intercept, slopes)


def _class_targets(target: NDArray[np.int64], classes: int) -> Floats:
    """Platt's targets for classes, ``[rows, classes]``: each row's add up to 1."""
    counts = np.bincount(target, minlength=classes)[target]
    found = np.repeat(1 / (counts + classes), classes).reshape(len(target), classes)
    found[np.arange(len(target)), target] = (counts + 1) / (counts + classes)
    return found


def _class_line(z: Floats, target: Floats, *, with_biases: bool) -> tuple[Floats, float]:
    """Return biases and slope of the greatest likelihood; logits come without their row means."""
    classes = z.shape[1]
    centre = z.mean(axis=0) if with_biases else np.zeros(classes)
    moved = z - centre
    scale = 2 * float(np.sqrt((moved**2).mean()))
    if scale <= EQUAL * max(1.0, float(np.abs(z).max())):
        if not with_biases:
            return np.zeros(classes), 1.0
        shares = np.log(target.mean(axis=0))
        return shares - shares.mean(), 0.0
    features = moved / scale
    start = np.log(target.mean(axis=0)) if with_biases else np.zeros(classes)
    biases, slope = _class_newton(features, target, start - start.mean(), 0.0, (with_biases, True))
    if slope < FLATTEST:
        slope = FLATTEST
        if with_biases:
            biases, _ = _class_newton(features, target, start - start.mean(), slope, (True, False))
    slope /= scale
    biases = biases - slope * centre
    return biases - biases.mean(), slope


def _class_newton(
    z: Floats, target: Floats, biases: Floats, slope: float, free: tuple[bool, bool]
) -> tuple[Floats, float]:
    """Newton's method for ``softmax(biases + slope z)``; ``free`` says whether biases and slope are fitted."""
    classes = z.shape[1]
    at = np.append(biases, slope)
    fitted = np.append(np.full(classes, free[0]), free[1])

    def cost(at: Floats) -> tuple[float, Floats]:
        u = at[:-1] + at[-1] * z
        u = u - u.max(axis=1, keepdims=True)
        p = np.exp(u)
        total = p.sum(axis=1, keepdims=True)
        return float(np.log(total).sum() - (target * u).sum()), p / total

    now, p = cost(at)
    for _ in range(STEPS):
        step = np.zeros_like(at)
        gradient, curvature = _class_derivatives(z, target, p)
        step[fitted] = np.linalg.solve(curvature[np.ix_(fitted, fitted)], gradient[fitted])
        small = bool(np.abs(step).max() <= CONVERGED * max(1.0, float(np.abs(at).max())))
        for _ in range(HALVINGS):
            new, new_p = cost(at + step)
            if small or new <= now + 1e-12 * abs(now):
                break
            step /= 2
        at, now, p = at + step, new, new_p
        if small:
            break
    return at[:-1], float(at[-1])


def _class_derivatives(z: Floats, target: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Gradient and curvature of the log-likelihood; the direction in which nothing changes, all biases alike, is held."""
    left = target - p
    mean = (p * z).sum(axis=1, keepdims=True)
    cross = (p * (z - mean)).sum(axis=0)
    curvature = np.empty((z.shape[1] + 1,) * 2)
    curvature[:-1, :-1] = np.diag(p.sum(axis=0)) - p.T @ p + len(z) / z.shape[1]
    curvature[:-1, -1] = curvature[-1, :-1] = cross
    curvature[-1, -1] = (p * (z - mean) ** 2).sum()
    curvature[np.diag_indices_from(curvature)] += 1e-14 * np.trace(curvature) + 1e-300
    return np.append(left.sum(axis=0), (left * z).sum()), curvature
