"""What every strategy is searched over alike, where a search begins, and which trial wins."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from fusionbench.missingness.conditions import COMPLETE
from fusionbench.noise import Dropout
from fusionbench.run.searching import best_of, common_among, common_of, defaults, first_trial, mean_of
from fusionbench.training.members import Fit
from tests.builders import make_benchmark, make_run, run_toy

RANGES = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "weight_decay": {"low": 0.01, "high": 30, "log": True},
    "dropout": {"low": 0, "high": 0.5},
    "encoder_depth": {"low": 0, "high": 2},
}


class Lowest:
    """A trial that answers with the lowest value."""

    def suggest_float(self, name, low, high, *, log=False):
        return low

    def suggest_int(self, name, low, high):
        assert isinstance(low, int)
        return low


def benchmark(ranges=RANGES, **changes):
    return make_benchmark(tuning={"trials": 2, "common": ranges}, **changes)


def test_what_is_not_searched_is_as_the_benchmark_has_it():
    plain = benchmark({"weight_decay": RANGES["weight_decay"]})
    assert common_of(Lowest(), plain) == {**defaults(plain), "weight_decay": 0.01}
    assert common_of(Lowest(), benchmark()) == {n: r["low"] for n, r in RANGES.items()}
    assert common_among({"dropout": 0.1, "alpha": 3, "imputer.dropout": 1}) == {"dropout": 0.1}


def test_the_first_trial_is_the_benchmarks_own_as_far_as_it_lies_in_the_ranges():
    assert first_trial(benchmark()) == {"learning_rate": 1e-3, "weight_decay": 0.01, "dropout": 0.0, "encoder_depth": 0}
    model = {"width": 4, "projection": "mlp", "dropout": 0.7}
    assert first_trial(benchmark(model=model)) == {"learning_rate": 1e-3, "weight_decay": 0.01, "encoder_depth": 1}


def trial(number, score, loss):
    return {"number": number, "score": score, "loss": loss}


@pytest.mark.parametrize(
    ("trials", "winner"),
    [
        ([trial(0, 0.8, 0.5), trial(1, 0.8, 0.4), trial(2, 0.8, 0.4)], 1),
        ([trial(0, 0.8, 0.1), trial(1, 0.8 + 1e-9, 0.9)], 1),
        ([trial(0, 0.8, 0.3), trial(1, 0.8 + 1e-13, 0.9)], 0),
        ([trial(0, 0.8, None), trial(1, 0.8, 0.9)], 1),
        ([trial(0, 0.8, None), trial(1, 0.8, None)], 0),
        ([trial(3, -0.8, 0.1)], 3),
    ],
)
def test_of_equal_scores_the_lower_loss_wins_then_the_earliest(trials, winner):
    assert best_of(trials)["number"] == best_of(trials[::-1])["number"] == winner


def test_without_a_usable_trial_there_is_no_best():
    assert best_of([]) is None


@pytest.mark.parametrize(
    ("ranges", "more", "said"),
    [
        ({"dropout": {"low": 0, "high": 1}}, {}, "common.dropout is a probability below 1, found high: 1"),
        (
            {"encoder_depth": {"low": 0, "high": 1.5}},
            {},
            "whole numbers from 0 to 16, not on a log scale; found 0 to 1.5",
        ),
        ({"encoder_depth": {"low": 1, "high": 2, "log": True}}, {}, "whole numbers from 0 to 16"),
        (
            {"weight_decay": {"low": 0, "high": 30}},
            {"training": {"optimiser": "sgd"}},
            "sgd adds decay to the gradient",
        ),
        ({"weight_dcay": {"low": 0, "high": 30}}, {}, "weight_dcay"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(ranges, more, said):
    with pytest.raises(ValidationError, match=said):
        benchmark(ranges, **more)


def test_depth_is_that_of_trained_encoders_that_list_their_layers_else_of_the_projection(tmp_path):
    run = make_run(
        tmp_path, encoders={"a": {"name": "mlp", "hidden": [5], "output_dim": 3}, "b": "identity", "c": "identity"}
    )
    (arm, _) = run.resolved.arms
    rates = {"learning_rate": 0.1, "weight_decay": 0.1}

    def built(**more):
        return run.rows.job(arm, 0, 0, COMPLETE, {**rates, **more}, {}, None).member.build()

    def linear(module):
        return [m.out_features for m in module.modules() if isinstance(m, torch.nn.Linear)]

    depths = {
        d: [linear(m) for m in (built(encoder_depth=d).encoder["a"], built(encoder_depth=d).project["b"])]
        for d in (0, 2)
    }
    assert depths == {0: [[3], [4]], 2: [[5, 5, 3], [4, 4, 4]]}
    as_written = built()
    assert [linear(as_written.encoder["a"]), linear(as_written.project["b"])] == [[5, 3], [4]]
    assert linear(built(encoder_depth=2).project["a"]) == [4]
    assert not as_written.drop
    assert {n: (d.width, d.p) for n, d in built(dropout=0.25).drop.items()} == dict.fromkeys("abc", (4, 0.25))


def test_models_that_drop_different_shares_are_trained_together_each_with_its_own(tmp_path):
    run = make_run(tmp_path)
    (arm, _) = run.resolved.arms
    rates = {"learning_rate": 0.1, "weight_decay": 0.1}
    jobs = [run.rows.job(arm, 0, 0, COMPLETE, {**rates, "dropout": p}, {}, None) for p in (0.1, 0.5, 0.0)]
    assert jobs[0].signature == jobs[1].signature != jobs[2].signature
    from fusionbench.training.loop import train

    settings = run.benchmark.training
    together, _ = train([j.member for j in jobs[:2]], settings, "auroc")
    for i, job in enumerate(jobs[:2]):
        alone, _ = train([job.member], settings, "auroc")
        assert all(torch.equal(t[0], together.parameters[n][i]) for n, t in alone.parameters.items())
    assert any(not torch.equal(t[0], t[1]) for t in together.parameters.values())


def test_embeddings_are_dropped_in_training_only_and_encodings_of_zero_inputs_never(tmp_path):
    run = make_run(tmp_path, model={"width": 4, "dropout": 0.5}, imputers=["zero_input"])
    model = run.blueprint.build(run.resolved.arms[0], 0, {})
    assert all(isinstance(d, Dropout) for d in model.drop.values())
    for drop in model.drop.values():
        drop.noise = torch.zeros(3, 4)
    from fusionbench.training.model import View

    present = torch.ones(3, 3, dtype=torch.bool)
    rows = {n: torch.randn(3, m.dim) for n, m in run.blueprint.modalities.items()}
    zero = {n: torch.zeros(m.dim) for n, m in run.blueprint.modalities.items()}
    view = View(rows, zero, present, present)
    batch = model.train().embed(view)
    assert all(not f.any() for f in batch.features.values())
    assert all(z.any() for z in batch.zero_input.values())
    assert all(f.any() for f in model.eval().embed(view).features.values())


def test_a_whole_study_searches_them_and_its_winner_trains_the_models(tmp_path):
    run, summary = run_toy(tmp_path, tuning={"trials": 3, "batch": 3, "common": RANGES})
    assert summary.failures == []
    for fit in run.plan.fits:
        study = run.store.sealed_study(fit.study)
        options = run.store.load(fit.key).options
        assert {n: options[n] for n in RANGES} == study["winner"]["common"]
        assert all(t["params"].keys() >= RANGES.keys() and t["loss"] > 0 for t in study["trials"])


# --------------------------------------------------------------------------------------------
# trials on several inner folds


def test_of_several_inner_folds_scores_and_losses_are_means_and_costs_are_sums():
    fits = [
        Fit(score=0.6, loss=0.5, epochs=3, seconds=1.5),
        Fit(score=0.9, loss=0.2, epochs=4, seconds=0.5, pruned=True),
    ]
    found = mean_of(fits)
    assert (found.score, found.loss) == (pytest.approx(0.75), pytest.approx(0.35))
    assert (found.epochs, found.seconds, found.pruned, found.failure) == (7, 2.0, True, None)
    assert mean_of(fits[:1]) is fits[0]


def test_a_trial_that_fails_on_one_inner_fold_fails_and_says_on_how_many():
    found = mean_of([Fit(score=0.6, epochs=3), Fit(failure="it diverged", epochs=1), Fit(failure="another", epochs=1)])
    assert found.failure == "2 of 3 inner folds failed; the first said: it diverged"
    assert found.epochs == 5


def test_one_model_without_a_loss_leaves_the_trial_without_one():
    assert math.isnan(mean_of([Fit(score=0.6, loss=0.5), Fit(score=0.6)]).loss)
