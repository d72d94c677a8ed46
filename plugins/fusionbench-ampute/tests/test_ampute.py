"""The mechanism takes the published exam, and hides with the probabilities of the paper at every rate."""

import numpy as np
import pytest
from fusionbench_ampute import KINDS, Ampute, rates_at, standardised
from scipy.optimize import brentq
from scipy.special import expit

from fusionbench import MissingnessContext
from fusionbench.errors import ConfigError
from fusionbench.testing import parametrize_with_checks

ROWS = 20_000
NAMES = ("ehr", "cxr", "report")


@parametrize_with_checks([Ampute, *((Ampute, {"kind": kind, "steepness": 3}) for kind in KINDS)])
def test_the_mechanism_conforms(subject, check):
    check(subject)


def context():
    draw = np.random.default_rng(0)
    available = np.ones((ROWS, 3), dtype=np.bool_)
    return MissingnessContext(available, NAMES, draw.integers(0, 2, ROWS), draw.standard_normal((ROWS, 3)))


def thresholds(**options):
    return Ampute(**options).thresholds(context(), np.random.default_rng(1))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_at_every_rate_the_probability_is_logistic_in_the_score(kind, rate):
    held = np.ones(ROWS, dtype=np.bool_)
    score = standardised(KINDS[kind](standardised(context().summaries[:, 1:].sum(axis=1), held)), held)
    shift = brentq(lambda b: expit(2 * score + b).mean() - rate, -30, 30)
    hidden = thresholds(kind=kind, steepness=2.0)[:, 0] < rate
    for low, high in ((0, 0.1), (0.4, 0.6), (0.9, 1)):
        rows = (score >= np.quantile(score, low)) & (score <= np.quantile(score, high))
        expected = expit(2 * score[rows] + shift).mean()
        allowed = 4.5 * np.sqrt(expected * (1 - expected) / rows.sum())
        assert abs(hidden[rows].mean() - expected) < allowed


def test_the_modality_that_is_lost_has_no_say_and_a_weight_of_zero_silences_another():
    driven = thresholds(weights={"cxr": 0.0}, steepness=4.0)[:, 0]
    correlations = [np.corrcoef(driven, column)[0, 1] for column in context().summaries.T]
    assert abs(correlations[0]) < 0.03
    assert abs(correlations[1]) < 0.03
    assert correlations[2] < -0.5


def test_without_steepness_it_is_completely_at_random():
    uniforms = np.random.default_rng(1).random((ROWS, 3))
    np.testing.assert_allclose(thresholds(steepness=0.0), uniforms, atol=1e-4)


def test_interpolated_rates_equal_the_exact_mean_over_rows():
    draw = np.random.default_rng(2)
    scores, uniforms, held = 3 * draw.standard_normal(300), draw.random(300), draw.random(300) < 0.7
    exact = [expit(scores[held] + np.log(u / (1 - u)) - s).mean() for s, u in zip(scores, uniforms, strict=True)]
    np.testing.assert_allclose(rates_at(scores, uniforms, held), exact, atol=1e-4)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="kind must be one of right, left, mid, tail; found 'middle'"):
        Ampute(kind="middle")
    with pytest.raises(ValueError, match="steepness must be 0 or more"):
        Ampute(steepness=-1)
    with pytest.raises(ConfigError, match=r"no modality named 'cxx'; did you mean 'cxr'\?"):
        thresholds(weights={"cxx": 1.0})
