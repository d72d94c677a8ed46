"""The sections about imputers."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from fusionbench.analysis.words import number
from fusionbench.report import Legend, Picture, Table, Text, imputation, models
from fusionbench.report.epochs.similarity import WORDS
from fusionbench.report.page import write_report
from tests.builders import make_run, toy_dataset
from tests.report.reading import RIBBON, blocks_of

IMPUTERS = ["zero", "mean", "knn", "cra"]


@pytest.fixture(scope="module")
def imputed(tmp_path_factory):
    """A run of every kind of imputer, with traces."""
    run = make_run(
        tmp_path_factory.mktemp("imputed"),
        toy_dataset(rows=300),
        strategies=[{"name": "concat", "imputers": IMPUTERS}, {"name": "unimodal", "modality": "a"}],
        training={"epochs": 3, "batch_size": 32, "traces": True},
        tuning={"trials": 0},
    )
    return run.execute()


def test_imputation_over_training_has_a_picture_for_each_modality_and_a_line_for_each_imputer(imputed):
    found = imputation.imputation(imputed)
    *pictures, of_mean, of_cra = blocks_of(found, Picture)
    assert [p.name for p in pictures] == ["imputation-1-1", "imputation-2-1", "imputation-3-1"]
    assert [p.name for p in (of_mean, of_cra)] == ["similarity-1", "similarity-2"]  # beside the score, line by line
    for picture in pictures:
        assert len(re.findall(r'id="imputation-\d-1-arm(\d)"', picture.svg)) == 2
        assert 'mean-embedding"' in picture.svg
        assert RIBBON in picture.svg
        assert re.search(r"concat / mean from \d\.\d\d to \d", picture.alt)
    (legend,) = blocks_of(found, Legend)
    assert {label for _, label in legend.entries} == {"concat / mean", "concat / cra"}


def test_the_numbers_of_imputation_are_means_over_models(imputed):
    (table,) = blocks_of(imputation.imputation(imputed), Table)
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert len(rows) == 6
    traced = imputed.traces[(imputed.traces["imputer"] == "cra") & (imputed.traces["which"] == "b")]
    means = traced.groupby("epoch")["value"].mean()
    assert traced["what"].unique().tolist() == ["imputer.relative error"]
    assert rows["concat / cra", "b"] == [number(means[1]), number(means[3]), number(means.min()), str(means.idxmin())]


def test_imputers_without_a_line_are_named_with_the_reason(imputed):
    said = [b.words for b in blocks_of(imputation.imputation(imputed), Text)][1:]
    assert len(said) == 3
    assert said[0].startswith("No line has knn, which completes inputs before training")
    assert said[1] == "No line has zero: no embedding is filled in that could be compared."
    assert said[2] == WORDS


def test_what_imputers_are_measured_by_is_not_drawn_a_second_time(imputed):
    assert models.traces(imputed) is None


def test_embeddings_that_are_alike_are_in_the_table_and_not_drawn(imputed):
    found = imputation.embedding_maps(imputed)
    pictures = blocks_of(found, Picture)
    assert {p.caption for p in pictures} == {f"concat / {i}, {m}." for i in ("knn", "cra") for m in "abc"}
    assert "Not drawn, because every row gets the same embedding, a single cell: concat / mean." in [
        b.words for b in blocks_of(found, Text)
    ]
    (table,) = blocks_of(found, Table)
    assert {row[0] for row in table.rows} == {"concat / mean", "concat / knn", "concat / cra"}
    assert len(table.rows) == 9
    numbers = imputed.maps.numbers.set_index(["imputer", "modality"])
    for row in table.rows:
        line = numbers.loc[row[0].removeprefix("concat / "), row[1]]
        assert row[2:6] == [str(line["rows"]), *(number(line[n]) for n in ("error", "distance", "spread"))]


def test_a_map_draws_exactly_the_cells_that_may_be_shown(imputed):
    for picture in blocks_of(imputation.embedding_maps(imputed), Picture):
        imputer, modality = re.fullmatch(r"concat / (\w+), (\w)\.", picture.caption).groups()
        cells = imputed.maps.cells
        mine = cells[(cells["imputer"] == imputer) & (cells["modality"] == modality)]
        assert picture.svg.count("stroke: #ffffff") == len(mine) > 5
        assert RIBBON in picture.svg


def test_many_lines_are_drawn_in_part_and_the_tables_hold_all(imputed, undrawn):
    names = [f"line {i}" for i in range(30)]

    def many(frame):
        mine = frame[frame["imputer"] == "cra"]
        return pd.concat([mine.assign(strategy=n) for n in names], ignore_index=True)

    board = many(imputed.tables.leaderboard)
    summary = replace(
        imputed,
        tables=replace(imputed.tables, leaderboard=board),
        traces=many(imputed.traces),
        maps=imputed.maps._replace(numbers=many(imputed.maps.numbers), cells=many(imputed.maps.cells)),
    )
    over, maps = imputation.imputation(summary), imputation.embedding_maps(summary)
    assert len(blocks_of(over, Picture)) == 3 * 3  # three groups of eight lines
    assert len(blocks_of(over, Table)[0].rows) == 3 * 30
    assert len(blocks_of(maps, Picture)) == 3 * 8
    assert "Drawn are the first 8 of 30 lines; the table holds all." in [b.words for b in blocks_of(maps, Text)]
    assert "Drawn are the first 24 of 30 lines; the table holds all." in [b.words for b in blocks_of(over, Text)]
    assert len(blocks_of(maps, Table)[0].rows) == 3 * 30


def test_the_sections_of_imputation_stand_on_the_page_and_a_new_map_writes_it_again(imputed, undrawn, tmp_path):
    page = write_report(imputed, tmp_path)
    before = page.read_text(encoding="utf-8")
    assert {"imputation-over-training", "original-and-imputed-embeddings"} <= set(
        re.findall(r'<section id="([\w-]+)"', before)
    )
    assert (tmp_path / "tables" / "embedding-maps.tex").exists()
    assert (tmp_path / "pictures" / "map-1-1.pdf").exists()
    numbers = imputed.maps.numbers.assign(error=0.5)
    write_report(replace(imputed, maps=imputed.maps._replace(numbers=numbers)), tmp_path)
    assert page.read_text(encoding="utf-8") != before
