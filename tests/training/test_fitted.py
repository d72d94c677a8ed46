"""Fitted strategies behind the same door: rows, masks, weights, tuning, and what is refused beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fusionbench.errors import ConfigError
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.run.runner import Run
from tests.builders import make_run, run_toy, said, stored, toy_dataset

LOGISTIC = {"strategies": ["logistic_regression"]}
BOTH = {"strategies": ["logistic_regression", {"name": "gradient_boosting", "trees": 5, "leaf_rows": 5}]}


def features(run, fold, rows, present):
    """Standardised by training rows that have them, zeros where absent, then flags: by hand."""
    train, columns = run.folds[fold].development.train, []
    for i, modality in enumerate(run.dataset.modalities.values()):
        seen = train[run.dataset.available[train, i]]
        values = modality.values.astype(np.float64)
        values = (values - values[seen].mean(axis=0)) / values[seen].std(axis=0, ddof=1)
        columns.append(np.where(present[:, i : i + 1], values, 0.0))
    return np.concatenate([*columns, present.astype(float)], axis=1)[rows]


def test_a_run_gives_what_scikit_learn_gives_by_hand(tmp_path):
    run, summary = run_toy(tmp_path, **LOGISTIC)
    assert summary.failures == []
    for fit in run.plan.fits:
        own = run.folds[fit.fold]
        x = features(run, fit.fold, own.development.train, run.dataset.available)
        made = LogisticRegression(max_iter=5000).fit(x, run.dataset.target[own.development.train])
        result, tests = run.store.load(fit.key), own.test.open("digest")
        for condition, label in zip(fit.scored, fit.labels, strict=True):
            present = run.rows.mask(condition, fit.seed, fit.fold)
            wanted = made.predict_proba(features(run, fit.fold, tests, present))[:, 1]
            some = result.shown[label] > 0  # others are given the prevalence
            assert said(run, fit, label).raw[some, 0] == pytest.approx(wanted[some], abs=2e-5)
        assert (result.epochs, result.best_epoch) == (0, 0)
        assert result.parameters == x.shape[1] + 1


def test_models_do_not_depend_on_workers_or_company_and_are_fitted_alone(tmp_path):
    apart = run_toy(tmp_path / "apart", training={"epochs": 1, "batch_size": 32, "workers": 2}, **BOTH)[0]
    alone = run_toy(tmp_path / "alone", **{**LOGISTIC, "training": {"epochs": 1, "batch_size": 32}})[0]
    together, single = stored(apart), stored(alone)
    assert single.keys() < together.keys()
    for key, found in single.items():
        assert found["score"] == together[key]["score"]
        for label, predicted in found["logits"].items():
            assert np.array_equal(predicted, together[key]["logits"][label])


def test_kept_weights_score_new_conditions_without_fitting_again(tmp_path, monkeypatch):
    few, more = ({"patterns": ["random"], "rates": rates} for rates in ([0, 0.5], [0, 0.3, 0.5]))
    run_toy(tmp_path, missingness=few, **BOTH)
    again = make_run(tmp_path, missingness=more, **BOTH)
    assert len(again.plan.kept) == len(again.plan.fits) == 4
    monkeypatch.setattr("fusionbench.training.fitted._fit", lambda *_: pytest.fail("it was fitted again"))
    assert again.execute().failures == []
    fresh, _ = (make_run(tmp_path / "fresh", missingness=more, **BOTH), monkeypatch.undo())
    fresh.execute()
    for key, found in stored(again).items():
        for label, predicted in found["logits"].items():
            assert np.allclose(predicted, stored(fresh)[key]["logits"][label], atol=1e-7)


def test_the_penalty_is_tuned_and_what_everybody_searches_is_not(tmp_path):
    tuning = {"trials": 3, "common": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}}
    run, summary = run_toy(tmp_path, tuning=tuning, **LOGISTIC)
    assert summary.failures == []
    for study in run.plan.studies:
        trials = run.store.sealed_study(study.key)["trials"]
        assert [set(t["params"]) for t in trials] == [set(), {"C"}, {"C"}]
        assert all(t["score"] is not None for t in trials)


@pytest.mark.parametrize("imputer", ["mean", "knn", "zero_input"])
def test_imputers_that_learn_nothing_by_gradient_serve(tmp_path, imputer):
    _, summary = run_toy(tmp_path, imputers=[imputer], **BOTH)
    assert summary.failures == []


def test_hiding_in_training_changes_what_is_fitted(tmp_path):
    hidden = {"name": "logistic_regression", "label": "hidden", "corruption": {"policy": "bernoulli", "rate": 0.5}}
    run, summary = run_toy(tmp_path, strategies=["logistic_regression", hidden])
    assert summary.failures == []
    plain, other = (run.store.weights(f.key)["fusion.weight"] for f in run.plan.fits if f.fold == 0)
    assert not torch.allclose(plain, other)


def test_rows_are_those_of_the_training_condition(tmp_path):
    run, _ = run_toy(tmp_path, missingness={"patterns": ["a"], "rates": [0, 0.8], "where": "both"}, **LOGISTIC)
    by_condition = {f.condition: run.store.weights(f.key)["fusion.weight"] for f in run.plan.fits if f.fold == 0}
    assert len(by_condition) == 2
    complete = by_condition.pop(COMPLETE)
    assert not torch.allclose(complete, next(iter(by_condition.values())))


def test_what_only_gradients_could_train_is_refused_with_what_may_stand_there(tmp_path, monkeypatch):
    monkeypatch.setattr("fusionbench.training.blueprint.plain_width", lambda *_: 0)  # as of a picture
    with pytest.raises(ConfigError) as refused:
        make_run(
            tmp_path,
            encoders={"a": "mlp", "b": "identity", "c": "identity"},
            imputers=["learned", "zero"],
            strategies=[{"name": "logistic_regression", "regularisers": ["tla"]}, "concat"],
        )
    text = str(refused.value)
    for part in (
        "strategies.0: strategy 'logistic_regression' is fitted without gradients, and the encoder of modality 'a' (mlp)",
        "imputers.0: imputer 'learned' is trained by gradient",
        "strategies.0.regularisers: a regulariser adds to a loss",
    ):
        assert part in text
    assert "'b'" not in text


def test_a_validation_part_with_one_class_fails_its_own_models_only(tmp_path):
    dataset = toy_dataset()
    parts = np.array(["train", "validation", "test"])[np.arange(len(dataset)) % 3]
    target = np.where(parts == "validation", 1, dataset.target)
    changed = replace(dataset, split=parts, target=target, digest="one class")
    _, summary = run_toy(tmp_path, changed, splits={"source": "task"}, **LOGISTIC)
    ((_, reason),) = summary.failures
    assert "is undefined (one class only?)" in reason


def test_a_dry_run_does_not_multiply_by_epochs(tmp_path):
    run: Run = make_run(tmp_path, training={"epochs": 100000, "batch_size": 32}, **LOGISTIC)
    assert run.estimate().seconds < 60


GUEST = '''
"""A guest that is fitted: the nearest class mean."""

import torch

from fusionbench import FittedStrategy, hookimpl


class Centroids(FittedStrategy):
    """Distance to the mean of each label."""

    def __init__(self, spec):
        super().__init__(spec)
        self.register_buffer("centres", torch.zeros(2, self.num_features, dtype=torch.float64))

    def fit(self, features, target, seed):
        return {"RETURNED": torch.stack([features[target == k].mean(dim=0) for k in (0, 1)])}

    def decide(self, features):
        to = [((features - c) ** 2).sum(dim=1) for c in self.centres]
        return (to[0] - to[1])[:, None]


@hookimpl
def register_fusion_strategies(register):
    register("centroids", Centroids)
'''


@pytest.mark.parametrize(("returned", "failures"), [("centres", 0), ("centers", 2)])
def test_a_guest_may_be_fitted_and_a_wrong_name_is_said(tmp_path, returned, failures):
    path = tmp_path / "centroids.py"
    path.write_text(GUEST.replace("RETURNED", returned), encoding="utf-8")
    summary = make_run(tmp_path / "w", plugins=[str(path)], strategies=["centroids"]).execute()
    assert len(summary.failures) == failures
    for _, reason in summary.failures:
        assert "fit() must return tensors by name of own buffers (centres), found centers" in reason
