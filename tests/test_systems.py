from pathlib import Path

import pytest

import outthink
from outthink import reproduce, systems
from outthink.core import registry
from outthink.core.errors import BadInput
from outthink.reproduce.shelf import summaries

QUESTION = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"


def test_every_seed_has_one_row():
    assert [r["id"] for r in systems.load()] == [f"S{i:03d}" for i in range(1, 183)]
    assert sum(systems.counts().values()) == 182
    assert all(r["state"] in systems.STATES and r["name"] for r in systems.load())


RUNS = [r for r in systems.load() if r["runs"]]


@pytest.mark.parametrize(
    "row", [r for r in RUNS if r["runs"].startswith("outthink ")], ids=lambda r: r["id"]
)
def test_a_study_runs_as_a_reproduction(row):
    assert row["runs"] == f"outthink reproduce {row['id']}"
    assert row["id"] in reproduce.known()


def test_the_list_has_the_verdicts_of_the_folder():
    folder = Path(__file__).parents[1] / "reproductions"
    found = summaries(folder, reproduce.known())
    assert found
    assert {r["id"]: r["verdict"] for r in systems.load() if r["verdict"]} == found


@pytest.mark.parametrize(
    "row", [r for r in RUNS if not r["runs"].startswith("outthink ")], ids=lambda r: r["id"]
)
def test_what_is_said_to_run_runs(row):
    built = registry.build(row["runs"], "strategy")
    assert registry.build(registry.spec_of(built), "strategy") == built
    answer = outthink.solve(QUESTION, strategy=row["runs"], budget="tokens=2k, seconds=30")
    assert answer.answer == "4"


def test_nothing_works_without_a_command():
    assert all(r["runs"] for r in systems.load() if r["state"] != "not yet")
    with pytest.raises(BadInput, match="S999"):
        systems.find("S999")
