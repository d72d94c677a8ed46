"""Small MIMIC trees that were spoilt at random, each by a seed, with what must come of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.mimic_tree import METADATA, PATIENTS, Row, Tree, small_tree

SAME, WARNED, REFUSED, ANY = "same", "warned", "refused", "any"


@dataclass
class Spoilt:
    """A tree with one thing changed.

    Args:
        tree: Its tables and files.
        must: ``same``: read as if nothing was changed; ``warned``: a warning says it; ``refused``: an error says it; ``any``:
            read or refused, and never a traceback.
        said: A word of that warning or error.
        after: What is done to the files once they are written.
    """

    tree: Tree
    must: str
    said: str = ""
    after: Callable[[Path, Path], None] = lambda root, cxr: None


def spoil(generator: random.Random) -> Spoilt:
    """Return a spoilt tree."""
    tree = small_tree()
    for row in tree.tables["admissions"]:
        row["race"] = "OTHER"  # no line break in it: the files are changed line by line
    return generator.choice(KINDS)(tree, generator)


def table_path(root: Path, generator: random.Random) -> Path:
    return generator.choice(sorted(root.rglob("*.csv")))


# ---------------------------------------------------------------- kinds


def extra_columns(tree: Tree, generator: random.Random) -> Spoilt:
    """Columns without a name, or of one name, in any place: nobody reads them."""
    names = generator.sample(["", "Unnamed: 0", "row_id", "note"], 2)
    for name, rows in tree.tables.items():
        at = generator.randrange(3)
        tree.tables[name] = [with_column(row, names[0], i, at) for i, row in enumerate(rows)]
    tree.metadata = [with_column(row, names[1], i, 0) for i, row in enumerate(tree.metadata)]
    return Spoilt(tree, SAME)


def with_column(row: Row, name: str, value: object, at: int) -> Row:
    entries = list(row.items())
    return dict([*entries[:at], (name, value), *entries[at:]])


def shuffled_rows(tree: Tree, generator: random.Random) -> Spoilt:
    for rows in (*tree.tables.values(), tree.metadata):
        generator.shuffle(rows)
    return Spoilt(tree, SAME)


def shuffled_columns(tree: Tree, generator: random.Random) -> Spoilt:
    for name, rows in tree.tables.items():
        order = generator.sample(list(rows[0]), len(rows[0]))
        tree.tables[name] = [{column: row[column] for column in order} for row in rows]
    return Spoilt(tree, SAME)


def loud_headers(tree: Tree, generator: random.Random) -> Spoilt:
    change = generator.choice([str.upper, str.title, lambda name: f" {name} "])
    for name, rows in tree.tables.items():
        tree.tables[name] = [{change(column): value for column, value in row.items()} for row in rows]
    return Spoilt(tree, SAME)


def commas(tree: Tree, generator: random.Random) -> Spoilt:
    for _ in range(generator.randrange(1, 9)):
        text = f"{generator.randrange(35, 41)},{generator.randrange(10)}"
        tree.chart(generator.randrange(PATIENTS), generator.randrange(1, 40), 223762, text, "")
    return Spoilt(tree, WARNED, "decimal commas")


def emptied_texts(tree: Tree, generator: random.Random) -> Spoilt:
    for patient in range(PATIENTS):
        tree.chart(patient, generator.randrange(1, 40), generator.choice([220739, 223901, 223900]), "", 4)
    return Spoilt(tree, WARNED, "have no text in 'value'")


def lengths_in_other_units(tree: Tree, generator: random.Random) -> Spoilt:
    times = generator.choice([24, 1440, 86400])
    for row in tree.tables["icustays"]:
        row["los"] = float(str(row["los"])) * times
    return Spoilt(tree, REFUSED, "it is in")


def empty_lengths(tree: Tree, generator: random.Random) -> Spoilt:
    count = generator.randrange(1, PATIENTS - 1)
    for row in generator.sample(tree.tables["icustays"], count):
        row["los"] = ""
    many = count > PATIENTS / 2
    return Spoilt(tree, REFUSED if many else ANY, "los, the length of a stay" if many else "")


def few_empty_lengths(tree: Tree, generator: random.Random) -> Spoilt:
    for patient in (0, 1)[: generator.randrange(1, 3)]:
        tree.tables["icustays"][patient]["los"] = ""
    return Spoilt(tree, WARNED, "have no los")


def other_units_of_care(tree: Tree, generator: random.Random) -> Spoilt:
    for row in tree.tables["icustays"][2:]:
        row["last_careunit"] = generator.choice(["", "SICU"])
    return Spoilt(tree, WARNED, "rule 'same first and last care unit' leaves")


def unlinked_pictures(tree: Tree, generator: random.Random) -> Spoilt:
    how = generator.randrange(3)
    for row in tree.metadata:
        if how == 0:
            row["subject_id"] = int(str(row["subject_id"])) + 700_000
        elif how == 1:
            row["ViewPosition"] = generator.choice(["", "PA", "ap"])
        else:
            row["StudyDate"] = 20990101
    return Spoilt(tree, WARNED, "is linked to a stay")


def strange_pictures(tree: Tree, generator: random.Random) -> Spoilt:
    from tests.plugins.tasks.test_pictures import DEEP, SEE_THROUGH

    bad = [*DEEP.values(), *SEE_THROUGH.values(), b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>"]
    for name in generator.sample(sorted(tree.files), generator.randrange(1, PATIENTS)):
        tree.files[name] = generator.choice(bad)
    return Spoilt(tree, WARNED, "are damaged")


def other_separator(tree: Tree, generator: random.Random) -> Spoilt:
    mark = generator.choice([";", "\t", "|"])

    def after(root: Path, _: Path) -> None:
        path = table_path(root, generator)
        path.write_text(path.read_text(encoding="utf-8").replace(",", mark), encoding="utf-8")

    return Spoilt(tree, REFUSED, "separated by", after)


def renamed_file(tree: Tree, generator: random.Random) -> Spoilt:
    def after(root: Path, _: Path) -> None:
        path = table_path(root, generator)
        path.rename(
            path.with_name(generator.choice([f"{path.stem}s.csv", f"{path.stem}.csv.bak", f"x{path.stem}.csv"]))
        )

    return Spoilt(tree, REFUSED, "is missing; there is", after)


def another_kind_of_file(tree: Tree, generator: random.Random) -> Spoilt:
    head = generator.choice([b"version https://git-lfs", b"PK\x03\x04", b"<html>", b"\xff\xfe", b"\x1f\x8b", b"PAR1"])

    def after(root: Path, _: Path) -> None:
        path = table_path(root, generator)
        path.write_bytes(head + path.read_bytes())

    return Spoilt(tree, REFUSED, " is ", after)


def two_candidates(tree: Tree, _: random.Random) -> Spoilt:
    def after(root: Path, cxr: Path) -> None:
        (cxr / "mimic-cxr-2.1.0-metadata.csv").write_bytes((cxr / f"{METADATA}.csv").read_bytes())

    return Spoilt(tree, REFUSED, "are both there", after)


def repeated_rows(tree: Tree, generator: random.Random) -> Spoilt:
    table = generator.choice(["icustays", "admissions", "patients"])
    tree.tables[table].append(copy.deepcopy(generator.choice(tree.tables[table])))
    return Spoilt(tree, REFUSED, "occur more than once")


def longer_rows(tree: Tree, generator: random.Random) -> Spoilt:
    def after(root: Path, _: Path) -> None:
        path = table_path(root, generator)
        lines = path.read_text(encoding="utf-8").splitlines()
        at = generator.randrange(1, len(lines))
        lines[at] += ",9"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return Spoilt(tree, REFUSED, "the header has", after)


def junk_cells(tree: Tree, generator: random.Random) -> Spoilt:
    """Anything in some cells: read or refused."""
    junk: tuple[Any, ...] = (
        "",
        "x",
        "-1",
        "1e999",
        "nan",
        "2150-13-45",
        "99999999999999999999",
        "é\u2028",
        '"',
        "0",
        "1,5",
    )
    for _ in range(generator.randrange(1, 5)):
        rows = generator.choice([*tree.tables.values(), tree.metadata])
        row = generator.choice(rows)
        row[generator.choice(list(row))] = generator.choice(junk)
    return Spoilt(tree, ANY)


def missing_columns(tree: Tree, generator: random.Random) -> Spoilt:
    rows = generator.choice(list(tree.tables.values()))
    for name in generator.sample(list(rows[0]), 2):
        for row in rows:
            del row[name]
    return Spoilt(tree, ANY)


def moved_times(tree: Tree, generator: random.Random) -> Spoilt:
    """Stays, admissions or events at other times."""
    table, column = generator.choice(
        [("icustays", "outtime"), ("icustays", "intime"), ("admissions", "dischtime"), ("chartevents", "charttime")]
    )
    by = timedelta(hours=generator.choice([-5000, -30, 30, 5000]))
    for row in tree.tables[table][:: generator.choice([1, 2])]:
        row[column] = row[column] + by  # type: ignore[operator]
    return Spoilt(tree, ANY)


KINDS: tuple[Callable[[Tree, random.Random], Spoilt], ...] = (
    extra_columns,
    shuffled_rows,
    shuffled_columns,
    loud_headers,
    commas,
    emptied_texts,
    lengths_in_other_units,
    empty_lengths,
    few_empty_lengths,
    other_units_of_care,
    unlinked_pictures,
    strange_pictures,
    other_separator,
    renamed_file,
    another_kind_of_file,
    two_candidates,
    repeated_rows,
    longer_rows,
    junk_cells,
    missing_columns,
    moved_times,
)
