"""The record of a run: what another run is compared with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fusionbench.errors import DataError
from fusionbench.report.record import NAME, read_record, record
from tests.builders import make_benchmark


@pytest.fixture
def found(summary):
    """The record as it is read back from a file."""
    return json.loads(json.dumps(record(summary)))


def test_every_model_is_found_by_its_key_and_the_conditions_it_was_scored_under(summary, found):
    assert [(f["key"], f["fold"], f["seed"]) for f in found["fits"]] == [
        (f.key, f.fold, f.seed) for f in summary.plan.fits
    ]
    assert found["fits"][0]["line"] == ["concat", "zero", ""]
    assert [point[:2] for point in found["fits"][0]["points"]] == [["complete", 0.0], ["random", 0.5], ["a", 0.5]]
    labels = summary.plan.fits[0].labels
    assert all(point[2] in labels for point in found["fits"][0]["points"])


def test_the_leaderboard_is_in_it_in_its_order(summary, found):
    board = summary.tables.leaderboard
    assert [line["strategy"] for line in found["leaderboard"]] == board["strategy"].tolist()
    assert [line["area"] for line in found["leaderboard"]] == pytest.approx(board["area"].tolist())


def test_a_line_without_an_area_has_none_and_not_a_number_that_json_lacks(summary):
    board = summary.tables.leaderboard.assign(area=float("nan"))
    made = record(replace(summary, tables=replace(summary.tables, leaderboard=board)))
    assert {line["area"] for line in made["leaderboard"]} == {None}
    json.dumps(made, allow_nan=False)


def test_nothing_about_a_row_and_no_address_of_a_server_is_in_it(summary):
    tracking = make_benchmark(tracking={"uri": "http://user:secret@server"}).tracking
    benchmark = summary.plan.benchmark.model_copy(update={"tracking": tracking})
    made = record(replace(summary, plan=replace(summary.plan, benchmark=benchmark)))
    assert "secret" not in json.dumps(made)
    assert len(made["fits"]) * 3 < len(summary.plan.dataset)

    def longest(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return max([len(inner), *map(longest, inner)])

    assert longest(made) < len(summary.plan.dataset)


def test_what_was_written_is_read_back(found, tmp_path):
    (tmp_path / NAME).write_text(json.dumps(found), encoding="utf-8")
    assert read_record(tmp_path) == found


def test_a_folder_without_a_record_says_who_writes_it(tmp_path):
    with pytest.raises(DataError, match=f"no {NAME}, which the observer 'html' writes; run the benchmark again"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"), [("{", "cannot be read: "), ('{"format": 0}', "format 0; this version reads ")]
)
def test_a_damaged_record_and_one_of_another_version_are_refused(tmp_path, content, said):
    (tmp_path / NAME).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_record(tmp_path)
