"""One trained model, used."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

import fusionbench
from fusionbench.errors import ConfigError, DataError
from tests.api.toys import Plain, arrays, made

SMALL = {"model": {"width": 4}, "training": {"epochs": 4}}


@pytest.fixture(scope="module")
def model():
    return fusionbench.fit(
        "concat", made(), quiet=True, model={"width": 8}, training={"epochs": 60, "learning_rate": 0.01}
    )


def test_it_predicts_new_rows_with_what_they_have(model):
    values, label = arrays(seed=1)
    found = model.predict_proba(values)
    assert found.shape == (160, 1)
    assert roc_auc_score(label, found[:, 0]) > 0.7
    fewer = model.predict_proba({"a": values["a"]})
    told = model.predict_proba(values, present={"b": np.zeros(160, dtype=bool)})
    np.testing.assert_array_equal(fewer, told)
    assert (fewer != found).any()
    rows = [model.predict_proba({n: v[i : i + 1] for n, v in values.items()})[0, 0] for i in range(5)]
    np.testing.assert_allclose(rows, found[:5, 0], atol=1e-6)


def test_a_row_that_shows_nothing_gets_the_prevalence(model):
    values, _ = arrays(seed=1)
    nothing = model.predict_proba({"a": values["a"] * np.nan})
    assert len(np.unique(nothing)) == 1
    assert 0.3 < nothing[0, 0] < 0.7
    assert model.predict(values).columns.tolist() == ["target"]


def test_absent_values_are_not_read(model):
    values, _ = arrays(seed=1)
    other = {**values, "b": np.where(np.isnan(values["b"]), 1e9, values["b"])}
    there = ~np.isnan(values["b"]).any(axis=1)
    np.testing.assert_array_equal(model.predict_proba(values), model.predict_proba(other, present={"b": there}))


@pytest.mark.parametrize("strategy", ["concat", "medfuse", "logistic_regression", "gradient_boosting", Plain])
def test_saved_and_loaded_it_predicts_the_same_bits(tmp_path, strategy):
    values, _ = arrays(seed=1)
    trained = fusionbench.fit(strategy, made(), quiet=True, **SMALL)
    path = trained.save(tmp_path / "m.safetensors")
    classes = [strategy] if isinstance(strategy, type) else []
    loaded = fusionbench.Model.load(path, strategies=classes)
    np.testing.assert_array_equal(loaded.predict_proba(values), trained.predict_proba(values))
    assert (loaded.outputs, loaded.modalities) == (trained.outputs, trained.modalities)
    assert loaded.validation_score == trained.validation_score


def test_a_saved_model_says_what_it_is_and_holds_no_row(tmp_path, model):
    path = model.save(tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["fusionbench"])
        shapes = {name: list(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118
    assert said["synthetic"] is True
    assert said["benchmark"]["strategies"][0]["name"] == "concat"
    assert not any(160 in shape or said["rows"] in shape for shape in shapes.values())


def test_an_imputer_that_keeps_rows_predicts_and_is_not_saved(tmp_path):
    values, _ = arrays(seed=1)
    trained = fusionbench.fit("concat", made(), imputer="knn", quiet=True, **SMALL)
    assert np.isfinite(trained.predict_proba({"a": values["a"]})).all()
    with pytest.raises(ConfigError, match="keeps rows of the training data"):
        trained.save(tmp_path / "m")


def test_every_kind_of_input_and_of_target_is_read(tmp_path):
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3, 150)
    values = {
        "v": draw.normal(size=(150, 2)) + label[:, None],
        "s": [draw.normal(size=(3 + i % 3, 2)) for i in range(150)],
        "i": (draw.random((150, 16, 16)) * 50 + 60 * label[:, None, None]).astype(np.uint8),
        "t": [f"word{k} other" for k in label],
    }
    trained = fusionbench.fit("sum", fusionbench.dataset(values, label), quiet=True, **SMALL)
    found = trained.predict_proba(values)
    assert found.shape == (150, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    loaded = fusionbench.Model.load(trained.save(tmp_path / "m.safetensors"))
    np.testing.assert_allclose(
        loaded.predict_proba(values), found, atol=1e-6
    )  # a recurrent layer rounds as it is packed
    longer = {**values, "s": [draw.normal(size=(9, 2)) for _ in range(150)]}
    assert loaded.predict_proba(longer).shape == (150, 3)


def test_columns_are_matched_by_name(tmp_path):
    import pandas as pd

    values, label = arrays()
    named = pd.DataFrame(values["a"], columns=["x", "y", "z"])
    trained = fusionbench.fit("concat", fusionbench.dataset({"a": named}, label), quiet=True, **SMALL)
    np.testing.assert_array_equal(
        trained.predict_proba({"a": named}), trained.predict_proba({"a": named[["z", "x", "y"]]})
    )
    with pytest.raises(DataError, match="other columns than in training; it lacks z"):
        trained.predict_proba({"a": named.rename(columns={"z": "q"})})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"c": [1.0]}, "the model reads a, b; found c"),
        ({"a": np.ones((2, 4))}, r"has the shape \[4\] a row; the model was trained on \[3\]"),
        ({"a": ["x", "y"]}, "'a' is vector for this model, found text"),
        ({"a": np.ones((2, 3)), "b": np.ones((3, 2))}, "same number of rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(model, given, says):
    with pytest.raises(DataError, match=says):
        model.predict_proba(given)


def test_a_file_that_is_no_model_is_refused(tmp_path, model):
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(DataError, match="no model of fusionbench, or damaged"):
        fusionbench.Model.load(tmp_path / "x")
    with pytest.raises(DataError, match="no model of fusionbench"):
        fusionbench.Model.load(tmp_path / "none")


def test_what_cannot_be_trained_is_said():
    with pytest.raises(ConfigError, match="no fusion strategy named 'conct'; did you mean 'concat'"):
        fusionbench.fit("conct", made(), quiet=True)
    with pytest.raises(ConfigError, match="a data set expected"):
        fusionbench.fit("concat", {"a": [1]}, quiet=True)
