"""Find the tables of a MIMIC tree, in any of its published layouts, and say at once what is missing."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.tables.database import literal, pattern
from fusionbench_plugins.tasks.mimic.tables.headers import match, read_header

_MIMIC_IV = (
    "MIMIC-IV is at https://physionet.org/content/mimiciv (credentialed), its open demo at "
    "https://physionet.org/content/mimic-iv-demo"
)
_ENDINGS = (".csv.gz", ".csv")
_LIKE = 0.85  # of names: from here on one is taken for a misspelt other
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
        beside: Name of a second file of the same table that lies beside it and is not read; empty: there is none.
    """

    name: str
    path: Path
    header: tuple[str, ...]
    types: Mapping[str, str]
    renamed: Mapping[str, str]
    beside: str = ""

    def scan(self) -> str:
        """Return the SQL that reads the needed columns, by name, with explicit types and no words for null."""
        # columns that are not read may lack a name, as an index that pandas wrote does, or share one
        names = [
            name if name in self.types else f"column {place} is not read" for place, name in enumerate(self.header)
        ]
        schema = ", ".join(f"{literal(name)}: '{self.types.get(name, 'VARCHAR')}'" for name in names)
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
        release = (
            "v2.2 to v3.1" if "caregiver_id" in map(str.casefold, tables["chartevents"].header) else "v2.0 or v2.1"
        )
    race = "ethnicity" if "ethnicity" in map(str.casefold, tables["admissions"].header) else "race"
    folders = sorted({table.name.partition("/")[0] + "/" for table in tables.values()})
    kinds = sorted({".csv.gz" if table.path.suffix == ".gz" else ".csv" for table in tables.values()})
    size = sum(table.path.stat().st_size for table in tables.values()) / 1e6
    beside = "".join(f"; beside {t.path.name} lies {t.beside}, which is not read" for t in tables.values() if t.beside)
    return (
        f"layout of {release} ({', '.join(folders)}; column {race}), {len(tables)} tables as {' and '.join(kinds)}, "
        f"{size:,.1f} MB{beside}"
    )


def _find(root: Path, specs: Sequence[TableSpec], what: str, where: str) -> dict[str, SourceTable]:
    if not root.is_dir():
        raise DataError(f"{what} root: {root} is not a folder. {where}.")
    tables: dict[str, SourceTable] = {}
    problems: list[str] = []
    for spec in specs:
        try:
            tables[spec.name] = _table(root, spec, problems)
        except DataError as problem:
            problems.append(str(problem))
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DataError(f"{what} root {root} is not complete:\n{listed}\n{_elsewhere(root, specs)}{where}.")
    return tables


def _table(root: Path, spec: TableSpec, problems: list[str]) -> SourceTable:
    """Return a table; what is wrong with its header is added to ``problems``.

    Raises:
        DataError: There is none, or there are several, or it is no table.
    """
    found = list(_files(root, spec))
    if not found:
        raise DataError(f"table {_places(spec)} (.csv or .csv.gz) is missing{_near(root, spec)}")
    names = list(dict.fromkeys(_name(root, path) for path in found))
    if len(names) > 1:
        raise DataError(f"table {_places(spec)}: {' and '.join(names)} are both there; leave the one that is meant")
    path = found[0]
    header = read_header(path)
    types, renamed, wrong = match(header, spec.columns)
    problems += [f"table {names[0]} {problem}" for problem in wrong]
    return SourceTable(names[0], path, header, types, renamed, found[1].name if len(found) > 1 else "")


def _elsewhere(root: Path, specs: Sequence[TableSpec]) -> str:
    """Say where below the root a tree does lie: downloads have folders such as ``mimiciv/3.1/``."""
    spec = specs[-1]  # the one whose folder never changed
    below = [f for pattern in ("*/", "*/*/") for f in sorted(root.glob(pattern)) if any(_files(f, spec))]
    return f"There is such a tree in {below[0]}: set the root to it.\n" if below else ""


def _files(root: Path, spec: TableSpec) -> Iterator[Path]:
    """Yield the files that may be a table: the compressed one first, of one folder after the other."""
    for folder in spec.folders:
        found = [p for ending in _ENDINGS for p in sorted((root / folder).glob(spec.name + ending)) if p.is_file()]
        yield from sorted(found, key=lambda p: (p.name.removesuffix(".gz"), p.suffix != ".gz"))


def _near(root: Path, spec: TableSpec) -> str:
    """Say what lies there under a name like that of the missing table."""
    wanted = spec.name.replace("*", "2.0.0").casefold()
    near = []
    for folder in dict.fromkeys(("", *spec.folders, "hosp", "icu", "core")):
        for path in sorted((root / folder).glob("*")):
            if path.is_dir() and path.suffix.casefold() not in _ENDINGS:
                continue
            stem = path.name.casefold().partition(".csv")[0].removesuffix(".gz").removesuffix(".parquet")
            if stem == wanted or difflib.SequenceMatcher(None, stem, wanted).ratio() > _LIKE:
                near.append(path.relative_to(root).as_posix() + _inside(path))
    return f"; there is {', '.join(dict.fromkeys(near))}" if near else ""


def _inside(path: Path) -> str:
    """Say that a folder has the name of a table, as some programs that unpack leave it."""
    if not path.is_dir():
        return ""
    found = next((p.name for p in sorted(path.glob("*")) if p.is_file()), "")
    return f", a folder (with {found} in it: put that in its place)" if found else ", a folder"


def _places(spec: TableSpec) -> str:
    return " or ".join(f"{folder}/{spec.name}".lstrip("/") for folder in spec.folders)


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix().removesuffix(".gz").removesuffix(".csv")
