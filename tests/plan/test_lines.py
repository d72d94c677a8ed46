from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, Model, line_of, lines_by_row, lines_of, model_of

HALF = Condition("random", 0.5)
KEYS = [("concat", "mean", "complete@0"), ("concat", "mean", "random@0.5"), ("sum", "mean", "complete@0")]


def table(third):
    return pd.DataFrame([*KEYS, KEYS[0]], columns=["strategy", "imputer", third])


@pytest.mark.parametrize("third", ["variant", "trained_at"])
def test_a_line_finds_its_rows_whatever_a_table_calls_its_variant(third):
    frame = table(third)
    assert Line("concat", "mean", "complete@0").rows_of(frame).tolist() == [True, False, False, True]
    assert Line("concat", "mean", "all@0.5").rows_of(frame).tolist() == [False] * 4


def test_without_a_variant_it_finds_those_of_every_variant_also_in_a_table_that_has_none():
    assert Line("concat", "mean").rows_of(table("variant")).tolist() == [True, True, False, True]
    assert Line("sum", "mean").rows_of(table("variant")[["strategy", "imputer"]]).tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert Line("sum", "zero").rows_of(table("variant")).sum() == 0


def test_variant_is_read_before_trained_at():
    frame = table("trained_at").assign(variant="")
    assert lines_of(frame) == [Line("concat", "mean"), Line("sum", "mean")]


@pytest.mark.parametrize("third", ["variant", "trained_at"])
def test_lines_of_a_table_are_there_once_and_in_order(third):
    frame = table(third)
    assert lines_of(frame) == [Line(*key) for key in KEYS]
    assert lines_by_row(frame) == [Line(*key) for key in (*KEYS, KEYS[0])]
    assert line_of(frame.iloc[1]) == line_of(frame.iloc[1].to_dict()) == Line(*KEYS[1])


def test_a_line_is_a_key_and_is_sorted_like_the_tuple_that_it_is():
    assert {Line("a", "b"): 1}["a", "b", ""] == 1
    assert sorted([Line("b", "a"), Line("a", "c"), Line("a", "b")]) == [("a", "b", ""), ("a", "c", ""), ("b", "a", "")]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("test", Model(Line("Concat", "mean"), HALF)),
        ("train", Model(Line("Concat", "mean"), COMPLETE)),
        ("grid", Model(Line("Concat", "mean", "complete@0"), HALF)),
    ],
)
def test_where_predictions_stand(where, expected):
    job = SimpleNamespace(arm=SimpleNamespace(title="Concat", imputer_name="mean"), condition=COMPLETE)
    assert model_of(job, HALF, where) == expected
