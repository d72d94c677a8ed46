"""A server is asked before anything is trained; what is wrong with it is said within seconds and without a password."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from fusionbench.errors import WorkspaceError
from fusionbench_plugins.observers.mlflow import asking
from fusionbench_plugins.observers.mlflow.asking import problem_with
from fusionbench_plugins.observers.mlflow.observer import MlflowTracker
from fusionbench_plugins.observers.mlflow.writing import Place
from tests.builders import make_run, toy_dataset


def place(uri, folder):
    return Place(uri, None, str(folder / "tracked"))


@pytest.fixture
def silent():
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def take():
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        for connection in held:
            connection.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_nobody_listens(tmp_path, scheme):
    port = free_port()
    begun = time.monotonic()
    said = problem_with(place(f"{scheme}://user:CANARY@127.0.0.1:{port}/x", tmp_path))
    assert said == f"nobody answers at 127.0.0.1, port {port}: Connection refused"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("uri", ["http://server:notaport", "http://[::1", "postgresql://h:99999999/x"])
def test_an_address_that_cannot_be_read(tmp_path, uri):
    assert problem_with(place(uri, tmp_path)).startswith("the address cannot be read: ")


def test_a_missing_driver_is_found(tmp_path, silent):
    """Takes long: another process imports MLflow."""
    said = problem_with(place(f"postgresql://user:CANARY@127.0.0.1:{silent}/x", tmp_path))
    assert "No module named 'psycopg" in said


def test_a_server_that_never_answers_is_given_up(tmp_path, silent, monkeypatch):
    """Takes long: another process imports MLflow."""
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 4.0)
    assert problem_with(place(f"http://127.0.0.1:{silent}", tmp_path)) == "it did not answer within 4 s"


def test_a_folder_or_a_file_that_mlflow_can_use_has_no_problem(tmp_path):
    """Takes long: another process imports MLflow and makes a database."""
    assert problem_with(place(f"sqlite:///{tmp_path}/own.db", tmp_path)) is None


def test_a_run_ends_before_anything_is_trained_and_without_the_password(tmp_path):
    uri = f"postgresql://user:CANARY@127.0.0.1:{free_port()}/x"
    run = make_run(tmp_path, toy_dataset(), tracking={"uri": uri})
    with pytest.raises(WorkspaceError, match="nothing was trained") as caught:
        run.execute([MlflowTracker(run.benchmark, tmp_path)])
    assert "CANARY" not in str(caught.value)
    assert "postgresql://***@127.0.0.1" in str(caught.value)
    assert run.store.keys() == set()
