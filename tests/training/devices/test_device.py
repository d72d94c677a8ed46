"""What tensors leave in the C library's heap: kept while a population is trained, handed back afterwards."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

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


RESIDENT = """
import gc, os, pathlib, torch
from fusionbench.training.devices.device import freed_memory_kept

def resident():
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

before = resident()
with freed_memory_kept(torch.device("cpu")):
    tensors = [torch.ones(2**20) for _ in range(100)]
    del tensors
    gc.collect()
    kept = resident()
print(kept - before, resident() - before)
"""


@needs_glibc
def test_what_tensors_leave_stays_with_the_process_in_the_block_and_no_longer(unset):
    # in a process of its own: what earlier tests freed could be taken, or given back, in the middle of it
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    within, after = map(float, done.stdout.split())
    assert within > 300
    assert after < 100


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
