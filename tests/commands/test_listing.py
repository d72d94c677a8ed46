"""The quick listing says what the plugin manager says, or leaves it to that."""

from __future__ import annotations

import os
import sys
from importlib import machinery
from importlib import metadata as installed
from pathlib import Path

import pytest

from fusionbench.commands.listing import all_lines, quick_lines
from fusionbench.contract.kinds import KINDS
from tests.front import distribution, python

PLAIN = {"strategies.guest": "guest", "tasks.my-task": "guest.tasks", "observers.x2": "guest"}


@pytest.fixture(autouse=True)
def _finders_of_python(monkeypatch):
    """Other tests import a package that takes the place of Python's own finder of distributions; a fresh process has it."""
    own = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("importlib_metadata")]
    monkeypatch.setattr(sys, "meta_path", own)
    if not hasattr(machinery.PathFinder, "find_distributions"):
        found = staticmethod(installed.MetadataPathFinder.find_distributions)
        monkeypatch.setattr(machinery.PathFinder, "find_distributions", found, raising=False)


def metadata(folder: Path) -> Path:
    (path,) = folder.rglob("METADATA")
    return path


def points(folder: Path) -> Path:
    (path,) = folder.rglob("entry_points.txt")
    return path


def both(kind: str | None = None) -> list[str] | None:
    """Return the quick listing, after a look whether it is the manager's where there is one."""
    quick = quick_lines(kind)
    assert quick in (None, all_lines(kind, [], [])[0])
    return quick


@pytest.fixture
def guest(tmp_path, monkeypatch):
    folder = distribution(tmp_path / "first", "my-guest", PLAIN)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_it_lists_what_the_manager_lists(kind, guest):
    lines = both(kind)
    assert lines, "this installation is plain"
    assert [line for line in lines if "my-guest 1.0" in line] != [] or kind not in (
        None,
        *(p.split(".")[0] for p in PLAIN),
    )


def test_a_kind_that_is_none_is_for_the_manager_to_refuse():
    assert quick_lines("strategy") is None


def test_it_imports_nothing_and_is_what_a_new_process_lists(guest):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
from fusionbench.commands.listing import quick_lines
print(*quick_lines(None), sep="\\n")
print(*(set(sys.modules) - before), file=sys.stderr)
"""
    done = python(code, str(guest))
    assert "strategies    guest                my-guest 1.0" in done.stdout.splitlines()
    new = set(done.stderr.split()) - {"__future__"}
    assert {name.partition(".")[0] for name in new} == {"fusionbench"}, new


def test_what_is_installed_changed_or_removed_is_seen_at_once(guest):
    assert "my-guest 1.0" in "\n".join(both() or [])
    path = points(guest)
    kept = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("guest =", "other ="), encoding="utf-8")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as old and as large as before
    assert "strategies    other                my-guest 1.0" in (both() or [])
    about = metadata(guest)
    about.write_text(about.read_text(encoding="utf-8").replace("1.0", "2.0"), encoding="utf-8")
    assert "strategies    other                my-guest 2.0" in (both() or [])
    path.unlink()
    assert "my-guest" not in "\n".join(both() or ["my-guest"])


def test_of_a_distribution_that_is_on_the_path_twice_the_first_counts(tmp_path, monkeypatch, guest):
    monkeypatch.syspath_prepend(
        str(distribution(tmp_path / "second", "My.Guest", {"strategies.newer": "guest"}, "3.0"))
    )
    lines = both()
    assert lines is not None
    assert [line for line in lines if "uest" in line] == ["strategies    newer                My.Guest 3.0"]


def test_one_without_entry_points_hides_a_later_one_that_has_some(tmp_path, monkeypatch, guest):
    shadow = distribution(tmp_path / "second", "my_guest", {})
    points(shadow).unlink()
    monkeypatch.syspath_prepend(str(shadow))
    assert "guest" not in "\n".join(both() or ["guest"])


def test_comments_other_groups_and_extras_of_others_are_plain(guest):
    path = points(guest)
    other = "# written by hand\n\n[console_scripts]\nguest = guest.cli:main [extra]\n\n"
    path.write_text(other + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert "strategies    guest                my-guest 1.0" in (both() or [])


def test_metadata_may_go_on_over_lines(guest):
    head = "Metadata-Version: 2.1\nName: my-guest\nLicense: MIT\n        and more\nVersion: 1.0\n\nName: of the text\n"
    metadata(guest).write_text(head, encoding="utf-8")
    assert "strategies    guest                my-guest 1.0" in (both() or [])


LEFT = {
    "no header": "strategies.evil = evil\n",
    "no equals sign": "[fusionbench]\nstrategies.evil\n",
    "no sign in another group": "[console_scripts]\nevil\n[fusionbench]\nstrategies.evil = evil\n",
    "no value": "[fusionbench]\nstrategies.evil =\n",
    "no section name": "[]\nx = y\n",
    "a kind that is none": "[fusionbench]\nstrategy.evil = evil\n",
    "no name": "[fusionbench]\nstrategies = evil\n",
    "an object": "[fusionbench]\nstrategies.evil = evil:Evil\n",
    "an extra": "[fusionbench]\nstrategies.evil = evil [more]\n",
    "other letters": "[fusionbench]\nstrategies.b\u00f6se = evil\n",
    "twice in one list": "[fusionbench]\nstrategies.evil = evil\nstrategies.evil = other\n",
    "somebody else's name": "[fusionbench]\nstrategies.concat = evil\n",
}


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
def test_a_list_that_is_not_plain_is_left_to_the_manager(guest, text):
    points(guest).write_text(text, encoding="utf-8")
    assert both() is None


def test_a_list_that_is_no_text_is_left_to_the_manager(guest):
    points(guest).write_bytes(b"\xff\xfe\x00[fusionbench]\n")
    assert both() is None


SAID = {
    "nothing": "",
    "no version": "Name: my-guest\n",
    "no name": "Version: 1.0\n",
    "twice": "Name: my-guest\nName: other\nVersion: 1.0\n",
    "goes on": "Name: my-guest\n one\nVersion: 1.0\n",
    "blanks": "Name:  my guest \nVersion: 1.0\n",
    "no header": "Name: my-guest\nnonsense\nVersion: 1.0\n",
    "an escape": "Name: my-guest\x1b[31m\nVersion: 1.0\n",
}


@pytest.mark.parametrize("text", SAID.values(), ids=SAID)
def test_metadata_that_are_not_plain_are_left_to_the_manager(guest, text):
    metadata(guest).write_text(text, encoding="utf-8")
    assert both() is None


def test_two_versions_in_one_folder_are_left_to_the_manager(guest):
    distribution(guest, "my-guest", PLAIN, "2.0")
    assert both() is None


@pytest.mark.parametrize("name", ["old.egg", "OLD.EGG", "old-1.0.DIST-INFO"])
def test_old_and_odd_ways_to_install_are_left_to_the_manager(guest, name):
    (guest / name).mkdir()
    assert quick_lines(None) is None


def test_an_old_way_to_install_that_offers_nothing_here_is_plain(guest):
    (guest / "old-1.0-py3.11.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1.0\n", encoding="utf-8")
    assert both() is not None


def test_an_egg_info_that_offers_something_is_left_to_the_manager(guest):
    points(guest).parent.rename(guest / "my_guest.egg-info")
    metadata(guest).rename(guest / "my_guest.egg-info" / "PKG-INFO")
    assert both() is None
    assert any("guest                my-guest 1.0" in line for line in all_lines(None, [], [])[0])


def test_an_archive_on_the_path_is_left_to_the_manager(tmp_path, monkeypatch):
    (tmp_path / "some.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    monkeypatch.syspath_prepend(str(tmp_path / "some.zip"))
    assert both() is None


def test_somebody_who_finds_distributions_elsewhere_is_left_to_the_manager(monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            return None

        def find_distributions(self, context):
            return iter(())

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert both() is None


def test_a_folder_of_the_path_that_is_not_there_is_plain(monkeypatch, tmp_path, guest):
    monkeypatch.syspath_prepend(str(tmp_path / "nowhere"))
    assert both() is not None


def test_broken_and_given_plugins_are_asked_of_the_manager(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text("import no_such_module", encoding="utf-8")
    lines, code = all_lines("tasks", [str(path)], [])
    assert code == 0
    assert lines[-1].startswith(f"broken        {path}")
