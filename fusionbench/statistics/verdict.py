"""One rule for the leaderboard, its groups, every pair and every interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.components import Components, PatientCovariance, components
from fusionbench.statistics.groups import LEVEL, Groups, groups_of
from fusionbench.statistics.pairs import EQUIVALENCE, Pairs, pairs_of, smallest_detectable
from fusionbench.statistics.simulation import DRAWS, max_t_p, simulated_t
from fusionbench.statistics.single import Singles, singles_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What scores say about lines.

    Args:
        components: Where their scatter comes from.
        singles: Each line alone.
        pairs: Every two lines; without entries where there is one line.
        p_max_t: ``[pairs]``: p adjusted for all pairs; None where nothing was simulated.
        groups: Which lines could be the best; None where nothing was simulated.
        smallest_detectable: The difference that a middling pair would show in four of five repetitions.
    """

    components: Components
    singles: Singles
    pairs: Pairs
    p_max_t: Floats | None
    groups: Groups | None
    smallest_detectable: float


def verdict_of(
    theta: Floats,
    patients: PatientCovariance,
    *,
    unit: bool = False,
    confidence: float = 0.95,
    equivalence: float = EQUIVALENCE,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> Verdict:
    """Judge lines by their scores.

    With one fold and one seed nothing is known of other trainings: pairs are of these models only, and there are no groups.

    Args:
        theta: Float ``[folds, seeds, lines]``, higher is better (turn the signs of errors). Folds share no patients; seeds are
            crossed with lines: what a seed decides for all of them (masks) it decides alike.
        patients: What comes from which patients were in the test parts.
        unit: The score lies between 0 and 1.
        confidence: Of the intervals.
        equivalence: Half width of the region of practical equivalence.
        level: Of the groups: group 1 holds all truly best lines with a probability of one minus this.
        draws: Simulated leaderboards; fewer are for tests.

    Raises:
        ValueError: Shapes do not fit, or a score is not finite.
    """
    found = components(theta, patients)
    pairs = pairs_of(found, confidence, equivalence)
    singles = singles_of(found, unit=unit, confidence=confidence)
    if found.lines < 2 or found.folds * found.seeds == 1:
        return Verdict(found, singles, pairs, None, None, smallest_detectable(pairs))
    simulated = simulated_t(found, draws)
    alike = pairs.square(((pairs.difference == 0) & (pairs.variance == 0)).astype(np.float64), found.lines) != 0
    groups = groups_of(pairs.square(pairs.t, found.lines), alike, simulated, level)
    return Verdict(found, singles, pairs, max_t_p(pairs.t, simulated), groups, smallest_detectable(pairs))
