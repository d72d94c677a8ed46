"""What mechanisms decide: thresholds that are checked, uniform, and drawn for everybody alike."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench import Missingness
from fusionbench.errors import PluginError
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.mechanisms import masks_for, thresholds_from
from tests.missingness.test_masks import MECHANISMS, context


@pytest.mark.parametrize("value", [1.0, -0.1, np.nan])
def test_thresholds_out_of_range_are_the_plugins_fault(value):
    class Broken(Missingness):
        def thresholds(self, context, generator):
            return np.full(context.available.shape, value)

    with pytest.raises(PluginError, match=r"'broken'.*\[0, 1\)"):
        masks_for(Broken(), context(rows=5), [Condition("random", 0.5)], name="broken", seed=0)


def test_thresholds_of_the_wrong_shape_are_the_plugins_fault():
    class Flat(Missingness):
        def thresholds(self, context, generator):
            return np.zeros(len(context.available))

    with pytest.raises(PluginError, match=r"shaped \(5, 3\)"):
        masks_for(Flat(), context(rows=5), [Condition("random", 0.5)], name="flat", seed=0)


@pytest.mark.parametrize("name", MECHANISMS)
def test_thresholds_are_uniform_over_the_rows_that_have_the_modality(name):
    ctx = context(held=0.6)
    drawn = MECHANISMS[name].thresholds(ctx, np.random.default_rng(1))
    assert ((drawn >= 0) & (drawn < 1)).all()
    for m in range(3):
        shares = np.histogram(drawn[ctx.available[:, m], m], bins=10, range=(0, 1))[0] / ctx.available[:, m].sum()
        np.testing.assert_allclose(shares, 0.1, atol=0.03 if name == "mcar" else 0.001)


def test_a_driver_that_is_constant_decides_nothing():
    drawn = thresholds_from(np.ones(100), np.ones(100, bool), 0.9, np.random.default_rng(0))
    assert ((drawn >= 0) & (drawn < 1)).all()
    np.testing.assert_array_equal(np.sort((drawn * 100).astype(int)), np.arange(100))
