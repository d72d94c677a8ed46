"""The first sentence of a module, without importing it."""

from __future__ import annotations

import sys

import pytest

from fusionbench.commands.first_sentence import first_sentence, sentence_of


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ('"""Sum: adds. More."""', "Sum: adds"),
        ('"""One line."""\nimport os', "One line"),
        ('"""It goes\non here.\n\nAnother paragraph."""', "It goes on here"),
        ("#!/usr/bin/env python\n# licence\n\n'''Quoted otherwise.'''", "Quoted otherwise"),
        ('r"""Raw \\\\alpha. x"""', "Raw \\\\alpha"),
        ('\ufeff"""With a mark."""', "With a mark"),
        ('"""Never ends', "Never ends"),
        ('import os\n"""No docstring."""', ""),
        ("", ""),
        ('"""\x1b[31mred. x"""', "[31mred"),
    ],
)
def test_the_first_sentence(source, sentence):
    assert first_sentence(source) == sentence


def test_it_is_read_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "a_guest").mkdir()
    (tmp_path / "a_guest" / "__init__.py").write_text('"""A package."""\nraise RuntimeError', encoding="utf-8")
    (tmp_path / "a_guest" / "inner.py").write_text('"""Inner: does it. More."""\nraise RuntimeError', encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert sentence_of("a_guest") == "A package"
    assert sentence_of("a_guest.inner") == "Inner: does it"
    assert sentence_of("a_guest.nowhere") == ""
    assert "a_guest" not in sys.modules


def test_every_built_in_says_what_it_is():
    from fusionbench.plugins.catalogue import Plugins

    own = [e for e in Plugins().catalogue() if e.module.startswith("fusionbench_plugins.")]
    assert own
    for entry in own:
        sentence = sentence_of(entry.module)
        assert 10 < len(sentence) < 160, entry.name
        assert not sentence.endswith("."), entry.name
