"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusionbench.contract.kinds import KINDS


def benchmark_names(incomplete: str) -> list[str]:
    """Return the benchmarks that come with the installation, for a shell that completes a name."""
    from fusionbench.config.shipped import shipped_files

    return [file.name for file in shipped_files() if file.name.startswith(incomplete)]


def plugin_names(incomplete: str) -> list[str]:
    """Return the names of plugins, for a shell."""
    from fusionbench.plugins.catalogue import Plugins

    return sorted({entry.name for entry in Plugins().catalogue() if entry.name.startswith(incomplete)})


def kind_names(incomplete: str) -> list[str]:
    """Return the kinds of plugins, for a shell."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


BenchmarkArgument = Annotated[
    Path,
    typer.Argument(
        help="A benchmark file, or the name of one that 'fusionbench benchmarks' lists.", autocompletion=benchmark_names
    ),
]
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
ExecutorOption = Annotated[
    str | None,
    typer.Option(
        help="Who does the work: local, ray, slurm; 'fusionbench list executors' has all. Default: this process."
    ),
]
AddressOption = Annotated[str | None, typer.Option(help="Of a Ray cluster: auto, or host:port.")]
PartitionOption = Annotated[str | None, typer.Option(help="Of a Slurm cluster.")]
GpusOption = Annotated[int | None, typer.Option(min=0, help="GPUs of each Slurm or Ray task.")]
TimeOption = Annotated[str | None, typer.Option(help="How long a Slurm task may take: 4:00:00.")]
