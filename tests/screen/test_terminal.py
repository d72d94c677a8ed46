"""What is said while a run goes on: bars on a terminal, lines elsewhere, nothing when quiet, JSON for programs."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fusionbench.screen.bars import PlainProgress, picture
from fusionbench.screen.terminal import files_by_folder, next_commands, print_summary
from fusionbench_plugins.observers.html import Html
from tests.builders import make_benchmark, make_run
from tests.front import TOY, fusionbench, python, toy_benchmark, write_yaml


def console(is_terminal):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=200, color_system=None)


def screen(stage, width, ended=False, encoding="utf-8"):
    """The lines of a stage on a terminal of that width."""
    file = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")  # as the command writes
    drawn = Console(file=file, force_terminal=True, width=width, color_system=None)
    drawn.print(picture(drawn, stage, ended))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


def test_long_lines_are_not_broken_where_the_output_is_no_terminal():
    screen = console(False)
    PlainProgress(screen).note("x" * 500)
    assert screen.file.getvalue() == "x" * 500 + "\n"


# ---------------------------------------------------------------- the end of a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two arms, one with a long name, and its record as the page leaves it."""
    strategies = ["sum", {"name": "concat", "label": "concat with a name of some length"}]
    run = make_run(tmp_path_factory.mktemp("end") / "runs", strategies=strategies)
    return run.execute([Html(run.benchmark, run.workspace)])


def said(summary, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")  # as the command writes
    print_summary(Console(file=file, force_terminal=True, width=width, color_system=None), summary)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


ALWAYS = ["group", "strategy", "imputer", "area [95 %]"]
MORE = ["at 0%", "at 50%", "skill", "AUPRC", "Brier", "trials", "epochs", "params", "seconds"]


@pytest.mark.parametrize(("width", "more"), [(60, 0), (80, 0), (100, 3), (140, 7), (200, 9)])
def test_columns_of_the_leaderboard_fall_away_from_the_right_and_never_the_area(finished, width, more):
    text = said(finished, width)
    board = finished.tables.leaderboard
    header = next(line for line in text.splitlines() if "strategy" in line and "┃" in line)
    assert [c.strip() for c in header.strip("┃").split("┃")] == ALWAYS + MORE[:more]
    for _, row in board.iterrows():
        area = f"{row['area']:.3f} [{row['area_low']:.3f}, {row['area_high']:.3f}]".replace("0.", ".")
        assert area in text
    gone = " ".join(text.split("too narrow: ")[1].split("area:")[0].split()).split(", ") if more < len(MORE) else []
    assert gone == MORE[more:]
    assert ("too narrow" in text) == bool(gone)
    table = text[text.index("┏") : text.index("┘")]
    assert max(map(len, table.splitlines())) <= width


def test_the_answer_comes_before_the_table_and_groups_are_set_apart(finished):
    text = said(finished, 140)
    for sentence in finished.answer.sentences:
        assert " ".join(sentence.split()[:6]) in text[: text.index("┏")]
    separated = text[text.index("┏") : text.index("└")].count("├")
    assert separated == finished.tables.leaderboard["group"].nunique() - 1


def test_lines_have_their_names_for_readers(finished):
    assert "Sum " in said(finished, 140)


def test_processor_seconds_stand_beside_seconds(finished):
    assert re.search(r"models trained in \S+ \S+ \(\S+ \S+ of processors\)", said(finished, 140))


def test_without_unicode_the_leaderboard_is_drawn_in_ascii(finished):
    assert "| group | strategy" in said(finished, 140, encoding="ascii")


def test_no_colour_leaves_everything_readable(finished, monkeypatch):
    def printed():
        file = io.StringIO()
        print_summary(Console(file=file, force_terminal=True, width=140, color_system="standard"), finished)
        return file.getvalue()

    colour = re.compile(r"\x1b\[(\d+;)*[349][0-7](;\d+)*m")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = printed()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed()
    assert colour.search(coloured)
    assert not colour.search(plain)
    assert [re.sub(r"\x1b\[[\d;]*m", "", text) for text in (coloured, plain)] == [said(finished, 140)] * 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_an_encoding_does_not_have_do_not_end_a_run(tmp_path, encoding):
    strategies = [{"name": "sum", "label": "\u03a9"}]
    config = write_yaml(tmp_path / "b.yaml", toy_benchmark(strategies=strategies))
    done = python(CLI, "run", str(config), "-p", TOY, "--workspace", str(tmp_path / "runs"), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "? / zero" in done.stdout or "| ? " in done.stdout
    assert "done: 2 models trained" in done.stdout


CLI = "import sys; from fusionbench.cli import main; sys.argv[0] = 'fusionbench'; main()"


def test_files_are_listed_by_folder_and_pages_with_their_path(finished):
    a, b = Path("/runs/reports/" + "a" * 80), Path("/runs")
    files = {"curves.csv": a / "curves.csv", "tracked": b / "t.jsonl", "report.html": a / "report.html"}
    assert files_by_folder(files) == {a: ["curves.csv", "report.html"], b: ["tracked (t.jsonl)"]}
    lines = [line.rstrip() for line in said(replace(finished, files=files), 80).splitlines()]
    assert lines[-6:-1] == [
        f"files in {a}:",
        "  curves.csv, report.html",
        "files in /runs:",
        "  tracked (t.jsonl)",
        f"report: {a / 'report.html'}",  # never broken, to be copied
    ]


def test_names_of_files_are_broken_between_words(finished):
    files = {f"table_{i}.csv": Path(f"/runs/table_{i}.csv") for i in range(20)}
    lines = said(replace(finished, files=files), 60).splitlines()
    shown = lines[lines.index(next(line for line in lines if line.startswith("files in"))) + 1 : -1]
    assert ", ".join(files) == " ".join(line.strip() for line in shown)
    assert {line[:8] for line in shown} == {"  table_"}


def planned(summary, **changes):
    """The summary of a run of another configuration."""
    benchmark = summary.plan.benchmark.model_copy(update=changes)
    return replace(summary, plan=replace(summary.plan, benchmark=benchmark))


def test_what_to_type_next_is_the_dashboard_where_there_is_one(finished):
    workspace = finished.plan.workspace
    followed = planned(finished, observers=make_benchmark(observers=["mlflow"]).observers)
    command = shlex.join(["fusionbench", "dashboard", "--workspace", str(workspace)])
    assert next_commands(followed) == [f"next: {command}"]
    assert next_commands(replace(followed, interrupted=True)) == []
    elsewhere = finished.plan.benchmark.tracking.model_copy(update={"uri": "http://there:5000"})
    assert next_commands(planned(followed, tracking=elsewhere)) == ["next: open http://there:5000"]
    assert next_commands(finished) == []


@pytest.fixture
def beside(finished, tmp_path):
    """The same run in a workspace with a blank in its name, and a folder for another one beside it."""
    workspace = tmp_path / "my runs"
    shutil.copytree(finished.plan.workspace / "reports", workspace / "reports")
    other = workspace / "reports" / "other"
    return replace(finished, plan=replace(finished.plan, workspace=workspace)), other


def leave(folder, **changes):
    """Leave the record of another run."""
    record = json.loads((folder.parent / "toy" / "record.json").read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps({**record, **changes}), encoding="utf-8")


def test_an_earlier_run_of_the_task_is_offered_for_comparison(beside):
    summary, other = beside
    assert next_commands(summary) == []
    leave(other)
    (hint,) = next_commands(summary, ["my toy.py"])
    assert hint == f"next: fusionbench compare '{other}' '{other.parent / 'toy'}' -p 'my toy.py'"
    outcome = fusionbench(*shlex.split(hint)[2:-1], TOY)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"A: {other}\nB: {other.parent / 'toy'}\n")


@pytest.mark.parametrize(
    "changes", [{"metric": "auprc"}, {"format": 0}, {"configuration": {"task": {"name": "planted"}}}], ids=str
)
def test_a_run_that_cannot_be_compared_is_not_offered(beside, changes):
    summary, other = beside
    leave(other, **changes)
    assert next_commands(summary) == []


def test_the_latest_of_several_earlier_runs_is_offered(beside):
    summary, other = beside
    for age, name in enumerate(("newer", "older")):
        leave(other.with_name(name))
        os.utime(other.with_name(name) / "record.json", (1e9 - age, 1e9 - age))
    assert "reports/newer" in next_commands(summary)[0]


# ---------------------------------------------------------------- for programs
