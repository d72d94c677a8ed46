"""Papers are found by their entry point; one that does not load costs a run its values and nothing else."""

from __future__ import annotations

import pytest

from fusionbench import Paper
from fusionbench.errors import ConfigError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.papers import installed_papers, paper_called

GUEST = """
from pathlib import Path
from fusionbench import Paper, hookimpl

class Guest(Paper):
    title, citation = "Guest", "Guest 2026, Journal of guests"

@hookimpl
def register_papers(register):
    register("guest", Guest)
"""
BROKEN = GUEST.replace('"guest"', '"broken"').replace(
    "class Guest(Paper):", "class Guest(Paper):\n    def __init__(self): 1 / 0"
)


def test_built_in_papers_are_there():
    papers, problems = installed_papers(Plugins())
    assert {"OmniFuse", "MedFuse"} <= {p.title for p in papers}
    assert problems == ()
    assert all(isinstance(p, Paper) for p in papers)


def test_a_third_party_adds_one(tmp_path):
    (tmp_path / "guest.py").write_text(GUEST, encoding="utf-8")
    plugins = Plugins([str(tmp_path / "guest.py")])
    assert paper_called("guest", plugins).citation == "Guest 2026, Journal of guests"
    assert "Guest" in [p.title for p in installed_papers(plugins)[0]]


def test_one_that_fails_is_left_out_and_named(tmp_path):
    for name, text in (("guest", GUEST), ("broken", BROKEN)):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    papers, problems = installed_papers(Plugins([str(tmp_path / "guest.py"), str(tmp_path / "broken.py")]))
    assert "Guest" in [p.title for p in papers]
    assert len(problems) == 1
    assert problems[0].startswith("Published values of the paper 'broken' are left out: ")


def test_a_name_that_nobody_offers_is_refused_with_those_that_are_there():
    with pytest.raises(ConfigError, match=r"no paper named 'omnifus'; did you mean 'omnifuse'\?"):
        paper_called("omnifus", Plugins())
