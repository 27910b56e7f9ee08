from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab import resample
from outthink.lab.pools import Pools
from outthink.lab.resample import Best, Coverage, Vote, random_orders, replay, route, saving
from outthink.lab.stats import mean_interval
from outthink.select.best import best
from outthink.select.coverage import best_at_k, maj_at_k, pass_at_k
from outthink.select.vote import majority, tally
from outthink.stop.base import Running
from outthink.stop.beta import Beta
from outthink.stop.certain import Certain
from outthink.stop.dirichlet import Dirichlet
from outthink.stop.share import Share
from outthink.stop.window import Window

STOPS = [Beta(0.8), Window(2), Certain(), Share(0.7, 2), Dirichlet(0.7)]


def made(problems, n, seed=0, kinds=4, lowest=-1, levels=3, ragged=False):
    """Pools with ties: few classes, few levels of scores; one class of each problem is right."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(lowest, kinds, (problems, n))
    right = classes == rng.integers(0, kinds, (problems, 1))
    present = np.ones((problems, n), dtype=bool)
    if ragged:
        for p in range(problems):
            present[p, n - p % 3 :] = False
    scores = rng.integers(0, levels, (problems, n)) / levels
    tokens = rng.integers(5, 50, (problems, n)).astype(float)
    names = tuple(f"q{p}" for p in range(problems))
    return Pools(classes.astype(np.int32), right, tokens, present, names, {"score": scores})


def oracle(rule, classes, right, scores, tokens, budget):
    """One order, one budget, said plainly: chance of being right, samples, tokens."""
    n = budget
    if rule.stop is not None:
        stops = rule.stop.stops(Running.of(classes[:budget]))
        n = int(np.argmax(stops)) + 1 if stops.any() else budget
    c, r, s = classes[:n], right[:n], scores[:n]
    worth = {k: right[classes == k].any() for k in set(classes.tolist())}
    if isinstance(rule, Coverage):
        value = r.any()
    elif isinstance(rule, Best):
        known = np.where(c >= 0, np.where(np.isnan(s), -1.0, s), -2.0)
        value = r[known == known.max()].mean()
    elif rule.ties == "first":
        value = worth[c[majority(c)]]
    else:
        kinds, sums = tally(c, s if rule.weights else None)
        if rule.weights and not sums.max():
            sums = tally(c)[1]
        near = np.isclose(sums, sums.max(), rtol=1e-12, atol=0)
        value = np.mean([worth[k] for k in kinds[near]])
    return float(value), n, float(tokens[:n].sum())


RULES = [Vote(), Vote(ties="first"), Vote("score"), Best("score"), Coverage()]
RULES += [Vote(stop=s) for s in STOPS] + [Vote("score", stop=STOPS[0]), Best("score", STOPS[1])]
RULES += [Vote(stop=Certain(), ties="first"), Coverage(Certain())]


@pytest.mark.parametrize(("n", "count", "seed"), [(5, None, 0), (9, 12, 1), (9, 12, 2), (12, 9, 3)])
def test_every_rule_is_what_each_order_gives_by_itself(n, count, seed):
    budgets = [1, 2, 4, n]
    pools = made(3, n, seed, kinds=3)
    pools.scores["score"][0, 2] = np.nan
    pools.classes[1] = -1
    orders = np.array(list(permutations(range(n)))) if count is None else random_orders(n, count, 0)
    found = replay(pools, RULES, budgets, orders=orders)
    for p in range(len(pools)):
        columns = pools.classes[p], pools.right[p], pools.scores["score"][p], pools.tokens[p]
        drawn = [[column[pi] for column in columns] for pi in orders]
        for rule, got in zip(RULES, found, strict=True):
            for b, budget in enumerate(budgets):
                wanted = np.mean([oracle(rule, *d, budget) for d in drawn], axis=0)
                ours = got.right[p, b], got.samples[p, b], got.tokens[p, b]
                assert ours == pytest.approx(tuple(wanted), abs=1e-9), (rule, budget)


def test_over_all_orders_the_best_and_any_are_their_closed_forms():
    n = 6
    pools = made(4, n, 3, lowest=0)
    orders = np.array(list(permutations(range(n))))
    top, found = replay(pools, [Best("score"), Coverage()], range(1, n + 1), orders=orders)
    for p in range(len(pools)):
        for k in range(1, n + 1):
            c = int(pools.correct[p])
            assert found.right[p, k - 1] == pytest.approx(pass_at_k(n, c, k))
            exact = best_at_k(pools.scores["score"][p], pools.right[p], k)
            assert top.right[p, k - 1] == pytest.approx(exact)


def test_random_orders_estimate_the_closed_forms_and_are_exact_where_all_are_drawn():
    n, budgets, rounds = 24, [1, 4, 12, 24], 4000
    pools = made(12, n, 5, kinds=5, lowest=0)
    vote, top, found = replay(pools, [Vote(), Best("score"), Coverage()], budgets, rounds)
    rng = np.random.default_rng(1)
    for p in range(len(pools)):
        classes, right, c = pools.classes[p], pools.right[p], int(pools.correct[p])
        for b, k in enumerate(budgets):
            exact = [
                maj_at_k(classes, right, k, rng, draws=rounds),
                best_at_k(pools.scores["score"][p], right, k),
                pass_at_k(n, c, k),
            ]
            ours = [r.right[p, b] for r in (vote, top, found)]
            # five standard errors of a difference of two means of shares
            bound = 1e-12 if k == n else 5 * np.sqrt(0.5 / rounds)
            assert ours == pytest.approx(exact, abs=bound)


@given(st.integers(0, 10_000))
def test_neither_names_of_classes_nor_units_of_weights_matter(seed):
    pools = made(6, 9, seed)
    renamed = np.where(pools.classes >= 0, 9 - pools.classes, -1).astype(np.int32)
    scores = {"score": pools.scores["score"] * 3.7}
    other = Pools(renamed, pools.right, pools.tokens, pools.present, pools.problems, scores)
    budgets = [1, 3, 9]
    for a, b in zip(
        replay(pools, RULES, budgets, 40, seed),
        replay(other, RULES, budgets, 40, seed),
        strict=True,
    ):
        np.testing.assert_allclose(a.right, b.right)
        np.testing.assert_array_equal(a.samples, b.samples)


@given(st.integers(0, 10_000))
def test_where_all_samples_are_drawn_their_order_does_not_matter(seed):
    pools = made(6, 9, seed)
    turned = pools.take(range(6))
    order = np.random.default_rng(seed).permutation(9)
    for column in (turned.classes, turned.right, turned.tokens, turned.scores["score"]):
        column[:] = column[:, order]
    rules = [Vote(), Vote("score"), Best("score"), Coverage()]
    for a, b in zip(replay(pools, rules, [9], 3), replay(turned, rules, [9], 3), strict=True):
        np.testing.assert_allclose(a.right, b.right)
        np.testing.assert_allclose(a.tokens, b.tokens)


def test_a_rule_that_never_stops_is_the_fixed_vote():
    pools = made(20, 15, 2)
    fixed, never = replay(pools, [Vote(), Vote(stop=Share(1.0, 99))], [1, 7, 15], 200)
    np.testing.assert_array_equal(fixed.right, never.right)
    np.testing.assert_allclose(fixed.tokens, never.tokens)
    np.testing.assert_array_equal(never.samples, np.tile([1.0, 7.0, 15.0], (20, 1)))
    assert not never.stopped.any()


def test_stopping_where_it_is_certain_changes_no_decision_and_draws_less():
    pools = made(30, 21, 4, kinds=2)
    fixed, certain = replay(pools, [Vote(), Vote(stop=Certain())], [1, 5, 11, 21], 300)
    np.testing.assert_allclose(fixed.right, certain.right)
    assert (certain.samples <= fixed.samples).all()
    assert (certain.tokens <= fixed.tokens + 1e-9).all()
    assert certain.samples[:, -1].mean() < 20


def test_the_result_depends_on_the_seed_and_not_on_threads_or_blocks(monkeypatch):
    pools = made(40, 16, 6)
    results = [replay(pools, RULES, [2, 16], 60, 9, threads=t) for t in (1, 2, 5)]
    for name, value in (("ROWS", 50), ("CELLS", 100)):
        monkeypatch.setattr(resample, name, value)
        results.append(replay(pools, RULES, [2, 16], 60, 9))
    for again in results[1:]:
        for a, b in zip(results[0], again, strict=True):
            np.testing.assert_allclose(a.right, b.right, atol=1e-12)
            np.testing.assert_allclose(a.tokens, b.tokens, atol=1e-9)
    np.testing.assert_array_equal(results[0][0].right, results[2][0].right)
    other = replay(pools, RULES, [2, 16], 60, 10)
    assert (other[0].right != results[0][0].right).any()


def test_problems_with_fewer_samples_are_drawn_from_what_they_have():
    pools = made(9, 10, 7, ragged=True)
    found = replay(pools, [Vote(), Vote(stop=Beta(0.8))], [4, 8], 50)
    for p in range(9):
        alone = replay(pools.take([p]).first(int(pools.counts[p])), [Vote()], [4, 8], 50)[0]
        np.testing.assert_allclose(found[0].right[p], alone.right[0])
    with pytest.raises(BadInput, match="from 1 to 8, the samples of the problem 'q2'"):
        replay(pools, [Vote()], [9])


def test_a_vote_longer_than_its_small_numbers():
    n = 17_000
    classes = np.where(np.arange(n) % 5 == 0, -1, np.arange(n) % 2).astype(np.int32)[None]
    classes[0, 2] = 1  # one vote decides
    pools = Pools(classes, classes == 1, np.ones((1, n)), np.ones((1, n), dtype=bool), ("long",))
    for got in replay(pools, [Vote(), Vote(ties="first"), Vote(stop=Certain())], [n], 1):
        assert got.right[0, 0] == 1.0


def test_a_rule_of_ones_own_is_handed_what_was_drawn():
    pools = made(8, 7, 8)

    def highest(classes, scores, tokens, rng):
        return [best(s, c, "first") for s, c in zip(scores["score"], classes, strict=True)]

    def last(classes, scores, tokens, rng):
        return np.full(len(classes), classes.shape[1] - 1)

    def shortest(classes, scores, tokens, rng):
        return tokens.argmin(axis=1)

    mine, theirs, recent, short = replay(
        pools, [highest, Best("score"), last, shortest], [1, 3, 7], 400
    )
    mean = pools.right.mean(axis=1)
    np.testing.assert_allclose(mine.right[:, 0], theirs.right[:, 0])
    assert np.abs(mine.right - theirs.right).max() < 5 * np.sqrt(0.25 / 400)
    assert np.abs(recent.right - mean[:, None]).max() < 5 * np.sqrt(0.25 / 400)
    at = pools.tokens.argmin(axis=1)
    np.testing.assert_allclose(short.right[:, 2], pools.right[np.arange(8), at])
    with pytest.raises(BadInput, match="place"):
        replay(pools, [lambda *a: np.array([99])], [3], 1)


def test_a_route_is_both_votes_one_after_the_other():
    n = 5
    cheap, costly = made(3, n, 1, lowest=0), made(3, n, 2, lowest=0)
    orders = np.array(list(permutations(range(n))))[::5]
    [first] = replay(cheap, [Vote(stop=Share(0.6, 3))], [3], orders=orders)
    [second] = replay(costly, [Vote()], [4], orders=orders)
    both = route(first, second)
    assert both.budgets == (7,)
    for p in range(3):
        right, tokens = [], []
        for a in orders:
            for b in orders:
                c = cheap.classes[p][a[:3]]
                spent = cheap.tokens[p][a[:3]].sum()
                pools, drawn = cheap, a[:3]
                if np.bincount(c).max() < 0.6 * 3:
                    pools, drawn = costly, b[:4]
                    spent += costly.tokens[p][drawn].sum()
                kinds, sums = tally(pools.classes[p][drawn])
                worth = [pools.right[p][pools.classes[p] == k].any() for k in kinds]
                right.append(np.mean(np.array(worth)[sums == sums.max()]))
                tokens.append(spent)
        assert both.right[p, 0] == pytest.approx(np.mean(right))
        assert both.tokens[p, 0] == pytest.approx(np.mean(tokens))
    with pytest.raises(BadInput, match="the same problems"):
        route(first, replay(costly.take([0, 1]), [Vote()], [1], 2)[0])


def test_seeds_of_a_problem_are_one_problem_in_the_interval():
    pools = made(6, 8, 9)
    twice = Pools(
        pools.classes, pools.right, pools.tokens, pools.present, ("a", "b", "c") * 2, pools.scores
    )
    [found] = replay(twice, [Vote()], [1, 8], 30)
    for b, estimate in enumerate(found.accuracy()):
        shares = (found.right[:3, b] + found.right[3:, b]) / 2
        assert estimate == pytest.approx((shares.mean(), *mean_interval(shares)))


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_orders_are_permutations(n, resamples, seed):
    orders = random_orders(n, resamples, seed)
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(n), (resamples, 1)))


@pytest.mark.parametrize(
    ("rules", "more", "word"),
    [
        ([Vote("scor")], {}, "did you mean 'score'"),
        ([Vote()], {"resamples": 0}, "resamples=0"),
        ([Vote()], {"orders": [[0, 1, 1]]}, "hold 0 ... n - 1 once"),
    ],
)
def test_what_cannot_be_replayed_is_refused(rules, more, word):
    with pytest.raises(BadInput, match=word):
        replay(made(2, 3), rules, [1], **more)
    with pytest.raises(BadInput, match="ties"):
        Vote("score", ties="first")


def test_what_a_vote_that_stops_saves_is_told_with_its_accuracy():
    pools = made(60, 24)
    whole, certain = replay(pools, [Vote(), Vote(stop=Certain())], [24], 200)
    found = saving(certain, whole)
    assert found.accuracy.value == pytest.approx(0, abs=0.01), "ties alone differ"
    expected = certain.tokens[:, -1].sum() / whole.tokens[:, -1].sum()
    assert found.tokens.value == pytest.approx(expected)
    assert found.tokens.low < expected < found.tokens.high < 1
    assert saving(whole, whole).tokens == pytest.approx((1, 1, 1))
    with pytest.raises(BadInput, match="same problems"):
        saving(certain, replay(pools.take([0, 1]), [Vote()], [24], 5)[0])
