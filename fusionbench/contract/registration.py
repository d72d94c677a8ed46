"""What is registered under which name, by whom."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import pluggy

from fusionbench.contract.isolation import contained, owned, text_of
from fusionbench.contract.options import problems_of, too_large
from fusionbench.errors import ConfigError, FusionBenchError, PluginError, did_you_mean
from fusionbench.keys import first_name

# kind -> the class of this package that its plugins derive from; an observer is any class with hooks
BASES: Final = {
    "tasks": "Task",
    "encoders": "Encoder",
    "imputers": "Imputer",
    "strategies": "FusionStrategy",
    "regularisers": "Regulariser",
    "missingness": "Missingness",
    "papers": "Paper",
    "executors": "Executor",
}
# kind -> how many constructor arguments the core gives before the options
GIVEN: Final = {
    "tasks": 0,
    "encoders": 1,
    "imputers": 1,
    "strategies": 1,
    "regularisers": 1,
    "missingness": 0,
    "papers": 0,
    "executors": 0,
    "observers": 2,
}
# packages whose code is no part of a plugin; what decides results in them has a version of its own
CORE: Final = ("builtins", "abc", "typing", "torch", "fusionbench")
USER_FILES: Final = "fusionbench_user"
"""The package that files given with ``-p`` are modules of: they have nothing to do with each other."""
# what the benchmark file itself reads of a strategy; the rest goes to the constructor
STRATEGY_KEYS: Final = ("label", "imputers", "regularisers", "corruption", "modalities")
SINGULAR: Final = {
    "tasks": "task",
    "encoders": "encoder",
    "imputers": "imputer",
    "strategies": "fusion strategy",
    "regularisers": "regulariser",
    "missingness": "missingness mechanism",
    "papers": "paper",
    "executors": "executor",
    "observers": "observer",
}


@dataclass(frozen=True)
class Registration:
    """A loaded plugin: what it is, and where it came from.

    Args:
        kind: A key of :data:`KINDS`.
        name: The name used in benchmark files.
        target: The class.
        distribution: The installed distribution, or the file given with ``-p``.
        version: Its version; empty for files.
    """

    kind: str
    name: str
    target: type
    distribution: str
    version: str

    @cached_property
    def source_digest(self) -> str:
        """Hash of the files that define the class: a changed plugin invalidates its own cells only.

        Beside the class's own file, those of classes that it derives from, and what they import of their own package.
        """
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in _sources(self.target)]
        if len(digests) < 2:
            return "".join(digests)
        return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()

    @property
    def source(self) -> str:
        """Hash of the source that results are stored under.

        The source's own, unless its package says in ``same_results.json`` that another source gave the same results: a
        file may be tidied up without training again what it trained before.
        """
        return same_results(self.target.__module__.partition(".")[0]).get(self.source_digest, self.source_digest)

    @property
    def identity(self) -> dict[str, str]:
        """What enters the key of a result."""
        return {
            "name": self.name,
            "distribution": first_name(self.distribution),
            "version": self.version,
            "source": self.source,
        }

    @property
    def title(self) -> str:
        """Kind, name and distribution, for messages."""
        return f"{SINGULAR[self.kind]} '{self.name}' of {self.distribution} {self.version}".strip()

    def problem_with(self, options: Mapping[str, Any]) -> str | None:
        """Say what is wrong with options, without constructing anything; else None.

        Options that the constructor does not know or lacks, and values that its ``Literal`` annotations do not list.
        """
        unknown, wrong = self._unknown(options), [*problems_of(self.target, options), *too_large(options)]
        if not unknown and not wrong:
            return None
        lines = [unknown, *wrong] if unknown else [f": {wrong[0]}", *wrong[1:]]
        return f"{SINGULAR[self.kind]} '{self.name}'" + "\n  ".join(lines)

    def _unknown(self, options: Mapping[str, Any]) -> str:
        """Which options the constructor does not know or lacks; empty where it takes them."""
        given = GIVEN[self.kind]
        try:
            inspect.signature(self.target).bind(*[None] * given, **options)
        except TypeError as problem:
            accepted = option_names(self.target, skip=given)
            unknown = [o for o in options if o not in accepted]
            if not unknown:
                return f": {problem}{_accepted(accepted)}"
            keys = [*accepted, *STRATEGY_KEYS] if self.kind == "strategies" else accepted
            hints = [f"'{o}'{did_you_mean(o, keys)}" for o in unknown]
            return f" has no option {' and no option '.join(hints)}{_accepted(accepted)}"
        return ""

    def build(self, where: str, *args: Any, **options: Any) -> Any:
        """Construct the class with options from a benchmark file.

        Raises:
            ConfigError: An option is unknown, missing, or refused by the constructor.
            PluginError: The constructor fails in another way.
        """
        problem = self.problem_with(options)
        if problem:
            raise ConfigError(f"{where}: {problem}")
        owner = self.title
        try:
            with contained(owner, watched="all"):
                built = owned(self.target(*args, **options), owner)
        except FusionBenchError:
            raise
        except (ValueError, TypeError) as refusal:
            raise ConfigError(f"{where}: {SINGULAR[self.kind]} '{self.name}': {text_of(refusal)}") from refusal
        except Exception as failure:  # whatever a guest's constructor raises is the guest's failure
            reason = f"{type(failure).__name__}: {text_of(failure)}"
            raise PluginError(f"{where}: {owner} cannot be constructed: {reason}") from failure
        return built


def _sources(target: type) -> set[Path]:
    """Source files of a class and of its bases, with the modules of the same package that these import."""
    waiting = [c.__module__ for c in target.__mro__ if c.__module__.partition(".")[0] not in CORE]
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in found or module is None or not getattr(module, "__file__", None):
            continue  # a class that was made without a file
        found[name] = Path(str(module.__file__))
        package, _, nested = name.partition(".")
        if nested and package != USER_FILES:
            used = {getattr(v, "__module__", None) or getattr(v, "__name__", "") for v in vars(module).values()}
            waiting += [u for u in used if isinstance(u, str) and u.startswith(f"{package}.")]
    return set(found.values())


@cache
def same_results(package: str) -> dict[str, str]:
    """Return, by the hash of a source, that of an earlier source whose results it gives; empty where a package says nothing.

    Args:
        package: Name of an imported package that has, or has not, a file ``same_results.json`` in its folder: from hash to
            ``{"as": hash, "why": sentence}``.

    Raises:
        PluginError: The file is there and does not read as that.
    """
    folder = getattr(sys.modules.get(package), "__path__", None)
    path = Path(next(iter(folder))) / "same_results.json" if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        return {now: str(before["as"]) for now, before in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise PluginError(f'{path}: {{"<hash>": {{"as": "<hash>", "why": "..."}}}} expected: {problem}') from problem


def _accepted(options: list[str]) -> str:
    return f"\n  accepted: {', '.join(options) or 'no options'}"


def option_names(target: type, skip: int = 0) -> list[str]:
    """Names of the constructor's options, without the first ``skip`` positional parameters."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in inspect.signature(target).parameters.values() if p.kind in kinds][skip:]


def source_of(module: str) -> str:
    """Where a module would be loaded from, without importing it; for listings."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return spec.origin or "" if spec else ""


PROJECT = "fusionbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """What registration hooks receive."""

    def __call__(self, name: str, target: type) -> None:
        """Register ``target`` under ``name``; a name that is taken is an error naming both owners."""
