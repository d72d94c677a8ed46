"""``fusionbench show``: every kind in words, and guests that tell little about themselves."""

from __future__ import annotations

from functools import cache

import pytest

from fusionbench.commands.describe import describe, options_of
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import GIVEN
from fusionbench.errors import ConfigError
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from fusionbench.testing.cost import build_part
from fusionbench.training.model import count_parameters
from tests.builders import FITTED
from tests.front import fusionbench

LEARNERS = ("strategies", "imputers", "regularisers")
PLUGINS = Plugins()
BUILT_IN = [(e.kind, e.name) for e in PLUGINS.catalogue() if e.distribution == DISTRIBUTION]
TRAINED = [pytest.param(k, n, id=n) for k, n in BUILT_IN if k in LEARNERS]


@cache
def shown(name: str) -> str:
    """The description of a built-in plugin; the training that counts its cost is made once."""
    return describe(PLUGINS, name)


def sections(text: str) -> dict[str, list[str]]:
    """Lines by heading; what comes before the first is under an empty one."""
    found: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" ") and line[:-1] in HEADINGS:
            found[line[:-1]] = []
        else:
            found[list(found)[-1]].append(line)
    return found


HEADINGS = ("Formulas", "Provenance", "Options", "Variants", "Search space", "Needs", "Cost")


def row(lines: list[str], start: str) -> list[str]:
    (line,) = [s for s in lines if s.strip().startswith(start)]
    return line.strip().removeprefix(start).split()


# --------------------------------------------------------------------------------------------
# what is built in


@pytest.mark.parametrize(("kind", "name"), TRAINED)
def test_every_trained_part_is_described_whole(kind, name):
    text = shown(f"{kind}.{name}")
    found = sections(text)
    assert "cannot be shown" not in text
    assert {"Provenance", "Options", "Search space", "Needs", "Cost"} <= set(found)
    assert max(map(len, text.splitlines())) <= 125
    trained = count_parameters(build_part(PLUGINS.get(kind, name).target))
    if name in FITTED:
        assert "fitted at once" in " ".join(found["Cost"])
    else:
        assert row(found["Cost"], "trained parameters") == [f"{trained:,}", "193"]


@pytest.mark.parametrize(("kind", "name"), TRAINED)
def test_provenance_is_complete(kind, name):
    given = PLUGINS.get(kind, name).target.provenance
    assert given.paper
    assert given.equations
    assert given.differs
    nobody_s = given.paper.startswith(("common practice", "Baseline; one encoder"))
    assert nobody_s or (given.link.startswith("https://") and given.code)


@pytest.mark.parametrize(("kind", "name"), [pytest.param(k, n, id=f"{k}-{n}") for k, n in BUILT_IN])
def test_every_option_has_a_meaning(kind, name):
    options = options_of(PLUGINS.get(kind, name).target, GIVEN[kind])
    assert [o.name for o in options if not o.meaning and not any(o.values.values())] == []


@pytest.mark.parametrize(("kind", "name"), TRAINED)
def test_an_option_that_lists_values_says_what_each_is_or_is_a_hiding_policy(kind, name):
    listed = [o for o in options_of(PLUGINS.get(kind, name).target, GIVEN[kind]) if o.values and o.name != "corruption"]
    assert [(o.name, v) for o in listed for v, meaning in o.values.items() if not meaning] == []


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in LEARNERS])
def test_kinds_without_trained_parts_show_what_they_need(kind):
    name = next(n for k, n in BUILT_IN if k == kind)
    found = sections(shown(f"{kind}.{name}"))
    assert found[""][0].endswith(")")
    assert found["Needs"][0].strip()
    assert "Cost" not in found


def test_show_prints_paper_equations_variants_needs_and_cost():
    found = sections(fusionbench("show", "pmr").out)
    assert "CVPR" in " ".join(row(found["Provenance"], "paper"))
    assert any("beta_m  = clip" in line for line in found["Formulas"])
    assert row(found["Variants"], "variant")[:2] == ["paper", "default"]
    assert row(found["Search space"], "alpha") == ["0.1", "to", "4,", "on", "a", "log", "scale"]
    assert row(found["Needs"], "sums over the training rows after each epoch") == ["yes"]
    assert row(found["Cost"], "passes over the training rows after an epoch") == ["1", "0"]


def test_stages_are_told_with_their_share_replicas_and_held_out_rows():
    text = " ".join(shown("strategies.g_blend").split())
    assert "estimate (40% of the epochs, 4 replicas, 10% of the training rows held out); train (100% of the" in text
    text = " ".join(shown("strategies.medfuse").split())
    assert (
        "encoders (50% of the epochs, hands on encoder., project., best epoch of each modality); fusion (100%" in text
    )


def test_needs_are_read_off_the_built_part():
    found = sections(shown("strategies.ogm_ge"))["Needs"]
    assert row(found, "changes gradients or updates")[:6] == ["yes:", "the", "update", "under", "adamw,", "which"]
    assert row(found, "depth of its head") == ["that", "of", "the", "benchmark", "(model.head)"]
    assert row(sections(shown("strategies.lmf"))["Needs"], "depth of its head")[:2] == ["its", "own:"]
    assert row(found, "noise shaped like the gradients") == ["yes"]
    assert row(sections(shown("imputers.cra"))["Needs"], "hides modalities in training") == ["uniform_subset"]
    assert row(sections(shown("imputers.cra"))["Needs"], "embedding of a zero input") == ["yes"]
    assert row(sections(shown("strategies.attention"))["Needs"], "one common width") == ["yes"]
    assert row(sections(shown("strategies.concat"))["Needs"], "one common width") == ["no"]
    assert row(sections(shown("strategies.unimodal"))["Needs"], "reads") == ["1", "modality", "only"]


def test_an_unknown_name_is_refused_with_the_closest_one():
    with pytest.raises(ConfigError, match="did you mean 'concat'"):
        describe(PLUGINS, "concatt")


# --------------------------------------------------------------------------------------------
# guests


GUEST = '''
from __future__ import annotations
from typing import TYPE_CHECKING
import torch
from fusionbench import FusionStrategy, hookimpl
if TYPE_CHECKING:
    from nowhere import Weight

class Guest(FusionStrategy):
    """Votes twice.

    Args:
        strength (float): How loud,
            and how often.
    """

    def __init__(self, spec, strength: Weight = 0.5, plain_option=None, untold: float = 1.0):
        super().__init__(spec)
        self.head = torch.nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def forward(self, batch):
        self.head(torch.cat([batch.completed(n) for n in batch.names], dim=-1))
        return self.head(torch.cat([batch.completed(n) for n in batch.names], dim=-1))

class Bare(Guest):
    def __init__(self, spec, needed):
        super().__init__(spec)

    @classmethod
    def search_space(cls, trial):
        return trial.no_such_method()

@hookimpl
def register_fusion_strategies(register):
    register("guest", Guest)
    register("bare", Bare)
'''


@pytest.fixture
def guests(tmp_path):
    path = tmp_path / "guests.py"
    path.write_text(GUEST, encoding="utf-8")
    return Plugins([str(path)])


def test_a_guest_without_provenance_shows_options_needs_and_cost(guests):
    found = sections(describe(guests, "guest"))
    assert found[""][:3] == ["fusion strategy guest  (file guests.py)", "", "Votes twice."]
    assert "Provenance" not in found
    assert row(found["Options"], "strength") == ["0.5", *["How", "loud,", "and", "how", "often."]]
    assert row(found["Options"], "plain_option") == ["None"]
    assert row(found["Options"], "untold") == ["1.0", "float"]
    assert "none:" in found["Search space"][0]
    assert row(found["Cost"], "trained parameters") == ["193", "193"]


def test_a_guest_that_cannot_be_built_with_its_defaults_says_so_and_shows_the_rest(guests):
    found = sections(describe(guests, "bare"))
    assert "(its class has no docstring)" in found[""]
    assert row(found["Options"], "needed") == ["required"]
    assert "no_such_method" in found["Search space"][0]
    for heading in ("Needs", "Cost"):
        assert found[heading][0].strip().startswith("cannot be shown with default options: TypeError: ")
