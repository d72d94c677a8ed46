"""Entry points of every distribution; a list that cannot be read stands in nobody's way."""

from __future__ import annotations

import pytest

from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.offers import offered
from tests.front import distribution, fusionbench

MALFORMED = {
    "no header": b"strategies.evil = evil\n",
    "no equals sign": b"[fusionbench]\nstrategies.evil\n",
    "no text": b"\xff\xfe\x00[fusionbench]\n",
    "only a name": b"[fusionbench]\n= = =\n",
    "unclosed": b"[fusionbench\nstrategies.evil = evil\n",
    "empty": b"",
    "no section name": b"[]\nx = y\n",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_list_of_one_distribution_breaks_nothing(tmp_path, monkeypatch, content):
    folder = distribution(tmp_path, "evil-guest", {"strategies.evil": "evil"})
    (path,) = folder.rglob("entry_points.txt")
    path.write_bytes(content)
    before = {e.name for e in Plugins().catalogue()}
    monkeypatch.syspath_prepend(str(folder))
    outcome = fusionbench("list")
    assert outcome.code == 0
    assert "concat" in outcome.out
    assert "Traceback" not in outcome.err
    assert {e.name for e in Plugins().catalogue()} >= before


def test_which_list_it_is_is_said(tmp_path, monkeypatch):
    folder = distribution(tmp_path, "evil-guest", {"strategies.evil": "evil"})
    (path,) = folder.rglob("entry_points.txt")
    path.write_bytes(MALFORMED["no text"])
    monkeypatch.syspath_prepend(str(folder))
    points, problems = offered("fusionbench")
    assert {p.name for p in points} >= {"strategies.concat", "tasks.table"}
    ((name, reason),) = problems
    assert name == "evil-guest"
    assert reason.startswith("its entry_points.txt cannot be read: UnicodeDecodeError")
    assert "broken        evil-guest" in fusionbench("list").out
