"""The database is whole when it has its name; a half-made one of an earlier version or a killed process is set aside."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing

import pytest

from fusionbench.commands import doctor
from fusionbench_plugins.observers.mlflow.database import file_of, is_half_made, made, put_half_made_away
from fusionbench_plugins.observers.mlflow.writing import Here
from tests.plugins.observers.mlflow.test_writing import check, place_in, work


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        yield


def some_tables(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table alembic_version (version_num)")
        connection.execute("create table experiments (experiment_id)")
        connection.commit()


def one_table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table alembic_version (version_num)")
        connection.commit()


def a_log_only(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


HALF_MADE = {
    "empty": lambda p: p.write_bytes(b""),
    "no database": lambda p: p.write_bytes(b"noise" * 1000),
    "cut": lambda p: p.write_bytes(b"SQLite format 3\x00" + b"\x00" * 50),
    "some tables": some_tables,
    "one table": one_table,
    "a log only": a_log_only,
}


@pytest.mark.parametrize("make", HALF_MADE.values(), ids=HALF_MADE)
def test_a_half_made_database_is_recognised_and_set_aside(tmp_path, make):
    path = tmp_path / "mlflow.db"
    assert not is_half_made(path)
    make(path)
    assert is_half_made(path)
    assert put_half_made_away(path) == tmp_path / "mlflow.db.damaged"
    assert not path.exists()
    assert put_half_made_away(path) is None


@pytest.mark.parametrize("name", ["some tables", "one table"])
def test_doctor_says_that_it_is_half_made(tmp_path, name):
    HALF_MADE[name](tmp_path / "mlflow.db")
    (finding,) = doctor._database(tmp_path / "mlflow.db")
    assert finding.wrong
    assert "was not finished by a run that was killed" in finding.words


def test_what_is_half_made_is_made_again_and_logged_to(tmp_path, migrated):
    some_tables(tmp_path / "mlflow.db")
    Here(place_in(tmp_path)).log(work())
    check(tmp_path)
    assert (tmp_path / "mlflow.db.damaged").exists()
    assert not is_half_made(tmp_path / "mlflow.db")
    (finding,) = doctor._database(tmp_path / "mlflow.db")
    assert finding.words == "mlflow.db is sound"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".mlflow")] == []


def test_a_whole_one_stays(tmp_path, migrated):
    path = tmp_path / "mlflow.db"
    made(path, None)
    before = path.read_bytes()
    made(path, None)
    assert path.read_bytes() == before
    assert not is_half_made(path)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sqlite:////folder/a.db", "a.db"),
        ("sqlite:///b.db?timeout=3", "b.db"),
        ("sqlite:///:memory:", None),
        ("postgresql://host/db", None),
        ("http://server:5000", None),
        ("file:///folder", None),
    ],
)
def test_which_addresses_are_files(uri, name):
    found = file_of(uri)
    assert (None if found is None else found.name) == name
    assert found is None or found.is_absolute()


MAKE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from tests.plugins.observers.mlflow.test_writing import place_in
from fusionbench_plugins.observers.mlflow.writing import Here
import mlflow.store.tracking.sqlalchemy_store
print("ready", flush=True)
Here(place_in(Path(sys.argv[1]))).ready()
"""


@pytest.mark.slow
def test_a_first_use_that_is_killed_anywhere_leaves_nothing_half_made(tmp_path):
    """Takes long: MLflow is imported a dozen times, and its tables are made as often."""
    for number, seconds in enumerate((0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.2)):
        folder = tmp_path / str(number)
        process = subprocess.Popen([sys.executable, "-c", MAKE, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not is_half_made(folder / "mlflow.db")
        Here(place_in(folder)).log(work())
        check(folder)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_several_processes_that_make_it_at_once_do_not_collide(tmp_path):
    """Takes long: MLflow is imported in each of four processes."""
    processes = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    Here(place_in(tmp_path)).log(work())
    check(tmp_path)
