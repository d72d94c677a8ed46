"""Embeddings of frozen encoders held in float16: what is rounded, what reads it, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionbench.config.sections import TrainingSection
from fusionbench.data.completion import complete_table, fit_imputer
from fusionbench.data.features import Inputs
from fusionbench.data.table import make_table
from fusionbench.errors import ConfigError
from fusionbench.training.loop import train
from fusionbench.training.population import Population
from tests import front
from tests.builders import (
    make_member,
    make_model,
    make_rows,
    make_run,
    member_state,
    outcome,
    plugin,
    settings,
    shared_key,
    stored,
    toy_dataset,
)

ENCODED = ("a", "b")
STILL = '''
"""A frozen encoder of vectors that passes them through, twice as large."""

from typing import ClassVar

from fusionbench import Encoder, hookimpl


class Still(Encoder):
    """Doubles: no bit is lost."""

    accepts: ClassVar[frozenset[str]] = frozenset({"vector"})
    frozen = True

    def __init__(self, spec):
        super().__init__()
        (self.output_dim,) = spec.shape

    def forward(self, inputs, lengths=None):
        return 2 * inputs


@hookimpl
def register_encoders(register):
    register("still", Still)
'''


def inputs(standardise=True, **changes):
    """Return the rows of :func:`make_rows` as training reads them; ``c`` has no frozen encoder."""
    table = make_rows()
    return {
        n: Inputs(
            values=changes.get(n, v.numpy()),
            lengths=None,
            standardise=np.ones(v.shape[1], dtype=bool) if standardise else None,
            zero_input=np.full(v.shape[1], 0.1, dtype=np.float32),
            encoded=n in ENCODED,
        )
        for n, v in table.values.items()
    }


def table_of(given, features):
    rows = make_rows()
    return make_table(
        given, rows.available.numpy(), rows.target.numpy(), rows.kind, 1, torch.device("cpu"), features=features
    )


def rounded(values):
    return values.astype(np.float16).astype(np.float32)


def rounded_before(given):
    """Return inputs whose embeddings were rounded to half, as float32."""
    return {
        n: replace(i, values=rounded(i.values), zero_input=rounded(i.zero_input)) if i.encoded else i
        for n, i in given.items()
    }


def pair(**changes):
    """Return a table in half, and one in float32 of values that were rounded before."""
    given = inputs(**changes)
    return table_of(given, "float16"), table_of(rounded_before(given), "float32")


def trained(table, *arguments, seeds=(0, 1), **changes):
    members = [make_member(lambda s=s: make_model(*arguments, seed=s, **changes), table, seed=s) for s in seeds]
    return train(members, settings(), "auroc")


# ---------------------------------------------------------------- what is held


def test_embeddings_of_frozen_encoders_are_held_in_half_and_nothing_else():
    given = inputs()
    table = table_of(given, "float16")
    assert {n: v.dtype for n, v in table.values.items()} == {
        "a": torch.float16,
        "b": torch.float16,
        "c": torch.float32,
    }
    assert torch.equal(table.values["c"], torch.from_numpy(given["c"].values))
    assert not torch.equal(table.values["a"].float(), torch.from_numpy(given["a"].values))
    assert {z.dtype for z in table.zero.values()} == {torch.float32}
    assert table.zero["a"][0] == float(np.float16(0.1)) != table.zero["c"][0]
    assert {v.dtype for v in table_of(given, "float32").values.values()} == {torch.float32}


def test_pictures_and_tokens_of_trained_encoders_keep_their_type():
    pictures = np.arange(130 * 4, dtype=np.uint8).reshape(130, 4)
    given = {**inputs(), "c": Inputs(pictures, None, None, pictures[0])}
    assert table_of(given, "float16").values["c"].dtype == torch.uint8


def test_mean_and_spread_are_those_of_the_values_as_they_are_held_and_float32():
    half, wanted = pair()
    for name in ENCODED:
        found = half.scaling(name, torch.arange(60), half.available)
        assert found.mean.dtype == found.scale.dtype == torch.float32
        assert torch.equal(found.mean, wanted.scaling(name, torch.arange(60), wanted.available).mean)
        assert torch.equal(found.scale, wanted.scaling(name, torch.arange(60), wanted.available).scale)
    lonely = half.scaling("a", torch.arange(1), torch.ones_like(half.available))  # no spread of one row
    assert lonely.mean.dtype == lonely.scale.dtype == torch.float32


# ---------------------------------------------------------------- what reads it


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("standardise", [True, False])
def test_rows_arrive_as_float32_standardised_or_not(standardise, training):
    views = []
    for table in pair(standardise=standardise):
        models = [make_model(imputer="zero_input", seed=s).train(training) for s in range(2)]
        population = Population(models, table, [torch.arange(60)] * 2, [table.available] * 2)
        population.template.train(training)
        before = table.values["a"].clone()
        for first in (0, 16):  # the second step finds the memory of the first
            rows = torch.arange(first, first + 16).expand(2, -1)
            view = population.view(rows, table.available[rows])
        assert torch.equal(table.values["a"], before)
        views.append(view)
    found, wanted = views
    for name, values in wanted.encoded.items():
        assert found.encoded[name].dtype == found.zero[name].dtype == torch.float32
        assert torch.equal(found.encoded[name], values)
        assert torch.equal(found.zero[name], wanted.zero[name])


def test_a_training_step_keeps_its_memory():
    table, _ = pair()
    population = Population([make_model()], table, [torch.arange(60)], [table.available])
    views = [population.view(torch.arange(i, i + 16)[None], table.available[None, i : i + 16]) for i in (0, 16)]
    places = [{n: v.data_ptr() for n, v in view.encoded.items()} for view in views]
    assert places[0] == places[1]


@pytest.mark.parametrize(
    "arguments", [("concat",), ("dwfuse", "cra_cycle"), ("pmr", "mean"), ("g_blend",), ("sum", "zero_input")], ids=str
)
def test_training_in_half_is_training_on_rounded_values_bit_by_bit(arguments):
    (found, fits), (wanted, others) = (trained(t, *arguments) for t in pair())
    assert [outcome(f) for f in fits] == [outcome(f) for f in others]
    for name, value in wanted.snapshot().items():
        assert torch.equal(found.snapshot()[name], value), name
    unrounded, _ = trained(table_of(inputs(), "float32"), *arguments)
    name = next(n for n in wanted.parameters if n.startswith("project.a"))
    assert not torch.equal(unrounded.parameters[name], found.parameters[name])


@pytest.mark.parametrize("arguments", [("concat",), ("dwfuse", "cra_cycle")], ids=str)
def test_in_half_too_a_member_is_the_same_in_other_company(arguments):
    table, _ = pair()
    crowd, alone = trained(table, *arguments, seeds=(0, 1, 2)), trained(table, *arguments, seeds=(1,))
    assert alone[1][0].history == pytest.approx(crowd[1][1].history, abs=1e-6)
    for name, value in member_state(alone[0], 0).items():
        torch.testing.assert_close(value, member_state(crowd[0], 1)[name], rtol=0, atol=1e-6)


def test_an_imputer_of_inputs_reads_and_leaves_float32():
    completed = []
    for table in pair():
        imputer = plugin("imputers", "knn")(make_model().fusion.spec)
        fitted = fit_imputer(table, imputer, torch.arange(60), table.available)
        completed.append(complete_table(table, fitted, table.available)[0])
    found, wanted = completed
    for name, values in wanted.values.items():
        assert found.values[name].dtype == torch.float32
        assert torch.equal(found.values[name], values)


# ---------------------------------------------------------------- what is refused, and what decides a result


@pytest.mark.parametrize("value", [1e5, -1e5, 65505.0])
def test_embeddings_beyond_half_are_refused_without_saying_which(value):
    large = make_rows().values["b"].numpy().copy()
    large[7, 1] = value
    with pytest.raises(ConfigError) as caught:
        table_of(inputs(b=large), "float16")
    assert str(caught.value) == (
        "training.features: float16 holds numbers up to 65504, and the embeddings of modality 'b' have larger ones; "
        "use float32"
    )
    assert table_of(inputs(b=large), "float32").values["b"][7, 1] == value


def test_the_largest_number_of_half_is_held_and_large_raw_values_are_nobodys_business():
    edge = make_rows().values["b"].numpy().copy()
    edge[7, 1] = -65504
    raw = make_rows().values["c"].numpy() + np.float32(1e5)
    table = table_of(inputs(b=edge, c=raw), "float16")
    assert table.values["b"][7, 1] == -65504
    assert torch.equal(table.values["c"], torch.from_numpy(raw))


def test_the_embedding_of_an_empty_input_is_refused_too():
    given = inputs()
    given["a"].zero_input[0] = 1e5
    with pytest.raises(ConfigError, match="modality 'a'"):
        table_of(given, "float16")


def test_only_float16_enters_the_key_of_a_result():
    def key(**training):
        return shared_key(training=training)["training"]

    assert "features" not in key() == key(features="float32")
    assert key(features="float16") == {**key(), "features": "float16"}
    assert TrainingSection().features == "float32"


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def still(tmp_path):
    path = tmp_path / "still.py"
    path.write_text(STILL, encoding="utf-8")
    return str(path)


def test_a_run_in_half_says_what_a_run_on_rounded_values_says(tmp_path, still):
    changes = {
        "encoders": {"a": "still", "b": "still", "c": "identity"},
        "imputers": ["zero_input", "knn"],
        "missingness": {"mechanism": {"name": "mar"}, "rates": [0, 0.5]},
    }
    data = toy_dataset()
    before = {n: replace(m, values=rounded(m.values)) if n in ENCODED else m for n, m in data.modalities.items()}
    in_half = {"epochs": 2, "batch_size": 32, "features": "float16"}
    found = make_run(tmp_path / "half", data, [still], **changes, training=in_half)
    wanted = make_run(tmp_path / "before", replace(data, modalities=before), [still], **changes)
    for run in (found, wanted):
        assert run.execute().failures == []
    assert {v.dtype for n, v in found.table.values.items() if n in ENCODED} == {torch.float16}
    (features,) = {np.load(p).dtype for p in (tmp_path / "half/cache/features").glob("*/features.npy")}
    assert features == np.float32
    ours, theirs = ([stored(run)[f.key] for f in run.plan.fits] for run in (found, wanted))
    assert not {f.key for f in found.plan.fits} & {f.key for f in wanted.plan.fits}
    for one, other in zip(ours, theirs, strict=True):
        assert one["logits"].keys() == other["logits"].keys()
        for label, scores in other["logits"].items():
            np.testing.assert_array_equal(one["logits"][label], scores)


def test_the_command_line_runs_it_and_refuses_other_names_with_the_line(tmp_path, still):
    encoders = dict.fromkeys("abc", "still")
    config = front.write_yaml(tmp_path / "toy.yaml", front.toy_benchmark(encoders=encoders))
    outcome = front.run_toy(config, tmp_path / "runs", "-p", still, "--set", "training.features=float16")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "runs/reports/toy/leaderboard.csv").exists()
    assert "features: float16" in (tmp_path / "runs/reports/toy/config.yaml").read_text(encoding="utf-8")

    wrong = front.toy_benchmark(encoders=encoders, training={"epochs": 2, "features": "half"})
    outcome = front.run_toy(front.write_yaml(tmp_path / "wrong.yaml", wrong), tmp_path / "runs", "-p", still)
    assert outcome.code == 2
    line = 1 + (tmp_path / "wrong.yaml").read_text(encoding="utf-8").splitlines().index("  features: half")
    assert f"wrong.yaml:{line}: training.features: must be 'float32' or 'float16', found 'half'" in outcome.err


def test_a_run_whose_embeddings_are_too_large_stops_before_training(tmp_path, still):
    data = toy_dataset()
    data.modalities["b"].values[3, 0] = 1e5
    with pytest.raises(ConfigError, match="modality 'b' have larger ones; use float32"):
        make_run(tmp_path, data, [still], encoders=dict.fromkeys("abc", "still"), training={"features": "float16"})


# ---------------------------------------------------------------- what counts as constant


def scaled(column, *, encoded=False, beside=None):
    """Scaling of one column, alone or beside another one."""
    values = np.stack([column, np.zeros_like(column) if beside is None else beside], axis=1).astype(np.float32)
    given = {n: replace(i, encoded=False) for n, i in inputs().items()}
    given["a"] = Inputs(values, None, np.ones(2, dtype=bool), np.zeros(2, dtype=np.float32), encoded=encoded)
    table = replace(table_of(given, "float32"), available=torch.ones(len(column), len(given), dtype=torch.bool))
    rows = torch.arange(len(column))
    return table.values["a"], table.scaling("a", rows, torch.ones_like(table.available))


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e-7, 1.0, 1e12, 1e30])
def test_a_column_is_standardised_alike_in_every_unit(unit):
    drawn = np.random.default_rng(0).normal(size=130)
    values, found = scaled(drawn * unit)
    wanted = (drawn - drawn.mean()) / drawn.std(ddof=1)
    np.testing.assert_allclose((values - found.mean)[:, 0] / found.scale[0], wanted, rtol=1e-4, atol=1e-5)
    assert found.scale[1] == 1


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e-30, 1e12])
def test_equal_values_are_constant_whatever_their_size(value):
    _, found = scaled(np.full(130, value))
    assert found.scale.tolist() == [1, 1]


def test_two_values_beside_each_other_are_not_equal():
    _, found = scaled(np.where(np.arange(130) % 2, np.nextafter(np.float32(1), np.float32(2)), np.float32(1)))
    assert 0 < found.scale[0] < 1e-6


def test_rounding_of_an_encoder_counts_as_constant_and_small_embeddings_do_not():
    noise = 1e-8 * np.random.default_rng(0).normal(size=130)
    assert scaled(noise, encoded=True, beside=np.linspace(0, 5, 130))[1].scale[0] == 1
    assert scaled(noise, encoded=True)[1].scale[0] == pytest.approx(noise.std(ddof=1), rel=1e-5)
    assert scaled(1e-6 * np.arange(130), encoded=True, beside=np.linspace(0, 50, 130))[1].scale[0] < 1e-4


def test_a_copy_with_other_rows_has_a_standardising_of_its_own():
    table = make_rows()
    scaling = table.scaling("a", torch.arange(60), table.available)
    assert table.standardised("a", scaling) is table.standardised("a", scaling)
    other = replace(table, values={n: v + 7 for n, v in table.values.items()})
    own = other.scaling("a", torch.arange(60), other.available)
    torch.testing.assert_close(own.mean, scaling.mean + 7)
    assert other._standardised is not table._standardised
    torch.testing.assert_close(other.standardised("a", own), table.standardised("a", scaling), rtol=0, atol=1e-5)


def test_standardised_rows_are_bounded_and_the_oldest_go_first(monkeypatch):
    rows = make_rows()
    monkeypatch.setattr("fusionbench.data.table.LARGEST_COPY", rows.values["a"].nbytes + 1)
    scalings = [rows.scaling("a", torch.arange(start, start + 50), rows.available) for start in (0, 40)]
    first = rows.standardised("a", scalings[0])
    wanted = (rows.values["a"] - scalings[0].mean) / scalings[0].scale
    assert torch.equal(first, wanted)
    rows.standardised("a", scalings[1])
    assert len(rows._standardised) == 1
    again = rows.standardised("a", scalings[0])
    assert again is not first
    assert torch.equal(again, first)
    monkeypatch.setattr("fusionbench.data.table.LARGEST_COPY", rows.values["a"].nbytes - 1)
    assert rows.standardised("a", rows.scaling("a", torch.arange(9, 50), rows.available)) is None
