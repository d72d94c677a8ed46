"""A Ray cluster: what is placed, heard, lost, carried; and a real cluster of several nodes on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fusionbench import Message, Problem, Unit, UnitResult
from fusionbench.errors import ConfigError
from fusionbench_plugins.executors import ray as module
from fusionbench_plugins.executors.ray import RayCluster
from tests.executing import Heard, all_tables
from tests.front import TOY, run_toy, toy_benchmark, write_yaml

UNITS = [Unit(f"{i:012x}", f"unit {i}", (f"key{i}",), 2) for i in range(3)]
DONE = UnitResult(frozenset({"k"}))

# --------------------------------------------------------------------------------------------
# options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "ray://head:10001"}, r"'ray://' is Ray's client, which lacks what is needed here"),
        ({"cpus_per_task": 0}, "cpus_per_task, tasks and units_each must be 1 or more"),
        ({"retries": -1}, "retries 0 or more"),
        ({"tasks": 0}, "tasks and units_each must be 1 or more"),
        ({"silent_minutes": 0}, "silent_minutes and wait_minutes more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        RayCluster(**options)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"needs Ray, which is not installed: pip install 'fusionbench-core\[ray\]'"):
        RayCluster().require()


def test_ray_reports_nothing_and_a_cluster_of_this_machine_is_closed_to_others(monkeypatch):
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", module.LOOPBACK_ONLY):
        monkeypatch.delenv(name, raising=False)
    module._quiet_environment(local=False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_MODE" not in os.environ
    module._quiet_environment(local=True)
    assert (os.environ["RAY_AUTH_MODE"], os.environ[module.LOOPBACK_ONLY]) == ("token", "0")
    for name in (
        "RAY_USAGE_STATS_ENABLED",
        "RAY_AUTH_MODE",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
        module.LOOPBACK_ONLY,
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("resources", "options", "places"),
    [
        ({"CPU": 64.0, "GPU": 4.0}, {}, 4),
        ({"CPU": 64.0}, {}, 64),
        ({"CPU": 64.0, "GPU": 4.0}, {"gpus_per_task": 0, "cpus_per_task": 8}, 8),
        ({"CPU": 2.0, "GPU": 4.0}, {}, 2),
        ({}, {}, 1),
        ({}, {"tasks": 16}, 16),  # no node is there yet
    ],
)
def test_places_are_whole_gpus_where_there_are_any(monkeypatch, resources, options, places):
    class Ray:
        @staticmethod
        def is_initialized():
            return True

        @staticmethod
        def cluster_resources():
            return resources

        @staticmethod
        def nodes():
            return [{"Alive": True}, {"Alive": False}, {"Alive": True}]

    monkeypatch.setattr(module, "_ray", lambda: Ray)
    assert RayCluster(**options).places() == places
    assert RayCluster(**options).described() == "on Ray (2 nodes)"


# --------------------------------------------------------------------------------------------
# placing


class Played:
    """Ray, as a test plays it: at each look, what has ended and what is heard.

    Args:
        script: What each look finds: pairs of unit and outcome, and what is heard.
    """

    def __init__(self, script):
        self.script, self.running, self.given = list(script), {}, []
        self.cancelled, self.carries = [], False

    def give(self, unit):
        self.given.append((unit.name, self.carries))
        self.running[len(self.given)] = unit

    def carry(self):
        self.carries = True

    def ended(self):
        ended, self.now = self.script.pop(0)
        for unit, _ in ended:
            self.running.pop(next(ref for ref, known in self.running.items() if known == unit))
        return ended

    def heard(self):
        return [module._Heard(unit.name, worker, message) for unit, worker, message in self.now]

    def cancel(self, name):
        self.cancelled.append(name)


def play(script, units=UNITS[:1], retries=1, silent=1e9, wait=1e9):
    tasks, heard = Played(script), Heard()
    module._Placing(tasks, module.Tries(heard, retries), heard, silent, wait).all(units)
    return tasks, heard


def test_units_are_all_given_at_once_and_finished_as_they_end():
    first, *rest = UNITS
    begun = [(u, f"node {i}", Message()) for i, u in enumerate(UNITS)]
    tasks, heard = play([([], begun), ([(rest[0], DONE)], []), ([(first, DONE), (rest[1], DONE)], [])], UNITS)
    assert tasks.given == [(u.name, False) for u in UNITS]
    assert heard.workers == {u.name: f"node {i}" for i, u in enumerate(UNITS)}


def test_a_unit_that_ray_places_anew_was_lost():
    (unit,) = UNITS[:1]
    script = [
        ([], [(unit, "a", Message())]),
        ([], [(unit, "a", Message(1))]),
        ([], [(unit, "b", Message())]),
        ([(unit, DONE)], []),
    ]
    tasks, heard = play(script)
    assert heard.lost_units == [(unit.name, "its node or its process is gone")]
    assert len(tasks.given) == 1  # Ray itself has tried again
    assert heard.workers == {unit.name: "b"}


def test_a_node_that_does_not_share_the_folder_is_given_the_data():
    (unit,) = UNITS[:1]
    tasks, heard = play([([(unit, None)], []), ([(unit, DONE)], [])])
    assert tasks.given == [(unit.name, False), (unit.name, True)]
    assert heard.lost_units == []


def test_what_is_wrong_everywhere_ends_it_and_what_is_wrong_there_is_tried_again():
    (unit,) = UNITS[:1]
    with pytest.raises(ConfigError, match="another version"):
        play([([(unit, Problem("another version", everywhere=True))], [])])
    full = Problem("the disk is full", everywhere=False)
    tasks, heard = play([([(unit, full)], []), ([(unit, full)], [])])
    assert heard.lost_units == [(unit.name, "the disk is full")]
    assert heard.abandoned == [(unit.name, "lost 2 times, the last time on a worker: the disk is full")]
    assert len(tasks.given) == 2


def test_a_unit_that_says_nothing_is_stopped_and_one_that_waits_is_not():
    first, second = UNITS[:2]
    gone = Problem("TaskCancelledError: it was", everywhere=False)
    script = [([], [(first, "a", Message())]), ([], []), ([(first, gone)], []), ([(first, DONE), (second, DONE)], [])]
    tasks, heard = play(script, [first, second], silent=-1)
    assert tasks.cancelled[0] == first.name
    assert second.name not in tasks.cancelled
    assert heard.lost_units == [(first.name, "said nothing for longer than silent_minutes, and was stopped")]


def test_a_cluster_without_room_is_an_error_and_not_an_endless_wait():
    with pytest.raises(ConfigError, match=r"no Ray node has had room for a unit .* 1 units are waiting"):
        play([([], []), ([], [])], wait=-1)


def test_a_board_keeps_what_is_said_until_it_is_taken():
    board = module._Board()
    board.say(module._Heard("u", "w", Message()))
    assert board.taken() == [module._Heard("u", "w", Message())]
    assert board.taken() == []


# --------------------------------------------------------------------------------------------
# a real cluster

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'"
)
needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="hides folders from a node, which needs the rights to mount"
)
LONG = {
    "strategies": ["sum", "concat", "se_gate"],
    "splits": {"folds": 3},
    "training": {"epochs": 800, "patience": 800, "batch_size": 16, "population": 1},
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Nodes:
    """Ray's own programs, one group of processes for each node."""

    def __init__(self, folder):
        self.environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
        self.environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self.environment["RAY_TMPDIR"] = str(folder)
        self.address, self._all = f"127.0.0.1:{free_port()}", []
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        self.wait(1)

    def add(self, before=""):
        """Add a node of one core; ``before``: what is done in file systems of its own first."""
        self._start(f"--address={self.address}", "--num-cpus=1", before=before)
        self.wait(len(self._all))
        return len(self._all) - 1

    def _start(self, *words, before=""):
        ray = f"{sys.executable} -m ray.scripts.scripts start {' '.join(words)} --block --disable-usage-stats"
        command = (
            ["unshare", "--mount", "bash", "-c", f"{before} && exec {ray}"] if before else ["bash", "-c", f"exec {ray}"]
        )
        process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._all.append(process)

    def wait(self, number):
        look = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"

        def there():
            found = subprocess.run(
                [sys.executable, "-c", look, self.address],
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            return found.stdout.strip() == str(number)

        wait_for(there)

    def kill(self, number):
        """End a node without grace, with all that runs on it."""
        os.killpg(self._all[number].pid, signal.SIGKILL)
        self._all[number].wait()

    def stop(self):
        for process in reversed(self._all):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, config, workspace, *more):
        """Start a run on the cluster."""
        words = ["-m", "fusionbench", "run", config, "-p", TOY, "--workspace", workspace, "--json"]
        words += ["--executor", "ray", "--address", self.address, *more]
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def nodes(tmp_path_factory):
    # its sockets have paths of at most 107 characters
    folder = Path("/tmp") / f"ray-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    found = Nodes(folder)
    yield found
    found.stop()
    subprocess.run(["rm", "-rf", str(folder)], check=False)


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.2)


def models_in(workspace):
    return {p: p.stat().st_mtime_ns for p in (workspace / "results" / "fits").glob("[!.]*.safetensors")}


def notes_of(out):
    return [e["message"] for e in map(json.loads, out.splitlines()) if e["event"] == "note"]


def same_as_alone(config, workspace, tmp_path):
    run_toy(config, tmp_path / "alone", "--quiet")
    assert all_tables(workspace) == all_tables(tmp_path / "alone")


@pytest.mark.slow
@needs_ray
def test_it_passes_the_exam():
    code = "from fusionbench.cli import main; main(['check', 'ray'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout
    assert "8 passed, 0 failed" in found.stdout


@pytest.mark.slow
@needs_ray
def test_a_cluster_of_this_machine_listens_to_nobody_else(tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    words = ["-m", "fusionbench", "run", config, "-p", TOY, "--workspace", workspace, "--json", "--executor", "ray"]
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: models_in(workspace))
    said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    of_ray = [line.split()[3] for line in said if any(word in line for word in ("ray", "gcs_server", "fusionbench"))]
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert len(of_ray) > 3
    assert all("127.0.0.1" in address for address in of_ray), of_ray
    assert json.loads(out.splitlines()[-1])["code"] == 0
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_ray
def test_every_panel_of_a_file_is_worked_on(tmp_path):
    panels = {"one": {"strategies": ["sum"]}, "two": {"strategies": ["concat"]}}
    config = write_yaml(tmp_path / "toy.yaml", {**toy_benchmark(), "panels": panels})
    words = [
        "-m",
        "fusionbench",
        "run",
        config,
        "-p",
        TOY,
        "--workspace",
        tmp_path / "runs",
        "--executor",
        "ray",
        "--json",
    ]
    found = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr
    assert len(models_in(tmp_path / "runs")) == 4


@pytest.mark.slow
@needs_ray
def test_a_node_that_is_killed_loses_nothing(nodes, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    nodes.add()
    second = nodes.add()
    process = nodes.run(config, workspace)
    wait_for(lambda: len(models_in(workspace)) >= 2)
    nodes.kill(second)
    before = models_in(workspace)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert any("its node or its process is gone; it is tried again" in note for note in notes_of(out))
    after = models_in(workspace)
    assert {path: after[path] for path in before} == before  # nothing that was finished is done again
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_ray
def test_a_run_that_is_killed_goes_on_when_it_is_started_again(nodes, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    nodes.add()
    first = nodes.run(config, workspace)
    wait_for(lambda: len(models_in(workspace)) >= 2)
    first.kill()
    first.communicate()
    before = models_in(workspace)
    again = nodes.run(config, workspace)
    _, err = again.communicate(timeout=400)
    assert again.returncode == 0, err
    after = models_in(workspace)
    assert {path: after[path] for path in before} == before
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_ray
def test_an_interruption_stops_the_work_of_the_cluster(nodes, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    nodes.add()
    process = nodes.run(config, workspace)
    wait_for(lambda: models_in(workspace))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert any(e["event"] == "done" and e["interrupted"] for e in map(json.loads, out.splitlines()))
    left = models_in(workspace)
    time.sleep(8)  # longer than a model takes
    assert models_in(workspace) == left
    assert 0 < len(left) < 9


SLEEPING = '''
import time
from pathlib import Path
from torch import nn
from fusionbench import FusionStrategy, hookimpl


class Sleeping(FusionStrategy):
    """Sleeps the first time that it is trained anywhere."""

    stackable = False

    def __init__(self, spec, mark="mark"):
        super().__init__(spec)
        self.mark = Path(mark)
        self.heads = nn.ModuleDict({n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()})

    def forward(self, batch):
        if self.training and not self.mark.exists():
            self.mark.touch()
            time.sleep(3600)
        from fusionbench import FusionOutput

        return FusionOutput(sum(self.heads[n](batch.completed(n)) for n in batch.names))


@hookimpl
def register_fusion_strategies(register):
    register("sleeping", Sleeping)
'''


@pytest.mark.slow
@needs_ray
def test_a_task_that_hangs_is_stopped_and_tried_again(nodes, tmp_path):
    plugin, mark = tmp_path / "sleeping.py", tmp_path / "mark"
    plugin.write_text(SLEEPING, encoding="utf-8")
    document = toy_benchmark(strategies=["sum", {"name": "sleeping", "mark": str(mark)}])
    config, workspace = write_yaml(tmp_path / "toy.yaml", document), tmp_path / "runs"
    mark.touch()  # or the try of every option would sleep
    nodes.add()
    process = nodes.run(config, workspace, "-p", plugin, "--set", "execution.silent_minutes=0.15")
    wait_for((workspace / "cache" / "prepared").is_dir)
    mark.unlink()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert mark.exists()
    assert any("said nothing for longer than silent_minutes" in note for note in notes_of(out))
    assert len(models_in(workspace)) == 4


@pytest.mark.slow
@needs_ray
@needs_root
def test_a_node_without_the_folder_gets_data_and_sends_results(nodes, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    workspace.mkdir()
    nodes.add(f"mount -t tmpfs none {workspace}")
    process = nodes.run(config, workspace)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert len(models_in(workspace)) == 9
    assert not any("lost" in note for note in notes_of(out))
    same_as_alone(config, workspace, tmp_path)


@pytest.mark.slow
@needs_ray
@needs_root
def test_a_node_with_another_version_of_a_plugin_is_one_clear_error(nodes, tmp_path):
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark()), tmp_path / "runs"
    plugin = Path(module.__file__).parents[1] / "strategies" / "concat.py"
    other = tmp_path / "concat.py"
    other.write_text(plugin.read_text(encoding="utf-8") + "\n# another version\n", encoding="utf-8")
    nodes.add(f"mount --bind {other} {plugin}")
    process = nodes.run(config, workspace)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    reason = json.loads(out.splitlines()[-1])["reason"]
    assert "fusion strategy 'concat' of fusionbench-core" in reason
    assert "where the run was started" in reason
    assert models_in(workspace) == {}


@pytest.mark.slow
@needs_ray
@needs_root
def test_a_full_disk_on_one_node_costs_no_model(nodes, tmp_path):
    """The node sees the folder, and cannot write one of its own: units that it is given are done by the other."""
    config, workspace = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**LONG)), tmp_path / "runs"
    fits = workspace / "results" / "fits"
    fits.mkdir(parents=True)
    nodes.add()
    nodes.add(f"mount -t tmpfs -o size=4k none {fits} && head -c 4096 /dev/zero > {fits}/full")
    process = nodes.run(config, workspace, "--set", "execution.retries=20")
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert any("cannot be written: No space left on device" in note and "tried again" in note for note in notes_of(out))
    same_as_alone(config, workspace, tmp_path)
