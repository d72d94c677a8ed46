"""Which lines could be the best: model confidence sets (Hansen, Lunde, Nason 2011)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.simulation import SLACK, p_of, reaching

Floats = NDArray[np.float64]
LEVEL = 0.05


class Step(NamedTuple):
    """One line leaves a set.

    Args:
        group: Which group is being filled.
        line: Position of the line that leaves.
        total: Does anything differ? Sum of squared t over pairs of the set.
        top: Does one line stand out? The largest lead.
        p: Of the test before it leaves.
    """

    group: int
    line: int
    total: float
    top: float
    p: float


@dataclass(frozen=True)
class Groups:
    """Groups of a leaderboard.

    Args:
        group: Int64 ``[lines]``: 1 for lines that could be the best, 2 for those that could be the best of the rest, ...
        p_best: Float64 ``[lines]``: a line is in group 1 where this exceeds the level.
        steps: How they were found.
    """

    group: NDArray[np.int64]
    p_best: Floats
    steps: tuple[Step, ...] = field(default_factory=tuple)


def groups_of(t: Floats, alike: NDArray[np.bool_], simulated: Floats, level: float = LEVEL) -> Groups:
    """Fill one group after the other.

    Args:
        t: Float64 ``[lines, lines]``: row against column, in standard errors.
        alike: Bool ``[lines, lines]``: the two never differ.
        simulated: Float64 ``[pairs, draws]`` of :func:`fusionbench.statistics.simulation.simulated_t`.
        level: A line stays where its p exceeds it.
    """
    lines = len(t)
    group = np.zeros(lines, dtype=np.int64)
    left = list(range(lines))
    p_best, steps = np.ones(lines), []
    number = 0
    while left:
        number += 1
        p, taken = _confidence_set(t, alike, simulated, left, number)
        _share(p, alike, left)
        steps += taken
        if number == 1:
            p_best = np.array([p[line] for line in range(lines)])
        inside = [line for line in left if p[line] > level]
        group[inside] = number
        left = [line for line in left if line not in inside]
    return Groups(group, p_best, tuple(steps))


def _share(p: dict[int, float], alike: NDArray[np.bool_], left: list[int]) -> None:
    """Lines that never differ share the larger p."""
    for line in left:
        twins = [other for other in left if alike[line, other] or other == line]
        largest = max(p[twin] for twin in twins)
        for twin in twins:
            p[twin] = largest


def _confidence_set(
    t: Floats, alike: NDArray[np.bool_], simulated: Floats, left: list[int], number: int
) -> tuple[dict[int, float], list[Step]]:
    """Let the line that is beaten most clearly leave, again and again; return each line's p."""
    inside = list(left)
    leads = _leads(simulated, inside, len(t))
    p: dict[int, float] = {}
    steps, largest = [], 0.0
    while len(inside) > 1:
        against = t[np.ix_(inside, inside)]
        lead = np.square(np.maximum(against, 0)).sum(axis=1)
        total, top = float(lead.sum()), float(lead.max())
        now = _p_of_set(leads[inside], total, top)
        largest = max(largest, now)
        loser = inside[_last_of_largest(against.max(axis=0))]
        # lines that never differ are told apart by rounding only: the last of them leaves, on every processor
        loser = max([loser, *(line for line in inside if alike[line, loser])])
        p[loser] = largest
        steps.append(Step(number, loser, total, top, now))
        inside.remove(loser)
        for line in inside:
            leads[line] -= _won(simulated, line, loser, len(t))
    p[inside[0]] = 1.0
    return p, steps


def _p_of_set(leads: Floats, total: float, top: float) -> float:
    draws = leads.shape[1]
    totals, tops = leads.sum(axis=0), leads.max(axis=0)
    smaller = min(int(reaching(totals, total)), int(reaching(tops, top)))
    drawn = np.minimum(reaching(totals, totals), reaching(tops, tops))
    return float(p_of(int((drawn <= smaller).sum()), draws))


def _last_of_largest(values: Floats) -> int:
    largest = values.max()
    if np.isinf(largest):
        return int(np.flatnonzero(values == largest)[-1])
    return int(np.flatnonzero(values >= largest - SLACK * max(abs(largest), 1.0))[-1])


def _leads(simulated: Floats, inside: list[int], lines: int) -> Floats:
    """``[lines, draws]``: by how much each line leads the others of the set in each draw."""
    leads = np.zeros((lines, simulated.shape[1]))
    for line in inside:
        for other in inside:
            if other != line:
                leads[line] += _won(simulated, line, other, lines)
    return leads


def _won(simulated: Floats, line: int, other: int, lines: int) -> Floats:
    """``[draws]``: squared t of a line against another where it is ahead, else 0."""
    first, second = min(line, other), max(line, other)
    pair = first * lines - first * (first + 1) // 2 + second - first - 1
    ahead: Floats = np.square(np.maximum(simulated[pair] if line == first else -simulated[pair], 0))
    return ahead
