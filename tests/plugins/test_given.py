"""Classes that are given as they are."""

from __future__ import annotations

import linecache
import subprocess
import sys

import pytest

from fusionbench.errors import PluginError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.given import DISTRIBUTION, kind_of, registration_of
from tests.api.toys import Plain

HEAD = """
import fusionbench
class Mine(fusionbench.FusionStrategy):
    def __init__(self, spec, k=1):
        super().__init__(spec)
        self.k = k
    def forward(self, batch):
        return helper(batch) * FACTOR
"""
HELPER = "def helper(batch):\n    return 1\n"


def session(*cells):
    """Run cells as a notebook does: each is a text that linecache knows, in one namespace called __main__."""
    space = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        name = f"<cell {number} {hash(cell)}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), space)
    return space


def digest(*cells, name="Mine"):
    return registration_of(session(*cells)[name]).source_digest


def test_a_class_of_a_cell_has_a_name_and_a_hash_of_its_source():
    found = registration_of(session(HELPER, "FACTOR = 2", HEAD)["Mine"])
    assert (found.kind, found.name, found.distribution) == ("strategies", "mine", DISTRIBUTION)
    assert len(found.source_digest) == 64
    assert found.identity["source"] == found.source_digest


def test_the_hash_follows_the_class_and_what_it_uses_and_nothing_else():
    first = digest(HELPER, "FACTOR = 2", HEAD)
    assert digest(HELPER, "FACTOR = 2", HEAD) == first
    assert digest(HELPER, "FACTOR = 2\nother = 5", f"# a comment\n{HEAD}") == first
    assert digest(HELPER.replace("return 1", "return 2"), "FACTOR = 2", HEAD) != first
    assert digest(HELPER, "FACTOR = 3", HEAD) != first
    assert digest(HELPER, "FACTOR = 2", HEAD.replace("k=1", "k=2")) != first
    base = "class Base(fusionbench.FusionStrategy):\n    def forward(self, batch):\n        return 1\n"
    child = "class Child(Base):\n    title = 'x'\n"
    with_base = digest("import fusionbench", base, child, name="Child")
    assert digest("import fusionbench", base.replace("return 1", "return 2"), child, name="Child") != with_base
    assert digest("import fusionbench", base, child.replace("'x'", "'y'"), name="Child") != with_base


def test_of_a_cell_that_was_run_again_the_class_at_hand_counts():
    old = session(HELPER, "FACTOR = 2", HEAD)["Mine"]
    new = session(HELPER, "FACTOR = 2", HEAD.replace("* FACTOR", "+ FACTOR"))["Mine"]
    assert registration_of(old).source_digest == digest(HELPER, "FACTOR = 2", HEAD)
    assert registration_of(new).source_digest != registration_of(old).source_digest


def test_a_value_without_a_source_is_refused_with_its_name():
    with pytest.raises(PluginError, match=r"uses 'FACTOR' of this session, a ndarray: its content has no source"):
        digest(HELPER, "import numpy\nFACTOR = numpy.ones(2)", HEAD)
    attribute = HEAD.replace("helper(batch) * FACTOR", "batch.FACTOR")
    assert digest("import numpy\nFACTOR = numpy.ones(2)", attribute), "an attribute of that name is another thing"


def test_what_has_no_source_is_refused_in_plain_words():
    space = {"__name__": "__main__"}
    exec(HEAD, space)
    with pytest.raises(PluginError, match=r"'Mine' has no source that can be read .*put it into a file"):
        registration_of(space["Mine"])


def test_a_class_of_a_module_keeps_the_hash_of_its_file():
    found = registration_of(Plain)
    assert (found.name, found.distribution) == ("plain", "module tests")
    assert len(found.source_digest) == 64


@pytest.mark.parametrize(("name", "called"), [("MyFusion", "my_fusion"), ("TLANet", "tla_net"), ("X2Gate", "x2_gate")])
def test_names_are_written_as_benchmark_files_have_them(name, called):
    space = session(
        f"import fusionbench\nclass {name}(fusionbench.FusionStrategy):\n    def forward(self, b):\n        return b\n"
    )
    assert registration_of(space[name]).name == called


def test_kinds_and_taken_names():
    assert kind_of(Plain) == "strategies"
    with pytest.raises(PluginError, match="class int is no plugin"):
        kind_of(int)
    space = session(
        "import fusionbench\nclass Concat(fusionbench.FusionStrategy):\n    def forward(self, b):\n        return b\n"
    )
    with pytest.raises(PluginError, match="fusion strategy 'concat' is offered by"):
        Plugins().add(registration_of(space["Concat"]))


def test_a_script_is_a_session_too(tmp_path):
    script = tmp_path / "s.py"
    tail = "from fusionbench.plugins.given import registration_of\nprint(registration_of(Mine).source_digest)\n"
    digests = []
    for more in ("", "\nunused = 1\n"):
        script.write_text(f"{HELPER}FACTOR = 2\n{HEAD}{more}{tail}", encoding="utf-8")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120)
        digests.append(done.stdout)
    assert digests[0] == digests[1] == digest(HELPER, "FACTOR = 2", HEAD) + "\n"
