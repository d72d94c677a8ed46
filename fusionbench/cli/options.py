"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
