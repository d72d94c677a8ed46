"""Maps of imputed embeddings: which test rows are in them, and what stands in for the true ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench.analysis.embedding_maps import map_embeddings
from fusionbench.run.mapping import map_member
from fusionbench.training import prediction
from fusionbench.training.prediction import assemble
from tests.builders import make_run

RATES = {"learning_rate": 0.01, "weight_decay": 0.01}


def prepared(folder, imputer="mean", seeds=(0, 1), **changes):
    """A run of one arm, untrained models of its first fold, and their test rows."""
    run = make_run(folder, strategies=["concat"], imputers=[imputer], splits={"folds": 2, "seeds": seeds}, **changes)
    fits = [f for f in run.plan.fits if f.fold == 0]
    population = assemble([run.rows.job(f.arm, f.fold, f.seed, f.condition, RATES, {}, f).member for f in fits])
    return run, fits, population, torch.as_tensor(run.folds[0].test.open("digest"))


def embedded(population, member, rows, present):
    """Embeddings of rows, and what the imputer makes of them, by modality."""
    with population.evaluating():
        every = rows.expand(population.size, -1)
        view = population.view(every, present[rows].expand(population.size, -1, -1))
        return {n: t[member] for n, t in population.each("embeddings", view).items()}


@pytest.mark.parametrize("member", [0, 1])
def test_each_modality_is_hidden_from_the_rows_that_have_it_and_another(tmp_path, member):
    run, fits, population, tests = prepared(tmp_path)
    # a mean imputer that was not renewed fills in zeros
    maps = map_member(population, member, fits[member], tests, run.rows)
    has = run.table.available
    true = embedded(population, member, tests, has)
    assert list(maps) == ["a", "b", "c"]
    for column, name in enumerate(maps):
        rows = [i for i, t in enumerate(tests.tolist()) if has[t, column] and has[t].sum() > 1]
        wanted = true[name][rows].numpy()
        assert maps[name].rows == len(rows) < len(tests)
        assert maps[name] == map_embeddings(wanted, np.zeros_like(wanted))


def test_models_of_other_parameters_have_other_maps(tmp_path):
    run, fits, population, tests = prepared(tmp_path)
    first, second = (map_member(population, i, fits[i], tests, run.rows) for i in range(2))
    assert first["a"].rows == second["a"].rows
    assert first["a"].explained != second["a"].explained


def test_where_nothing_is_filled_in_there_is_nothing_to_map(tmp_path):
    run, fits, population, tests = prepared(tmp_path, "zero")
    assert map_member(population, 0, fits[0], tests, run.rows) == {}


def test_too_few_rows_have_no_map(tmp_path):
    run, fits, population, tests = prepared(tmp_path)
    assert map_member(population, 0, fits[0], tests[:15], run.rows) == {}


def test_an_imputer_of_inputs_is_mapped_too_and_leaves_the_table_as_it_was(tmp_path):
    run, fits, population, tests = prepared(tmp_path, "knn")
    before = population.table
    maps = map_member(population, 0, fits[0], tests, run.rows)
    assert population.table is before
    assert list(maps) == ["a", "b", "c"]
    has = run.table.available
    for column, name in enumerate(maps):
        assert maps[name].rows == sum(bool(has[t, column]) and int(has[t].sum()) > 1 for t in tests.tolist())
        assert maps[name].error > 0
        assert maps[name].spread > 0  # neighbours differ from row to row


@pytest.mark.parametrize("imputer", ["mean", "knn"])
def test_maps_do_not_depend_on_how_many_rows_are_looked_at_together(tmp_path, imputer, monkeypatch):
    run, fits, population, tests = prepared(tmp_path, imputer)
    whole = map_member(population, 0, fits[0], tests, run.rows)
    monkeypatch.setattr("fusionbench.run.mapping.EVALUATION_ROWS", 7)
    assert prediction.EVALUATION_ROWS > len(tests) > 7
    parts = map_member(population, 0, fits[0], tests, run.rows)
    assert {n: (m.rows, m.true) for n, m in parts.items()} == {n: (m.rows, m.true) for n, m in whole.items()}
    for name in whole:
        assert parts[name].error == pytest.approx(whole[name].error, rel=1e-4)
