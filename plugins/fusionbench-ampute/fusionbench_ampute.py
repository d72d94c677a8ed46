"""Multivariate amputation: a weighted score of what is seen in the other modalities decides who loses this one.

Paper: Schouten, Lugtig, Vink 2018, Generating missing values for simulation purposes: a multivariate amputation
procedure, Journal of Statistical Computation and Simulation 88(15). With w the standardised score of a row and r the rate::

    P(hidden at rate r | w) = sigmoid(steepness * g(w) + b(r)),   b(r) such that the mean over rows is r

    g(w) = w (right), -w (left), -|w| (mid), |w| (tail), each standardised again
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fusionbench import Missingness, MissingnessContext, hookimpl
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.hookspecs import Register

KINDS = {"right": lambda w: w, "left": lambda w: -w, "mid": lambda w: -abs(w), "tail": abs}
GRID = 512  # points at which the mean over rows is computed; linear between them is off by 2e-5 at most
BINS = 1024  # scores that are taken together in that mean


class Ampute(Missingness):
    """Missing at random by logistic probabilities on weighted sum scores, nested over rates.

    The paper draws each rate anew. Here a row keeps one uniform number u, and its threshold is the rate at which the
    probability reaches u: at every rate the probabilities are the paper's, and who is hidden at .2 is hidden at .4.

    Args:
        kind: Which scores lose the modality: ``right`` (high), ``left`` (low), ``mid`` or ``tail``.
        weights: Weight of each modality in the scores of the others, by name; 1 where none is given.
        steepness: 0: completely at random; the paper's is 1.

    Raises:
        ValueError: ``kind`` is none of the four, or ``steepness`` is negative.
    """

    uses_summaries = True

    def __init__(self, kind: str = "right", weights: Mapping[str, float] | None = None, steepness: float = 1.0) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}")
        if steepness < 0:
            raise ValueError(f"steepness must be 0 or more, found {steepness}")
        self.kind, self.weights, self.steepness = kind, dict(weights or {}), steepness

    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Draw ``[rows, modalities]``.

        Raises:
            ConfigError: A weight is for a modality that does not exist.
        """
        for name in self.weights:
            if name not in context.names:
                hint = did_you_mean(name, context.names)
                raise ConfigError(f"missingness ampute: weights: no modality named '{name}'{hint}")
        assert context.summaries is not None  # the core computes them for uses_summaries
        uniforms = generator.random(context.available.shape)
        columns = [self._column(m, context, u) for m, u in enumerate(uniforms.T)]
        return np.stack(columns, axis=1)

    def _column(self, column: int, context: MissingnessContext, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        assert context.summaries is not None
        weights = np.array([self.weights.get(n, 1.0) for n in context.names])
        weights[column] = 0.0  # at random: what is lost has no say
        held = context.available[:, column]
        scores = standardised(np.where(context.available, context.summaries, 0.0) @ weights, held)
        return rates_at(self.steepness * standardised(KINDS[self.kind](scores), held), uniforms, held)


def standardised(scores: NDArray[np.float64], held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centre and scale by the rows that have the modality; all zeros where these do not differ."""
    spread = scores[held].std() if held.any() else 0.0
    return (scores - scores[held].mean()) / spread if spread > 1e-12 else np.zeros_like(scores)


def rates_at(
    scores: NDArray[np.float64], uniforms: NDArray[np.float64], held: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the rate at which each row's probability reaches its uniform number, ``[rows]`` in [0, 1).

    The probability reaches u where ``b = logit(u) - score``; the rate there is the mean over rows of
    ``sigmoid(score + b)``.
    """
    needed = logit(np.clip(uniforms, 1e-12, 1 - 1e-12)) - scores
    if not held.any():
        return uniforms
    grid = np.linspace(needed.min(), needed.max(), GRID)
    counts, edges = np.histogram(scores[held], bins=BINS)
    sums, _ = np.histogram(scores[held], bins=edges, weights=scores[held])
    filled = counts > 0
    values = sums[filled] / counts[filled]  # means, not centres: scores of a few values stay exact
    rates = expit(values + grid[:, None]) @ counts[filled] / counts.sum()
    reached: NDArray[np.float64] = np.minimum(np.interp(needed, grid, rates), np.nextafter(1.0, 0.0))
    return reached


@hookimpl
def register_missingness(register: Register) -> None:
    """Register ``ampute``."""
    register("ampute", Ampute)
