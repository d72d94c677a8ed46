"""Protocol settings that a benchmark is run under too, to see how much of its verdict hangs on them: ``robustness``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fusionbench.config.base import Alternative
from fusionbench.config.document import Location, merge_keys
from fusionbench.config.sections import Benchmark, ModelSection, TrainingSection
from fusionbench.errors import did_you_mean

NO_RESULT: Final = frozenset({"population", "workers", "encoder_rows", "graph", "record", "keep_weights", "traces"})
"""Keys of ``training`` that change no result beyond rounding."""
ACCEPTED: Final = (
    *(f"model.{name}" for name in ModelSection.model_fields),
    *(f"training.{name}" for name in TrainingSection.model_fields if name not in NO_RESULT | {"precision_forced"}),
    *(f"tuning.{name}" for name in ("condition", "common", "inner_folds", "trials")),
)
"""What an alternative may set."""
_SECTIONS: Final = ("model", "training", "tuning")


def changed(benchmark: Benchmark, alternative: Alternative) -> Benchmark:
    """Return the benchmark as it is under other settings: what decides its tables, and nothing that only follows a run.

    Raises:
        pydantic.ValidationError: It is no benchmark then.
    """
    left_out = {"robustness", "observers", "tracking", "expect", "execution"}
    document = merge_keys(benchmark.model_dump(mode="json", exclude=left_out), nested(alternative.set))
    document["evaluation"] = {**document["evaluation"], "subsets": False}
    document["training"] = {**document["training"], "traces": False}
    document["tuning"] = {**document["tuning"], "untuned": False}
    return Benchmark.model_validate({**document, "observers": []})


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as mappings in mappings."""
    found: dict[str, Any] = {}
    for path, _, value in _leaves(settings, ()):
        inner = found
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    return found


def origin(alternative: Alternative, location: Location) -> Location:
    """Return where below ``set`` a key of the benchmark was given; empty: it was not, or not alone."""
    for path, given, _ in _leaves(alternative.set, ()):
        if location[: len(path)] == path:
            return given
    return ()


def flaws(alternative: Alternative) -> Iterator[tuple[Location, str]]:
    """Yield what an alternative may not set: where it stands below ``set``, and a sentence."""
    seen: dict[Location, Location] = {}
    if not alternative.set:
        yield (), f"sets nothing\n  accepted: {', '.join(ACCEPTED)}"
    for path, given, _ in _leaves(alternative.set, ()):
        key = ".".join(path[:2])
        if key not in ACCEPTED:
            hint = did_you_mean(key, ACCEPTED) or did_you_mean(f"{path[0]}.{path[0]}", ACCEPTED)
            yield given, f"'{key}' is no protocol setting{hint}\n  accepted: {', '.join(ACCEPTED)}"
        for other in seen:
            if path[: len(other)] == other or other[: len(path)] == path:
                yield given, f"'{'.'.join(map(str, path))}' is set twice"
        seen[path] = given


def shown(alternative: Alternative) -> str:
    """Say what an alternative sets: ``training.optimiser: sgd, training.learning_rate: 0.05``."""
    return ", ".join(f"{'.'.join(map(str, path))}: {_plain(value)}" for path, _, value in _leaves(alternative.set, ()))


def _plain(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _leaves(settings: Mapping[str, Any], given: Location) -> Iterator[tuple[tuple[str, ...], Location, Any]]:
    """Yield each setting: its keys in the benchmark, the keys under which it was given, and its value."""
    for name, value in settings.items():
        keys = tuple(name.split("."))
        if isinstance(value, Mapping) and value:
            for path, inner, leaf in _leaves(value, (*given, name)):
                yield (*keys, *path), inner, leaf
        else:
            yield keys, (*given, name), value
