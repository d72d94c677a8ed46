"""What workers say becomes one stage: steps are counted once, whoever is lost and whatever comes twice or late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fusionbench import Message, Unit, UnitResult
from fusionbench.progress import Best, SilentProgress
from fusionbench.records import Worked
from fusionbench.run.executors.watching import Watching
from fusionbench.store.results import Store


class Counted:
    """A stage that adds up."""

    def __init__(self):
        self.done, self.notes, self.best = 0.0, [], None

    def advance(self, steps=1, note=""):
        self.done += steps
        self.notes.append(note)

    def skip(self, steps):
        raise AssertionError

    def working(self, steps, share, note="", best=None):
        self.best = best


UNITS = [Unit(f"{i:012x}", f"arm {i}, fold 0", (f"key{i}",), 4) for i in range(3)]


def watching(tmp_path, units=UNITS):
    return Watching(len(units), Worked(), Counted(), SilentProgress(), Store(tmp_path), lambda _: set())


def test_steps_are_those_that_units_have_reached(tmp_path):
    watch = watching(tmp_path)
    watch.heard(UNITS[0], "a", Message(1.5, "epoch 3"))
    watch.heard(UNITS[1], "b", Message(99))  # more than it has
    assert watch.stage.done == 5.5
    watch.finished(UNITS[0], "a", UnitResult(frozenset({"key0"}), {"key9": ("model", "it failed")}))
    assert watch.stage.done == 8
    assert watch.worked.failures == {"key9": ("model", "it failed")}
    assert watch.trained == {"key0"}
    assert watch.stage.notes[-1] == "units: 1 of 3 done, 1 under way; a: arm 0, fold 0"


def test_a_unit_that_was_lost_counts_again_from_its_beginning(tmp_path):
    watch = watching(tmp_path)
    watch.heard(UNITS[0], "a", Message(3))
    watch.lost(UNITS[0], "a", "killed by SIGKILL")
    assert watch.stage.done == 0
    assert watch.progress.notes == [
        "warning: a was lost with unit 000000000000 (arm 0, fold 0): killed by SIGKILL; it is tried again"
    ]
    watch.heard(UNITS[0], "b", Message(1))
    assert watch.stage.notes[-1].startswith("units: 0 of 3 done, 1 under way, 1 lost and tried again; b:")


def test_what_comes_twice_or_late_changes_nothing(tmp_path):
    watch = watching(tmp_path)
    for worker in "ab":
        watch.finished(UNITS[0], worker, UnitResult())
    watch.heard(UNITS[0], "a", Message(1, "late"))
    assert watch.stage.done == 4
    assert watch.done == {UNITS[0].name}


def test_a_line_that_every_worker_says_is_shown_once(tmp_path):
    watch = watching(tmp_path)
    watch.heard(UNITS[0], "a", Message(2))
    for worker in "abc":
        watch.heard(UNITS[0], worker, Message(line="a step is not recorded"))
    assert watch.progress.notes == ["a: a step is not recorded"]
    assert watch.stage.done == 2


def test_the_best_model_is_shown(tmp_path):
    watch, best = watching(tmp_path), Best("arm 0", "auroc", 0.8, higher_is_better=True)
    watch.heard(UNITS[0], "a", Message(1, "epoch 2", best))
    assert watch.stage.best == best


def test_what_is_given_up_is_kept_with_its_reason(tmp_path):
    watch = watching(tmp_path)
    watch.given_up(UNITS[2], "lost 3 times")
    assert watch.abandoned == {"key2": "lost 3 times"}
    assert watch.progress.notes == ["warning: unit 000000000002 (arm 2, fold 0) is given up: lost 3 times"]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["heard", "lost", "finished"]), st.integers(0, 2), st.floats(0, 6)), max_size=30
)


@given(EVENTS)
def test_at_the_end_all_steps_are_done_once(tmp_path_factory, events):
    watch = watching(tmp_path_factory.mktemp("store"))
    for what, number, done in events:
        unit = UNITS[number]
        if unit.name in watch.done and what == "lost":
            continue  # an executor does not lose what it has finished
        if what == "heard":
            watch.heard(unit, "w", Message(done))
        elif what == "lost":
            watch.lost(unit, "w", "gone")
        else:
            watch.finished(unit, "w", UnitResult())
    for unit in UNITS:
        watch.finished(unit, "w", UnitResult())
    assert abs(watch.stage.done - 12) < 1e-9
