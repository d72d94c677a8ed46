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
    """Read a benchmark file and check its names; torch is not imported for a typo."""
    from fusionbench.config.reading import read_benchmark
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.plugins.names import check_names

    set_environment()
    benchmark, places = read_benchmark(config, assignments or [])
    plugins = Plugins(plugin or [], no_plugin or []).require_extra()
    problems = check_names(benchmark, plugins, places.at)
    if problems:
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
