"""Two hundred damages of a workspace: found and said, set aside, made again; no number of the tables changes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionbench.store.integrity import forget
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

SETTINGS = {
    "imputers": ["zero"],
    "strategies": ["concat", "late_average"],
    "splits": {"folds": 2},
    "training": {"epochs": 2, "traces": True},
    "tuning": {"trials": 2},
    "observers": ["files", "html"],
    "encoders": {"a": "frozen", "b": "identity", "c": "identity"},
}
FROZEN = '''
"""A frozen encoder, so that there is a feature store."""
from torch import nn
from fusionbench import Encoder, hookimpl


class Frozen(Encoder):
    """Doubles."""

    accepts = frozenset({"vector"})
    frozen = True

    def __init__(self, spec):
        super().__init__()
        self.output_dim = spec.shape[0]

    def forward(self, inputs, lengths=None):
        return inputs * 2


@hookimpl
def register_encoders(register):
    register("frozen", Frozen)
'''
# costs: what was made again took its own time
TIMED = ("seconds", "memory", "cost")


def run(folder: Path, *more: object):
    forget()
    return fusionbench(
        "run", folder / "toy.yaml", "-p", TOY, "-p", folder / "frozen.py", "--workspace", folder / "runs", *more
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "frozen.py").write_text(FROZEN, encoding="utf-8")
    write_yaml(folder / "toy.yaml", toy_benchmark(**SETTINGS))
    found = run(folder)
    assert found.code == 0, found.err
    again = run(folder)
    assert "damaged" not in again.out + again.err
    return folder


def numbers(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Every number of the tables but those that measure time."""
    import pandas as pd

    tables = {p.name: pd.read_csv(p, dtype=str) for p in sorted(folder.glob("runs/reports/toy/*.csv"))}
    return {
        name: table[[c for c in table if not any(t in c for t in TIMED)]].fillna("").to_dict("records")
        for name, table in tables.items()
    }


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(max(1, len(content)))])


def empty(path: Path, _draw: random.Random) -> None:
    path.write_bytes(b"")


def noise(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(200))


def zeros(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(max(1, len(content)))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)


def other(path: Path, draw: random.Random) -> None:
    """Swap two files of one kind."""
    others = [p for p in sorted(path.parent.iterdir()) if p.suffix == path.suffix and p != path]
    if others:
        second = draw.choice(others)
        first, last = path.read_bytes(), second.read_bytes()
        path.write_bytes(last)
        second.write_bytes(first)


def brackets(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.choice([b"{}", b"[]", b"null", b"1", b'"x"', b"\xff"]))


def gone(path: Path, _draw: random.Random) -> None:
    path.unlink()


DAMAGES: list[Callable[[Path, random.Random], None]] = [
    flip,
    flip,
    flip,
    cut,
    empty,
    noise,
    zeros,
    other,
    brackets,
    gone,
]


def files(folder: Path) -> list[Path]:
    runs = folder / "runs"
    return sorted(p for p in runs.rglob("*") if p.is_file() and not p.name.startswith((".held", ".lock")))


def damaged_and_mended(whole: Path, folder: Path, number: int) -> None:
    shutil.copytree(whole, folder)
    draw = random.Random(number)
    kinds = sorted({p.relative_to(folder).parts[1:3] for p in files(folder)})
    kind = kinds[number % len(kinds)]  # each kind of file alike, however many there are
    path = draw.choice([p for p in files(folder) if p.relative_to(folder).parts[1:3] == kind])
    damage = draw.choice(DAMAGES)
    about = f"damage {number}: {damage.__name__} of {path.relative_to(folder)}"
    before = path.read_bytes()
    damage(path, draw)
    found = run(folder)
    said = found.out + found.err
    assert "Traceback" not in said, about
    assert found.code == 0, f"{about}: {said}"
    assert numbers(folder) == numbers(whole), f"{about}: {said}"
    changed = not path.exists() or path.read_bytes() != before
    again = run(folder)
    assert again.code == 0, about
    assert "damaged:" not in again.out + again.err, f"{about}: it was not mended: {again.out + again.err}"
    if changed and path.suffix == ".safetensors" and "fits" in path.parts and damage is not gone:
        assert "damaged" in said, f"{about}: {said}"


@pytest.mark.parametrize("number", range(6))
def test_a_few_damages(whole, tmp_path, number):
    """Takes long: each is a run that makes again what was damaged, and one that finds nothing to do."""
    damaged_and_mended(whole, tmp_path / "copy", 1000 + number)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_two_hundred_damages(whole, tmp_path, part):
    """Takes long: two runs for each."""
    for number in range(part * 20, part * 20 + 20):
        damaged_and_mended(whole, tmp_path / str(number), number)
        shutil.rmtree(tmp_path / str(number))
