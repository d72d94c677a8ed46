"""The plugin manager: what is listed, what is loaded when, and what a broken guest can and cannot do."""

from __future__ import annotations

import sys
from importlib.metadata import distributions

import pytest

from fusionbench import hookimpl
from fusionbench.errors import ConfigError, PluginError
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from tests.front import TOY, distribution, python, strategy


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path for fake distributions; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def guest(site, name, source, label=None, package="guest-fusion", **more):
    """Install a fake distribution with one module; ``name`` is the module's."""
    (site / f"{name}.py").write_text(source, encoding="utf-8")
    distribution(site, package, {label or f"strategies.{name}": name, **more})


def plugin_file(folder, source, name="my_fusion.py"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(source, encoding="utf-8")
    return path


def reasons(plugins):
    return {f.label: f.reason for f in plugins.failures}


# ---------------------------------------------------------------- built-ins


def test_built_ins_come_through_the_door_of_guests_and_all_load():
    plugins = Plugins()
    plugins.load_all()
    assert plugins.failures == []
    assert plugins.taken_twice() == []
    assert {e.distribution for e in plugins.catalogue()} == {DISTRIBUTION}


def test_catalogue_imports_nothing_and_a_name_imports_only_its_module():
    code = """
import sys
from fusionbench.plugins import Plugins
plugins = Plugins()
plugins.catalogue()
def ours(): return sorted(m for m in sys.modules if m.startswith("fusionbench_plugins.") and m.count(".") == 2)
print(ours(), "torch" in sys.modules)
plugins.get("strategies", "sum")
print(ours())
"""
    done = python(code)
    assert done.stdout.splitlines() == ["[] False", "['fusionbench_plugins.strategies.sum']"], done.stderr


def test_catalogue_is_sorted_by_kind_and_name():
    names = [(e.kind, e.name) for e in Plugins().catalogue()]
    assert names == sorted(names, key=lambda n: (["tasks", "encoders", "imputers", "strategies", "regularisers", "missingness", "papers", "executors", "observers"].index(n[0]), n[1]))  # fmt: skip


# ---------------------------------------------------------------- guests


def test_a_guest_is_listed_with_distribution_and_version_and_loads_when_named(site):
    guest(site, "votes", strategy("votes"))
    plugins = Plugins()
    entry = next(e for e in plugins.catalogue("strategies") if e.name == "votes")
    assert (entry.distribution, entry.version, entry.source) == ("guest-fusion", "1.0", str(site / "votes.py"))
    assert "votes" not in sys.modules
    registration = plugins.get("strategies", "votes")
    assert registration.target.__name__ == "Votes"
    assert (registration.distribution, registration.version) == ("guest-fusion", "1.0")


def test_a_broken_guest_stops_nothing_until_it_is_named(site):
    guest(site, "broken", "import no_such_module\n")
    plugins = Plugins()
    assert plugins.problem_with("strategies", "broken") is None
    assert plugins.get("strategies", "concat").name == "concat"
    expected = (
        "fusion strategy 'broken' of guest-fusion is installed but did not load: ModuleNotFoundError: "
        "No module named 'no_such_module'. Install what is missing: pip install no_such_module"
    )
    for _ in range(2):  # the reason stays the same however often it is asked for
        with pytest.raises(PluginError) as caught:
            plugins.get("strategies", "broken")
        assert str(caught.value) == expected
    plugins.load_all()
    plugins.load_all()
    assert [(f.label, f.distribution, f.reason) for f in plugins.failures] == [
        ("strategies.broken", "guest-fusion", expected)
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        (strategy("broken").replace("def register_f", "def register_frob\nregister_f"), "SyntaxError"),
        (strategy("broken").replace("    register(", "    1 / 0\n    register("), "ZeroDivisionError: division by zero"),
        (strategy("other"), "module broken was loaded but registered no such name; implement 'register_fusion_strategies'"),
        ("x = 1", "it registers nothing"),
        (strategy("broken").replace("fusion_strategies", "fusion_strategy"), "did you mean 'register_fusion_strategies'?"),
        (strategy("broken").replace("(register)", "(register, device)"), "'device'"),
        (strategy("broken").replace('"broken", Broken', '"broken", Broken(None)'), "AttributeError"),
        (strategy("broken").replace('"broken", Broken', '"broken", print'), "'broken' must be a class derived from fusionbench.FusionStrategy, found <built-in function print>"),
        (strategy("broken").replace("fusion_strategies", "imputers"), "imputer 'broken' must be a class derived from fusionbench.Imputer"),
        (strategy("broken").replace('"broken", Broken', '"bro ken", Broken'), "'bro ken' cannot be the name of a fusion strategy"),
        (strategy("broken").replace('"broken", Broken', "7, Broken"), "7 cannot be the name of a fusion strategy"),
        (strategy("broken") + "    register('broken', Broken)\n", "fusion strategy 'broken' is registered twice by guest-fusion"),
        (strategy("broken") + "@hookimpl\ndef fusionbench_run_finished(summary): pass\n", "'fusionbench_run_finished' belongs in an observer"),
    ],
)  # fmt: skip
def test_whatever_a_guest_does_wrong_is_its_own_failure(site, source, reason):
    guest(site, "broken", source)
    plugins = Plugins()
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            plugins.get("strategies", "broken")
        assert reason in str(caught.value)
    assert plugins.get("strategies", "sum").name == "sum"


def test_a_refused_module_leaves_nothing_behind(site):
    guest(site, "half", strategy("half") + "    register('whole', 5)\n", **{"strategies.whole": "half"})
    plugins = Plugins()
    for name in ("half", "whole"):
        with pytest.raises(PluginError, match="'whole' must be a class"):
            plugins.get("strategies", name)


def test_unknown_hook_lists_the_hooks(site):
    guest(site, "typo", strategy("typo").replace("register_fusion_strategies", "register_fusion"))
    with pytest.raises(
        PluginError, match=r"unknown hook 'register_fusion'.*\n  hooks: register_tasks, register_encoders"
    ):
        Plugins().get("strategies", "typo")


def test_a_hook_with_too_many_arguments_is_not_blamed_on_its_name(site):
    guest(site, "eager", strategy("eager").replace("(register)", "(register, device)"))
    with pytest.raises(PluginError) as caught:
        Plugins().get("strategies", "eager")
    assert "did you mean" not in str(caught.value)


def test_a_plugin_may_take_fewer_arguments_than_a_hook_offers(site):
    source = strategy("silent").replace("(register)", "()").replace('register("silent", Silent)', "CALLED.append(1)")
    guest(site, "silent", "CALLED = []\n" + source)
    with pytest.raises(PluginError, match="it registers nothing"):
        Plugins().get("strategies", "silent")
    assert sys.modules["silent"].CALLED == [1]


def test_one_module_may_offer_several_kinds_and_names(site):
    source = strategy("both") + (
        "    register('both_again', Both)\n"
        "from fusionbench import Imputer\n"
        "class Nothing(Imputer): pass\n"
        "@hookimpl\ndef register_imputers(register):\n    register('nothing', Nothing)\n"
    )
    guest(site, "both", source, **{"strategies.both_again": "both", "imputers.nothing": "both"})
    plugins = Plugins()
    assert plugins.get("imputers", "nothing").target.__name__ == "Nothing"
    assert plugins.get("strategies", "both_again").target is plugins.get("strategies", "both").target


OBSERVER = """
from fusionbench import hookimpl


class Watcher:
    def __init__(self, config, workspace):
        pass

    @hookimpl
    def fusionbench_cell_finished(self, outcome):
        pass


@hookimpl
def register_observers(register):
    register("watcher", Watcher)
"""


def test_an_observer_is_a_class_with_hooks_and_needs_no_torch(site):
    guest(site, "watcher", OBSERVER, label="observers.watcher")
    code = "import sys; from fusionbench.plugins.catalogue import Plugins; Plugins().get('observers', 'watcher'); print('torch' in sys.modules)"
    done = python(code, PYTHONPATH=str(site))
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("cell_finished", "cell_done", "did you mean 'fusionbench_cell_finished'?"),
        ("(self, outcome)", "(self, result)", "'result'"),
        ("    @hookimpl\n", "", "observer 'watcher' follows nothing; write '@hookimpl' above methods called fusionbench_run_started"),
        ('"watcher", Watcher', '"watcher", Watcher(0, 0)', "observer 'watcher' must be a class"),
    ],
)  # fmt: skip
def test_an_observer_that_would_never_be_called_is_refused(site, old, new, reason):
    assert old in OBSERVER
    guest(site, "watcher", OBSERVER.replace(old, new), label="observers.watcher")
    with pytest.raises(PluginError) as caught:
        Plugins().get("observers", "watcher")
    assert reason in str(caught.value)


# ---------------------------------------------------------------- names taken twice


def test_a_name_taken_twice_is_refused_naming_both(site):
    guest(site, "my_concat", strategy("concat"), label="strategies.concat")
    plugins = Plugins()
    expected = (
        "fusion strategy 'concat' is offered by fusionbench-core and guest-fusion; "
        "rename one, or leave one out with --no-plugin DISTRIBUTION"
    )
    assert plugins.taken_twice() == [("strategies", "concat")]
    assert plugins.problem_with("strategies", "concat") == expected
    with pytest.raises(PluginError, match="offered by fusionbench-core and guest-fusion"):
        plugins.get("strategies", "concat")
    assert plugins.get("strategies", "sum").name == "sum"


@pytest.mark.parametrize("blocked", ["guest-fusion", "guest_fusion", "Guest-Fusion"])
def test_leaving_one_out_gives_the_name_to_the_other(site, blocked):
    guest(site, "my_concat", strategy("concat"), label="strategies.concat")
    assert Plugins(blocked=[blocked]).get("strategies", "concat").distribution == DISTRIBUTION


def test_a_clash_that_shows_on_loading_is_refused_from_then_on(site):
    guest(site, "sly", strategy("sly") + "    register('concat', Sly)\n")
    plugins = Plugins()
    with pytest.raises(PluginError, match="'concat' is offered by fusionbench-core and guest-fusion"):
        plugins.get("strategies", "sly")
    with pytest.raises(PluginError, match="'concat' is offered by fusionbench-core and guest-fusion"):
        plugins.get("strategies", "concat")


def test_a_file_never_stands_in_for_a_built_in_silently(tmp_path):
    plugins = Plugins([str(plugin_file(tmp_path / "a", strategy("concat")))])
    assert "'concat' is offered by file my_fusion.py and fusionbench" in str(
        plugins.problem_with("strategies", "concat")
    )
    assert list(reasons(plugins).values()) == [plugins.problem_with("strategies", "concat")]


def test_a_distribution_found_twice_on_the_path_is_one(site, tmp_path, monkeypatch):
    guest(site, "votes", strategy("votes"))
    second = tmp_path / "second"
    second.mkdir()
    monkeypatch.syspath_prepend(str(second))
    guest(second, "votes", strategy("votes"))
    assert len([d for d in distributions() if d.name == "guest-fusion"]) == 2
    assert Plugins().problem_with("strategies", "votes") is None


# ---------------------------------------------------------------- entry points


@pytest.mark.parametrize(
    ("label", "module", "reason"),
    [
        ("votes", "votes", "its entry point is called 'votes'; call it '<kind>.<name>', with a kind of tasks, encoders"),
        ("strategy.votes", "votes", "for example 'strategies.votes'"),
        ("strategies.", "votes", "its entry point is called 'strategies.'"),
        ("strategies.votes", "votes:Votes", "its entry point is 'votes:Votes'; give the module alone, for example 'votes'"),
        ("strategies.votes", "votes [extra]", "give the module alone"),
    ],
)  # fmt: skip
def test_a_malformed_entry_point_is_listed_with_what_to_write(site, label, module, reason):
    (site / "votes.py").write_text(strategy("votes"), encoding="utf-8")
    distribution(site, "guest-fusion", {label: module})
    plugins = Plugins()
    (failure,) = plugins.failures
    assert (failure.label, failure.distribution) == (label, "guest-fusion")
    assert reason in failure.reason
    assert f"{label} of guest-fusion did not load: " in str(plugins.problem_with("strategies", "votes"))


def test_a_distribution_without_metadata_is_listed_as_unknown(site):
    guest(site, "votes", strategy("votes"))
    (site / "guest_fusion-1.0.dist-info" / "METADATA").unlink()
    entry = next(e for e in Plugins().catalogue() if e.name == "votes")
    assert entry.distribution == "unknown"


# ---------------------------------------------------------------- -p


def test_a_file_is_a_plugin(tmp_path):
    plugins = Plugins([str(plugin_file(tmp_path / "a", strategy("votes")))])
    assert plugins.failures == []
    registration = plugins.get("strategies", "votes")
    assert (registration.distribution, registration.version) == ("file my_fusion.py", "")
    assert "votes" in plugins.names("strategies")


def test_a_module_is_a_plugin(site):
    (site / "loose.py").write_text(strategy("loose"), encoding="utf-8")
    assert Plugins(["loose", "loose"]).get("strategies", "loose").distribution == "module loose"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'. Install what is missing"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "it registers nothing; write a function such as 'register_fusion_strategies(register)' with '@hookimpl'"),
        (strategy("votes").replace("@hookimpl", ""), "it registers nothing"),
        (strategy("votes").replace("fusion_strategies", "strategies"), "did you mean 'register_fusion_strategies'?"),
    ],
)  # fmt: skip
def test_a_broken_file_is_listed_and_explains_a_name_that_is_missing(tmp_path, source, reason):
    path = plugin_file(tmp_path / "a", source)
    plugins = Plugins([str(path)])
    assert reason in reasons(plugins)[str(path)]
    assert f"{path} of file my_fusion.py did not load: " in str(plugins.problem_with("strategies", "votes"))
    assert plugins.problem_with("strategies", "concat") is None
    assert "fusionbench_user.my_fusion" not in sys.modules or source.startswith(("x", "\n"))


def test_a_file_or_module_that_is_not_there_is_listed(tmp_path):
    missing = str(tmp_path / "nowhere.py")
    found = reasons(Plugins([missing, "no.such.module", str(tmp_path)]))
    assert found[missing] == f"-p {missing}: no such file"
    assert (
        found["no.such.module"] == "ModuleNotFoundError: No module named 'no'. Install what is missing: pip install no"
    )
    assert "pip install" not in found[str(tmp_path)]


def test_the_same_file_twice_is_one_and_two_of_one_name_are_refused(tmp_path):
    first = plugin_file(tmp_path / "a", strategy("votes"))
    second = plugin_file(tmp_path / "b", strategy("more_votes"))
    plugins = Plugins([str(first), str(first), str(second)])
    assert plugins.get("strategies", "votes").name == "votes"
    assert reasons(plugins) == {str(second): "another file called my_fusion.py was given before; rename one of them"}


def test_two_managers_do_not_share_what_they_loaded(tmp_path):
    path = str(plugin_file(tmp_path / "a", strategy("votes")))
    assert Plugins([path]).get("strategies", "votes").target is not Plugins([path]).get("strategies", "votes").target
    assert "votes" not in Plugins().names("strategies")


def test_source_digest_follows_the_file_and_nothing_else(tmp_path):
    def identity(source):
        return Plugins([str(plugin_file(tmp_path / "a", source))]).get("strategies", "votes").identity

    first = identity(strategy("votes"))
    assert first == identity(strategy("votes"))
    changed = identity(strategy("votes") + "# changed\n")
    assert {k for k in first if first[k] != changed[k]} == {"source"}


# ---------------------------------------------------------------- --no-plugin


def test_one_name_can_be_left_out_and_does_not_come_back_through_its_neighbour():
    plugins = Plugins(blocked=["imputers.cra_cycle"])
    assert "cra_cycle" not in plugins.names("imputers")
    plugins.get("imputers", "cra")
    assert "cra_cycle" not in plugins.names("imputers")


def test_a_name_that_was_left_out_is_free_for_a_file(tmp_path):
    path = plugin_file(tmp_path / "a", strategy("concat"))
    plugins = Plugins([str(path)], ["strategies.concat"])
    assert plugins.failures == []
    assert plugins.get("strategies", "concat").distribution == "file my_fusion.py"


def test_leaving_out_what_is_not_there_is_refused_with_a_hint():
    with pytest.raises(ConfigError) as caught:
        Plugins(blocked=["strategies.conct", "zzz"])
    assert caught.value.problems == [
        "--no-plugin strategies.conct: no distribution and no 'kind.name' is called that; did you mean 'strategies.concat'?",
        "--no-plugin zzz: no distribution and no 'kind.name' is called that",
    ]


def test_without_the_house_nothing_is_left():
    plugins = Plugins(blocked=["fusionbench"])
    assert plugins.catalogue() == []
    assert "no task named 'mimic_ihm'" in str(plugins.problem_with("tasks", "mimic_ihm"))


def test_unknown_names_get_the_nearest_and_the_whole_list():
    problem = str(Plugins([TOY]).problem_with("strategies", "concta"))
    assert problem.startswith("no fusion strategy named 'concta'; did you mean 'concat'?\n")
    assert "'fusionbench list strategies' shows all of them: attention, concat, " in problem


def test_hookimpl_is_the_package_s_own():
    @hookimpl
    def register_tasks(register):
        """Mark it."""

    assert register_tasks.fusionbench_impl["hookwrapper"] is False


def test_installed_under_its_former_name_too_the_package_is_there_once(tmp_path, monkeypatch):
    mine = {e: e.module for e in Plugins().catalogue() if e.distribution == DISTRIBUTION}
    points = {f"{e.kind}.{e.name}": module for e, module in mine.items()}
    for first in ("front", "back"):
        site = distribution(tmp_path / first, "fusionbench", points, version="0.1.0")
        with monkeypatch.context() as patch:
            patch.setattr("sys.path", [str(site), *sys.path] if first == "front" else [*sys.path, str(site)])
            plugins = Plugins()
            assert plugins.taken_twice() == []
            assert {e.distribution for e in plugins.catalogue()} == {DISTRIBUTION}


@pytest.mark.parametrize("name", ["fusionbench", "fusionbench-core", "Fusionbench_Core"])
def test_the_built_ins_are_left_out_by_either_name(name):
    assert DISTRIBUTION not in {e.distribution for e in Plugins(blocked=[name]).catalogue()}
