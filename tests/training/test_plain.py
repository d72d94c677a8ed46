"""What a fitted strategy reads where the others train an encoder."""

from __future__ import annotations

import pytest
import torch

from fusionbench import InputSpec
from fusionbench.training.plain import PlainInput, plain_width
from fusionbench_plugins.encoders.hashed_words import HashedWords
from fusionbench_plugins.encoders.lstm import Lstm
from fusionbench_plugins.encoders.mlp import Mlp
from tests.builders import make_run, run_toy

VECTOR, SERIES = InputSpec("vector", (3,)), InputSpec("series", (4, 2))


def test_vectors_are_read_as_they_are():
    values = torch.randn(5, 3)
    assert plain_width(VECTOR, Mlp(VECTOR)) == PlainInput(VECTOR).output_dim == 3
    assert torch.equal(PlainInput(VECTOR)(values), values)


def test_of_a_series_the_mean_of_its_valid_steps_and_the_last_one_are_read():
    values = torch.arange(16.0).reshape(2, 4, 2)
    values[0, 2:] = torch.nan  # padding is never read
    assert plain_width(SERIES, Lstm(SERIES, hidden=2)) == PlainInput(SERIES).output_dim == 4
    found = PlainInput(SERIES)(values, torch.tensor([2, 4]))
    assert found.tolist() == [[1, 2, 2, 3], [11, 12, 14, 15]]
    assert torch.equal(PlainInput(SERIES)(values[1:]), found[1:])


def test_what_an_encoder_makes_for_itself_cannot_be_read():
    text = InputSpec("text", ())
    assert plain_width(text, HashedWords(text)) == 0


def test_a_control_stands_beside_trained_encoders_and_reads_the_input(tmp_path):
    strategies = ["logistic_regression", "concat"]
    trained = {"a": {"name": "mlp", "hidden": [3], "output_dim": 2}, "b": "identity", "c": "identity"}
    run, summary = run_toy(tmp_path, encoders=trained, strategies=strategies)
    assert summary.failures == []
    plain = make_run(tmp_path / "plain", strategies=strategies)
    plain.execute()
    weights = [
        {f.fold: r.store.weights(f.key)["fusion.weight"] for f in r.plan.fits if f.arm.fitted} for r in (run, plain)
    ]
    assert weights[0].keys() == weights[1].keys()
    for fold, weight in weights[0].items():
        assert torch.equal(weight, weights[1][fold]), "the input is the same, whatever stands before the others"


@pytest.mark.parametrize("strategy", ["logistic_regression", "gradient_boosting"])
def test_hidden_modalities_are_hidden_from_it_too(tmp_path, strategy):
    trained = {"a": {"name": "mlp", "hidden": [3], "output_dim": 2}, "b": "identity", "c": "identity"}
    _, summary = run_toy(
        tmp_path, encoders=trained, strategies=[strategy], missingness={"patterns": ["a"], "rates": [0, 0.9]}
    )
    low, high = summary.tables.curves.query("strategy == @strategy").sort_values("rate")["auroc"]
    assert high < low
