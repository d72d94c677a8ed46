"""Another process logs: the same, whenever it is killed, and its errors come back."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import warnings

import pytest

from fusionbench_plugins.observers.mlflow.process import Elsewhere, TrackingProblem, serve
from fusionbench_plugins.observers.mlflow.writing import Here
from tests.plugins.observers.mlflow.test_writing import check, place_in, work


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        yield


@pytest.fixture
def tables(tmp_path, migrated):
    """A database with MLflow's tables and nothing in them: a new one costs each process its migrations."""
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    engine = create_engine(place_in(tmp_path).uri)
    utils._initialize_tables(engine)
    engine.dispose()


def test_another_process_logs_the_same(tmp_path):
    """Takes long: each of the two processes imports MLflow, and the first makes a database."""
    other = Elsewhere(place_in(tmp_path))
    other.log(work())
    other.close()
    check(tmp_path)
    other = Elsewhere(place_in(tmp_path))
    other.log(work(content="second"))
    other.close()
    check(tmp_path, "second")


def test_a_process_that_is_killed_halfway_leaves_nothing_doubled_or_missing(tmp_path):
    other = Elsewhere(place_in(tmp_path))
    other.log(work())
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("mlartifacts/*/artifacts/own.txt")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(other._process.pid, signal.SIGKILL)
    with pytest.raises(TrackingProblem, match="ended with code -9"):
        other.close()
    assert list(tmp_path.glob("mlartifacts/*/artifacts/own.txt")), "it was to be killed in the middle"
    Here(place_in(tmp_path)).log(work())
    check(tmp_path)


def test_what_was_handed_over_is_finished_where_the_run_ends_without_waiting(tmp_path, tables):
    other = Elsewhere(place_in(tmp_path))
    other.log(work())
    other._leave()  # what the interpreter does when it ends
    check(tmp_path)


def test_a_process_that_gets_no_work_ends_quietly(tmp_path, tables):
    other = Elsewhere(place_in(tmp_path))
    other.close()
    assert other._process.returncode == 0
    assert not list(tmp_path.glob("mlartifacts/*"))


def test_the_words_of_an_error_come_back(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    other = Elsewhere(place_in(tmp_path / "file"))
    other.log(work())
    with pytest.raises(TrackingProblem, match=r"^(NotADirectory|FileExists)Error: "):
        other.close()


@pytest.mark.parametrize("lines", [b"", b"{"])
def test_an_input_that_ends_early_is_no_work(lines):
    answer = io.BytesIO()
    code = serve(io.BytesIO(lines), answer)
    assert (code, set(json.loads(answer.getvalue()))) == ((0, {"done"}) if not lines else (1, {"problem"}))
