"""The command line: exit codes, what is printed where, what is trained again and what is not."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from fusionbench import __version__
from tests.forked import Forked, forks
from tests.front import TOY, Outcome, fusionbench, python, run_toy, strategy, tables, toy_benchmark, write_yaml

MOODS = '''
"""Strategies whose mood depends on the environment, and so not on the file."""

import os
import time

from torch import nn

from fusionbench import FusionStrategy, hookimpl


class Calm(FusionStrategy):
    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleDict({n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()})

    def forward(self, batch):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return sum(head(batch.observed(name)) for name, head in self.heads.items())


class Raises(Calm):
    def forward(self, batch):
        if "BAD_MOOD" in os.environ:
            raise RuntimeError("expected [batch, dim] and [/no] markup")
        return super().forward(batch)


class Diverges(Calm):
    def loss(self, output, batch, target):
        return super().loss(output, batch, target) * float("nan" if "BAD_MOOD" in os.environ else 1)


@hookimpl
def register_fusion_strategies(register):
    for cls in (Calm, Raises, Diverges):
        register(cls.__name__.lower(), cls)
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace in which the toy benchmark was run, and what was printed; copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    config = write_yaml(folder / "toy.yaml", toy_benchmark())
    outcome = run_toy(config, folder / "runs")
    assert outcome.code == 0, outcome
    return folder, outcome


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished workspace, and its benchmark file."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy" / "toy.yaml", tmp_path / "copy" / "runs"


@pytest.fixture
def moods(tmp_path):
    path = tmp_path / "moods.py"
    path.write_text(MOODS, encoding="utf-8")
    return path


def trained(outcome: Outcome) -> str:
    """The last line about training, without the seconds."""
    (line,) = [s for s in outcome.out.splitlines() if " models trained in " in s]
    return line.split(" in ")[0]


def fits(workspace: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (workspace / "results" / "fits").glob("*.safetensors")}


def failures(workspace: Path) -> list[dict[str, str]]:
    return [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted((workspace / "results" / "failures").glob("*.json"))
    ]


# ---------------------------------------------------------------- before anything heavy


def test_help_names_every_command():
    outcome = fusionbench("--help")
    assert outcome.code == 0
    assert all(f" {command} " in outcome.out for command in ("run", "list", "show", "data"))


def test_version():
    assert fusionbench("--version") == Outcome(0, f"fusionbench {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["runn"], ["run"], ["run", "x.yaml", "--limit", "-1"], ["list", "--brokn"]])
def test_usage_errors_exit_with_2_and_say_how(arguments):
    outcome = fusionbench(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: " in outcome.err


def test_quick_answers_import_nothing_heavy(tmp_path):
    bad = write_yaml(tmp_path / "bad.yaml", toy_benchmark(trainin={}))
    misspelt = write_yaml(tmp_path / "misspelt.yaml", toy_benchmark(task="mimic_imh", strategies=["conct"]))
    code = """
import sys
from fusionbench.cli import app, guarded
commands = [["--help"], ["run", "--help"], ["--version"], ["list"], ["list", "imputers"], ["show", "nonsense"],
            ["run", sys.argv[1]], ["run", sys.argv[2]], ["run", "nowhere.yaml"], ["run", sys.argv[2], "--set", "x=1"]]
codes = [guarded(lambda: app(c, standalone_mode=False)) for c in commands]
heavy = {"torch", "mlflow", "optuna", "pandas", "numpy", "duckdb", "timm", "transformers", "sklearn", "scipy", "matplotlib"}
print(codes, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = python(code, str(bad), str(misspelt))
    assert done.stderr.splitlines()[-1] == "[0, 0, 0, 0, 0, 2, 2, 2, 2, 2] []", done.stderr


# ---------------------------------------------------------------- list and show


def test_list_shows_kind_name_and_distribution():
    outcome = fusionbench("list")
    assert outcome.code == 0
    whose = f"fusionbench-core {__version__}"
    said = "Concat fusion: lay the embeddings side by side and classify"
    assert f"strategies    concat               {whose:<24} {said}" in outcome.out.splitlines()
    assert fusionbench("list", "imputers").out == "".join(
        f"{line}\n" for line in outcome.out.splitlines() if line.startswith("imputers ")
    )


def test_list_of_an_unknown_kind_names_the_kinds():
    outcome = fusionbench("list", "strategy")
    assert outcome.code == 2
    assert outcome.err == (
        "error: no kind 'strategy'; did you mean 'strategies'?\n"
        "  kinds: tasks, encoders, imputers, strategies, regularisers, missingness, papers, executors, observers\n"
    )


def test_list_shows_broken_files_with_their_reason(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text("import no_such_module", encoding="utf-8")
    outcome = fusionbench("list", "-p", path)
    assert outcome.code == 0
    assert f"broken        {path} file my_fusion.py: ModuleNotFoundError: No module named" in outcome.out
    assert fusionbench("list", "--broken", "-p", path).code == 1


def test_list_shows_names_taken_twice_and_how_to_leave_one_out(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text(strategy("concat"), encoding="utf-8")
    assert "REFUSED: fusion strategy 'concat' is offered by file my_fusion.py and fusionbench" in fusionbench("list", "-p", path).out  # fmt: skip
    assert "REFUSED" not in fusionbench("list", "-p", path, "--no-plugin", "strategies.concat").out
    assert fusionbench("list", "--no-plugin", "conct").code == 2


def test_show_says_what_a_plugin_is_and_takes():
    outcome = fusionbench("show", "concat")
    assert outcome.code == 0
    assert outcome.out.startswith(f"fusion strategy concat  (fusionbench-core {__version__})\n")
    assert "\nOptions:\n  head_hidden     None   Units of one hidden layer" in outcome.out
    assert "\nProvenance:\n  paper " in outcome.out
    assert fusionbench("show", "strategies.concat") == outcome


def test_show_works_for_every_plugin_of_the_house():
    """Takes long: it imports and builds every plugin, those of transformers and timm too, and counts what each costs."""
    names = [line.split()[:2] for line in fusionbench("list").out.splitlines()]
    shown = [fusionbench("show", f"{kind}.{name}") for kind, name in names]
    assert [n for n, s in zip(names, shown, strict=True) if s.code or n[1] not in s.out] == []


def test_show_of_a_file_and_of_what_is_not_there(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text(strategy("votes"), encoding="utf-8")
    assert "\n  scale  1.0  Mul" in fusionbench("show", "votes", "-p", path).out
    outcome = fusionbench("show", "vote", "-p", path)
    assert outcome == Outcome(
        2, "", "error: no plugin named 'vote'; did you mean 'votes'?\n  'fusionbench list' shows all of them\n"
    )
    path.write_text("1 / 0", encoding="utf-8")
    assert (
        f"{path} of file my_fusion.py did not load: ZeroDivisionError" in fusionbench("show", "votes", "-p", path).err
    )


# ---------------------------------------------------------------- errors of the user


def test_configuration_errors_go_to_standard_error_without_a_traceback(tmp_path):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(trainin={}, missingness={"rates": [1.2]}))
    outcome = run_toy(config, tmp_path / "runs")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {config}:")
    assert "trainin: unknown key; did you mean 'training'?" in outcome.err
    assert "missingness.rates[0]: must be less than 1, found 1.2" in outcome.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ["conct"]}, "strategies[0].name: no fusion strategy named 'conct'; did you mean 'concat'?"),
        ({"strategies": [{"name": "concat", "hidden": 1}]}, "strategies[0]: fusion strategy 'concat' has no option 'hidden'"),
        ({"strategies": [{"name": "sum", "variant": "x"}]}, "strategies[0]: fusion strategy 'sum': variant must be"),
        ({"task": {"name": "toy", "row": 3}}, "task: task 'toy' has no option 'row'; did you mean 'rows'?"),
        ({"observers": [{"name": "files", "x": 1}]}, "observers[0]: observer 'files' has no option 'x'"),
        ({"missingness": {"mechanism": {"name": "mcar", "x": 1}}}, "missingness.mechanism: missingness mechanism 'mcar' has no option 'x'"),
        ({"missingness": {"patterns": ["d"]}}, "missingness.patterns: "),
        ({"encoders": {"a": "identity"}}, "encoders: none for modality b, c; the task offers a, b, c"),
        ({"encoders": dict.fromkeys("abc", "image_grid")}, "encoder 'image_grid' reads image, but modality 'a' is vector"),
        ({"splits": {"folds": 90}}, "splits.folds is too large"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_trained(tmp_path, changes, message):
    outcome = run_toy(write_yaml(tmp_path / "b.yaml", toy_benchmark(**changes)), tmp_path / "runs")
    assert outcome.code == 2, outcome
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert "models trained" not in outcome.out


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:99", ""])
def test_a_device_that_cannot_be_used_is_refused(tmp_path, device):
    outcome = run_toy(write_yaml(tmp_path / "b.yaml", toy_benchmark()), tmp_path / "runs", "--device", device)
    assert outcome.code == 2
    assert f"error: --device {device}: " in outcome.err
    assert outcome.err.endswith("accepted: auto, cpu, cuda, cuda:<n>, mps\n")


def test_a_workspace_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    outcome = run_toy(config, tmp_path / "file" / "runs")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: the result store {tmp_path / 'file' / 'runs' / 'results'} cannot be written: Not a directory; "
        "choose another folder with --workspace\n"
    )


def test_dials_of_synthetic_data_are_checked(tmp_path):
    for given, message in (("stays", "expected key.key=value"), ("stays=[", "not valid YAML"), ("stay=5", "stays")):
        outcome = fusionbench("data", "synth", tmp_path / "cohort", "--set", given)
        assert outcome.code == 2, outcome
        assert message in outcome.err
    assert fusionbench("data", "synth", tmp_path / "cohort", "--task", "mimic").code == 2


# ---------------------------------------------------------------- what is trained again


def test_a_run_prints_the_plan_the_leaderboard_and_where_everything_lies(finished):
    folder, outcome = finished
    assert outcome.err == ""
    assert "8 cells (2 arms x 2 folds x 1 seeds, 2 conditions): 0 stored, 8 to do = 4 models" in outcome.out
    assert trained(outcome) == "done: 4 models trained"
    assert f"files in {folder / 'runs' / 'reports' / 'toy'}:\n  leaderboard.csv, " in outcome.out
    assert outcome.out.count("SYNTHETIC DATA: no patient is in it") == 2
    assert tables(folder / "runs")["leaderboard.csv"].splitlines()[1].endswith(b",True,False")


def test_a_second_run_trains_nothing_and_leaves_every_byte(again):
    config, workspace = again
    before, stored = tables(workspace), fits(workspace)
    outcome = run_toy(config, workspace)
    assert outcome.code == 0
    assert "8 stored, 0 to do = 0 models" in outcome.out
    assert trained(outcome) == "done: 0 models trained"
    assert tables(workspace) == before
    assert fits(workspace) == stored


def test_comments_and_layout_train_nothing(again):
    config, workspace = again
    config.write_text(
        "# a comment\n" + config.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 2  # few"), encoding="utf-8"
    )
    assert trained(run_toy(config, workspace)) == "done: 0 models trained"


def test_an_added_strategy_is_the_only_one_trained(again):
    config, workspace = again
    before = fits(workspace)
    write_yaml(config, toy_benchmark(strategies=["late_average", "concat", "sum"]))
    outcome = run_toy(config, workspace)
    assert trained(outcome) == "done: 2 models trained"
    assert before.items() <= fits(workspace).items()
    assert b",late_average,zero," in tables(workspace)["leaderboard.csv"]


def test_a_removed_strategy_leaves_the_table_and_comes_back_untrained(again):
    config, workspace = again
    before = tables(workspace)
    write_yaml(config, toy_benchmark(strategies=["sum"]))
    assert trained(run_toy(config, workspace)) == "done: 0 models trained"
    assert b"concat" not in tables(workspace)["leaderboard.csv"]
    write_yaml(config, toy_benchmark())
    assert trained(run_toy(config, workspace)) == "done: 0 models trained"
    assert tables(workspace) == before


def test_fresh_trains_again_with_the_same_numbers(again):
    config, workspace = again
    before, stored = tables(workspace), fits(workspace)
    outcome = run_toy(config, workspace, "--fresh")
    assert "0 stored, 8 to do" in outcome.out
    assert trained(outcome) == "done: 4 models trained"
    assert tables(workspace) == before
    assert fits(workspace).keys() == stored.keys()


def test_dry_run_trains_nothing_and_removes_nothing(again, tmp_path):
    config, workspace = again
    outcome = run_toy(config, tmp_path / "new", "--dry-run")
    assert outcome.code == 0
    assert "0 stored, 8 to do = 4 models" in outcome.out
    assert fits(tmp_path / "new") == {}
    assert not (tmp_path / "new" / "reports").exists()
    stored = fits(workspace)
    outcome = run_toy(config, workspace, "--dry-run", "--fresh")
    assert "0 stored, 8 to do = 4 models" in outcome.out
    assert fits(workspace) == stored


def test_limit_trains_that_many_and_the_next_run_the_rest(finished, tmp_path):
    config = finished[0] / "toy.yaml"
    first = run_toy(config, tmp_path / "runs", "--limit", 3)
    assert trained(first) == "done: 3 models trained"
    assert "incomplete: 1 of 2 models" in first.out
    second = run_toy(config, tmp_path / "runs")
    assert trained(second) == "done: 1 models trained"
    assert tables(tmp_path / "runs") == tables(finished[0] / "runs")


def test_limit_zero_prints_an_empty_result(tmp_path):
    outcome = run_toy(write_yaml(tmp_path / "b.yaml", toy_benchmark()), tmp_path / "runs", "--limit", 0)
    assert outcome.code == 0, outcome
    assert trained(outcome) == "done: 0 models trained"


def test_quiet_shows_results_only(again):
    config, workspace = again
    loud, quiet = run_toy(config, workspace), run_toy(config, workspace, "--quiet")
    assert "to do" in loud.out
    assert "to do" not in quiet.out
    assert "intervals" not in quiet.out
    assert "leaderboard.csv" in quiet.out


def test_set_and_workspace_from_the_environment(again, monkeypatch):
    config, workspace = again
    monkeypatch.setenv("FUSIONBENCH_WORKSPACE", str(workspace))
    outcome = fusionbench("run", config, "-p", TOY, "--set", "splits.seeds=[0, 1]", "--set", "name=two")
    assert "16 cells (2 arms x 2 folds x 2 seeds, 2 conditions): 8 stored, 8 to do = 4 models" in outcome.out
    assert tables(workspace, "two")["cells.csv"].count(b"\n") > tables(workspace)["cells.csv"].count(b"\n")


def test_labels_that_look_like_markup_are_printed_as_they_are(tmp_path):
    strategies = [{"name": "sum", "label": "[bold] sum"}, {"name": "concat", "label": "[/x]"}]
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=strategies))
    outcome = run_toy(config, tmp_path / "runs")
    assert outcome.code == 0
    assert "│ [bold] sum │" in outcome.out
    assert "│ [/x]       │" in outcome.out


@pytest.mark.filterwarnings("default:::(mlflow|sqlalchemy|pydantic|alembic)")
def test_with_mlflow_a_second_run_still_leaves_every_byte(tmp_path):
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=["sum"], observers=["files", "mlflow"]))
    first = run_toy(config, tmp_path / "runs")
    assert first.code == 0, first
    command = shlex.join(["fusionbench", "dashboard", "--workspace", str(tmp_path / "runs")])
    assert f"next: {command}\n" in first.out
    before = tables(tmp_path / "runs")
    assert trained(run_toy(config, tmp_path / "runs")) == "done: 0 models trained"
    assert tables(tmp_path / "runs") == before


# ---------------------------------------------------------------- what fails


@pytest.mark.parametrize(
    ("name", "reason", "place"),
    [("raises", "RuntimeError: expected [batch, dim] and [/no] markup", "moods.py"), ("diverges", "diverged", "")],
)
@pytest.mark.parametrize("trials", [0, 2], ids=["untuned", "tuned"])
def test_a_strategy_that_fails_fails_alone_and_only_it_is_tried_again(
    tmp_path, moods, monkeypatch, name, reason, place, trials
):
    config = write_yaml(
        tmp_path / "b.yaml",
        toy_benchmark(
            strategies=["sum", name],
            tuning={
                "trials": trials,
                "untuned": False,
                "common": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
            },
        ),
    )
    workspace = tmp_path / "runs"
    monkeypatch.setenv("BAD_MOOD", "yes")
    for expected in (2, 0):  # the second run tries what failed, and nothing else
        outcome = run_toy(config, workspace, "-p", moods)
        assert (outcome.code, outcome.err) == (1, "")
        assert trained(outcome) == f"done: {expected} models trained"
        assert "2 failed; the next run tries them again" in outcome.out
        printed = "".join(line.strip("│ ") for line in outcome.out.replace("│ ", "").splitlines())
        assert reason.replace(" ", "") in printed.replace(" ", "")
        assert len(fits(workspace)) == 2
        assert len(failures(workspace)) == 2
        assert all(reason in f["reason"] and place in f["reason"] for f in failures(workspace))
        board = tables(workspace)["leaderboard.csv"].decode()
        assert ",sum,zero," in board
        assert f"{name},zero,,,,,," not in board.split(",sum,zero,")[0]
    monkeypatch.delenv("BAD_MOOD")
    healed = run_toy(config, workspace, "-p", moods)
    assert healed.code == 0, healed
    assert trained(healed) == "done: 2 models trained"
    assert failures(workspace) == []
    monkeypatch.setenv("BAD_MOOD", "yes")
    assert run_toy(config, workspace, "-p", moods).code == 0


# ---------------------------------------------------------------- Ctrl-C


def interrupt(process: Forked, when) -> tuple[str, str]:
    """Send SIGINT as soon as ``when()`` is true."""
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run never came so far"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


def test_an_interrupt_while_the_data_are_prepared(tmp_path):
    task = tmp_path / "stopped.py"
    task.write_text(
        Path(TOY)
        .read_text(encoding="utf-8")
        .replace("        draw = np", "        raise KeyboardInterrupt\n        draw = np"),
        encoding="utf-8",
    )
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark())
    outcome = fusionbench("run", config, "-p", task, "--workspace", tmp_path / "runs")
    assert outcome == Outcome(130, "interrupted; the same command goes on where it stopped\n", "")


def test_an_interrupt_anywhere_else_is_no_traceback(tmp_path):
    path = tmp_path / "stopped.py"
    path.write_text("raise KeyboardInterrupt", encoding="utf-8")
    outcome = fusionbench("list", "-p", path)
    assert (outcome.code, outcome.out) == (130, "")


@pytest.mark.slow  # a quarter of a minute; that killed runs are resumed is in the quick suite
def test_an_interrupted_run_is_resumed_to_the_same_bytes(tmp_path, moods):
    """Takes long: a run must be long enough to be interrupted in the middle of each of its parts."""
    config = write_yaml(
        tmp_path / "b.yaml",
        toy_benchmark(
            strategies=[
                "calm",
                {"name": "calm", "label": "calmer", "corruption": {"policy": "bernoulli", "rate": 0.3}},
            ],
            splits={"folds": 2, "seeds": [0, 1]},
            training={"epochs": 8, "patience": 8, "batch_size": 32, "population": 2},  # long enough to be interrupted
            tuning={"trials": 3, "batch": 1, "common": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}},
        ),
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_toy(config, whole, "-p", moods).code == 0

    def tuning():
        return any(p.stat().st_size > 2000 for p in (broken / "results" / "studies").glob("*.journal"))

    with forks(tmp_path) as processes:
        for when in (tuning, lambda: fits(broken)):
            process = processes.start("run", config, "-p", TOY, "-p", moods, "--workspace", broken, SLOW="0.1")
            out, err = interrupt(process, when)
            assert process.returncode == 130, (out, err)
            assert "interrupted; the same command goes on where it stopped" in out
            assert "Traceback" not in err
    left = len(fits(broken))
    assert 0 < left < 8
    outcome = run_toy(config, broken, "-p", moods)
    assert outcome.code == 0
    assert trained(outcome) == f"done: {8 - left} models trained"
    assert tables(broken) == tables(whole)


def test_data_check_says_what_is_in_a_table_and_what_would_stop_a_run(tmp_path):
    rows = 12
    labels = [i % 2 for i in range(rows)]
    (tmp_path / "manifest.csv").write_text(
        "sample_id,split,label,has_a\n"
        + "".join(f"s{i},{'test' if i > 7 else 'train'},{y},1\n" for i, y in enumerate(labels)),
        encoding="utf-8",
    )
    np.save(tmp_path / "a.npy", np.arange(2 * rows, dtype=np.float32).reshape(rows, 2))
    benchmark = tmp_path / "table.yaml"
    benchmark.write_text(
        f"name: t\ntask: {{name: table, root: {tmp_path}}}\nencoders: {{a: identity}}\nstrategies: [concat]\n",
        encoding="utf-8",
    )
    found = fusionbench("data", "check", benchmark)
    assert found.code == 0
    assert "12 rows" in found.out
    (tmp_path / "a.npy").unlink()
    found = fusionbench("data", "check", benchmark)
    assert found.code == 2
    assert "problem:" in found.out


def test_data_check_of_a_task_without_one_describes_the_prepared_data(tmp_path):
    benchmark = tmp_path / "toy.yaml"
    benchmark.write_text(
        "name: t\ntask: toy\nencoders: {a: identity, b: identity, c: mlp}\nstrategies: [concat]\n", encoding="utf-8"
    )
    found = fusionbench("data", "check", benchmark, "-p", TOY, "--workspace", tmp_path / "ws")
    assert found.code == 0, found.err
    assert " rows of " in found.out
    assert "modality a:" in found.out
    assert "picture:" not in found.out


def test_the_merged_file_is_printed_and_nothing_is_prepared(tmp_path):
    write_yaml(tmp_path / "parent.yaml", toy_benchmark())
    child = write_yaml(tmp_path / "child.yaml", {"extends": "parent.yaml", "name": "child", "splits": {"folds": 3}})
    outcome = run_toy(child, tmp_path / "runs", "--dry-run", "--merged")
    merged = yaml.safe_load(outcome.out)
    assert (outcome.code, merged["name"], merged["splits"], merged["model"]) == (0, "child", {"folds": 3}, {"width": 4})
    assert not (tmp_path / "runs").exists()
    alone = run_toy(child, tmp_path / "runs", "--merged")
    assert (alone.code, "write --dry-run --merged" in alone.err) == (2, True)
