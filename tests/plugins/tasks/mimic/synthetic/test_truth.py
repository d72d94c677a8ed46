"""What a perfect model would reach on a planted cohort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from fusionbench_plugins.tasks.mimic.synthetic import (
    MODALITIES,
    SyntheticSettings,
    natural_auroc,
    planted_aurocs,
    subset_name,
)
from fusionbench_plugins.tasks.mimic.synthetic.latents import (
    draw_latents,
    interplay_covariances,
    noise_covariance,
)
from fusionbench_plugins.tasks.mimic.synthetic.truth import ceilings


@pytest.fixture(scope="module")
def defaults():
    return planted_aurocs(SyntheticSettings())


@pytest.mark.parametrize(
    ("subset", "expected"), [("ehr", 0.83), ("cxr", 0.74), ("report", 0.73), ("ehr+cxr+report", 0.88)]
)
def test_default_dials_give_the_picture_of_the_paper(defaults, subset, expected):
    assert defaults[subset].auroc == pytest.approx(expected, abs=0.01)


def test_every_subset_has_a_small_monte_carlo_error(defaults):
    assert set(defaults) == {subset_name(bits) for bits in range(1, 8)}
    assert all(0 < value.mc_error < 0.002 for value in defaults.values())


def test_more_modalities_never_score_less(defaults):
    for small in range(1, 8):
        for large in range(1, 8):
            if small & large == small and small != large:
                assert defaults[subset_name(small)].auroc < defaults[subset_name(large)].auroc


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_single_modalities_agree_with_the_closed_form(noise):
    settings = SyntheticSettings(label_noise=noise)
    found = planted_aurocs(settings)
    for name, distance in zip(MODALITIES, settings.informativeness, strict=True):
        expected = 0.5 + (1 - noise) * (norm.cdf(distance / np.sqrt(2)) - 0.5)
        assert found[name].auroc == pytest.approx(expected, abs=4 * found[name].mc_error)


def test_without_synergy_all_modalities_agree_with_the_closed_form():
    settings = SyntheticSettings(synergy=0, label_noise=0, redundancy=0.5)
    distance = np.array(settings.informativeness)
    total = np.sqrt(distance @ np.linalg.solve(noise_covariance(settings), distance))
    found = planted_aurocs(settings)["ehr+cxr+report"]
    assert found.auroc == pytest.approx(norm.cdf(total / np.sqrt(2)), abs=4 * found.mc_error)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_of_no_informativeness_is_chance_alone_and_adds_nothing(name):
    found = planted_aurocs(replace(SyntheticSettings(synergy=0), **{name: 0.0}), draws=20_000)
    others = "+".join(m for m in MODALITIES if m != name)
    assert found[name].auroc == pytest.approx(0.5, abs=1e-9)
    assert found["ehr+cxr+report"].auroc == pytest.approx(found[others].auroc, abs=1e-9)


def test_synergy_lifts_combinations_and_leaves_single_modalities(defaults):
    additive = planted_aurocs(SyntheticSettings(synergy=0))
    for subset, value in defaults.items():
        gain = value.auroc - additive[subset].auroc
        assert gain > 0.005 if "+" in subset else abs(gain) < 1e-9


def test_synergy_alone_is_seen_by_combinations_only():
    found = planted_aurocs(SyntheticSettings(ehr=0, cxr=0, report=0, synergy=0.6), draws=20_000)
    assert all(found[m].auroc == pytest.approx(0.5, abs=1e-9) for m in MODALITIES)
    assert found["ehr+cxr"].auroc > 0.65


def test_redundancy_takes_the_gain_of_combining():
    gains = []
    for redundancy in (0.0, 0.3, 0.6, 0.9):
        found = planted_aurocs(SyntheticSettings(synergy=0, redundancy=redundancy), draws=30_000)
        gains.append(found["ehr+cxr+report"].auroc - found["ehr"].auroc)
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0.05 > 0.01 > gains[-1]


def test_label_noise_lowers_the_ceiling_to_chance(defaults):
    noisy = planted_aurocs(SyntheticSettings(label_noise=0.3), draws=20_000)
    assert all(noisy[s].auroc < defaults[s].auroc - 0.02 for s in defaults)
    assert planted_aurocs(SyntheticSettings(label_noise=1.0), draws=1000)["ehr"].auroc == 0.5


def test_natural_missingness_costs_and_informative_missingness_gives_back(defaults):
    natural = natural_auroc(SyntheticSettings()).auroc
    informative = natural_auroc(SyntheticSettings(informative_missingness=1.5)).auroc
    assert natural < defaults["ehr+cxr+report"].auroc
    assert informative > natural + 0.005
    everything = natural_auroc(SyntheticSettings(cxr_missing=0, report_missing=0))
    assert everything == defaults["ehr+cxr+report"]


@pytest.mark.parametrize("prevalence", [0.05, 0.5])
@pytest.mark.parametrize("informative", [0.0, 2.0])
def test_prevalence_and_missing_shares_are_obeyed(prevalence, informative):
    settings = SyntheticSettings(
        prevalence=prevalence, informative_missingness=informative, cxr_missing=0.3, report_missing=0.25
    )
    latents = draw_latents(100_000, settings)
    image, report = latents.available[:, 1:].T
    assert latents.died.mean() == pytest.approx(prevalence, abs=0.006)
    assert latents.available[:, 0].all()
    assert image.mean() == pytest.approx(0.7, abs=0.006)
    assert report[image].mean() == pytest.approx(0.75, abs=0.008)
    assert not report[~image].any()
    odds = [image[latents.inclined == c].mean() / (1 - image[latents.inclined == c].mean()) for c in (0, 1)]
    assert np.log(odds[1] / odds[0]) == pytest.approx(informative, abs=0.15)


def test_posterior_of_everything_agrees_with_densities_from_scipy():
    settings = SyntheticSettings(cxr_missing=0, report_missing=0)
    latents = draw_latents(50, settings)
    distance, (dead, alive) = np.array(settings.informativeness), interplay_covariances(settings)
    noise, share = noise_covariance(settings), settings.prevalence
    joint_dead = multivariate_normal(distance, noise).pdf(latents.evidence) * multivariate_normal(
        np.zeros(3), dead
    ).pdf(latents.interplay)
    joint_alive = multivariate_normal(np.zeros(3), noise).pdf(latents.evidence) * multivariate_normal(
        np.zeros(3), alive
    ).pdf(latents.interplay)
    inclined = share * joint_dead / (share * joint_dead + (1 - share) * joint_alive)
    expected = settings.label_noise * share + (1 - settings.label_noise) * inclined
    np.testing.assert_allclose(ceilings(latents, settings)[:, 7], expected, rtol=1e-9)


@pytest.mark.parametrize("informative", [0.0, 1.5])
def test_posteriors_are_calibrated_for_every_subset(informative):
    settings = SyntheticSettings(informative_missingness=informative, cxr_missing=0.4, report_missing=0.3)
    latents = draw_latents(200_000, settings)
    for column in ceilings(latents, settings).T:
        assert column.mean() == pytest.approx(settings.prevalence, abs=0.004)
        order = np.array_split(np.argsort(column), 10)
        for rows in order:
            tolerance = 4 * np.sqrt(column[rows].mean() / len(rows))
            assert latents.died[rows].mean() == pytest.approx(column[rows].mean(), abs=tolerance)


def test_posteriors_condition_on_what_is_missing_only_where_that_is_informative():
    plain, telling = SyntheticSettings(), SyntheticSettings(informative_missingness=1.5)
    latents = draw_latents(2000, telling)
    assert np.allclose(ceilings(latents, plain)[:, 0], plain.prevalence)
    empty = ceilings(latents, telling)[:, 0]
    assert empty[latents.available[:, 1]].min() > empty[~latents.available[:, 1]].max()
