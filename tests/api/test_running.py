"""fusionbench.run and fusionbench.load."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import fusionbench
from fusionbench.api import running
from fusionbench.errors import ConfigError, DataError, PluginError
from fusionbench.screen.notebook import Interrupted
from tests.api.toys import BENCHMARK, Plain, made
from tests.front import TOY


def test_a_dictionary_data_in_memory_and_a_class_make_a_leaderboard(ran):
    results, workspace = ran
    assert set(results.leaderboard["strategy"]) == {"concat", "sum", "plain", "prevalence"}
    assert results.failures == {}
    assert (workspace / "reports" / "mine" / "report.html").is_file()


def test_what_is_stored_is_not_trained_again_and_another_seed_is(ran, monkeypatch):
    results, workspace = ran
    again = fusionbench.run(BENCHMARK, [Plain], dataset=made(), workspace=workspace, quiet=True)
    assert again.curves.equals(results.curves)
    assert (again.cells["key"] == results.cells["key"]).all()


def test_settings_are_laid_over_and_names_of_files_and_plugins_are_taken(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(
        "name: toy\ntask: {name: toy, rows: 120}\nencoders: {a: identity, b: identity, c: identity}\nmodel: {width: 4}\n"
        "strategies: [concat]\nsplits: {folds: 2}\nobservers: []\nevaluation: {resamples: 100}\n",
        encoding="utf-8",
    )
    found = fusionbench.run(
        path,
        ["sum"],
        plugins=[TOY],
        workspace=tmp_path / "runs",
        training={"epochs": 1},
        missingness={"patterns": ["a"], "rates": [0, 0.5]},
        quiet=True,
    )
    assert set(found.curves["pattern"]) == {"a"}
    assert set(found.leaderboard["strategy"]) == {"concat", "sum", "prevalence"}
    assert found.record["configuration"]["training"]["epochs"] == 1
    with pytest.raises(DataError, match=r"no such page"):
        found.report()


def test_a_child_in_a_dictionary_extends_a_shipped_file_and_a_panel_is_named():
    with pytest.raises(ConfigError, match=r"choose one with panel="):
        fusionbench.run({"extends": "demo", "name": "child"}, quiet=True)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "says"),
    [
        (["no_such_benchmark"], {}, ConfigError, "neither a file nor the name of a benchmark"),
        (
            [{**BENCHMARK, "trainin": {}}],
            {"dataset": None},
            ConfigError,
            "trainin: unknown key; did you mean 'training'",
        ),
        ([BENCHMARK, [int]], {}, PluginError, "class int is no plugin: derive it from one of fusionbench.Task"),
        ([BENCHMARK], {"dataset": 3}, ConfigError, r"dataset: a data set expected, found int"),
        ([BENCHMARK, [Plain]], {"device": "cpu,cpu"}, ConfigError, None),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, arguments, settings, error, says):
    if says is None:  # a class of a module is known to other processes; one of a session is not
        session = type("Session", (Plain,), {"__module__": "__main__", "__qualname__": "Session"})
        arguments, says = [arguments[0], [session]], "source|several processes"
        error = (ConfigError, PluginError)
    given = {"dataset": made(), **settings}
    with pytest.raises(error, match=says):
        fusionbench.run(*arguments, workspace=tmp_path, quiet=True, **{k: v for k, v in given.items() if v is not None})
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("given", "elsewhere", "says"),
    [
        (
            [Plain],
            {"device": "cpu,cpu"},
            "device: 'cpu,cpu' starts several processes, and a class of this session is in none",
        ),
        (
            [Plain],
            {"execution": "local"},
            "execution: local works in other processes, and a class of this session is in none",
        ),
        (
            [],
            {"execution": {"name": "ray"}},
            "execution: ray works in other processes, and data of this session are in none",
        ),
    ],
)
def test_what_only_this_session_has_is_not_sent_elsewhere(tmp_path, given, elsewhere, says):
    with pytest.raises(ConfigError, match=says):
        fusionbench.run(BENCHMARK, given, dataset=made(), workspace=tmp_path, quiet=True, **elsewhere)


def test_the_package_that_is_called_says_what_the_function_takes():
    assert callable(fusionbench.run)
    assert inspect.signature(fusionbench.run) == inspect.signature(running.run)
    assert "Run a benchmark" in str(fusionbench.run.__doc__)
    from fusionbench.run.runner import Run

    assert Run.__module__ == "fusionbench.run.runner"


def test_load_finds_the_run_and_says_which_there_are(ran, tmp_path):
    results, workspace = ran
    assert fusionbench.load(workspace).name == "mine"
    assert fusionbench.load(workspace / "reports" / "mine").leaderboard.equals(results.leaderboard)
    with pytest.raises(DataError, match="no report of 'other'"):
        fusionbench.load(workspace, "other")
    with pytest.raises(DataError, match="neither a workspace nor a report folder"):
        fusionbench.load(tmp_path)


def test_ctrl_c_ends_the_call_in_one_line_and_the_same_call_goes_on(tmp_path, monkeypatch):
    from fusionbench.run.runner import Run

    def pressed(*_):
        raise KeyboardInterrupt

    for method in ("_train", "prepare"):  # while models are trained, and before
        with monkeypatch.context() as patch:
            patch.setattr(Run, method, pressed)
            with pytest.raises(Interrupted, match="what was trained is stored") as stopped:
                fusionbench.run(BENCHMARK, dataset=made(), workspace=tmp_path, quiet=True)
        assert isinstance(stopped.value, KeyboardInterrupt)
        assert stopped.value._render_traceback_() == [str(stopped.value)]
    found = fusionbench.run(BENCHMARK, dataset=made(), workspace=tmp_path, quiet=True)
    assert set(found.leaderboard["strategy"]) == {"concat", "sum", "prevalence"}


def test_importing_the_package_imports_nothing_heavy_and_completes_its_names():
    code = (
        "import sys, fusionbench; before = set(sys.modules); names = dir(fusionbench)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'mlflow', 'pydantic', 'yaml'} & before\n"
        "assert not heavy, heavy\n"
        "assert {'run', 'load', 'fit', 'dataset', 'Results', 'Model', 'FusionStrategy', 'hookimpl'} <= set(names), names\n"
        "assert fusionbench.run is not None and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
