"""What a plugin requires of fusionbench is checked before it is imported; what is deprecated says until when."""

from __future__ import annotations

import hashlib
import json
import warnings

import pytest

from fusionbench import __version__
from fusionbench.compatibility import (
    DEPRECATIONS,
    Deprecation,
    FusionBenchDeprecationWarning,
    unmet,
    unmet_by_distribution,
    unmet_by_source,
)
from fusionbench.contract.registration import same_results
from fusionbench.errors import PluginError
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from fusionbench.store.results import Store
from tests.front import distribution, fusionbench, run_toy, strategy, toy_benchmark, write_yaml

TOO_NEW = "it requires fusionbench >=99, this is " + __version__


def test_a_version_in_the_range_is_fine_and_another_is_named():
    assert unmet(">=0.1,<0.3", "0.2.5") is None
    assert unmet(">=0.1,<0.3", "0.2.0rc1") is None
    assert unmet(">=0.1,<0.3", "0.3.0") == (
        "it requires fusionbench >=0.1,<0.3, this is 0.3.0; install another version of one of them"
    )
    assert "accepted: a version specifier such as '>=0.1,<0.3'" in str(unmet("at least 0.1"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("requires_fusionbench = '>=99'\n", TOO_NEW),
        ("requires_fusionbench: str = '>=99'\n", TOO_NEW),
        ("requires_fusionbench = '>=0'\n", None),
        ("x = 1\n", None),
        ("requires_fusionbench = VERSION\n", "requires_fusionbench must be a plain string"),
        ("requires_fusionbench = 1\n", "requires_fusionbench must be a plain string"),
        ("def broken(:\n", None),
    ],
)
def test_the_source_says_what_it_requires(tmp_path, source, problem):
    path = tmp_path / "guest.py"
    path.write_text(source, encoding="utf-8")
    found = unmet_by_source(str(path))
    assert found is None if problem is None else str(found).startswith(problem)


def test_a_file_for_another_version_is_refused_before_it_is_imported(tmp_path):
    path = tmp_path / "guest.py"
    path.write_text("requires_fusionbench = '>=99'\nfrom fusionbench import NotYetThere\n", encoding="utf-8")
    outcome = fusionbench("check", path)
    assert outcome.code == 2
    assert f"guest.py of file guest.py did not load: {TOO_NEW}" in outcome.err
    assert "NotYetThere" not in outcome.err


def test_an_installed_plugin_for_another_version_is_refused_when_it_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "guest_of_the_future.py").write_text("from fusionbench import NotYetThere\n", encoding="utf-8")
    distribution(tmp_path, "guest-fusion", {"strategies.guest": "guest_of_the_future"})
    metadata = tmp_path / "guest_fusion-1.0.dist-info" / "METADATA"
    metadata.write_text(
        metadata.read_text(encoding="utf-8") + "Requires-Dist: numpy\nRequires-Dist: FusionBench>=99\n",
        encoding="utf-8",
    )
    outcome = fusionbench("show", "guest")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: fusion strategy 'guest' of guest-fusion 1.0: {TOO_NEW}")
    assert (
        "guest-fusion: fusion strategy 'guest' of guest-fusion 1.0: it requires" in fusionbench("list", "--broken").out
    )


def test_a_dependency_of_an_extra_or_of_another_package_does_not_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "guest_with_extras.py").write_text(strategy("guest"), encoding="utf-8")
    distribution(tmp_path, "guest-fusion", {"strategies.guest": "guest_with_extras"})
    metadata = tmp_path / "guest_fusion-1.0.dist-info" / "METADATA"
    more = "Requires-Dist: fusionbench>=99; extra == 'future'\nRequires-Dist: fusionbench-other>=99\n"
    metadata.write_text(metadata.read_text(encoding="utf-8") + more, encoding="utf-8")
    assert Plugins().get("strategies", "guest").distribution == "guest-fusion"


def test_a_deprecation_warns_with_both_versions_where_it_is_used():
    gone = Deprecation("Batch.mask", since="0.2", removed="0.4", instead="Batch.usable_mask()")

    def mask():
        gone.warn()

    with pytest.warns(FusionBenchDeprecationWarning) as caught:
        mask()
    assert [str(w.message) for w in caught] == [
        "Batch.mask is deprecated since fusionbench 0.2 and will be removed in 0.4; write Batch.usable_mask()"
    ]
    assert caught[0].filename == __file__
    assert gone.lasts
    assert not gone.overdue
    assert Deprecation("x", "0.0.1", "0.1", "y").overdue
    assert not Deprecation("x", "0.2", "0.3", "y").lasts


def test_a_deprecation_is_seen_without_asking_for_it():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # as Python does for libraries
        Deprecation("a", "0.2", "0.4", "b").warn()
    assert len(caught) == 1


def test_nothing_that_is_deprecated_is_overdue_or_removed_too_soon():
    assert [str(d) for d in DEPRECATIONS if d.overdue or not d.lasts] == []


# --------------------------------------------------------------------------------------------
# what was a result made by


PACKAGE = {
    "__init__.py": "",
    "helpers.py": "def doubled(x):\n    return 2 * x\n",
    "base.py": "from fusionbench import FusionStrategy\n\n\nclass Base(FusionStrategy):\n    def forward(self, batch): ...\n",
    "other.py": "unrelated = 1\n",
    "fusion.py": (
        "from fusionbench import hookimpl\nfrom guest_package.base import Base\nfrom guest_package.helpers import doubled\n\n\n"
        "class Guest(Base):\n    twice = doubled(1)\n\n\n"
        "@hookimpl\ndef register_fusion_strategies(register):\n    register('guest', Guest)\n"
    ),
}


def digest_again():
    plugins = Plugins(["guest_package.fusion"])
    assert plugins.failures == []
    return plugins.get("strategies", "guest").source_digest


def test_the_source_digest_follows_bases_and_imports_of_the_same_package_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "guest_package").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "guest_package" / name).write_text(text, encoding="utf-8")
    first = digest_again()
    for name, follows in (("other", False), ("base", True), ("helpers", True), ("fusion", True)):
        path = tmp_path / "guest_package" / f"{name}.py"
        before = path.read_text(encoding="utf-8")
        path.write_text(f"{before}# changed\n", encoding="utf-8")
        assert (digest_again() != first) == follows, name
        path.write_text(before, encoding="utf-8")
    assert digest_again() == first


def test_a_stored_result_says_who_made_it(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text(strategy("my_votes"), encoding="utf-8")
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["my_votes"]))
    assert run_toy(config, tmp_path / "runs", "-p", path, "--quiet").code == 0
    store = Store(tmp_path / "runs" / "results")
    keys = [p.stem for p in (tmp_path / "runs" / "results" / "fits").iterdir()]
    results = [store.load(key) for key in keys]
    assert len(results) == 2
    for result in results:
        assert result is not None
        made_by = result.made_by
        source = hashlib.sha256(path.read_bytes()).hexdigest()
        assert made_by["strategy"] == {
            "name": "my_votes",
            "distribution": "file my_fusion.py",
            "version": "",
            "source": source,
        }
        assert (made_by["imputer"]["distribution"], made_by["imputer"]["version"]) == ("fusionbench", __version__)


def test_a_package_may_say_that_a_source_gives_the_results_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "tidied_package"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text.replace("guest_package", "tidied_package"), encoding="utf-8")

    def found():
        same_results.cache_clear()
        plugins = Plugins(["tidied_package.fusion"])
        registration = plugins.get("strategies", "guest")
        return registration.source_digest, registration.identity["source"]

    own, stored = found()
    assert own == stored
    said = folder / "same_results.json"
    said.write_text(
        json.dumps({own: {"as": "before", "why": "a comment"}, "other": {"as": "x", "why": ""}}), encoding="utf-8"
    )
    assert found() == (own, "before")
    said.write_text(json.dumps({own: "before"}), encoding="utf-8")
    with pytest.raises(PluginError, match=r"same_results\.json: .* expected"):
        found()
    same_results.cache_clear()


def test_what_the_built_ins_say_of_their_sources_speaks_of_sources_that_are_there():
    plugins = Plugins()
    own = {plugins.get(e.kind, e.name).source_digest for e in plugins.catalogue() if e.distribution == DISTRIBUTION}
    said = same_results("fusionbench_plugins")
    assert set(said) <= own
    assert set(said).isdisjoint(said.values())


def test_a_plugin_may_require_either_name_of_the_package(tmp_path, monkeypatch):
    for i, name in enumerate(("fusionbench", "fusionbench-core", "FusionBench_Core")):
        info = tmp_path / f"guest_{i}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: guest-{i}\nVersion: 1.0\nRequires-Dist: {name}>=99\n", encoding="utf-8"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [unmet_by_distribution(f"guest-{i}") for i in range(3)] == [unmet(">=99")] * 3
