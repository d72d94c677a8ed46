"""How many models are stacked, and that it changes nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fusionbench.progress import SilentStage
from fusionbench.run import capacity, execution
from fusionbench.run.capacity import COPIES, ON_CPU, ON_CUDA, counted_bytes, fitting, measured_bytes, population_size
from fusionbench.run.execution import Job, groups, train_jobs
from fusionbench.training.devices.device import Memory, free_memory
from fusionbench.training.population import Population
from tests.builders import make_member, make_model, make_rows, outcome, settings

CUDA = torch.device("cuda")
MEGABYTE = 2**20


def jobs(count, strategy="concat"):
    table = make_rows()

    def one(i):
        member = make_member(lambda: make_model(strategy, seed=i), table, seed=i, learning_rate=0.01 * (i + 1))
        return Job(member, "same", f"job {i}", i)

    return [one(i) for i in range(count)]


def fits_of(found):
    return {j.owner: t.fits[k] for t in found for k, j in enumerate(t.jobs)}


def on_cuda(count):
    """Members that say they lie on a GPU."""
    return [SimpleNamespace(table=SimpleNamespace(device=CUDA))] * count


# --------------------------------------------------------------------------------------------
# the number


@pytest.mark.parametrize(
    ("free", "needed", "most", "wanted"),
    [
        (1000, 10, 256, 80),  # a fifth is left free
        (1000, 10, 16, 16),
        (1000, 900, 16, 1),
        (0, 10, 16, 1),
        (1000, 0, 16, 16),
    ],
)
def test_as_many_fit_as_memory_holds(free, needed, most, wanted):
    assert fitting(free, needed, most) == wanted


@pytest.mark.parametrize(("free", "wanted"), [(100 * MEGABYTE, 40), (1 * MEGABYTE, 1), (10**12, ON_CUDA)])
def test_on_cuda_the_number_comes_from_what_two_models_took(free, wanted, monkeypatch):
    monkeypatch.setattr(capacity, "free_memory", lambda device: free)
    monkeypatch.setattr(capacity, "measured_bytes", lambda *given: 2 * MEGABYTE)
    assert population_size(on_cuda(5), settings(), "auroc") == wanted


@pytest.mark.parametrize(("models_that_fit", "wanted"), [(3, 3), (0, 1), (1000, ON_CPU)])
def test_on_a_cpu_the_state_of_the_models_has_to_fit(models_that_fit, wanted, monkeypatch):
    members = [j.member for j in jobs(2)]
    free = int((models_that_fit + 0.5) * counted_bytes(members[0]) / capacity.SHARE)
    monkeypatch.setattr(capacity, "free_memory", lambda device: free)
    assert population_size(members, settings(), "auroc") == wanted


def test_where_nobody_knows_the_free_memory_the_usual_number_is_taken(monkeypatch):
    monkeypatch.setattr(capacity, "free_memory", lambda device: None)
    assert population_size([j.member for j in jobs(2)], settings(), "auroc") == ON_CPU


def test_a_single_member_is_not_measured(monkeypatch):
    monkeypatch.setattr(capacity, "free_memory", lambda device: 1)
    monkeypatch.setattr(capacity, "measured_bytes", None)  # would raise when called
    assert population_size(on_cuda(1), settings(), "auroc") == ON_CUDA


def test_the_state_of_a_model_is_counted_with_everything_that_training_keeps():
    member = jobs(1)[0].member
    population, _ = capacity.train([member], settings(epochs=1), "auroc")
    assert counted_bytes(member) == COPIES * 4 * sum(p.numel() for p in population.parameters.values())


def test_two_members_are_measured_over_a_few_steps(monkeypatch):
    taken = []

    @contextmanager
    def peak(device):
        memory = Memory()
        yield memory
        memory.megabytes = 30.0

    def train(members, section, metric):
        taken.append(([len(m.train) for m in members], section.epochs, section.traces))

    monkeypatch.setattr(capacity, "peak_memory", peak)
    monkeypatch.setattr(capacity, "train", train)
    monkeypatch.setattr(capacity, "EVALUATION_ROWS", 40)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10 * MEGABYTE)
    members = [j.member for j in jobs(3)]
    assert measured_bytes(members, settings(traces=True), "auroc") == 10 * MEGABYTE
    assert taken == [([40, 40], 1, False)]


def test_a_measurement_trains_real_members_and_leaves_them_as_they_were():
    members = [j.member for j in jobs(2)]
    rows = [m.train.clone() for m in members]
    assert measured_bytes(members, settings(), "auroc") > 0
    assert all(torch.equal(m.train, r) for m, r in zip(members, rows, strict=True))


def test_free_memory_of_this_machine_is_known_or_said_to_be_unknown():
    free = free_memory(torch.device("cpu"))
    assert free is None or free > MEGABYTE


def test_free_memory_of_a_gpu_includes_what_torch_holds_in_reserve(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 50)
    assert free_memory(CUDA) == 120


# --------------------------------------------------------------------------------------------
# populations of that number


def sizes(given, **changes):
    return [len(g) for g in groups(given, settings(**changes), "auroc")]


def test_populations_are_as_large_as_memory_holds_unless_the_benchmark_says_how_large(monkeypatch):
    monkeypatch.setattr(execution, "population_size", lambda members, section, metric: 2)
    assert sizes(jobs(5)) == [2, 2, 1]
    assert sizes(jobs(5), population=4) == [4, 1]


def test_each_kind_of_model_is_measured_when_its_turn_comes(monkeypatch):
    seen = []
    monkeypatch.setattr(execution, "population_size", lambda members, *_: seen.append(len(members)) or 2)
    given = [*jobs(3), *[replace(j, signature="other") for j in jobs(2)]]
    populations = groups(given, settings(), "auroc")
    next(populations)
    assert seen == [3]
    assert len(list(populations)) == 2
    assert seen == [3, 2]


def test_what_cannot_even_be_measured_is_trained_one_by_one(monkeypatch):
    def raising(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(execution, "population_size", raising)
    assert sizes(jobs(3)) == [1, 1, 1]


@pytest.mark.parametrize("strategy", ["concat", "pmr"])
def test_the_size_of_a_population_changes_no_score(strategy):
    found = {
        n: fits_of(train_jobs(jobs(5, strategy), settings(population=n), "auroc", SilentStage())) for n in (1, 2, 5)
    }
    for n in (1, 2):
        for i, fit in found[n].items():
            assert fit.history == pytest.approx(found[5][i].history, abs=1e-6)
            assert fit.score == pytest.approx(found[5][i].score, abs=1e-6)


def test_memory_that_runs_out_in_the_middle_of_training_halves_the_population_and_changes_nothing(monkeypatch):
    asked = settings(record=False)  # every step calls the models
    wanted = fits_of(train_jobs(jobs(5), asked, "auroc", SilentStage()))
    real, tried, steps = Population.learn, [], 0

    def learn(self, view, target):
        nonlocal steps
        steps += 1
        if self.size > 2 and steps % 5 == 0:  # in the second epoch: weights and moments have moved already
            tried.append(self.size)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(self, view, target)

    monkeypatch.setattr(Population, "learn", learn)
    found = fits_of(train_jobs(jobs(5), asked, "auroc", SilentStage()))
    assert tried == [5, 3]
    assert {i: outcome(f) for i, f in found.items()} == {i: outcome(f) for i, f in wanted.items()}
