"""A plugin in words: what it is, where it comes from, its options and what it needs."""

from __future__ import annotations

import inspect
from typing import Any

from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.plugins import Plugins
from fusionbench.registry import KINDS, SINGULAR, Registration

SPEC_ARGUMENTS = ("self", "spec", "config", "workspace")


def describe(plugins: Plugins, name: str) -> str:
    """Return the description of every plugin of a name (``concat``, or ``strategies.concat``).

    Raises:
        ConfigError: Nobody offers the name.
    """
    kind, _, bare = name.rpartition(".")
    found = [(k, bare) for k in KINDS if bare in plugins.names(k) and kind in ("", k)]
    if not found:
        known = sorted({e.name for e in plugins.catalogue()})
        raise ConfigError(
            f"no plugin named '{name}'{did_you_mean(bare, known)}\n"
            f"  'fusionbench list' shows all of them{plugins.broken()}"
        )
    return "\n\n".join(_text(plugins.get(k, n)) for k, n in found)


def _text(registration: Registration) -> str:
    target = registration.target
    source = f"{registration.distribution} {registration.version}".strip()
    lines = [f"{SINGULAR[registration.kind]} {registration.name}  ({source})", ""]
    lines += [inspect.cleandoc(target.__doc__ or "").split("\n\nArgs:")[0].split("\n\nShapes:")[0], "", "Options:"]
    lines += [f"  {line}" for line in _options(target)] or ["  none"]
    provenance = getattr(target, "provenance", None)
    if provenance is not None:
        lines += ["", *[f"{k}: {v}" for k, v in vars(provenance).items() if v]]
    lines += [f"{k}: {v}" for k, v in _needs(target).items()]
    return "\n".join(lines)


def _options(target: type) -> list[str]:
    parameters = inspect.signature(target).parameters.values()
    return [
        str(p) for p in parameters
        if p.name not in SPEC_ARGUMENTS and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]  # fmt: skip


def _needs(target: Any) -> dict[str, str]:
    """What the training loop has to give it."""
    needs = {}
    if getattr(target, "corruption", "none") != "none":
        needs["hides modalities in training"] = target.corruption
    if getattr(target, "stackable", None) is False:
        needs["stackable"] = "no, models are trained one at a time"
    return needs
