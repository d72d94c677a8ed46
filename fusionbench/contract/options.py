"""Options of plugins: a value must be one of those that the ``Literal`` annotation of the constructor lists.

Guests and built-ins need no check of their own: :meth:`fusionbench.contract.registration.Registration.build` asks
:func:`problems_of`, and every class that derives from the contract's bases asks it when it is constructed in Python.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

from fusionbench.errors import did_you_mean

LARGEST = 2**31 - 1
"""No width, count or position of a plugin's option is beyond it; torch would ask for all memory first."""
_LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)
# what other parts of a union say, where one of them lists values
_PLAIN = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def problems_of(target: Callable[..., Any], options: Mapping[str, Any]) -> list[str]:
    """Say which options have a value that their annotation does not list, one sentence each.

    Args:
        target: A class, or its constructor.
        options: Values by name; those without an annotation that lists values are not looked at.
    """
    types = types_of(target)
    found = ((name, types[name], value) for name, value in options.items() if name in types)
    return [
        _sentence(name, hint, value) for name, hint, value in found if _lists_values(hint) and not _fits(hint, value)
    ]


def too_large(options: Mapping[str, Any]) -> list[str]:
    """Say which options of a benchmark file are whole numbers beyond any size of anything; seeds may be large."""
    found = (
        (name, number) for name, value in options.items() if "seed" not in name for number in _whole_numbers(value)
    )
    return [f"{name} must be a whole number of at most {LARGEST:,}, found {number}" for name, number in found]


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return [number for part in inner for number in _whole_numbers(part)]
    return [value] if isinstance(value, int) and abs(value) > LARGEST else []


def types_of(target: Any) -> Mapping[str, Any]:
    """Return the annotations of a constructor; ``Any`` where a name cannot be looked up, as one for type checkers only."""
    plain = inspect.unwrap(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    return _types_of(plain) if inspect.isfunction(plain) else {}


@cache
def _types_of(function: Any) -> Mapping[str, Any]:
    known = {**vars(typing), **function.__globals__}
    return {name: _resolved(written, known) for name, written in inspect.get_annotations(function).items()}


def _resolved(written: Any, known: dict[str, Any]) -> Any:
    """The type that is written as text, or holds text."""
    written = written.__forward_arg__ if isinstance(written, ForwardRef) else written
    if isinstance(written, str):
        try:
            return _resolved(eval(written, dict(known)), known)  # noqa: S307 - annotations are code of the plugin
        except Exception:  # noqa: BLE001 - whatever a guest wrote there: nothing is known of it then
            return Any
    written = getattr(written, "__value__", written)  # of an alias that was made by a type statement
    if get_origin(written) is Annotated:
        return _resolved(get_args(written)[0], known)
    if get_origin(written) in (Union, UnionType):
        return Union[tuple(_resolved(part, known) for part in get_args(written))]  # noqa: UP007 - made here
    if get_origin(written) in _LISTS and get_args(written):
        return list[_resolved(get_args(written)[0], known)] if _alike(written) else Any  # type: ignore[misc]
    return written


def _alike(hint: Any) -> bool:
    """Whether all entries of a list are of one type, which cannot be said of ``tuple[A, B]``."""
    return get_origin(hint) is not tuple or get_args(hint)[1:] == (...,)


def literal_values(hint: Any) -> tuple[Any, ...]:
    """Return the values that a type lists (``Literal``, or a union of it with None); empty for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        parts = get_args(hint)
        listed = [v for p in parts for v in literal_values(p)]
        return (*listed, None) if listed and NoneType in parts else tuple(listed)
    return ()


def _lists_values(hint: Any) -> bool:
    """Whether a type has a ``Literal`` somewhere in it."""
    if get_origin(hint) is Literal:
        return True
    inside = get_origin(hint) in (Union, UnionType, list)
    return inside and any(_lists_values(part) for part in get_args(hint))


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value may be of a type; true where this module cannot tell."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return any(_same(value, listed) for listed in parts)
    if kind in (Union, UnionType):
        return any(_fits(part, value) for part in parts)
    if kind is list:
        several = isinstance(value, Collection) and not isinstance(value, str | Mapping)
        return several and all(_fits(parts[0], v) for v in value)
    if hint is NoneType:
        return value is None
    if hint in _PLAIN:
        numbers: Any = (int, float) if hint is float else hint
        return isinstance(value, numbers) and (hint is bool or not isinstance(value, bool))
    return True


def _same(value: Any, listed: Any) -> bool:
    """Whether a value is a listed one: 1 is not True, and not 1.0 either."""
    alike = isinstance(value, type(listed)) and isinstance(value, bool) == isinstance(listed, bool)
    return alike and bool(value == listed)


def _sentence(name: str, hint: Any, value: Any) -> str:
    known = _texts(hint)
    given = value if isinstance(value, list | tuple) else [value]
    hints = [did_you_mean(v, known) for v in given if isinstance(v, str) and v not in known]
    return f"{name} must be {_joined(_words(hint))}, found {_written(value)}{next(filter(None, hints), '')}"


def _words(hint: Any) -> list[str]:
    """What is accepted, in words."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return [_written(value) for value in parts]
    if kind in (Union, UnionType):
        ordered = sorted(parts, key=lambda part: part is NoneType)
        return [word for part in ordered for word in _words(part)]
    if kind is list:
        return [f"a list of {_joined(_words(parts[0]))}"]
    return ["null" if hint is NoneType else _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))]


def _texts(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [v for v in get_args(hint) if isinstance(v, str)]
    return [text for part in get_args(hint) for text in _texts(part)]


def _joined(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _written(value: Any) -> str:
    """A value as a benchmark file has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


class Configured:
    """What has options: those of a class that derives from it are checked before its constructor runs.

    A wrong word would otherwise fall through to an ``else`` of the plugin, and train something that nobody asked for.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        constructor = vars(cls).get("__init__")
        if constructor is not None:
            setattr(cls, "__init__", _checked(constructor))  # noqa: B010 - a type checker would take it for a method


def _checked(constructor: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(constructor)  # once for a class: models are built by the thousand

    @wraps(constructor)
    def construct(self: Any, *args: Any, **options: Any) -> None:
        try:
            given = signature.bind(self, *args, **options).arguments
        except TypeError:  # the constructor itself says best what is missing, or too much
            given = {}
        if problems := problems_of(constructor, given):
            raise ValueError("\n".join(problems))
        constructor(self, *args, **options)

    return construct
