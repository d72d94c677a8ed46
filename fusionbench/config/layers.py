"""One document laid over another, with the place where each value of the result was given.

Mappings are merged key by key, everything else is replaced. ``null`` in the upper document sends a key back to its default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fusionbench.config.document import Location, Places, entries


@dataclass(frozen=True)
class Layer:
    """A document, and where each of its values was given.

    Args:
        document: Plain data.
        places: Of every value in it; the top of the document has a place too.
        is_demo: Whether a ``demo`` block was laid over it.
    """

    document: dict[str, Any]
    places: Places
    is_demo: bool = False

    def below(self, key: str) -> Layer:
        """Return what lies below a key as a document of its own; its keys keep the names that they have here."""
        value, found = self.document.get(key), _Built({}, {})
        document = _copied(_Given(value, self.places, (key,)), (), found)
        return Layer(document if isinstance(document, dict) else {}, Places(*found))

    def without(self, *keys: str) -> Layer:
        """Return the document without some keys."""
        return Layer({k: v for k, v in self.document.items() if k not in keys}, self.places, self.is_demo)


class _Built(NamedTuple):
    """Places and names of a document that is being made."""

    places: dict[Location, str]
    names: dict[Location, Location]


class _Given(NamedTuple):
    """A value, and where it lies in the document that gave it."""

    value: Any
    places: Places
    location: Location

    def inner(self, key: str | int) -> _Given:
        return _Given(self.value[key], self.places, (*self.location, key))

    def named(self) -> _Given:
        """A bare name of a plugin as the mapping that it stands for, so that it can be given options."""
        return self._replace(value={"name": self.value}) if isinstance(self.value, str) else self


def lay(base: Layer, over: Layer, keeps_null: Callable[[Location], bool | None]) -> Layer:
    """Lay one document over another.

    A mapping with another ``name`` is another plugin: it replaces the one below, whose options mean nothing to it.

    Args:
        base: The lower document.
        over: The upper one.
        keeps_null: Says of a location whether ``null`` is a value of its own there; None: nobody knows, and ``null`` means
            the default where the lower document has another value, and itself elsewhere.

    Returns:
        The result; its top lies where the upper document's top does.
    """
    built = _Built({}, {})
    document = _laid(
        _Given(base.document, base.places, ()), _Given(over.document, over.places, ()), (), built, keeps_null
    )
    return Layer(document, Places(*built), base.is_demo or over.is_demo)


def _laid(
    base: _Given, over: _Given, here: Location, built: _Built, keeps_null: Callable[[Location], bool | None]
) -> Any:
    if isinstance(over.value, dict):
        base = base.named()
    if not _mixes(base.value, over.value) and here:
        return _copied(over, here, built)
    _remember(over, here, built)
    result: dict[str, Any] = {}
    for key in dict.fromkeys((*base.value, *over.value)):
        inner = (*here, key)
        if key not in over.value:
            result[key] = _copied(base.inner(key), inner, built)
        elif over.value[key] is None and _means_default(keeps_null(inner), key in base.value):
            continue
        elif key in base.value:
            result[key] = _laid(base.inner(key), over.inner(key), inner, built, keeps_null)
        else:
            result[key] = _copied(over.inner(key), inner, built)
    return result


def _mixes(base: Any, over: Any) -> bool:
    """Whether two values are merged key by key."""
    both = isinstance(base, dict) and isinstance(over, dict)
    return both and over.get("name", base.get("name")) == base.get("name")


def _means_default(keeps: bool | None, replaces: bool) -> bool:
    return replaces if keeps is None else not keeps


def _copied(given: _Given, here: Location, built: _Built) -> Any:
    """Copy a value, and remember where all in it was given."""
    _remember(given, here, built)
    parts = {key: _copied(given.inner(key), (*here, key), built) for key, _ in entries(given.value)}
    if isinstance(given.value, dict):
        return parts
    return list(parts.values()) if isinstance(given.value, list) else given.value


def _remember(given: _Given, here: Location, built: _Built) -> None:
    built.places[here], built.names[here] = given.places.given(given.location)
