"""Predictions of test rows as a table."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import fusionbench
from fusionbench.errors import ConfigError, DataError
from tests.api.toys import arrays, made


def test_every_test_row_is_there_once_for_each_model_and_condition(ran):
    results, _ = ran
    found = results.predictions("concat")
    places = ["pattern", "rate", "fold", "seed", "row"]
    assert not found.duplicated(places).any()
    complete = (
        found[found["pattern"] == "complete"] if (found["pattern"] == "complete").any() else found[found["rate"] == 0]
    )
    assert sorted(set(complete["row"])) == list(range(160))
    assert found["probability"].between(0, 1).all()
    assert found["synthetic"].all()


def test_they_give_the_scores_of_the_cells(ran):
    results, _ = ran
    found = results.predictions()
    assert (found["target"].to_numpy() == arrays()[1][found["row"]]).all()
    cells = results.cells.set_index(["strategy", "pattern", "rate", "fold", "seed"])["auroc"]
    checked = 0
    for place, rows in found.groupby(["strategy", "pattern", "rate", "fold", "seed"]):
        if place in cells.index:
            assert roc_auc_score(rows["target"], rows["probability"]) == pytest.approx(cells[place], abs=1e-9)
            checked += 1
    assert checked >= 12


def test_loaded_results_need_data_that_were_in_memory_and_refuse_others(ran):
    _, workspace = ran
    loaded = fusionbench.load(workspace)
    with pytest.raises(DataError, match="given its data in memory"):
        loaded.predictions()
    assert len(loaded.predictions("sum", dataset=made())) > 0
    values, label = arrays(seed=1)
    with pytest.raises(DataError, match="not those of the run any more"):
        loaded.predictions(dataset=fusionbench.dataset(values, label))
    with pytest.raises(ConfigError, match="no line is called 'sun'; did you mean 'sum'"):
        loaded.predictions("sun", dataset=made())


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_and_labels_have_a_column_each(tmp_path, kind):
    values, label = arrays()
    target = np.where(label, np.where(np.arange(160) % 2, "x", "y"), "z")
    if kind == "multilabel":
        target = np.stack([label, np.arange(160) % 2], axis=1)
    from tests.api.toys import BENCHMARK

    data = fusionbench.dataset(values, target, outputs=() if kind == "multiclass" else ("p", "q"))
    results = fusionbench.run({**BENCHMARK, "strategies": ["sum"]}, dataset=data, workspace=tmp_path, quiet=True)
    found = results.predictions()
    if kind == "multiclass":
        assert set(found["target"]) == {"x", "y", "z"}
        assert np.allclose(found[["probability_x", "probability_y", "probability_z"]].sum(axis=1), 1)
    else:
        assert {"target_p", "target_q", "probability_p", "probability_q"} <= set(found)
    assert not found["synthetic"].any()
