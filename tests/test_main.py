"""Where a command begins: quick answers are what the command line would say, and import next to nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from fusionbench import __version__
from fusionbench.__main__ import WIDTH, help_file, help_text, quick_answer
from fusionbench.cli import app
from tests.front import fusionbench, python

ROOT = Path(__file__).parents[1]
START = "from fusionbench.__main__ import main; main()"
GROUPS = [(), ("data",), ("plugin",)]


def tool():
    spec = importlib.util.spec_from_file_location("help_texts", ROOT / "tools" / "help_texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = list(tool().commands(typer.main.get_command(app)))
PINNED = f"typer=={typer.__version__}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
as_pinned = pytest.mark.skipif(not PINNED, reason="other versions of typer lay a help text out in another way")


@pytest.fixture(autouse=True)
def as_installed(monkeypatch):
    """Begin as the installed command does, on a wide screen."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["fusionbench"])
    monkeypatch.setattr(sys.modules["__main__"], "__package__", "")


def begun(*words: str, start: tuple[str, ...] = ("-c", START), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *start, *words],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


# ---------------------------------------------------------------- help texts


@as_pinned
def test_the_texts_kept_are_what_the_command_line_says():
    wanted = tool().texts()
    kept = {p: p.read_text(encoding="utf-8") for p in (ROOT / "fusionbench" / "screen" / "help").iterdir()}
    assert kept == wanted, "run: python tools/help_texts.py"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_text_reads_well(words):
    text = help_text(words)
    assert text is not None
    assert text.startswith(f"Usage: {' '.join(['fusionbench', *words])} [OPTIONS]")
    assert text.isascii()
    assert text.endswith("  Show this message and exit.\n") or words in GROUPS
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "...\n" not in text.partition("\n")[2], "a sentence is cut off: give the command a short_help"


@as_pinned
@pytest.mark.parametrize("words", [*COMMANDS, ("run", "--limit"), ("nothing",), ("data", "nothing")], ids=" ".join)
def test_a_quick_answer_is_that_of_the_command_line(words):
    slow = fusionbench(*words, "--help")
    answer = quick_answer([*words, "--help"])
    assert answer in (None, (slow.out, slow.code))
    assert (answer is None) == (words not in COMMANDS)


@as_pinned
@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_help_and_ends_with_2(words):
    slow = fusionbench(*words)
    assert quick_answer(words) == (slow.out, slow.code) == (help_text(words), 2)
    assert slow.err == ""


def test_a_narrow_screen_gets_a_text_that_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert quick_answer(["run", "--help"]) is None
    done = begun("run", "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 60


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["data", "check", "--help"]], ids=" ".join)
def test_the_command_line_itself_needs_no_rich_for_a_help_text(words):
    code = f"""
import sys
from fusionbench.cli import app, guarded
code = guarded(lambda: app({words!r}, standalone_mode=False))
print(code, "typer" in sys.modules, any(name.partition(".")[0] == "rich" for name in sys.modules), file=sys.stderr)
"""
    assert python(code).stderr == "0 True False\n"


@pytest.mark.parametrize("said", ["", "0", "wide", "-5"])
def test_a_width_that_is_none_is_the_screens(monkeypatch, said):
    monkeypatch.setenv("COLUMNS", said)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert help_text(["run"]) is not None
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((50, 20)))
    assert help_text(["run"]) is None


def test_a_text_that_is_gone_is_asked_of_the_command_line(monkeypatch, tmp_path):
    monkeypatch.setattr("fusionbench.__main__.__file__", str(tmp_path / "__main__.py"))
    assert not Path(help_file(["run"])).exists()
    assert quick_answer(["run", "--help"]) is None
    assert quick_answer([]) is None


def test_a_text_that_is_damaged_is_asked_of_the_command_line(monkeypatch, tmp_path):
    monkeypatch.setattr("fusionbench.__main__.__file__", str(tmp_path / "__main__.py"))
    path = Path(help_file(["run"]))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x00")
    assert quick_answer(["run", "--help"]) is None


@pytest.mark.parametrize("words", [("../../etc",), ("data/check",), ("run.txt",), ("",), ("Run",), ("--help",)])
def test_words_that_are_no_command_open_no_file(words):
    assert help_text(words) is None


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_text_names_every_option_and_command_that_there_is(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    options = {o for p in command.params if not p.hidden for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}
    wanted = {"--help", *options, *getattr(command, "commands", ())}
    lines = [line.partition("  ")[2] for line in (help_text(words) or "").splitlines() if line.startswith("  ")]
    named = {word.strip(",") for line in lines for word in line.split("  ")[0].split()}
    assert wanted - named == set()


# ---------------------------------------------------------------- a process


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--version"], ["run", "--help"], ["data", "synth", "--help"], ["data"]], ids=" ".join
)
def test_help_and_version_import_next_to_nothing(words):
    code = f"""
import sys
sys.argv[1:] = {words!r}
before = set(sys.modules)
try:
    from fusionbench.__main__ import main
    main()
finally:
    print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
    done = python(code)
    modules = set(done.stderr.splitlines()[0].split())
    assert modules <= {"__future__", "fusionbench", "fusionbench.__main__"}
    assert done.stdout


def test_both_ways_to_begin_say_the_same():
    assert begun("--version").stdout == f"fusionbench {__version__}\n"
    for words in (["--help"], [], ["--version"], ["list"], ["data", "check", "--help"]):
        one, other = begun(*words), begun(*words, start=("-m", "fusionbench"))
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)


def test_the_installed_command_begins_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"fusionbench": "fusionbench.__main__:main"}


@pytest.mark.parametrize(
    "words",
    [["unknown"], ["--bogus"], ["run", "--bogus"], ["run"], ["list", "strategy"], ["list", "--brokn"], ["data", "x"]],
    ids=" ".join,
)
def test_what_is_wrong_is_said_by_the_command_line(words):
    assert quick_answer(words) is None
    done, slow = begun(*words), fusionbench(*words)
    assert done.returncode == slow.code == 2
    assert (done.stdout, done.stderr.splitlines()[-1]) == (slow.out, slow.err.splitlines()[-1])


def test_a_shell_that_asks_for_completions_is_heard():
    done = begun(start=("-c", START.replace("main()", "sys.argv[0] = 'fusionbench'; main()").replace("from", "import sys; from")), _FUSIONBENCH_COMPLETE="bash_source")  # fmt: skip
    assert "Usage" not in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
def test_an_output_that_cannot_be_written_is_one_sentence():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", START, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", [["list"], ["show", "strategies.concat"]])
def test_a_reader_that_has_gone_is_no_news(words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", START, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
