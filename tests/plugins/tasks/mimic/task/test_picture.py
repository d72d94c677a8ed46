"""The picture of a tree: the same for the same counts, and one panel for each question."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fusionbench import Dataset, FunnelStep, Modality, TargetKind
from fusionbench_plugins.tasks.mimic.task import picture
from fusionbench_plugins.tasks.mimic.task.overview import Measured, Overview
from tests.mimic_tree import small_tree
from tests.plugins.tasks.mimic.task.test_check import check


def test_equal_data_give_an_equal_picture(tmp_path):
    found = check(tmp_path, small_tree())
    assert found.draw is not None
    for name in ("a.svg", "b.svg"):
        found.draw([tmp_path / name])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


MEASURED = {
    "heart_rate": Measured(200, 0, 2, 20, 0, stays=1.0, steps=0.75),
    "weight": Measured(0, 0, 0, 0, 0, stays=0.0, steps=0.0),
    "temperature": Measured(10, 5, 0, 0, 0, stays=0.5, steps=0.1),
}


def made_up() -> Overview:
    """Four stays, three of them with a picture."""
    dataset = Dataset(
        modalities={
            "ehr": Modality("vector", np.zeros((4, 1), np.float32)),
            "cxr": Modality("vector", np.zeros((4, 1))),
        },
        available=np.array([[True, True], [True, False], [True, True], [True, True]]),
        target=np.array([0, 1, 0, 1]),
        kind=TargetKind.BINARY,
        outputs=("died",),
        groups=np.arange(4),
        digest="made up",
        funnel=(FunnelStep("adults", 1200, ""), FunnelStep("an event", 4, "")),
    )
    return Overview(dataset, MEASURED, 0)


@pytest.fixture
def panel():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.subplots()


def texts(panel) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_the_funnel_has_a_bar_for_each_rule_from_the_top(panel):
    picture._funnel(panel, made_up())
    assert [bar.get_width() for bar in panel.patches] == [1200, 4]
    assert texts(panel) == [" 1,200", " 4"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["adults", "an event"]
    assert panel.yaxis_inverted()


def test_combinations_of_modalities_are_by_how_many_stays_have_them(panel):
    picture._modalities(panel, made_up())
    assert [label.get_text() for label in panel.get_yticklabels()] == ["ehr + cxr", "ehr"]
    assert texts(panel) == [" 3 (75%)", " 1 (25%)"]


def test_stays_and_steps_of_each_variable_are_bars_over_each_other(panel):
    picture._measured(panel, made_up())
    assert [bar.get_width() for bar in panel.patches] == [1.0, 0.0, 0.5, 0.75, 0.0, 0.1]
    assert [label.get_text() for label in panel.get_yticklabels()] == list(MEASURED)


def test_marks_are_shares_of_what_was_read_and_where_there_is_nothing_there_is_no_mark(panel):
    picture._suspicious(panel, made_up())
    found = {marks.get_label(): marks.get_offsets().tolist() for marks in panel.collections}
    assert found == {"impossible": [[0.01, 0]], "another unit": [[0.5, 2]], "clipped": [[0.1, 0]]}
