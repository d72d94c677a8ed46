"""A benchmark file as it was read: what it extends, its panels, its demo block and ``--set``, as one YAML text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

from fusionbench.config.document import Location, Places, entries
from fusionbench.config.reading import PanelReadings, Reading
from fusionbench.errors import without_secrets

_LAYOUT: Final[dict[str, Any]] = {"sort_keys": False, "allow_unicode": True, "width": 120}


def merged_text(found: PanelReadings) -> str:
    """Return the whole of a benchmark file: a YAML document for each panel, with the files that each key comes from.

    Variables are filled in; passwords are not shown.
    """
    return "---\n".join("\n".join(_panel(name, reading)) + "\n" for name, reading in found.readings.items())


def _panel(name: str, reading: Reading) -> Iterator[str]:
    if name:
        yield f"# panel {name}"
    if reading.document.get("is_demo"):
        yield "# the demo: its block is laid over the file"
    for key, value in reading.document.items():
        if key == "is_demo":
            continue
        yield f"# {', '.join(_files(reading.places, (key,), value))}"
        yield _written(key, without_secrets(value))


def _written(key: str, value: Any) -> str:
    """One key of the top: a mapping or list of mappings over lines, everything else on one."""
    if any(isinstance(inner, dict | list) for _, inner in entries(value)):
        return str(yaml.safe_dump({key: value}, default_flow_style=None, **_LAYOUT)).rstrip("\n")
    return f"{key}: {str(yaml.safe_dump([value], default_flow_style=True, **_LAYOUT)).strip()[1:-1]}"


def _files(places: Places, location: Location, value: Any) -> list[str]:
    """Where a value and what lies in it were given, each file once with the first of its lines."""
    found: dict[str, str] = {}
    for place in _places(places, location, value):
        file, colon, line = place.partition(" (")[0].rpartition(":")
        named = place.startswith("--set") or not colon or not line.isdecimal()
        found.setdefault(place if named else file, place.partition(" (")[0])
    return list(found.values())


def _places(places: Places, location: Location, value: Any) -> Iterator[str]:
    yield places.given(location)[0]
    for key, inner in entries(value):
        yield from _places(places, (*location, key), inner)
