"""The record of a run: what another run is compared with."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from fusionbench.errors import DataError
from fusionbench.plan.lines import Line
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


def test_every_point_of_the_curves_and_what_subsets_predict_are_in_it(summary, found):
    curves = summary.tables.curves
    assert [point["auroc"] for point in found["points"]] == pytest.approx(curves["auroc"].tolist())
    called = {(point["strategy"], point["imputer"]): point["called"] for point in found["points"]}
    assert called["concat", "mean"] == summary.plan.called(Line("concat", "mean"))
    assert called["a only", "zero"] == "a only"
    assert [row["subset"] for row in found["readings"]] == summary.tables.readings["subset"].tolist()
    nothing = replace(summary, tables=replace(summary.tables, curves=summary.tables.curves.iloc[:0, :5]))
    assert record(nothing)["points"] == []


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


JUNK = (None, 0, -1, 1.5, "x", "", [], {}, [None], {"a": None}, True, 2**70, "../../x", "\0")


def places(value, at=()):
    """Yield where something stands in plain data; of long lists the first entry."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*at, 0))


def changed(found, place, junk, remove=False):
    """Return a copy of a record with something else in a place, or nothing."""
    copied = json.loads(json.dumps(found))
    owner = copied
    for part in place[:-1]:
        owner = owner[part]
    if remove:
        del owner[place[-1]]
    else:
        owner[place[-1]] = junk
    return copied


@pytest.mark.parametrize(
    "place",
    [
        ("configuration",),
        ("configuration", "task"),
        ("data",),
        ("metric",),
        ("parts",),
        ("environment",),
        ("leaderboard",),
        ("leaderboard", 0, "strategy"),
        ("leaderboard", 0, "area"),
        ("leaderboard", 0, "area_low"),
        ("leaderboard", 0, "group"),
        ("fits",),
        ("fits", 0, "line"),
        ("fits", 0, "fold"),
        ("fits", 0, "key"),
        ("fits", 0, "points"),
    ],
)
def test_a_record_that_lacks_a_part_is_refused_with_the_place(found, tmp_path, place):
    (tmp_path / NAME).write_text(json.dumps(changed(found, place, None, remove=True)), encoding="utf-8")
    with pytest.raises(DataError, match=rf"missing or in another form \(.*{place[-1]}.*make the report again"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content", ["[]", "{}", "null", "3", '"x"', "[" * 100_000, '{"format": 1}', '{"format": [1]}', ""]
)
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / NAME).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"record\.json"):
        read_record(tmp_path)


def test_anything_in_any_place_is_read_or_refused(found, tmp_path):
    generator = random.Random(0)
    everywhere = [place for place in places(found) if place]
    for _ in range(300):
        place = generator.choice(everywhere)
        spoilt = changed(found, place, generator.choice(JUNK), remove=generator.random() < 0.2)
        (tmp_path / NAME).write_text(json.dumps(spoilt), encoding="utf-8")
        with suppress(DataError):
            assert read_record(tmp_path)["format"] == 1


@pytest.mark.parametrize("key", ["../../secret", "a/b", "", "x\0y"])
def test_the_key_of_a_model_names_a_file_and_nothing_else(found, tmp_path, key):
    (tmp_path / NAME).write_text(json.dumps(changed(found, ("fits", 0, "key"), key)), encoding="utf-8")
    with pytest.raises(DataError, match="fits"):
        read_record(tmp_path)
