"""The package can be imported where there is no POSIX: on Windows, and on whatever lacks one of these modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

IMPORT_ALL = """
import builtins, importlib, pkgutil, sys

POSIX = {"fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline", "posix"}
original = builtins.__import__

def without_posix(name, globals=None, locals=None, fromlist=(), level=0):
    if name in POSIX and (globals or {}).get("__name__", "").startswith("fusionbench"):
        raise ImportError(f"no module {name} here, asked for by {globals['__name__']}")
    return original(name, globals, locals, fromlist, level)

builtins.__import__ = without_posix
import fusionbench, fusionbench_plugins
names = [
    m.name for p in (fusionbench, fusionbench_plugins) for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")
    if not m.name.endswith("__main__") and ".templates" not in m.name
]
for name in names:
    importlib.import_module(name)
from fusionbench.training.devices.device import _resident_peak
print(len(names), _resident_peak() >= 0)
"""


def test_every_module_is_imported_without_what_only_posix_has():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, works = done.stdout.split()
    assert int(count) > 200
    assert works == "True"
