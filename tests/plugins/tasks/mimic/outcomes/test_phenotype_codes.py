"""The lists of codes: prefixes that do not get in each other's way, and the script that writes them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from fusionbench_plugins.tasks.mimic.outcomes import phenotype_codes
from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import PHENOTYPES


@pytest.mark.parametrize("table", [phenotype_codes.ICD9, phenotype_codes.ICD10])
def test_no_prefix_begins_another(table):
    prefixes = [prefix for codes in table.values() for prefix in codes.split()]
    assert len(set(prefixes)) == len(prefixes)
    assert not {p for p in prefixes if any(p[:end] in set(prefixes) for end in range(1, len(p)))}


def test_the_script_finds_prefixes_that_decide_as_the_published_files_do(tmp_path):
    spec = importlib.util.spec_from_file_location("tool", Path(__file__).parents[5] / "tools" / "phenotype_codes.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    # two groups that share a beginning, a code that begins a code of another group, and a group outside the 25
    (tmp_path / "nine").write_text(
        "Title\n\n249  Shock\n     78551 78552 5696\n\n1    Other\n     7850 56962 0010\n", encoding="utf-8"
    )
    nine = tool.read_ccs9(tmp_path / "nine")
    assert nine == {"78551": 249, "78552": 249, "5696": 249, "7850": 1, "56962": 1, "0010": 1}
    assert tool.prefixes(nine) == {1: ["0", "56962", "7850"], 249: ["5696$", "7855"]}
    (tmp_path / "ten").write_text(
        "'ICD-10-CM CODE','CCS CATEGORY'\n'R570   ','249 ',\"x\"\n'A00    ','1   ',\"y\"\n", encoding="utf-8"
    )
    assert tool.read_ccs10(tmp_path / "ten") == {"R570": 249, "A00": 1}
    (tmp_path / "gem").write_text(
        "78551 R570 10000\n78552 R6521 10000\n78552 A419 10000\n0010  NoDx 11000\nV999 A00 00000\n",
        encoding="utf-8",
    )
    assert tool.read_gem(tmp_path / "gem", nine) == {"R570": 249, "A419": 249}


@pytest.mark.parametrize("table", [phenotype_codes.ICD9, phenotype_codes.ICD10, phenotype_codes.GEM])
def test_every_group_has_codes_and_no_code_has_two_groups(table):
    assert set(table) == {phenotype.ccs for phenotype in PHENOTYPES}
    codes = [code for listed in table.values() for code in listed.split()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[A-Z0-9]{2,7}\$?", code) for code in codes)  # as MIMIC-IV has them: no dot


def test_whole_codes_are_marked_in_lists_of_prefixes_only():
    assert [code for listed in phenotype_codes.ICD9.values() for code in listed.split() if code.endswith("$")]
    assert not [code for listed in phenotype_codes.GEM.values() for code in listed.split() if "$" in code]


def test_equivalents_are_of_the_same_kind_of_code_as_the_tenth_version():
    for table in (phenotype_codes.ICD10, phenotype_codes.GEM):
        assert all(code[0].isalpha() and code[1].isdigit() for listed in table.values() for code in listed.split())
