"""Shares of the information of a planted regime, and the separation that holds a given amount."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fusionbench_plugins.tasks._regimes import distance_of_signs, separation_of, shares_of


def test_shares_add_up_and_each_dial_moves_its_own():
    for dials in itertools.product((0, 0.3, 1), repeat=3):
        shares = shares_of(*dials)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        assert shares.together == dials[2]
    assert shares_of(0, 0, 0) == (0, 0, 0.5, 0.5)
    assert shares_of(1, 0, 0) == (0, 0, 1, 0)
    assert shares_of(1, 1, 0) == (0, 1, 0, 0)
    assert shares_of(1, 1, 1) == (1, 0, 0, 0)


@pytest.mark.parametrize("separation", [0.5, 1.0, 1.7])
def test_the_distance_is_that_of_the_densities_added_up_on_a_grid(separation):
    x = np.linspace(-9, 9, 901)
    step = x[1] - x[0]
    up, down = (np.exp(-0.5 * (x - m * separation) ** 2) / np.sqrt(2 * np.pi) for m in (1, -1))
    same = (np.outer(up, up) + np.outer(down, down)) / 2
    other = (np.outer(up, down) + np.outer(down, up)) / 2
    coefficient = np.sqrt(same * other).sum() * step**2
    assert distance_of_signs(separation) == pytest.approx(-np.log(coefficient), abs=1e-5)


def test_a_separation_holds_the_information_that_was_asked_for():
    assert separation_of(0) == 0
    found = [separation_of(i) for i in (0.01, 0.1, 0.5, 2.0, 4.5)]
    assert found == sorted(found)
    assert distance_of_signs(separation_of(0.3)) == pytest.approx(0.3, abs=1e-9)
