"""The page of a workspace: where it is looked for, what is linked, and how its server begins and ends.

A real server is started by tests/plugins/observers/mlflow/test_browser.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from fusionbench.commands import dashboard
from fusionbench.commands.dashboard import Server, free_port, serve
from fusionbench.errors import WorkspaceError
from fusionbench.tracking.views import pages_of, views_of


def experiment(number, name, tags):
    return {"experiment_id": number, "name": name, "tags": [{"key": k, "value": v} for k, v in tags.items()]}


EXPERIMENTS = [
    experiment("0", "Default", {}),
    experiment("1", "one", views_of(["random"])),
    experiment("2", "two", views_of(["random", "a"])),
]


@contextmanager
def answering(experiments):
    """A server that knows experiments and nothing else; yields its port and what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def do_POST(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/experiments/search"):
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"experiments": experiments}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def process(code=None):
    return SimpleNamespace(poll=lambda: code, returncode=code)


def test_each_benchmark_is_linked_and_each_pattern_where_there_are_several():
    with answering(EXPERIMENTS) as (port, _):
        links = Server(process(), port).links()
    address = f"http://127.0.0.1:{port}"
    one, two = dict(pages_of("1", views_of(["random"]))), dict(pages_of("2", views_of(["random", "a"])))
    assert links == [
        ("one", address + one["random"]),
        ("two (random)", address + two["random"]),
        ("two (a)", address + two["a"]),
    ]


def test_a_version_that_lacks_what_is_warmed_is_no_error():
    with answering(EXPERIMENTS) as (port, asked):
        Server(process(), port).warm()
    assert {"/", "/graphql", "/ajax-api/2.0/mlflow/runs/search"} <= set(asked)


def test_nothing_is_warmed_where_no_benchmark_is_tracked():
    with answering(EXPERIMENTS[:1]) as (port, asked):
        Server(process(), port).warm()
    assert asked == ["/ajax-api/2.0/mlflow/experiments/search"]


def test_a_server_that_listens_is_waited_for_no_longer():
    with answering([]) as (port, asked):
        Server(process(), port).wait()
    assert asked == []


def test_a_server_that_has_ended_is_said_with_its_code_and_the_likely_reason():
    port = free_port()
    with pytest.raises(WorkspaceError, match=f"stopped with code 3; is port {port} taken"):
        Server(process(3), port).wait()


def test_a_server_that_takes_longer_than_asked_is_given_up():
    port = free_port()
    with pytest.raises(WorkspaceError, match=f"did not answer on port {port} within 0.05 s; wait longer with --wait"):
        Server(process(), port).wait(longest=0.05)


def test_a_server_that_is_alive_is_never_given_up_unasked(monkeypatch):
    """A clock that runs hours ahead changes nothing; what listens at last is taken."""
    clock = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: next(clock))
    answers = iter([1, 1, 1, 0])
    monkeypatch.setattr(dashboard.socket.socket, "connect_ex", lambda *_: next(answers))
    said = []
    Server(process(), 1).wait(said.append)
    assert said == [
        f"it is still starting, after {s} s; a machine that is busy takes its time" for s in (3600, 7200, 10800)
    ]


def test_a_free_port_can_be_listened_on():
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", free_port()))


def test_a_workspace_without_tracked_runs_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(dashboard, "server", lambda *_: pytest.fail("started"))
    said = re.escape(f"{tmp_path / 'mlflow.db'}: nothing is tracked there yet; run a benchmark")
    with pytest.raises(WorkspaceError, match=said):
        serve(tmp_path, 0, print)


@pytest.mark.parametrize(("ends", "code"), [(lambda: 4, 4), (lambda: signal.raise_signal(signal.SIGINT), 0)])
def test_links_are_said_and_an_interrupt_is_a_good_end(tmp_path, monkeypatch, ends, code):
    (tmp_path / "mlflow.db").touch()
    asked = []

    @contextmanager
    def running(database, port, say, wait):
        asked.append((database, port, wait))
        yield SimpleNamespace(links=lambda: [("one", "http://somewhere")], process=SimpleNamespace(wait=ends))

    monkeypatch.setattr(dashboard, "server", running)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may ignore it
    said = []
    try:
        assert serve(tmp_path, 4321, said.append, 7.0) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [(tmp_path / "mlflow.db", 4321, 7.0)]
    assert said[0] == "one: http://somewhere"
    assert "press Ctrl-C to stop" in said[1]


def test_a_request_to_end_is_taken_like_an_interrupt_and_only_inside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), dashboard._told_to_end():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
