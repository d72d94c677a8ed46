"""One number for each row of a modality: its first principal component."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.missingness.summaries import first_component


def test_the_first_component_is_that_of_a_plain_decomposition():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(60, 1)) * draw.normal(size=(1, 5)) + 0.3 * draw.normal(size=(60, 5))
    available = draw.random(60) < 0.8
    found = first_component(values, available)
    seen = values[available]
    standard = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    wanted = standard @ np.linalg.svd(standard)[2][0]
    wanted /= wanted.std()
    assert min(np.abs(found[available] - s * wanted).max() for s in (1, -1)) < 1e-6
    assert (found[~available] == 0).all()
    poisoned = np.where(available[:, None], values, 1e9)
    assert np.array_equal(first_component(poisoned, available), found)
    assert np.array_equal(first_component(values, available), found)


@pytest.mark.parametrize("shape", [(30, 4, 3), (30, 1), (5, 40), (2, 3)])
def test_the_first_component_takes_any_shape(shape):
    found = first_component(np.random.default_rng(1).normal(size=shape), np.ones(shape[0], bool))
    assert found.shape == shape[:1]
    assert found.std() == pytest.approx(1)


@pytest.mark.parametrize("rows", [0, 1])
def test_the_first_component_of_hardly_any_row_is_nothing(rows):
    available = np.arange(6) < rows
    assert (first_component(np.ones((6, 3)), available) == 0).all()


def test_a_column_that_never_varies_is_left_out():
    values = np.random.default_rng(2).normal(size=(20, 3))
    padded = np.concatenate([values, np.full((20, 1), 0.1)], axis=1)
    assert np.allclose(first_component(padded, np.ones(20, bool)), first_component(values, np.ones(20, bool)))
    assert (first_component(np.full((20, 2), 0.1), np.ones(20, bool)) == 0).all()


def test_the_component_is_fitted_on_training_rows_and_applied_to_the_others():
    draw = np.random.default_rng(4)
    values, available, train = draw.normal(2, 3, (60, 5)), draw.random(60) < 0.8, np.arange(40)
    found = first_component(values, available, train)
    alone = first_component(values[:40], available[:40])
    assert np.allclose(found[:40], alone)
    assert found[:40][available[:40]].std() == pytest.approx(1)
    assert (found[~available] == 0).all()
    copies = values.copy()
    copies[40:] = values[:20]  # a row that looks like a training row is given its number
    both = available[:20] & available[40:]
    assert both.any()
    assert np.allclose(first_component(copies, available, train)[40:][both], found[:20][both])
    wild = values.copy()
    wild[40:] *= 50
    assert np.array_equal(first_component(wild, available, train)[:40], found[:40])
