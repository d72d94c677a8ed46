"""Scoring: test rows under every condition, and what trials are compared by."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench.config.sections import TrainingSection
from fusionbench.metrics.scores import METRICS
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.missingness.subsets import is_subset, members, prevalence_of
from fusionbench.plan.jobs import conditions
from fusionbench.run.scoring import Scoring, _within_range
from fusionbench.run.tuning import Asked, Winner
from fusionbench.training.loop import train
from fusionbench.training.prediction import assemble, predict_conditions
from tests.builders import make_run, run_toy
from tests.run.test_tuning import tuned

RATES = {"learning_rate": 0.01, "weight_decay": 0.01}
WINNER = Winner(RATES, {}, "digest", 0, 0, 0.0)


def untrained(run, *fits):
    """Models as they are built, in one population."""
    return assemble([run.rows.job(f.arm, f.fold, f.seed, f.condition, RATES, {}, f).member for f in fits])


def scored(run, *fits, metric="auroc"):
    winners = {f.study: WINNER for f in fits}
    return Scoring(run.rows, metric).logits(fits, untrained(run, *fits), winners)


def test_every_test_row_and_validation_row_has_logits_under_every_label(tmp_path):
    run = make_run(tmp_path, strategies=["sum"])
    first, second = run.plan.fits
    for fit, found in zip((first, second), scored(run, first, second), strict=True):
        assert all(list(by_label) == list(fit.labels) for by_label in found.values())
        for label in fit.labels:
            for what, shown, count in (
                ("logits", "shown", len(run.folds[fit.fold].test)),
                ("validation", "validation_shown", len(run.folds[fit.fold].development.validation)),
            ):
                values, numbers = found[what][label], found[shown][label]
                assert (values.shape, values.dtype) == ((count, 1), np.float32)
                assert np.isfinite(values).all()
                assert (numbers.shape, numbers.dtype) == ((count,), np.int32)


def test_members_are_scored_alike_alone_and_together(tmp_path):
    run = make_run(tmp_path, strategies=["sum"], imputers=["mean"], missingness={"rates": [0, 0.5], "where": "both"})
    fits = run.plan.fits
    assert len({len(f.scored) for f in fits}) > 1  # one was scored under more conditions than another
    for fit, together in zip(fits, scored(run, *fits), strict=True):
        (alone,) = scored(run, fit)
        for what, by_label in alone.items():
            assert by_label.keys() == together[what].keys()
            for label, values in by_label.items():
                np.testing.assert_allclose(together[what][label], values, atol=1e-5)


ARMS = [
    {"name": "sum", "modalities": ["b"]},  # what it may see
    {"name": "unimodal", "modality": "b"},  # what its models read
    {"name": "unimodal", "modality": "b", "modalities": ["a", "b"]},
]


@pytest.mark.parametrize("arm", ARMS, ids=["seen", "read", "both"])
def test_what_rows_show_is_what_is_there_and_read_and_rows_that_show_nothing_have_no_logits(tmp_path, arm):
    run = make_run(tmp_path, strategies=[arm])
    fit = run.plan.fits[0]
    (found,) = scored(run, fit)
    parts = {"": run.folds[fit.fold].test.open("digest"), "validation": run.folds[fit.fold].development.validation}
    for condition, label in zip(fit.scored, fit.labels, strict=True):
        there = run.rows.mask(condition, fit.seed, fit.fold)[:, 1]
        if is_subset(condition):
            there = there & ("b" in members(condition))
        for part, rows in parts.items():
            shown = found[f"{part}_shown" if part else "shown"][label]
            assert shown.tolist() == (2 * there[rows]).tolist()
            empty = shown == 0
            assert (found[part or "logits"][label][empty] == 0).all()
            assert (found[part or "logits"][label][~empty] != 0).all()
            assert empty.any() or condition == COMPLETE
    assert is_subset(condition)


def test_trials_give_rows_that_show_their_models_nothing_the_prevalence_uncalibrated(tmp_path):
    run = make_run(tmp_path, strategies=[ARMS[1]], tuning={"trials": 2, "condition": "mean"})
    study, fit = run.plan.studies[0], run.plan.fits[0]
    fold = run.folds[study.fold].development
    target = run.dataset.target[fold.validation]
    population, errors = untrained(run, fit), []
    for condition in conditions(run.benchmark):
        mask = run.rows.mask(condition, 0, study.fold if "study" in locals() else fit.fold)[fold.validation]
        rows, shown = torch.as_tensor(fold.validation)[None], torch.as_tensor(mask)[None, None]
        logits = predict_conditions(population, rows, shown)[0, 0, :, 0]
        predicted = torch.sigmoid(logits.double()).numpy()
        predicted[~mask[:, 1]] = prevalence_of(run.dataset, fold.train)[0]
        errors.append(np.mean((predicted - target) ** 2))
    found = Scoring(run.rows, "brier").compare([Asked(study, {"common": RATES, "own": {}})], population)
    assert found == [pytest.approx(-np.mean(errors), rel=1e-12)]


@pytest.mark.parametrize("given", [[1.0, np.inf, -3.0, -np.inf], [np.inf, -np.inf], [np.nan, np.inf]])
def test_infinite_logits_lie_beyond_all_others_and_nan_stays(given):
    found = _within_range(np.array(given, dtype=np.float32)[:, None])[:, 0]
    assert found.dtype == np.float32
    assert not np.isinf(found).any()
    assert (np.isnan(found) == np.isnan(given)).all()
    known = ~np.isnan(given)
    assert (np.argsort(found[known]) == np.argsort(np.array(given)[known])).all()


def test_trials_are_compared_by_their_mean_over_conditions_with_the_better_higher(tmp_path):
    run = make_run(tmp_path, strategies=["sum"], tuning={"trials": 2, "condition": "mean"})
    study, fit = run.plan.studies[0], run.plan.fits[0]
    asked = [Asked(study, {"common": RATES, "own": {}})]
    rows = run.folds[study.fold].development.validation
    target = run.dataset.target[rows]
    population = untrained(run, fit)
    errors = []
    for condition in conditions(run.benchmark):
        shown = torch.as_tensor(run.rows.mask(condition, 0, study.fold if "study" in locals() else fit.fold)[rows])[
            None, None
        ]
        logits = predict_conditions(population, torch.as_tensor(rows)[None], shown)[0, 0, :, 0]
        predicted = torch.sigmoid(logits).numpy()
        errors.append(np.mean((predicted - target) ** 2))
    assert not METRICS["brier"].higher_is_better
    assert Scoring(run.rows, "brier").compare(asked, population) == [pytest.approx(-np.mean(errors), rel=1e-5)]


def test_stored_predictions_are_those_of_the_model_under_each_condition(tmp_path):
    run, _ = run_toy(tmp_path, strategies=["sum"], imputers=["mean"])
    for fit in run.plan.fits:
        result = run.store.load(fit.key)
        job = run.rows.job(fit.arm, fit.fold, fit.seed, fit.condition, result.options, {}, fit)
        population, _ = train([job.member], TrainingSection(epochs=2, batch_size=32), "auroc")
        fold = run.folds[fit.fold]
        parts = {"logits": fold.test.open("test"), "validation": fold.development.validation}
        for condition, label in zip(fit.scored, fit.labels, strict=True):
            for what, own in parts.items():
                rows = torch.as_tensor(own)[None]
                shown = torch.as_tensor(run.rows.mask(condition, fit.seed, fit.fold))[rows]
                found = predict_conditions(population, rows, shown[None])[0, 0].numpy()
                kept = result.predicted["shown" if what == "logits" else "validation_shown"][label] > 0
                assert kept.any()
                np.testing.assert_allclose(found[kept], result.predicted[what][label][kept], atol=1e-5)


def test_a_mean_over_conditions_is_that_of_the_trials_own_models(tmp_path, monkeypatch):
    from sklearn.metrics import roc_auc_score

    from fusionbench.plan.jobs import conditions
    from fusionbench.run.scoring import Scoring
    from fusionbench.training.prediction import predict_conditions

    wanted = []
    compare = Scoring.compare

    def spied(scoring, asked, population):
        rows = scoring._rows
        for i, (study, suggested, _) in enumerate(asked):
            validation = torch.as_tensor(rows.folds[study.fold].development.validation)
            found = []
            for condition in conditions(rows.blueprint.benchmark):
                arm = study.arm.tuned(suggested["own"])
                population.table, present = rows.given(arm, study.fold, 0, COMPLETE, condition)
                every = validation.expand(population.size, -1)
                shown = present[validation].expand(1, population.size, *present[validation].shape)
                scores = predict_conditions(population, every, shown)[0, i, :, 0]
                found.append(roc_auc_score(rows.dataset.target[validation], scores))
            wanted.append(sum(found) / len(found))
        return compare(scoring, asked, population)

    monkeypatch.setattr(Scoring, "compare", spied)
    run, summary = tuned(tmp_path, "mean", imputers=["mean", "knn"], strategies=["concat"])
    assert summary.failures == []
    scores = [t["score"] for s in run.plan.studies for t in run.store.sealed_study(s.key)["trials"]]
    assert sorted(scores) == pytest.approx(sorted(wanted), abs=1e-6)
