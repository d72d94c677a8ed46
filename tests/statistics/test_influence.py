"""Influence values against numbers computed elsewhere, against counting, and against what resampling gives."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance
from fusionbench.statistics.influence import (
    Patients,
    auroc_influence,
    drawn_counts,
    mean_influence,
    resampled_influence,
    smaller_class,
    strata_of,
    strata_of_classes,
)
from tests.statistics.sheet import agrees, compare, sheet


def _binary(fold, scores):
    positive = np.array(fold["y"]) == 1
    patients = Patients(fold["patient"])
    return auroc_influence(np.array(scores), positive, patients), smaller_class(positive, patients)


@pytest.mark.parametrize("name", ["scores_binary", "scores_patients", "scores_area", "scores_labels", "scores_mean"])
def test_scores_become_the_expected_verdict(name):
    given = sheet(name)
    theta, influence, df = [], [], 0.0
    for fold in given["inputs"]["folds"]:
        if name == "scores_mean":
            patients = Patients(fold["patient"])
            errors = -np.square(np.array(fold["probabilities"]) - np.array(fold["y"]))
            found, more = mean_influence(errors, patients), patients.count - 1
            values, by_patient = found
        elif name == "scores_labels":
            scores, positive = np.array(fold["scores"]), np.array(fold["y"]).T == 1
            patients = Patients(fold["patient"])
            labels = [auroc_influence(scores[:, :, i], positive[:, i], patients) for i in range(positive.shape[1])]
            used = [f for f in labels if not np.isnan(f.values).any()]
            values = np.mean([f.values for f in used], axis=0)
            by_patient = np.mean([f.patients for f in used], axis=0)
            more = smaller_class(positive, patients)
        else:
            (values, by_patient), more = _binary(fold, fold["scores"])
            if name == "scores_area":
                weights = np.array(given["inputs"]["weights"])
                values, by_patient = values @ weights, np.einsum("smcp,c->smp", by_patient, weights)
        theta.append(values)
        influence.append(by_patient)
        df += more
    expected = given["expected"]
    agrees(theta, expected["theta"])
    for found, wanted in zip(influence, expected["P"], strict=True):
        agrees(np.einsum("smp,tlp->smtl", found, found), wanted)
    compare(theta, PatientCovariance.of_influence(influence, df), expected, unit=name != "scores_mean")
    compare(theta, PatientCovariance.of(np.array(expected["P"]), df), expected, unit=name != "scores_mean")


def test_resamples_become_a_covariance():
    given = sheet("bootstrap")
    resampled = np.array(given["expected"]["resampled"]).T
    found, dropped = resampled_influence(np.array(given["expected"]["theta"]), resampled)
    agrees(found.patients @ found.patients.T, given["expected"]["P"])
    assert dropped == 0


def test_a_resample_without_a_value_is_dropped_for_all_and_counted():
    generator = np.random.default_rng(0)
    resampled = generator.normal(size=(3, 50))
    resampled[1, 7] = np.nan
    found, dropped = resampled_influence(np.array([0.5, 0.6, 0.7]), resampled)
    assert dropped == 1
    agrees(found.patients @ found.patients.T, np.cov(np.delete(resampled, 7, axis=1)))


def test_auroc_is_counted_pair_by_pair():
    generator = np.random.default_rng(1)
    scores = np.round(generator.normal(size=(4, 60)), 1)
    positive = generator.random(60) < 0.3
    found = auroc_influence(scores, positive, Patients(np.arange(60)))
    for row, value in zip(scores, found.values, strict=True):
        above = row[positive][:, None] - row[~positive][None]
        assert value == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean(), abs=1e-12)


def test_a_class_that_does_not_occur_has_no_auroc():
    found = auroc_influence(np.zeros((2, 5)), np.zeros(5, dtype=bool), Patients(np.arange(5)))
    assert np.isnan(found.values).all()
    assert not found.patients.any()


def test_patients_may_be_named_by_anything_in_any_order():
    generator = np.random.default_rng(2)
    scores, positive = generator.normal(size=(2, 40)), generator.random(40) < 0.4
    numbers = generator.integers(0, 12, 40)
    named = np.array([f"p{n}" for n in numbers])
    order = generator.permutation(40)
    a = auroc_influence(scores, positive, Patients(numbers))
    b = auroc_influence(scores[:, order], positive[order], Patients(named[order]))
    agrees(a.values, b.values)
    agrees(a.patients @ a.patients.T, b.patients @ b.patients.T)


def test_resampling_agrees_with_influence_values():
    generator = np.random.default_rng(3)
    positive = generator.random(400) < 0.3
    scores = generator.normal(size=(2, 400)) + positive
    patients = Patients(np.arange(400) // 2)
    counts = drawn_counts(strata_of(positive, patients), patients, 4000, generator)
    assert set(counts.sum(axis=0)) <= {2 * (patients.count - 2)}
    weighted = []
    for row in scores:
        above = (row[positive][:, None] > row[~positive][None]).astype(float)
        hits, misses = counts[positive].astype(float), counts[~positive].astype(float)
        weighted.append(np.einsum("pr,pn,nr->r", hits, above, misses) / (hits.sum(axis=0) * misses.sum(axis=0)))
    by_influence = auroc_influence(scores, positive, patients).patients
    resampled, _ = resampled_influence(auroc_influence(scores, positive, patients).values, np.array(weighted))
    np.testing.assert_allclose(resampled.patients @ resampled.patients.T, by_influence @ by_influence.T, rtol=0.12)


def test_strata_keep_what_is_rare():
    patients = Patients([0, 0, 1, 2])
    labels = np.array([[False, True], [False, False], [False, False], [True, False]])
    assert strata_of(labels, patients).tolist() == [1, 0, 1]
    assert strata_of_classes(np.array([2, 1, 0, 2]), patients).tolist() == [1, 0, 2]
    counts = drawn_counts(strata_of_classes(np.array([2, 1, 0, 2]), patients), patients, 9, np.random.default_rng(0))
    assert (counts == 1).all()


def test_degrees_of_freedom_are_patients_of_the_smaller_class():
    patients = Patients([0, 0, 1, 2, 3])
    assert smaller_class(np.array([True, False, False, False, False]), patients) == 0
    labels = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=bool)
    assert smaller_class(labels, patients) == pytest.approx((1 + 0) / 2)
