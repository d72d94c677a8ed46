"""Studies as they are kept: a line of a journal knows its study and its place, and a digest what was tried."""

from __future__ import annotations

import json

import pytest

from fusionbench.store.integrity import Damaged
from fusionbench.store.studies import is_logged, logged, study_digest, whole_study

TRIAL = {"number": 0, "params": {"a": 1}, "own": {}, "score": 0.5, "failure": None, "epochs": 1, "seconds": 0.5}
WINNER = {"number": 0, "common": {"a": 1}, "own": {}}


def test_a_line_of_a_journal_is_that_of_its_study_and_place():
    line = json.dumps(logged({"score": 0.5}, "study", 3)).encode()
    assert is_logged(line, "study", 3)
    assert not is_logged(line, "study", 2)
    assert not is_logged(line, "other", 3)
    assert not is_logged(line.replace(b"0.5", b"0.6"), "study", 3)
    assert is_logged(b'{"score": 0.5}', "study", 3)  # of a version that wrote no hashes
    assert not is_logged(b"[1", "study", 3)


def test_a_digest_knows_trials_scores_and_winner_and_no_times():
    known = study_digest([TRIAL], WINNER)
    assert study_digest([{**TRIAL, "seconds": 9.0}], WINNER) == known
    others = [study_digest([{**TRIAL, "score": 0.6}], WINNER), study_digest([TRIAL], {**WINNER, "number": 1})]
    assert len({known, *others, study_digest([], WINNER)}) == 4


def test_a_study_is_whole_when_its_digest_is_that_of_its_content():
    study = {"trials": [TRIAL], "winner": WINNER, "digest": study_digest([TRIAL], WINNER)}
    assert whole_study(study) == study
    for broken in ({**study, "digest": "x"}, {**study, "trials": [{**TRIAL, "score": 1.0}]}, {"trials": []}):
        with pytest.raises(Damaged):
            whole_study(broken)
