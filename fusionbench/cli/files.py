"""``fusionbench benchmarks``, ``init``, ``schema`` and ``open``: benchmark files, and the page that a run leaves."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from fusionbench.cli.options import BlockOption, PluginOption, WorkspaceOption, benchmark_names
from fusionbench.commands.opening import command, set_environment


def benchmarks(
    name: Annotated[
        str | None, typer.Argument(help="This one only, with its file.", autocompletion=benchmark_names)
    ] = None,
) -> None:
    """List the benchmarks that come with the installation: what each asks, and what it needs."""
    from fusionbench.commands.benchmarks.shipped import benchmark_lines

    for line in benchmark_lines(name, min(shutil.get_terminal_size().columns, 120)):
        typer.echo(line)
    if name is not None:
        typer.echo(f"next: {command(['fusionbench', 'run', name, '--dry-run'])}")


def init(
    path: Annotated[Path, typer.Argument(help="The file to write, as my.yaml; it must not be there.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of your data; asked for where it is left out.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="For a folder that several tasks can read.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the task: --set task.target=died; may be repeated.")
    ] = None,
    strategies: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="Compare this one; may be repeated. All that fit the data by default."),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="Trials of tuning for each strategy and fold.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions with other random numbers.")] = 1,
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    workspace: WorkspaceOption = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; what was found and written only.")] = False,
) -> None:
    """Write a benchmark file for your own data: check them, see what is there, propose the rest."""
    set_environment()
    from fusionbench.commands.benchmarks.begin import Wished, begin
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.screen.terminal import make_console, progress_for

    asked = sys.stdin is not None and sys.stdin.isatty()
    if data is None and not asked:
        raise typer.BadParameter("name the folder of your data", param_hint="'--data'")
    folder = Path(typer.prompt("Folder of your data")) if data is None else data
    wished = Wished(path, folder, task, assignments or (), strategies or (), trials, seeds, workspace)
    plugins = Plugins(plugin or [], no_plugin or []).require_extra()
    for line in begin(wished, plugins, progress_for(make_console(), quiet), typer.prompt if asked else None):
        typer.echo(line)
    typer.echo(f"next: {command(['fusionbench', 'run', str(path), '--workspace', str(workspace)])}")


def schema(
    plugin: PluginOption = None,
    no_plugin: BlockOption = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it to this file.")] = None,
) -> None:
    """Print the JSON schema of benchmark files, with the options of every installed plugin, for an editor."""
    set_environment()
    from fusionbench.commands.benchmarks.schema import schema_text
    from fusionbench.plugins.catalogue import Plugins

    text = schema_text(Plugins(plugin or [], no_plugin or []).require_extra())
    if output is None:
        typer.echo(text)
        return
    from fusionbench.commands.benchmarks.schema import write_schema

    write_schema(output, text)
    typer.echo(f"written: {output}; first line of a benchmark file: # yaml-language-server: $schema={output}")


def open_report(
    name: Annotated[
        str | None, typer.Argument(help="Of the benchmark; without it the page that was written last.")
    ] = None,
    workspace: WorkspaceOption = Path("runs"),
) -> None:
    """Open the report of a run in the browser."""
    from fusionbench.commands.benchmarks.browser import open_page

    for line in open_page(workspace, name):
        typer.echo(line)
