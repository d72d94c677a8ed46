"""What is behind each stay: the draws have the moments of the model. Posteriors: test_truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.latents import (
    availability_odds,
    draw_latents,
    interplay_covariances,
    noise_covariance,
)

ROWS = 40_000
SETTINGS = SyntheticSettings(redundancy=0.6, synergy=0.5, informative_missingness=1.0)


@pytest.fixture(scope="module")
def drawn():
    return draw_latents(ROWS, SETTINGS)


def test_evidence_is_normal_about_the_informativeness_of_each_modality(drawn):
    alive, dead = (drawn.evidence[drawn.inclined == c] for c in (False, True))
    np.testing.assert_allclose(alive.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(dead.mean(axis=0), SETTINGS.informativeness, atol=0.06)
    np.testing.assert_allclose(np.cov(alive.T), noise_covariance(SETTINGS), atol=0.04)


def test_interplay_differs_between_outcomes_in_how_modalities_go_together_only(drawn):
    dead, alive = interplay_covariances(SETTINGS)
    assert dead[0, 1] == 0.5
    assert alive[0, 1] == -0.25
    for outcome, wanted in ((True, dead), (False, alive)):
        found = drawn.interplay[drawn.inclined == outcome]
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(np.cov(found.T), wanted, atol=0.06)


def test_every_stay_has_the_ehr_and_a_report_needs_its_image(drawn):
    ehr, image, report = drawn.available.T
    assert ehr.all()
    assert not (report & ~image).any()
    assert image.mean() == pytest.approx(1 - SETTINGS.cxr_missing, abs=0.01)
    assert report[image].mean() == pytest.approx(1 - SETTINGS.report_missing, abs=0.01)


def test_the_odds_of_an_image_depend_on_the_outcome_as_asked():
    low, high = availability_odds(SETTINGS)[:, 0]
    odds = high / (1 - high) / (low / (1 - low))
    assert np.log(odds) == pytest.approx(1.0)
    share = SETTINGS.prevalence
    assert share * high + (1 - share) * low == pytest.approx(1 - SETTINGS.cxr_missing)
    even = availability_odds(SyntheticSettings(informative_missingness=0.0))
    np.testing.assert_allclose(even[0], even[1])


def test_label_noise_changes_the_record_and_not_what_drives_it():
    settings = SyntheticSettings(label_noise=0.5)
    noisy, clean = draw_latents(ROWS, settings), draw_latents(ROWS, SyntheticSettings(label_noise=0.0))
    assert np.array_equal(clean.died, clean.inclined)
    share = settings.prevalence
    wanted = 0.5 * 2 * share * (1 - share)  # half are drawn anew, and so many of these come out otherwise
    assert (noisy.died != noisy.inclined).mean() == pytest.approx(wanted, abs=0.01)
    assert np.array_equal(noisy.evidence, clean.evidence)


def test_standard_evidence_has_mean_nought_and_variance_one(drawn):
    found = drawn.standard_evidence(SETTINGS)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.03)


def test_the_seed_decides(drawn):
    assert np.array_equal(draw_latents(ROWS, SETTINGS).evidence, drawn.evidence)
    assert not np.array_equal(draw_latents(ROWS, replace(SETTINGS, seed=SETTINGS.seed + 1)).evidence, drawn.evidence)
