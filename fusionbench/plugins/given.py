"""Classes that are given as they are, in a notebook or a script: registered under a name, with a hash of their source.

The key of a result holds a hash of the source that made it. A class of a notebook has no file: its source is that of the cells
that define it, its bases, and the functions, classes and plain values of the notebook that it uses. Where one of these has no
source, the class is refused: its results would be taken for those of another version of it.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import linecache
import re
import sys
import types
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import fusionbench
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import BASES, CORE, SINGULAR, Registration
from fusionbench.errors import PluginError
from fusionbench.keys import canonical

DISTRIBUTION: Final = "this session"
"""Who offers a class that was given as it is."""
_PLAIN: Final = (bool, int, float, str, bytes, type(None))


class GivenRegistration(Registration):
    """A class without a file."""

    @cached_property
    def source_digest(self) -> str:
        """Hash of the class's source, and of what it uses of its session."""
        return hashlib.sha256(canonical(sorted(set(sources(self.target)))).encode()).hexdigest()


def registration_of(target: type, name: str | None = None) -> Registration:
    """Return a class as a plugin.

    Args:
        target: Derived from a base class of the contract.
        name: How it is called; None: its own name in small letters (``MyFusion`` is ``my_fusion``).

    Raises:
        PluginError: It is no class of a kind that is known, or has no source.
    """
    kind = kind_of(target)
    called = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", target.__name__).lower()
    module = target.__module__
    if not _of_session(target):
        return Registration(kind, called, target, f"module {module.partition('.')[0]}", "")
    found = GivenRegistration(kind, called, target, DISTRIBUTION, "")
    _ = found.source_digest  # refused now, and not when the first key is made
    return found


def kind_of(target: type) -> str:
    """Return the kind of a class.

    Raises:
        PluginError: It has none.
    """
    bases = {kind: getattr(fusionbench, base) for kind, base in BASES.items()}
    found = [kind for kind in KINDS if kind in bases and issubclass(target, bases[kind])]
    if not found:
        accepted = ", ".join(f"fusionbench.{base}" for base in BASES.values())
        raise PluginError(f"class {target.__name__} is no plugin: derive it from one of {accepted}")
    return found[0]


# --------------------------------------------------------------------------------------------
# source of what has no file


def sources(target: type) -> Iterator[str]:
    """Yield the sources that a class of a session is made of: its own, its bases', and what these use of the session.

    Raises:
        PluginError: Something of it has no source.
    """
    seen: set[int] = set()
    waiting: list[Any] = [c for c in target.__mro__ if c.__module__.partition(".")[0] not in CORE]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield _source(found, target)
        for function in _functions(found):
            for name, value in _used(function, target):
                if isinstance(value, types.FunctionType | type):
                    waiting.append(value)
                else:
                    yield f"{name} = {_written(value)}"


def _of_session(found: Any) -> bool:
    return getattr(found, "__module__", None) == "__main__"


def _source(found: Any, target: type) -> str:
    """The statement that defines a class or a function."""
    name = found.__qualname__.rpartition(".")[2]
    texts = [(_lines(f), f.__code__.co_firstlineno) for f in _functions(found)]
    known = next(((text, line) for text, line in texts if text), None)
    definition = _definition(known[0], name, known[1]) if known else "" if texts else _last_definition(found, name)
    if not definition:
        raise PluginError(
            f"{SINGULAR[kind_of(target)]} {target.__name__}: '{found.__qualname__}' has no source that can be read (typed into a "
            "plain Python prompt, or made by exec?), so results could not be told from those of another version of it; "
            "define it in a notebook cell or a script, or put it into a file and name that: plugins=['my_fusion.py']"
        )
    return definition


def _lines(function: types.FunctionType) -> str:
    return "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))


def _definition(text: str, name: str, line: int) -> str:
    """The statement of a text that defines a name; of several, the one that the line lies in, else the last."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.name == name]
    around = [n for n in found if n.lineno <= line <= (n.end_lineno or n.lineno)] or found
    return ast.unparse(around[-1]) if around else ""


def _last_definition(found: Any, name: str) -> str:
    """The definition of a class without functions: nothing in it says which cell it comes from, so the last one that has it."""
    cells = ["".join(entry[2]) for entry in linecache.cache.values() if len(entry) == 4 and entry[1] is None]
    file = getattr(sys.modules.get(found.__module__), "__file__", None)
    script = ["".join(linecache.getlines(file))] if file is not None else []
    return next((text for cell in [*reversed(cells), *script] if (text := _definition(cell, name, 0))), "")


def _functions(found: Any) -> Iterator[types.FunctionType]:
    """The functions that a class defines itself, or a function."""
    if isinstance(found, types.FunctionType):
        yield found
    elif isinstance(found, type):
        for value in vars(found).values():
            # constructors are wrapped, to check their options
            function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)))
            if isinstance(function, types.FunctionType) and function.__module__ == found.__module__:
                yield function


def _used(function: types.FunctionType, target: type) -> Iterator[tuple[str, Any]]:
    """Yield what a function uses of its session: functions and classes that are defined there, and plain values.

    Raises:
        PluginError: It uses a value that has no source.
    """
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if name not in function.__globals__ or isinstance(value, types.ModuleType):
            continue
        if _is_plain(value) or (isinstance(value, types.FunctionType | type) and _of_session(value)):
            yield name, value
        elif not _imported(value):
            raise PluginError(
                f"{SINGULAR[kind_of(target)]} {target.__name__} uses '{name}' of this session, a {type(value).__name__}: its "
                "content has no source, and results are stored under a hash of their source; hand it over as an option of the "
                "constructor, or make it inside the class"
            )


def _imported(value: Any) -> bool:
    """Whether a value is imported: a class or a function of a library, a typing construct, a marker."""
    if isinstance(value, types.FunctionType | type):
        return True
    return callable(value) and not hasattr(value, "shape") and type(value).__module__ != "__main__"


def _written(value: Any) -> str:
    """A plain value as text; sets have no order of their own."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_written, value)))}}}"
    return repr(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, set | frozenset):
        return all(isinstance(v, _PLAIN) for v in value)
    if isinstance(value, list | tuple):
        return not any(isinstance(v, set | frozenset) for v in value) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    return isinstance(value, _PLAIN)


def _names(code: types.CodeType) -> set[str]:
    """Every global name that a function, and what is defined in it, reads."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    own = {str(i.argval) for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*map(_names, inner))
