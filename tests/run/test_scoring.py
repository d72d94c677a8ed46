"""Scoring: test rows under every condition, and what trials are compared by."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench.config.sections import TrainingSection
from fusionbench.metrics.scores import METRICS
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.missingness.subsets import prevalence_of
from fusionbench.plan.jobs import conditions
from fusionbench.run.scoring import Scoring
from fusionbench.run.tuning import Winner
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
    return Scoring(run.rows, metric).probabilities(fits, untrained(run, *fits), winners)


def test_every_test_row_has_a_prediction_under_every_label(tmp_path):
    run = make_run(tmp_path, strategies=["sum"])
    first, second = run.plan.fits
    for fit, found in zip((first, second), scored(run, first, second), strict=True):
        assert list(found) == list(fit.labels)
        for values in found.values():
            assert values.shape == (len(run.folds[fit.fold].test), 1)
            assert values.dtype == np.float32
            assert ((values > 0) & (values < 1)).all()


def test_members_are_scored_alike_alone_and_together(tmp_path):
    run = make_run(tmp_path, strategies=["sum"], imputers=["mean"], missingness={"rates": [0, 0.5], "where": "both"})
    fits = run.plan.fits
    assert len({len(f.scored) for f in fits}) > 1  # one was scored under more conditions than another
    for fit, together in zip(fits, scored(run, *fits), strict=True):
        (alone,) = scored(run, fit)
        assert alone.keys() == together.keys()
        for label, values in alone.items():
            np.testing.assert_allclose(together[label], values, atol=1e-6)


def test_rows_with_nothing_of_what_the_arm_may_see_are_given_the_prevalence(tmp_path):
    run = make_run(tmp_path, strategies=[{"name": "sum", "modalities": ["b"]}])
    fit = run.plan.fits[0]
    (found,) = scored(run, fit)
    tests = run.folds[fit.fold].test.open("digest")
    prevalence = prevalence_of(run.dataset, run.folds[fit.fold].development.train)
    empty = ~run.rows.mask(fit.scored[1], fit.seed, fit.fold)[tests, 1]
    predicted = found[fit.labels[1]][:, 0]
    assert empty.any()
    assert (predicted[empty] == prevalence).all()
    assert (predicted[~empty] != prevalence).all()


def test_trials_are_compared_by_their_mean_over_conditions_with_the_better_higher(tmp_path):
    run = make_run(tmp_path, strategies=["sum"], tuning={"trials": 2, "condition": "mean"})
    study, fit = run.plan.studies[0], run.plan.fits[0]
    asked = [(study, {"common": RATES, "own": {}})]
    rows = run.folds[study.fold].development.validation
    target = run.dataset.target[rows]
    population = untrained(run, fit)
    errors = []
    for condition in conditions(run.benchmark):
        shown = torch.as_tensor(run.rows.mask(condition, 0, 0)[rows])[None, None]
        predicted = predict_conditions(population, torch.as_tensor(rows)[None], shown)[0, 0, :, 0].numpy()
        errors.append(np.mean((predicted - target) ** 2))
    assert not METRICS["brier"].higher_is_better
    assert Scoring(run.rows, "brier").compare(asked, population) == [pytest.approx(-np.mean(errors), rel=1e-5)]


def test_stored_predictions_are_those_of_the_model_under_each_condition(tmp_path):
    run, _ = run_toy(tmp_path, strategies=["sum"], imputers=["mean"])
    for fit in run.plan.fits:
        result = run.store.load(fit.key)
        job = run.rows.job(fit.arm, fit.fold, fit.seed, fit.condition, result.options, {}, fit)
        population, _ = train([job.member], TrainingSection(epochs=2, batch_size=32), "auroc")
        rows = torch.as_tensor(run.folds[fit.fold].test.open("test"))[None]
        for condition, label in zip(fit.scored, fit.labels, strict=True):
            shown = torch.as_tensor(run.rows.mask(condition, fit.seed, fit.fold))[rows]
            found = predict_conditions(population, rows, shown[None])[0, 0].numpy()
            np.testing.assert_allclose(found, result.probabilities[label], atol=1e-6)


def test_a_mean_over_conditions_is_that_of_the_trials_own_models(tmp_path, monkeypatch):
    from sklearn.metrics import roc_auc_score

    from fusionbench.plan.jobs import conditions
    from fusionbench.run.scoring import Scoring
    from fusionbench.training.prediction import predict_conditions

    wanted = []
    compare = Scoring.compare

    def spied(scoring, asked, population):
        rows = scoring._rows
        for i, (study, suggested) in enumerate(asked):
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
