"""What the pages say is run: commands are parsed, files in code blocks are validated and executed, links resolve.

Conventions of the pages: a Python, YAML or TOML block whose first line is ``# name.py`` (``.yaml``, ``.toml``) is a
whole file; bash blocks hold commands as a reader would type them; text blocks hold output.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import fusionbench
from fusionbench.cli import app, main
from fusionbench.commands.describe import options_of
from fusionbench.commands.scaffold import new_plugin
from fusionbench.config.extending import KEY as EXTENDS
from fusionbench.config.panels import ONLY_AT_THE_TOP
from fusionbench.config.reading import load_benchmark, read_panels
from fusionbench.config.sections import Benchmark
from fusionbench.config.shipped import file_of
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import option_names
from fusionbench.plugins.catalogue import Plugins
from fusionbench.testing.cost import build_part
from fusionbench.training.model import count_parameters
from tests.builders import make_run, toy_dataset

ROOT = Path(__file__).resolve().parents[1]
GUEST_PAGES = sorted((ROOT / "plugins").glob("fusionbench-*/README.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md"), *GUEST_PAGES])
PLUGIN_PAGE = ROOT / "docs" / "writing-a-plugin.md"
TOY = ROOT / "tests" / "toy.py"


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        match = re.match(r"# (\S+\.(?:py|yaml|toml))\n", self.text)
        return match[1] if match else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return tuple(
        Block(page, text[: m.start()].count("\n") + 1, m[2], re.sub(f"^{m[1]}", "", m[3], flags=re.MULTILINE))
        for m in found
    )


def all_blocks(*languages: str) -> list[Any]:
    return [pytest.param(b, id=str(b)) for page in PAGES for b in blocks(page) if b.language in languages]


def write_files(page: Path, folder: Path) -> dict[str, Path]:
    """Write the blocks of a page that are whole files; return them by name."""
    files = {b.file: folder / b.file for b in blocks(page) if b.file}
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return files


def scaffolded(page: Path, folder: Path) -> dict[str, Path]:
    """Write what the ``plugin new`` commands of a page write; return it by the path that the page names it by."""
    names = [
        words[3]
        for b in blocks(page)
        if b.language == "bash"
        for words in commands(b)
        if words[1:3] == ["plugin", "new"]
    ]
    written = [path for name in dict.fromkeys(names) for path in new_plugin(name, "strategy", folder, Plugins())]
    return {path.relative_to(folder).as_posix(): path for path in written}


def plugin_files(files: dict[str, Path]) -> list[str]:
    return [
        str(path)
        for name, path in files.items()
        if name.endswith(".py") and "hookimpl" in path.read_text(encoding="utf-8")
    ]


def test_every_block_is_of_a_language_that_is_checked_or_plain_text():
    known = {"bash", "python", "yaml", "toml", "math", "bibtex", "text", ""}
    assert [str(b) for page in PAGES for b in blocks(page) if b.language not in known] == []


def test_commands_stand_in_bash_blocks():
    plain = [b for page in PAGES for b in blocks(page) if b.language in {"text", ""}]
    command = re.compile(r"^\s*([A-Z_]+=\S* )*(fusionbench|make|hf) ", re.MULTILINE)
    assert [str(b) for b in plain if command.search(b.text)] == []


# --------------------------------------------------------------------------------------------
# commands


def commands(block: Block) -> list[list[str]]:
    """Split a bash block into commands: continued lines joined, comments dropped, ``&&`` taken apart."""
    found: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word == "&&":
                found += [words] if words else []
                words = []
            else:
                words.append(word)
    return found


def split_variables(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Take ``NAME=value`` off the front, and off ``export``."""
    rest = words[1:] if words[0] == "export" else words
    given = {}
    while rest and re.match(r"[A-Z_]+=", rest[0]):
        name, _, given[name] = rest[0].partition("=")
        rest = rest[1:]
    return given, rest


def exported(page: Path) -> dict[str, str]:
    found = [words for b in blocks(page) if b.language == "bash" for words in commands(b) if words[0] == "export"]
    return {name: value for words in found for name, value in split_variables(words)[0].items()}


def command_of(words: list[str], where: object) -> tuple[Any, list[str]]:
    """Return the command that words of a page name, and what follows its name."""
    command: Any = typer.main.get_command(app)
    arguments = words[1:]
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in command.commands, f"{where}: no command '{arguments[0]}'"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, arguments


def check_fusionbench(words: list[str], variables: dict[str, str], block: Block, tmp_path: Path) -> None:
    command, arguments = command_of(words, block)
    if "--help" in arguments or "--version" in arguments:
        return
    context = command.make_context(words[1], list(arguments))
    if words[1] == "run":
        check_run(context.params, {**exported(block.page), **variables}, block, tmp_path)
    if words[1] == "show":
        beside = map(str, block.page.parent.glob("fusionbench_*.py"))  # the page of an example distribution
        plugins = Plugins([*plugin_files(write_files(block.page, tmp_path)), *beside])
        assert context.params["name"].rpartition(".")[2] in {e.name for e in plugins.catalogue()}


def check_run(given: dict[str, Any], variables: dict[str, str], block: Block, tmp_path: Path) -> None:
    """The benchmark exists, here or as a block of the page, and takes these assignments; so do its names."""
    files = {**write_files(block.page, tmp_path), **scaffolded(block.page, tmp_path)}
    begun = {w[2] for b in blocks(block.page) if b.language == "bash" for w in commands(b) if w[1:2] == ["init"]}
    if str(given["config"]) in begun:  # the command before writes it; tests/commands/benchmarks/test_begin.py runs both
        return
    there = ROOT / given["config"]
    path = files.get(str(given["config"]), there if there.suffix else file_of(given["config"]))
    extra = [str(files.get(p, ROOT / p)) for p in given["plugin"] or ()]
    found = read_panels(path, given["assignments"] or (), variables, given["panel"] or ())
    assert found.problems == []
    installed = [files["my_fusion.py"]] if "my_fusion.py" in files and not extra else []
    plugins = Plugins([*extra, *map(str, installed)])
    for reading in found.readings.values():
        assert problems_of(reading.benchmark, plugins) == []


def problems_of(benchmark: Benchmark, plugins: Plugins) -> list[str]:
    assert plugins.failures == []
    named = [("tasks", benchmark.task), ("missingness", benchmark.missingness.mechanism)]
    named += [("encoders", c) for c in benchmark.encoders.values()]
    named += [("imputers", c) for c in benchmark.imputers]
    named += [("observers", c) for c in benchmark.observers]
    for strategy in benchmark.strategies:
        named += [("strategies", strategy)]
        named += [("imputers", c) for c in strategy.imputers or ()]
        named += [("regularisers", c) for c in strategy.regularisers]
    problems = [plugins.problem_with(kind, c.name) for kind, c in named]
    for kind, choice in named:
        unknown = set(choice.options) - set(option_names(plugins.get(kind, choice.name).target))
        problems += [f"{kind}.{choice.name} has no option {name}" for name in sorted(unknown)]
    return [p for p in problems if p]


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words[1] in targets, f"the Makefile has no target '{words[1]}'; it has {', '.join(targets)}"


def check_python(words: list[str]) -> None:
    if words[1] == "-m":
        assert words[2] in {"venv", "pip"}
        extras = re.findall(r"\.\[(\w+)\]", " ".join(words))
        offered = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        assert set(extras) <= set(offered)
    else:
        assert (ROOT / words[1]).is_file()


def check_tool(words: list[str]) -> None:
    """Another program: it is one that the installation brings, and the options are its own."""
    options = {w.partition("=")[0] for w in words if w.startswith("--")}
    known = {
        "hf": {"--local-dir"},
        "mlflow": {"--host", "--port", "--backend-store-uri", "--artifacts-destination"},
        "ruff": {"--check"},
        "pytest": {"--dist"},
        "mypy": set(),
    }
    assert words[0] in {*known, ".", "pre-commit"}, f"unknown program {words[0]}"
    assert options <= known.get(words[0], set())
    files = [w for w in words[1:] if w.startswith("tests/")]
    assert all((ROOT / f).exists() for f in files)


@pytest.mark.parametrize("block", all_blocks("bash"))
def test_commands_exist_and_take_these_options(block, tmp_path):
    assert commands(block)
    for variables, words in map(split_variables, commands(block)):
        if not words:
            continue  # only variables are set
        if words[0] == "fusionbench":
            check_fusionbench(words, variables, block, tmp_path)
        elif words[0] == "make":
            check_make(words)
        elif words[0] in {"python", "python3"}:
            check_python(words)
        else:
            check_tool(words)


TAGS = r"`fusionbench (?:version|revision)`"  # of runs in MLflow; they look like commands and are none


def test_commands_in_running_text_exist_and_have_these_options():
    told = {page: re.sub(rf"^\* No `fusionbench.*|{TAGS}", "", prose(page), flags=re.MULTILINE) for page in PAGES}
    said = [
        (p.name, s) for p, text in told.items() for s in re.findall(r"`((?:[A-Z_]+=\S+ )*fusionbench [^`]+)`", text)
    ]
    assert len(said) > 20
    for name, text in said:
        command, arguments = command_of(split_variables(text.split())[1], name)
        offered = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert {a for a in arguments if a.startswith("-")} <= offered, f"{name}: {text}"


def test_what_is_said_not_to_exist_does_not_exist():
    lines = [
        s for s in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if s.startswith("* No `fusionbench")
    ]
    group: Any = typer.main.get_command(app)
    for said in (s for line in lines for s in re.findall(r"`([^`]+)`", line.partition(".")[0])):
        words = said.removeprefix("fusionbench ").split()
        command: Any = group
        for word in words:
            command = getattr(command, "commands", {}).get(word)
        assert command is None, f"README, 'Not yet': 'fusionbench {' '.join(words)}' exists now"


def test_the_changelog_and_the_help_name_the_same_options_of_run():
    group: Any = typer.main.get_command(app)
    (line,) = [
        s
        for s in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
        if s.startswith("- Command line: `run`")
    ]
    offered = {o for p in group.commands["run"].params for o in p.opts}
    said = set(re.findall(r"`(-{1,2}[a-z-]+)`", line))
    assert said
    assert said <= offered


# --------------------------------------------------------------------------------------------
# files


@pytest.mark.parametrize("block", all_blocks("yaml"))
def test_yaml_is_valid_and_whole_files_load(block, tmp_path):
    document = yaml.safe_load(block.text)
    if not {"name", "task"} <= set(document) or EXTENDS in document:
        known = {"cxr", "report", EXTENDS, *ONLY_AT_THE_TOP, *Benchmark.model_fields}
        assert set(document) <= known
        return
    files = write_files(block.page, tmp_path)
    path = tmp_path / "whole.yaml"
    path.write_text(block.text, encoding="utf-8")
    found = read_panels(path, (), {})
    assert found.problems == []
    for reading in found.readings.values():
        assert problems_of(reading.benchmark, Plugins([str(TOY), *plugin_files(files)])) == []


def run_cli(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    return int(left.value.code or 0)


def leaderboard(workspace: Path, name: str) -> str:
    return (workspace / "reports" / name / "leaderboard.csv").read_text(encoding="utf-8")


def with_plugins(paths: list[str]) -> list[str]:
    return [part for path in paths for part in ("-p", path)]


def test_the_files_of_the_plugin_page_run_together(tmp_path, capsys):
    files = write_files(PLUGIN_PAGE, tmp_path)
    work = tmp_path / "runs"
    code = run_cli("run", files["everything.yaml"], *with_plugins(plugin_files(files)), "--workspace", work, "--quiet")
    assert code == 0, capsys.readouterr()
    lines = (work / "finished.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert all(line.endswith("done") for line in lines)
    assert "bilinear+small_logits,cross_linear" in leaderboard(work, "everything")


def test_the_benchmark_of_the_plugin_page_runs_on_the_toy_task(tmp_path, capsys):
    files = write_files(PLUGIN_PAGE, tmp_path)
    plugins = with_plugins([str(TOY), str(files["my_fusion.py"])])
    changes = ["--set", "training.epochs=1", "--set", "observers=[files]"]
    code = run_cli("run", files["mine.yaml"], *plugins, *changes, "--workspace", tmp_path / "runs", "--quiet")
    assert code == 0, capsys.readouterr()
    assert "bilinear rank 2" in leaderboard(tmp_path / "runs", "mine")


def test_the_plugin_of_the_readme_runs_on_the_toy_task(tmp_path, capsys):
    files = {**write_files(ROOT / "README.md", tmp_path), **write_files(ROOT / "docs" / "quickstart.md", tmp_path)}
    plugins = with_plugins([str(TOY), str(files["max_fusion.py"])])
    changes = [
        "strategies=[max_fusion]",
        "tuning.trials=0",
        "training.epochs=1",
        "observers=[files]",
        "splits.seeds=[0]",
    ]
    settings = [part for change in changes for part in ("--set", change)]
    code = run_cli("run", files["toy.yaml"], *plugins, *settings, "--workspace", tmp_path / "runs", "--quiet")
    assert code == 0, capsys.readouterr()
    assert "max_fusion,zero" in leaderboard(tmp_path / "runs", "toy")


def load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "file", "name"),
    [
        (PLUGIN_PAGE, "my_fusion.py", "Bilinear"),
        (PLUGIN_PAGE, "my_imputer.py", "CrossLinear"),
        (PLUGIN_PAGE, "my_regulariser.py", "SmallLogits"),
        (ROOT / "README.md", "max_fusion.py", "MaxFusion"),
    ],
)
def test_methods_of_the_pages_pass_the_exam(page, file, name, tmp_path):
    from fusionbench import TargetKind
    from fusionbench.testing import make_case, run_checks

    cases = [make_case(m, kind, "random") for m, kind in [(1, TargetKind.BINARY), (3, TargetKind.MULTICLASS)]]
    plugin = getattr(load_module(write_files(page, tmp_path)[file]), name)
    results = run_checks(plugin, cases=cases)
    assert len(results) > 10
    assert [(r.name, r.reason) for r in results if not r.ok] == []


def test_the_test_file_and_the_loop_of_the_plugin_page_run(tmp_path, monkeypatch):
    write_files(PLUGIN_PAGE, tmp_path)
    (loop,) = [b for b in blocks(PLUGIN_PAGE) if b.language == "python" and not b.file]
    (tmp_path / "loop.py").write_text(
        loop.text.replace("run_checks(Bilinear)", "run_checks(Bilinear, only=ONE)"), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    one = ["evaluation_is_deterministic"]
    exec(compile((tmp_path / "loop.py").read_text(encoding="utf-8"), "loop.py", "exec"), {"ONE": one})
    module = load_module(tmp_path / "test_my_fusion.py")
    (mark,) = module.test_bilinear_conforms.pytestmark
    chosen = [p for p in mark.args[1] if "deterministic" in p.id]
    assert len(chosen) == 2
    for parameter in chosen:
        module.test_bilinear_conforms(*parameter.values)


def test_the_cells_of_the_notebook_page_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """A report is drawn, with all its pictures, for the cells to read: that takes most of the time."""
    page, folder = ROOT / "docs" / "from-a-notebook.md", tmp_path / "runs" / "reports" / "demo-synergy"
    small = ["observers=[files, html]", "panels.synergy.task.rows=200", "panels.synergy.training.epochs=1"]
    small += [
        "panels.synergy.strategies=[concat, se_gate]",
        "panels.synergy.expect=[]",
        "splits={folds: 2, seeds: [0]}",
    ]
    settings = [part for change in small for part in ("--set", change)]
    monkeypatch.chdir(tmp_path)
    code = run_cli("run", ROOT / "benchmarks" / "demo.yaml", "--panel", "synergy", *settings, "--quiet")
    assert code == 0, capsys.readouterr()
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    for cell in (b for b in blocks(page) if b.language == "python"):
        exec(compile(cell.text, str(cell), "exec"), names)
    assert set(names["differences"]["strategy"]) == {"concat", "se_gate"}
    assert len(names["own"]) == 2
    files = set(re.findall(r"`(\w+\.csv)`", page.read_text(encoding="utf-8")))
    assert len(files) > 8
    assert {f for f in files if not (folder / f).is_file()} == set()


def test_the_distribution_of_the_plugin_page_is_found_by_its_entry_point(tmp_path, monkeypatch):
    files = write_files(PLUGIN_PAGE, tmp_path)
    project = tomllib.loads(files["pyproject.toml"].read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["fusionbench"]
    # what an installer writes for this pyproject.toml
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[fusionbench]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registration = Plugins().get("strategies", "bilinear")
    assert (registration.distribution, registration.version) == ("my-fusion", "0.1.0")


# --------------------------------------------------------------------------------------------
# what the pages list


def rows_of(page: Path, heading: str) -> dict[str, list[str]]:
    """Cells of the table below a heading, by the name in the first cell."""
    section = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [s for s in section if s.splitlines()[0] == heading]
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in body.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): [c.strip().removesuffix(" |") for c in row] for row in rows}


def built_in(kind: str) -> list[str]:
    names = [
        p.name for p in entry_points(group="fusionbench") if p.dist is not None and p.dist.name == "fusionbench-core"
    ]
    return sorted(n.partition(".")[2] for n in names if n.startswith(f"{kind}."))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "encoders"])
def test_methods_page_lists_what_is_registered_with_its_options_and_paper(kind):
    rows, registered = rows_of(ROOT / "docs" / "methods.md", kind.capitalize()), built_in(kind)
    assert [n for n in registered if n not in rows] == []
    folder = ROOT / "plugins" / "fusionbench_plugins" / kind
    assert [n for n in rows if n not in registered and not any(folder.glob(f"{n}*"))] == []
    plugins = Plugins()
    for name, cells in ((n, rows[n]) for n in registered):
        target = plugins.get(kind, name).target
        options = option_names(
            target, skip={"tasks": 0, "missingness": 0, "papers": 0, "executors": 0, "observers": 2}.get(kind, 1)
        )
        assert cells[2] == (", ".join(f"`{o}`" for o in options) or "none"), name
        provenance = getattr(target, "provenance", None)
        assert cells[3] == (provenance.paper if provenance else ""), name


# --------------------------------------------------------------------------------------------
# a page for each method


METHOD_PAGES = sorted((ROOT / "docs" / "methods").glob("*.md"))
LEARNERS = ("strategies", "imputers", "regularisers")
HEADINGS = (
    "What it does",
    "Equations",
    "Variants",
    "When to use it",
    "Faults of released code",
    "Parity",
    "In a benchmark file",
    "Cost",
)
COMBINATIONS = {"omnifuse", "modality_dropout"}  # pages about what is no plugin


def on_page(page: Path, heading: str) -> str:
    """The text below a heading of a page of a method."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading].strip()


def methods_of(page: Path) -> list[str]:
    """The plugins that the title of a page names."""
    title = page.read_text(encoding="utf-8").splitlines()[0]
    return [] if page.stem in COMBINATIONS else re.findall(r"\w+", title.removeprefix("# ").partition(":")[0])


def paged() -> list[Any]:
    found = {name: page for page in METHOD_PAGES for name in methods_of(page)}
    return [pytest.param(k, n, found.get(n), id=f"{k}-{n}") for k in LEARNERS for n in built_in(k)]


def page_ids(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize(("kind", "name", "page"), paged())
def test_every_method_has_a_page_in_the_overview_that_names_each_option_and_listed_value(kind, name, page):
    assert page is not None, f"no page of docs/methods/ has '{name}' in its title"
    assert f"(methods/{page.name})" in " ".join(rows_of(ROOT / "docs" / "methods.md", kind.capitalize())[name])
    text = on_page(page, "Variants")
    options = options_of(Plugins().get(kind, name).target, skip=1)
    missing = [o.name for o in options if f"`{o.name}" not in text]
    for option in options:
        values = [v for v in option.values if isinstance(v, str) and option.name != "corruption"]
        missing += [f"{option.name}: {v}" for v in values if not re.search(rf"`(\w+: )?{v}`", text)]
    assert missing == []


@pytest.mark.parametrize(("kind", "name", "page"), paged())
def test_the_page_of_a_method_says_how_many_parameters_it_has(kind, name, page):
    trained = count_parameters(build_part(Plugins().get(kind, name).target))
    assert re.search(rf"(?<![\d,]){trained:,}(?![\d,])", on_page(page, "Cost")), f"{trained:,} parameters"


@pytest.mark.parametrize("page", METHOD_PAGES, ids=page_ids)
def test_pages_of_methods_have_the_same_headings(page):
    text = page.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == HEADINGS
    assert all(on_page(page, heading) for heading in HEADINGS)
    assert len(on_page(page, "What it does").splitlines()) <= 5
    assert page.stem in {*COMBINATIONS, *methods_of(page)}


@pytest.mark.parametrize("page", [*METHOD_PAGES, ROOT / "docs" / "faq.md"], ids=page_ids)
def test_tests_and_files_that_a_page_names_exist(page):
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", text)
    assert [t for t in named if f"def {t}(" not in sources] == []
    assert [f for f in re.findall(r"`(benchmarks/\w+\.yaml)`", text) if not (ROOT / f).is_file()] == []


@pytest.mark.parametrize("page", METHOD_PAGES, ids=page_ids)
def test_the_snippet_of_a_page_of_a_method_builds_its_models(page, tmp_path):
    (snippet,) = [yaml.safe_load(b.text) for b in blocks(page) if b.language == "yaml"]
    assert methods_of(page) == [] or any(re.search(rf"\b{n}\b", str(snippet)) for n in methods_of(page))
    names = ("ehr", "cxr", "report")
    toy = toy_dataset()
    dataset = replace(toy, modalities=dict(zip(names, toy.modalities.values(), strict=True)))
    encoders = dict.fromkeys(names, "identity")
    run = make_run(tmp_path, dataset, encoders=encoders, model={"width": 8}, **snippet)  # builds every arm once
    assert run.plan.fits


def test_encoders_page_lists_every_encoder():
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    assert [n for n in built_in("encoders") if f"| `{n}` |" not in text] == []


def test_every_benchmark_file_has_its_question_in_the_readme_of_the_folder():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "benchmarks").glob("*.yaml") if f"## {p.name}" not in text]
    assert missing == []


def test_architecture_lists_every_folder_and_every_module_at_the_top():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "fusionbench"
    modules = {p.name for p in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    folders = {f"{p.parent.name}/" for p in package.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `([a-z_]+(?:\.py|/))` \|", text, re.MULTILINE)) == modules | folders


def test_every_page_is_reached_from_the_index_and_pages_of_methods_through_their_overview():
    docs = ROOT / "docs"
    assert docs / "methods.md" in linked(docs / "index.md")
    listed = linked(docs / "index.md") | linked(docs / "methods.md")
    assert [
        p.relative_to(docs).as_posix() for p in docs.rglob("*.md") if p.name != "index.md" and p not in listed
    ] == []


def test_the_plan_shown_in_the_quickstart_is_that_of_the_demo():
    demo = load_benchmark(ROOT / "benchmarks" / "mimic_ihm.yaml", (), {})
    arms = sum(len(demo.imputers if s.imputers is None else s.imputers) for s in demo.strategies)
    rates = [r for r in demo.missingness.rates if r > 0]
    conditions = 1 + len(demo.missingness.patterns) * len(rates)
    models = arms * demo.splits.folds * len(demo.splits.seeds)
    line = (
        f"{models * conditions:,} cells ({arms} arms x {demo.splits.folds} folds x {len(demo.splits.seeds)} seeds, "
        f"{conditions} conditions): 0 stored, {models * conditions:,} to do = {models:,} models, "
        f"{arms * demo.splits.folds * demo.tuning.trials:,} tuning trials"
    )
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    assert line in text
    assert f"{arms} arms in three folds are {models} models." in text


def test_versions_agree():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert newest is not None
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert newest[1] == fusionbench.__version__ == declared == version("fusionbench-core")


# --------------------------------------------------------------------------------------------
# links


def linked(page: Path) -> set[Path]:
    """Files that a page links to."""
    return {(page.parent / t.partition("#")[0]).resolve() for t in re.findall(r"\]\(([^)\s]+)\)", prose(page))}


def prose(page: Path) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_internal_links_resolve(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []
