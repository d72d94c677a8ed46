"""Rate and time left: exact where the pace is steady, smooth where it is not, and nothing made up at the start."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from fusionbench.progress import Best
from fusionbench.screen.meter import Meter, MeteredStage, Standing


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_at_the_start_nothing_is_known_and_nothing_divides_by_zero(clock):
    meter = Meter(10, clock)
    assert (meter.elapsed, meter.rate, meter.left) == (0.0, None, None)
    meter.advance(1)  # before the clock has moved
    assert (meter.rate, meter.left) == (None, None)
    clock.now += 3
    assert (meter.elapsed, meter.left) == (3.0, None)


@pytest.mark.parametrize("total", [0, None])
def test_without_a_total_nothing_is_left_to_estimate(clock, total):
    meter = Meter(total, clock)
    clock.now += 2
    meter.advance(6)
    assert (meter.rate, meter.left) == (3.0, None)


@pytest.mark.parametrize("every", [0.1, 7.0, 900.0])
def test_a_steady_pace_gives_the_exact_rest(clock, every):
    meter = Meter(40, clock)
    for done in range(1, 41):
        clock.now += every
        meter.advance(1)
        assert meter.rate == pytest.approx(1 / every)
        assert meter.left == pytest.approx((40 - done) * every)
    assert meter.left == 0.0


def test_between_reports_the_rest_runs_down_with_the_clock(clock):
    meter = Meter(10, clock)
    clock.now += 8
    meter.advance(4)
    assert meter.left == pytest.approx(12)
    clock.now += 5
    assert meter.left == pytest.approx(7)


def test_what_is_late_is_expected_to_be_as_late_again(clock):
    meter = Meter(10, clock)
    clock.now += 9
    meter.advance(9)
    clock.now += 4  # the last one took 1 second so far
    assert meter.left == pytest.approx(3)


def test_steps_that_were_done_before_are_counted_and_are_not_in_the_rate(clock):
    meter = Meter(100, clock)
    meter.skip(60)
    assert (meter.done, meter.rate, meter.left) == (60, None, None)
    clock.now += 10
    meter.advance(10)
    assert (meter.done, meter.rate, meter.left) == (70, 1.0, pytest.approx(30))


def test_half_done_models_count_for_the_rest_and_not_as_done(clock):
    meter = Meter(32, clock)
    clock.now += 10
    meter.working(16, 0.25)
    assert (meter.done, meter.completed) == (0, 4)
    assert meter.left == pytest.approx(70)
    clock.now += 30
    meter.advance(16)
    assert (meter.done, meter.completed) == (16, 16)
    assert meter.left == pytest.approx(40)


def test_a_population_that_is_halved_takes_its_share_back(clock):
    meter = Meter(32, clock)
    clock.now += 10
    meter.working(16, 0.5)
    clock.now += 10
    meter.working(8, 0.25)
    assert meter.completed == 2
    assert meter.rate is not None
    assert meter.rate > 0
    clock.now += 10
    meter.working(8, 0.0)
    assert (meter.rate, meter.left) == (None, None)  # all that was done is undone


def test_that_models_stop_early_is_learned(clock):
    """Populations of 10 end after 10 of 50 planned epochs; one epoch takes a second."""
    meter = Meter(60, clock)
    told = []
    for _ in range(6):
        for epoch in range(1, 11):
            clock.now += 1
            meter.working(10, epoch / 50)
            told.append(meter.left)
        meter.advance(10)
    assert told[9] == pytest.approx(290)  # the first cannot know: 58 models at 0.2 a second
    seconds_after = [60 - elapsed for elapsed in range(1, 61)]
    assert told[30:] == pytest.approx(seconds_after[30:], abs=10)
    jumps = [abs(after - before + 1) for before, after in pairwise(told[30:])]
    assert max(jumps) < 1


def test_a_change_of_pace_comes_in_smoothly(clock):
    meter = Meter(1000, clock)
    for _ in range(300):
        clock.now += 1
        meter.advance(1)
    left = [meter.left]
    for _ in range(300):  # half as fast from here on
        clock.now += 2
        meter.advance(1)
        left.append(meter.left)
    jumps = [after - before for before, after in pairwise(left)]
    assert max(map(abs, jumps)) < 10
    assert left[-1] == pytest.approx(800, rel=0.05)


# ---------------------------------------------------------------- the best, and cells


def scored(value, measure="auroc", higher=True):
    return Best(f"arm {value}", measure, value, higher)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([0.7, 0.9, 0.8], 0.9),
        ([0.7, 0.7], 0.7),
    ],
)
def test_the_best_of_a_run_is_kept_over_its_stages(clock, found, best):
    standing = Standing()
    for number, value in enumerate(found):
        stage = MeteredStage("tuning", 9, "trials", standing, lambda _: None, clock)
        stage.working(3, 0.5, "", scored(value))
        if number == 0:
            assert stage.best == scored(value)
    assert stage.best == scored(best)


def test_the_best_loss_is_the_lowest():
    standing = Standing()
    for value in (0.5, 0.3, 0.4):
        standing.see(scored(value, "loss", higher=False))
    assert standing.best.value == 0.3


def test_scores_by_another_measure_are_not_compared():
    assert scored(0.1, "loss", higher=False).beats(scored(0.9))


def test_the_best_is_shown_only_where_models_are_trained(clock):
    standing = Standing(best=scored(0.9))
    stage = MeteredStage("intervals", 7, "metrics", standing, lambda _: None, clock)
    stage.advance(1, "auroc")
    assert stage.best is None


def test_cells_of_stored_models_are_counted_and_those_of_failed_ones_are_not():
    def outcome(failure):
        return SimpleNamespace(failure=failure, job=SimpleNamespace(points=range(17)))

    standing = Standing()
    standing.fusionbench_run_started(SimpleNamespace(cells=51))
    for failure in (None, "diverged", None):
        standing.fusionbench_cell_finished(outcome(failure))
    assert (standing.cells_stored, standing.cells) == (34, 51)
