"""Find the tables of a MIMIC tree, in any of its published layouts, and say at once what is missing."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.tables.database import literal, pattern

_LONGEST_HEADER = 1 << 16
# v1.0 calls the column ethnicity, v2.0 and later race
_OTHER_NAMES = {"race": ("ethnicity",)}
_MIMIC_IV = (
    "MIMIC-IV is at https://physionet.org/content/mimiciv (credentialed), its open demo at "
    "https://physionet.org/content/mimic-iv-demo"
)
_MIMIC_CXR = "MIMIC-CXR-JPG is at https://physionet.org/content/mimic-cxr-jpg (credentialed)"


@dataclass(frozen=True)
class TableSpec:
    """A table that is read.

    Args:
        name: Its file name without suffix; may hold ``*``.
        folders: Folders below the root where releases keep it, newest first.
        columns: DuckDB type by name, for the columns that are read.
    """

    name: str
    folders: tuple[str, ...]
    columns: Mapping[str, str]


_HOSP = ("hosp", "core")  # v1.0 had patients and admissions in core/
_IDS = {"subject_id": "BIGINT", "hadm_id": "BIGINT"}

MIMIC_IV: tuple[TableSpec, ...] = (
    TableSpec(
        "patients",
        _HOSP,
        {
            "subject_id": "BIGINT",
            "gender": "VARCHAR",
            "anchor_age": "INTEGER",
            "anchor_year": "INTEGER",
            "dod": "TIMESTAMP",
        },
    ),
    TableSpec(
        "admissions",
        _HOSP,
        {
            **_IDS,
            "admittime": "TIMESTAMP",
            "dischtime": "TIMESTAMP",
            "deathtime": "TIMESTAMP",
            "hospital_expire_flag": "INTEGER",
            "race": "VARCHAR",
        },
    ),
    TableSpec("diagnoses_icd", ("hosp",), {**_IDS, "icd_code": "VARCHAR", "icd_version": "INTEGER"}),
    TableSpec(
        "labevents",
        ("hosp",),
        {
            **_IDS,
            "charttime": "TIMESTAMP",
            "storetime": "TIMESTAMP",
            "itemid": "BIGINT",
            "value": "VARCHAR",
            "valuenum": "DOUBLE",
        },
    ),
    TableSpec(
        "icustays",
        ("icu",),
        {
            **_IDS,
            "stay_id": "BIGINT",
            "first_careunit": "VARCHAR",
            "last_careunit": "VARCHAR",
            "intime": "TIMESTAMP",
            "outtime": "TIMESTAMP",
            "los": "DOUBLE",
        },
    ),
    TableSpec(
        "chartevents",
        ("icu",),
        {
            **_IDS,
            "stay_id": "BIGINT",
            "charttime": "TIMESTAMP",
            "itemid": "BIGINT",
            "value": "VARCHAR",
            "valuenum": "DOUBLE",
        },
    ),
)

MIMIC_CXR: tuple[TableSpec, ...] = (
    TableSpec(
        "mimic-cxr-*-metadata",
        ("",),
        {
            "dicom_id": "VARCHAR",
            "subject_id": "BIGINT",
            "study_id": "BIGINT",
            "ViewPosition": "VARCHAR",
            "StudyDate": "BIGINT",
            "StudyTime": "DOUBLE",  # hhmmss.fff without leading zeros
        },
    ),
)


@dataclass(frozen=True)
class SourceTable:
    """A table that was found.

    Args:
        name: ``folder/name``, for messages.
        path: The file.
        header: All its columns, in the file's order.
        types: DuckDB type of each column that is read, by the name it has in the file.
        renamed: Our name of a column, by the name it has in the file, where they differ.
    """

    name: str
    path: Path
    header: tuple[str, ...]
    types: Mapping[str, str]
    renamed: Mapping[str, str]

    def scan(self) -> str:
        """Return the SQL that reads the needed columns, by name, with explicit types and no words for null."""
        schema = ", ".join(f"{literal(name)}: '{self.types.get(name, 'VARCHAR')}'" for name in self.header)
        picked = ", ".join(f'"{name}" AS "{self.renamed.get(name, name)}"' for name in self.types)
        return (
            f"(SELECT {picked} FROM read_csv({pattern(self.path)}, columns = {{{schema}}}, "
            "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = ''))"
        )


def find_mimic_iv(root: Path) -> dict[str, SourceTable]:
    """Return the tables of a MIMIC-IV tree by name.

    Raises:
        DataError: Tables or columns are missing; all of them are named.
    """
    return _find(root, MIMIC_IV, "MIMIC-IV", _MIMIC_IV)


def find_mimic_cxr(root: Path) -> SourceTable:
    """Return the metadata table of a MIMIC-CXR-JPG tree.

    Raises:
        DataError: The table or columns of it are missing.
    """
    return _find(root, MIMIC_CXR, "MIMIC-CXR", _MIMIC_CXR)["mimic-cxr-*-metadata"]


def describe_layout(tables: Mapping[str, SourceTable]) -> str:
    """Return which release's layout the tables have, as far as folders and headers tell, and their size."""
    if tables["patients"].name.startswith("core/"):
        release = "v1.0"
    else:
        # the columns of providers came with v2.2; nothing in folders or headers tells v2.2 from v3.1
        release = "v2.2 to v3.1" if "caregiver_id" in tables["chartevents"].header else "v2.0 or v2.1"
    race = "ethnicity" if "ethnicity" in tables["admissions"].header else "race"
    folders = sorted({table.name.partition("/")[0] + "/" for table in tables.values()})
    kinds = sorted({".csv.gz" if table.path.suffix == ".gz" else ".csv" for table in tables.values()})
    size = sum(table.path.stat().st_size for table in tables.values()) / 1e6
    return (
        f"layout of {release} ({', '.join(folders)}; column {race}), {len(tables)} tables as {' and '.join(kinds)}, "
        f"{size:,.1f} MB"
    )


def _find(root: Path, specs: Sequence[TableSpec], what: str, where: str) -> dict[str, SourceTable]:
    if not root.is_dir():
        raise DataError(f"{what} root: {root} is not a folder. {where}.")
    tables: dict[str, SourceTable] = {}
    problems: list[str] = []
    for spec in specs:
        path = _file(root, spec)
        if path is None:
            problems.append(f"table {_places(spec)} (.csv or .csv.gz) is missing")
            continue
        header = _header(path)
        types, renamed, missing = _match(header, spec.columns)
        problems += [f"table {_name(root, path)} has no column {column}" for column in missing]
        tables[spec.name] = SourceTable(_name(root, path), path, header, types, renamed)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DataError(f"{what} root {root} is not complete:\n{listed}\n{_elsewhere(root, specs)}{where}.")
    return tables


def _elsewhere(root: Path, specs: Sequence[TableSpec]) -> str:
    """Say where below the root a tree does lie: downloads have folders such as ``mimiciv/3.1/``."""
    spec = specs[-1]  # the one whose folder never changed
    below = [f for pattern in ("*/", "*/*/") for f in sorted(root.glob(pattern)) if _file(f, spec) is not None]
    return f"There is such a tree in {below[0]}: set the root to it.\n" if below else ""


def _file(root: Path, spec: TableSpec) -> Path | None:
    for folder in spec.folders:
        for suffix in (".csv.gz", ".csv"):
            found = sorted((root / folder).glob(spec.name + suffix))
            if found:
                return found[0]
    return None


def _places(spec: TableSpec) -> str:
    return " or ".join(f"{folder}/{spec.name}".lstrip("/") for folder in spec.folders)


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix().removesuffix(".gz").removesuffix(".csv")


def _header(path: Path) -> tuple[str, ...]:
    try:
        # as bytes: a text reader would decode the rows that follow, too
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(_LONGEST_HEADER)
        if len(line) == _LONGEST_HEADER:
            raise DataError(f"{path}: there is no end of the first line in {_LONGEST_HEADER:,} bytes; it is no table.")
        return tuple(next(csv.reader([line.decode("utf-8-sig")]), ()))
    except UnicodeDecodeError:
        raise DataError(f"{path}: the header is not UTF-8 text; export the table again.") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        # gzip.BadGzipFile is an OSError; its text is about the file, not about rows
        raise DataError(f"{path}: the header cannot be read ({error}); download the file again.") from None


def _match(header: Sequence[str], columns: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    types: dict[str, str] = {}
    renamed: dict[str, str] = {}
    missing: list[str] = []
    for column, kind in columns.items():
        names = (column, *_OTHER_NAMES.get(column, ()))
        found = next((name for name in names if name in header), None)
        if found is None:
            missing.append(" or ".join(names))
            continue
        types[found] = kind
        if found != column:
            renamed[found] = column
    return types, renamed, missing
