"""What a command does first: the environment of libraries, the benchmark file, the plugins."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError, without_secrets
from fusionbench.offline import disable_telemetry

if TYPE_CHECKING:
    from fusionbench.config.document import Places
    from fusionbench.config.sections import Benchmark
    from fusionbench.plugins.catalogue import Plugins


def read_and_check(
    config: Path, assignments: list[str] | None, plugin: list[str] | None, no_plugin: list[str] | None
) -> tuple[Benchmark, Places, Plugins]:
    """Read a benchmark file and check its names; all problems at once, and torch is not imported for a typo."""
    from fusionbench.config.reading import STAND_IN, read_all
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.plugins.names import check_names, check_options

    set_environment()
    reading = read_all(config, assignments or [])
    benchmark, places, problems = reading.benchmark, reading.places, reading.problems
    plugins = Plugins(plugin or [], no_plugin or []).require_extra()
    if benchmark is not None:
        problems = [*problems, *(p for p in check_names(benchmark, plugins, places.at) if STAND_IN not in p)]
        if problems:
            problems += check_options(benchmark, plugins, places.at)
    if problems or benchmark is None:
        raise ConfigError(problems)
    return benchmark, places, plugins


def command(words: list[str]) -> str:
    """Return a command as it can be shown: what is given with ``--set`` may hold a password."""
    return str(without_secrets(shlex.join(words)))


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
