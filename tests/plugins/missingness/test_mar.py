"""Missing at random: another modality decides, as strongly as the dial says."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench import MissingnessContext
from fusionbench.errors import ConfigError
from fusionbench_plugins.missingness.mar import AtRandom
from fusionbench_plugins.missingness.mnar import NotAtRandom
from tests.missingness.test_masks import NAMES, context
from tests.plugins.missingness.test_mnar import correlation


def test_at_random_follows_another_modality_and_the_dial():
    ehr, cxr = context().summaries[:, 0], context().summaries[:, 1]
    steps = [correlation(AtRandom(strength), ehr) for strength in (-0.9, 0.0, 0.5, 0.9)]
    assert steps == sorted(steps, reverse=True)
    assert abs(steps[1]) < 0.05
    assert steps[3] < -0.6
    assert abs(correlation(AtRandom(0.9), cxr)) < 0.05
    assert correlation(AtRandom(0.9, driver="note"), context().summaries[:, 2]) < -0.6
    assert abs(correlation(AtRandom(0.9, driver="note"), ehr)) < 0.05


def test_at_random_takes_a_driver_the_row_has():
    ctx = context()
    available = ctx.available.copy()
    available[:2000, 0] = False
    ctx = MissingnessContext(available, NAMES, ctx.target, np.where(available, ctx.summaries, 0))
    drawn = AtRandom(0.95).thresholds(ctx, np.random.default_rng(0))[:2000, 1]
    assert np.corrcoef(ctx.summaries[:2000, 2], drawn)[0, 1] < -0.5


@pytest.mark.parametrize("kind", [AtRandom, NotAtRandom])
def test_strengths_outside_are_refused(kind):
    with pytest.raises(ValueError, match="strength must be between"):
        kind(strength=1.5)


def test_at_random_says_what_it_lacks():
    ctx = context(rows=4)
    with pytest.raises(ConfigError, match="did you mean 'cxr'"):
        AtRandom(driver="cxt").thresholds(ctx, np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs the summaries"):
        AtRandom().thresholds(MissingnessContext(ctx.available, NAMES, ctx.target), np.random.default_rng(0))
