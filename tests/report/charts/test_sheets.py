"""Pictures of a run that are files of their own."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from fusionbench.config.sections import CEILING
from fusionbench.report.charts.drawing import COLOURS
from fusionbench.report.charts.sheets import MOST_BANDS, draw_curves, draw_traces
from tests.builders import run_toy

RIBBON = "A MARK OF THE TESTS"


def curves(names, patterns=("random",)):
    """Two points for each line and pattern."""
    rows = [(n, "zero", "", p, r, 0.9 - r / 2) for n in names for p in patterns for r in (0.0, 0.5)]
    table = pd.DataFrame(rows, columns=["strategy", "imputer", "variant", "pattern", "rate", "auroc"])
    return table.assign(auroc_low=table["auroc"] - 0.1, auroc_high=table["auroc"] + 0.1)


def summary_of(names, patterns=("random",), traces=None):
    """As much of a summary as the pictures look at."""
    board = pd.DataFrame({"strategy": names, "imputer": "zero", "area": 0.8, "area_low": 0.7, "area_high": 0.8})
    benchmark = SimpleNamespace(name="drawn")
    plan = SimpleNamespace(
        dataset=SimpleNamespace(metric="auroc", modalities={"a": 0, "b": 0}), benchmark=benchmark, ribbons=(RIBBON,)
    )
    return SimpleNamespace(
        plan=plan,
        tables=SimpleNamespace(curves=curves(names, patterns), leaderboard=board, differences=pd.DataFrame()),
        traces=traces,
    )


def drawn(draw, summary, path):
    draw(summary, [path])
    return path.read_text(encoding="utf-8")


def test_labels_of_any_kind_are_drawn(tmp_path):
    strategies = [
        {"name": "sum", "label": "_x"},
        {"name": "sum", "label": "$_$ {a}"},
        {"name": "concat", "label": "a<b>&c"},
    ]
    missingness = {"patterns": ["random", "a", "b", "b+c"], "rates": [0, 0.5]}
    _, summary = run_toy(tmp_path, strategies=strategies, missingness=missingness)
    draw_curves(summary, [tmp_path / "x.png", tmp_path / "x.svg"])
    with Image.open(io.BytesIO((tmp_path / "x.png").read_bytes())) as picture:
        picture.verify()
    drawing = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert drawing.count("missing: ") == 4


def test_equal_summaries_give_equal_bytes(tmp_path):
    one, other = (drawn(draw_curves, summary_of(["sum"]), tmp_path / f"{i}.svg") for i in "ab")
    assert one == other
    assert RIBBON in one
    assert "drawn: AUROC as modalities go missing" in one


def test_every_line_has_its_colour_and_the_ceiling_is_dotted_and_not_one_of_them(tmp_path):
    names = ["one", "two"]
    text = drawn(draw_curves, summary_of([*names, CEILING]), tmp_path / "x.svg").lower()
    assert [c.lower() in text for c in COLOURS[:3]] == [True, True, False]
    assert "<!-- ceiling -->" in text


@pytest.mark.parametrize(("lines", "bands"), [(2, 2), (MOST_BANDS + 1, 0)])
def test_many_intervals_would_hide_each_other_and_are_left_out(tmp_path, lines, bands):
    text = drawn(draw_curves, summary_of([f"s{i}" for i in range(lines)]), tmp_path / "x.svg")
    assert text.count('id="FillBetweenPolyCollection') + text.count('id="PolyCollection') == bands


def test_many_lines_are_drawn_as_differences_on_an_axis_for_most_of_them(tmp_path):
    names = [f"s{i}" for i in range(MOST_BANDS + 1)]
    rows = [(n, "zero", "", "random", r, 0.8 * r, -0.3 if n == "s3" else 0.01 * r) for n in names for r in (0.0, 0.5)]
    columns = ["strategy", "imputer", "variant", "pattern", "rate", "achieved", "difference"]
    few, many = summary_of(names[:3]), summary_of(names)
    for one in (few, many):
        one.tables.differences = pd.DataFrame(rows, columns=columns)
    text = drawn(draw_curves, many, tmp_path / "many.svg")
    assert "AUROC: difference to the baseline" in text
    assert "achieved missing, percent" in text
    assert "0.3" not in text
    assert "difference" not in drawn(draw_curves, few, tmp_path / "few.svg")


def test_traces_have_a_panel_for_each_kind_and_a_thin_line_for_each_model(tmp_path):
    rows = [
        (what, "b", fold, epoch, fold + epoch) for what in ("beta", "gap") for fold in (0, 1) for epoch in (1, 2, 3)
    ]
    traces = pd.DataFrame(rows, columns=["what", "which", "fold", "epoch", "value"])
    traces = traces.assign(strategy="one", imputer="zero", trained_at="complete@0", seed=0)
    text = drawn(draw_traces, summary_of(["one", "two"], traces=traces), tmp_path / "x.svg")
    assert all(f"<!-- one / {what} -->" in text for what in ("beta", "gap"))
    assert text.count("stroke-opacity: 0.35") == 4  # two folds in two panels
    assert RIBBON in text
