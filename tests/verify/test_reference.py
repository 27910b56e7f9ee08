"""Verifiers that know the answer: what matches, what never does, and what is refused."""

import gzip
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.testing import check_verifier
from outthink.verify.reference import (
    Choice,
    Exact,
    Numeric,
    Regex,
    choice_match,
    exact_match,
    numeric_match,
)
from tests.verify.scripted import data, scores

NOTHING = (
    "I do not know what the answer could be, sorry about that",
    "3 + 4 = 7\n7 + 1 =",
    "",
    "answer:",
    "\\boxed{unfinished",
    "<think>\nThe answer is 7.",
)
ALL = [Exact("None"), Exact(7), Numeric(7), Numeric(0, tolerance=100), Choice("A"),
       Regex("7", where="answer"), Regex(".*", where="answer")]  # fmt: skip


@pytest.mark.parametrize("verifier", ALL, ids=repr)
def test_no_answer_equals_nothing_not_even_another_one(verifier):
    found, run = scores(verifier, NOTHING)
    assert found == [0.0] * len(NOTHING)
    assert run.meter.spent.calls == 0


@pytest.mark.parametrize("spec", ["exact(7)", "numeric(7)", "choice(A)", 'regex("7")'])
def test_they_keep_the_laws_of_verifiers(spec):
    check_verifier(spec)


# -- exact -------------------------------------------------------------------------------------------


def test_exact_compares_normal_forms():
    texts = ["answer: 1,000", "\\boxed{1000.0}", "The answer is $1000.", "answer: 1001", "1000"]
    assert scores(Exact(1000), texts)[0] == [1, 1, 1, 0, 1]
    assert scores(Exact("\\frac{1}{2}"), ["answer: 0.5", "answer: 50%", "answer: 2/1"])[0] == [
        1,
        1,
        0,
    ]
    assert scores(Exact("Paris"), ["answer: paris.", "answer: Paris, Texas"])[0] == [1, 0]
    assert exact_match("answer: paris.", "Paris")
    assert not exact_match("I cannot tell, to be honest, whatever I try", "None")
    assert scores(Exact("None"), ["answer: None"])[0] == [1]  # said, and therefore an answer


def test_the_run_says_how_answers_are_read():
    texts = ['{"total": 12}', "12"]
    assert scores(Exact(12), texts, reader='json("total")')[0] == [1, 0]
    assert scores(Numeric(12), texts, reader='json("total")')[0] == [1, 0]


# -- numeric -----------------------------------------------------------------------------------------

NUMBERS = st.decimals(-(10**6), 10**6, places=4).map(Fraction)


def plain(x):
    """An exact decimal."""
    return f"{x.numerator}/{x.denominator}"


@given(NUMBERS, NUMBERS, st.sampled_from([0, 1e-6, 0.01, 0.5, 3]), st.booleans())
def test_the_tolerance_is_that_of_the_docstring(a, r, tolerance, relative):
    factor = max(Fraction(1), abs(r)) if relative else 1
    near = abs(a - r) <= Fraction(tolerance) * factor
    verifier = Numeric(plain(r), tolerance, relative)
    assert scores(verifier, [f"answer: {plain(a)}"])[0] == [near]
    assert numeric_match(f"answer: {plain(a)}", plain(r), tolerance, relative) == near


@given(NUMBERS)
def test_a_number_is_near_itself_whatever_the_tolerance(x):
    shown = [f"answer: {plain(x)}", f"answer: {float(x)!r} apples", f"\\boxed{{{float(x):,.4f}}}"]
    assert scores(Numeric(plain(x), 0), shown)[0] == [1.0, 1.0, 1.0]


def test_the_edge_of_the_tolerance_belongs_to_it():
    texts = ["answer: 99.5", "answer: 100.5", "answer: 99.4999", "answer: 100.5001"]
    assert scores(Numeric(100, 0.5, relative=False), texts)[0] == [1, 1, 0, 0]
    assert scores(Numeric(100, 2**-8), ["answer: 100.390625", "answer: 100.4"])[0] == [1, 0]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("7 apples", 7), ("about 7", 7), ("x = -7", -7), ("$1,234.50", 1234.5), ("\\frac{1}{4}", 0.25),
        ("3\\frac{1}{2}", 3.5), ("1.5e3 J", 1500), ("5 \\text{ cm}", 5), ("5 m/s", 5), ("50%", 0.5),
        ("−7", -7), ("0.\\overline{3}", Fraction(1, 3)), (".5", 0.5), ("1e300", 10**300),
        # a number that is only a part of the answer is not the answer
        ("2\\sqrt{3}", None), ("2^{10}", None), ("10^3", None), ("3 to 5", None), ("2 pi", None),
        ("x-5", None),
        ("\\frac{\\pi}{2}", None), ("3:45", None), ("2024-05-06", None), ("1.2.3", None), ("x^2", None),
        ("1/0", None), ("inf", None), ("nan", None), ("0x10", None), ("x", None),
        # neither hangs
        ("1e999999999", None), ("9" * 5000, None), ("7 " + "a " * 5000, None),
    ],
)  # fmt: skip
def test_what_number_an_answer_is(said, number):
    text = f"\\boxed{{{said}}}"
    for guess in (7, 7.0, "2", "3", "5", "10", 10**300):
        assert numeric_match(text, guess, 0, False) == (number == Fraction(str(guess)))
    if number is not None:
        assert numeric_match(text, str(number) if isinstance(number, Fraction) else number, 1e-12)


def test_reference_answers_of_gsm8k_match_what_follows_their_mark():
    with gzip.open(data("problems", "gsm8k_test.jsonl.gz"), "rt") as lines:
        answers = [json.loads(line)["answer"] for line in lines][:200]
    for answer in answers:
        final = answer.rpartition("####")[2].strip()
        value = float(final.replace(",", ""))
        assert numeric_match(answer, value, 0)
        assert exact_match(answer, final)
        assert not numeric_match(answer, value + 1, 0.4, relative=False)


# -- choice and regex --------------------------------------------------------------------------------


def test_choices():
    texts = ["The answer is (B).", "Answer: C", "A is wrong, so\n(B)", "\\boxed{B}", "b",
             "**B**", "<think>The answer is (C), or\n\\boxed{A}</think>\n(B)", "<think>\n(B)",
             "Bananas"]  # fmt: skip
    wanted = [1, 0, 1, 1, 0, 1, 1, 0, 0]
    assert scores(Choice("B"), texts)[0] == wanted
    assert scores(Choice(" b "), texts)[0] == wanted
    assert [choice_match(text, "(B)") for text in texts] == [bool(w) for w in wanted]


def test_a_pattern_is_sought_in_the_text_or_is_the_whole_answer():
    texts = ["x = 42\nanswer: 142", "answer: 42", "forty-two, or 42, is what I would say to this"]
    assert scores(Regex(r"\b42\b"), texts)[0] == [1, 1, 1]
    assert scores(Regex("42", where="answer"), texts)[0] == [0, 1, 0]
    assert scores(Regex("1?42", where="answer"), texts)[0] == [1, 1, 0]
    assert scores(Regex("(?i)FORTY"), texts)[0] == [0, 0, 1]


# -- parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Numeric("x"), "reference='x' is not a number"),
        (lambda: Numeric("3 or 4"), "is not a number"),
        (lambda: Numeric(math.inf), "reference=inf is not a number"),
        (lambda: Numeric(math.nan), "reference=nan is not a number"),
        (lambda: Numeric(5, -1), "tolerance=-1.0 must be at least 0"),
        (lambda: Numeric(5, math.nan), "tolerance=nan must be at least 0"),
        (lambda: Numeric(5, math.inf), "tolerance=inf must be at least 0"),
        (lambda: Choice("K"), "reference='K' must be a letter from A to J"),
        (lambda: Choice("AB"), "must be a letter from A to J"),
        (lambda: Choice(""), "must be a letter from A to J"),
        (lambda: Choice(3), "reference=3 must be a text"),
        (lambda: Regex("("), r"'\(' is not a pattern: missing \)"),
        (lambda: Regex("a", where="tex"), "where='tex' must be one of text, answer"),
        (lambda: build("exact", "verifier"), "exact needs reference"),
        (lambda: build("numeric(x)", "verifier"), "not a number"),
        (lambda: build("choice(reference=3)", "verifier"), "reference=.*must be"),
        (lambda: build("regex(a, where=tex)", "verifier"), "did you mean 'text'"),
        (lambda: build("numeric(5, tolerence=1)", "verifier"), "did you mean 'tolerance'"),
    ],
)
def test_wrong_parameters_are_refused_with_clear_words(make, said):
    with pytest.raises(BadInput, match=said):
        make()
