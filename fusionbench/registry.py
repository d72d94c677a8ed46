"""What is registered under which name, by whom."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from fusionbench.errors import ConfigError, did_you_mean

# kind -> the hook that registers it; the order is the order of `fusionbench list`
KINDS: Final = {
    "tasks": "register_tasks",
    "encoders": "register_encoders",
    "imputers": "register_imputers",
    "strategies": "register_fusion_strategies",
    "regularisers": "register_regularisers",
    "missingness": "register_missingness",
    "observers": "register_observers",
}
SINGULAR: Final = {
    "tasks": "task",
    "encoders": "encoder",
    "imputers": "imputer",
    "strategies": "fusion strategy",
    "regularisers": "regulariser",
    "missingness": "missingness mechanism",
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
        """Hash of the module that defines the class: a changed plugin invalidates its own cells only."""
        path = inspect.getsourcefile(self.target)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""

    @property
    def identity(self) -> dict[str, str]:
        """What enters the key of a result."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "source": self.source_digest,
        }

    def build(self, where: str, *args: Any, **options: Any) -> Any:
        """Construct the class with options from a benchmark file.

        Raises:
            ConfigError: An option is unknown, missing, or refused by the constructor.
        """
        try:
            inspect.signature(self.target).bind(*args, **options)
        except TypeError as problem:
            accepted = option_names(self.target, skip=len(args))
            unknown = [o for o in options if o not in accepted]
            hint = did_you_mean(unknown[0], accepted) if unknown else ""
            found = f"{SINGULAR[self.kind]} '{self.name}' has no option '{unknown[0]}'" if unknown else str(problem)
            raise ConfigError(f"{where}: {found}{hint}\n  accepted: {', '.join(accepted) or 'no options'}") from None
        try:
            return self.target(*args, **options)
        except (ValueError, TypeError) as problem:
            raise ConfigError(f"{where}: {SINGULAR[self.kind]} '{self.name}': {problem}") from problem


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
