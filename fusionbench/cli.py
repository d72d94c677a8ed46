"""The command line: parse, call one function, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionbench import __version__
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.offline import disable_telemetry
from fusionbench.registry import KINDS

if TYPE_CHECKING:
    from fusionbench.config import Benchmark
    from fusionbench.document import Places
    from fusionbench.plugins import Plugins

app = typer.Typer(
    name="fusionbench",
    help="Which multimodal fusion strategy to trust when modalities go missing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(no_args_is_help=True, help="Prepare, write and check data.")
app.add_typer(data, name="data")

PluginOption = Annotated[
    list[str] | None, typer.Option("-p", "--plugin", help="A plugin file (my_fusion.py) or module; may be repeated.")
]
BlockOption = Annotated[
    list[str] | None, typer.Option("--no-plugin", help="Leave out a distribution, or one 'kind.name'.")
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
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prepare the data, print the plan, train nothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Train at most this many models.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is stored for this benchmark.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results only.")] = False,
) -> None:
    """Run a benchmark: prepare, tune, train, score, track. What is stored is not trained again."""
    benchmark, places, plugins = _read(config, assignments, plugin, no_plugin)
    # torch is imported from here on
    from fusionbench.device import find_device
    from fusionbench.plan import resolve
    from fusionbench.runner import Run
    from fusionbench.terminal import make_console, print_plan, print_summary, progress_for

    console = make_console()
    resolved = resolve(benchmark, plugins, places.at)
    observers = [o.build(benchmark, workspace) for o in resolved.observers]
    work = Run(benchmark, resolved, workspace, find_device(device), progress_for(console, quiet))
    try:
        work.prepare()
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    if dry_run or not quiet:
        print_plan(console, replace(work.plan, stored=frozenset()) if fresh else work.plan)
    if dry_run:
        return
    if fresh:
        work.forget()
    summary = work.execute(observers, limit)
    print_summary(console, summary)
    raise typer.Exit(summary.exit_code)


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
    broken: Annotated[bool, typer.Option("--broken", help="Load every plugin; show what fails and why.")] = False,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """List plugins: kind, name, distribution. Fast, because nothing is loaded unless asked."""
    from fusionbench.errors import did_you_mean
    from fusionbench.plugins import Plugins

    if kind is not None and kind not in KINDS:
        raise ConfigError(f"no kind '{kind}'{did_you_mean(kind, KINDS)}\n  kinds: {', '.join(KINDS)}")
    plugins = Plugins(plugin or [], no_plugin or [])
    if broken:
        plugins.load_all()
    else:
        for entry in plugins.catalogue(kind):
            typer.echo(f"{entry.kind:<13} {entry.name:<18} {entry.distribution} {entry.version}".rstrip())
        for a_kind, name in plugins.taken_twice(kind):
            typer.echo(f"{a_kind:<13} {name:<18} REFUSED: {plugins.problem_with(a_kind, name)}")
    _print_failures(plugins)
    if broken and not plugins.failures:
        typer.echo("every plugin loads")
    raise typer.Exit(1 if broken and plugins.failures else 0)


def _print_failures(plugins: Plugins) -> None:
    for failure in plugins.failures:
        typer.echo(f"{'broken':<13} {failure.label:<18} {failure.distribution}: {failure.reason}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A plugin's name, or kind.name.")],
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Show a plugin: what it is, where it comes from, its options."""
    from fusionbench.describe import describe
    from fusionbench.plugins import Plugins

    typer.echo(describe(Plugins(plugin or [], no_plugin or []), name))


@app.command()
def dashboard(
    workspace: WorkspaceOption = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 picks a free port.")] = 5000,
) -> None:
    """Serve the workspace's MLflow page on this machine, and print links to the charts."""
    _environment()
    from fusionbench.dashboard import serve

    raise typer.Exit(serve(workspace, port, typer.echo))


@data.command("check")
def check_data(
    config: Annotated[Path, typer.Argument(help="A benchmark file; its task says where the data are.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key: --set task.root=FOLDER; may be repeated.")
    ] = None,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
) -> None:
    """Say what is in a benchmark's data, and what is wrong with them; trains nothing."""
    benchmark, places, plugins = _read(config, assignments, plugin, no_plugin)
    from fusionbench.plan import resolve

    task = resolve(benchmark, plugins, places.at).task.build()
    if not hasattr(task, "check"):
        raise ConfigError(
            f"{places.at(('task',))}task '{benchmark.task.name}' has no check of its own; "
            f"'fusionbench run {config} --dry-run' prepares its data and says what is in them"
        )
    lines: list[str] = task.check()
    for line in lines:
        typer.echo(line)
    raise typer.Exit(2 if any(line.startswith("problem:") for line in lines) else 0)


@data.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write; must not exist or be empty.")],
    task: Annotated[str, typer.Option(help="The task whose files are imitated.")] = "mimic_ihm",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="A dial: --set stays=500 --set synergy=0.5; may be repeated.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write a synthetic cohort in the task's own file layout, and print what a perfect model would reach."""
    from fusionbench.document import parse_assignment
    from fusionbench.plugins import Plugins
    from fusionbench.terminal import make_console, progress_for

    dials = {".".join(path): value for path, value in map(parse_assignment, options or [])}
    registration = Plugins().get("tasks", task)
    if not hasattr(registration.target, "synthesise"):
        raise ConfigError(f"--task {task}: this task writes no synthetic data")
    console = make_console()
    for line in registration.target.synthesise(folder, dials, progress_for(console, quiet)):
        typer.echo(line)


def _read(
    config: Path, assignments: list[str] | None, plugin: list[str] | None, no_plugin: list[str] | None
) -> tuple[Benchmark, Places, Plugins]:
    """Read a benchmark file and check its names; torch is not imported for a typo."""
    from fusionbench.config import read_benchmark
    from fusionbench.names import check_names
    from fusionbench.plugins import Plugins

    _environment()
    benchmark, places = read_benchmark(config, assignments or [])
    plugins = Plugins(plugin or [], no_plugin or [])
    problems = check_names(benchmark, plugins, places.at)
    if problems:
        raise ConfigError(problems)
    return benchmark, places, plugins


def _environment() -> None:
    """Set what libraries read when they are imported."""
    # threads that wait by spinning slow everything down twentyfold when another process shares the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    disable_telemetry()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors meant for users are printed without a traceback."""
    sys.exit(guarded(lambda: app(arguments, standalone_mode=False)))


# the base of typer's errors: of the click that it needs, or of the copy that newer versions carry
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def guarded(call: Callable[[], Any]) -> int:
    """Run a command and return the exit code."""
    try:
        result = call()
    except FusionBenchError as problem:
        typer.echo(f"error: {problem}", err=True)
        return problem.exit_code
    except typer.Exit as leaving:
        return leaving.exit_code
    except _UsageError as problem:
        problem.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return 130
    return result if isinstance(result, int) else 0
