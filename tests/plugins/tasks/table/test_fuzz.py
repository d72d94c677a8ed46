"""Any table at all: what must be read is read to the last bit, and what must be refused is a sentence."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.table import TableTask
from tests.plugins.tasks.table.made_up import FAULTS, Made, expected, make, plain, write

SILENT = SilentProgress()


def prepare(made: Made, folder: Path):
    return TableTask(root=str(folder), **made.options).prepare(folder / "cache", SILENT)


def refusal(made: Made, folder: Path) -> str:
    """Return why a folder or its options are refused; empty where they are not. Any other exception is a traceback."""
    try:
        task = TableTask(root=str(folder), **made.options)
    except ValueError as problem:
        return str(problem)
    try:
        task.prepare(folder / "cache", SILENT)
    except DataError as problem:
        return str(problem)
    return ""


def check_harmless(seed: int, folder: Path) -> None:
    made = make(seed)
    write(made, folder)
    data, wanted = prepare(made, folder), expected(made)
    names = list(data.modalities)
    np.testing.assert_array_equal(data.target, wanted["target"])
    for i, name in enumerate(names):
        column = list(wanted["values"]).index(name)
        np.testing.assert_array_equal(data.available[:, i], wanted["available"][:, column])
        np.testing.assert_array_equal(data.modalities[name].values, wanted["values"][name])
    found = TableTask(root=str(folder), **made.options).check(folder / "cache", SILENT).lines
    assert not [line for line in found if line.startswith("problem")]


def check_fault(name: str, seed: int, folder: Path) -> None:
    made = make(seed)
    made.options["modalities"] = ["a", "b"]
    plain(made, folder)
    assert refusal(made, folder) == "", "without its fault the folder is read"
    FAULTS[name](made, folder)
    said = refusal(made, folder)
    assert said, f"{name} (seed {seed}) was read without a word"
    samples = "|".join(map(re.escape, made.manifest["sample_id"]))
    assert not re.search(rf"(?<!\w)({samples})(?!\w)", said), f"{name}: a sample in the message"


def check_damage(seed: int, folder: Path) -> None:
    """Change some bytes of a file of features: it is refused, or every cell is what a plain reading of the file says."""
    made = make(seed)
    made.options["modalities"] = ["a", "b"]
    plain(made, folder)
    path = folder / "a.csv"
    content = bytearray(path.read_bytes())
    for _ in range(int(made.rng.integers(1, 6))):
        place = int(made.rng.integers(len(content)))
        letter = int(made.rng.choice(np.frombuffer(b'0123456789.,;-"\n\r\t e\xff\0x', np.uint8)))
        how = made.rng.integers(3)
        content[place : place + (how != 0)] = b"" if how == 1 else bytes([letter])
    path.write_bytes(bytes(content))
    if refusal(made, folder):
        return
    header, *rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
    assert {len(row) for row in rows} == {len(header)}
    assert len(rows) == made.rows
    cells = [[np.nan if cell == "" else float(cell) for cell in row] for row in rows]
    found = prepare(made, folder)
    wanted = np.array(cells).astype(np.float32)
    np.testing.assert_array_equal(found.modalities["a"].values, np.where(found.available[:, :1], wanted, 0))


# ---------------------------------------------------------------- a few in every run


@pytest.mark.parametrize("seed", range(30))
def test_a_table_is_read_in_whatever_harmless_way_it_is_written(tmp_path, seed):
    check_harmless(seed, tmp_path)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_refused_with_a_sentence(tmp_path, name):
    check_fault(name, 1000, tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_are_refused_or_read_as_they_stand(tmp_path, seed):
    check_damage(2000 + seed, tmp_path)


# ---------------------------------------------------------------- two thousand: minutes


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_two_thousand_tables(tmp_path, part):
    """Slow: 2,000 tables in ten parts, a third of each harmless, faulty and damaged; many seconds a part."""
    for seed in range(10_000 + 200 * part, 10_200 + 200 * part):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kind = seed % 3
        if kind == 0:
            check_harmless(seed, folder)
        elif kind == 1:
            check_fault(sorted(FAULTS)[seed // 3 % len(FAULTS)], seed, folder)
        else:
            check_damage(seed, folder)
