"""``fusionbench doctor``: is this installation fit to run, and is this workspace sound? What to do where it is not.

It asks nobody: no network, and nothing is changed, set aside or removed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fusionbench
from fusionbench.compatibility import installed_version, required
from fusionbench.keys import DISTRIBUTION, first_name
from fusionbench.store.soundness import damaged
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from fusionbench.plugins.catalogue import Plugins

LEAST_DISK = 2e9
ROOT = Path(fusionbench.__file__).parents[1]
"""Of a checkout; an installed package has no ``constraints.txt`` and no benchmarks there."""
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: One word.
        words: What was found.
        wrong: Whether a run may fail because of it.
        remedy: What to do.
    """

    about: str
    words: str
    wrong: bool = False
    remedy: str = ""

    def __str__(self) -> str:
        sign = "WRONG" if self.wrong else "ok" if not self.remedy else "note"
        return f"{sign:<6}{self.about:<10}{self.words}" + (f"\n{'':<16}to do: {self.remedy}" if self.remedy else "")


def examine_installation(workspace: Path, plugins: Plugins, *, deep: bool = False) -> list[Finding]:
    """Look at everything.

    Args:
        workspace: Folder of runs; it need not exist.
        plugins: The catalogue; every plugin is loaded.
        deep: Also compare weights, features, prepared data and pages with their hashes.
    """
    parts = (
        _python(),
        _packages(),
        _devices(),
        _room(workspace),
        _weights(),
        _plugins(plugins),
        _stores(workspace, deep=deep),
    )
    return [finding for part in parts for finding in part]


# --------------------------------------------------------------------------------------------
# the installation


def _python() -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("package", f"{DISTRIBUTION} {fusionbench.__version__}")
    former = first_name(DISTRIBUTION)
    if _version(former) is not None:
        remedy = f"pip uninstall {former}, then install {DISTRIBUTION} again"
        yield Finding(
            "package", f"it is installed under its former name too: {former} {_version(former)}", remedy=remedy
        )


def _packages() -> Iterator[Finding]:
    """What the distribution requires, and where it differs from what was tested together."""
    needed = required()
    wrong = [f for r in needed if (f := _unfit(r)) is not None]
    yield from wrong
    if not wrong:
        yield Finding("packages", f"all {len(needed)} required ones are there, in versions that are accepted")
    tested = _constraints()
    if not tested:
        return
    differing = [f"{n} {v} (tested {tested[n]})" for n in tested if (v := _version(n)) not in (None, tested[n])]
    if differing:
        yield Finding(
            "packages",
            f"{len(differing)} differ from the versions tested together: {', '.join(differing)}",
            remedy="where something fails: pip install -c constraints.txt -e .",
        )


def _unfit(requirement: Any) -> Finding | None:
    found = _version(requirement.name)
    if found is None:
        words = f"{requirement.name} is not installed"
    elif not requirement.specifier.contains(found, prereleases=True):
        words = f"{requirement.name} {found} is installed, accepted: {requirement.specifier}"
    else:
        return None
    return Finding("packages", words, wrong=True, remedy=f"pip install '{requirement}'")


def _version(name: str) -> str | None:
    """An installed version, without the suffix of its build."""
    found = installed_version(name)
    return None if found is None else found.partition("+")[0]


def _constraints() -> dict[str, str]:
    path = ROOT / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return dict(line.split("==", 1) for line in lines if re.match(r"[\w.-]+==\S+$", line))


def _devices() -> Iterator[Finding]:
    import torch

    waiting = os.environ.get("OMP_WAIT_POLICY", "")
    yield Finding("cpu", f"{os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads")
    if waiting.upper() != "PASSIVE":
        yield Finding(
            "cpu",
            f"OMP_WAIT_POLICY is {waiting}: threads that wait by spinning slow down a shared machine",
            remedy="unset OMP_WAIT_POLICY",
        )
    yield Finding("cpu", _half_precision(torch.device("cpu")))
    if not torch.cuda.is_available():
        yield Finding("cuda", "none; models are trained on the CPU")
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        yield Finding("cuda", f"cuda:{i} {device.name}, {device.total_memory / 1e9:.0f} GB")
        yield Finding("cuda", _half_precision(torch.device("cuda", i)))


def _half_precision(device: torch.device) -> str:
    """What ``training.precision: bfloat16`` means on a device, beforehand."""
    from fusionbench.plan.arithmetic import outlook
    from fusionbench.training.devices.precision import abilities

    return outlook(abilities(device))


def _room(workspace: Path) -> Iterator[Finding]:
    with suppress(AttributeError, ValueError, OSError):  # not every system tells
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (os.sysconf(name) * page / 1e9 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
        yield Finding("memory", f"{total:.1f} GB, {free:.1f} GB not in use")
    place = next(p for p in (workspace.absolute(), *workspace.absolute().parents) if p.exists())
    left = shutil.disk_usage(place).free
    words = f"{left / 1e9:.1f} GB free for {workspace}"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        remedy = "choose another folder with --workspace"
        yield Finding("disk", f"{place} cannot be written", wrong=True, remedy=remedy)
    elif left < LEAST_DISK:
        remedy = "make room, or choose another folder with --workspace"
        yield Finding("disk", words, wrong=True, remedy=remedy)
    else:
        yield Finding("disk", words)


# --------------------------------------------------------------------------------------------
# weights


def _weights() -> Iterator[Finding]:
    """Whether pre-trained models that the benchmarks of this checkout name are in the hub's cache."""
    wanted = sorted(set(_models_of_benchmarks()))
    if not wanted:
        yield Finding("weights", "no benchmarks beside the package to look for")
        return
    cached = _cached_repositories()
    for model in wanted:
        found = [r for r in cached if re.search(rf"(^|/){re.escape(model)}(\.|$)", r)]
        if found:
            yield Finding("weights", f"{model}: in the local cache ({', '.join(found)})")
        else:
            remedy = "needed for real data only: run once with the network, or give the encoder 'path: FOLDER'"
            yield Finding("weights", f"{model}: not in the local cache", remedy=remedy)


def _models_of_benchmarks() -> Iterator[str]:
    import yaml

    for path in sorted((ROOT / "benchmarks").glob("*.yaml")):
        encoders = yaml.safe_load(path.read_text(encoding="utf-8")).get("encoders", {}).values()
        for chosen in (c for c in encoders if isinstance(c, dict)):
            if chosen.get("pretrained") and "path" not in chosen and "model" in chosen:
                yield str(chosen["model"])


def _cached_repositories() -> list[str]:
    """Names of models in the hub's cache that hold weights."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    endings = (".safetensors", ".bin", ".pth")
    return sorted(r.repo_id for r in repositories if any(_names(r, endings)))


def _names(repository: Any, endings: tuple[str, ...]) -> Iterator[str]:
    for revision in repository.revisions:
        yield from (f.file_name for f in revision.files if f.file_name.endswith(endings))


# --------------------------------------------------------------------------------------------
# plugins


def _plugins(plugins: Plugins) -> Iterator[Finding]:
    plugins.load_all()
    distributions = sorted({entry.distribution for entry in plugins.catalogue()})
    refused = plugins.taken_twice()
    for kind, name in refused:
        words = f"{kind}.{name} is refused: {plugins.problem_with(kind, name)}"
        yield Finding("plugins", words, wrong=True, remedy="leave one of them out with --no-plugin, or uninstall it")
    known = {f"{kind}.{name}" for kind, name in refused}
    for failure in plugins.failures:
        if failure.label not in known:
            words = f"{failure.label} of {failure.distribution} does not load: {failure.reason}"
            remedy = f"mend it, or leave it out: --no-plugin {failure.label}"
            yield Finding("plugins", words, wrong=True, remedy=remedy)
    loaded = len(plugins.catalogue()) - len(plugins.failures)
    yield Finding("plugins", f"{loaded} loaded, of {', '.join(distributions)}")


# --------------------------------------------------------------------------------------------
# workspace


def _stores(workspace: Path, *, deep: bool = False) -> Iterator[Finding]:
    folders = Workspace(workspace)
    results = folders.results
    if not results.root.is_dir():
        yield Finding("store", f"{workspace} holds no results yet")
        return
    fits, studies = sorted(results.fits.glob("*.safetensors")), sorted(results.studies.glob("*.json"))
    yield Finding("store", f"{len(fits)} trained models and {len(studies)} finished studies")
    wrong = [path for path, _ in damaged(folders, deep=deep)]
    yield from _counted(wrong, "damaged", "run the benchmark again: it sets them aside and computes them anew", True)
    if not deep:
        yield Finding(
            "store", "weights, features, prepared data and pages are compared with --deep, which reads them all"
        )
    aside = sorted(results.root.rglob("*.damaged"))
    yield from _counted(aside, "set aside as damaged", "nothing uses them; they can be deleted", wrong=False)
    yield from _failures(sorted(results.failures.glob("*.json")))
    yield from _database(folders.database)


def _counted(paths: Sequence[Path], what: str, remedy: str, wrong: bool) -> Iterator[Finding]:
    if paths:
        names = ", ".join(p.name for p in paths[:SHOWN]) + (" ..." if len(paths) > SHOWN else "")
        yield Finding("store", f"{len(paths)} {what}: {names}", wrong=wrong, remedy=remedy)


def _failures(paths: Sequence[Path]) -> Iterator[Finding]:
    found = [json.loads(p.read_text(encoding="utf-8")) for p in paths if _is_mapping(p)]
    reasons: dict[str, int] = {}
    for failure in found:
        reason = str(failure.get("reason", "")).partition("\n")[0]
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        remedy = "mend the cause and run the benchmark again; what failed is tried anew"
        yield Finding("store", f"{count} failed: {reason}", wrong=True, remedy=remedy)


def _is_mapping(path: Path) -> bool:
    """Whether a file holds a mapping in JSON, and something in it: all that a workspace keeps as JSON does."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(content)


def _is_half_made(connection: sqlite3.Connection) -> bool:
    """Whether MLflow began to make its tables and did not end: it then made no experiment, and cannot go on with it."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if names.isdisjoint({"alembic_version", "experiments"}):
        return False
    return "experiments" not in names or connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None


def _database(path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
            half_made = said == "ok" and _is_half_made(connection)
    except sqlite3.Error as problem:
        said, half_made = str(problem), False
    if half_made:
        remedy = "run the benchmark again: it sets the file aside and makes it anew"
        yield Finding("mlflow", f"{path.name} was not finished by a run that was killed", wrong=True, remedy=remedy)
    elif said == "ok":
        yield Finding("mlflow", f"{path.name} is sound")
    else:
        remedy = "move the file away and run the benchmark again: its runs are logged anew"
        yield Finding("mlflow", f"{path.name}: {said}", wrong=True, remedy=remedy)
