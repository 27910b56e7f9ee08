from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from outthink.select.calibration import (
    area_of_risk,
    aurc,
    auroc,
    brier,
    by_cluster,
    ece,
    ranks,
    risk_coverage,
)
from outthink.select.coverage import best_at_k

SCORES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=9)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_equal_values_share_their_mean_rank(values):
    assert ranks(values).tolist() == stats.rankdata(values).tolist()


@given(SCORES)
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    s = np.array([a for a, _ in pairs], dtype=float)
    y = np.array([b for _, b in pairs], dtype=float)
    good, bad = s[y > 0], s[y == 0]
    found = auroc(s, y)
    if not len(good) or not len(bad):
        assert np.isnan(found)
        return
    won = [1.0 if g > b else 0.5 if g == b else 0.0 for g, b in product(good, bad)]
    assert found == pytest.approx(np.mean(won))
    assert auroc(-s, y) == pytest.approx(1 - found)


def test_calibration_error_of_honest_and_of_boastful_scores():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    y = (rng.random(200_000) < p).astype(float)
    assert ece(p, y) < 0.01
    assert ece(np.full(1000, 0.9), np.repeat([1.0, 0.0], 500)) == pytest.approx(0.4)
    assert ece(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0


def test_an_interval_by_problems_is_wider_than_one_by_texts():
    rng = np.random.default_rng(1)
    level = rng.random(60)  # texts of a problem share their fate
    clusters = [([float(v)] * 10, [float(v > 0.5)] * 10) for v in level + rng.normal(0, 0.2, 60)]
    clusters = [(s, [float(level[i] > 0.5)] * 10) for i, (s, _) in enumerate(clusters)]
    alone = [([a], [b]) for s, y in clusters for a, b in zip(s, y, strict=True)]
    value, (low, high) = by_cluster(auroc, clusters, rng, 200)
    same, (low_alone, high_alone) = by_cluster(auroc, alone, rng, 200)
    assert value == same
    assert low <= value <= high
    assert high - low > high_alone - low_alone


@given(SCORES, st.integers(1, 9))
def test_the_best_of_k_is_what_trying_every_subset_gives(pairs, k):
    s = np.array([a for a, _ in pairs], dtype=float)
    y = np.array([b for _, b in pairs], dtype=float)
    if k > len(s):
        with pytest.raises(ValueError, match="best_at_k"):
            best_at_k(s, y, k)
        return
    found = []
    for some in combinations(range(len(s)), k):
        top = s[list(some)].max()
        found.append(np.mean([y[i] for i in some if s[i] == top]))
    assert best_at_k(s, y, k) == pytest.approx(np.mean(found))


def test_a_perfect_verifier_gives_coverage_and_a_blind_one_the_mean():
    y = np.array([1.0, 0, 0, 1, 0, 0, 0, 0])
    from outthink.select.coverage import pass_at_k

    for k in range(1, 9):
        assert best_at_k(y, y, k) == pytest.approx(pass_at_k(8, 2, k))
        assert best_at_k(np.zeros(8), y, k) == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6))
def test_aurc_is_the_mean_risk_over_every_order_of_equal_scores(pairs):
    s = np.array([a for a, _ in pairs], dtype=float)
    y = np.array([b for _, b in pairs], dtype=float)
    found = []
    for order in permutations(range(len(s))):
        if all(s[i] >= s[j] for i, j in pairwise(order)):
            wrong = np.cumsum(1 - y[list(order)])
            found.append(np.mean(wrong / np.arange(1, len(s) + 1)))
    assert aurc(s, y) == pytest.approx(np.mean(found))


def test_aurc_of_a_perfect_a_blind_and_a_perverse_order():
    n, wrong = 2000, 400
    y = np.append(np.ones(n - wrong), np.zeros(wrong))
    risk = wrong / n
    # Geifman et al., section 3: the best order has the area r + (1 - r) ln(1 - r)
    assert aurc(y, y) == pytest.approx(risk + (1 - risk) * np.log(1 - risk), abs=1e-2)
    first = np.arange(n)[::-1].astype(float)
    assert aurc(first, y) == pytest.approx(risk + (1 - risk) * np.log(1 - risk), abs=1e-3)
    assert aurc(np.zeros(n), y) == pytest.approx(risk)
    assert aurc(-first, y) > aurc(np.zeros(n), y) > aurc(first, y)
    assert aurc(first, np.ones(n)) == 0
    assert aurc(first, np.zeros(n)) == pytest.approx(1)


@given(SCORES)
def test_risk_at_a_coverage_is_the_share_wrong_above_a_threshold(pairs):
    s = np.array([a for a, _ in pairs], dtype=float)
    y = np.array([b for _, b in pairs], dtype=float)
    coverage, risk = risk_coverage(s, y)
    for c, r, t in zip(coverage, risk, sorted(set(s), reverse=True), strict=True):
        assert c == pytest.approx((s >= t).mean())
        assert r == pytest.approx(1 - y[s >= t].mean())


def test_levels_that_nobody_has_change_no_area():
    counts, wrong = [2, 0, 3, 0], [1.0, 0.0, 2.0, 0.0]
    assert area_of_risk(counts, wrong) == pytest.approx(area_of_risk([2, 3], [1.0, 2.0]))


def test_the_brier_score_splits_into_what_is_said_and_what_is_not_known():
    rng = np.random.default_rng(3)
    p = rng.random(400_000)
    y = (rng.random(len(p)) < p).astype(float)
    # honest: the mean of p (1 - p), which is 1/6 here; off by d everywhere: d^2 more
    assert brier(p, y) == pytest.approx(1 / 6, abs=2e-3)
    assert brier(p + 0.1, y) - brier(p, y) == pytest.approx(0.01, abs=1e-3)
