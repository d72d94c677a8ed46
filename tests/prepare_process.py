"""Prepares a MIMIC tree in processes that are killed, or may not write: ``python -m tests.prepare_process JSON``.

One process imports everything once and forks for each order, so that a test need not wait for imports. It prints one
JSON line for each order: how the process ended, what it said, and what lies in the cache.

An order: ``cache`` (folder), and one of ``kill_at_event`` (the n-th time that Python opens, makes, renames or removes
something), ``kill_after`` (seconds), ``file_limit`` (bytes; as a full disk), ``mode`` (of the cache folder; root's right
to write anywhere is given up), or none of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - imported before the forks
import pandas as pd  # noqa: F401

from fusionbench.errors import FusionBenchError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm

_WRITE_ANYWHERE, _READ_ANYWHERE = 1, 2
_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


def main() -> None:
    """Carry out the orders, one after the other."""
    task, orders = json.loads(sys.argv[1])
    for order in orders:
        begin, cache = time.monotonic(), Path(order["cache"])
        if "mode" in order:
            cache.mkdir(exist_ok=True)
            cache.chmod(order["mode"])
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            said = _prepare(task, order)
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.close(writer)
        if "kill_after" in order:
            time.sleep(order["kill_after"])
            os.kill(child, signal.SIGKILL)
        said = os.read(reader, 1 << 16).decode()
        _, status = os.waitpid(child, 0)
        os.close(reader)
        if "mode" in order:
            cache.chmod(0o700)
        left = sorted(path.name for path in cache.iterdir()) if cache.is_dir() else []
        killed = os.WIFSIGNALED(status)
        ended = {"killed": killed, "seconds": time.monotonic() - begin, "left": left}
        print(json.dumps({**ended, **(json.loads(said) if said else {})}), flush=True)


def _prepare(task: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    if "kill_at_event" in order:
        _kill_at(order["kill_at_event"], order["cache"])
    if "file_limit" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"], order["file_limit"]))
    if "mode" in order and os.geteuid() == 0:
        _give_up_rights_of_root()
    try:
        dataset = MimicIhm(**task).prepare(Path(order["cache"]), SilentProgress())
    except FusionBenchError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"digest": dataset.digest}


def _kill_at(moment: int, cache: str) -> None:
    left = [moment]

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and arguments and str(arguments[0]).startswith(cache):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _give_up_rights_of_root() -> None:
    """Obey the modes of files as any other user does (Linux: capabilities of this process)."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    data = (ctypes.c_uint32 * 6)()
    if library.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for capability in (_WRITE_ANYWHERE, _READ_ANYWHERE):
        data[0] &= ~(1 << capability) & 0xFFFFFFFF
    if library.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    main()
