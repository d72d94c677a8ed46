"""The folders are storeys: imports run one way, no circles, what guests import stays where it is, every module has its tests.

Every import counts: those inside functions and those for type checkers too.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"fusionbench": ROOT / "fusionbench", "fusionbench_plugins": ROOT / "plugins" / "fusionbench_plugins"}
MOST_MODULES, MOST_LINES, MOST_STOREYS = 16, 450, 11

# from the ground up: each folder (with a slash) or module at the top, and what it may import of those before it
MAY_IMPORT = {
    "errors": "",
    "keys": "",
    "noise": "",
    "progress": "",
    "seeding": "",
    "statistics/": "",
    "targets": "",
    # what everything is made of
    "config/": "errors",
    "contract/": "errors keys progress targets",
    "metrics/": "errors targets",
    "offline": "errors",
    "store/": "errors keys",
    # what guests import
    "fusionbench": "contract/ targets",
    "heads": "contract/ targets",
    "missingness/": "contract/ errors metrics/ seeding",
    "results": "store/",
    "types": "contract/",
    # what is to be done
    "compatibility": "fusionbench keys",
    "plan/": "config/ contract/ errors keys missingness/",
    # what it is done with, and what is told of it
    "data/": "config/ contract/ errors fusionbench keys missingness/ plan/ progress store/ targets",
    "splits": "data/",
    "records": "config/ contract/ missingness/ plan/ progress store/",
    # training, and what is made of its results
    "analysis/": "config/ contract/ data/ errors keys metrics/ missingness/ plan/ progress records seeding statistics/ store/ targets",
    "hookspecs": "contract/ records",
    "tracking/": "analysis/ contract/ data/ errors fusionbench keys missingness/ plan/ records targets",
    "training/": "config/ contract/ data/ errors heads keys metrics/ missingness/ noise plan/ seeding targets",
    # runs and reports
    "plugins/": "compatibility config/ contract/ errors fusionbench hookspecs keys missingness/ plan/",
    "report/": "analysis/ compatibility config/ contract/ errors fusionbench keys metrics/ missingness/ plan/ records store/ training/",
    "run/": "analysis/ config/ contract/ data/ errors fusionbench hookspecs keys metrics/ missingness/ offline plan/ plugins/ progress records "
    "seeding store/ tracking/ training/",
    "testing/": "config/ contract/ data/ errors heads missingness/ noise progress seeding targets training/",
    # what people see
    "commands/": "analysis/ compatibility config/ contract/ data/ errors fusionbench heads keys metrics/ missingness/ offline plan/ plugins/ "
    "progress records report/ run/ seeding statistics/ store/ targets testing/ tracking/ training/",
    "screen/": "analysis/ config/ contract/ errors plan/ progress records report/",
    "api/": "analysis/ commands/ config/ contract/ data/ errors fusionbench keys metrics/ missingness/ plan/ plugins/ progress records report/ "
    "run/ screen/ store/ targets training/",
    "cli/": "commands/ config/ contract/ data/ errors fusionbench plan/ plugins/ screen/",
    "__main__": "cli/ commands/ fusionbench screen/",
}
# names that guests, templates and stored plugins import; a path may become a folder, its names stay
PROMISED = {
    "fusionbench": "run load fit dataset Results Model "
    "Batch CorruptionPolicy Dataset Encoder Executor Findings FunnelStep FusionOutput FusionSpec FusionStrategy Imputer InputKind "
    "InputSpec Missingness MissingnessContext Modality Predict Provenance Regulariser SplitLosses Stage TargetKind Task TrainingClock "
    "Trial hookimpl __version__",
    "fusionbench.errors": "ConfigError DataError FusionBenchError PluginError WeightsError WorkspaceError did_you_mean",
    "fusionbench.hookspecs": "PROJECT Register hookimpl hookspec fusionbench_run_started fusionbench_cell_finished "
    "fusionbench_report_sections fusionbench_run_finished register_tasks register_fusion_strategies",
    "fusionbench.records": "CellOutcome Maps RunPlan RunSummary Tables Worked",
    "fusionbench.noise": "Dropout NoiseSource",
    "fusionbench.heads": "logits_of_states mlp_head one_hot_states unimodal_aux unimodal_heads unimodal_logits unimodal_losses",
    "fusionbench.targets": "TargetKind masked_mean probabilities row_losses state_log_probabilities true_state",
    "fusionbench.progress": "Best Progress SilentProgress SilentStage Stage",
    "fusionbench.seeding": "numpy_generator seed_for torch_generator",
    "fusionbench.keys": "PROTOCOL_VERSION canonical digest",
    "fusionbench.offline": "disable_telemetry from_hub",
    "fusionbench.compatibility": "unmet_by_distribution unmet_by_source",
    "fusionbench.report": "Legend Listing Picture Section Table Text",
    "fusionbench.testing": "CHECKS Case CheckResult CheckSkippedError ContextCase InputCase default_cases default_contexts "
    "default_inputs make_case parametrize_with_checks run_checks",
    "fusionbench.config": "Benchmark",
    "fusionbench.plugins": "Plugins",
    "fusionbench.missingness": "GivenMasks Pattern thresholds_from",
    "fusionbench.cli": "app guarded main",
    "fusionbench.plan": "condition_label",
    "fusionbench.results": "Store",
    "fusionbench.splits": "make_folds",
    "fusionbench.types": "Batch Component CorruptionPolicy Dataset Encoder Findings FunnelStep FusionOutput FusionSpec FusionStrategy "
    "Imputer InputKind InputSpec Missingness MissingnessContext Modality Predict Provenance Regulariser SplitLosses Stage Task "
    "TrainingClock Trial",
}


class Arrow(NamedTuple):
    """An import of one module by another."""

    source: str
    target: str
    place: str


@cache
def modules() -> dict[str, Path]:
    """Return every module of both packages by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield what a module imports of these packages, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in modules() else str(node.module), node.lineno) for name in names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


@cache
def arrows() -> tuple[Arrow, ...]:
    """Return every import of a module of these packages by another one."""
    return tuple(
        Arrow(name, target, f"{path.relative_to(ROOT)}:{line}")
        for name, path in modules().items()
        for target, line in imported(ast.parse(path.read_text(encoding="utf-8")))
        if target in modules() and target != name
    )


def storey(module: str) -> str:
    """Return the folder of a module of the core, or the module at the top."""
    parts = module.split(".")
    if len(parts) == 1:
        return module
    return f"{parts[1]}/" if (PACKAGES["fusionbench"] / parts[1]).is_dir() else parts[1]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of names that reach each other."""

    def reached(start: str) -> set[str]:
        seen, waiting = set[str](), [start]
        while waiting:
            for target in edges.get(waiting.pop(), set()) - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    reach = {name: reached(name) for name in edges}
    groups = {tuple(sorted(n for n in reach[name] if name in reach.get(n, ()))) for name in edges}
    return [list(group) for group in sorted(groups) if group]


def core() -> list[str]:
    return [name for name in modules() if name.split(".")[0] == "fusionbench"]


def test_every_folder_has_its_place():
    assert {storey(name) for name in core()} == set(MAY_IMPORT)


def test_the_table_itself_runs_one_way():
    order = list(MAY_IMPORT)
    wrong = [(a, b) for a in order for b in MAY_IMPORT[a].split() if order.index(b) >= order.index(a)]
    assert wrong == []


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(name):
    allowed = {*MAY_IMPORT[name].split(), name}
    inside = [a for a in arrows() if a.source.split(".")[0] == "fusionbench" and storey(a.source) == name]
    wrong = [f"{a.place}: {name} imports {a.target}" for a in inside if storey(a.target) not in allowed]
    assert wrong == []
    used = {storey(a.target) for a in inside} - {name}
    assert sorted(set(MAY_IMPORT[name].split()) - used) == [], "allowed, and never used: take it out of the table"


def test_the_core_imports_no_plugin():
    assert [a.place for a in arrows() if a.source.split(".")[0] == "fusionbench" != a.target.split(".")[0]] == []


def test_no_module_imports_itself_round_a_corner():
    edges: dict[str, set[str]] = {}
    for arrow in arrows():
        edges.setdefault(arrow.source, set()).add(arrow.target)
    assert circles(edges) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_there_are_few_storeys():
    height: dict[str, int] = {}
    for name, below in MAY_IMPORT.items():
        height[name] = 1 + max((height[b] for b in below.split()), default=0)
    assert max(height.values()) <= MOST_STOREYS


def test_no_folder_of_the_core_is_crowded():
    counts: dict[Path, int] = {}
    for path in PACKAGES["fusionbench"].rglob("*.py"):
        counts[path.parent] = counts.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(folder): n for folder, n in counts.items() if n > MOST_MODULES} == {}


@pytest.mark.parametrize("name", modules())
def test_no_module_is_long(name):
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{modules()[name].relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize(("package", "tests"), [("fusionbench", "tests"), ("fusionbench_plugins", "tests/plugins")])
def test_every_module_has_a_test_file_of_its_name(package, tests):
    wrong = []
    for path in sorted(PACKAGES[package].rglob("*.py")):
        module = path.relative_to(PACKAGES[package])
        wanted = Path(tests) / module.with_name(f"test_{module.name.removeprefix('_')}")
        if module.name not in ("__init__.py", "__main__.py") and not (ROOT / wanted).is_file():
            wrong.append(f"{package}/{module}: {wanted} is missing")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("path", PROMISED)
def test_promised_paths_keep_their_names(path):
    module = importlib.import_module(path)
    assert [name for name in PROMISED[path].split() if not hasattr(module, name)] == []
