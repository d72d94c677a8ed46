"""A file with a grid has a map on its page, and a table and pictures beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.oracles.regimes import sweep_of
from fusionbench.analysis.regimes.charted import read_map
from fusionbench.config.reading import read_panels
from fusionbench.report.regimes.sweep import _caption, map_of, write_sweep
from fusionbench.report.suite import records_of
from tests.front import fusionbench
from tests.report.reading import without_pictures

FILE = """
name: swept
task: {name: planted, problem: regimes, rows: 120, dials: {width: 3}}
encoders: {first: identity, second: identity}
model: {width: 4}
strategies: [concat, {name: sum, label: plain sum}]
missingness: {rates: [0, 0.6]}
splits: {folds: 2, seeds: [0, 1]}
training: {epochs: 2, workers: 1}
evaluation: {resamples: 100}
observers: [html]
grid: {task.dials.imbalance: [0.0, 0.9], task.dials.synergy: [0.5]}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The file and the workspace of a sweep of two regimes; one of them first."""
    folder = tmp_path_factory.mktemp("swept")
    path, workspace = folder / "swept.yaml", folder / "runs"
    path.write_text(FILE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert fusionbench("run", path, "--workspace", workspace, "--panel", "imbalance_0.0-synergy_0.5").code == 0
        assert not (workspace / "reports" / "swept" / "map.csv").exists()  # one regime is no map
        with pytest.raises(ValueError, match="0 of 2 panels have a report"):
            sweep_of(path, workspace)
        assert fusionbench("run", path, "--workspace", workspace).code == 0
    return path, workspace


def test_the_map_holds_every_panel(swept):
    path, workspace = swept
    found = sweep_of(path, workspace)
    assert found.dials == ("imbalance", "synergy")
    assert [r.dials for r in found.regimes] == [(0.0, 0.5), (0.9, 0.5)]
    assert found.lines == ("Concat", "plain sum")
    assert found.rates == (0.0, 0.6)
    assert found.planted
    record = records_of(read_panels(path).suite, workspace)["imbalance_0.9-synergy_0.5"]
    points = [p for p in record["points"] if p["strategy"] == "concat"]
    assert [p["auroc"] for p in points] == pytest.approx([by_rate[0] for by_rate in found.regimes[1].values])
    possible = [
        d["possible_best"] for d in record["differences"] if d["strategy"] == "plain sum" and d["rate"] is not None
    ]
    assert possible == [1 in lines for lines in found.regimes[1].possible]


def test_the_page_shows_it_and_files_lie_beside_it(swept):
    _, workspace = swept
    folder = workspace / "reports" / "swept"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="map"' in page
    assert 'href="#map"' in page
    table = (folder / "map.csv").read_text(encoding="utf-8")
    assert table.splitlines()[0].endswith(",synthetic,random_weights")
    assert all(line.endswith(",True,False") for line in table.splitlines()[1:])
    assert len(table.splitlines()) == 1 + 2 * 2 * 2
    assert (folder / "map.parquet").exists()
    assert (folder / "map.svg").exists()
    assert (folder / "map.pdf").exists()


def test_what_was_written_can_be_read_as_a_map(swept, tmp_path):
    path, workspace = swept
    found = sweep_of(path, workspace)
    (tmp_path / "map.json").write_text(found.text(), encoding="utf-8")
    assert read_map(tmp_path / "map.json").possible.tolist() == found.possible.tolist()


def test_a_file_without_a_grid_has_no_map_and_old_ones_go_away(swept, tmp_path, undrawn):
    path, workspace = swept
    suite = read_panels(path).suite
    records = records_of(suite, workspace)
    assert write_sweep(suite, records, tmp_path, ["R"]) is not None
    assert {p.name for p in tmp_path.iterdir()} == {"map.csv", "map.parquet", "map.svg", "map.pdf"}
    assert write_sweep(suite, dict.fromkeys(records), tmp_path, []) is None
    assert list(tmp_path.iterdir()) == []
    assert map_of(replace(suite, grid={}), records) is None
    before = {name: {k: v for k, v in record.items() if k != "points"} for name, record in records.items()}
    assert map_of(suite, before) is None  # records from before there were maps


def test_the_caption_says_what_stands_where_and_what_is_not_there_yet(swept):
    path, workspace = swept
    suite = read_panels(path).suite
    found = sweep_of(path, workspace)
    half = replace(found, regimes=found.regimes[:1])
    assert "1 of 2 panels have a report." in _caption(suite, half)
    said = _caption(suite, found)
    assert "imbalance upwards, synergy to the right." in said
    assert "panels have a report" not in said
    assert "blocks are b" in _caption(suite, replace(found, dials=("a", "c", "b")))
