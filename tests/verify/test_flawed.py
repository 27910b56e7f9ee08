"""A flawed verifier: its dials do what they say, and to best-of-n what the papers say."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outthink
from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.nouns import Score
from outthink.core.registry import build, entries, register, spec_of
from outthink.core.run import _label
from outthink.models.simulated import Simulated, right_answer
from outthink.select.best import best
from outthink.testing import check_verifier
from outthink.verify.flawed import Flawed, student
from outthink.verify.prm import Prm
from outthink.verify.python_tests import PythonTests
from outthink.verify.reference import Exact, Regex
from tests.verify.scripted import QUESTION, scores
from tests.verify.test_prm import Given


@pytest.fixture(scope="module", autouse=True)
def given_scores():
    """A verifier that says the number that a text begins with."""

    @register("verifier", "first_word")
    @dataclass(frozen=True)
    class FirstWord:
        """The number that a text begins with."""

        async def __call__(self, problem, samples, run):
            """Read it."""
            return [Score(float(s.text.split()[0])) for s in samples]

    yield
    entries("verifier").pop("first_word")


def flawed(**dials):
    return Flawed(build("first_word", "verifier"), **dials)


def texts_of(values, n):
    """``n`` different texts of each value."""
    return [f"{value} {i}" for value in values for i in range(n)]


DIALS = st.fixed_dictionaries(
    {},
    optional={
        "false_positives": st.floats(0, 1),
        "false_negatives": st.floats(0, 1),
        "length_bias": st.floats(-5, 5),
        "usual_length": st.integers(0, 1000),
        "noise": st.floats(0, 10),
        "tail": st.just(0.0) | st.floats(0.5, 30),
        "seed": st.integers(-(1 << 40), 1 << 40),
    },
)
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)

# -- laws --------------------------------------------------------------------------------------------


@given(VALUES, st.integers(), st.integers(0, 9999))
def test_without_a_flaw_the_scores_are_the_other_verifiers_own(values, seed, usual):
    texts = [f"{v!r} {i}" for i, v in enumerate(values)]
    assert scores(flawed(seed=seed, usual_length=usual), texts)[0] == values


@given(VALUES, DIALS, st.randoms(use_true_random=False))
def test_a_score_is_a_function_of_seed_question_and_text(values, dials, random):
    texts = [f"{v!r} {i}" for i, v in enumerate(values)]
    verifier = flawed(**dials)
    found = dict(zip(texts, scores(verifier, texts)[0], strict=True))
    assert all(0 <= x <= 1 for x in found.values())
    mixed = random.sample(texts, len(texts)) + texts[:1]
    assert scores(verifier, mixed)[0] == [found[t] for t in mixed]
    assert scores(verifier, texts[-1:])[0] == [found[texts[-1]]]
    assert build(spec_of(verifier), "verifier") == verifier


def test_another_seed_or_question_has_other_errors():
    texts = texts_of([0.0], 200)
    found = [
        scores(flawed(false_positives=0.5, seed=seed), texts, question=question)[0]
        for seed, question in [(0, QUESTION), (1, QUESTION), (0, QUESTION + " ")]
    ]
    for a, b in itertools.combinations(found, 2):
        assert 60 < sum(x != y for x, y in zip(a, b, strict=True)) < 140  # half of 200


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(("name", "turned", "kept"), [
    ("false_positives", 0.2, 0.7), ("false_negatives", 0.7, 0.2),
])  # fmt: skip
def test_the_rates_are_met_and_touch_their_own_side_only(rate, name, turned, kept):
    n = 4000
    found, _ = scores(flawed(**{name: rate}), texts_of([turned, kept, 0.5], n))
    share = np.mean(np.isclose(found[:n], 1 - turned))
    assert share == pytest.approx(rate, abs=4.5 * math.sqrt(rate * (1 - rate) / n))
    assert set(found[:n]) <= {turned, 1 - turned}
    assert set(found[n:]) == {kept, 0.5}


def logits(found):
    with np.errstate(divide="ignore"):  # far out in a tail a score is 0 or 1
        return np.log(found) - np.log1p(-np.asarray(found))


def test_noise_is_normal_around_the_logit():
    n, held = 4000, 0.01 + 0.98 * 0.7
    z = logits(scores(flawed(noise=1.5), texts_of([0.7], n))[0]) - math.log(held / (1 - held))
    assert z.mean() == pytest.approx(0, abs=4.5 * 1.5 / math.sqrt(n))
    assert z.std() == pytest.approx(1.5, rel=4.5 / math.sqrt(2 * n))
    assert np.mean(np.abs(z) > 3) == pytest.approx(0.0455, abs=4.5 * math.sqrt(0.0455 / n))


def test_a_tail_makes_the_noise_students_with_or_without_a_scale():
    n = 4000
    cauchy = logits(scores(flawed(tail=1), texts_of([0.5], n))[0])
    assert np.mean(np.abs(cauchy) > 1) == pytest.approx(0.5, abs=4.5 * 0.5 / math.sqrt(n))
    share = 1 - 2 / math.pi * math.atan(10)
    assert np.mean(np.abs(cauchy) > 10) == pytest.approx(share, abs=4.5 * math.sqrt(share / n))
    wide = logits(scores(flawed(tail=1, noise=3), texts_of([0.5], n))[0])
    small = np.abs(cauchy) < 8  # beyond, a float between 0 and 1 is too coarse
    assert wide[small] == pytest.approx(3 * cauchy[small], rel=1e-3)


def test_student_has_its_closed_quantiles_and_becomes_normal():
    n = 4000
    two = np.array([student(2, i) for i in range(n)])
    for x in (0.5, 1.0, 3.0):  # F(x) = 1/2 + x / (2 sqrt(2 + x^2))
        share = 0.5 + x / (2 * math.sqrt(2 + x * x))
        assert np.mean(two < x) == pytest.approx(share, abs=4.5 * 0.5 / math.sqrt(n))
    assert np.std([student(1000, i) for i in range(n)]) == pytest.approx(1, rel=0.06)


@given(st.floats(-5, 5), st.integers(0, 300), st.integers(0, 1000))
def test_every_hundred_characters_count_the_bias(bias, extra, usual):
    verifier = flawed(length_bias=bias, usual_length=usual)
    even, long = (verifier.value(0.5, "", "x" * n) for n in (usual, usual + extra))
    assert even == 0.5
    if abs(bias) * extra < 1000:
        assert math.log(long / (1 - long)) == pytest.approx(bias * extra / 100, abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 500))
def test_a_bias_for_length_alone_keeps_the_order_of_texts_of_one_length(a, b, length):
    verifier = flawed(length_bias=1.0)
    x, y = (verifier.value(v, "", "x" * length) for v in (a, b))
    assert (x <= y) if a <= b else (x >= y)


def test_what_is_no_number_stays_none_and_steps_go_with_what_is_changed():
    model = Given({"a": [], "b": [0.1, 0.2]})
    nan, turned = scores(Flawed(Prm(model=model), false_positives=1.0, noise=1.0), ["a", "b"])[0]
    assert math.isnan(nan)
    assert turned != 0.2
    for rate, steps in ((0.0, (0.1, 0.2)), (1.0, ())):
        verifier = Flawed(Prm(model=model), false_positives=rate)
        _, run = scores(verifier, ["b"])
        (score,) = run.world.scores[_label(verifier)].values()
        assert score.steps == steps


def test_the_other_verifier_is_metered():
    model = Given({"a": [0.3], "bb": [0.6]})
    verifier = Flawed(Prm(model=model), noise=1.0)
    _, run = scores(verifier, ["a", "bb", "a"])
    assert run.meter.spent.total_tokens == 4 + 5  # read once each
    with pytest.raises(BudgetExhausted):
        scores(verifier, ["a", "bb"], budget="total_tokens=8")


def test_it_passes_on_what_the_other_verifier_is():
    assert Flawed(Regex("x")).judges_text
    assert not Flawed(Exact("7")).judges_text
    texts = ["```python\nx = 1\n```"]
    code = Flawed(PythonTests(tests="assert x == 1"), false_negatives=1.0)
    assert scores(code, texts, reader="code")[0] == [0.0]
    check_verifier('flawed(exact(reference="7"), false_positives=0.5, noise=1.0)')
    check_verifier("flawed(prm(model=simulated_prm), tail=2.0, length_bias=1.0)")


# -- what it does to best of n -----------------------------------------------------------------------


def expected(order, right, n):
    """The chance that the first in ``order`` of a random n-subset is right, in closed form."""
    total = len(order)
    i = np.arange(total - n + 1)
    log = np.array([math.lgamma(k + 1) for k in range(total + 1)])
    share = log[total - 1 - i] - log[n - 1] - log[total - n - i]
    share -= log[total] - log[n] - log[total - n]
    return float((np.exp(share) * right[order][: total - n + 1]).sum())


def accuracies(sizes, p=0.3, total=20_000, **dials):
    """Best-of-n accuracy by n, of a verifier that knows the truth but for its flaws."""
    right = np.random.default_rng(0).random(total) < p
    verifier = Flawed(Exact("7"), **dials)
    found = np.array([verifier.value(float(r), "", f"{i}") for i, r in enumerate(right)])
    order = np.argsort(-found, kind="stable")
    return [expected(order, right, n) for n in sizes]


def test_false_positives_are_a_ceiling_that_no_n_lifts():
    """S077: the first of n texts that passes is right with probability p / (p + f (1 - p)) at most."""
    sizes, p, f = [1, 2, 4, 8, 16, 64, 256], 0.3, 0.3
    found = accuracies(sizes, false_positives=f)
    ceiling = p / (p + f * (1 - p))
    assert found[0] == pytest.approx(p, abs=0.015)
    assert all(a < b for a, b in itertools.pairwise(found[:5]))
    for n, accuracy in zip(sizes, found, strict=True):
        passes = 1 - (1 - p - f * (1 - p)) ** n
        assert accuracy == pytest.approx(passes * ceiling, abs=0.03)
        if n >= 4:
            assert accuracy < 1 - (1 - p) ** n - 0.1  # the coverage
    assert accuracies(sizes)[-1] == pytest.approx(1)  # the true verifier has the coverage


def test_false_positives_hold_best_of_n_below_the_coverage_in_a_real_run():
    share = {}
    for n in (4, 32):
        hits = []
        for seed in range(60):
            question = f"{QUESTION} ({seed})"
            right = right_answer(question)
            verifier = Flawed(Exact(right), false_positives=0.3)
            answer = outthink.solve(
                question, model=Simulated(accuracy=0.3), seed=seed,
                strategy=f"best_of_n(n={n}, verifier={spec_of(verifier)}, ties=first)",
            )  # fmt: skip
            covered = any(s.text.endswith(f"answer: {right}") for s in answer.candidates)
            assert covered or answer.answer != right
            hits.append((answer.answer == right, covered))
        share[n] = np.mean(hits, axis=0)
    for accuracy, coverage in share.values():
        assert accuracy < coverage - 0.1
    assert share[32][1] == 1
    assert share[32][0] == pytest.approx(0.3 / (0.3 + 0.3 * 0.7), abs=4 * 0.5 / math.sqrt(60))


def test_with_heavy_tails_best_of_n_rises_and_falls_and_with_normal_noise_it_rises():
    """Reward over-optimisation: the best of many scores is the largest error (arXiv 2210.10760)."""
    sizes = [1, 2, 4, 8, 16, 64, 256, 1024]
    heavy = accuracies(sizes, noise=2.0, tail=1.0)
    peak = int(np.argmax(heavy))
    assert 0 < peak < len(sizes) - 1
    assert heavy[peak] > heavy[0] + 0.25
    assert heavy[peak] > heavy[-1] + 0.25
    assert heavy[-1] == pytest.approx(0.3, abs=0.15)  # in the limit, the share of right samples
    normal = accuracies(sizes, noise=2.0)
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(normal))
    assert normal[-1] > 0.98


def test_a_bias_for_length_has_the_longer_text_win():
    texts = ["1 " + "right", "0 " + "x" * 1000]
    for bias, winner in ((0.0, 0), (0.5, 0), (1.0, 1), (-1.0, 0)):
        assert best(scores(flawed(length_bias=bias), texts)[0]) == winner


# -- specs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"false_positives": 1.1}, "false_positives=1.1 must be from 0 to 1"),
        ({"false_negatives": -0.1}, "false_negatives=-0.1 must be from 0 to 1"),
        ({"noise": -1.0}, "noise=-1 must be from 0 to 100"),
        ({"noise": math.nan}, "noise=nan"),
        ({"length_bias": 101.0}, "length_bias=101 must be from -100 to 100"),
        ({"usual_length": -1}, "usual_length=-1 must be"),
        ({"tail": 0.4}, "tail=0.4 must be from 0.5 to 1000, or 0"),
        ({"tail": -1.0}, "tail=-1 must be"),
        ({"tail": math.nan}, "tail=nan must be"),
        ({"seed": 0.5}, "seed=0.5 must be a whole number"),
    ],
)
def test_wrong_parameters_are_refused(wrong, said):
    with pytest.raises(BadInput, match=said):
        flawed(**wrong)


def test_specs():
    built = build('flawed(exact("7"), false_positives=0.3, tail=2)', "verifier")
    assert built == Flawed(Exact("7"), false_positives=0.3, tail=2.0)
    with pytest.raises(BadInput, match="needs verifier"):
        build("flawed(noise=1)", "verifier")
    with pytest.raises(BadInput, match="verifier gave 3, and scores from 0 to 1 are needed"):
        scores(flawed(noise=1.0), ["3 x"])
    assert scores(flawed(), ["3 x"])[0] == [3.0]
