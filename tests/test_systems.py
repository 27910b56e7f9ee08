import pytest

import outthink
from outthink import systems
from outthink.core import registry
from outthink.core.errors import BadInput

QUESTION = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"


def test_every_seed_has_one_row():
    assert [r["id"] for r in systems.load()] == [f"S{i:03d}" for i in range(1, 183)]
    assert sum(systems.counts().values()) == 182
    assert all(r["state"] in systems.STATES and r["name"] for r in systems.load())


@pytest.mark.parametrize("row", [r for r in systems.load() if r["runs"]], ids=lambda r: r["id"])
def test_what_is_said_to_run_runs(row):
    built = registry.build(row["runs"], "strategy")
    assert registry.build(registry.spec_of(built), "strategy") == built
    answer = outthink.solve(QUESTION, strategy=row["runs"], budget="tokens=2k, seconds=30")
    assert answer.answer == "4"


def test_nothing_works_without_a_command():
    assert all(r["runs"] for r in systems.load() if r["state"] != "not yet")
    with pytest.raises(BadInput, match="S999"):
        systems.find("S999")
