"""``fusionbench plugin new``: a complete distribution with one plugin, its tests, and a benchmark that runs it.

What is written installs and passes as it is; the author replaces the method in the one module. The templates lie in
``fusionbench/templates``.
"""

from __future__ import annotations

import datetime as dt
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from fusionbench import __version__
from fusionbench.contract.registration import SINGULAR
from fusionbench.errors import ConfigError, WorkspaceError, did_you_mean
from fusionbench.plugins.catalogue import Plugins

# what the command calls a kind -> what the registry calls it
SINGULAR_KINDS: Final = {
    "strategy": "strategies",
    "imputer": "imputers",
    "regulariser": "regularisers",
    "encoder": "encoders",
    "task": "tasks",
    "missingness": "missingness",
    "observer": "observers",
}
# a benchmark that runs on any machine; a plugin takes the place of its kind below
BENCHMARK: Final = {
    "task": "{name: planted, problem: noise, rows: 300}",
    "encoders": "{strong: identity, weak: identity, noise: identity}",
    "imputers": "[zero]",
    "strategies": "[concat, sum]",
    "mechanism": "mcar",
    "observers": "[files]",
}
# kind -> what changes in the benchmark for a plugin of the name $name
CHANGES: Final[Mapping[str, Mapping[str, str]]] = {
    "strategies": {"strategies": "[concat, $name]"},
    "imputers": {"imputers": "[zero, $name]"},
    "regularisers": {"strategies": "[concat, {name: concat, regularisers: [$name], label: concat with $name}]"},
    "encoders": {"encoders": "{strong: $name, weak: $name, noise: $name}"},
    "tasks": {"task": "$name", "encoders": "{left: identity, right: identity}"},
    "missingness": {"mechanism": "$name"},
    "observers": {"observers": "[files, $name]"},
}
USAGE: Final = {
    "strategies": "strategies: [concat, $name]",
    "imputers": "imputers: [zero, $name]",
    "regularisers": "strategies:\n  - {name: concat, regularisers: [$name]}",
    "encoders": "encoders: {ehr: $name}",
    "tasks": "task: $name",
    "missingness": "missingness: {mechanism: $name}",
    "observers": "observers: [files, $name]",
}


@dataclass(frozen=True)
class Project:
    """A distribution to be written.

    Args:
        distribution: Its name, ``my-fusion``.
        kind: A key of ``fusionbench.contract.kinds.KINDS``.
    """

    distribution: str
    kind: str

    @property
    def module(self) -> str:
        """The module that is imported, ``my_fusion``."""
        return self.distribution.replace("-", "_")

    @property
    def name(self) -> str:
        """The name in benchmark files: the module's, without a leading ``fusionbench_``."""
        return self.module.removeprefix("fusionbench_")

    @property
    def values(self) -> dict[str, str]:
        """What stands for the words with ``$`` in the templates."""
        title = self.name.replace("_", " ").capitalize()
        kind = SINGULAR[self.kind]
        words = {
            "distribution": self.distribution,
            "module": self.module,
            "name": self.name,
            "Class": "".join(word.capitalize() for word in self.name.split("_")),
            "Title": title,
            "a_kind": f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}",
            "kinds": self.kind,
            "version": __version__,
            "year": str(dt.datetime.now(tz=dt.UTC).year),
        }
        own = {**BENCHMARK, **CHANGES[self.kind], "usage": USAGE[self.kind]}
        filled = {key: Template(text).substitute(words) for key, text in own.items()}
        return {**words, **filled}

    def files(self) -> dict[str, str]:
        """Return the text of every file by its path in the distribution."""
        singular = next(word for word, kind in SINGULAR_KINDS.items() if kind == self.kind)
        test = "test_observer.py" if self.kind == "observers" else "test_plugin.py"
        sources = {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            "LICENSE": "LICENSE",
            ".gitignore": "gitignore",
            ".github/workflows/test.yml": "test.yml",
            "benchmark.yaml": "benchmark.yaml",
            f"{self.module}.py": f"{singular}.py",
            f"tests/test_{self.module}.py": test,
        }
        values = self.values
        return {path: _template(source).substitute(values) for path, source in sources.items()}


def _template(name: str) -> Template:
    return Template(files("fusionbench").joinpath("templates", f"{name}.txt").read_text(encoding="utf-8"))


def new_plugin(name: str, kind: str, parent: Path, plugins: Plugins) -> list[Path]:
    """Write a distribution to ``parent / name`` and return what was written.

    Raises:
        ConfigError: The name or the kind cannot be used.
        WorkspaceError: The folder is not empty, or cannot be written.
    """
    problems = problems_with(name, kind, plugins)
    if problems:
        raise ConfigError(problems)
    project, folder = Project(name, SINGULAR_KINDS[kind]), parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorkspaceError(f"{folder} is there and not empty; choose another name, or another place with --folder")
    written = []
    try:
        for path, text in project.files().items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written.append(target)
    except OSError as problem:
        raise WorkspaceError(
            f"{folder} cannot be written: {problem.strerror}; choose another place with --folder"
        ) from problem
    return written


def problems_with(name: str, kind: str, plugins: Plugins) -> list[str]:
    """Return what is wrong with the name of a new distribution, and its kind; one sentence each."""
    if kind not in SINGULAR_KINDS:
        return [f"--kind {kind}: no such kind{did_you_mean(kind, SINGULAR_KINDS)}; kinds: {', '.join(SINGULAR_KINDS)}"]
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        return [
            f"'{name}' cannot be the name of a distribution; accepted: small letters, digits and single '-', as in my-fusion"
        ]
    project = Project(name, SINGULAR_KINDS[kind])
    if project.module in sys.stdlib_module_names or keyword.iskeyword(project.name) or _is_ours(project.module):
        return [
            f"'{name}': a module '{project.module}' would hide one that is needed; choose another name, as my-{name}"
        ]
    taken = [e.distribution for e in plugins.catalogue(project.kind) if e.name == project.name]
    if taken:
        owner = SINGULAR[project.kind]
        return [f"'{name}': {owner} '{project.name}' is offered by {taken[0]} already; choose another name"]
    return []


def _is_ours(module: str) -> bool:
    return module in {"fusionbench", "fusionbench_plugins", "torch", "numpy", "pytest"}
