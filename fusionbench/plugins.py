"""The plugin manager: a catalogue that costs nothing, and modules loaded when they are named.

Entry points of group ``fusionbench`` are called ``<kind>.<name>`` (``strategies.concat``). That is the
catalogue: it can be listed and checked without importing a plugin, and torch with it. A module is
imported when a benchmark names something in it, alone, so that one broken plugin stops nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import pluggy

from fusionbench import hookspecs
from fusionbench.errors import PluginError, did_you_mean
from fusionbench.registry import KINDS, SINGULAR, Registration, source_of


@dataclass(frozen=True)
class CatalogueEntry:
    """A name that can be loaded.

    Args:
        kind: A key of ``KINDS``.
        name: The name used in benchmark files.
        module: What is imported for it.
        distribution: Who offers it.
        version: The version of the distribution; empty for files.
    """

    kind: str
    name: str
    module: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        """The file it would be loaded from."""
        return source_of(self.module)


@dataclass(frozen=True)
class LoadFailure:
    """A plugin that could not be loaded, and why."""

    label: str
    distribution: str
    reason: str


class Plugins:
    """Everything that can be named in a benchmark.

    Args:
        extra: Files (``my_fusion.py``) or modules given with ``-p``; these are loaded at once.
        blocked: Distributions or ``kind.name`` labels that are not to be used.
    """

    def __init__(self, extra: Iterable[str] = (), blocked: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._blocked = set(blocked)
        self._registrations: dict[tuple[str, str], Registration] = {}
        self._entries: dict[tuple[str, str], list[CatalogueEntry]] = {}
        self._loaded_modules: set[str] = set()
        self.failures: list[LoadFailure] = []
        for point in entry_points(group=hookspecs.PROJECT):
            self._add_entry_point(point)
        for source in extra:
            self._load_extra(source)

    # ---------------------------------------------------------------- catalogue

    def _add_entry_point(self, point: EntryPoint) -> None:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
        if distribution in self._blocked or point.name in self._blocked:
            return
        kind, _, name = point.name.partition(".")
        if kind not in KINDS or not name:
            reason = (
                f"its entry point is called '{point.name}'; call it '<kind>.<name>', "
                f"with a kind of {', '.join(KINDS)}, for example 'strategies.{point.name}'"
            )
            self.failures.append(LoadFailure(point.name, distribution, reason))
            return
        entry = CatalogueEntry(kind, name, point.value, distribution, version)
        known = self._entries.setdefault((kind, name), [])
        if entry not in known:  # the same distribution can be found twice on sys.path
            known.append(entry)

    def catalogue(self, kind: str | None = None) -> list[CatalogueEntry]:
        """Return every name, loaded or not, sorted by kind and name."""
        order = list(KINDS)
        entries = [e for group in self._entries.values() for e in group]
        return sorted(
            (e for e in entries if kind in (None, e.kind)),
            key=lambda e: (order.index(e.kind), e.name, e.distribution),
        )

    def taken_twice(self, kind: str | None = None) -> list[tuple[str, str]]:
        """Return kind and name of what more than one distribution offers."""
        return sorted(key for key, group in self._entries.items() if len(group) > 1 and kind in (None, key[0]))

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind."""
        return sorted({name for k, name in self._entries if k == kind})

    def problem_with(self, kind: str, name: str) -> str | None:
        """Say what is wrong with a name without loading it, or None."""
        entries = self._entries.get((kind, name), [])
        if not entries:
            known = self.names(kind)
            hint = did_you_mean(name, known)
            broken = "".join(f"\n  {f.label} did not load: {f.reason}" for f in self.failures)
            return (
                f"no {SINGULAR[kind]} named '{name}'{hint}\n"
                f"  'fusionbench list {kind}' shows all of them: {', '.join(known)}{broken}"
            )
        if len(entries) > 1:
            return _taken_twice(kind, name, [e.distribution for e in entries])
        return None

    # ---------------------------------------------------------------- loading

    def get(self, kind: str, name: str) -> Registration:
        """Load the plugin that offers a name.

        Raises:
            PluginError: The name is unknown, taken twice, or its plugin does not load.
        """
        if (kind, name) not in self._registrations:
            problem = self.problem_with(kind, name)
            if problem:
                raise PluginError(problem)
            self._load(self._entries[kind, name][0])
        return self._registrations[kind, name]

    def load_all(self) -> None:
        """Try to load everything; what fails is in :attr:`failures` afterwards."""
        for entry in self.catalogue():
            label = f"{entry.kind}.{entry.name}"
            try:
                self.get(entry.kind, entry.name)
            except PluginError as problem:
                if not any(f.label == label and f.distribution == entry.distribution for f in self.failures):
                    self.failures.append(LoadFailure(label, entry.distribution, str(problem)))

    def _load(self, entry: CatalogueEntry) -> None:
        label = f"{SINGULAR[entry.kind]} '{entry.name}' of {entry.distribution}"
        try:
            module = importlib.import_module(entry.module)
        except Exception as problem:  # whatever a guest raises at import is its own failure
            raise PluginError(f"{label} is installed but did not load: {_reason(problem)}") from problem
        self._register(module, entry.module, entry.distribution, entry.version)
        if (entry.kind, entry.name) not in self._registrations:
            raise PluginError(
                f"{label}: module {entry.module} was loaded but registered no such name; "
                f"implement '{KINDS[entry.kind]}' and call register('{entry.name}', ...)"
            )

    def _load_extra(self, source: str) -> None:
        path = Path(source)
        distribution = f"file {path.name}" if path.suffix == ".py" else f"module {source}"
        try:
            module = _import_file(path) if path.suffix == ".py" else importlib.import_module(source)
            self._register(module, module.__name__, distribution, "")
        except PluginError as problem:
            self.failures.append(LoadFailure(source, distribution, str(problem)))
        except Exception as problem:  # noqa: BLE001 - whatever a guest raises at import is its own failure
            self.failures.append(LoadFailure(source, distribution, _reason(problem)))

    def _register(self, module: ModuleType, module_name: str, distribution: str, version: str) -> None:
        if module_name in self._loaded_modules:
            return
        try:
            self._manager.register(module, name=module_name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as problem:
            self._manager.unregister(module)
            hooks = [n for n, v in vars(hookspecs).items() if hasattr(v, "fusionbench_spec")]
            name = str(problem).split("'")[1] if "'" in str(problem) else ""
            raise PluginError(
                f"{distribution}: {module_name}: {problem}{did_you_mean(name, hooks)}\n  hooks: {', '.join(hooks)}"
            ) from problem
        self._loaded_modules.add(module_name)
        others = [p for p in self._manager.get_plugins() if p is not module]
        for kind, hook in KINDS.items():
            caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
            caller(register=self._registrar(kind, module_name, distribution, version))

    def _registrar(self, kind: str, module: str, distribution: str, version: str) -> hookspecs.Register:
        def register(name: str, target: type) -> None:
            key = (kind, name)
            owners = {e.distribution for e in self._entries.get(key, [])} - {distribution}
            if key in self._registrations:
                owners.add(self._registrations[key].distribution)
            if owners:
                raise PluginError(_taken_twice(kind, name, [*owners, distribution]))
            self._entries.setdefault(key, [CatalogueEntry(kind, name, module, distribution, version)])
            self._registrations[key] = Registration(kind, name, target, distribution, version)

        return register


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"-p {path}: no such file")
    name = f"fusionbench_user.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling of classes look the module up by name
    spec.loader.exec_module(module)
    return module


def _reason(problem: BaseException) -> str:
    text = f"{type(problem).__name__}: {problem}"
    if isinstance(problem, ModuleNotFoundError):
        return f"{text}. Install what is missing: pip install {str(problem.name).partition('.')[0]}"
    return text


def _taken_twice(kind: str, name: str, distributions: list[str]) -> str:
    owners = " and ".join(sorted(set(distributions)))
    return (
        f"{SINGULAR[kind]} '{name}' is offered by {owners}; rename one, or leave one out with --no-plugin DISTRIBUTION"
    )
