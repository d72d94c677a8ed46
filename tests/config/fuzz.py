"""Benchmark files that were spoilt at random, by a seed each."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.front import toy_benchmark

ROOT = Path(__file__).resolve().parents[2]
JUNK = (
    None, True, False, 0, -1, 2, 3.5, -0.5, 1e300, 2**31, 10**12, 2**63 - 1, "", "x", "0", "1e3", "yes", "${NOT_SET}",
    "${NOT_SET:-5}", "a.b", "../x", "é", "x" * 300, [], {}, [[]], [None], [1, 1], ["a", "a"], {"name": None}, {"name": ""},
    {"name": "concat", "x": 1}, {"a": {"b": {"c": 1}}}, [{}], "concat", "zero", ["concat", {"name": "sum", "variant": "logit"}],
)  # fmt: skip
# what only a text can hold: put in place of a word of the file
RAW = (r'"\U00110000"', r'"\ud800"', r'"\0"', "9" * 4400, "!!python/object:os.system x", "*nowhere", "&a [*a]", "{", "- ]",
       "1e999", ".nan", "2020-01-31", "!!int x", "'", "\t", "? [a]: b", "<<: 3", "0x" + "f" * 30, "\x07", "\ufeff")  # fmt: skip


def base(generator: random.Random) -> dict[str, Any]:
    """Return a good benchmark: the toy one mostly, else one of those that come with the package."""
    if generator.random() < 0.7:
        return toy_benchmark()
    path = generator.choice(sorted((ROOT / "benchmarks").glob("*.yaml")))
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*at, key)
        yield from places(inner, (*at, key))


def at(document: Any, place: tuple[Any, ...]) -> Any:
    """Return what stands in a place."""
    for part in place:
        document = document[part]
    return document


def spoil(document: dict[str, Any], generator: random.Random) -> None:
    """Change one thing."""
    place = generator.choice(list(places(document)))
    owner, key = at(document, place[:-1]), place[-1]
    how = generator.randrange(6)
    if how == 0:
        del owner[key]
    elif how == 1 and isinstance(owner, dict):
        owner[generator.choice([str(key)[:-1] or "k", f"{key}s", str(key).upper(), "zzz"])] = owner.pop(key)
    elif how == 2:
        elsewhere = generator.choice(list(places(document)))
        owner[key] = copy.deepcopy(at(document, elsewhere))
    elif how == 3 and isinstance(owner, dict):
        owner[generator.choice(["x", "epochs", "seed", "label", "modalities", "demo", "is_demo", "name"])] = (
            copy.deepcopy(generator.choice(JUNK))
        )
    else:
        owner[key] = copy.deepcopy(generator.choice(JUNK))


def written(seed: int) -> str:
    """Return a spoilt benchmark file."""
    generator = random.Random(seed)
    document = base(generator)
    for _ in range(generator.choice([1, 1, 1, 2, 4])):
        spoil(document, generator)
        if not document:
            return ""
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if generator.random() < 0.25:
        words = text.split(" ")
        words[generator.randrange(len(words))] = generator.choice(RAW) + generator.choice(["", "\n"])
        text = " ".join(words)
    return text
