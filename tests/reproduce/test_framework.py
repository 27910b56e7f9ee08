"""The framework on a toy: verdicts by the rules, results on disk, what is missing, how it resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import outthink.reproduce as package
from outthink import systems
from outthink.cli.base import Root
from outthink.cli.reproduce import reproduce as command
from outthink.core.errors import BadInput, WorldError
from outthink.lab.stats import Estimate
from outthink.reproduce import shelf
from outthink.reproduce.base import (
    Claim,
    Cost,
    Findings,
    Line,
    Outcome,
    Panel,
    Reproduction,
    reproduce,
)
from outthink.reproduce.estimates import difference
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above, below
from outthink.tasks import problems as problems_of


def claim(rule):
    return Claim("It gains", "3 points", "table 1", "simulation", "gain", rule)


CLAIMS = {"up": claim(above(0)), "down": claim(below(0)), "open": claim(above(0.3))}
FOUND = {
    "up": Estimate(0.3, 0.2, 0.4),
    "down": Estimate(0.3, 0.2, 0.4),
    "open": Estimate(0.3, 0.2, 0.4),
}


def toy(found=FOUND, claims=CLAIMS, **kwargs):
    panel = Panel("gain", "k", "accuracy", (Line("a", [1, 2], [0.1, 0.2], [0, 0.1], [0.2, 0.3]),))
    tables = {"rows": [{"k": np.int64(1), "gain": float("nan")}]}

    def measure(trial):
        return Findings(found, tables, (panel,), (f"quick: {trial.quick}",))

    return Reproduction("S053", claims, measure, Cost(seconds=1), Cost(seconds=1), **kwargs)


def test_each_claim_is_judged_by_its_own_rule():
    outcome = reproduce(toy())
    assert [c.verdict for c in outcome.claims] == ["holds", "does not hold", "cannot tell"]
    assert [c.rule for c in outcome.claims] == [c.rule.text for c in CLAIMS.values()]
    assert outcome.verdict == "holds in part"
    assert outcome.name == "large language monkeys"


def test_every_claim_has_to_be_measured_and_nothing_else():
    for found in ({"up": FOUND["up"]}, {**FOUND, "more": FOUND["up"]}):
        with pytest.raises(BadInput, match="differ"):
            reproduce(toy(found))


def test_only_known_systems_and_some_claim():
    with pytest.raises(BadInput, match="no system 'S999'"):
        replace(toy(), ident="S999")
    with pytest.raises(BadInput, match="at least one claim"):
        toy(claims={})


# -- on disk -------------------------------------------------------------------------------------


def test_a_result_comes_back_as_it_was(tmp_path):
    never = {**FOUND, "open": Estimate(np.nan, np.nan, np.nan)}
    outcome = reproduce(toy(never))
    path = shelf.save(outcome, tmp_path)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = shelf.read(tmp_path, "S053")
    assert again.claims[:2] == outcome.claims[:2]
    assert np.isnan(again.claims[2].value)
    assert again.verdict == outcome.verdict
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_quick_result_never_takes_the_place_of_a_full_one(tmp_path, order):
    for quick in order:
        shelf.save(reproduce(toy(), quick=quick), tmp_path)
    assert shelf.read(tmp_path, "S053").quick is False
    assert "not for the record" not in shelf.table([shelf.read(tmp_path, "S053")])


def test_a_quick_result_is_marked(tmp_path):
    shelf.save(reproduce(toy(), quick=True), tmp_path)
    assert not (tmp_path / "S053.json").exists()
    found = shelf.read(tmp_path, "S053")
    assert found.quick
    assert "not for the record" in shelf.table([found])


def test_a_result_of_another_version_says_what_to_do(tmp_path):
    (tmp_path / "S053.json").write_text('{"format": 0}')
    with pytest.raises(WorldError, match="outthink reproduce S053"):
        shelf.read(tmp_path, "S053")


def test_the_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{shelf.BEGIN}\nold\n{shelf.END}\nafter\n")
    text = shelf.table([reproduce(toy())])
    for _ in range(2):
        shelf.write_table(page, text)
    assert page.read_text() == f"before\n{shelf.BEGIN}\n\n{text}\n{shelf.END}\nafter\n"
    for cell in ("It gains", "3 points", "95 % interval above 0", "0.300 (0.200 to 0.400)"):
        assert cell in text
    assert "**does not hold**" in text
    claims, table = [b.splitlines() for b in text.split("\n\n") if b.startswith("|")]
    for rows in (claims, table):
        assert len({row.count("|") for row in rows}) == 1
    assert table == ["| k | gain |", "|---|---|", "| 1 | nan |"]


def test_a_page_without_marks_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n")
    with pytest.raises(BadInput, match="no place for the table"):
        shelf.write_table(page, "new")
    assert page.read_text() == "text\n"


# -- what is missing -----------------------------------------------------------------------------


def test_a_missing_set_is_no_verdict(tmp_path):
    needs = toy(sets=("tot_game24", "chinchilla"))
    (tmp_path / "chinchilla").mkdir()
    with pytest.raises(WorldError, match=r"cannot run: needs the recorded set tot_game24; --data"):
        reproduce(needs, data=tmp_path)
    with pytest.raises(WorldError, match="sets tot_game24, chinchilla"):
        reproduce(needs)


def test_every_reproduction_is_of_a_known_system_and_has_what_it_needs_to_say():
    for ident in package.known():
        found = package.find(ident)
        assert found.ident == ident == systems.find(ident)["id"]
        for claim in found.claims.values():
            told = (claim.text, claim.published, claim.source, claim.statistic)
            assert all(told)
            assert claim.setting.startswith(("recorded: ", "simulation: ", "live: "))


def test_an_unknown_id_gives_the_nearest_and_all():
    with pytest.raises(BadInput, match=r"did you mean 'S055'.*S017, .*S053"):
        package.find("S0535")
    with pytest.raises(BadInput, match=r"S001 \(lacot\) has no reproduction; there are: S004"):
        package.find("S1")
    assert package.find("S53").ident == "S053"
    assert package.find("large language monkeys").ident == package.find(" s053 ").ident == "S053"


# -- live ----------------------------------------------------------------------------------------


def live(spent):
    def measure(trial):
        problems = problems_of("chain", "easy", "dev", 2, trial.seed)
        (vote,) = trial.run("vote", ["self_consistency(n=2)"], problems)
        spent.append([a.usage for a in vote.answers])
        return Findings({"up": difference(vote.right, one_sample(pools(vote, problems)))})

    claims = {"up": claim(above(0))}
    return Reproduction("S053", claims, measure, Cost(4, 200, 1), Cost(4, 200, 1))


def test_a_live_run_resumes_from_its_store(tmp_path):
    spent = []
    first, again = (reproduce(live(spent), out=tmp_path) for _ in range(2))
    assert [u.stored_calls for u in spent[0]] == [0, 0]
    assert [u.stored_calls for u in spent[1]] == [u.calls for u in spent[1]]
    assert first.claims == again.claims
    assert (first.calls, first.tokens) == (again.calls, again.tokens)
    assert first.tokens == sum(u.completion_tokens for u in spent[0]) > 0
    assert first.versions["fly"].startswith("fly@")


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def call(tmp_path, monkeypatch):
    """``outthink reproduce`` in an empty folder, where only the toy can run."""
    monkeypatch.chdir(tmp_path)
    needy = replace(toy(sets=("chinchilla",)), ident="S148")
    toys = {"S053": toy(), "S148": needy}
    monkeypatch.setattr(package, "known", lambda: dict.fromkeys(toys, ""))
    find = package.find
    monkeypatch.setattr(package, "find", lambda ident: toys.get(ident) or find(ident))
    root = Root("outthink")
    root.add("Lab", command)

    return lambda *args: CliRunner().invoke(root, ["reproduce", *args])


def test_the_command_says_the_cost_first_and_keeps_the_result(call, tmp_path):
    done = call("S053", "--quick", "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(
        "S053 large language monkeys: 0 calls, 0 tokens, about 1 s (quick)"
    )
    (found,) = json.loads(done.stdout)["reproductions"]
    assert found["verdict"] == "holds in part"
    assert Outcome.from_json(found).quick
    assert (tmp_path / "reproductions" / "S053.quick.json").exists()


def test_all_runs_what_can_run_and_names_the_rest(call):
    done = call("--all", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [r["ident"] for r in found["reproductions"]] == ["S053"]
    assert found["missing"] == {"S148": "needs the recorded set chinchilla; --data FOLDER"}
    assert "S148 cannot run" in done.stderr


def test_one_asked_for_by_name_has_to_run(call):
    done = call("S148")
    assert done.exit_code == 1
    assert "S148 cannot run: needs the recorded set chinchilla; --data FOLDER" in done.stderr


@pytest.mark.parametrize("args", [("S0535",), ("S001",), ("--all", "S053"), ("run",), ("tabel",)])
def test_wrong_input_ends_with_2(call, args):
    done = call(*args)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")


def test_list_and_table_show_the_results(call, tmp_path):
    # nothing was run here: what the package's own record says
    assert "by the record" in call("list").stdout
    call("run", "S053")
    shown = call("list").stdout
    assert "S053" in shown
    assert "holds in part" in shown
    assert call("table").exit_code == 2
    page = tmp_path / "page.md"
    page.write_text(f"{shelf.BEGIN}\n{shelf.END}\n")
    assert call("table", "--page", str(page)).exit_code == 0
    assert "### S053 large language monkeys: holds in part" in page.read_text()
