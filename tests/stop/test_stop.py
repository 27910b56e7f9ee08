import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc

from outthink.core.errors import BadInput
from outthink.core.registry import build, entries, spec_of
from outthink.select.vote import majority
from outthink.stop.base import Running, ending, fewest
from outthink.stop.beta import Beta, leads, votes_needed
from outthink.stop.certain import Certain
from outthink.stop.dirichlet import Dirichlet
from outthink.stop.dirichlet import leads as dirichlet_leads
from outthink.stop.share import Share
from outthink.stop.window import Window

CLASSES = st.lists(st.integers(-1, 4), min_size=1, max_size=30).map(np.array)
RULES = [Beta(), Beta(0.8), Window(3), Certain(), Share(0.6, 3), Dirichlet(), Dirichlet(0.7)]


def ends(rule, classes, budget=None):
    """The number of samples after which a vote ends, or None."""
    stops = rule.stops(Running.of(classes, budget))
    return int(np.argmax(stops)) + 1 if stops.any() else None


@given(CLASSES)
def test_the_running_votes_are_those_of_every_prefix(classes):
    seen = Running.of(classes, budget=40)
    for n in range(1, len(classes) + 1):
        votes = np.bincount(classes[:n][classes[:n] >= 0], minlength=2)
        first, second = np.sort(votes)[::-1][:2]
        end = next((i for i in range(n) if classes[n - 1 - i] != classes[n - 1]), n)
        got = [int(a[n - 1]) for a in (seen.drawn, seen.first, seen.second, seen.same, seen.left)]
        assert got == [n, first, second, end, 40 - n]


@given(st.integers(0, 1000), st.sampled_from(RULES))
def test_many_votes_at_once_are_each_vote_alone_and_one_sample_of_each(seed, rule):
    rng = np.random.default_rng(seed)
    classes = rng.integers(-1, 3, (5, 12))
    whole = rule.stops(Running.of(classes))
    alone = np.stack([rule.stops(Running.of(row)) for row in classes])
    np.testing.assert_array_equal(whole, alone)
    for n in range(1, 13):
        seen = Running.of(classes[0, :n], 12)
        last = Running(
            *(getattr(seen, f)[-1] for f in ("drawn", "first", "second", "same", "left", "votes"))
        )
        assert rule.stops(last) == whole[0, n - 1]
        assert rule.stops(last).shape == ()


@given(CLASSES, st.sampled_from(RULES))
def test_the_names_of_classes_do_not_matter(classes, rule):
    renamed = np.where(classes >= 0, 7 - classes, -1)
    assert ends(rule, renamed) == ends(rule, classes)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_probability_of_the_lead_is_the_incomplete_beta_function(first, second):
    assert leads(first, second) == pytest.approx(betainc(second + 1, first + 1, 0.5), rel=1e-9)
    assert leads(first, second) + leads(second, first) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95, 0.999])
def test_the_table_holds_the_least_lead_that_is_sure_enough(threshold):
    needed = votes_needed(threshold, 64)
    for second, first in enumerate(needed.tolist()):
        assert leads(first, second) > threshold >= leads(first - 1, second)
    assert votes_needed(threshold, 8).tolist() == needed[:8].tolist()


def test_at_95_percent_four_equal_answers_are_enough_and_one_dissent_asks_for_six():
    assert ends(Beta(0.95), np.zeros(10, dtype=int)) == 4
    assert ends(Beta(0.95), np.array([0, 1, 0, 0, 0, 0, 0])) == 7
    assert ends(Beta(0.95), np.array([-1, -1, -1, -1, -1])) is None


@given(CLASSES, st.floats(0.5, 0.98), st.floats(0.5, 0.98))
def test_a_surer_rule_never_stops_earlier(classes, a, b):
    loose, strict = sorted([a, b])
    for rule in (Beta, Share):
        early, late = ends(rule(loose), classes), ends(rule(strict), classes)
        assert late is None or early <= late


@given(CLASSES)
def test_a_certain_vote_is_that_of_the_whole_budget_and_no_sooner(classes):
    stop = ends(Certain(), classes)
    if (classes >= 0).any() and stop is not None:
        assert classes[majority(classes[:stop])] == classes[majority(classes)]
    seen = Running.of(classes)
    # one sample earlier, those that were left could still have drawn level
    before = (len(classes) if stop is None else stop) - 1
    if before:
        lead = seen.first[before - 1] - seen.second[before - 1]
        assert lead <= seen.left[before - 1]


def test_windows_do_not_overlap_and_a_window_without_answers_agrees():
    assert ends(Window(3), np.array([0, 1, 1, 1, 0, 1, 1, 1, 1])) == 9
    assert ends(Window(3), np.array([-1, -1, -1])) == 3
    assert ends(Window(3), np.array([1, 1, -1])) is None


def test_a_share_is_looked_at_after_the_least_number_of_samples():
    assert ends(Share(0.75, 4), np.array([0, 0, 0, 1, 0])) == 4
    assert ends(Share(0.8, 4), np.array([0, 0, 0, 1, 0])) == 5


def test_the_rules_are_registered_and_written_as_specs():
    assert set(entries("stop")) >= {"beta", "window", "certain", "share"}
    for rule in RULES:
        assert build(spec_of(rule), "stop") == rule
    assert build("beta(0.9)", "stop") == Beta(0.9)


@pytest.mark.parametrize(
    ("spec", "word"),
    [("beta(1.0)", "threshold"), ("window(1)", "size"), ("share(0)", "threshold"),
     ("share(0.5, 0)", "least")],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(spec, word):
    with pytest.raises(BadInput, match=word):
        build(spec, "stop")


def test_a_vote_needs_samples_and_a_budget_that_holds_them():
    with pytest.raises(BadInput, match="samples"):
        Running.of(np.array([], dtype=int))
    with pytest.raises(BadInput, match="budget of 2"):
        Running.of(np.array([0, 1, 1]), 2)
    with pytest.raises(BadInput, match="votes"):
        leads(-1, 0)


@given(CLASSES, st.sampled_from(RULES), st.integers(0, 8))
def test_no_future_ends_a_vote_sooner_than_the_fewest(classes, rule, seed):
    drawn, budget = classes[:10], 24
    least = fewest(rule, drawn, budget)
    assert 1 <= least <= budget - len(drawn)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        kinds = rng.integers(1, 4)
        future = rng.integers(0, kinds, budget - len(drawn))
        before = ending(rule, drawn, budget)
        if before is None:
            end = ending(rule, np.concatenate([drawn, future]), budget)
            assert end is None or end - len(drawn) >= least


def test_the_fewest_are_those_of_the_papers():
    assert fewest(Beta(0.95), [], 40) == 4, "1 - 2^-5 > .95"
    assert fewest(Window(5), [], 40) == 5
    assert fewest(Window(5), [0, 0, 1], 40) == 7
    assert fewest(Certain(), [], 64) == 33
    assert fewest(Certain(), [0] * 32, 64) == 1
    assert fewest(Beta(0.95), [0, 1], 3) == 1


@given(CLASSES, st.sampled_from(RULES))
def test_a_vote_ends_at_the_first_sample_at_which_the_rule_says_so(classes, rule):
    assert ending(rule, classes, 40) == ends(rule, classes, 40)
    assert ending(rule, [], 40) is None


@given(st.integers(0, 300), st.integers(0, 300))
def test_with_two_answers_dirichlet_is_beta(a, b):
    first, second = max(a, b), min(a, b)
    assert dirichlet_leads([first, second]) == pytest.approx(leads(first, second), abs=1e-9)


@pytest.mark.parametrize(
    "votes", [(3, 2, 1), (4, 0, 0), (7, 5, 5, 2), (2, 2, 2, 2, 2), (40, 30, 25)]
)
def test_dirichlet_is_the_share_of_draws_in_which_the_first_leads(votes):
    seen = np.array([v for i, v in enumerate(votes) if v or i < 2])
    p = np.random.default_rng(0).dirichlet(seen + 1, 200_000)
    assert dirichlet_leads(votes) == pytest.approx((p.argmax(axis=1) == 0).mean(), abs=0.005)


def test_a_third_answer_with_votes_makes_the_leader_less_sure():
    assert dirichlet_leads([6, 3, 3]) < dirichlet_leads([6, 3, 0]) == dirichlet_leads([6, 3])
    np.testing.assert_allclose(dirichlet_leads([[5, 1], [3, 3]]), [leads(5, 1), 0.5])
    for bad in ([3], 3, [2, -1]):
        with pytest.raises(BadInput, match="counts"):
            dirichlet_leads(bad)
