"""What tensors leave in the C library's heap: kept while a population is trained, handed back afterwards."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fusionbench.training.devices import device
from fusionbench.training.devices.device import freed_memory_kept

CPU = torch.device("cpu")
MEGABYTE = 2**20
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="needs the GNU C library: no other has these settings"
)


class Recorder:
    """Stands for the C library and notes its calls."""

    def __init__(self):
        self.calls = []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))
        return 1

    def malloc_trim(self, pad):
        self.calls.append(("trim", pad))
        return 1


@pytest.fixture
def unset(monkeypatch):
    """Nothing in the environment sets the allocator."""
    for name in [n for n in os.environ if n == "GLIBC_TUNABLES" or n.startswith("MALLOC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def library(monkeypatch, unset):
    recorder = Recorder()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: recorder)
    return recorder


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def fill_and_free(megabytes: int) -> None:
    """Fill tensors of 4 MB and free them, as a step of training does."""
    tensors = [torch.ones(MEGABYTE) for _ in range(megabytes // 4)]
    del tensors
    gc.collect()


@needs_glibc
def test_what_tensors_leave_stays_with_the_process_in_the_block_and_no_longer(unset):
    before = resident()
    with freed_memory_kept(CPU):
        fill_and_free(400)
        kept = resident()
    assert kept - before > 300
    assert resident() - before < 100


COUNT_FAULTS = """
import resource, torch
from fusionbench.training.devices.device import freed_memory_kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    tensors = [torch.ones(2**20) for _ in range(50)]

def faults_of_steps():
    step()
    start = faults()
    for _ in range(3):
        step()
    return faults() - start

print(faults_of_steps())
with freed_memory_kept(torch.device("cpu")):
    print(faults_of_steps())
"""


@needs_glibc
def test_the_next_step_finds_its_pages_in_place(unset):
    # in a process of its own: where the heap ends in this one depends on the tests before
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < 0.1 * usual


def test_settings_end_with_the_block_also_when_it_fails(library):
    with pytest.raises(KeyError), freed_memory_kept(CPU):
        raise KeyError
    assert [c[0] for c in library.calls] == [device._TRIM_THRESHOLD, device._MMAP_THRESHOLD] * 2 + ["trim"]
    assert library.calls[0][1] == -1


def test_a_gpu_changes_nothing(library):
    with freed_memory_kept(torch.device("cuda")):
        pass
    assert library.calls == []


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_an_allocator_that_the_environment_sets_is_left_alone(library, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with freed_memory_kept(CPU):
        pass
    assert library.calls == []


def test_without_the_gnu_c_library_nothing_is_called(library, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with freed_memory_kept(CPU):
        pass
    assert library.calls == []
