"""Versions: what plugins require of fusionbench, and what fusionbench is going to take back.

The promise that this keeps is ``docs/plugin-api.md``. A plugin says ``requires_fusionbench = ">=0.1,<0.3"`` at the top of
its module, or depends on ``fusionbench-core>=0.1,<0.3`` in its distribution. Both are read before the module is imported.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusionbench import __version__
from fusionbench.keys import DISTRIBUTION, first_name

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ATTRIBUTE: Final = "requires_fusionbench"


def unmet(required: str, version: str = __version__) -> str | None:
    """Say why a version does not satisfy what is required (``>=0.1,<0.3``), or None."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        accepted = SpecifierSet(required, prereleases=True)
    except InvalidSpecifier:
        return f"{ATTRIBUTE} is {required!r}; accepted: a version specifier such as '>=0.1,<0.3'"
    if accepted.contains(version):
        return None
    return f"it requires fusionbench {required}, this is {version}; install another version of one of them"


def unmet_by_source(path: str) -> str | None:
    """Say why ``requires_fusionbench`` of a source file is not satisfied, or None; nothing is imported."""
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        return None
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the import says more about it
        return None
    for value in filter(None, map(_assigned, tree.body)):
        try:
            required = ast.literal_eval(value)
        except ValueError:
            required = None
        return unmet(required) if isinstance(required, str) else f"{ATTRIBUTE} must be a plain string, as '>=0.1,<0.3'"
    return None


def _assigned(statement: ast.stmt) -> ast.expr | None:
    """The value that a statement gives to ``requires_fusionbench``."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    named = any(isinstance(t, ast.Name) and t.id == ATTRIBUTE for t in targets)
    return statement.value if named and isinstance(statement, ast.Assign | ast.AnnAssign) else None


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, with the suffix of its build; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def required() -> list[Requirement]:
    """Return what this package needs here, without its extras; nothing where it runs without being installed."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return []
    return [r for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})]


def unmet_by_distribution(name: str) -> str | None:
    """Say why what a distribution depends on of fusionbench is not satisfied, or None."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        declared = requires(name) or []
    except PackageNotFoundError:
        return None
    for line in declared:
        try:
            needed = Requirement(line)
        except InvalidRequirement:  # of another package: not ours to judge
            continue
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        ours = canonicalize_name(needed.name) in (DISTRIBUTION, first_name(DISTRIBUTION))
        if ours and applies and (problem := unmet(str(needed.specifier))):
            return problem
    return None


class FusionBenchDeprecationWarning(FutureWarning):
    """Something that plugins use is going to be removed; the message says in which version and what to use."""


@dataclass(frozen=True)
class Deprecation:
    """Something that still works and is going to be removed.

    Args:
        what: As a plugin's author would name it, ``Batch.mask``.
        since: The version that began to warn.
        removed: The first version without it; two minor versions after ``since`` or more.
        instead: What to write.
    """

    what: str
    since: str
    removed: str
    instead: str

    def __str__(self) -> str:
        return (
            f"{self.what} is deprecated since fusionbench {self.since} and will be removed in {self.removed}; "
            f"write {self.instead}"
        )

    def warn(self) -> None:
        """Warn whoever called the function that calls this."""
        warnings.warn(str(self), FusionBenchDeprecationWarning, stacklevel=3)

    @property
    def overdue(self) -> bool:
        """Whether the version that promised its removal is here."""
        from packaging.version import Version

        return Version(__version__) >= Version(self.removed)

    @property
    def lasts(self) -> bool:
        """Whether it warns for two minor versions at least."""
        from packaging.version import Version

        since, removed = Version(self.since), Version(self.removed)
        return removed.major > since.major or removed.minor - since.minor >= 2


DEPRECATIONS: Final[tuple[Deprecation, ...]] = ()
"""All that is deprecated now; a test reminds of what is overdue."""
