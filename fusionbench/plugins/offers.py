"""What installed distributions offer by entry points; one whose list cannot be read stands in nobody's way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from fusionbench.contract.isolation import text_of
from fusionbench.contract.kinds import KINDS


def offered(group: str) -> tuple[Iterable[EntryPoint], list[tuple[str, str]]]:
    """Return the entry points of a group, and which distributions' lists cannot be read and why."""
    try:
        return entry_points(group=group), []
    except Exception:  # noqa: BLE001 - the parser raises what it likes; whose list it is, is found out now
        return _one_by_one(group)


def _one_by_one(group: str) -> tuple[list[EntryPoint], list[tuple[str, str]]]:
    found: list[EntryPoint] = []
    problems: list[tuple[str, str]] = []
    seen = set[str]()
    for distribution in distributions():
        name = _name_of(distribution)
        if name in seen:  # it is on the path twice, and the first one is what is imported
            continue
        seen.add(name)
        try:
            found += [point for point in distribution.entry_points if point.group == group]
        except Exception as problem:  # noqa: BLE001 - as above
            reason = f"its entry_points.txt cannot be read: {type(problem).__name__}: {text_of(problem)}"
            problems.append((name, reason))
    return found, problems


def _name_of(distribution: Distribution) -> str:
    try:
        metadata = distribution.metadata
        return str(metadata["Name"]) if "Name" in metadata else "unknown"
    except Exception:  # noqa: BLE001 - a broken installation may not say
        return "unknown"


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    """Return name and version of who offers an entry point; a broken installation may not say."""
    try:
        metadata = None if point.dist is None else point.dist.metadata
    except (
        FileNotFoundError,
        ImportError,
    ):  # so says the backport, which other libraries put in place of the standard one
        metadata = None
    # asked for by name first: what is not there is None in some versions of Python, a warning in others, later an error
    said = {key: metadata[key] for key in ("Name", "Version") if metadata is not None and key in metadata}
    return said.get("Name") or "unknown", said.get("Version") or ""


def malformed(point: EntryPoint, kind: str, name: str) -> str | None:
    """Say what is wrong with an entry point; None: nothing."""
    if kind not in KINDS or not name:
        return (
            f"its entry point is called '{point.name}'; call it '<kind>.<name>', "
            f"with a kind of {', '.join(KINDS)}, for example 'strategies.{name or kind}'"
        )
    if not re.fullmatch(r"[\w.]+", point.value):
        return f"its entry point is '{point.value}'; give the module alone, for example '{point.value.split(':')[0]}'"
    return None
