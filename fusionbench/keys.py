"""Content addresses: canonical JSON and its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

# Raise it when a change of the core changes numbers: every stored result is then computed again.
PROTOCOL_VERSION = 2
DISTRIBUTION = "fusionbench-core"
"""What pip installs; what Python imports is called ``fusionbench`` and ``fusionbench_plugins``."""
FORMER_NAMES = {DISTRIBUTION: "fusionbench"}
"""Distributions that had another name when results were first stored."""


def first_name(distribution: str) -> str:
    """Return the name that keys hold: a distribution that is renamed keeps its results."""
    return FORMER_NAMES.get(distribution, distribution)


def canonical(value: Any) -> str:
    """Return JSON with sorted keys, no blanks and shortest floats; equal content gives equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain, allow_nan=False)


def digest(value: Any) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return what lies in nested dictionaries by dotted names; an empty one leaves nothing."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flattened(inner, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no canonical form")
