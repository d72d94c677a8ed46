"""Files of single stays: what is read of them, what comes too late, and what is malformed."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.extracted.events import read_series, stays_table
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES
from tests.plugins.tasks.test_mimic_extracted import (
    HEADER,
    IHM,
    change,
    file_name,
    prepare,
    problem,
    write,
    write_series,
)


def test_a_shorter_window_leaves_out_what_comes_later(tmp_path):
    data, whole = prepare(write(tmp_path), window_hours=24), prepare(tmp_path)
    np.testing.assert_array_equal(data.modalities["ehr"].values, whole.modalities["ehr"].values[:, :24])
    folder = tmp_path / IHM / "train"
    (folder / file_name(0)).write_text(",".join(HEADER) + "\n30.0" + "," * 9 + "80" + "," * 8 + "\n", encoding="utf-8")
    data = prepare(tmp_path, window_hours=24)
    assert [step.rows for step in data.funnel] == [8, 7, 7]


def test_a_changed_file_is_read_again_and_an_unchanged_folder_is_not(tmp_path):
    first = prepare(write(tmp_path))
    made = sorted(path.name for path in (tmp_path / "cache").glob("extracted-*"))
    assert prepare(tmp_path).digest == first.digest
    assert sorted(path.name for path in (tmp_path / "cache").glob("extracted-*")) == made
    change(tmp_path / IHM / "test" / file_name(7), "0.4", "0.45")
    assert prepare(tmp_path).digest != first.digest


def test_of_lines_of_one_time_the_last_counts(tmp_path):
    write(tmp_path)
    body = [["2.0", *("77" if name == "Heart Rate" else "" for name in HEADER[1:])] for _ in range(2)]
    body[1][9] = "78"
    write_series(tmp_path / IHM, file_name(0), "train", body)
    assert prepare(tmp_path).modalities["ehr"].values[0, 5, HEADER.index("Heart Rate")] != 77
    column = prepare(tmp_path).modalities["ehr"].columns.index("Heart Rate")
    assert (prepare(tmp_path).modalities["ehr"].values[0, 2:, column] == 78).all()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "empty"),
        ("{header}\n", "no line of events"),
        ("{header}\n1.0,,,\n", "a line has another number of cells than the header"),
        ("{header},Lactate\n1.0" + "," * 18 + "\n", "unknown column 'Lactate'"),
        ("Hours,Heart Rate\n1.0,80\n", "no column 'Capillary refill rate'"),
        ("Time,Heart Rate\n1.0,80\n", "the first column is not Hours"),
        ("{header},Heart Rate\n1.0" + "," * 18 + "\n", "a column occurs twice"),
        ("{header}\nsoon" + "," * 17 + "\n", "column Hours: something that is not a number"),
        ("{header}\n1.0" + "," * 9 + "fast" + "," * 8 + "\n", "column Heart Rate: something that is not a number"),
        ("{header}\n1.0" + "," * 9 + "8_0" + "," * 8 + "\n", "column Heart Rate: something that is not a number"),
        ("{header}\n1.0" + "," * 9 + "٨٠" + "," * 8 + "\n", "column Heart Rate: something that is not a number"),
        ("Hours;Heart Rate\n1,0;80\n", "cells are separated by ';' and numbers have decimal commas"),
        ("{header}\n1.0" + "," * 9 + '"80' + "," * 8 + "\n", "not CSV text in UTF-8"),
        ("{header}\n1.0" + "," * 9 + "inf" + "," * 8 + "\n", "column Heart Rate: something that is not a number"),
        (
            "{header}\n1.0" + "," * 4 + "Winking" + "," * 13 + "\n",
            "column Glascow coma scale eye opening: a text that is none of its 8 words",
        ),
        ("{header}\n-1.0" + "," * 9 + "80" + "," * 8 + "\n", "events before admission to the unit"),
        ("{header}\n2.0" + "," * 17 + "\n1.0" + "," * 17 + "\n", "column Hours is not in ascending order"),
        ("{header}\n2.0" + "," * 17 + "\n", "no value in any line"),
        ("\udcff\n", "not CSV text in UTF-8"),
    ],
)
def test_a_malformed_file_of_a_stay_is_counted_with_what_is_wrong(tmp_path, content, why):
    write(tmp_path)
    for patient in (4, 5):
        path = tmp_path / IHM / "train" / file_name(patient)
        path.write_text(content.replace("{header}", ",".join(HEADER)), errors="surrogateescape", encoding="utf-8")
    said = problem(tmp_path)
    assert f"  - 2 of the validation list: {why}" in said
    assert "soon" not in said
    assert "Winking" not in said
    assert not list((tmp_path / "cache").glob(".*partial"))


def series_file(folder, *values: tuple[float, str, str]):
    """Write a file with a line for each (hours, published name, text)."""
    path = folder / "stay.csv"
    lines = [[str(hours), *(text if name == column else "" for column in HEADER[1:])] for hours, name, text in values]
    path.write_text("\n".join(",".join(line) for line in (HEADER, *lines)) + "\n", encoding="utf-8")
    return path


def test_a_file_is_read_by_variable_and_time_with_words_as_columns(tmp_path):
    eyes = "Glascow coma scale eye opening"
    path = series_file(
        tmp_path, (0.5, "Heart Rate", "90"), (1.0, eyes, "To Speech"), (2.0, "Heart Rate", "88.5"), (2.0, eyes, "None")
    )
    variable, hours, numbers = read_series(path)
    names = [VARIABLES[v].published for v in variable]
    columns = VARIABLES[HEADER.index(eyes) - 1].columns
    assert list(zip(names, hours.tolist(), numbers.tolist(), strict=True)) == [
        (eyes, 1.0, columns.index("To Speech")),
        (eyes, 2.0, columns.index("None")),
        ("Heart Rate", 0.5, 90.0),
        ("Heart Rate", 2.0, 88.5),
    ]


def test_an_empty_cell_of_the_last_line_of_a_time_does_not_hide_the_one_before(tmp_path):
    path = series_file(tmp_path, (1.0, "Weight", "70"), (1.0, "Weight", "71"), (1.0, "Height", "180"))
    variable, _, numbers = read_series(path)
    assert {VARIABLES[v].name: number for v, number in zip(variable, numbers, strict=True)} == {
        "weight": 71,
        "height": 180,
    }


def test_columns_may_stand_in_any_order_and_a_mark_of_byte_order_is_no_text(tmp_path):
    path = tmp_path / "stay.csv"
    turned = ["Hours", *reversed(HEADER[1:])]
    cells = ["3.0", *("65" if name == "Weight" else "" for name in turned[1:])]
    path.write_text("\ufeff" + ",".join(turned) + "\n" + ",".join(cells) + "\n", encoding="utf-8")
    variable, hours, numbers = read_series(path)
    assert (VARIABLES[variable[0]].name, hours.tolist(), numbers.tolist()) == ("weight", [3.0], [65.0])


def test_a_file_that_is_not_there_is_said_to_be_unreadable(tmp_path):
    with pytest.raises(ValueError, match=r"^cannot be read$"):
        read_series(tmp_path / file_name(0))


def test_the_table_of_stays_is_found_in_both_places_and_the_one_in_root_first(tmp_path):
    assert stays_table(tmp_path) is None
    (tmp_path / "all_stays.csv").touch()
    assert stays_table(tmp_path) == tmp_path / "all_stays.csv"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "all_stays.csv").touch()
    assert stays_table(tmp_path) == tmp_path / "root" / "all_stays.csv"


def test_two_tables_of_stays_that_differ_are_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "all_stays.csv").write_text("stay_id\n1\n", encoding="utf-8")
    (tmp_path / "root" / "all_stays.csv").write_text("stay_id\n2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"are both there, and differ; leave one"):
        stays_table(tmp_path)
