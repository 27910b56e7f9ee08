import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from outthink.core.errors import BadInput
from outthink.laws.base import Law
from outthink.laws.coverage import fit_beta_binomial
from outthink.laws.saturation import curve, fit_saturation, fit_saturation_curve

X = np.array([1, 2, 3, 5, 8, 13, 21])


@given(st.floats(0.02, 0.9), st.floats(0.1, 1.0))
def test_a_curve_of_the_law_gives_its_parameters_back(p, ceiling):
    y = np.tile(curve(np.array([p, ceiling]), X.astype(float)), (3, 1))
    law = fit_saturation_curve(y, X, draws=0)
    assert law.p.value == pytest.approx(p, rel=1e-3)
    assert law.ceiling.value == pytest.approx(ceiling, rel=1e-3)
    assert abs(law.residuals).max() < 1e-5


def test_the_fit_is_the_least_squares_of_another_search():
    y = np.random.default_rng(0).random((40, len(X))).cumsum(axis=1) / 8
    law = fit_saturation_curve(np.clip(y, 0, 1), X, draws=0)

    def errors(v):
        return curve(np.array(v), X.astype(float)) - law.observed

    best = min(
        (least_squares(errors, [p, 0.7], bounds=([1e-6, 0], [1, 1])) for p in (0.01, 0.1, 0.5)),
        key=lambda r: r.cost,
    )
    assert (law.residuals**2).sum() / 2 <= best.cost * (1 + 1e-6)


def test_from_saturation_on_a_unit_gains_less():
    law = fit_saturation_curve(np.tile(curve(np.array([0.2, 0.8]), X * 1.0), (2, 1)), X, draws=0)
    star = law.saturation(0.01).value
    assert star == pytest.approx(math.log(0.01 / 0.16) / math.log(0.8), rel=1e-3)
    assert law.gain(star).value[0] == pytest.approx(0.01, rel=1e-3)
    assert law.gain(math.ceil(star)).value[0] < 0.01 < law.gain(math.floor(star)).value[0]
    # the first unit gains 0.16: nothing is so dear
    assert law.saturation(0.2).value == 0


def test_at_no_unit_there_is_nothing_and_at_many_the_ceiling():
    law = fit_saturation_curve(np.tile(curve(np.array([0.3, 0.6]), X * 1.0), (2, 1)), X, draws=0)
    assert law.predict([0, 1e6]).value == pytest.approx([0.0, 0.6], abs=1e-4)
    flat = fit_saturation_curve(np.full((2, len(X)), 0.4), X, draws=0)
    assert flat.predict([1, 50]).value == pytest.approx([0.4, 0.4])
    assert flat.saturation().value <= 1


def samples(alpha, beta, problems=3000, n=60, seed=0):
    rng = np.random.default_rng(seed)
    return np.full(problems, n), rng.binomial(n, rng.beta(alpha, beta, problems))


def test_where_all_problems_are_alike_one_p_is_enough():
    n, c = samples(300.0, 700.0)
    law = fit_saturation((n, c), most=10, draws=50)
    assert law.p.low <= law.p.value <= law.p.high
    assert law.p.value == pytest.approx(0.3, abs=0.02)
    assert law.ceiling.value == pytest.approx(1.0, abs=0.02)


def test_where_problems_differ_it_saturates_too_early_and_a_mixture_does_not():
    n, c = samples(0.3, 2.0)
    few = (np.full(len(n), 10), np.random.default_rng(1).hypergeometric(c, n - c, 10))
    truth = (c > 0).mean()
    one, mixture = fit_saturation(few, draws=0), fit_beta_binomial(few, draws=0)
    assert one.predict(60).value[0] < truth - 0.05
    assert mixture.predict(60).value[0] == pytest.approx(truth, abs=0.02)


def test_intervals_hold_what_made_the_samples():
    held = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = rng.random((200, len(X))) < curve(np.array([0.25, 0.7]), X * 1.0)
        law = fit_saturation_curve(y, X, draws=100, seed=seed)
        held.append(law.p.low <= 0.25 <= law.p.high)
    assert np.mean(held) >= 0.8


def test_it_keeps_the_protocol(tmp_path):
    law = fit_saturation(samples(1.0, 3.0, problems=80, n=12), draws=30)
    assert isinstance(law, Law)
    assert law.plot(tmp_path / "saturation.png").stat().st_size > 10_000
    facts = json.loads(json.dumps(law.to_json()))
    assert facts["law"] == "saturation"
    assert facts["saturation"]["low"] <= facts["saturation"]["value"] <= facts["saturation"]["high"]
    assert (np.diff(law.predict([1, 2, 4, 8]).value) > 0).all()


def test_the_recorded_sets_rise_beyond_where_one_p_has_it(recorded):
    for name in ("tot_game24_io", "tot_game24_cot"):
        pools = recorded(name)
        few = fit_saturation(pools, most=10, draws=0)
        assert few.predict(100).value[0] < pools.right.any(axis=1).mean() - 0.05


def test_wrong_input_says_what_is_wrong():
    with pytest.raises(BadInput, match="problems, points"):
        fit_saturation_curve(np.ones((1, 3)), [1, 2, 3])
    with pytest.raises(BadInput, match="rising"):
        fit_saturation_curve(np.ones((2, 3)), [1, 3, 2])
    with pytest.raises(BadInput, match="no curve to fit"):
        fit_saturation_curve(np.zeros((2, 3)), [1, 2, 3])
    with pytest.raises(BadInput, match="at least 2 samples"):
        fit_saturation(([5, 5], [1, 2]), most=1)
    law = fit_saturation_curve(np.full((2, 3), 0.5), [1, 2, 3], draws=0)
    with pytest.raises(BadInput, match="least=1"):
        law.saturation(1.0)
    with pytest.raises(BadInput, match="at least 0"):
        law.predict(-1)


def test_where_nothing_is_right_there_is_no_curve():
    with pytest.raises(BadInput, match="no curve to fit"):
        fit_saturation((np.array([4, 4]), np.array([0, 0])))
