"""Maps of imputed embeddings: what is counted, what is never shown, and that a run makes, keeps and renews them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from fusionbench.analysis.embedding_maps import (
    FEWEST,
    LEAST_ROWS,
    REACH,
    map_embeddings,
    map_tables,
    maps_as_json,
    maps_from_json,
)
from tests.builders import make_run, run_toy, stored, toy_dataset

LINES = [{"name": "concat", "imputers": ["zero", "mean", "knn", "cra"]}, {"name": "unimodal", "modality": "a"}]


def cloud(rows: int = 400, width: int = 6, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(rows, width)) * np.arange(width, 0, -1) + 3


# --------------------------------------------------------------------------------------------
# the numbers


def test_cells_are_those_of_a_plain_count_along_the_two_principal_components():
    true = cloud()
    found = map_embeddings(true, true)
    assert found is not None
    centred = true - true.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(centred.T, bias=True))
    width = 2 * REACH / len(found.true)
    counted = np.zeros((len(found.true),) * 2, dtype=int)
    for row in centred:
        at = [row @ vectors[:, -i] * _sign(vectors[:, -i]) / np.sqrt(values[-i]) for i in (1, 2)]
        if max(map(abs, at)) < REACH:
            counted[int((at[0] + REACH) / width), int((at[1] + REACH) / width)] += 1
    assert (np.where(counted < FEWEST, 0, counted) == np.array(found.true)).all()
    assert found.explained == pytest.approx(values[-2:].sum() / values.sum())


def _sign(vector: np.ndarray) -> float:
    return float(np.sign(vector[np.abs(vector).argmax()]))


def test_no_cell_shows_fewer_than_five_rows_and_all_rows_are_accounted_for():
    found = map_embeddings(cloud(), cloud(seed=1))
    assert found is not None
    for counts, hidden in ((found.true, found.hidden_true), (found.filled, found.hidden_filled)):
        flat = np.array(counts).ravel()
        assert flat[flat > 0].min() >= FEWEST
        assert flat.sum() + hidden == found.rows == 400
        assert hidden > 0


def test_a_row_that_lies_apart_changes_no_cell_but_the_count_of_what_is_not_shown():
    true = cloud(60, 2)
    far = np.vstack([true[:-1], [[60.0, -40.0]]])
    assert np.abs((far - far.mean(axis=0)) / far.std(axis=0)).max() > REACH
    found = map_embeddings(far, far)
    assert found is not None
    assert found.hidden_true >= 1
    assert np.array(found.true).sum() <= 59


def test_what_is_imagined_perfectly_lies_where_the_true_ones_do():
    found = map_embeddings(cloud(), cloud())
    assert found is not None
    assert (found.error, found.distance, found.spread) == (0, 0, pytest.approx(1))
    assert found.true == found.filled


def test_the_mean_in_every_row_is_one_cell_without_spread_and_with_error_one():
    true = cloud()
    found = map_embeddings(true, np.broadcast_to(true.mean(axis=0), true.shape))
    assert found is not None
    assert found.error == pytest.approx(1)
    assert found.spread == pytest.approx(0, abs=1e-9)
    assert found.distance == pytest.approx(0, abs=1e-9)
    assert np.count_nonzero(found.filled) == 1
    assert np.max(found.filled) == 400


def test_what_is_shifted_by_one_spread_is_one_spread_away():
    true = cloud()
    spread = np.sqrt(((true - true.mean(axis=0)) ** 2).sum(axis=1).mean())
    found = map_embeddings(true, true + spread * np.eye(6)[2])
    assert found is not None
    assert (found.distance, found.error, found.spread) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_embeddings_of_one_number_have_a_map_of_one_component():
    found = map_embeddings(cloud(100, 1), cloud(100, 1))
    assert found is not None
    assert found.explained == pytest.approx(1)
    assert np.count_nonzero(np.array(found.true).sum(axis=0)) == 1


@pytest.mark.parametrize("wrong", ["few", "alike", "not finite", "filled with nothing finite"])
def test_there_is_no_map_of_what_cannot_be_mapped(wrong):
    true = cloud(LEAST_ROWS - 1 if wrong == "few" else 100)
    if wrong == "alike":
        true[:] = 0.1
    filled = np.full_like(true, np.inf) if wrong == "filled with nothing finite" else true.copy()
    if wrong == "not finite":
        true[3, 0] = np.nan
    assert map_embeddings(true, filled) is None


@pytest.mark.parametrize(("rows", "cells"), [(20, 6), (400, 10), (100_000, 16)])
def test_the_grid_is_coarser_where_there_are_fewer_rows(rows, cells):
    found = map_embeddings(cloud(rows, 3), cloud(rows, 3))
    assert found is not None
    assert np.array(found.true).shape == (cells, cells)


def test_maps_survive_being_written_and_another_format_counts_as_absent():
    found = map_embeddings(cloud(), cloud(seed=1))
    assert found is not None
    content = json.loads(json.dumps(maps_as_json({"a": found})))
    again = maps_from_json(content)
    assert again is not None
    assert asdict(again["a"]) == asdict(found)
    assert maps_from_json({**content, "format": 0}) is None
    assert maps_from_json(None) is None


# --------------------------------------------------------------------------------------------
# of a run


def with_maps(**more):
    training = {"epochs": 2, "batch_size": 32, "traces": True}
    return {"strategies": LINES, "training": training, "tuning": {"trials": 0}, **more}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    return (folder, *run_toy(folder, toy_dataset(rows=300), **with_maps()))


def test_one_model_of_each_arm_is_mapped_and_only_what_is_filled_in(mapped):
    folder, run, summary = mapped
    assert len(list((folder / "results" / "maps").glob("*.json"))) == len(run.plan.arms) == 5
    assert {(f.fold, f.seed) for f in run.plan.fits if f.key in run.plan.mapped} == {(0, 0)}
    numbers = summary.maps.numbers
    found = numbers.groupby(["strategy", "imputer"], sort=False)["modality"].agg(list).to_dict()
    assert found == {("concat", i): ["a", "b", "c"] for i in ("mean", "knn", "cra")}
    assert (numbers["spread"] < 1e-6).tolist() == [True] * 3 + [False] * 6
    assert np.isfinite(numbers.select_dtypes("number").to_numpy()).all()


def test_the_mapped_rows_are_test_rows_that_have_the_modality_and_another(mapped):
    _, run, summary = mapped
    available = run.dataset.available[run.folds[0].test.open("digest")]
    for _, line in summary.maps.numbers.iterrows():
        column = list(run.dataset.modalities).index(line["modality"])
        others = np.delete(available, column, axis=1).any(axis=1)
        assert line["rows"] == (available[:, column] & others).sum()


def test_tables_of_cells_hold_what_the_maps_show(mapped):
    _, _, summary = mapped
    numbers, cells = summary.maps
    assert cells["rows"].min() >= FEWEST
    shown = cells.groupby(["imputer", "modality", "which"])["rows"].sum()
    for _, line in numbers.iterrows():
        for which, hidden in (("true", "hidden_true"), ("imputed", "hidden_filled")):
            assert shown.get((line["imputer"], line["modality"], which), 0) == line["rows"] - line[hidden]


def test_maps_change_no_result_and_are_not_made_without_traces(mapped, tmp_path):
    _, run, _ = mapped
    training = {"epochs": 2, "batch_size": 32}
    plain, summary = run_toy(tmp_path, toy_dataset(rows=300), **with_maps(training=training))
    assert not (tmp_path / "results" / "maps").exists()
    assert len(summary.maps.numbers) == 0
    mine, theirs = stored(plain), stored(run)
    assert list(mine) == list(theirs)
    for key in mine:
        for label, values in mine[key]["logits"].items():
            assert (values == theirs[key]["logits"][label]).all()


def test_a_map_that_is_gone_or_damaged_is_made_again_without_training(mapped):
    folder, _, summary = mapped
    first, second = sorted((folder / "results" / "maps").glob("*.json"))[:2]
    first.unlink()
    second.write_text("{", encoding="utf-8")
    again = make_run(folder, toy_dataset(rows=300), **with_maps())
    assert (
        {f.key for f in again.plan.todo}
        == {first.stem, second.stem}
        == {f.key for f in again.plan.todo} & again.plan.kept
    )
    renewed = again.execute()
    assert renewed.trained == 0
    for before, after in zip(summary.maps, renewed.maps, strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert make_run(folder, toy_dataset(rows=300), **with_maps()).plan.todo == []


def test_starting_afresh_removes_the_maps(tmp_path):
    run, _ = run_toy(tmp_path, **with_maps(strategies=[{"name": "concat", "imputers": ["mean"]}]))
    assert len(list((tmp_path / "results" / "maps").iterdir())) == 1
    run.forget()
    assert list((tmp_path / "results" / "maps").iterdir()) == []


@pytest.mark.parametrize("where", ["train", "both"])
def test_models_trained_with_missing_modalities_are_mapped_at_their_first_condition(tmp_path, where):
    run, summary = run_toy(
        tmp_path,
        toy_dataset(rows=300),
        **with_maps(
            strategies=[{"name": "concat", "imputers": ["learned", "knn"]}],
            missingness={"patterns": ["random"], "rates": [0.2, 0.5], "where": where},
        ),
    )
    assert {str(f.condition.rate) for f in run.plan.fits if f.key in run.plan.mapped} == {"0.2"}
    assert set(summary.maps.numbers["imputer"]) == {"learned", "knn"}


def test_no_fits_leave_empty_tables_with_their_columns():
    numbers, cells = map_tables([])
    assert {"strategy", "imputer", "modality", "error"} <= set(numbers.columns)
    assert {"which", "first", "second", "width", "rows"} <= set(cells.columns)
