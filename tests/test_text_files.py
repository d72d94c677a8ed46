"""Text files are opened with an encoding: what is written under one locale is read under another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("fusionbench", "plugins", "tests", "benchmarks")
SEALED = {"test", "sealed"}  # rows of a fold that are opened, no files


def calls_without_encoding(source):
    """Lines of calls that open text and leave its encoding to the locale."""
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        keywords = {k.arg: k.value for k in call.keywords}
        if "encoding" not in keywords and None not in keywords and opens_text(call, keywords):
            yield call.lineno


def opens_text(call, keywords):
    name, owner = name_of(call.func), name_of(getattr(call.func, "value", None))
    if name == "read_text":
        return not call.args
    if name == "write_text":
        return len(call.args) == 1
    if name != "open" or owner in {"os", "Image", *SEALED}:
        return False
    given = [*call.args, *(v for k, v in keywords.items() if k == "mode")]
    modes = [n.value for argument in given for n in ast.walk(argument) if isinstance(n, ast.Constant)]
    if owner in {"gzip", "bz2", "lzma"}:  # binary unless it says otherwise
        return "rt" in modes or "wt" in modes
    return not any("b" in str(m) for m in modes)


def name_of(node):
    return getattr(node, "attr", getattr(node, "id", ""))


@pytest.mark.parametrize("folder", FOLDERS)
def test_text_is_opened_with_an_encoding(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in calls_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert found == []


KINDS = {".py", ".css", ".js", ".j2", ".md", ".yaml", ".yml", ".toml", ".txt", ".json"}


@pytest.mark.parametrize("folder", [*FOLDERS, "docs", "tools"])
def test_no_file_holds_what_a_merge_left(folder):
    marks = tuple(sign * 7 + " " for sign in "<>")
    texts = [p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in KINDS]
    lines = ((p, n, line) for p in texts for n, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1))
    assert [f"{p.relative_to(ROOT)}:{n}" for p, n, line in lines if line.startswith(marks)] == []
    assert texts


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("p.read_text()", True),
        ("p.read_text('utf-8')", False),
        ("p.write_text(x)", True),
        ("p.write_text(x, encoding='utf-8')", False),
        ("p.open()", True),
        ("p.open('w', newline='')", True),
        ("p.open('rb')", False),
        ("open(p, mode='a')", True),
        ("gzip.open(p)", False),
        ("gzip.open(p, 'rt')", True),
        ("fold.test.open('digest')", False),
    ],
)
def test_a_call_without_an_encoding_is_found(call, wrong):
    assert list(calls_without_encoding(call)) == ([1] if wrong else [])
