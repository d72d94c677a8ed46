"""Where models are trained, and how much memory that takes."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes CUDA where there is one, else the CPU.

    Raises:
        ConfigError: The name is no device, or the device is not on this machine.
    """
    import torch

    accepted = "accepted: auto, cpu, cuda, cuda:<n>, mps"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"--device {name}: no such device; {accepted}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        first_sentence = str(problem).split("\n", 1)[0].split(". ", 1)[0]
        raise ConfigError(f"--device {name}: cannot be used on this machine: {first_sentence}; {accepted}") from None
    return device


def find_devices(names: str) -> list[torch.device]:
    """Return the devices of a list: ``cuda:0,cuda:1``, or ``cuda:all``; one name is a list of one.

    Raises:
        ConfigError: A name is no device, or a device is not on this machine.
    """
    import torch

    if names != "cuda:all":
        return [find_device(name.strip()) for name in names.split(",")]
    if not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda:all: this machine has no CUDA device; accepted: auto, cpu, or a list as cpu,cpu"
        )
    return [torch.device(f"cuda:{i}") for i in range(torch.cuda.device_count())]


@dataclass
class Memory:
    """Peak memory of a stretch of work, in megabytes; known when the stretch is over."""

    megabytes: float = 0.0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Memory]:
    """Measure the peak memory of the block: allocated on a CUDA device, else resident for the whole process.

    Linux starts a new peak with the block. Other systems give the peak of the process so far.
    """
    import torch

    memory = Memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield memory
        memory.megabytes = torch.cuda.max_memory_allocated(device) / 2**20
        return
    with suppress(OSError):  # not Linux, or not allowed: the peak is that of the process so far
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    yield memory
    memory.megabytes = _resident_peak()


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Let the C library keep, inside the block, what tensors leave, for the tensors that follow.

    It hands the end of its heap back to the system when the tensors of a step are freed, and large tensors at once. The
    next step then pays for their pages again: a fifth of its processor time where an LSTM is trained. When the block ends,
    everything is handed back. Nothing happens without the GNU C library, for another device, and where the environment
    sets the library's allocator (``GLIBC_TUNABLES``, ``MALLOC_*``).
    """
    allocator = _allocator() if device.type == "cpu" else None
    if allocator is None:
        yield
        return
    # as integers of C: -1 switches trimming off
    allocator.mallopt(_TRIM_THRESHOLD, -1)
    allocator.mallopt(_MMAP_THRESHOLD, 2**30)
    try:
        yield
    finally:
        # the highest that the library chooses by itself; once set, it chooses no more
        allocator.mallopt(_TRIM_THRESHOLD, 2**26)
        allocator.mallopt(_MMAP_THRESHOLD, 2**25)
        allocator.malloc_trim(0)


def give_back() -> None:
    """Hand free memory of the C library back to the system, where that is the GNU C library."""
    allocator = _allocator()
    if allocator is not None:
        allocator.malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def _allocator() -> ctypes.CDLL | None:
    """Return the GNU C library, unless somebody has set its allocator; None elsewhere."""
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return None
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on the device, without waiting until it is there."""
    # page-locked memory is not used again before the copy is done: torch sees to it
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that can still be allocated; None where the system does not say (not Linux, no CUDA)."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 2**10
    return None


def _resident_peak() -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows does not have it
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
