"""What a caller asks for, as a benchmark file says it: classes get names, settings become assignments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fusionbench.config.extending import KEY as EXTENDS
from fusionbench.config.reading import PanelReadings, read_panels
from fusionbench.config.shipped import file_of
from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.given import registration_of

NAME = "benchmark"
"""What a benchmark is called that was given as a dictionary without a name."""


class Asked:
    """A benchmark as a caller of the API gives it.

    Args:
        benchmark: A file, the name of one that is shipped, or what a file holds as a dictionary.
        strategies: Strategies: names, classes, or dictionaries with options.
        settings: Keys that are laid over it: ``training={"epochs": 5}``.
        plugins: What its names are looked up in; classes that are given are added.
        beside: Whether the strategies stand beside those of the benchmark; else in their place.
    """

    def __init__(
        self,
        benchmark: str | Path | Mapping[str, Any],
        strategies: Sequence[Any],
        settings: Mapping[str, Any],
        plugins: Plugins,
        *,
        beside: bool = True,
    ) -> None:
        self._plugins, self._beside = plugins, beside
        self._names: dict[type, str] = {}
        self._benchmark = self._plain(benchmark) if isinstance(benchmark, Mapping) else benchmark
        self._strategies = self._plain(list(strategies))
        self.assignments = list(self._assignments(settings))

    @property
    def has_classes(self) -> bool:
        """Whether a class was given that no other process could load."""
        return bool(self._names)

    @contextmanager
    def read(self, panel: str | None) -> Iterator[tuple[PanelReadings, Path]]:
        """Read it: what was found, and the file while it is there.

        Raises:
            ConfigError: There is no such file or panel, or it has several and none is named.
        """
        with self._file() as path:
            wanted = () if panel is None else (panel,)
            found = read_panels(path, self.assignments, wanted=wanted)
            if len(found.readings) > 1:
                raise ConfigError(
                    f"{path}: has panels, and each is a benchmark of its own: choose one with panel='...'\n"
                    f"  panels: {', '.join(found.readings)}"
                )
            if self._strategies:
                (reading,) = found.readings.values()
                named = list(reading.document.get("strategies") or []) if self._beside else []
                self.assignments.append(
                    _assignment("strategies", [*named, *(s for s in self._strategies if s not in named)])
                )
                found = read_panels(path, self.assignments, wanted=wanted)
            yield found, path

    @contextmanager
    def _file(self) -> Iterator[Path]:
        """The file; what was given as a dictionary lies in a temporary one."""
        if not isinstance(self._benchmark, Mapping):
            yield file_of(self._benchmark)
            return
        document = {"name": NAME, **self._benchmark}
        if EXTENDS in document:
            document[EXTENDS] = str(file_of(document[EXTENDS]).resolve())
        with TemporaryDirectory(prefix="fusionbench-") as folder:
            path = Path(folder) / "dictionary.yaml"
            path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
            yield path

    def _assignments(self, settings: Mapping[str, Any]) -> Iterator[str]:
        """What ``--set`` would say; the keys of a dictionary are laid over those of the file one by one."""
        for key, value in settings.items():
            plain = self._plain(value)
            if isinstance(plain, dict) and "." not in key:
                yield from (_assignment(f"{key}.{name}", inner) for name, inner in plain.items())
            else:
                yield _assignment(key, plain)

    def _plain(self, value: Any) -> Any:
        """A value as YAML has it; a class in it is registered, and its name takes its place."""
        if isinstance(value, type):
            return self._name_of(value)
        if isinstance(value, Mapping):
            return {str(k): self._plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(v) for v in value]
        if isinstance(value, Path):
            return str(value)
        return value.item() if hasattr(value, "item") else value

    def _name_of(self, target: type) -> str:
        if target not in self._names:
            registration = registration_of(target)
            self._plugins.add(registration)
            self._names[target] = registration.name
        return self._names[target]


def _assignment(key: str, value: Any) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return f"{key}={written.removesuffix('...' + chr(10)).strip()}"
