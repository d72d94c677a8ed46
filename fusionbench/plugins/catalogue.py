"""The plugin manager: a catalogue that costs nothing, and modules loaded when they are named.

Entry points of group ``fusionbench`` are called ``<kind>.<name>`` (``strategies.concat``). That is the
catalogue: it can be listed and checked without importing a plugin, and torch with it. A module is
imported when a benchmark names something in it, alone, so that one broken plugin stops nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

import fusionbench
from fusionbench import hookspecs
from fusionbench.compatibility import unmet_by_distribution, unmet_by_source
from fusionbench.contract.isolation import contained, text_of
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import BASES, SINGULAR, USER_FILES, Registration, source_of
from fusionbench.errors import ConfigError, PluginError, did_you_mean
from fusionbench.keys import first_name
from fusionbench.plugins.offers import distribution_of, malformed, offered
from fusionbench.plugins.unloaded import problem_with_options


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

    Raises:
        ConfigError: A blocked name is nobody's.
    """

    def __init__(self, extra: Iterable[str] = (), blocked: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._blocked = {_normal(b): b for b in blocked}
        self._seen: set[str] = set()
        self._registrations: dict[tuple[str, str], Registration] = {}
        self._entries: dict[tuple[str, str], list[CatalogueEntry]] = {}
        self._loaded_modules: dict[str, ModuleType] = {}
        self.failures: list[LoadFailure] = []
        self.not_loaded: list[LoadFailure] = []
        """Those of what was given with ``-p``."""
        points, unreadable = offered(hookspecs.PROJECT)
        self.failures += [LoadFailure(name, name, reason) for name, reason in unreadable]
        for point in points:
            self._add_entry_point(point)
        self._check_blocked()
        for source in extra:
            self._load_extra(source)

    # ---------------------------------------------------------------- catalogue

    def _add_entry_point(self, point: EntryPoint) -> None:
        distribution, version = distribution_of(point)
        self._seen |= {distribution, first_name(distribution), point.name}
        if self._is_blocked(distribution) or self._is_blocked(point.name):
            return
        kind, _, name = point.name.partition(".")
        reason = malformed(point, kind, name)
        if reason:
            self.failures.append(LoadFailure(point.name, distribution, reason))
            return
        self._enter(CatalogueEntry(kind, name, point.value, distribution, version))

    def _enter(self, entry: CatalogueEntry) -> None:
        known = self._entries.setdefault((entry.kind, entry.name), [])
        same = [i for i, e in enumerate(known) if _origin(e) == _origin(entry)]
        if not same:
            known.append(entry)
        elif entry.distribution != first_name(entry.distribution):  # installed under its former name too
            known[same[0]] = entry

    def _is_blocked(self, name: str) -> bool:
        return not self._blocked.keys().isdisjoint((_normal(name), _normal(first_name(name))))

    def _check_blocked(self) -> None:
        known = {_normal(s) for s in self._seen}
        problems = [
            f"--no-plugin {given}: no distribution and no 'kind.name' is called that{did_you_mean(given, self._seen)}"
            for normal, given in self._blocked.items()
            if normal not in known
        ]
        if problems:
            raise ConfigError(problems)

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

    def matching(self, name: str) -> list[tuple[str, str]]:
        """Return kind and name of every plugin called ``name``, which may begin with its kind: ``strategies.concat``.

        Raises:
            ConfigError: Nobody offers it.
        """
        kind, _, bare = name.rpartition(".")
        found = [(k, bare) for k in KINDS if bare in self.names(k) and kind in ("", k)]
        if not found:
            known = sorted({e.name for e in self.catalogue()})
            raise ConfigError(
                f"no plugin named '{name}'{did_you_mean(bare, known)}\n"
                f"  'fusionbench list' shows all of them{self.broken()}"
            )
        return found

    def problem_with(self, kind: str, name: str) -> str | None:
        """Say what is wrong with a name without loading it, or None."""
        entries = self._entries.get((kind, name), [])
        if not entries:
            known = self.names(kind)
            hint = did_you_mean(name, known)
            return (
                f"no {SINGULAR[kind]} named '{name}'{hint}\n"
                f"  'fusionbench list {kind}' shows all of them: {', '.join(known)}{self.broken()}"
            )
        return self._taken(kind, name)

    def problem_with_options(self, kind: str, name: str, options: Mapping[str, Any]) -> str | None:
        """Say which options of a known name are unknown, without loading it; None where that cannot be told."""
        if (kind, name) in self._registrations:
            return self._registrations[kind, name].problem_with(options)
        entry = self._entries[kind, name][0]
        return problem_with_options(kind, name, entry.module, list(options))

    def broken(self) -> str:
        """What did not load and why, as lines to add to a message about a name that is not there."""
        return "".join(f"\n  {f.label} of {f.distribution} did not load: {f.reason}" for f in self.failures)

    # ---------------------------------------------------------------- loading

    def add(self, registration: Registration) -> None:
        """Take in a class that is given as it is, and comes from no file or distribution.

        Raises:
            PluginError: It is no class of its kind, or its name is taken.
        """
        r = registration
        _refuse(_unfit(r.kind, r.name, r.target))
        self._enter(CatalogueEntry(r.kind, r.name, r.target.__module__, r.distribution, r.version))
        _refuse(self._taken(r.kind, r.name))
        self._registrations[r.kind, r.name] = r

    def get(self, kind: str, name: str) -> Registration:
        """Load the plugin that offers a name.

        Raises:
            PluginError: The name is unknown, taken twice, or its plugin does not load.
        """
        problem = self.problem_with(kind, name)
        if problem:
            raise PluginError(problem)
        if (kind, name) not in self._registrations:
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
            self._refuse_other_versions(entry)
            _prepare_for(entry.source)
            with contained(label):
                module = importlib.import_module(entry.module)
                if entry.module not in self._loaded_modules:
                    self._register(module, entry.distribution, entry.version)
        except PluginError:
            raise
        except Exception as problem:  # whatever a guest raises is its own failure
            raise PluginError(f"{label} is installed but did not load: {_reason(problem)}") from problem
        if (entry.kind, entry.name) not in self._registrations:
            raise PluginError(
                f"{label}: module {entry.module} was loaded but registered no such name; "
                f"implement '{KINDS[entry.kind]}' and call register('{entry.name}', ...)"
            )

    def _refuse_other_versions(self, entry: CatalogueEntry) -> None:
        """Before the import: a plugin for another version most likely fails in it, with a worse message."""
        problem = unmet_by_distribution(entry.distribution) or unmet_by_source(entry.source)
        if problem:
            raise PluginError(
                f"{SINGULAR[entry.kind]} '{entry.name}' of {entry.distribution} {entry.version}: {problem}"
            )

    def _load_extra(self, source: str) -> None:
        path = Path(source) if source.endswith(".py") else None
        distribution = f"file {path.name}" if path else f"module {source}"
        try:
            _refuse(unmet_by_source(str(path) if path else source_of(source)))
            _prepare_for(str(path) if path else source_of(source))
            with contained(distribution):
                module = self._import_file(path) if path else importlib.import_module(source)
                if module.__name__ not in self._loaded_modules:
                    self._register(module, distribution, "", allowed=True)
        except PluginError as problem:
            self._fail_extra(source, distribution, str(problem))
        except Exception as problem:  # noqa: BLE001 - whatever a guest raises is its own failure
            self._fail_extra(source, distribution, _reason(problem))

    def _fail_extra(self, source: str, distribution: str, reason: str) -> None:
        failure = LoadFailure(source, distribution, reason)
        self.failures.append(failure)
        self.not_loaded.append(failure)

    def require_extra(self) -> Plugins:
        """Return these plugins, where all that was given with ``-p`` has loaded.

        Raises:
            ConfigError: Something did not load.
        """
        if self.not_loaded:
            raise ConfigError([f"-p {f.label} of {f.distribution} did not load: {f.reason}" for f in self.not_loaded])
        return self

    def _import_file(self, path: Path) -> ModuleType:
        name = f"{USER_FILES}.{path.stem}"
        if name in self._loaded_modules:
            known = Path(str(self._loaded_modules[name].__file__))
            if known.resolve() == path.resolve():
                return self._loaded_modules[name]
            raise PluginError(f"another file called {path.name} was given before; rename one of them")
        return _import_file(path, name)

    def _register(self, module: ModuleType, distribution: str, version: str, *, allowed: bool = False) -> None:
        """Let a module register what it has, all or nothing; ``allowed``: also under blocked names."""
        self._add_to_manager(module, distribution)
        new: list[Registration] = []
        try:
            others = [p for p in self._manager.get_plugins() if p is not module]
            for kind, hook in KINDS.items():
                caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
                caller(register=self._registrar(kind, distribution, version, new))
            kept = [r for r in new if allowed or not self._is_blocked(f"{r.kind}.{r.name}")]
            _refuse(_NOTHING if not new else self._enter_all(kept, module.__name__))
        except BaseException:
            self._manager.unregister(module)
            raise
        self._loaded_modules[module.__name__] = module
        for registration in kept:
            self._registrations[registration.kind, registration.name] = registration

    def _add_to_manager(self, module: ModuleType, distribution: str) -> None:
        stray = [n for n in _run_hooks() if hasattr(getattr(module, n, None), f"{hookspecs.PROJECT}_impl")]
        if stray:
            _refuse(
                f"{module.__name__}: '{stray[0]}' belongs in an observer: make it a method of a class "
                "that 'register_observers' registers, and name that under 'observers'"
            )
        try:
            self._manager.register(module, name=module.__name__)
            self._manager.check_pending()
        except pluggy.PluginValidationError as problem:
            if self._manager.is_registered(module):  # whether it is depends on pluggy's version
                self._manager.unregister(module)
            raise PluginError(f"{distribution}: {module.__name__}: {problem}{_hook_hint(str(problem))}") from problem

    def _registrar(self, kind: str, distribution: str, version: str, new: list[Registration]) -> hookspecs.Register:
        def register(name: str, target: type) -> None:
            _refuse(_unfit(kind, name, target))
            if any((r.kind, r.name) == (kind, name) for r in new):
                _refuse(f"{SINGULAR[kind]} '{name}' is registered twice by {distribution}; rename one")
            new.append(Registration(kind, name, target, distribution, version))

        return register

    def _enter_all(self, new: Sequence[Registration], module: str) -> str | None:
        """Enter names in the catalogue; one that is somebody else's is then nobody's, until one of them gives way."""
        for r in new:
            self._enter_once(CatalogueEntry(r.kind, r.name, module, r.distribution, r.version))
        return "\n".join(problem for r in new if (problem := self._taken(r.kind, r.name)))

    def _enter_once(self, entry: CatalogueEntry) -> None:
        if entry.distribution not in {e.distribution for e in self._entries.get((entry.kind, entry.name), [])}:
            self._enter(entry)

    def _taken(self, kind: str, name: str) -> str | None:
        owners = [e.distribution for e in self._entries.get((kind, name), [])]
        return _taken_twice(kind, name, owners) if len(owners) > 1 else None


_NOTHING = (
    "it registers nothing; write a function such as 'register_fusion_strategies(register)' "
    "with '@hookimpl' above it, and call register('name', Class) in it"
)


def _unfit(kind: str, name: object, target: object) -> str | None:
    """What is wrong with something that is registered, or None."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        return f"{name!r} cannot be the name of a {SINGULAR[kind]}; accepted: letters, digits, '_' and '-'"
    if kind == "observers":
        return _unfit_observer(name, target)
    base = getattr(fusionbench, BASES[kind])
    if not (isinstance(target, type) and issubclass(target, base)):
        return (
            f"{SINGULAR[kind]} '{name}' must be a class derived from fusionbench.{base.__name__}, found {target!r:.60}"
        )
    return None


def _unfit_observer(name: str, target: object) -> str | None:
    if not isinstance(target, type):
        return f"observer '{name}' must be a class, found {target!r:.60}"
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(target)
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        return f"observer '{name}': {problem}{_hook_hint(str(problem))}"
    if not manager.get_hookcallers(target):
        return f"observer '{name}' follows nothing; write '@hookimpl' above methods called {', '.join(_run_hooks())}"
    return None


def _refuse(problem: str | None) -> None:
    if problem:
        raise PluginError(problem)


def _hook_hint(problem: str) -> str:
    """The nearest hook, where pluggy does not know the one that a plugin implements, and all of them."""
    hooks = [n for n, v in vars(hookspecs).items() if hasattr(v, f"{hookspecs.PROJECT}_spec")]
    found = re.search(r"unknown hook '(\w+)'", problem)
    return f"{did_you_mean(found[1], hooks) if found else ''}\n  hooks: {', '.join(hooks)}"


def _run_hooks() -> list[str]:
    return [n for n in vars(hookspecs) if n.startswith("fusionbench_")]


def _origin(entry: CatalogueEntry) -> tuple[str, str]:
    """Distribution and module: the same distribution can be found twice on ``sys.path``, and under a former name."""
    return first_name(entry.distribution), entry.module


def _normal(name: str) -> str:
    """Distribution names are equal up to case and separators."""
    return re.sub(r"[-_]+", "-", name).lower()


def _prepare_for(source: str) -> None:
    """Import torch before a guest's file that imports it: only then is known what the guest changes of it."""
    path = Path(source)
    if "torch" not in sys.modules and "site-packages" not in source and path.is_file():
        with suppress(OSError):
            if re.search(rb"^\s*(import|from) torch\b", path.read_bytes(), re.MULTILINE):
                importlib.import_module("torch")


def _import_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"-p {path}: no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, and the source of a class, look the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reason(problem: BaseException) -> str:
    text = f"{type(problem).__name__}: {text_of(problem)}"
    if isinstance(problem, ModuleNotFoundError) and problem.name and problem.name.isidentifier():
        return f"{text}. Install what is missing: pip install {problem.name}"
    return text


def _taken_twice(kind: str, name: str, distributions: list[str]) -> str:
    owners = " and ".join(sorted(set(distributions)))
    return (
        f"{SINGULAR[kind]} '{name}' is offered by {owners}; rename one, or leave one out with --no-plugin DISTRIBUTION"
    )
