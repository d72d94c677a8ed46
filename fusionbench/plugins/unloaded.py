"""Options of plugins that are not loaded: what a constructor takes, read from its source.

Where a benchmark file has other faults, its options are looked at too, so that all is said at once; loading plugins for that
would import torch for a typo.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

from fusionbench.contract.registration import GIVEN, SINGULAR, STRATEGY_KEYS
from fusionbench.errors import did_you_mean


def problem_with_options(kind: str, name: str, module: str, options: list[str]) -> str | None:
    """Say which options a plugin does not have; None where it has them, or its source does not tell.

    Args:
        kind: As of the registry.
        name: The plugin.
        module: Where it is defined.
        options: Names that a benchmark file gives.
    """
    accepted = accepted_options(kind, name, module)
    unknown = [] if accepted is None else [o for o in options if o not in accepted]
    if not unknown or accepted is None:
        return None
    keys = [*accepted, *STRATEGY_KEYS] if kind == "strategies" else accepted
    hints = [f"'{o}'{did_you_mean(o, keys)}" for o in unknown]
    return (
        f"{SINGULAR[kind]} '{name}' has no option {' and no option '.join(hints)}\n"
        f"  accepted: {', '.join(accepted) or 'no options'}"
    )


def accepted_options(kind: str, name: str, module: str) -> list[str] | None:
    """Return the options of a plugin's constructor; None where they do not stand in the file that registers it."""
    tree = _source_of(module)
    if tree is None:
        return None
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    calls = [n.args for n in ast.walk(tree) if isinstance(n, ast.Call) and len(n.args) == 2]
    found = {
        target.id
        for called, target in calls
        if isinstance(called, ast.Constant)
        and called.value == name
        and isinstance(target, ast.Name)
        and target.id in classes
    }
    if len(found) != 1:
        return None
    body = classes[found.pop()].body
    made = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if len(made) != 1 or made[0].args.kwarg or made[0].args.vararg:
        return None
    arguments = made[0].args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return named[1 + GIVEN[kind] :]


@cache
def _source_of(module: str) -> ast.Module | None:
    try:
        spec = importlib.util.find_spec(module)
        path = Path(str(spec.origin)) if spec is not None else None
        return ast.parse(path.read_text(encoding="utf-8")) if path is not None and path.suffix == ".py" else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
