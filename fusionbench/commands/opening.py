"""What a command does first: the environment of libraries, the benchmark file, the plugins."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError, without_secrets
from fusionbench.offline import disable_telemetry

if TYPE_CHECKING:
    from fusionbench.config.document import Places
    from fusionbench.config.panels import Suite
    from fusionbench.config.reading import PanelReadings, Reading
    from fusionbench.config.sections import Benchmark
    from fusionbench.plugins.catalogue import Plugins


@dataclass(frozen=True)
class Opened:
    """A benchmark file that was read and checked.

    Args:
        suite: The file as a whole.
        panels: By name, the benchmark of each panel with the place of every key; by an empty name where it has no panels.
        plugins: What its names are looked up in.
        found: The file as it was read.
    """

    suite: Suite
    panels: Mapping[str, tuple[Benchmark, Places]]
    plugins: Plugins
    found: PanelReadings


def read_and_check(
    config: Path, assignments: list[str] | None, plugin: list[str] | None, no_plugin: list[str] | None
) -> tuple[Benchmark, Places, Plugins]:
    """Read a benchmark file that has no panels; see :func:`open_file`."""
    opened = open_file(config, assignments, plugin, no_plugin)
    if opened.suite.panels:
        raise ConfigError(f"{config}: has panels ({', '.join(opened.suite.panels)}), and so is several benchmarks")
    return *opened.panels[""], opened.plugins


def open_file(
    config: Path,
    assignments: list[str] | None,
    plugin: list[str] | None,
    no_plugin: list[str] | None,
    panels: Sequence[str] | None = None,
) -> Opened:
    """Read a benchmark file and check its names; see :func:`checked`.

    Args:
        config: The file, or the name of one that is shipped.
        assignments: From ``--set``.
        plugin: Files and modules of plugins.
        no_plugin: What is left out.
        panels: Those that are wanted; none: all that the file has.

    Raises:
        ConfigError: With every problem found.
    """
    from fusionbench.config.reading import read_panels
    from fusionbench.config.shipped import file_of
    from fusionbench.plugins.catalogue import Plugins

    set_environment()
    found = read_panels(file_of(config), assignments or [], wanted=panels or ())
    return checked(found, Plugins(plugin or [], no_plugin or []).require_extra())


def checked(found: PanelReadings, plugins: Plugins) -> Opened:
    """Check the names of a file that was read; all problems at once, and torch is not imported for a typo.

    Args:
        found: The file.
        plugins: What its names are looked up in.

    Raises:
        ConfigError: With every problem found.
    """
    from fusionbench.config.reading import once

    problems = [*found.suite.problems, *once({name: _problems(r, plugins) for name, r in found.readings.items()})]
    ready = {name: (r.benchmark, r.places) for name, r in found.readings.items() if r.benchmark is not None}
    if problems or len(ready) < len(found.readings):
        raise ConfigError(problems)
    return Opened(found.suite, ready, plugins, found)


def _problems(reading: Reading, plugins: Plugins) -> list[str]:
    """Everything that is wrong with one benchmark and the names in it."""
    from fusionbench.config.reading import STAND_IN
    from fusionbench.plugins.names import check_names, check_options

    problems, benchmark, places = reading.problems, reading.benchmark, reading.places
    if benchmark is not None:
        problems = [*problems, *(p for p in check_names(benchmark, plugins, places.at) if STAND_IN not in p)]
        if problems:
            problems += check_options(benchmark, plugins, places.at)
    return problems


def command(words: list[str]) -> str:
    """Return a command as it can be shown: what is given with ``--set`` may hold a password."""
    return str(without_secrets(shlex.join(words)))


def given_words(
    plugin: Sequence[str] | None, assignments: Sequence[str] | None, no_plugin: Sequence[str] | None = None
) -> list[str]:
    """The words that name these plugins and assignments again, for a command that comes next."""
    pairs = [("-p", p) for p in plugin or []] + [("--no-plugin", p) for p in no_plugin or []]
    pairs += [("--set", a) for a in assignments or []]
    return [word for pair in pairs for word in pair]


@contextmanager
def umask_put_back() -> Iterator[None]:
    """Put back after the block what a run on data about people sets for the files that it makes."""
    before = os.umask(0o077)
    os.umask(before)
    try:
        yield
    finally:
        os.umask(before)


def set_environment() -> None:
    """Set what libraries read when they are imported."""
    # threads that wait by spinning slow everything down twentyfold when another process shares the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    disable_telemetry()


def shorthands(workers: int | None, no_record: bool) -> list[str]:
    """Return what the options of ``run`` for speed mean as ``--set``."""
    found = [] if workers is None else [f"training.workers={workers}"]
    return [*found, "training.record=false"] if no_record else found


def executor_words(executor: str | None, options: Mapping[str, object]) -> list[str]:
    """Return what the options of ``run`` for an executor mean as ``--set``.

    Args:
        executor: Its name; None: that of the file.
        options: Its options by name; what is None was not given.
    """
    named = [] if executor is None else [f"execution.name={executor}"]
    # text in quotes: 4:00:00 is a number to YAML
    given = [f"execution.{k}={json.dumps(v)}" for k, v in options.items() if v is not None]
    return [*named, *given]
