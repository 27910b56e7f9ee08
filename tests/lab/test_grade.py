"""Grading: whatever is known of an answer decides, each text once, and gold is right by itself."""

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink import tasks as families
from outthink.core.errors import BadInput
from outthink.core.nouns import Problem
from outthink.lab import grade as grading
from outthink.lab.grade import check_gradable, grade, program_of, stated, validate
from outthink.lab.tasks import parse_task
from outthink.verify.extract import TextReader, reader_for
from outthink.verify.sandbox import Outcome

DATA = Path(__file__).parents[3] / "shared" / "data"
ASK = Problem.of("What is 2 + 3?")
beside = pytest.mark.skipif(
    not (DATA / "problems").is_dir(),
    reason="the problem sets of ../shared/data are not beside this checkout",
)


def right(problem, texts, reader=None):
    return anyio.run(grade, problem, texts, reader)


def task(spec):
    choice = parse_task(spec)
    return choice.load(), choice.reader


# -- what decides --------------------------------------------------------------------------------------


def test_the_first_that_is_known_decides():
    problem = replace(ASK, reference="5", choices=("5", "6"), tests=("assert False",))
    assert right(replace(problem, checker=lambda text: "6" in text), ["5", "6"]) == [False, True]
    assert right(replace(problem, tests=("assert x == 6",)), ["x = 5", "x = 6"]) == [False, True]
    assert right(replace(problem, tests=()), ["A", "(B)"]) == [True, False]
    assert right(replace(problem, tests=(), choices=()), ["5", "6"]) == [True, False]


def test_equal_texts_are_judged_once():
    asked = []

    def checker(text):
        asked.append(text)
        return text == "a"

    assert right(replace(ASK, checker=checker), ["a", "b", "a", "b"]) == [True, False, True, False]
    assert asked == ["a", "b"]


def test_equal_programs_are_run_once_and_two_at_a_time(monkeypatch):
    now, most, ran = 0, 0, []

    async def check_python(code, tests, seconds):
        nonlocal now, most
        ran.append(code)
        now += 1
        most = max(most, now)
        await anyio.sleep(0.01)
        now -= 1
        return Outcome("right" in code, "")

    monkeypatch.setattr(grading, "check_python", check_python)
    problems = [replace(ASK, tests=(f"assert {i}",)) for i in range(3)]
    texts = ["```python\nright\n```", "so:\n```python\nright\n```", "wrong"]
    found = {}

    async def all_at_once():
        async with anyio.create_task_group() as group:
            for i, problem in enumerate(problems):

                async def one(i=i, problem=problem):
                    found[i] = await grade(problem, texts)

                group.start_soon(one)

    anyio.run(all_at_once)
    assert found == {i: [True, True, False] for i in range(3)}
    assert len(ran) == 6
    assert most == 2


def test_nothing_known_is_an_error_before_anything_is_spent():
    with pytest.raises(BadInput, match="2 of 3 problems, the first 'one'"):
        check_gradable(
            [replace(ASK, id="one"), replace(ASK, reference="5"), replace(ASK, choices=("a", "b"))]
        )
    with pytest.raises(BadInput, match="1 of 1 problems, the first 'What is 2"):
        right(ASK, ["5"])
    check_gradable([replace(ASK, tests=("assert f",)), replace(ASK, checker=bool)])


# -- answers -------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["5", "5.0", "10/2", "6", "so 5", "answer: 5", ""]), max_size=6))
def test_a_reference_is_right_as_the_reader_tells_equal_answers(texts):
    reader = TextReader()
    answers = [reader.extract(text) for text in texts]
    known = {"5", "5.0", "10/2"}
    assert right(replace(ASK, reference="5"), texts) == [a in known for a in answers]


def test_a_reference_with_a_unit_is_right_with_and_without_it():
    texts = [r"\boxed{5 apples}", "answer: 5", "The answer is 5 apples.", "5 apples", "6 apples"]
    assert right(replace(ASK, reference="5 apples"), texts) == [True, True, True, True, False]


def test_each_reader_has_its_own_equality():
    problem = replace(ASK, reference=r"\frac{\sqrt{2}}{2}")
    texts = [r"\boxed{\frac{1}{\sqrt{2}}}", r"\boxed{\frac{\sqrt 2}{2}}", r"\boxed{\sqrt{2}}"]
    assert right(problem, texts, "reader(equivalence=math)") == [True, True, False]
    assert right(problem, texts[:1], "boxed") == [False]
    assert right(replace(ASK, reference="So"), ["so", "So"], "reader(extract=text)") == [True, True]
    exact = "reader(extract=text, equivalence=exact)"
    assert right(replace(ASK, reference="So"), ["so", "So"], exact) == [False, True]
    assert right(replace(ASK, reference="7"), ['{"answer": 7}'], 'json("answer")') == [True]


def test_a_reader_of_ones_own():
    class Shouted:
        def extract(self, text):
            return text.upper()

        async def group(self, answers):
            return [0 if a == answers[0] else 1 for a in answers]

    assert right(replace(ASK, reference="YES"), ["yes", "no"], Shouted()) == [True, False]


@pytest.mark.parametrize("reference", ["B", "b", "Paris"])
def test_an_option_is_chosen_by_letter_or_by_its_text(reference):
    problem = replace(ASK, choices=("Rome", "Paris"), reference=reference)
    texts = ["The answer is (B).", "B", "A", "The answer is Paris.", "paris", "Rome", "I pass"]
    assert right(problem, texts) == [True, True, False, True, True, False, False]
    assert right(problem, ["<think>(A)? no</think>\n(B)"], "choice") == [True]


# -- code ----------------------------------------------------------------------------------------------

PROMPT = "import math\n\n\ndef two():\n    return 2\n\n\ndef half(x):\n    '''Half of x.'''\n"
HALF = replace(
    ASK,
    tests=(
        "def check(candidate):\n    assert candidate(4) == 2\n    assert two() == 2",
        "check(half)",
    ),
    meta={"prompt": PROMPT, "function": "half"},
)


def test_a_function_is_gone_on_with_or_written_whole():
    texts = {
        "    return x / two()\n": True,
        "\n    y = x\n    return y / 2\n\n\nprint('done')\n": True,
        "```python\ndef half(x):\n    return math.floor(x / two())\n```": True,
        "So:\n\n```python\nfrom math import pi\n\ndef half(x):\n    return x / 2\n```\nDone.": True,
        f"```python\n{PROMPT}    return x / 2\n```": True,
        "```python\n    return x / 2\n```": True,
        "<think>def half(x): return x</think>\n```\ndef half(x):\n    return x / 2\n```": True,
        "    return x * 2\n": False,
        "```python\ndef halve(x):\n    return x / 2\n```": False,
        "Half of x is x / 2.": False,
        "    import sys\n    sys.exit(0)\n": False,
        "": False,
    }
    assert dict(zip(texts, right(HALF, list(texts)), strict=True)) == texts


def test_code_without_a_beginning_is_run_as_it_is():
    assert program_of(ASK, "```python\nx = 1\n```") == "x = 1\n"
    assert program_of(HALF, "def half(x):\n  pass").startswith("import math")
    assert program_of(HALF, "def half(x):\n  pass").count("def half") == 1


# -- fly -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain", "countdown", "lookup"])
def test_fly_is_graded_as_its_family_checks(name):
    home = families.family(name)
    problems, reader = task(f"fly:{name}(split=dev),n=25,seed=3")
    verdicts = set()
    for problem, made in zip(
        problems, families.problems(name, "medium", "dev", 25, 3), strict=True
    ):
        rng = random.Random(made.seed)
        texts = [
            made.solution,
            home.ending(made),
            *(home.spoiled(made, rng, 0.2) for _ in range(6)),
        ]
        checked = [home.check(made, text) for text in texts]
        assert right(problem, texts, reader) == checked
        verdicts.update(checked)
    assert verdicts == {True, False}


def test_the_programs_of_fly_are_graded_as_their_family_checks():
    home = families.family("program")
    problems, reader = task("fly:program,n=4")
    for problem, made in zip(
        problems, families.problems("program", "medium", "test", 4), strict=True
    ):
        texts = [made.solution, *(home.spoiled(made, random.Random(i), 0.6) for i in range(3))]
        assert right(problem, texts, reader) == [home.check(made, text) for text in texts]
        table = dict((*made.shown, *made.tests))
        # what the family's own interpreter cannot run is a function all the same
        assert right(problem, [f"```python\nf = {table!r}.get\n```"]) == [True]


def test_any_right_expression_counts_however_it_is_written():
    (problem,), reader = task("fly:countdown(numbers=3, top=10, target=40),n=1")
    made = families.family("countdown").make(
        seed=int(problem.id.split("/")[-1], 16), numbers=3, top=10, target=40
    )
    worn = made.answer.replace("*", "\\times").replace("(", "\\left(").replace(")", "\\right)")
    texts = [
        f"answer: {made.answer}",
        f"The answer is {made.answer} = {made.target}",
        f"\\boxed{{{worn}}}",
        f"answer: {made.answer} + 1",
        str(made.target),
        "",
    ]
    assert right(problem, texts, reader) == [True, True, True, False, False, False]


# -- gold against itself -------------------------------------------------------------------------------


def test_a_problem_that_contradicts_itself_is_found():
    sane = replace(ASK, id="sane", reference="5", meta={"solution": "It is so.\n#### 5"})
    problems = [
        sane,
        replace(sane, id="other", meta={"solution": "#### 6"}),
        replace(sane, id="no text", meta={"solution": "I do not know, for it is hard to tell."}),
        replace(
            sane, id="code", tests=("assert f() == 1",), meta={"solution": "def f(): return 2"}
        ),
        replace(sane, id="set", reference="5", checker=lambda text: "7" in text, meta={}),
    ]
    assert anyio.run(validate, problems) == ["other", "no text", "code", "set"]


@given(
    st.text(alphabet="ab7 .()[]<>\n", min_size=1, max_size=8).filter(lambda s: s.strip()),
    st.sampled_from(["text", "boxed", "json", 'json("x")', "auto"]),
)
def test_what_is_stated_is_read_again(reference, spec):
    reader = reader_for(ASK, spec)
    read = reader.extract(stated(reference, reader))
    if spec != "auto":
        assert read == (reference if spec.startswith("json") else reference.strip())
    assert right(replace(ASK, reference=reference), [stated(reference, reader)], spec) == [True]


@pytest.mark.parametrize("reference", ["}", ") } >", "{ [", "f(x) }"])
def test_an_answer_with_an_open_brace_is_stated_without_a_box(reference):
    assert stated(reference, TextReader()) == f"answer: {reference}"
    assert anyio.run(validate, [replace(ASK, reference=reference, id="x")]) == []


@beside
@pytest.mark.parametrize(
    ("spec", "doubtful"),
    [
        ('gsm8k("{0}/problems/gsm8k_test.jsonl.gz"),n=300,seed=1', []),
        ('math("{0}/problems/math500.jsonl.gz"),n=150,seed=1', []),
        # one ends with other people's solutions, one has its answer in bold brackets
        ('math("{0}/problems/aime24.jsonl.gz")', ["60", "75"]),
        ('math("{0}/problems/amc23.jsonl.gz")', []),
        ("{0}/problems/prosqa_test.json.gz", []),
        ("{0}/esc_last_letters/problems.csv.gz", []),
        ('humaneval("{0}/codet_humaneval/HumanEval.jsonl.gz"),n=8,seed=1', []),
        ('mbpp("{0}/problems/mbpp_sanitized.jsonl.gz"),n=8,seed=1', []),
    ],
)
def test_the_gold_of_the_real_sets_is_right_by_itself(spec, doubtful):
    problems, reader = task(spec.format(DATA))
    assert anyio.run(validate, problems, reader) == doubtful


@beside
def test_recorded_completions_are_right_where_they_were_recorded_so():
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = DATA / "codet_humaneval"
    problems, reader = task(f'humaneval("{folder}/HumanEval.jsonl.gz")')
    with gzip.open(folder / "completions.jsonl.gz", "rt") as rows:
        texts = [json.loads(next(rows))["samples"] for _ in range(12)]
    columns = parquet.read_table(folder / "samples.parquet").to_pydict()
    seen = set()
    for place in (0, 2, 8, 11):
        recorded = columns["correct"][100 * place : 100 * place + 100]
        some = [recorded.index(v) for v in (True, False) if v in recorded]
        found = right(problems[place], [texts[place][i] for i in some], reader)
        assert found == [recorded[i] for i in some]
        seen.update(found)
    assert seen == {True, False}
