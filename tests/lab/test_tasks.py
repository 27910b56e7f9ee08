"""Tasks: what the command line asks for, and what the rows of files mean."""

import csv
import gzip
import json
import re
import sys
import types
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink import tasks as families
from outthink.core import registry
from outthink.core.errors import BadInput, MissingNeed, SpecError, WorldError
from outthink.core.nouns import Problem
from outthink.lab.tasks import Task, TaskChoice, parse_task
from outthink.verify.extract import reader_for

DATA = Path(__file__).parents[3] / "shared" / "data"
TASKS = registry.entries("task")
FAMILY = {"chain", "countdown", "lookup", "program"}
ROWS = [
    {"question": "What is 2 + 3?", "answer": "5"},
    {"question": "What is 2 * 3?", "answer": "6"},
    {"question": "What is 9 - 3?", "answer": "6"},
]


def lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def load(path, rows, form="file", more=""):
    return parse_task(f'{form}("{lines(path, rows)}"{more})').load()


@pytest.fixture
def rows_of(tmp_path):
    def read(rows, form="file", more=""):
        return load(tmp_path / "rows.jsonl", rows, form, more)

    return read


# -- the command line's form -------------------------------------------------------------------------

DIALS = {
    "fly:chain": {"steps": (1, 12), "top": (9, 9999)},
    "fly:countdown": {"numbers": (3, 5), "top": (5, 50), "target": (10, 200)},
    "fly:lookup": {"hops": (1, 6), "facts": (1, 60)},
    "fly:program": {"lines": (1, 4), "examples": (3, 8)},
}


@st.composite
def generated(draw):
    name = draw(st.sampled_from(sorted(DIALS)))
    dials = {k: draw(st.none() | st.integers(*bounds)) for k, bounds in DIALS[name].items()}
    level = draw(st.sampled_from(["easy", "medium", "hard"]))
    split = draw(st.sampled_from(["train", "dev", "test"]))
    return TASKS[name].make(level, split, **dials)


words = st.text(min_size=1, max_size=12).filter(lambda s: s.strip())
read = st.builds(
    lambda path, columns: TASKS["file"].make(path, **columns),
    words,
    st.fixed_dictionaries({}, optional={"question": words, "answer": words, "id": words}),
)
published = st.builds(
    lambda name, path: TASKS[name].make(path),
    st.sampled_from(["gsm8k", "math", "mmlu", "humaneval", "mbpp"]),
    words,
)
whole = st.integers(1, 10**6)


@given(
    st.builds(
        TaskChoice,
        generated() | read | published,
        st.none() | whole,
        st.none() | whole,
        st.just(0) | whole,
    )
)
def test_the_spec_of_a_choice_names_it(choice):
    assert parse_task(choice.spec) == choice
    assert parse_task(choice.spec).spec == choice.spec
    assert registry.build(choice.task.spec, "task") == choice.task


@given(st.text(alphabet="fly:chain(),=\"' 5n.[]x", max_size=30))
def test_a_caret_points_into_what_was_written(text):
    failed = None
    try:
        parse_task(text)
    except BadInput as error:
        failed = error
    if isinstance(failed, SpecError):
        assert failed.source == text
        assert 0 <= failed.at <= len(text)
    elif failed is not None:
        assert not text.strip()


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ('fly:chain(level="huge"),n=5', 10, "level='huge' must be one of"),
        ("fly:chian,n=5", 0, "did you mean 'fly:chain'"),
        ("fly:chain,m=5", 10, "no option 'm'"),
        ("fly:chain,level=hard", 10, "write fly:chain(level=...)"),
        ("fly:chain,n=0", 10, "n=0 must be a whole number from 1 on"),
        ("fly:chain,n=many", 10, "must be a whole number from 1 on"),
        ("fly:chain,n=5,skip=-1", 14, "skip=-1 must be a whole number from 0 on"),
        ("fly:chain,5", 10, "by its name, such as n=100"),
        ("fly:chain(steps=13)", 10, "steps from 1 to 12"),
        ("fly:chain(", 10, "found the end"),
        ("fly:chain,n=", 12, "found the end"),
        ("fly:chain)", 9, "a bracket too many"),
        ("n=5", 0, "comes before its options"),
        ("[fly:chain]", 0, "a task is named"),
        ("x y.jsonl,m=5", 10, "no option 'm'"),
        ("../data/a.csv,n=0", 14, "n=0 must be"),
        ('file("q.csv", reader=boxd)', 14, "did you mean 'boxed'"),
    ],
)
def test_what_is_wrong_is_shown_at_its_place(text, at, said):
    with pytest.raises(SpecError, match=re.escape(said)) as caught:
        parse_task(text)
    assert (caught.value.source, caught.value.at) == (text, at)


@pytest.mark.parametrize(
    "path",
    ["questions.jsonl", "../data/x.csv", "my data, new.json.gz", "~/a/b.PARQUET", "C:\\x\\y.tsv"],
)
def test_a_bare_path_is_a_file(path):
    file = TASKS["file"].make
    assert parse_task(path) == TaskChoice(file(path))
    assert parse_task(f" {path} , n=2,seed=3 ") == TaskChoice(file(path), 2, 3)
    assert parse_task(f'"{path}",n=2'.replace("\\", "\\\\")) == TaskChoice(file(path), 2)


def test_a_function_is_no_task():
    with pytest.raises(BadInput, match="is no task"):
        registry.build(len, "task")


# -- which problems ----------------------------------------------------------------------------------


def test_more_than_there_are_is_an_error_that_counts_them(tmp_path):
    path = lines(tmp_path / "q.jsonl", ROWS)
    assert len(parse_task(f"{path},n=3").load()) == 3
    for asked in ("n=4", "n=2,skip=2", "skip=3"):
        with pytest.raises(BadInput, match="has only 3 problems"):
            parse_task(f"{path},{asked}").load()


def test_a_seed_shuffles_a_file_and_each_n_begins_alike(tmp_path):
    path = lines(tmp_path / "q.jsonl", [{"question": str(i), "answer": i} for i in range(50)])

    def ids(options=""):
        return [p.id for p in parse_task(f"{path}{options}").load()]

    assert ids() == [str(i) for i in range(1, 51)]
    assert sorted(ids(",seed=1")) == sorted(ids())
    assert ids(",seed=1") not in (ids(), ids(",seed=2"))
    assert ids(",seed=1,n=7") == ids(",seed=1")[:7]
    assert ids(",seed=1,n=7,skip=4") == ids(",seed=1")[4:11]


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_problems_of_fly_are_those_of_its_family(name):
    choice = parse_task(f"fly:{name}(level=easy, split=dev),n=6,seed=5,skip=2")
    made = families.problems(name, "easy", "dev", 8, 5)[2:]
    loaded = choice.load()
    assert [p.question for p in loaded] == [m.question for m in made]
    assert [p.meta["solution"] for p in loaded] == [m.solution for m in made]
    assert len({p.id for p in loaded}) == 6
    assert choice.reader == families.family(name).READER
    again = [families.family(name).make(seed=m.seed, **dict(m.dials)) for m in made]
    assert [p.id.split("/")[0] for p in loaded] == [name] * 6
    assert [int(p.id.split("/")[-1], 16) for p in loaded] == [m.seed for m in again]


def test_a_dial_that_is_given_replaces_that_of_the_level():
    easy = parse_task("fly:chain(level=easy, steps=7),n=20").load()
    assert {p.meta["steps"] for p in easy} == {7}
    assert {p.meta["top"] for p in easy} == {9, 20}


def test_a_family_that_is_used_up_says_so():
    # one fact of two among 24 people, by one of 8 relations: 4,416 questions, 1 in 10 of them test
    with pytest.raises(BadInput, match=r"n=1000: fly:lookup\(.*\) has only 4\d\d problems"):
        parse_task("fly:lookup(hops=1, facts=1),n=1000").load()


def test_fly_has_a_hundred_where_nobody_says():
    assert len(parse_task("fly:lookup,skip=3").load()) == 100


def test_two_problems_of_one_id_are_refused():
    @registry.register("task", "test_twice")
    @dataclass(frozen=True)
    class Twice(Task):
        """The same problem twice."""

        def problems(self, most=None, seed=None):
            return [Problem.of("Why?")] * 2

    try:
        assert parse_task("test_twice,n=1").reader is None
        with pytest.raises(BadInput, match="two problems of the id"):
            parse_task("test_twice").load()
    finally:
        TASKS.pop("test_twice")


# -- files -------------------------------------------------------------------------------------------


def test_every_kind_of_file_says_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    lines(tmp_path / "a.jsonl", ROWS)
    lines(tmp_path / "b.jsonl.gz", ROWS)
    lines(tmp_path / "c.json", ROWS)
    (tmp_path / "d.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "e.json").write_text(json.dumps({"version": 1, "examples": ROWS}))
    table(tmp_path / "f.csv", ROWS)
    (tmp_path / "g.tsv").write_text((tmp_path / "f.csv").read_text().replace(",", "\t"))
    (tmp_path / "h.csv.gz").write_bytes(gzip.compress((tmp_path / "f.csv").read_bytes()))
    for path in sorted(tmp_path.iterdir()):
        loaded = parse_task(str(path)).load()
        told = [(p.id, p.question, p.reference) for p in loaded]
        assert told == [
            ("1", "What is 2 + 3?", "5"),
            ("2", "What is 2 * 3?", "6"),
            ("3", "What is 9 - 3?", "6"),
        ], path.name


@pytest.mark.parametrize(
    ("question", "answer", "name"),
    [
        ("problem", "target", "task_id"),
        ("prompt", "gold", "unique_id"),
        ("Input", "solution", "ID"),
    ],
)
def test_usual_names_of_columns_are_known(rows_of, question, answer, name):
    rows = [{question: "What?", answer: 27.0, name: "a/1", "level": 3, "long": "x" * 100}]
    (problem,) = rows_of(rows)
    assert (problem.question, problem.reference, problem.id) == ("What?", "27", "a/1")
    assert problem.meta == {"level": 3}


def test_columns_may_be_named(rows_of):
    rows = [{"question": "no", "asks": "Why?", "says": "So", "k": 7}]
    (problem,) = rows_of(rows, more=', question=asks, answer="says", id=k')
    assert (problem.question, problem.reference, problem.id) == ("Why?", "So", "7")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", 'has no column for the answer; its columns are question, says; write answer="COLUMN"'),
        (", answer=say", "has no column 'say'; did you mean 'says'"),
        (", question=says", "no column for the answer"),
        (", answer=says, id=says", "row 2 of .* has no id of its own: says is 'So'"),
    ],
)
def test_columns_that_are_not_understood_are_listed(rows_of, more, said):
    rows = [{"question": "Why?", "says": "So"}, {"question": "What?", "says": "So"}]
    with pytest.raises(BadInput, match=said):
        rows_of(rows, more=more)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROWS[0], {"question": "What?", "answer": ""}], "row 2 of .*has no answer"),
        ([{"question": " ", "answer": "5"}], "row 1 of .*has no question"),
        ([{"question": "What?", "answer": ["a", "b"]}], "row 1 of .*has no answer"),
        ([ROWS[0], 7], "row 2 of .*no object"),
        ([], "has no rows"),
    ],
)
def test_a_row_that_says_too_little_is_named(rows_of, rows, said):
    with pytest.raises(BadInput, match=said):
        rows_of(rows)


def test_a_file_that_is_none(tmp_path):
    broken = tmp_path / "x.jsonl"
    broken.write_text('{"question": "a", "answer": "b"}\n{"question"\n')
    torn = tmp_path / "x.csv.gz"
    torn.write_bytes(b"no gzip")
    for path, said in (
        (broken, "line 2 is no JSON"),
        (torn, "cannot be read"),
        (tmp_path / "absent.csv", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=said):
            parse_task(str(path)).load()
    with pytest.raises(BadInput, match=r"ends in \.jsonl"):
        parse_task(f'file("{tmp_path}/notes.txt")').load()


def test_ids_that_are_not_unique_give_way_to_numbers(rows_of):
    assert [p.id for p in rows_of([r | {"id": 1} for r in ROWS])] == ["1", "2", "3"]


def test_a_worked_answer_is_kept_as_it_would_be_read(rows_of):
    answers = ["2 + 3 makes 5\n#### 5", r"So it is $\boxed{\frac12}$.", "The answer is 7.", "plain"]
    rows = [{"question": "What?", "answer": a} for a in answers]
    assert [p.reference for p in rows_of(rows)] == ["5", r"\frac12", "7", "plain"]


# -- options -----------------------------------------------------------------------------------------

CITIES = ["Rome", "Paris", "Oslo"]


@pytest.mark.parametrize(
    "answers", [("B", "C"), ("Paris", "Oslo"), (1, 2), ("1", "2"), ("(B)", "(C)")]
)
@pytest.mark.parametrize("form", ["file", "mmlu"])
def test_an_option_is_given_by_letter_text_or_place(rows_of, form, answers):
    rows = [{"question": "Where?", "options": CITIES, "answer": a, "subject": "x"} for a in answers]
    loaded = rows_of(rows, form)
    assert [p.reference for p in loaded] == ["B", "C"]
    assert loaded[0].choices == tuple(CITIES)
    assert loaded[0].question == "Where?\n\nA. Rome\nB. Paris\nC. Oslo"
    assert loaded[0].meta == {"subject": "x"}
    assert reader_for(loaded[0], None).extract("I say (B).") == "B"


def test_labels_and_options_by_letter(rows_of):
    arc = [
        {"question": "a", "choices": {"text": CITIES, "label": list("123")}, "answerKey": "3"},
        {"question": "b", "choices": {"text": CITIES, "label": list("ABC")}, "answerKey": "A"},
    ]
    assert [p.reference for p in rows_of(arc, "mmlu")] == ["C", "A"]
    by_letter = [{"question": "a", "options": dict(zip("BAC", CITIES, strict=True)), "answer": "A"}]
    (problem,) = rows_of(by_letter, "mmlu")
    assert problem.choices[0] == "Paris"
    apart = [{"question": "a", "A": "4", "B": "5", "answer": "B"}]
    assert rows_of(apart, "mmlu")[0].choices == ("4", "5")


def test_mmlu_of_its_own_files_without_a_header(tmp_path):
    (tmp_path / "x.csv").write_text('"2 + 2, is?",4,5,4,6,C\nWho?,a,b,c,d,A\n')
    one, two = parse_task(f'mmlu("{tmp_path}/x.csv")').load()
    assert one.choices == ("4", "5", "4", "6")
    assert (one.reference, two.reference) == ("C", "A")
    assert one.question.startswith("2 + 2, is?\n\nA. 4\nB. 5")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "a", "choices": CITIES, "answer": "D"}], "row 1 of .*has the answer 'D'"),
        ([{"question": "a", "choices": CITIES, "answer": 3}], "has the answer '3'"),
        (
            [
                {"question": "a", "choices": CITIES, "answer": "B"},
                {"question": "b", "choices": CITIES, "answer": "Oslo"},
            ],
            "row 2 of .*alike in all rows",
        ),
        ([{"question": "a", "choices": ["x"], "answer": "A"}], "2 to 10 options"),
        ([{"question": "a", "choices": list("abcdefghijk"), "answer": "A"}], "2 to 10 options"),
    ],
)
def test_an_answer_that_is_no_option(rows_of, rows, said):
    with pytest.raises(BadInput, match=said):
        rows_of(rows, "mmlu")


# -- the published sets --------------------------------------------------------------------------------


def test_gsm8k(rows_of):
    rows = [{"question": "How many?", "answer": "3 * <<3*400=1200>>400 is so.\n#### 1,200"}]
    (problem,) = rows_of(rows, "gsm8k")
    assert problem.reference == "1200"
    assert problem.meta["solution"] == rows[0]["answer"]


def test_math_with_and_without_an_answer_of_its_own(rows_of):
    solution = r"As $x = \frac{1}{2}$, we have $\boxed{\frac{1}{2}}$."
    row = {"problem": "What?", "solution": solution, "level": "Level 5", "type": "Algebra"}
    (bare,) = rows_of([row], "math")
    (told,) = rows_of([row | {"answer": r"\frac{1}{2}"}], "math")
    for problem in (bare, told):
        assert problem.reference == r"\frac{1}{2}"
        assert problem.meta == {"level": "Level 5", "type": "Algebra", "solution": solution}


FUNCTION = {
    "task_id": "HumanEval/0",
    "prompt": "import math\n\n\ndef half(x):\n    '''Half of x.'''\n",
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n",
}


def test_humaneval(rows_of):
    (problem,) = rows_of([FUNCTION], "humaneval")
    assert problem.id == "HumanEval/0"
    assert FUNCTION["prompt"].strip() in problem.question
    assert problem.meta["function"] == "half"
    with pytest.raises(BadInput, match="read it as humaneval"):
        rows_of([FUNCTION])
    with pytest.raises(BadInput, match="no column for the entry_point; its columns are task_id"):
        rows_of([{k: v for k, v in FUNCTION.items() if k != "entry_point"}], "humaneval")


@pytest.mark.parametrize(
    "setup", [{"test_setup_code": "import math"}, {"test_imports": ["import math"]}]
)
@pytest.mark.parametrize("asks", ["text", "prompt"])
def test_mbpp(rows_of, setup, asks):
    tests = ["assert half(4) == 2", "assert math.floor(half(3)) == 1"]
    row = {"task_id": 2, asks: "Write half.", "code": "def half(x):\n    return x / 2", **setup}
    (problem,) = rows_of([row | {"test_list": tests, "challenge_test_list": []}], "mbpp")
    assert problem.tests == ("import math", *tests)
    assert problem.question.startswith("Write half. Your code should pass these tests:")
    assert all(test in problem.question for test in tests)
    assert problem.meta["solution"] == row["code"]


def test_a_file_with_tests_is_read_as_code(tmp_path):
    rows = [{"question": "Write half.", "tests": ["assert half(4) == 2"], "answer": "x / 2"}]
    choice = parse_task(str(lines(tmp_path / "q.jsonl", rows)))
    assert choice.load()[0].tests == ("assert half(4) == 2",)
    assert choice.reader == "code"
    # a column of that name which holds no code is about something else
    rows = [{"question": "What?", "test": "unit 1", "choices": 4, "answer": "x"}]
    choice = parse_task(str(lines(tmp_path / "q.jsonl", rows)))
    assert choice.load()[0].tests == choice.load()[0].choices == ()
    assert choice.reader is None


# -- the hub -----------------------------------------------------------------------------------------


def test_the_hub_hands_its_rows_to_the_same_forms(monkeypatch):
    asked = []

    def load_dataset(name, subset, split):
        asked.append((name, subset, split))
        if name == "no/where":
            raise FileNotFoundError("no such set")
        return [{"question": "How many?", "answer": "It is so.\n#### 12"}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    choice = parse_task('hub("openai/gsm8k", subset=main, split=train, rows=gsm8k)')
    assert choice.load()[0].reference == "12"
    assert (choice.reader, asked) == ("number", [("openai/gsm8k", "main", "train")])
    assert parse_task(choice.spec) == choice
    assert parse_task('hub("a/b", id=question)').load()[0].id == "How many?"
    with pytest.raises(WorldError, match="no/where cannot be loaded"):
        parse_task('hub("no/where")').load()
    with pytest.raises(SpecError, match="rows=file alone"):
        parse_task('hub("a/b", rows=mmlu, answer=key)')
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingNeed, match=r"outthink\[hub\]"):
        choice.load()


# -- the real sets -----------------------------------------------------------------------------------


@pytest.mark.skipif(
    not (DATA / "problems").is_dir(),
    reason="the problem sets of ../shared/data are not beside this checkout",
)
@pytest.mark.parametrize(
    ("form", "path", "count", "first"),
    [
        ("gsm8k", "problems/gsm8k_test.jsonl.gz", 1319, "18"),
        ("math", "problems/math500.jsonl.gz", 500, r"\left( 3, \frac{\pi}{2} \right)"),
        ("math", "problems/aime24.jsonl.gz", 30, "204"),
        ("math", "problems/amc23.jsonl.gz", 40, "27"),
        ("mbpp", "problems/mbpp_sanitized.jsonl.gz", 427, None),
        ("humaneval", "codet_humaneval/HumanEval.jsonl.gz", 164, None),
        ("file", "problems/prosqa_test.json.gz", 500, "Sally is a sterpus."),
        ("file", "bbh_codex/questions.parquet", 6511, "False"),
        ("file", "zeroeval_crux/problems.parquet", 800, None),
        ("file", "esc_last_letters/problems.csv.gz", 500, "yajo"),
    ],
)
def test_the_real_sets_are_read(form, path, count, first):
    if path.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    loaded = parse_task(f'{form}("{DATA / path}")').load()
    assert len(loaded) == count
    assert len({p.id for p in loaded}) == count
    assert all(p.reference or p.tests for p in loaded)
    if first is not None:
        assert loaded[0].reference == first


def test_dials_are_the_parameters_of_their_family():
    for name in FAMILY:
        made = TASKS[f"fly:{name}"].make
        assert tuple(f.name for f in fields(made)) == (
            "level",
            "split",
            *families.family(name).DIALS,
        )
        assert dict(DIALS[f"fly:{name}"]) == dict(families.family(name).DIALS)
        assert len(list(islice(made().problems(3), 5))) == 3
