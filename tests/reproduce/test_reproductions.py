"""Every reproduction runs in its quick form; what it computes agrees with plain counting."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from outthink import reproduce as package
from outthink.lab.stats import Estimate
from outthink.reproduce import shelf
from outthink.reproduce.base import reproduce
from outthink.reproduce.codet import dual_agreement
from outthink.reproduce.s017_verifier_free import within
from outthink.reproduce.s053_coverage import _crossing
from outthink.reproduce.s077_imperfect_verifiers import accepts, best_of, precision, simulated
from outthink.reproduce.s134_resolve_kaplan import slope

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

#: figures that were printed for the very data: quick or full, they have to come out
PRINTED = {
    "S053": ("io@100", "cot@100", "humaneval@10", "humaneval@100"),
    "S098": ("dual",),
    "S136": ("middle math", "middle gsm"),
    "S144": ("at once", "chain", "either"),
    "S134": ("Kaplan's setting", "short warm-up", "decay to the end", "tuned optimiser"),
    "S148": ("E", "alpha", "beta"),
}


@pytest.mark.parametrize("ident", sorted(package.known()))
def test_the_quick_form_runs_and_printed_figures_come_out(ident, tmp_path):
    found = package.find(ident)
    if lacks := found.lacks(DATA):
        pytest.skip(f"{ident} {lacks} beside this checkout")
    outcome = reproduce(found, quick=True, data=DATA, out=tmp_path)
    assert outcome.panels
    verdicts = {c.key: c.verdict for c in outcome.claims}
    for key in PRINTED.get(ident, ()):
        assert verdicts[key] == "holds", key
    assert shelf.read(shelf.save(outcome, tmp_path).parent, ident).verdict == outcome.verdict


RECORD = sorted(ROOT.joinpath("reproductions").glob("S[0-9][0-9][0-9].json"))


@pytest.mark.parametrize("path", RECORD, ids=[p.stem for p in RECORD])
def test_a_result_was_judged_by_the_rules_that_stand_in_the_code(path):
    outcome, claims = shelf.read(path.parent, path.stem), package.find(path.stem).claims
    assert not outcome.quick
    assert {c.key: c.rule for c in outcome.claims} == {k: c.rule.text for k, c in claims.items()}
    for c in outcome.claims:
        assert c.verdict == claims[c.key].rule.verdict(Estimate(c.value, c.low, c.high))


def test_the_page_shows_the_results_of_the_record():
    page = ROOT.joinpath("docs", "reproductions.md").read_text(encoding="utf-8")
    text = page.partition(shelf.BEGIN)[2].partition(shelf.END)[0].strip()
    assert text == shelf.table(shelf.read(p.parent, p.stem) for p in RECORD).strip()


# -- the parts -------------------------------------------------------------------------------------


def test_curves_cross_where_the_second_covers_more_from_then_on():
    # pass@k of a: 1/2 at every k; of b: 1/4, then 1/2, 3/4, 1
    a = np.array([[True] * 4, [False] * 4])
    b = np.array([[True, False, False, False]] * 2)
    assert _crossing(a, b) == pytest.approx(2.0)
    assert np.isnan(_crossing(b, a))


def test_a_verifier_asks_the_first_right_tests_and_needs_one():
    rng = np.random.default_rng(0)
    passed, valid = rng.random((5, 7, 4)) < 0.6, rng.random((5, 4)) < 0.5
    valid[2] = False
    for m in (1, 2, 4):
        for i in range(5):
            asked = np.flatnonzero(valid[i])[:m]
            for j in range(7):
                wanted = bool(len(asked)) and all(passed[i, j, t] for t in asked)
                assert accepts(passed, valid, m)[i, j] == wanted


def test_the_precision_is_that_of_the_first_accepted_in_any_order():
    ok = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    right = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=bool)
    for i, share in enumerate(precision(ok, right)):
        firsts = [next((right[i, j] for j in p if ok[i, j]), False) for p in permutations(range(4))]
        assert share == pytest.approx(np.mean(firsts))


def test_problems_alike_have_no_best_number_inside_and_mixed_ones_do():
    p, f = simulated(500, np.random.default_rng(0))
    inside = [best_of(p, f, cost) for cost in (0.5, 1.0, 2.0, 4.0)]
    assert inside == sorted(inside, reverse=True)
    assert 1 < inside[1] < 1000
    one, wrong = np.array([0.3]), np.array([0.05])
    # right .3 and wrongly accepted .035 in a sample: worth asking again below a cost of .3 / .035
    assert best_of(one, wrong, 8.0) > 40
    assert best_of(one, wrong, 9.0) == 1


def test_dual_agreement_is_samples_alike_times_tests_passed():
    passed = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    assert dual_agreement(passed).tolist() == [4, 4, 1, 0, 0]


def test_traces_are_compared_within_problems_that_have_both_kinds():
    values = np.array([[1.0, 3.0, 5.0], [7.0, 8.0, 9.0], [1.0, 1.0, 4.0]])
    right = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=bool)
    assert within(values, right).tolist() == [-3.0, 3.0]


def test_the_slope_of_a_power_law_is_its_exponent():
    budgets = np.geomspace(1e16, 1e19, 7)
    assert slope({c: float(np.log(3 * c**0.47)) for c in budgets}) == pytest.approx(0.47)
