"""The database: its limits, its folder, and errors that quote no row."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from fusionbench.errors import DataError, WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.tables import database, extract
from tests.mimic_tree import prepare, small_tree
from tests.plugins.tasks.mimic.test_bad_input import SECRET, fails, run


@pytest.mark.parametrize("name", ["icu/chartevents", "hosp/labevents", "hosp/admissions"])
def test_truncated_gzip_names_the_table(tmp_path, name):
    tree = small_tree()
    for number in range(3000):  # beyond one block of the decompressor
        tree.chart(number % 8, number / 100, 220045, 60 + number % 97)
        tree.lab(number % 8, number / 100, 50931, str(number), number, stored=1)
    root, _ = tree.write(tmp_path)
    path = root / f"{name}.csv.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    message = run(root)
    assert f"table {name}" in message
    assert "damaged or cut short" in message


def test_plain_table_cut_inside_a_row(tmp_path):
    root, _ = small_tree().write(tmp_path, plain=True)
    path = root / "icu" / "icustays.csv"
    path.write_bytes(path.read_bytes()[:-30])
    message = run(root)
    assert "table icu/icustays line 9: " in message


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("icustays", "intime", "TIMESTAMP"),
        ("icustays", "stay_id", "BIGINT"),
        ("chartevents", "valuenum", "DOUBLE"),
        ("labevents", "itemid", "BIGINT"),
        ("patients", "anchor_age", "INTEGER"),
        ("admissions", "hospital_expire_flag", "INTEGER"),
    ],
)
def test_wrong_type_names_table_line_column_and_type(tmp_path, table, column, kind):
    tree = small_tree()
    tree.tables[table][2][column] = SECRET
    message = fails(tmp_path, tree)
    assert f"/{table} line " in message
    assert f"column {column} holds something that is not {kind}" in message


def test_table_that_is_not_utf8(tmp_path):
    root, _ = small_tree().write(tmp_path)
    path = root / "icu" / "chartevents.csv.gz"
    lines = gzip.decompress(path.read_bytes()) + b"10000001,20000001,30000001,,2150-01-11 09:00:00,1,caf\xe9,1\n"
    path.write_bytes(gzip.compress(lines))
    message = run(root)
    assert "table icu/chartevents" in message
    assert "not UTF-8" in message


def test_time_that_no_calendar_has_names_the_column(tmp_path):
    tree = small_tree()
    tree.tables["chartevents"][3]["charttime"] = "2150-13-45 25:00:00"
    assert "column charttime holds something that is not TIMESTAMP" in fails(tmp_path, tree)


def test_full_disk_in_the_database_is_not_blamed_on_the_data():
    import duckdb

    error = duckdb.IOException(f'IO Error: Could not write file "x": No space left on device {SECRET}')
    translated = database._translate(error, "icu/chartevents")
    assert isinstance(translated, WorkspaceError)
    assert SECRET not in str(translated)


def test_memory_limit_that_is_too_small(tmp_path):
    message = fails(tmp_path, small_tree(), WorkspaceError, memory_limit="1MB")
    assert "raise memory_limit" in message


def test_chosen_spill_folder_is_used_and_left_empty(tmp_path, monkeypatch):
    used = []
    execute = extract.execute

    def watching(connection: Any, sql: str, table: str) -> Any:
        used.append(connection.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
        return execute(connection, sql, table)

    monkeypatch.setattr(extract, "execute", watching)
    prepare(tmp_path, temp_folder=str(tmp_path / "scratch"))
    assert {Path(folder).parent for folder in used} == {tmp_path / "scratch"}
    assert not list((tmp_path / "scratch").iterdir())


def test_spill_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "scratch").touch()
    with pytest.raises(WorkspaceError, match=r"temp_folder .*scratch: cannot be written \(File exists\)"):
        prepare(tmp_path, temp_folder=str(tmp_path / "scratch"))


@pytest.mark.parametrize("name", ["it's", "a*b", "[0-9]", "''", "plain"])
def test_a_name_of_a_file_is_a_name_and_no_pattern(tmp_path, name):
    for other in (name, "azb", "0"):
        (tmp_path / f"{other}.csv").write_text(f"x\n{other}\n", encoding="utf-8")
    with database.database(tmp_path, database.Resources("500MB", 1)) as connection:
        assert connection.execute(f"SELECT {database.literal(name)}").fetchall() == [(name,)]
        source = f"read_csv({database.pattern(tmp_path / (name + '.csv'))}, header = true, columns = {{'x': 'VARCHAR'}}, quote = '')"
        assert connection.execute(f"SELECT x FROM {source}").fetchall() == [(name,)]


def test_rows_of_all_csv_readers_of_a_profile_are_added():
    reader = {"extra_info": {"Function": "READ_CSV"}, "operator_cardinality": 7, "children": []}
    other = {"extra_info": {"Function": "READ_PARQUET"}, "operator_cardinality": 100, "children": [reader]}
    newer = {"extra_info": {"Function": "READ_CSV"}, "intermediate_rows": 5, "children": []}
    assert database._rows_read({"children": [other, {"extra_info": None, "children": [newer]}]}) == 12
    assert database._rows_read("READ_CSV") == 0


def test_a_watched_statement_counts_the_rows_that_it_reads_and_not_those_it_keeps(tmp_path):
    (tmp_path / "t.csv").write_text("x\n" + "".join(f"{n}\n" for n in range(50)), encoding="utf-8")
    with database.database(tmp_path, database.Resources("500MB", 1)) as connection:
        sql = f"CREATE TABLE kept AS SELECT x FROM read_csv({database.pattern(tmp_path / 't.csv')}) WHERE x < 10"
        assert database.execute_watched(connection, sql, "t", SilentProgress()) == 50
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(10,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CSV Error on Line: 12\nInvalid unicode: not utf-8 encoded", "table icu/x line 12: the bytes are not UTF-8"),
        ("failed to decompress: bad GZIP block", "table icu/x: the compressed file is damaged or cut short"),
        ("Expected Number of Columns: 8 Found: 3", "a row has 3 columns, the header has 8"),
        (f"something of {SECRET}", "table icu/x: it cannot be read (InvalidInputException); check the file."),
    ],
)
def test_what_is_wrong_with_a_file_is_said_without_its_row(text, said):
    import duckdb

    found = database._translate(duckdb.InvalidInputException(text), "icu/x")
    assert isinstance(found, DataError)
    assert said in str(found)
    assert SECRET not in str(found)
