"""The command line: parse, call one function, print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fusionbench import __version__
from fusionbench.cli import files
from fusionbench.cli.data import data
from fusionbench.cli.options import (
    AddressOption,
    BenchmarkArgument,
    BlockOption,
    ExecutorOption,
    GpusOption,
    PanelOption,
    PartitionOption,
    PluginOption,
    TimeOption,
    WorkspaceOption,
    kind_names,
    plugin_names,
)
from fusionbench.commands.opening import (
    command,
    executor_words,
    given_words,
    open_file,
    set_environment,
    shorthands,
    umask_put_back,
)
from fusionbench.contract.kinds import KINDS
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.screen import colour

app = typer.Typer(
    name="fusionbench",
    help="Which multimodal fusion strategy to trust when modalities go missing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich takes longer than everything else that a help text needs
)
app.add_typer(data, name="data")
plugin_commands = typer.Typer(no_args_is_help=True, help="Begin a plugin of your own.")
app.add_typer(plugin_commands, name="plugin")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"fusionbench {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: BenchmarkArgument,
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
            "--merged",
            help="With --dry-run: print the file with all that it extends, its demo and --set; prepare nothing.",
        ),
    ] = False,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    partition: PartitionOption = None,
    gpus_per_task: GpusOption = None,
    time: TimeOption = None,
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
) -> None:
    """Run a benchmark: prepare, tune, train, score, track. What is stored is not trained again."""
    from fusionbench.screen.jsonlines import JsonLines
    from fusionbench.screen.terminal import People, said_when_stopped

    display = JsonLines(sys.stdout, quiet) if json_lines else People(quiet, plugin or [])
    with said_when_stopped(display):
        engine = {"address": address, "partition": partition, "gpus_per_task": gpus_per_task, "time": time}
        assignments = [*executor_words(executor, engine), *(assignments or []), *shorthands(workers, no_record)]
        if merged and not dry_run:
            raise ConfigError("--merged prints a benchmark file and runs nothing; write --dry-run --merged")
        opened = open_file(config, assignments, plugin, no_plugin, panel)
        if merged:
            from fusionbench.config.merged import merged_text

            typer.echo(merged_text(opened.found), nl=False)
            return
        from fusionbench.commands.running import Asked, run_file  # torch is imported from here on
        from fusionbench.config.shipped import file_of

        words = ["run", str(config), *given_words(plugin, assignments, no_plugin)]
        asked = Asked(
            file_of(config),
            words,
            workspace,
            device,
            dry_run,
            limit,
            only,
            shard,
            plugin or (),
            no_plugin or (),
            no_robustness,
            fresh,
            quiet,
        )
        code = run_file(opened, asked, display)
    display.ended(code)
    raise typer.Exit(code)


@app.command(short_help="Ask every table and figure of a paper again; leaves one page.")
def reproduce(
    paper: Annotated[
        str, typer.Argument(help="Name of a paper: omnifuse, medfuse; 'fusionbench list papers' has all.")
    ],
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="Only this table or figure ('table 3', 'figure*'); may be repeated."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few folds and epochs, nothing tuned: to see that everything runs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prepare the data, print every plan and an estimate, train nothing.")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key in every file; may be repeated.")
    ] = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, or a list, as for run.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results only.")] = False,
) -> None:
    """Run the benchmark files of a paper in its order, and leave one page; what is stored is not trained again."""
    from fusionbench.screen.terminal import People, said_when_stopped

    set_environment()
    display = People(quiet, plugin or [])
    with said_when_stopped(display):
        from fusionbench.commands.papers.reproducing import Wanted, said_of
        from fusionbench.commands.papers.reproducing import reproduce as again

        given = (part or (), quick, dry_run, device, quiet, assignments or (), plugin or (), no_plugin or ())
        wanted = Wanted(paper, workspace, *given)
        done = again(wanted, display)
    for line in said_of(done, wanted):
        typer.echo(line)
    raise typer.Exit(done.code)


app.command(short_help="List the benchmarks that can be run by name.")(files.benchmarks)
app.command(short_help="Write a benchmark file for your own data.")(files.init)
app.command(short_help="Print the JSON schema of benchmark files, for an editor.")(files.schema)
app.command("open", short_help="Open the report of a run in the browser.")(files.open_report)


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.", autocompletion=kind_names)] = None,
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
    name: Annotated[str, typer.Argument(help="A plugin's name, or kind.name.", autocompletion=plugin_names)],
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
        again = command(["fusionbench", "run", what, "--dry-run", *chosen_panels, *given_words(plugin, assignments)])
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
    config: BenchmarkArgument,
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

    words = ["fusionbench", "run", str(config), *given_words(plugin, assignments), "--workspace", str(workspace)]
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
