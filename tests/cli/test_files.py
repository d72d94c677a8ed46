"""Completion, and the commands about files, as a shell asks for them."""

from __future__ import annotations

import subprocess
import sys

from fusionbench.cli.options import benchmark_names, kind_names, plugin_names
from tests.front import fusionbench


def test_names_are_completed():
    assert benchmark_names("mimic_i") == ["mimic_ihm"]
    assert "concat" in plugin_names("con")
    assert kind_names("enc") == ["encoders"]


def test_a_shell_gets_its_completion():
    code = "from fusionbench.__main__ import main; main()"
    asked = {"_FUSIONBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fusionbench run mimic_i", "COMP_CWORD": "2"}
    import os

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['fusionbench']; {code}"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["mimic_ihm"], done.stderr
    assert "--install-completion" in fusionbench("--help").out


def test_open_says_where_there_is_no_page(tmp_path):
    outcome = fusionbench("open", "--workspace", tmp_path)
    assert outcome.code == 2
    assert "no page yet" in outcome.err
