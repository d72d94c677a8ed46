"""``fusionbench schema``: what an editor has to know of benchmark files, as JSON schema, with plugins and their options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fusionbench.commands.describe import REQUIRED, options_of
from fusionbench.commands.first_sentence import sentence_of
from fusionbench.config.extending import KEY as EXTENDS
from fusionbench.config.sections import Benchmark
from fusionbench.contract.options import types_of
from fusionbench.contract.registration import GIVEN, STRATEGY_KEYS, Registration
from fusionbench.errors import PluginError, WorkspaceError
from fusionbench.plugins.catalogue import Plugins

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final = ("tasks", "encoders", "imputers", "strategies", "regularisers", "missingness", "observers")
_TYPES: Final[Mapping[Any, str]] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}
"""A value that the environment gives may stand where a number is expected."""


def schema_text(plugins: Plugins) -> str:
    """Return the schema of a benchmark file with all that is installed, as JSON."""
    return json.dumps(schema(plugins), indent=2, ensure_ascii=False)


def write_schema(path: Path, text: str) -> None:
    """Write it to a file.

    Raises:
        WorkspaceError: The file cannot be written.
    """
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be written: {problem.strerror}") from problem


def schema(plugins: Plugins) -> dict[str, Any]:
    """Return the schema of a benchmark file: its sections, what is accepted in them, and every plugin with its options."""
    found = Benchmark.model_json_schema()
    defs, keys = found["$defs"], found["properties"]
    del keys["is_demo"]
    defs |= {f"plugin_{kind}": _choice(kind, plugins) for kind in _KINDS}
    keys["task"] = _reference("tasks")
    keys["encoders"] = {"type": "object", "additionalProperties": _reference("encoders")}
    keys["imputers"] = {"type": "array", "items": _reference("imputers")}
    keys["strategies"] = {"type": "array", "items": _reference("strategies"), "minItems": 1}
    keys["observers"] = {"type": "array", "items": _reference("observers")}
    defs["MissingnessSection"]["properties"]["mechanism"] = _reference("missingness")
    whole = {"type": "object", "additionalProperties": False, "properties": keys}
    defs["Expectation"]["properties"] = {k: _one_or_several(v) for k, v in defs["Expectation"]["properties"].items()}
    defs["panel"] = {**whole, "properties": {k: v for k, v in keys.items() if k != "name"}}
    defs["demo"] = {**whole, "properties": {**keys, "unless_set": {"type": "string"}}}
    more = {
        EXTENDS: {"type": "string", "description": "Another benchmark file; this one says only what differs."},
        "demo": {"$ref": "#/$defs/demo", "description": "Laid over the other keys while a variable is not set."},
        "panels": {"type": "object", "additionalProperties": {"$ref": "#/$defs/panel"}},
        "grid": {"type": "object", "additionalProperties": {"type": "array"}},
    }
    enough = [{"required": [*found["required"]]}, *({"required": [key]} for key in (EXTENDS, "panels", "grid"))]
    return {
        "$schema": DIALECT,
        "title": "A benchmark file of fusionbench",
        **whole,
        "properties": {**keys, **more},
        "anyOf": enough,
        "$defs": {k: v for k, v in defs.items() if k not in ("Choice", "StrategyChoice")},
    }


def _one_or_several(field: dict[str, Any]) -> dict[str, Any]:
    """A list of names, where one name may stand alone."""
    return {"anyOf": [field, {"type": "string"}]} if field.get("type") == "array" else field


def _reference(kind: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/plugin_{kind}"}


def _choice(kind: str, plugins: Plugins) -> dict[str, Any]:
    """A plugin of a kind: its name, or its name with options."""
    entries = [e for e in plugins.catalogue(kind) if not plugins.problem_with(kind, e.name)]
    names = [{"const": e.name, "description": sentence_of(e.module) or e.name} for e in entries]
    wholes = []
    for entry in entries:
        try:
            wholes.append(_with_options(plugins.get(kind, entry.name)))
        except PluginError:  # one that does not load can be named, and says why when it is run
            wholes.append({"type": "object", "properties": {"name": {"const": entry.name}}, "required": ["name"]})
    # in a panel, a demo and a child: options that are laid over those of a plugin that is named elsewhere
    laid_over = {"type": "object", "not": {"required": ["name"]}}
    return {"anyOf": [{"type": "string", "anyOf": names}, *wholes, laid_over]}


def _with_options(registration: Registration) -> dict[str, Any]:
    kind, target = registration.kind, registration.target
    types = types_of(target)
    options = {o.name: o for o in options_of(target, skip=GIVEN[kind])}
    properties: dict[str, Any] = {"name": {"const": registration.name}}
    for name, option in options.items():
        properties[name] = _option(types.get(name), option.default, option.meaning)
    if kind == "strategies":
        properties |= {key: value for key, value in _beside_strategies().items() if key not in properties}
    required = [name for name, option in options.items() if option.default is REQUIRED]
    return {"type": "object", "properties": properties, "required": ["name", *required], "additionalProperties": False}


def _beside_strategies() -> dict[str, Any]:
    """What the file itself reads of a strategy."""
    found = {
        "label": {"type": "string", "description": "What tables call the line."},
        "imputers": {"type": "array", "items": _reference("imputers")},
        "regularisers": {"type": "array", "items": _reference("regularisers")},
        "corruption": {"type": "object"},
        "modalities": {"type": "array", "items": {"type": "string"}},
    }
    return {key: found[key] for key in STRATEGY_KEYS}


def _option(annotation: Any, default: Any, meaning: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": meaning} if meaning else {}
    if default is not REQUIRED and isinstance(default, bool | int | float | str | None):
        found["default"] = default
    accepted = _accepted(annotation)
    if accepted is None:
        return found
    return {**found, "anyOf": [*accepted, _VARIABLE]}


def _accepted(annotation: Any) -> list[dict[str, Any]] | None:
    """What an annotation accepts; None: anything, for all that can be told."""
    from types import NoneType, UnionType
    from typing import Literal, Union, get_args, get_origin

    if annotation in _TYPES:
        return [{"type": _TYPES[annotation]}]
    if annotation in (None, NoneType):
        return [{"type": "null"}]
    if get_origin(annotation) is Literal:
        return [{"enum": list(get_args(annotation))}]
    if get_origin(annotation) in (Union, UnionType):
        parts = [_accepted(part) for part in get_args(annotation)]
        return None if any(part is None for part in parts) else [one for part in parts if part for one in part]
    return None
