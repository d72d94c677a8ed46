"""The command line: parse, call one function, print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionbench import __version__
from fusionbench.commands.opening import command, open_file, set_environment, shorthands, umask_put_back
from fusionbench.contract.kinds import KINDS
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.screen import colour

if TYPE_CHECKING:
    from fusionbench.plan.parts import Part

app = typer.Typer(
    name="fusionbench",
    help="Which multimodal fusion strategy to trust when modalities go missing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich takes longer than everything else that a help text needs
)
data = typer.Typer(no_args_is_help=True, help="Prepare, write and check data.")
app.add_typer(data, name="data")
plugin_commands = typer.Typer(no_args_is_help=True, help="Begin a plugin of your own.")
app.add_typer(plugin_commands, name="plugin")

PluginOption = Annotated[
    list[str] | None, typer.Option("-p", "--plugin", help="A plugin file (my_fusion.py) or module; may be repeated.")
]
BlockOption = Annotated[
    list[str] | None, typer.Option("--no-plugin", help="Leave out a distribution, or one 'kind.name'.")
]
PanelOption = Annotated[
    list[str] | None, typer.Option("--panel", help="Only this panel of a file that has several; may be repeated.")
]
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="FUSIONBENCH_WORKSPACE", help="Cache, results, tracking and reports.")
]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"fusionbench {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A benchmark file.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: --set training.epochs=5; may be repeated.")
    ] = None,
    panel: PanelOption = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, cuda:1, mps; for several processes a list (cuda:0,cuda:1), or cuda:all."),
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prepare the data, print the plan, train nothing.")
    ] = False,
    merged: Annotated[
        bool,
        typer.Option(
            "--merged", help="With --dry-run: print the file with all that it extends, its demo and --set; prepare nothing."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Train so many populations side by side on a CPU; as many as cores by default."),
    ] = None,
    no_record: Annotated[
        bool, typer.Option("--no-record", help="Run every step as the models say, and none from a recorded list.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Train at most this many models.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Work on these arms only: 'dwfuse', 'concat*', 'concat / mean'.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", help="Work on a share only, as 2/4, and make no tables: for machines with one workspace."
        ),
    ] = None,
    no_robustness: Annotated[
        bool, typer.Option("--no-robustness", help="Leave out the other settings that 'robustness' names.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is stored for this benchmark.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results only.")] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else.")
    ] = False,
    listed: Annotated[bool, typer.Option("--listed", hidden=True)] = False,  # of the models named on standard input
) -> None:
    """Run a benchmark: prepare, tune, train, score, track. What is stored is not trained again."""
    from fusionbench.screen.jsonlines import JsonLines
    from fusionbench.screen.terminal import People, said_when_stopped

    display = JsonLines(sys.stdout, quiet) if json_lines else People(quiet, plugin or [])
    with said_when_stopped(display):
        assignments = [*(assignments or []), *shorthands(workers, no_record)]
        if merged and not dry_run:
            raise ConfigError("--merged prints a benchmark file and runs nothing; write --dry-run --merged")
        opened = open_file(config, assignments, plugin, no_plugin, panel)
        if merged:
            from fusionbench.config.merged import merged_text

            typer.echo(merged_text(opened.found), nl=False)
            return
        from fusionbench.commands.running import Asked, run_file  # torch is imported from here on

        words = ["run", str(config), *_given(plugin, assignments, no_plugin)]
        asked = Asked(
            config, words, workspace, device, dry_run, limit, only, shard, listed, no_robustness, fresh, quiet
        )
        code = run_file(opened, asked, display)
    display.ended(code)
    raise typer.Exit(code)


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
    broken: Annotated[bool, typer.Option("--broken", help="Load every plugin; show what fails and why.")] = False,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """List plugins: kind, name, distribution. Fast, because nothing is loaded unless asked."""
    from fusionbench.commands.listing import all_lines

    lines, code = all_lines(kind, plugin or [], no_plugin or [], broken=broken)
    if colour.is_coloured():
        lines = list(colour.listing(lines, width=shutil.get_terminal_size().columns))
    typer.echo("\n".join(lines), nl=bool(lines))
    raise typer.Exit(code)


@app.command(short_help="Show a plugin: its origin, options, needs and cost.")
def show(
    name: Annotated[str, typer.Argument(help="A plugin's name, or kind.name.")],
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Show a plugin: what it is, where it comes from, its options, what it needs and what it costs."""
    set_environment()
    from fusionbench.commands.describe import describe
    from fusionbench.plugins.catalogue import Plugins

    said = describe(Plugins(plugin or [], no_plugin or []).require_extra(), name)
    typer.echo("\n".join(colour.description(said.splitlines())) if colour.is_coloured() else said)


@app.command(short_help="Examine a plugin, or validate a benchmark file.")
def check(
    what: Annotated[
        str, typer.Argument(help="A plugin (NAME, kind.NAME, my_fusion.py, a module) or a benchmark file.")
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the plugin (--set rank=4), or a key of the file; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run this check of a plugin alone; may be repeated.")
    ] = None,
    panel: PanelOption = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Examine a plugin by the conformance kit, or validate a benchmark file; nothing is prepared or trained for a file."""
    set_environment()
    if Path(what).suffix in (".yaml", ".yml"):
        opened = open_file(Path(what), assignments, plugin, no_plugin, panel)
        from fusionbench.commands.check import validate_file

        for line in validate_file(opened):
            typer.echo(line)
        chosen_panels = [word for name in panel or [] for word in ("--panel", name)]
        again = command(["fusionbench", "run", what, "--dry-run", *chosen_panels, *_given(plugin, assignments)])
        typer.echo(f"next, with its data: {again}")
        return
    from fusionbench.commands.check import examine, is_extra, options_for, registrations
    from fusionbench.plugins.catalogue import Plugins

    plugins = Plugins(plugin or [], no_plugin or []).require_extra()
    if is_extra(what, plugins):
        plugins = Plugins([*(plugin or []), what], no_plugin or [])
    chosen = [(r, options_for(r, assignments or [])) for r in registrations(plugins, what)]
    passed = [examine(registration, options, only or [], typer.echo) for registration, options in chosen]
    raise typer.Exit(0 if all(passed) else 1)


@plugin_commands.command("new", short_help="Write a distribution with one plugin that runs as it is.")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution: small letters, digits and '-', as my-fusion.")],
    kind: Annotated[
        str, typer.Option(help="strategy, imputer, regulariser, encoder, task, missingness or observer.")
    ] = "strategy",
    folder: Annotated[Path, typer.Option(help="Where the folder of that name is made.")] = Path(),
) -> None:
    """Write a distribution with one plugin that installs, passes its tests and runs as it is; then change the method."""
    from fusionbench.commands.scaffold import new_plugin as write
    from fusionbench.plugins.catalogue import Plugins

    written = write(name, kind, folder, Plugins())
    typer.echo("\n".join(f"written: {path}" for path in written))
    module = next(p for p in written if p.suffix == ".py")
    benchmark = next(p for p in written if p.suffix == ".yaml")
    typer.echo(f"next: {command(['fusionbench', 'check', str(module)])}")
    typer.echo(f"then: {command(['fusionbench', 'run', str(benchmark), '-p', str(module)])}")


@app.command(short_help="Make the report of what is stored; trains nothing.")
def report(
    config: Annotated[Path, typer.Argument(help="A benchmark file.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key, as for the run; may be repeated.")
    ] = None,
    hparams: Annotated[
        bool, typer.Option("--hparams", help="Print the hyper-parameters that won, by line, fold and seed.")
    ] = False,
    panel: PanelOption = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
) -> None:
    """Make the report of what is stored, say what is missing, and where the page lies; trains nothing."""
    opened = open_file(config, assignments, plugin, no_plugin, panel)
    from fusionbench.commands.report import report_file

    words = ["fusionbench", "run", str(config), *_given(plugin, assignments), "--workspace", str(workspace)]
    for line in report_file(opened, workspace, hparams, words):
        typer.echo(line)


@app.command(short_help="Say what changed between two runs of a benchmark.")
def compare(
    first: Annotated[Path, typer.Argument(help="A workspace, or a report folder in it; or a table of scores.")],
    second: Annotated[Path | None, typer.Argument(help="Another one; none for a table.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="Which benchmark, where a workspace holds several.")] = None,
    metric: Annotated[str, typer.Option(help="What a table of scores is judged by.")] = "auroc",
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Say what changed between two runs of a benchmark, which differences hold, and what only one of them has.

    A CSV or Parquet file with columns line, fold, seed, row, target and score is judged alone, by the same rule.
    """
    set_environment()
    from fusionbench.commands.compare import compared_lines

    lines = compared_lines(first, second, benchmark, metric, plugin or [], no_plugin or [])
    for line in colour.comparison(lines) if colour.is_coloured() else lines:
        typer.echo(line)


@app.command(short_help="Look at installation, devices, plugins and a workspace.")
def doctor(
    workspace: WorkspaceOption = Path("runs"),
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare everything in the workspace with its hash; reads all of it.")
    ] = False,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Look at the installation, the devices, the weights at hand, the plugins and a workspace; say what to do."""
    set_environment()
    from fusionbench.commands.doctor import examine_installation
    from fusionbench.plugins.catalogue import Plugins

    findings = examine_installation(workspace, Plugins(plugin or [], no_plugin or []), deep=deep)
    said = "\n".join(map(str, findings)).splitlines()
    typer.echo("\n".join(colour.findings(said) if colour.is_coloured() else said))
    raise typer.Exit(1 if any(finding.wrong for finding in findings) else 0)


@app.command(short_help="Serve the workspace's MLflow page on this machine.")
def dashboard(
    workspace: WorkspaceOption = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 picks a free port.")] = 5000,
    wait: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds to wait for the server; without it, as long as the server is alive."),
    ] = None,
) -> None:
    """Serve the workspace's MLflow page on this machine, and print links to the charts."""
    set_environment()
    from fusionbench.commands.dashboard import serve

    raise typer.Exit(serve(workspace, port, typer.echo, wait))


@data.command("prepare", short_help="Read a task's files and keep what a run needs of them.")
def prepare_data(
    what: Annotated[str, typer.Argument(help="A benchmark file, or a task: benchmarks/mimic_ihm.yaml, mimic.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: --set task.root=FOLDER; may be repeated.")
    ] = None,
    panel: PanelOption = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; the result only.")] = False,
) -> None:
    """Read a task's files and keep what a run needs of them; killed or interrupted, the same command goes on."""
    parts, following = _tasks_to_prepare(what, assignments or [], panel, plugin, no_plugin)
    from fusionbench.data.findings import content_lines, funnel_lines
    from fusionbench.data.preparation import cache_of, prepare_task
    from fusionbench.screen.terminal import make_console, progress_for

    progress = progress_for(make_console(), quiet)
    for part in parts:
        dataset = prepare_task(part, workspace, progress)
        for line in [*funnel_lines(dataset), *content_lines(dataset, cache_of(workspace, part.registration.name))]:
            typer.echo(line)
    typer.echo(f"next: {command([*following, '--workspace', str(workspace)])}")


def _given(plugin: list[str] | None, assignments: list[str] | None, no_plugin: list[str] | None = None) -> list[str]:
    """The words that name these plugins and assignments again, for a command that comes next."""
    pairs = [("-p", p) for p in plugin or []] + [("--no-plugin", p) for p in no_plugin or []]
    pairs += [("--set", a) for a in assignments or []]
    return [word for pair in pairs for word in pair]


def _tasks_to_prepare(
    what: str,
    assignments: list[str],
    panel: list[str] | None,
    plugin: list[str] | None,
    no_plugin: list[str] | None,
) -> tuple[list[Part], list[str]]:
    """Return the tasks that a benchmark file or a name means, and the words of the command that comes next."""
    given = _given(plugin, assignments)
    if not Path(what).is_file() and Path(what).suffix not in (".yaml", ".yml"):
        from fusionbench.commands.data_tasks import tasks_named
        from fusionbench.plugins.catalogue import Plugins

        set_environment()
        parts = tasks_named(what, assignments, Plugins(plugin or [], no_plugin or []).require_extra())
        # a benchmark whose task has other options than these would prepare again what differs
        return parts, ["fusionbench", "run", "BENCHMARK.yaml", *given]
    opened = open_file(Path(what), assignments, plugin, no_plugin, panel)
    from fusionbench.commands.data_tasks import tasks_of

    return tasks_of(opened), ["fusionbench", "run", what, *given]


@data.command("check", short_help="Say what is in a task's data and what is wrong with them.")
def check_data(
    what: Annotated[
        str, typer.Argument(help="A folder of data, a benchmark file, or a task with --set task.KEY=VALUE.")
    ],
    task: Annotated[str | None, typer.Option("--task", help="For a folder that several tasks can read.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: --set task.root=FOLDER; may be repeated.")
    ] = None,
    panel: PanelOption = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; the findings only.")] = False,
) -> None:
    """Say what is in a task's data and what is wrong with them, and draw them; trains nothing."""
    folder = Path(what).is_dir()
    if folder:
        from fusionbench.commands.data_tasks import tasks_for
        from fusionbench.plugins.catalogue import Plugins

        set_environment()
        parts = tasks_for(Path(what), task, assignments or [], Plugins(plugin or [], no_plugin or []).require_extra())
    else:
        parts, _ = _tasks_to_prepare(what, assignments or [], panel, plugin, no_plugin)
    from fusionbench.commands.data_check import check_task, draw, others
    from fusionbench.screen.terminal import make_console, progress_for

    # several tasks may read a folder, which is checked as one of them; panels of a file each have their own
    several = not folder and Path(what).suffix in (".yaml", ".yml")
    wrong = False
    for part in parts if several else parts[:1]:
        found = check_task(part, workspace, progress_for(make_console(), quiet))
        for line in [*found.lines, *draw(found, workspace, part), *([] if several else others(parts))]:
            typer.echo(line)
        wrong |= any(line.startswith("problem:") for line in found.lines)
    raise typer.Exit(2 if wrong else 0)


@data.command(short_help="Write a synthetic cohort in the task's own file layout.")
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write; must not exist or be empty.")],
    task: Annotated[str, typer.Option(help="The task whose files are imitated.")] = "mimic_ihm",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="A dial: --set stays=500 --set synergy=0.5; may be repeated.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a synthetic cohort in the task's own file layout, and print what a perfect model would reach."""
    from fusionbench.config.document import parse_assignment
    from fusionbench.contract.isolation import plugin_call
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.screen.terminal import make_console, progress_for

    dials = {".".join(path): value for path, value in map(parse_assignment, options or [])}
    registration = Plugins().get("tasks", task)
    if not hasattr(registration.target, "synthesise"):
        raise ConfigError(f"--task {task}: this task writes no synthetic data")
    console = make_console()
    with plugin_call(registration.title):
        lines = list(registration.target.synthesise(folder, dials, progress_for(console, quiet)))
    typer.echo("\n".join(lines))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors meant for users are printed without a traceback."""
    sys.exit(guarded(lambda: app(arguments, standalone_mode=False)))


# the base of typer's errors: of the click that it needs, or of the copy that newer versions carry
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def guarded(call: Callable[[], Any]) -> int:
    """Run a command and return the exit code."""
    try:
        with umask_put_back():
            result = call()
    except FusionBenchError as problem:
        typer.echo(f"error: {problem}", err=True)
        return problem.exit_code
    except typer.Exit as leaving:
        return leaving.exit_code
    except _UsageError as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":  # the help text is what was asked for
            typer.echo(problem.format_message())
        else:
            problem.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return 130
    except Exception:
        raise
    except BaseException as problem:  # noqa: BLE001 - somebody's sys.exit: what was asked for is not done
        if not isinstance(problem.__context__, BrokenPipeError):  # a reader that has gone is no news
            typer.echo(f"error: ended before it was done, by {type(problem).__name__}", err=True)
        return 1
    return result if isinstance(result, int) else 0
