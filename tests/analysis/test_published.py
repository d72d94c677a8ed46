"""Files of published values: read strictly, with every problem and its line; and what of a run they are about."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fusionbench import Paper
from fusionbench.analysis.published import COLUMNS, differences_of, read_values, values_beside
from fusionbench.errors import DataError

GOOD = {
    "paper": "P",
    "table": "table 1",
    "row": "r",
    "column": "c",
    "task": "toy",
    "modalities": "a+b",
    "strategy": "concat",
    "regularisers": "",
    "imputer": "zero",
    "label": "",
    "pattern": "",
    "rate": "0",
    "measure": "score",
    "metric": "auroc",
    "value": ".8",
    "obtained": "printed",
    "hand": "first",
}


@pytest.fixture
def write(tmp_path):
    def write(*rows, header=COLUMNS):
        path = tmp_path / "values.csv"
        pd.DataFrame([{**GOOD, **row} for row in rows], columns=list(COLUMNS)).to_csv(path, index=False)
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([",".join(header), *lines[1:]]) + "\n", encoding="utf-8")
        return path

    return write


def test_values_are_read(write):
    (value,) = read_values(write({"value": "-.017", "measure": "drop", "rate": ".9"}))
    assert (value.value, value.measure, value.rate, value.modalities) == (-0.017, "drop", 0.9, "a+b")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"value": "n/a"}, "values.csv:2: value: "),
        ({"value": "nan"}, "values.csv:2: value: "),
        ({"rate": "1"}, "values.csv:2: rate: "),
        ({"hand": "third"}, "values.csv:2: hand: "),
        ({"measure": "loss"}, "values.csv:2: measure: "),
        ({"paper": ""}, "values.csv:2: paper: "),
        ({"row": "x" * 400}, "values.csv:2: row: "),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(write, row, words):
    with pytest.raises(DataError, match=words):
        read_values(write(row))


def test_all_problems_are_said_at_once_and_many_are_counted(write):
    with pytest.raises(DataError) as caught:
        read_values(write(*[{"value": "x", "row": str(i)} for i in range(9)]))
    assert str(caught.value).count("value: ") == 5
    assert "and 4 more" in str(caught.value)


def test_a_number_that_is_given_twice_is_refused(write):
    with pytest.raises(DataError, match=r"table 1, r, c, toy, auroc.*given twice"):
        read_values(write({}, {"value": ".9"}))


def test_columns_are_all_there_and_no_others(write):
    with pytest.raises(DataError, match="missing: value; unknown: worth"):
        read_values(write({}, header=[c.replace("value", "worth") for c in COLUMNS]))
    path = write({})
    path.write_text(path.read_text(encoding="utf-8") + "P,short\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"values.csv:3: 2 cells, the header has 17"):
        read_values(path)
    path.write_bytes("ü".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        read_values(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_values(path.with_name("nowhere.csv"))


# ---------------------------------------------------------------- whom they are about


def arm(strategy="concat", title="", modalities=None, regularisers=(), imputer="zero", corruption=None, **options):
    names = modalities
    return SimpleNamespace(
        title=title or strategy,
        labelled=bool(title),
        imputer_name=imputer,
        corruption=corruption,
        regularisers=[SimpleNamespace(registration=SimpleNamespace(name=r), options={}) for r in regularisers],
        strategy=SimpleNamespace(registration=SimpleNamespace(name=strategy), options=options),
        seen=lambda every: [n for n in every if names is None or n in names],
    )


ARMS = {
    "a only": arm("unimodal", "a only", modality="a"),
    "b only": arm("unimodal", "b only", modality="b"),
    "concat": arm(),
    "pair": arm(title="pair", modalities=("a", "b")),
    "wide": arm(title="wide", modalities=("a", "b"), hidden=8),
    "hiding": arm(title="hiding", modalities=("a", "b"), corruption="uniform"),
    "omni": arm("dwfuse", "omni", regularisers=("tla",), imputer="cra"),
}
HEIGHTS = {"a only": 0.7, "b only": 0.75, "concat": 0.8, "pair": 0.72, "wide": 0.9, "hiding": 0.95, "omni": 0.85}


@pytest.fixture
def beside(write):
    """What stands beside published values in a run of these arms: table in, ours out."""

    def beside(*rows, arms=tuple(ARMS), compared=(), also=()):
        paper = type("P", (Paper,), {"published": write(*rows), "title": "P"})()
        benchmark = SimpleNamespace(task=SimpleNamespace(name="toy"), model_dump=lambda mode: {})
        dataset = SimpleNamespace(metric="auroc", modalities=dict.fromkeys("abc"), synthetic=False)
        plan = SimpleNamespace(papers=[paper], benchmark=benchmark, dataset=dataset, arms=[ARMS[name] for name in arms])
        curves = pd.DataFrame(
            [
                (
                    ARMS[n].title,
                    ARMS[n].imputer_name,
                    "",
                    "random",
                    rate,
                    HEIGHTS[n] - rate / 10,
                    HEIGHTS[n] - 0.2,
                    0.99,
                )
                for n in arms
                for rate in (0, 0.5)
            ],
            columns=["strategy", "imputer", "variant", "pattern", "rate", "auroc", "auroc_low", "auroc_high"],
        ).assign(achieved=lambda t: t["rate"] * 0.9, **dict.fromkeys(also, 0.4))
        columns = ["strategy", "imputer", "trained_at", "other_strategy", "other_imputer", "other_trained_at"]
        columns += ["difference", "low", "high", "p", "p_adjusted", "p_these_models"]
        tables = SimpleNamespace(curves=curves, comparisons=pd.DataFrame(compared, columns=columns))
        found, problems = values_beside(plan, tables)
        assert problems == []
        return found

    return beside


def test_the_line_is_told_by_its_parts_and_not_by_more(beside):
    found = beside(
        {"row": "1"},
        {"row": "2", "modalities": "a+b+c"},
        {"row": "3", "modalities": "a+b+c", "strategy": "dwfuse", "regularisers": "tla", "imputer": "cra"},
        {"row": "4", "modalities": "a+b+c", "strategy": "dwfuse", "regularisers": "", "imputer": "cra"},
        {"row": "5", "modalities": "a+b+c", "imputer": "mean"},
        {"row": "6", "label": "wide"},
        {"row": "7", "modalities": "a", "strategy": "unimodal"},
        {"row": "8", "modalities": "a+d"},
        {"row": "9", "task": "other"},
        {"row": "10", "metric": "auprc"},
    ).set_index("row")
    assert {k: v if isinstance(v, str) else "" for k, v in found["strategy"].items()} == {
        "1": "pair",  # neither the one with options nor the one that hides
        "2": "concat",
        "3": "omni",
        "4": "",
        "5": "",
        "6": "wide",
        "7": "a only",
    }
    assert found.loc["1", ["ours", "ours_low", "ours_high"]].tolist() == pytest.approx([0.72, 0.52, 0.99])
    assert found.loc["1", "difference"] == pytest.approx(-0.08)
    assert found.loc["4", ["ours", "difference"]].isna().all()


def test_a_value_in_another_metric_that_the_curves_have_stands_beside_it(beside):
    found = beside({"row": "1", "metric": "auprc", "value": ".5"}, {"row": "2", "metric": "ece"}, also=["auprc"])
    assert found["row"].tolist() == ["1"]
    assert found[["ours", "difference"]].iloc[0].tolist() == pytest.approx([0.4, -0.1])


def test_a_value_at_a_rate_is_about_that_point(beside):
    found = beside({"row": "1", "pattern": "random", "rate": ".5"}, {"row": "2", "pattern": "random", "rate": ".4"})
    assert found["ours"].tolist() == pytest.approx([0.67, float("nan")], nan_ok=True)


def test_the_best_single_modality_and_the_drop(beside):
    pair, single = ("pair", "zero", ""), ("b only", "zero", "")
    rows = [{"row": "1", "measure": "best single", "strategy": ""}, {"row": "2", "measure": "drop", "value": "-.01"}]
    for compared in ((*pair, *single, -0.03, -0.05, -0.01), (*single, *pair, 0.03, 0.01, 0.05)):
        found = beside(*rows, compared=[(*compared, 0.1, 0.1, 0.1)])
        assert found.loc[0, ["strategy", "ours"]].tolist() == ["b only", 0.75]
        assert found.loc[1, ["ours", "ours_low", "ours_high"]].tolist() == pytest.approx([-0.03, -0.05, -0.01])
        assert found.loc[1, "difference"] == pytest.approx(-0.02)


def test_a_drop_has_no_interval_of_another_point(beside):
    other = ("pair", "zero", "", "b only", "zero", "", -0.04, -0.05, -0.01, 0.1, 0.1, 0.1)  # of an area, say
    found = beside({"measure": "drop"}, compared=[other])
    assert found["ours"].tolist() == pytest.approx([-0.03])
    assert found[["ours_low", "ours_high"]].isna().all().all()


def test_without_every_modality_alone_nobody_knows_the_best(beside):
    found = beside({"row": "1", "measure": "best single"}, {"row": "2", "measure": "drop"}, arms=("a only", "pair"))
    assert found["ours"].isna().all()


def test_a_faulty_file_costs_its_own_values(beside, write, tmp_path):
    good = beside({})
    path = write({"value": "x"})
    paper = type("Q", (Paper,), {"published": path, "title": "Q"})()
    plan = SimpleNamespace(papers=[paper])
    found, problems = values_beside(plan, None)
    assert (len(found), list(found.columns)) == (0, list(good.columns))
    assert problems[0].startswith("Published values of Q are left out: ")


def test_what_differs_from_the_protocol_is_said_key_by_key():
    document = {"splits": {"folds": 3}, "encoders": {"cxr": {"model": "resnet34"}}, "task": {"name": "toy"}}
    benchmark = SimpleNamespace(task=SimpleNamespace(name="toy"), model_dump=lambda mode: document)
    wanted = {"splits.folds": 5, "encoders.cxr.model": "resnet34", "task.levels": True, "encoders.cxr.frozen": False}
    paper = type("P", (Paper,), {"protocol": {"toy": wanted, "other": {"splits.folds": 9}}})()
    assert differences_of(paper, SimpleNamespace(benchmark=benchmark)) == [
        "splits.folds: 3, the paper 5",
        "task.levels: nothing, the paper true",
        "encoders.cxr.frozen: nothing, the paper false",
    ]
