"""Data in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fusionbench
from fusionbench.errors import DataError
from fusionbench.targets import TargetKind
from tests.api.toys import arrays


def test_kinds_follow_from_the_arrays():
    label = np.array([0, 1] * 10)
    draw = np.random.default_rng(0)
    found = fusionbench.dataset(
        {
            "table": pd.DataFrame(draw.normal(size=(20, 2)), columns=["x", "y"]),
            "number": draw.normal(size=20),
            "series": draw.normal(size=(20, 5, 3)),
            "ragged": [None if i == 0 else draw.normal(size=(i % 4 + 1, 2)) for i in range(20)],
            "image": draw.integers(0, 255, (20, 4, 4)).astype(np.uint8),
            "text": ["", *["words"] * 19],
        },
        label,
    )
    assert {n: m.kind for n, m in found.modalities.items()} == {
        "table": "vector",
        "number": "vector",
        "series": "series",
        "ragged": "series",
        "image": "image",
        "text": "text",
    }
    assert found.modalities["table"].columns == ("x", "y")
    assert found.modalities["ragged"].lengths[:5].tolist() == [1, 2, 3, 4, 1]
    assert found.available.all(axis=0).tolist() == [True, True, True, False, True, False]
    assert (found.kind, found.metric, found.synthetic) == (TargetKind.BINARY, "auroc", False)
    assert len(set(found.groups)) == 20


def test_rows_of_nan_are_absent_and_hold_nothing():
    values, label = arrays()
    found = fusionbench.dataset(values, label, ["p", "q"] * 80)
    assert found.available[:, 1].tolist() == [i % 5 != 0 for i in range(160)]
    assert np.isfinite(found.modalities["b"].values).all()
    assert found.groups.tolist() == [0, 1] * 80
    told = fusionbench.dataset(values, label, present={"a": [i % 2 == 0 or i % 5 == 0 for i in range(160)]})
    assert told.available[:2, 0].tolist() == [True, False]


@pytest.mark.parametrize(
    ("target", "kind", "outputs"),
    [
        ([True, False] * 10, TargetKind.BINARY, ("target",)),
        ([0.0, 1.0] * 10, TargetKind.BINARY, ("target",)),
        ([1, 2] * 10, TargetKind.MULTICLASS, ("1", "2")),
        (["b", "a"] * 10, TargetKind.MULTICLASS, ("a", "b")),
        (np.array([[0, 1], [1, 1]] * 10), TargetKind.MULTILABEL, ("label 1", "label 2")),
        (pd.DataFrame({"p": [0, 1] * 10, "q": [1, 1] * 10}), TargetKind.MULTILABEL, ("p", "q")),
    ],
)
def test_the_kind_of_the_target_follows_from_its_values(target, kind, outputs):
    found = fusionbench.dataset({"a": np.arange(20.0)}, target)
    assert (found.kind, found.outputs) == (kind, outputs)


@pytest.mark.parametrize(
    ("arrays", "target", "more", "says"),
    [
        ({}, [0, 1], {}, "no modality"),
        ({"a": np.ones((3, 2))}, [0, 1], {}, "'a' has 3 rows, and the target has 2"),
        ({"a": [[1.0, np.nan], [1.0, 2.0]]}, [0, 1], {}, "single values that are missing or infinite in 1 of 2 rows"),
        ({"a": [object(), object()]}, [0, 1], {}, "what are no numbers"),
        ({"a": np.ones((2, 2, 2, 2))}, [0, 1], {}, r"has the shape \[2, 2, 2, 2\]"),
        ({"a": ["x", 3]}, [0, 1], {}, "holds texts, and 1 entries of int"),
        ({"a": [np.ones((2, 2)), np.ones((2, 3))]}, [0, 1], {}, "need one number of channels"),
        ({"a": [np.nan, 1.0]}, [0, 1], {}, "1 of 2 rows have no modality at all"),
        ({"a": [1.0, 2.0]}, [1, 1], {}, "one value in all 2 rows"),
        ({"a": [1.0, 2.0]}, [0.5, 1], {}, "holds fractions"),
        ({"a": [1.0, 2.0]}, [3, 1], {"kind": "binary"}, "accepted: 0 and 1 for kind='binary'"),
        ({"a": [1.0, 2.0]}, [0, 1], {"kind": "ordinal"}, "kind: 'ordinal'; accepted: binary"),
        ({"a": [1.0, 2.0]}, [0, 1], {"groups": [1]}, "groups: 1 entries, and the target has 2 rows"),
        (
            {"a": [1.0, 2.0]},
            [0, 1],
            {"split": ["train", "exam"]},
            "split: holds exam; accepted: train, validation, test",
        ),
        ({"a": [1.0, 2.0]}, [0, 1], {"present": {"z": [True, True]}}, "present: no modality named 'z'"),
        ({"a": [1.0, 2.0]}, ["x", "y"], {"outputs": ["x"]}, "outputs: 1 names, and the target has 2 classes"),
        ({"a": [1.0, 2.0]}, [[0, 2], [1, 1]], {}, "several labels, each 0 or 1"),
    ],
)
def test_what_is_wrong_is_said_with_counts(arrays, target, more, says):
    with pytest.raises(DataError, match=says):
        fusionbench.dataset(arrays, target, **more)


def test_the_digest_is_of_everything_that_decides_results():
    values, label = arrays()

    def digest(**changes):
        return fusionbench.dataset(**{"arrays": values, "target": label, **changes}).digest

    assert digest() == digest()
    others = [
        digest(groups=np.arange(160) // 2),
        digest(target=1 - label),
        digest(arrays={**values, "a": values["a"] + 1e-6}),
        digest(arrays={"b": values["b"], "a": values["a"]}),
        digest(split=["train"] * 100 + ["test"] * 60),
        digest(metric="auprc"),
    ]
    assert len({digest(), *others}) == len(others) + 1
