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
