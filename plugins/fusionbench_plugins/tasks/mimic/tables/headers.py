"""The first line of a table: its columns, or what the file is instead of a table."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fusionbench.errors import DataError

LONGEST: Final = 1 << 16
OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {"race": ("ethnicity",)}
"""v1.0 calls the column ethnicity, v2.0 and later race."""
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_OTHER_FILES: Final = (
    (
        b"version https://git-lfs",
        "is a Git-LFS pointer, a few lines that stand for the table; fetch it with 'git lfs pull'",
    ),
    (_ZIP, "is a zip archive; unpack it, and put the table in its place"),
    (b"BZh", "is compressed with bzip2; unpack it, or compress it with gzip"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it, or compress it with gzip"),
    (b"(\xb5/\xfd", "is compressed with zstandard; unpack it, or compress it with gzip"),
    (b"PAR1", "is a Parquet file; export the table as CSV, as MIMIC is published"),
    (b"\xff\xfe", "is UTF-16 text; export the table again as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; export the table again as UTF-8"),
    (b"<!DOCTYPE", "is a web page; download the table again, with the user name and password of PhysioNet"),
    (b"<html", "is a web page; download the table again, with the user name and password of PhysioNet"),
)
_SEPARATORS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}


class Matched(NamedTuple):
    """Which of a table's columns are read.

    Args:
        types: DuckDB type of each, by its name in the file.
        renamed: Our name, by the name in the file, where they differ.
        problems: What is wrong with the header, one sentence each.
    """

    types: dict[str, str]
    renamed: dict[str, str]
    problems: list[str]


def read_header(path: Path) -> tuple[str, ...]:
    """Return the names in the first line, as they are written there.

    Raises:
        DataError: It is no table of comma-separated text, or not compressed as its name says.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(64)
        _check_kind(path, head)
        # as bytes: a text reader would decode the rows that follow, too
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(LONGEST)
        if path.suffix == ".gz":
            _check_kind(path.with_suffix(""), line)
        if len(line) == LONGEST:
            raise DataError(f"{path}: there is no end of the first line in {LONGEST:,} bytes; it is no table.")
        return tuple(next(csv.reader([line.decode("utf-8-sig")]), ()))
    except UnicodeDecodeError:
        raise DataError(f"{path}: the header is not UTF-8 text; export the table again.") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        # gzip.BadGzipFile is an OSError; its text is about the file, not about rows
        raise DataError(f"{path}: the header cannot be read ({error}); download the file again.") from None


def _check_kind(path: Path, head: bytes) -> None:
    """Refuse what its first bytes show to be no table, or not packed as its name says."""
    found = next((said for mark, said in _OTHER_FILES if head.lstrip()[: len(mark)].lower() == mark.lower()), "")
    compressed, packed_name = head.startswith(_GZIP), path.suffix == ".gz"
    if not found and compressed and not packed_name:
        found = f"is compressed, and its name does not say so; rename it to {path.name}.gz"
    if not found and packed_name and head and not compressed:
        found = f"is not compressed, though its name ends in .gz; rename it to {path.stem}"
    if found:
        raise DataError(f"{path}: {found}.")


def match(header: Sequence[str], columns: Mapping[str, str]) -> Matched:
    """Find the columns that are read among those of a file; large and small letters are not told apart.

    Args:
        header: The names in the file.
        columns: DuckDB type by our name.
    """
    places: dict[str, list[str]] = {}
    for name in header:
        places.setdefault(name.strip().casefold(), []).append(name)
    types: dict[str, str] = {}
    renamed: dict[str, str] = {}
    problems: list[str] = []
    for column, kind in columns.items():
        names = (column, *OTHER_NAMES.get(column, ()))
        found = next((places[name.casefold()] for name in names if name.casefold() in places), [])
        if len(found) > 1:
            problems.append(f"has column {column} {len(found)} times")
        elif not found:
            problems.append(f"has no column {' or '.join(names)}")
        else:
            types[found[0]] = kind
            if found[0] != column:
                renamed[found[0]] = column
    return Matched(types, renamed, _by_separator(header, types) or problems)


def _by_separator(header: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """Say that other marks than commas stand between the columns, in place of a line for each column."""
    if types:
        return []
    for mark, called in _SEPARATORS.items():
        if any(mark in name for name in header):
            return [f"has its columns separated by {called}; MIMIC's are separated by commas: export it again"]
    return []
