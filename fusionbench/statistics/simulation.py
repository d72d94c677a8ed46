"""Leaderboards on which nothing differs, drawn with the variances that were found and as uncertain as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.components import Components, symmetric_root

Floats = NDArray[np.float64]
DRAWS: Final = 20_000
SEED: Final = 20261130
CHUNK: Final = 200
"""Draws that are worked at once: it bounds memory and changes no number."""
SLACK: Final = 1e-12


def simulated_t(found: Components, draws: int = DRAWS) -> Floats:
    """Statistics of every pair on leaderboards without differences.

    Args:
        found: What scatters how much.
        draws: How many leaderboards.

    Returns:
        Float64 ``[pairs, draws]``, pairs in the order of :func:`fusionbench.statistics.pairs.pairs_of`; 0 where a difference has
        no variance.
    """
    lines = found.lines
    generator = np.random.Generator(np.random.PCG64(SEED))
    z = np.ascontiguousarray((generator.standard_normal((draws, lines)) @ symmetric_root(found.covariance)).T)
    run = np.repeat(found.run[:, None], draws, axis=1)
    if np.isfinite(found.df_run):
        run[list(found.pool)] *= generator.chisquare(found.df_run, draws) / found.df_run
    for line in found.unstable:
        run[line] *= generator.chisquare(found.df_own, draws) / found.df_own
    dispersion = dispersions(found, draws, generator)
    first, second = np.triu_indices(lines, k=1)
    result = np.zeros((len(first), draws))
    for start, patients in _patients(found, draws, generator):
        part = slice(start, start + len(patients))
        own = np.einsum("dii->id", patients)
        sums = own[first] + own[second]
        variance = sums - 2 * patients.transpose(1, 2, 0)[first, second]
        variance *= dispersion[part]
        sums *= dispersion[part]
        runs = (run[first, part] + run[second, part]) / found.seeds
        variance += runs
        sums += runs
        variance[variance <= SLACK * sums] = 0.0
        difference = z[first, part] - z[second, part]
        np.divide(difference, np.sqrt(variance), out=result[:, part], where=variance > 0)
    nothing = ~(_variance(found)[first, second] > 0)
    result[nothing] = 0.0
    return result


def _variance(found: Components) -> Floats:
    from fusionbench.statistics.pairs import variance_of_differences

    return variance_of_differences(found.covariance)


def dispersions(found: Components, draws: int, generator: np.random.Generator) -> Floats:
    """How much more than patients lines differ over folds, in each draw."""
    ones = np.ones(draws)
    fold = generator.chisquare(found.df_fold, draws) / found.df_fold if np.isfinite(found.df_fold) else ones
    res = generator.chisquare(found.df_res, draws) / found.df_res if np.isfinite(found.df_res) else ones
    if found.pat_fold == 0:
        return ones
    left = found.ms_res / found.seeds
    expected = found.dispersion * found.pat_fold + left
    drawn: Floats = np.maximum((expected * fold - left * res) / found.pat_fold, 1.0)
    return drawn


def _patients(found: Components, draws: int, generator: np.random.Generator) -> Iterator[tuple[int, Floats]]:
    """Yield covariances over patients as other patients would estimate them (Wishart draws): start, ``[chunk, lines, lines]``."""
    lines, df = found.lines, found.patients.df
    if not np.isfinite(df):
        for start in range(0, draws, CHUNK):
            yield start, np.broadcast_to(found.cross, (min(CHUNK, draws - start), lines, lines))
        return
    n = max(int(df), lines)
    root = symmetric_root(found.cross)
    diagonal = np.sqrt(generator.chisquare(n - np.arange(lines), (draws, lines)))
    below = np.tril_indices(lines, k=-1)
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        factor = np.zeros((size, lines, lines))
        factor[:, *below] = generator.standard_normal((size, len(below[0])))
        factor[:, range(lines), range(lines)] = diagonal[start : start + size]
        half = root @ factor
        yield start, half @ half.transpose(0, 2, 1) / n


def reaching(values: Floats, observed: float | Floats) -> NDArray[np.int64]:
    """How many of ``values`` are not below each observed one, with the slack of rounding."""
    ordered = np.sort(values)
    asked = np.asarray(observed, dtype=np.float64)
    lowered = asked - SLACK * np.maximum(np.abs(np.where(np.isinf(asked), 1.0, asked)), 1.0)
    counts: NDArray[np.int64] = len(ordered) - np.searchsorted(ordered, lowered, side="left")
    return counts


def p_of(count: int | NDArray[np.int64], draws: int) -> Floats:
    """The simulated p of what so many draws reach."""
    return (1 + np.asarray(count, dtype=np.float64)) / (draws + 1)


def max_t_p(t: Floats, simulated: Floats) -> Floats:
    """Adjust the p of every pair for all pairs: how often the largest of them reaches it."""
    return p_of(reaching(np.maximum(simulated.max(axis=0), -simulated.min(axis=0)), np.abs(t)), simulated.shape[1])
