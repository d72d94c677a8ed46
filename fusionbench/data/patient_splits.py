"""Splits that the user brings: lists of patients, or a salted hash of their number.

Tasks whose source numbers patients take them as option ``split``; ``splits.source: task`` then uses the result.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fusionbench.data.files.delimited import records
from fusionbench.data.splits import RowIndices, patient_hash
from fusionbench.errors import DataError, did_you_mean

PARTS = ("train", "validation", "test")
_PATIENT = re.compile(r"[0-9]{1,18}")  # fits into the integers that the data hold
_OTHER_SEPARATOR = re.compile(r"[;\t|]")


@dataclass(frozen=True)
class Assignment:
    """Where the rows of a task fall.

    Args:
        split: Text ``[rows]`` of ``train``, ``validation``, ``test``; None where there are folds.
        folds: Int64 ``[rows]``; None where there is a split.
        used: Bool ``[rows]``, False = to be left out.
        rule: What decided, for the funnel.
        note: How many rows fall where.
        warnings: What a reader of the numbers must know.
    """

    split: NDArray[np.str_] | None
    folds: RowIndices | None
    used: NDArray[np.bool_]
    rule: str
    note: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatientLists:
    """Parts by lists of patients: MedFuse's format, one ``subject_id,0`` or ``subject_id,1`` a line, 1 = in this part.

    A line may also be a bare ``subject_id``, which counts as 1; a header line is stepped over. Who is marked 0 and
    nowhere 1 is training, as long as there is no list of training patients.

    Args:
        lists: File by part.
        unlisted: What becomes of patients that no list names: ``train`` (as in MedFuse) or ``leave_out``.
    """

    lists: Mapping[str, Path]
    unlisted: Literal["train", "leave_out"] = "train"

    def assign(self, patients: RowIndices) -> Assignment:
        """Place the rows of ``patients`` (int64 ``[rows]``, the numbers that the lists hold).

        Raises:
            DataError: A list is missing or malformed, or patients are on two lists.
        """
        known, listed = self._read()
        implied = listed if "train" not in known else frozenset()
        split = np.full(len(patients), "train", dtype="<U10")
        for part, members in known.items():
            split[np.isin(patients, list(members))] = part
        named = np.isin(patients, [*frozenset().union(*known.values()), *implied])
        used = named if self.unlisted == "leave_out" else np.ones_like(named)
        return Assignment(
            split, None, used, "parts by lists of patients", _counted(split[used]), self._remarks(patients[~named])
        )

    def _read(self) -> tuple[dict[str, frozenset[int]], frozenset[int]]:
        """Return the members of each part, and all patients on any list."""
        problems: list[str] = []
        marks = {part: _read_list(path, part, problems) for part, path in self.lists.items()}
        members = {part: frozenset(p for p, mark in found.items() if mark) for part, found in marks.items()}
        twice = sum(count > 1 for count in Counter(p for part in members.values() for p in part).values())
        if twice:
            problems.append(f"{twice} patients are on more than one list ({', '.join(members)}): leave each on one")
        if problems:
            raise DataError("split lists:\n" + "\n".join(f"  {p}" for p in problems))
        return members, frozenset(p for found in marks.values() for p in found)

    def _remarks(self, unnamed: RowIndices) -> tuple[str, ...]:
        if len(unnamed) == 0:
            return ()
        what = "are left out" if self.unlisted == "leave_out" else "count as training rows, as in MedFuse"
        return (f"{len(unnamed)} rows of {len(np.unique(unnamed))} patients are on no split list: they {what}",)


@dataclass(frozen=True)
class PatientHash:
    """Parts or folds by a salted hash of the patient's number: the same in every cohort and release, without a list.

    The first 8 bytes of SHA-256 of ``<salt>/<number>``, as a fraction of 2^64, decide: below ``test`` a patient is in
    the test part, below ``test + validation`` in the validation part; fold k of n begins at k / n.

    Args:
        salt: Another salt, another split.
        test: Share of the patients.
        validation: Share of the patients; 0: ``splits.validation`` of the training rows is taken.
        folds: Instead of the shares, the number of folds.
    """

    salt: str = "fusionbench"
    test: float = 0.2
    validation: float = 0.1
    folds: int | None = None

    def assign(self, patients: RowIndices) -> Assignment:
        """Place the rows of ``patients`` (int64 ``[rows]``, numbers that are stable across releases)."""
        numbers, inverse = np.unique(patients, return_inverse=True)
        digests = (patient_hash(self.salt, int(number)) for number in numbers)
        place = np.array([int.from_bytes(d[:8], "big") / 2**64 for d in digests])[inverse]
        used, rule = np.ones(len(patients), dtype=np.bool_), "by a salted hash of the patient"
        if self.folds is not None:
            folds: RowIndices = np.minimum(place * self.folds, self.folds - 1).astype(np.int64)
            return Assignment(None, folds, used, f"folds {rule}", _counted(folds))
        split = np.where(
            place < self.test, "test", np.where(place < self.test + self.validation, "validation", "train")
        )
        return Assignment(split, None, used, f"parts {rule}", _counted(split))


def given_parts(split: NDArray[np.str_], rule: str) -> Assignment:
    """Return the parts that a source comes with, text ``[rows]``."""
    return Assignment(split, None, np.ones(len(split), dtype=np.bool_), rule, _counted(split))


def patient_split(option: Any) -> PatientLists | PatientHash | None:
    """Read a task's option ``split``.

    Args:
        option: None; ``{test: file, validation: file}`` with optional ``train`` and ``unlisted``;
            ``{test: share, validation: share, salt: text}``; or ``{folds: number, salt: text}``.

    Raises:
        ValueError: It is none of these.
    """
    if option is None:
        return None
    if not isinstance(option, Mapping) or not option:
        raise ValueError(f"split must be {_SPLIT_FORMS}, found {option!r}")
    lists = {part: option[part] for part in PARTS if isinstance(option.get(part), str)}
    return _lists(option, lists) if lists else _hashed(option)


_SPLIT_FORMS = (
    "{test: file, validation: file} (lists of patients), {test: 0.2, validation: 0.1, salt: text} or "
    "{folds: 5, salt: text} (hash of the patient)"
)


def _lists(option: Mapping[str, Any], lists: Mapping[str, str]) -> PatientLists:
    _refuse_unknown(option, (*PARTS, "unlisted"))
    wrong = [part for part in PARTS if part in option and part not in lists]
    unlisted = option.get("unlisted", "train")
    if wrong or "test" not in lists:
        raise ValueError("split: the lists of patients must be files, and 'test' one of them")
    if unlisted not in ("train", "leave_out"):
        raise ValueError(f"split: unlisted must be 'train' or 'leave_out', found {unlisted!r}")
    return PatientLists({part: Path(path).expanduser() for part, path in lists.items()}, unlisted)


def _hashed(option: Mapping[str, Any]) -> PatientHash:
    _refuse_unknown(option, ("folds", "salt") if "folds" in option else ("test", "validation", "salt"))
    made = PatientHash(**option)
    if not isinstance(made.salt, str):
        raise ValueError(f"split: salt must be text, found {made.salt!r}")  # noqa: TRY004 - options are values
    if made.folds is not None:
        if isinstance(made.folds, bool) or not isinstance(made.folds, int) or made.folds < 2:
            raise ValueError(f"split: folds must be a whole number from 2, found {made.folds!r}")
        return made
    shares = (made.test, made.validation)
    if any(isinstance(s, bool) or not isinstance(s, int | float) for s in shares):
        raise ValueError(f"split must be {_SPLIT_FORMS}, found {dict(option)!r}")
    if not (made.test > 0 and made.validation >= 0 and sum(shares) < 1):
        raise ValueError(
            f"split: test must be above 0, and test + validation below 1, found {shares[0]} and {shares[1]}"
        )
    return made


def _refuse_unknown(option: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    unknown = [str(key) for key in option if key not in accepted]
    if unknown:
        raise ValueError(f"split: unknown key '{unknown[0]}'{did_you_mean(unknown[0], accepted)}; it is {_SPLIT_FORMS}")


def _read_list(path: Path, part: str, problems: list[str]) -> dict[int, bool]:
    """Return who is named, True = in this part; messages hold numbers of lines, never a patient."""
    try:
        found = records(path.read_bytes(), f"{part}: {path.name}")
    except OSError as error:
        problems.append(f"{part}: {path}: {error.strerror}")
        return {}
    except DataError as problem:
        problems.append(f"{problem}; a list of patients is a CSV file in UTF-8")
        return {}
    lines = [(record.line, [cell.strip() for cell in record.cells]) for record in found]
    headed = bool(lines and lines[0][1]) and lines[0][1][0].lower() == "subject_id"
    return _marks(lines[int(headed) :], f"{part}: {path.name}", problems)


def _marks(lines: list[tuple[int, list[str]]], name: str, problems: list[str]) -> dict[int, bool]:
    marks: dict[int, bool] = {}
    for number, line in lines:
        if not any(line):
            continue
        mark = line[1] if len(line) == 2 else "1"
        if len(line) > 2 or not _PATIENT.fullmatch(line[0]) or mark not in ("0", "1"):
            problems.append(
                f"{name}, line {number}: must be 'subject_id,0' or 'subject_id,1', or a subject_id alone"
                f"{'; cells are separated by commas' if len(line) == 1 and _OTHER_SEPARATOR.search(line[0]) else ''}"
            )
            return {}
        if marks.setdefault(int(line[0]), mark == "1") != (mark == "1"):
            problems.append(f"{name}, line {number}: the patient stands in an earlier line with the other mark")
            return {}
    if not any(marks.values()):
        problems.append(f"{name}: marks no patient with 1")
    return marks


def _counted(parts: NDArray[Any]) -> str:
    """Say how many rows fall where."""
    if parts.dtype.kind == "U":
        return ", ".join(f"{int((parts == part).sum())} {part}" for part in PARTS)
    return ", ".join(f"{int((parts == fold).sum())} in fold {fold}" for fold in range(int(parts.max(initial=-1)) + 1))
