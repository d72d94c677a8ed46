"""``fusionbench benchmarks``: what can be run by name, what each asks, and what it needs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fusionbench.config.extending import KEY as EXTENDS
from fusionbench.config.shipped import shipped_files
from fusionbench.errors import ConfigError, did_you_mean


def benchmark_lines(name: str | None, width: int = 100) -> Iterator[str]:
    """Yield a paragraph for each benchmark that is shipped: its name, what it asks, and what it needs.

    Args:
        name: This one only, and where its file lies; None: all.
        width: Columns of the screen.

    Raises:
        ConfigError: No such benchmark is shipped.
    """
    files = shipped_files()
    known = [file.name for file in files]
    if name is not None and name not in known:
        raise ConfigError(f"no benchmark named '{name}'{did_you_mean(name, known)}\n  there are: {', '.join(known)}")
    for file in files:
        if name in (None, file.name):
            yield file.name
            said = f"{question_of(file.path)} {needs_of(file.path)}".strip()
            yield from textwrap.wrap(said, width, initial_indent="    ", subsequent_indent="    ")
            if name is not None:
                yield f"    file: {file.path}"


def question_of(path: Path) -> str:
    """Return what a file asks: its question, its title, or those of the file that it extends."""
    document = _document(path)
    for key in ("question", "title"):
        if isinstance(document.get(key), str):
            return " ".join(str(document[key]).split())
    parent = document.get(EXTENDS)
    return question_of(path.parent / parent) if isinstance(parent, str) else ""


def needs_of(path: Path) -> str:
    """Return what a file needs beside the installation: the variable that names its data, and whether it runs without."""
    layers = list(_layers(path))
    demos = [d["demo"] for d in layers if isinstance(d.get("demo"), dict)]
    variables = [demo["unless_set"] for demo in demos if "unless_set" in demo]
    if variables:
        return f"(Without {variables[0]}: a made-up cohort.)"
    tasks = [d["task"] for d in layers if "task" in d]
    options = tasks[0] if tasks and isinstance(tasks[0], dict) else {}
    asked = [v for v in options.values() if isinstance(v, str) and v.startswith("${")]
    return f"(Needs {asked[0].strip('${}').partition(':')[0]}: the folder of its data.)" if asked else ""


def _layers(path: Path) -> Iterator[Mapping[str, Any]]:
    document = _document(path)
    yield document
    parent = document.get(EXTENDS)
    if isinstance(parent, str):
        yield from _layers(path.parent / parent)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    return found if isinstance(found, dict) else {}
