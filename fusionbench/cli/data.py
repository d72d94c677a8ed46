"""``fusionbench data``: prepare, check and write data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusionbench.cli.options import BlockOption, PanelOption, PluginOption, WorkspaceOption
from fusionbench.commands.opening import command, given_words, open_file, set_environment
from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    from fusionbench.plan.parts import Part

data = typer.Typer(no_args_is_help=True, help="Prepare, write and check data.")


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


def _tasks_to_prepare(
    what: str,
    assignments: list[str],
    panel: list[str] | None,
    plugin: list[str] | None,
    no_plugin: list[str] | None,
) -> tuple[list[Part], list[str]]:
    """Return the tasks that a benchmark file or a name means, and the words of the command that comes next."""
    given = given_words(plugin, assignments)
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
