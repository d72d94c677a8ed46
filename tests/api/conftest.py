"""One run for all tests of what the Python API returns."""

from __future__ import annotations

import pytest

import fusionbench
from tests.api.toys import BENCHMARK, Plain, made


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("api") / "runs"
    return fusionbench.run(BENCHMARK, [Plain], dataset=made(), workspace=workspace, quiet=True), workspace
