"""What a study leaves: the lines of its journal, and the finished study with the digest that opens test rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fusionbench.keys import digest
from fusionbench.store.integrity import SEAL, Damaged, hash_of

TRIAL = frozenset({"number", "params", "score", "failure", "epochs", "seconds"})
"""What the record of a trial holds."""


def study_digest(trials: Sequence[Mapping[str, Any]], winner: Mapping[str, Any] | None) -> str:
    """Return the digest of a study: what was tried, how it went, and what was chosen."""
    return digest([[[t["number"], t["params"], t["score"]] for t in trials], winner])


def whole_study(content: dict[str, Any]) -> dict[str, Any]:
    """Return a finished study that is whole.

    Raises:
        Damaged: It is not.
    """
    try:
        trials, winner = content["trials"], content["winner"]
        whole = {*winner} >= {"common", "own"} and all({*t} >= TRIAL for t in trials)
        same = content["digest"] == study_digest(trials, winner)
    except (KeyError, TypeError, ValueError) as problem:
        raise Damaged("it is no finished study") from problem
    if not whole:
        raise Damaged("it is no finished study")
    if not same:
        raise Damaged("its digest is not that of its trials and its winner")
    return content


def logged(entry: Mapping[str, Any], key: str, number: int) -> dict[str, Any]:
    """Return a line of a journal with its hash, which also holds the study's key and the line's number."""
    plain = json.loads(json.dumps(dict(entry)))
    return {**plain, SEAL: hash_of(json.dumps([key, number, plain], sort_keys=True).encode())}


def is_logged(line: bytes, key: str, number: int) -> bool:
    """Whether a line of a journal is what was written; lines of earlier versions have no hash."""
    try:
        found = json.loads(line)
        said = found.pop(SEAL, None)
        return said is None or said == logged(found, key, number)[SEAL]
    except (ValueError, AttributeError, RecursionError):
        return False
