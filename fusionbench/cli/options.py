"""Options that several commands take, and the words that give them again."""

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


def given_words(
    plugin: list[str] | None, assignments: list[str] | None, no_plugin: list[str] | None = None
) -> list[str]:
    """The words that name these plugins and assignments again, for a command that comes next."""
    pairs = [("-p", p) for p in plugin or []] + [("--no-plugin", p) for p in no_plugin or []]
    pairs += [("--set", a) for a in assignments or []]
    return [word for pair in pairs for word in pair]
