"""A folder that several processes use: what is there is whole, whoever is killed, whenever, and however full the disk is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusionbench.errors import DataError, WorkspaceError
from fusionbench.store.files import (
    CLAIM,
    GUARD,
    LOCK,
    PARTIAL,
    RESUMABLE,
    Folder,
    Taken,
    is_json,
    opened,
    read_json,
    set_aside,
    unwritable,
    write_atomically,
)

ROOT = Path(__file__).resolve().parents[2]
DRAWN = "0123456789abcdef" * 2
LONG_AGO = 7200.0

SETUP = """
import os, signal, sys
from pathlib import Path
from fusionbench.store.files import Folder, write_atomically
folder = Folder(Path(sys.argv[1]))

def make(draft):
    (draft / "content.txt").write_text("whole", encoding="utf-8")

def read(place):
    path = place / "content.txt"
    return path.read_text(encoding="utf-8") if path.exists() else None
"""


@contextmanager
def process(code: str, folder: Path):
    """Another process that has the folder; it ends with the block."""
    command = [sys.executable, "-c", SETUP + code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            yield other
        finally:
            other.kill()


def killed(code: str, folder: Path) -> None:
    """Run code that kills its own process."""
    done = subprocess.run([sys.executable, "-c", SETUP + code, str(folder)], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def make(draft: Path) -> None:
    (draft / "content.txt").write_text("whole", encoding="utf-8")


def read(place: Path) -> str | None:
    path = place / "content.txt"
    return path.read_text(encoding="utf-8") if path.exists() else None


def nobody() -> None:
    raise AssertionError("nobody else is there")


def entry(path: Path, name: str = "thing", build=make, waits=nobody, **options) -> str:
    return Folder(path, "shelf").entry(name, read, build, waits, **options)


def hidden(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.name.startswith(".") and p.name != GUARD)


# ---------------------------------------------------------------- entries


def test_an_entry_is_made_once_and_then_only_read(tmp_path):
    made = []

    def counted(draft: Path) -> None:
        made.append(draft.name)
        make(draft)

    assert [entry(tmp_path / "a" / "b", build=counted) for _ in range(3)] == ["whole"] * 3
    assert len(made) == 1
    assert made[0].startswith(".thing.")
    assert made[0].endswith(PARTIAL)
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [GUARD, "thing"]


def test_what_is_there_is_read_without_a_lock_so_the_folder_may_be_read_only(tmp_path):
    (tmp_path / "thing").mkdir()
    make(tmp_path / "thing")
    assert entry(tmp_path) == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_serves_what_it_has_and_says_that_it_takes_no_more(tmp_path):
    entry(tmp_path)
    (tmp_path / f".old.{DRAWN}{PARTIAL}").mkdir()
    os.utime(tmp_path / f".old.{DRAWN}{PARTIAL}", (0, 0))
    tmp_path.chmod(0o500)
    try:
        assert entry(tmp_path) == "whole"
        with pytest.raises(WorkspaceError, match=r"shelf .* cannot be written: Permission denied; free some space"):
            entry(tmp_path, "other")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("problem", [DataError("no row is left"), KeyboardInterrupt(), ValueError("a bug")])
def test_an_entry_whose_making_fails_leaves_nothing_and_the_next_one_succeeds(tmp_path, problem):
    def fail(draft: Path) -> None:
        make(draft)
        raise problem

    with pytest.raises(type(problem)):
        entry(tmp_path, build=fail)
    assert [p.name for p in tmp_path.iterdir()] == [GUARD]
    assert entry(tmp_path) == "whole"


def test_a_damaged_entry_is_made_again_and_replaced(tmp_path):
    entry(tmp_path)
    (tmp_path / "thing" / "content.txt").unlink()
    (tmp_path / "thing" / "left over").touch()
    assert entry(tmp_path) == "whole"
    assert [p.name for p in (tmp_path / "thing").iterdir()] == ["content.txt"]
    assert hidden(tmp_path) == []


def test_an_entry_that_cannot_be_read_back_is_said(tmp_path):
    with pytest.raises(WorkspaceError, match="thing was written and cannot be read back; check the disk"):
        entry(tmp_path, build=lambda draft: (draft / "something else").touch())


def test_of_two_that_publish_one_name_the_first_stays(tmp_path):
    folder = Folder(tmp_path)
    with folder.draft("thing") as first:
        (first / "x").write_text("first", encoding="utf-8")
        with folder.draft("thing") as second:
            (second / "x").write_text("second", encoding="utf-8")
    assert (tmp_path / "thing" / "x").read_text(encoding="utf-8") == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


def test_entries_of_a_private_folder_are_for_their_owner_only(tmp_path):
    Folder(tmp_path, private=True).entry("thing", read, make, nobody)
    assert (tmp_path / "thing").stat().st_mode & 0o777 == 0o700


# ---------------------------------------------------------------- killed

KILL_BEFORE_RENAME = """
def killed(self, target):
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = Path.replace = killed
"""


def test_a_process_killed_between_draft_and_rename_leaves_no_entry_and_no_lock_that_holds(tmp_path):
    killed(KILL_BEFORE_RENAME + "folder.entry('thing', read, make, print)", tmp_path)
    (draft,) = tmp_path.glob(f".thing.*{PARTIAL}")
    assert read(draft) == "whole"
    assert not (tmp_path / "thing").exists()
    assert entry(tmp_path) == "whole"  # nobody is waited for
    assert hidden(tmp_path) == [draft.name]  # young: another machine might be at it
    Folder(tmp_path, abandoned=0.0).sweep()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("moment", [1, 2, 3, 4, 6, 8, 12])
def test_a_process_killed_at_any_moment_is_no_obstacle(tmp_path, moment):
    code = f"""
left = [{moment}]
def count(event, given):
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.utime") and str(given[0]).startswith(sys.argv[1]):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
folder.entry('thing', read, make, print)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed(code, tmp_path)
    folder = Folder(tmp_path, abandoned=0.0)
    assert folder.entry("thing", read, make, nobody) == "whole"
    folder.sweep()
    assert {p.name for p in tmp_path.iterdir()} <= {GUARD, "thing"}


def test_a_file_of_a_process_killed_before_the_rename_is_not_there_and_what_was_there_stays(tmp_path):
    path = tmp_path / "x.json"
    write_atomically(path, b"before")
    killed(KILL_BEFORE_RENAME + "write_atomically(Path(sys.argv[1]) / 'x.json', b'after')", tmp_path)
    assert path.read_bytes() == b"before"
    (draft,) = hidden(tmp_path)
    Folder(tmp_path).sweep()
    assert hidden(tmp_path) == [draft]
    os.utime(tmp_path / draft, (time.time() - LONG_AGO,) * 2)
    Folder(tmp_path).sweep()
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_what_an_interruption_left_is_gone_on_with_where_that_is_asked_for(tmp_path):
    killed(
        "def begin(draft):\n    (draft / 'begun').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder.entry('thing', read, begin, print, resumable=True)",
        tmp_path,
    )
    seen = []

    def go_on(draft: Path) -> None:
        seen.extend(p.name for p in draft.iterdir())
        make(draft)

    Folder(tmp_path, abandoned=0.0).sweep()  # it is no abandoned draft
    assert entry(tmp_path, build=go_on, resumable=True) == "whole"
    assert seen == ["begun"]
    assert hidden(tmp_path) == []


def test_what_is_of_no_use_to_the_next_one_is_not_kept_for_it(tmp_path):
    def fail(_: Path) -> None:
        raise DataError("the file is not what it says")

    with pytest.raises(DataError):
        entry(tmp_path, build=fail, resumable=True)
    assert hidden(tmp_path) == []


def test_resumable_drafts_that_nobody_holds_can_be_forgotten(tmp_path):
    folder = Folder(tmp_path)
    for name in ("images-1", "images-2", "links-1"):
        (tmp_path / f".{name}{RESUMABLE}").mkdir()
    with folder.held("images-2"):
        folder.forget_resumable("images-")
        assert sorted(p.name for p in tmp_path.glob(f".*{RESUMABLE}")) == [".images-2.resumable", ".links-1.resumable"]


# ---------------------------------------------------------------- swept


@pytest.mark.parametrize("name", [f".thing.{DRAWN}{PARTIAL}", f".thing{PARTIAL}", f".thing-{DRAWN}", f".thing.{DRAWN}"])
def test_abandoned_drafts_go_whatever_version_left_them(tmp_path, name):
    old, young = tmp_path / name, tmp_path / name.replace("thing", "other")
    for path in (old, young):
        path.mkdir()
        make(path)
    os.utime(old, (time.time() - LONG_AGO,) * 2)
    Folder(tmp_path).sweep()
    assert hidden(tmp_path) == [young.name]


def test_an_old_draft_that_a_living_process_holds_stays(tmp_path):
    draft = tmp_path / f".thing.{DRAWN}{PARTIAL}"
    draft.mkdir()
    os.utime(draft, (0, 0))
    with process("with folder.held('thing'):\n    print('held', flush=True)\n    input()", tmp_path) as other:
        assert other.stdout.readline() == "held\n"
        Folder(tmp_path).sweep()
        assert draft.exists()
    Folder(tmp_path).sweep()
    assert not draft.exists()
    assert hidden(tmp_path) == []


def test_other_files_stay_also_hidden_ones(tmp_path):
    names = [".hidden", "thing.partial", "0" * 32, "thing.damaged", GUARD, ".writing"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    Folder(tmp_path, abandoned=0.0).sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_sweeping_a_folder_that_is_not_there_is_nothing(tmp_path):
    Folder(tmp_path / "nowhere").sweep()
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------- two processes

HOLD = "with folder.held('a', 'b'):\n    print('held', flush=True)\n    input()"


def test_a_name_is_held_by_one_process_and_let_go_when_it_is_killed(tmp_path):
    folder = Folder(tmp_path)
    with process(HOLD, tmp_path) as other:
        assert other.stdout.readline() == "held\n"
        with folder.held("c", "d"), folder.held("e"):  # these are free
            pass
        with pytest.raises(Taken) as taken, folder.held("c", "b"):
            pass
        assert taken.value.name == "b"
        with folder.held("c"):  # of two names none is held where one is taken
            pass
        assert len(hidden(tmp_path)) == 2
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with folder.held("a", "b"):
        pass
    assert hidden(tmp_path) == []


def test_a_thread_is_kept_out_like_a_process(tmp_path):
    found = []

    def ask() -> None:
        with pytest.raises(Taken), Folder(tmp_path).held("a"):
            pass
        found.append("taken")

    with Folder(tmp_path).held("a"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert found == ["taken"]


def test_thousands_of_names_take_one_open_file_and_leave_none(tmp_path):
    names = [f"study {i}" for i in range(5000)]
    with Folder(tmp_path).held(*names):
        assert {Path(name).suffix for name in hidden(tmp_path)} == {LOCK, CLAIM}
        assert len(hidden(tmp_path)) == 2
        with pytest.raises(Taken), Folder(tmp_path).held(names[-1]):
            pass
    assert [p.name for p in tmp_path.iterdir()] == [GUARD]


def test_holding_nothing_writes_nothing(tmp_path):
    with Folder(tmp_path / "new").held():
        assert not (tmp_path / "new").exists()


def test_the_second_process_is_told_that_it_waits_and_makes_nothing(tmp_path):
    code = """
def slow(draft):
    print("at it", flush=True)
    input()
    make(draft)
folder.entry("thing", read, slow, print)
"""
    said = []
    with process(code, tmp_path) as other:
        assert other.stdout.readline() == "at it\n"

        def waits() -> None:
            said.append("waiting")
            other.stdin.write("\n")
            other.stdin.flush()

        assert entry(tmp_path, build=lambda _: nobody(), waits=waits) == "whole"
    assert said == ["waiting"]


def test_processes_that_want_many_entries_at_once_make_each_once(tmp_path):
    code = """
def counted(draft):
    with (Path(sys.argv[1]) / "made.txt").open("a", encoding="utf-8") as file:
        file.write("x")
    make(draft)
for i in range(15):
    assert folder.entry(f"thing {i}", read, counted, lambda: None) == "whole"
"""
    command = [sys.executable, "-c", SETUP + code, str(tmp_path)]
    others = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [other.wait(120) for other in others] == [0] * 4
    assert (tmp_path / "made.txt").read_text(encoding="utf-8") == "x" * 15
    assert hidden(tmp_path) == []


# ---------------------------------------------------------------- full disks


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    remedy = "No space left on device; free some space, mend the permissions, or choose another folder with --workspace"
    with pytest.raises(WorkspaceError, match=rf"shelf .* cannot be written: {remedy}"):
        entry(tmp_path)
    with pytest.raises(WorkspaceError, match=rf"x\.json cannot be written: {remedy}"):
        write_atomically(tmp_path / "x.json", b"{}")
    assert [p.name for p in tmp_path.iterdir()] == [GUARD]


def test_no_room_for_one_byte(tmp_path):
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    folder.entry("thing", read, make, print)
except Exception as problem:
    print(type(problem).__name__, problem, flush=True)
"""
    with process(code, tmp_path) as other:
        said = other.stdout.read()
    assert said.startswith("WorkspaceError folder ")
    assert "cannot be written: File too large; free some space" in said
    assert [p.name for p in tmp_path.iterdir()] == [GUARD]


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="cannot be written: "):
        entry(tmp_path / "file")


def test_what_has_no_words_is_called_by_its_type():
    assert "x cannot be written: PermissionError; do that" in str(unwritable("x", PermissionError(), "do that"))


# ---------------------------------------------------------------- single files


def test_a_damaged_json_file_is_set_aside_and_counts_as_absent(tmp_path):
    path = tmp_path / "x.json"
    assert read_json(path, dict, print) is None
    write_atomically(path, b'{"a": 1}')
    assert read_json(path, dict, print) == {"a": 1}
    path.write_bytes(b'{"a": ')
    assert read_json(path, dict, print) is None
    assert [p.name for p in tmp_path.iterdir()] == ["x.json.damaged"]
    set_aside(path)  # somebody else was faster


def test_a_file_that_cannot_be_read_or_opened_is_said(tmp_path):
    with pytest.raises(WorkspaceError, match="cannot be read"):
        read_json(tmp_path, dict, print)
    with pytest.raises(WorkspaceError, match="cannot be written"), opened(tmp_path / "no" / "folder"):
        pass


def test_lines_that_were_written_to_their_end():
    assert [is_json(line) for line in (b'{"a": 1}\n', b'{"a": ', b"\xff")] == [True, False, False]


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_takes_no_draft_away_and_keeps_none(tmp_path, monkeypatch, hours):
    """Machines that share a folder need not agree on the time: drafts are dated by the file system."""
    fresh, old = (tmp_path / f".x.{digit * 32}.partial" for digit in "ab")
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    wrong = time.time() + 3600 * hours
    monkeypatch.setattr("fusionbench.store.files.time.time", lambda: wrong)
    Folder(tmp_path).sweep()
    assert (fresh.exists(), old.exists()) == (True, False)
    assert [p.name for p in tmp_path.iterdir()] == [fresh.name]  # nothing is left of looking at the clock
