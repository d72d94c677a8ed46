"""Keep the results of built-in plugins whose files were changed and whose numbers were not.

The hash of a plugin's source is part of the key of its results, so that a changed method is trained again. Where a change
moves lines and no number, this writes ``plugins/fusionbench_plugins/same_results.json``: from the hash of each source as it
is now to the hash that its results are stored under at an earlier revision. First show that the numbers are the same: the
suite with its parity tests, and ``make demo`` in an empty workspace at both revisions, tables compared byte by byte.

    python tools/same_results.py REVISION "what was changed"
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "plugins" / "fusionbench_plugins" / "same_results.json"
SOURCES = """
import json, sys
try:
    from fusionbench.plugins.catalogue import Plugins
except ImportError:  # before the modules had folders
    from fusionbench.plugins import Plugins
plugins = Plugins()
kinds = ("encoders", "imputers", "strategies", "regularisers")  # whose sources are in keys of results
own = [e for e in plugins.catalogue() if e.distribution.startswith("fusionbench") and e.kind in kinds]
found = {f"{e.kind}.{e.name}": plugins.get(e.kind, e.name) for e in own}
json.dump({n: [r.source_digest, r.identity["source"]] for n, r in found.items()}, sys.stdout)
"""


def sources(tree: Path) -> dict[str, list[str]]:
    """Return for each built-in of a tree the hash of its source, and the hash that its results are stored under."""
    path = os.pathsep.join([str(tree), str(tree / "plugins")])
    command = [sys.executable, "-c", SOURCES]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tree, env={**os.environ, "PYTHONPATH": path})  # noqa: S603 - our own code
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def sources_at(revision: str) -> dict[str, list[str]]:
    """Return the same of an earlier revision."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True)  # noqa: S603, S607 - git, as everybody calls it
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)  # noqa: S603, S607 - the archive of a moment ago
        return sources(Path(folder))


def entries(now: dict[str, list[str]], before: dict[str, list[str]], why: str) -> dict[str, dict[str, Any]]:
    """Return what the file says: of each source that has another hash than its results are stored under."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    stored = {own: before[name][1] for name, (own, _) in now.items() if name in before and own != before[name][1]}
    return {
        own: {"as": kept, "why": known[own]["why"] if own in known else why} for own, kept in sorted(stored.items())
    }


def main() -> None:
    """Write the file, and say how many sources it speaks of."""
    revision, why = sys.argv[1:]
    written = entries(sources(ROOT), sources_at(revision), why)
    FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"{len(written)} sources give the results of earlier ones: {FILE.relative_to(ROOT)}")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
