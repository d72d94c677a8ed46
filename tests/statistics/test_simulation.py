"""Simulated leaderboards: the same wherever they are drawn, in whatever parts."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics import simulation
from fusionbench.statistics.components import PatientCovariance, components
from fusionbench.statistics.pairs import pairs_of
from fusionbench.statistics.simulation import max_t_p, p_of, reaching, simulated_t
from tests.statistics.sheet import agrees
from tests.statistics.test_components import board


def test_parts_change_no_number(monkeypatch):
    found = components(*board(lines=5))
    whole = simulated_t(found, 700)
    monkeypatch.setattr(simulation, "CHUNK", 37)
    agrees(simulated_t(found, 700), whole)


def test_statistics_look_like_those_of_pairs():
    found = components(*board(lines=4))
    drawn = simulated_t(found)
    assert drawn.shape == (6, 20_000)
    pairs = pairs_of(found)
    # a pair alone: the simulated p is near the one of Student's t
    alone = p_of(reaching(np.abs(drawn[0]), abs(pairs.t[0])), drawn.shape[1])
    assert alone == pytest.approx(pairs.p[0], abs=0.02)


def test_adjusting_for_all_pairs_makes_no_p_smaller():
    found = components(*board(lines=6))
    pairs = pairs_of(found)
    assert (max_t_p(pairs.t, simulated_t(found)) >= pairs.p - 0.01).all()


def test_pairs_without_variance_are_never_drawn_apart():
    theta = np.full((3, 2, 2), 0.5)
    drawn = simulated_t(components(theta, PatientCovariance.of(np.zeros((3, 2, 2, 2, 2)), np.inf)), 100)
    assert not drawn.any()


def test_counts_reach_with_the_slack_of_rounding():
    assert reaching(np.array([1.0, 2.0, 3.0]), np.array([2.0 + 1e-13, 2.1, np.inf, 0.0])).tolist() == [2, 1, 0, 3]
    assert p_of(0, 99) == 0.01
