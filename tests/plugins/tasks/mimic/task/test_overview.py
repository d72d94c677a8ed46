"""What is known of a cohort when it is drawn: counts by variable, in the order of the columns, and no row."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.tables.variables import NAMES
from fusionbench_plugins.tasks.mimic.task.overview import Measured, Overview
from fusionbench_plugins.tasks.mimic.task.picture import draw_data
from tests.mimic_tree import PATIENTS, small_tree
from tests.plugins.tasks.mimic.task.test_check import check


@pytest.fixture(scope="module")
def overview(tmp_path_factory) -> Overview:
    """What the check of a tree is drawn from: one impossible pressure, one possible one."""
    tree = small_tree()
    tree.chart(0, 1, 220052, -27)
    tree.chart(1, 1, 220052, 80)
    found = check(tmp_path_factory.mktemp("tree"), tree)
    assert isinstance(found.draw, partial)
    assert found.draw.func is draw_data
    (overview,) = found.draw.args
    return overview


def test_every_variable_is_in_it_in_the_order_of_the_columns(overview):
    assert tuple(overview.variables) == NAMES
    assert len(overview.dataset) == PATIENTS
    assert overview.after_end == 0


def test_events_stays_and_steps_of_a_variable_are_counted(overview):
    # one rate for everybody, in one of 24 steps
    rate = overview.variables["heart_rate"]
    assert rate == Measured(8, 0, 0, 0, 0, stays=1.0, steps=pytest.approx(1 / 24, abs=1e-6))
    pressure = overview.variables["mbp"]
    assert (pressure.read, pressure.out_of_range, pressure.clipped) == (2, 1, 0)
    assert (pressure.stays, pressure.steps) == (1 / 8, pytest.approx(1 / (8 * 24), abs=1e-6))
    assert overview.variables["weight"] == Measured(0, 0, 0, 0, 0, stays=0.0, steps=0.0)


def test_it_holds_counts_and_shares_and_no_row_of_a_table(overview):
    numbers = [number for measured in overview.variables.values() for number in measured]
    assert all(isinstance(number, int | float) for number in numbers)
    assert np.isfinite(numbers).all()
    assert all(0 <= m.steps <= m.stays <= 1 for m in overview.variables.values())
