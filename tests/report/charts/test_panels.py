"""The pictures of a report: what is drawn, what is said of it, and that equal ones are equal bytes."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from fusionbench.report.charts import drawing, panels


def forest(*areas, mark=""):
    values = pd.DataFrame(
        {"area": areas, "area_low": [a - 0.01 for a in areas], "area_high": [a + 0.01 for a in areas]}
    )
    names = [f"line {i}" for i in range(len(areas))]
    return panels.forest_picture(names, values, [1] * len(areas), "auroc", "A caption.", mark)


def test_equal_pictures_are_equal_bytes_also_on_paper():
    one, other = (forest(0.8, 0.7) for _ in range(2))
    assert one == other
    assert one.pdf.startswith(b"%PDF")


def test_a_picture_can_be_put_into_a_page_as_it_is():
    found = forest(0.8, 0.7, mark="A MARK")
    root = ET.fromstring(found.svg)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert ids
    assert all(i.startswith("ranking-") for i in ids)
    assert set(re.findall(r'href="#(\w+)', found.svg)) == {"ranking"}
    assert ("width" in root.keys(), "viewBox" in root.keys()) == (False, True)  # noqa: SIM118 (an element is no mapping)
    assert "A MARK" in "".join(root.itertext())
    assert (found.name, found.caption) == ("ranking", "A caption.")


def test_a_line_far_from_all_others_leaves_the_picture_and_says_where_it_is():
    said = "".join(ET.fromstring(forest(0.84, 0.838, 0.835, 0.83, 0.6).svg).itertext())
    assert "< .600" in said
    assert "0.65" not in said
    assert "<" not in "".join(ET.fromstring(forest(0.84, 0.838, 0.835).svg).itertext())


def test_eight_lines_differ_in_colour_and_marker_and_the_ninth_looks_like_the_first():
    looks = [drawing.look(i) for i in range(drawing.TOGETHER + 1)]
    assert len({look["color"] for look in looks}) == len({look["marker"] for look in looks}) == drawing.TOGETHER
    assert looks[8] == looks[0]
    assert drawing.swatch(0, "s") != drawing.swatch(1, "s")


@pytest.mark.parametrize(("label", "wanted"), [("$x$", r"\$x\$"), ("_hidden", " _hidden"), ("plain", "plain")])
def test_labels_are_not_read_as_mathematics_nor_left_out(label, wanted):
    assert drawing.plain(label) == wanted


def test_a_value_outside_its_interval_is_drawn_without_a_bar_on_that_side():
    values = pd.DataFrame({"area": [0.8, 0.7], "area_low": [0.801, 0.6], "area_high": [0.9, 0.7]})
    found = panels.forest_picture(["one", "two"], values, [1, 2], "auroc", "", "")
    assert found.alt.startswith("Areas with intervals, from one (0.800) to two (0.700).")
    assert "group 2" in "".join(ET.fromstring(found.svg).itertext())


def test_lines_whose_interval_leaves_out_0_are_named():
    found = pd.DataFrame({"difference": [0.02, 0.1], "low": [-0.01, 0.05], "high": [0.05, 0.15]})
    picture = panels.difference_picture(["one", "two"], found, 0.005, "", "")
    assert picture.alt.endswith("Intervals without 0: two.")
    assert "difference to the first line" in "".join(ET.fromstring(picture.svg).itertext())


def test_bins_are_told_as_predicted_and_observed():
    table = pd.DataFrame(
        {
            "raw": [False, False, True],
            "predicted": [0.1, 0.9, 0.4],
            "observed": [0.2, 0.7, 0.3],
            "predictions": [30, 10, 40],
        }
    )
    found = panels.calibration_picture(table, "one", 0, "calibration-1", "", "")
    words = "Predicted and observed share for one, bin by bin: 0.10 and 0.20; 0.90 and 0.70. Before recalibration: "
    assert found.alt == f"{words}0.40 and 0.30."
    assert panels.calibration_picture(table[:2], "one", 0, "calibration-1", "", "").alt == f"{words}none."


def test_errors_far_apart_are_drawn_on_a_logarithmic_scale():
    def ticks(last):
        course = pd.Series([1.0, last], index=[1, 2])
        found = panels.imputation_picture({0: course}, ["mean"], "a", "imputation-1-1", "", "")
        assert found.alt.startswith(
            f"Relative error of imputed embeddings of a over epochs: mean from 1.00 to {last:.2f}."
        )
        return "".join(ET.fromstring(found.svg).itertext()).split()

    assert "0.0" in ticks(0.5)
    assert "0.0" not in ticks(50.0)
    assert "100" in ticks(150.0)
