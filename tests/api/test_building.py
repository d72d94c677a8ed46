"""The parts of a model that is used."""

from __future__ import annotations

import numpy as np

import fusionbench
from tests.api.toys import made


def test_the_split_of_the_data_is_kept_and_test_rows_are_left_out():
    split = ["train"] * 100 + ["validation"] * 30 + ["test"] * 30
    data = made(split=split)
    settings = {"model": {"width": 4}, "training": {"epochs": 1}, "quiet": True}
    model = fusionbench.fit("concat", data, splits={"source": "task"}, **settings)
    development = model._built.development
    assert development.train.tolist() == list(range(100))
    assert development.validation.tolist() == list(range(100, 130))
    every = fusionbench.fit("concat", data, **settings)._built.development
    assert sorted(np.concatenate([every.train, every.validation])) == list(range(160))


def test_patients_stay_together():
    model = fusionbench.fit("concat", made(), quiet=True, model={"width": 4}, training={"epochs": 1})
    development = model._built.development
    assert not set(development.train // 2) & set(development.validation // 2)


def test_the_same_seed_gives_the_same_model_and_another_one_another():
    settings = {"model": {"width": 4}, "training": {"epochs": 2}, "quiet": True}
    values = {n: m.values for n, m in made().modalities.items()}
    first, again, other = (
        fusionbench.fit("concat", made(), seed=s, **settings).predict_proba(values) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
