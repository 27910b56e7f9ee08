import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem
from outthink.verify.extract import TextReader, canonical_answer, latex, reader_for, spoken

AUTO = TextReader()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 + 4 = 7\nanswer: 7\n", "7"),
        ("so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
        ("\\boxed{1} or rather \\boxed{x^{2}}", "x^{2}"),
        ("The answer is 1,234.", "1234"),
        ("**Final answer:** 12 apples", "12"),
        ("The final answer is: $\\boxed{42}$.", "42"),
        ("3 + 4 = 7\n7 + 1 =", None),
        ("I do not know what the answer could be, sorry about that", None),
        ("answer:", None),
        ("", None),
        ("42", "42"),
        ("\\boxed{unfinished", None),
    ],
)
def test_auto_reads_marked_answers_and_nothing_from_cut_reasoning(text, answer):
    assert AUTO.extract(text) == answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"),
        ("Answer: C", "C"),
        ("A is wrong, so\n(D)", "D"),
        ("b", None),
        ("B.", "B"),
        ("I think that A cat is nice", None),
    ],
)
def test_choices(text, letter):
    assert TextReader("choice").extract(text) == letter


def test_other_rules():
    assert TextReader("number").extract("first 3, then -1,250.5 in all") == "-1250.5"
    assert TextReader("json", field="n").extract('x {"n": 1} y {"n": "two"}') == "two"
    assert TextReader("json").extract("{no json") is None
    assert TextReader("regex", pattern=r"result=(\d+)").extract("result=1 result=22") == "22"
    assert TextReader("text").extract("  all of it ") == "all of it"


@pytest.mark.parametrize(
    "same",
    [
        ("1,000", "1000", "1000.0", "$1000$"),
        ("1/2", "0.5", "\\frac{1}{2}", "\\dfrac12", "50%"),
        ("Paris", "paris ", "\\text{Paris}"),
        ("-3", "-3.0"),
    ],
)
def test_equal_answers_have_one_normal_form(same):
    assert len({canonical_answer(a) for a in same}) == 1


@pytest.mark.parametrize(
    ("a", "b"), [("1", "11"), ("1/2", "1/3"), ("x", "y"), ("3", "-3"), ("1,5", "15")]
)
def test_different_answers_stay_apart(a, b):
    assert canonical_answer(a) != canonical_answer(b)


@given(st.lists(st.none() | st.sampled_from(["1", "1.0", "2", "x", "X"]), max_size=20))
def test_grouping_is_an_equivalence_in_order_of_appearance(answers):
    groups = anyio.run(AUTO.group, answers).tolist()
    seen = []
    for a, g in zip(answers, groups, strict=True):
        assert (g == -1) == (a is None)
        if g >= 0 and g not in seen:
            seen.append(g)
    assert seen == sorted(seen) == list(range(len(seen)))
    forms = [canonical_answer(a) if a is not None else None for a in answers]
    for i in range(len(answers)):
        for j in range(len(answers)):
            if forms[i] is not None and forms[j] is not None:
                assert (groups[i] == groups[j]) == (forms[i] == forms[j])


def test_reader_specs():
    problem = Problem.of("Which?\nA) one\nB) two")
    assert reader_for(problem, None).extract("The answer is B") == "B"
    plain = Problem.of("How many?")
    assert reader_for(plain, 'json("count")').field == "count"
    assert reader_for(plain, "reader(extract=boxed, equivalence=exact)").equivalence == "exact"
    for wrong in ("boxd", "reader(extract=boxed, eq=math)", 'regex(pattern="(")', "3"):
        with pytest.raises(BadInput):
            reader_for(plain, wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),  # begun in the prompt
        ("<think>a", ""),
        ("b\n<think>a", "b\n"),
        ("the tag <think> opens it", "the tag <think> opens it"),
        ("<think>a</think>b<think>c</think>d", "bd"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("<thinking>a</thinking>b", "b"),
    ],
)
def test_thinking_is_not_spoken(text, said):
    assert spoken(text) == said
    assert spoken(said) == said


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("3\u221a2", "3\\sqrt{2}"),
        ("\u221a(x+1)", "\\sqrt{x+1}"),
        ("x\u00b2", "x^{2}"),
        ("x\u207b\u00b9", "x^{-1}"),
        ("3\u00bd", "3 \\frac{1}{2}"),
        ("0.1\\overline{6}", "\\frac{1}{6}"),
        ("0.\\overline{142857}", "\\frac{1}{7}"),
        ("12,\\!345,\\!678", "12345678"),
        ("\\overline{AB}", "\\overline{AB}"),
        ("1,\\!2", "1,\\!2"),
    ],
)
def test_signs_and_repeating_decimals_are_written_as_latex(answer, plain):
    assert latex(answer) == plain
    assert latex(plain) == plain


@given(st.fractions(0, 50, max_denominator=60))
def test_a_repeating_decimal_is_its_fraction(x):
    digits, rests, rest = "", [], x.numerator % x.denominator
    while rest not in rests:
        rests.append(rest)
        digits += str(10 * rest // x.denominator)
        rest = 10 * rest % x.denominator
    begin = rests.index(rest)
    shown = f"{x.numerator // x.denominator}.{digits[:begin]}\\overline{{{digits[begin:]}}}"
    assert canonical_answer(shown) == canonical_answer(f"{x.numerator}/{x.denominator}")


@pytest.mark.parametrize(
    "piece", ["\n", " \n", "1", "\\left", "<think>", "(", "1,", ".\\overline", "A) "]
)
def test_long_texts_without_sense_are_read_in_time(piece):
    text = "Answer" + 40_000 * piece
    started = time.monotonic()
    for options in (False, True):
        TextReader(options=options).extract(text)
    canonical_answer(text)
    assert time.monotonic() - started < 10  # where time grows with the square, it is minutes
