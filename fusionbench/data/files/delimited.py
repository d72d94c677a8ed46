"""Delimited text: commas, UTF-8, a header line. One strict parser for tables, lists and series of users.

Pandas fills short lines, shifts long ones, renames repeated columns and steps over blank lines, all without a word; here each
of these is refused with its line. Messages hold line numbers, counts and names of columns, never a cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from fusionbench.data.files.texts import decode_utf8
from fusionbench.errors import DataError, printable

UNNAMED = "Unnamed: "
"""What a column without a name is called, followed by its number; pandas' word."""

ACCEPTED = "accepted is CSV with a header line (UTF-8, commas)"
_CONVERT = (
    "accepted are commas, and points in decimal numbers: export the file again, or convert it, for example with "
    "pandas.read_csv(sep=..., decimal=...)"
)
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip file (an Excel sheet is one)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"PAR1", "Parquet; give it the ending .parquet"),
    (b"\x93NUMPY", "an array of NumPy; give it the ending .npy"),
    (b"\xd0\xcf\x11\xe0", "an old Excel sheet"),
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


class Record(NamedTuple):
    """One record of a delimited text.

    Args:
        line: The line it begins in, from 1.
        cells: Its cells; none where the line is blank.
    """

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Delimited:
    """A table: as many cells in every row as in the header.

    Args:
        header: Names of the columns, all different.
        rows: The cells of each row.
        blank: Numbers of blank lines that have rows above and below them.
    """

    header: tuple[str, ...]
    rows: list[list[str]]
    blank: tuple[int, ...]


def read_delimited(content: bytes, what: str) -> Delimited:
    """Return a table with a header line.

    Args:
        content: The file.
        what: How a message calls it.

    Raises:
        DataError: It is not UTF-8 text with commas, or lines differ in their number of cells.
    """
    found = records(content, what)
    while found and not found[-1].cells:
        found.pop()
    lines = [r for r in found if r.cells]
    if not lines:
        raise DataError(f"{what}: is empty; {ACCEPTED}")
    names = lines[0].cells
    problem = separator_problem(names, lines[1].cells if len(lines) > 1 else ()) or _names_problem(names)
    if problem:
        raise DataError(f"{what}, line {lines[0].line}: {problem}")
    _check_lengths(lines[1:], len(names), what)
    header = tuple(name if name.strip() else f"{UNNAMED}{i}" for i, name in enumerate(names))
    blank = tuple(r.line for r in found if not r.cells and r.line > lines[0].line)
    return Delimited(header, [r.cells for r in lines[1:]], blank)


def records(content: bytes, what: str) -> list[Record]:
    """Return every record of a text, with its line; a record may span lines, in quotes.

    Args:
        content: The file.
        what: How a message calls it.

    Raises:
        DataError: It is not UTF-8 text, or quotes do not end.
    """
    for begin, name in _OTHER_FORMATS:
        if content.startswith(begin):
            raise DataError(f"{what}: is not text but {name}; {ACCEPTED}")
    text = decode_utf8(content, what)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Record] = []
    line = 1
    try:
        with _cells_of_any_length(text):
            for cells in reader:
                # an empty cell in quotes is an empty row of one column, as pandas writes it
                hollow = len(cells) < 2 and cells != [""] and not "".join(cells).strip()
                found.append(Record(line, [] if hollow else cells))
                line = reader.line_num + 1
    except csv.Error:  # its words may quote a cell
        # R and Excel write every name in quotes: "a";"b"
        first = text.splitlines()[0] if line == 1 else ""
        for letter, name in _SEPARATORS.items():
            if re.search(rf'"{re.escape(letter)}|{re.escape(letter)}"', first):
                raise DataError(f"{what}, line 1: cells are separated by {name}; {_CONVERT}") from None
        raise DataError(
            f"{what}, line {line}: a quoted cell that begins here does not end, or text follows its closing quote; a "
            "quote within a quoted cell is written twice"
        ) from None
    return found


@contextmanager
def _cells_of_any_length(text: str) -> Iterator[None]:
    """A report in a cell may be longer than the 131,072 letters that the module allows."""
    before = csv.field_size_limit(max(len(text) + 1, csv.field_size_limit()))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def separator_problem(header: Sequence[str], row: Sequence[str]) -> str:
    """Say that a header, split at commas, has another separator; empty where it has none.

    Args:
        header: Its cells.
        row: Those of a row below it: a letter that is in names alone separates nothing (``TP53|7157``).
    """
    for letter, name in _SEPARATORS.items():
        below = any(letter in cell for cell in row) or (not row and len(header) == 1)
        if below and sum(cell.count(letter) for cell in header) >= len(header):
            commas = any(map(_DECIMAL_COMMA.fullmatch, ",".join(row).split(letter)))
            return f"cells are separated by {name}{' and numbers have decimal commas' if commas else ''}; {_CONVERT}"
    return ""


def _names_problem(header: Sequence[str]) -> str:
    counts = Counter(name for name in header if name.strip())
    repeated = [name for name, count in counts.items() if count > 1]
    if not repeated:
        return ""
    if all(NUMBER.fullmatch(name.strip()) for name in repeated):  # cells of a row are not shown
        return f"{len(repeated)} numbers occur more than once in the header: is the header line missing?"
    return f"{len(repeated)} names of columns occur more than once: {shown(repeated)}; rename or drop these columns"


def shown(names: Sequence[str]) -> str:
    """Name columns for a message, the first five of them."""
    return ", ".join(map(printable, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_lengths(lines: Sequence[Record], width: int, what: str) -> None:
    wrong = [r for r in lines if len(r.cells) != width]
    if not wrong:
        return
    first = wrong[0]
    more = f" (and {len(wrong) - 1} other lines have another number than the header)" if len(wrong) > 1 else ""
    raise DataError(
        f"{what}, line {first.line}: has {len(first.cells)} cells and the header has {width}{more}; every line must have "
        f"as many as the header{_guess(wrong, width)}"
    )


def _guess(wrong: Sequence[Record], width: int) -> str:
    """Say what may have made all of these lines longer or shorter."""
    if all(len(r.cells) == width + 1 and not r.cells[-1].strip() for r in wrong):
        return "; these lines end with a comma and the header does not"
    if all(len(r.cells) == 2 * width for r in wrong):
        return "; decimal commas? Decimal points are accepted"
    if all(len(r.cells) > width for r in wrong):
        return "; does the header lack a name (of an index?), or is a comma within a cell not in quotes?"
    if all(len(r.cells) == 1 and any(letter in r.cells[0] for letter in _SEPARATORS) for r in wrong):
        return "; are these lines separated by another letter than a comma?"
    return "; write an empty cell for a value that is not there"


def has_decimal_commas(cells: Sequence[str]) -> bool:
    """Whether every one of these texts is a number with a comma for its point, and there is one at least."""
    return bool(cells) and all(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
