"""What libraries read when they are imported, set before the first test module imports one; workers; the last lines."""

from __future__ import annotations

import gc
import os
import sqlite3
import warnings
from collections import Counter
from contextlib import closing

import pytest

from fusionbench.offline import disable_telemetry

LONG = 5  # seconds of processor time; CONTRIBUTING.md: such a test says why
PROCESSOR = "processor seconds"
WORKER_MEMORY = 2 << 30  # bytes: torch, MLflow and the data of a test

# the machine may be shared: threads that wait by spinning slow each other down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("FUSIONBENCH_WORKSPACE", None)
os.environ.pop("MIMIC_ROOT", None)
disable_telemetry()


# --------------------------------------------------------------------------------------------
# workers


def pytest_collection_finish(session):
    """What is imported by now stays: not to look through it for garbage again and again saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """As many as this process has cores and memory for; none beside this process where that is one."""
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    workers = int(asked) if asked else min(_cores(), _memory() // WORKER_MEMORY)
    return workers if workers > 1 else 0


def _cores():
    """Cores that this process may use: 'taskset' and containers give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# --------------------------------------------------------------------------------------------
# what is made once


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """MLflow makes the tables of its first database; others of this process begin as copies: its migrations take a second each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        from mlflow.store.db import utils
    template, make = tmp_path_factory.mktemp("mlflow-tables") / "mlflow.db", utils._initialize_tables

    def copy(engine):
        if engine.url.get_backend_name() != "sqlite" or not engine.url.database:
            return make(engine)
        if not template.exists():
            make(engine)
            return _copied(engine.url.database, template)
        return _copied(template, engine.url.database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", copy)
        yield


def _copied(source, target):
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


# --------------------------------------------------------------------------------------------
# the last lines: what took long, and what did not run for want of something

_spent = [0.0]


def pytest_runtest_logstart(nodeid, location):
    _spent[0] = sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write down the processor time of each phase, with that of processes that ended: other work does not lengthen it."""
    report = yield
    before, _spent[0] = _spent[0], sum(os.times()[:4])
    report.user_properties.append((PROCESSOR, round(_spent[0] - before, 2)))
    return report


def pytest_terminal_summary(terminalreporter):
    reports = [r for kind in terminalreporter.stats.values() for r in kind if isinstance(r, pytest.TestReport)]
    for title, lines in (
        (f"over {LONG} s of processor time", long_ones(reports)),
        ("not run here", not_run([r for r in reports if r.skipped and not hasattr(r, "wasxfail")])),
    ):
        if lines:
            terminalreporter.section(title)
            terminalreporter.write("\n".join([*lines, ""]))


def long_ones(reports):
    """Tests, and fixtures by the first test that asks for them, the longest first."""
    spent = [(dict(r.user_properties).get(PROCESSOR, 0.0), r.nodeid, r.when) for r in reports]
    found = sorted((s for s in spent if s[0] > LONG), reverse=True)
    return [f"{seconds:6.1f} s  {nodeid}{'' if when == 'call' else f' ({when})'}" for seconds, nodeid, when in found]


def not_run(skipped):
    """What each missing thing costs; what a plugin has no use for is one line."""
    reasons = Counter(r.longrepr[2].removeprefix("Skipped: ") for r in skipped)
    missing = {reason: n for reason, n in reasons.items() if reason.startswith("needs ")}
    lines = [
        f"{n:6} {'test needs' if n == 1 else 'tests need'} {reason.removeprefix('needs ')}"
        for reason, n in sorted(missing.items())
    ]
    rest = reasons.total() - sum(missing.values())
    return [*lines, *([f"{rest:6} checks do not apply to the plugin (pytest -rs says why)"] if rest else [])]
