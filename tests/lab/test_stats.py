import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from outthink.lab import stats

BITS = st.lists(st.booleans(), min_size=1, max_size=40)
QUARTERS = st.lists(st.integers(0, 4), min_size=1, max_size=40)


def floats(values, scale=1.0):
    return np.array(values, dtype=float) / scale


# -- one share ---------------------------------------------------------------------------------------


@given(BITS)
def test_a_share_with_one_seed_has_wilsons_interval(right):
    found = stats.share(floats(right))
    low, high = proportion_confint(sum(right), len(right), method="wilson")
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)
    assert found.value == pytest.approx(np.mean(right))


@given(BITS, st.integers(1, 8))
def test_seeds_that_agree_add_nothing(right, seeds):
    assert stats.share(floats(right), seeds) == stats.share(floats(right), 1)


@given(QUARTERS)
def test_an_interval_holds_its_share_and_is_never_narrower_than_that_of_all_runs(counts):
    found = stats.share(floats(counts, 4), 4)
    assert 0 <= found.low <= found.value <= found.high <= 1
    low, high = stats.wilson(sum(counts), 4 * len(counts))
    assert found.high - found.low >= high - low - 1e-9


def test_problems_alike_are_as_good_as_one_large_sample():
    rng = np.random.default_rng(0)
    counts = rng.binomial(4, 0.3, 20_000)
    found = stats.share(counts / 4, 4)
    low, high = stats.wilson(counts.sum(), 80_000)
    assert found.high - found.low == pytest.approx(high - low, rel=0.02)


def test_one_problem_says_little_however_often_it_is_tried():
    assert stats.share(np.array([0.5]), 100)[1:] == pytest.approx(stats.wilson(0.5, 1))


def test_a_bounded_number_that_does_not_vary_has_the_interval_of_its_problems():
    assert stats.bounded(1.0, 0.0, 30)[1:] == stats.wilson(30, 30)
    error = math.sqrt(0.2 * 0.8 / 500)
    assert stats.bounded(0.2, error, 7)[1:] == pytest.approx(stats.wilson(100, 500))


# -- means and differences ---------------------------------------------------------------------------

NUMBERS = st.lists(
    st.tuples(st.floats(-50, 50, width=16), st.floats(-50, 50, width=16)), min_size=2, max_size=30
)


@given(NUMBERS)
def test_means_and_their_differences_are_those_of_the_t_test(pairs):
    a, b = np.array(pairs).T
    found = stats.mean(a)
    if a.std() > 1e-6:
        whole = scipy_stats.ttest_1samp(a, 0.0).confidence_interval()
        assert found == pytest.approx((a.mean(), whole.low, whole.high))
    else:
        assert found == pytest.approx((a[0], a[0], a[0]), abs=1e-4)
    gap = stats.mean_difference(a, b)
    if (a - b).std() > 1e-6:
        theirs = scipy_stats.ttest_rel(a, b)
        ends = theirs.confidence_interval()
        want = ((a - b).mean(), ends.low, ends.high, theirs.pvalue)
        assert gap == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_one_problem_has_no_interval_of_a_mean_and_no_p():
    assert stats.mean(np.array([3.0])) == (3.0, -math.inf, math.inf)
    gap = stats.mean_difference(np.array([3.0]), np.array([1.0]))
    assert gap[:3] == (2.0, -math.inf, math.inf)
    assert math.isnan(gap.p)
    assert stats.mean_difference(np.ones(5), np.ones(5)).p == 1
    assert stats.mean_difference(np.ones(5), np.zeros(5)).p == 0


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(won, lost):
    theirs = their_mcnemar([[5, won], [lost, 5]], exact=True).pvalue
    assert stats.mcnemar(won, lost) == pytest.approx(theirs)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 0), (4, 2), (5, 5), (1, 7)])
def test_mcnemar_by_listing_every_way_that_the_problems_could_have_fallen(won, lost):
    far = abs(won - lost)
    ways = [abs(2 * sum(w) - won - lost) >= far for w in product((0, 1), repeat=won + lost)]
    assert stats.mcnemar(won, lost) == pytest.approx(np.mean(ways))


def test_mcnemar_of_very_many_problems_is_a_number():
    assert 0 <= stats.mcnemar(3000, 2000) < 1e-40
    assert stats.mcnemar(2500, 2500) == 1


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_is_that_of_statsmodels(n):
    ps = (np.random.default_rng(n).random(n) ** 3).round(2).tolist()
    assert stats.holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-12)


def test_holm_leaves_what_has_no_p():
    found = stats.holm([0.01, math.nan, 0.04])
    assert found[0] == pytest.approx(0.02)
    assert found[2] == pytest.approx(0.04)
    assert math.isnan(found[1])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_paired_difference_is_bonett_and_prices_with_mcnemars_p(pairs):
    a, b = np.array(pairs, dtype=float).T
    won, lost, n = int(((a - b) > 0).sum()), int(((a - b) < 0).sum()), len(a)
    found = stats.share_difference(a, b)
    # Bonett and Price: one more of each kind of disagreement, and Wald's interval
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    error = math.sqrt((p + q - (p - q) ** 2) / (n + 1))
    half = float(scipy_stats.t.ppf(0.975, n + 1)) * error
    assert found.value == pytest.approx((won - lost) / n)
    assert found.low == pytest.approx(max(-1, min(p - q - half, found.value)))
    assert found.high == pytest.approx(min(1, max(p - q + half, found.value)))
    assert found.p == pytest.approx(their_mcnemar([[0, won], [lost, 0]], exact=True).pvalue)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30))
def test_a_difference_the_other_way_is_its_mirror(pairs):
    a, b = np.array(pairs, dtype=float).T / 4
    there, back = stats.share_difference(a, b, 4), stats.share_difference(b, a, 4)
    assert back == pytest.approx((-there.value, -there.high, -there.low, there.p))
    assert there.low <= there.value <= there.high
    if (a - b != np.round(a - b)).any():
        assert (there.p < 0.05) == (there.low > 0 or there.high < 0) or abs(there.p - 0.05) < 1e-6


def test_arms_that_never_differ_still_may():
    gap = stats.share_difference(np.ones(50), np.ones(50))
    assert gap.value == 0
    assert -0.08 < gap.low < -0.03
    assert 0.03 < gap.high < 0.08
    assert gap.p == 1
    # four seeds that never differ tell more, and seeds between 0 and 1 show that they are four
    half = stats.share_difference(np.full(50, 0.25), np.full(50, 0.25), 4)
    assert half.high == pytest.approx(gap.high)


@given(BITS, BITS)
def test_unpaired_shares_are_newcombes_with_the_p_of_the_z_test(a, b):
    found = stats.two_shares(floats(a), floats(b))
    low, high = confint_proportions_2indep(
        sum(a), len(a), sum(b), len(b), method="newcomb", compare="diff"
    )
    assert found[1:3] == pytest.approx((low, high), abs=1e-6)
    if 0 < sum(a) + sum(b) < len(a) + len(b):
        p = proportions_ztest([sum(a), sum(b)], [len(a), len(b)])[1]
        assert found.p == pytest.approx(p, abs=1e-9)
    else:
        assert found.p == 1


# -- the bootstrap -----------------------------------------------------------------------------------


def test_draws_are_of_whole_problems_and_always_the_same():
    draws = stats.resample(40, 500)
    assert draws.shape == (500, 40)
    assert (draws.sum(axis=1) == 40).all()
    assert (draws == stats.resample(40, 500)).all()
    assert (draws != stats.resample(40, 500, np.random.default_rng(1))).any()
    # each problem once in the mean, with the variance of a multinomial
    assert draws.mean() == 1
    assert draws.var(axis=0).mean() == pytest.approx(39 / 40, rel=0.05)


def test_the_bootstrap_knows_that_seeds_of_a_problem_are_not_independent():
    rng = np.random.default_rng(2)
    fate = rng.random(200) < 0.5
    values = np.repeat(fate[:, None], 6, axis=1).astype(float)
    draws = stats.resample(200, 2000)
    found = stats.percentiles(values.mean(), draws @ values.mean(axis=1) / 200)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(200), rel=0.1)


def test_percentiles_of_draws_that_are_absent_or_endless():
    drawn = np.append(np.arange(1.0, 96.0), np.full(5, math.inf))
    found = stats.percentiles(40.0, drawn)
    assert found.low == 3
    assert found.high == math.inf
    assert stats.percentiles(40.0, np.append(drawn[:95], np.full(50, math.nan))).high == 93
    assert stats.percentiles(2.0, np.array([math.nan])) == (2.0, -math.inf, math.inf)
    # a value outside its draws belongs to its interval
    assert stats.percentiles(0.0, np.arange(1.0, 9.0)).low == 0


# -- 95 % means 95 % ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [100, 250, 500])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_coverage_of_an_accuracy_with_one_seed_by_every_outcome(n, p):
    held = 0.0
    for k in range(n + 1):
        found = stats.share(np.arange(n) < k)
        held += scipy_stats.binom.pmf(k, n, p) * (found.low <= p <= found.high)
    assert 0.93 <= held <= 0.97


def simulated(n, p, spread, seeds, interval, draws=2500):
    rng = np.random.default_rng(7)
    chances = rng.beta(spread * p, spread * (1 - p), (draws, n))
    values = rng.binomial(seeds, chances) / seeds
    return np.mean([low <= p <= high for low, high in (interval(v)[1:] for v in values)])


@pytest.mark.parametrize(("n", "spread"), [(100, 2.0), (100, 10.0), (500, 0.5)])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_coverage_of_an_accuracy_with_four_seeds(n, p, spread):
    assert 0.93 <= simulated(n, p, spread, 4, lambda v: stats.share(v, 4)) <= 0.97


def test_near_none_right_the_t_interval_falls_short_and_the_effective_size_does_not():
    assert simulated(100, 0.01, 2.0, 4, stats.mean) < 0.85
    assert simulated(100, 0.01, 2.0, 4, lambda v: stats.share(v, 4)) > 0.93


@pytest.mark.parametrize(("n", "seeds", "p"), [(100, 1, 0.5), (500, 1, 0.1), (100, 4, 0.5)])
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_coverage_of_a_paired_difference(n, seeds, p, gain):
    rng = np.random.default_rng(8)
    held = sure = 0
    for _ in range(1500):
        chance = rng.beta(2 * p, 2 * (1 - p), (n, 1))
        better = chance + (1 - chance) * gain / (1 - p)
        a, b = ((rng.random((n, seeds)) < c).mean(axis=1) for c in (better, chance))
        found = stats.share_difference(a, b, seeds)
        held += found.low <= gain <= found.high
        sure += found.p < 0.05
    assert 0.93 <= held / 1500 <= 0.97
    if not gain:
        assert sure / 1500 <= 0.07
