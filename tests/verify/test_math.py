"""Mathematical equivalence: what is equal, and processes that stop, are replaced and leave nothing."""

import gzip
import json
import math
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.core.errors import BadInput, VerifierError
from outthink.core.registry import build
from outthink.verify import math as maths
from outthink.verify.extract import canonical_answer, reader_for
from outthink.verify.math import MathMatch, Workers, equal, math_match, merge
from tests.verify.scripted import data, live_run, scores

HANG = "9^{9^{9^9}}"

EQUAL = [
    ("\\frac{14}{3}", "14/3"), ("\\frac12", "0.5"), ("3\\sqrt{13}", "\\sqrt{117}"),
    ("\\sqrt{51}", "51^{1/2}"), ("6 - 5i", "-5i+6"), ("90^\\circ", "90"), ("p - q", "-q+p"),
    ("11\\sqrt2", "11\\sqrt{2}"), ("x^5 - x^4 + x^3 - x^2 + x - 1", "(x-1)(x^4+x^2+1)"),
    ("-\\frac{\\pi}{6}", "\\frac{-\\pi}{6}"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3, \\pi/2)"), ("1,-2", "-2,1"), ("3, 5, 7", "7,5,3"),
    ("x=5", "5"), ("y = 2x+3", "y=3+2x"), ("0.15", "15\\%"), ("\\text{Evelyn}", "Evelyn"),
    ("\\text{(C)}", "C"), ("\\{1,2\\}", "\\{2,1\\}"), ("(-\\infty, 2)", "x<2"),
    ("[-2,7]", "-2 \\le x \\le 7"),
    ("(-\\infty,2)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,2)"), ("5!", "120"),
    ("\\binom{5}{2}", "10"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
    ("\\begin{pmatrix} -1/3 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} -\\frac{1}{3} \\\\ 2 \\end{pmatrix}"),
    ("\\$18.90", "18.9"), ("10,080", "10080"), ("5 \\text{ cm}", "5"),
    ("864 \\mbox{ inches}^2", "864"), ("2k+2", "2(k+1)"), ("\\frac{1}{x+1}", "(x+1)^{-1}"),
    ("\\log_2 8", "3"), ("2^{10}", "1024"), ("\\frac{\\sqrt3}{3}", "\\frac{1}{\\sqrt3}"),
    ("\\sin^2 x+\\cos^2 x", "1"), ("x^2+2x+1", "(x+1)^2"), ("3\\frac12", "7/2"),
    ("2 1/2", "\\frac{5}{2}"), ("1 \\pm \\sqrt{19}", "1-\\sqrt{19},1+\\sqrt{19}"),
    ("1.5\\times 10^{3}", "1500"), ("6.02e23", "6.02\\times10^{23}"), ("3^{1/3}", "\\sqrt[3]{3}"),
    ("a^2b", "ba^2"), ("\\tan x", "\\frac{\\sin x}{\\cos x}"), ("0.\\overline{3}", "\\frac13"),
    ("0.1\\overline{6}", "1/6"), ("10,\\!000", "10000"), ("10\\,000", "10{,}000"),
    ("3√2", "3\\sqrt{2}"), ("√(x+1)", "\\sqrt{x+1}"), ("x²", "x^2"), ("½", "0.5"), ("3½", "7/2"),
    ("π/2", "\\frac{\\pi}{2}"), ("(−∞, 2)", "(-\\infty,2)"), ("6 * sqrt(2)", "6\\sqrt2"),
    ("sqrt(sqrt(16))", "2"),
]  # fmt: skip

DIFFERENT = [
    ("\\frac{14}{3}", "4.667"), ("6-5i", "6+5i"), ("p-q", "q-p"), ("(3,\\pi/2)", "(\\pi/2,3)"),
    ("1,-2", "1,2"), ("3,5,7", "3,5"), ("\\text{Evelyn}", "Evelin"), ("(1,2)", "[1,2]"),
    ("[1,2)", "(1,2]"), ("1024", "1025"), ("x^2+2x+1", "(x+1)^3"), ("\\infty", "-\\infty"),
    ("\\pi", "3.14"), ("\\frac{2}{3}", "0.667"), ("\\text{(C)}", "D"), ("\\text{east}", "west"),
    ("\\pm2", "2"), ("\\sqrt[3]{3}", "\\sqrt{3}"), ("x_1", "x_2"), ("-1", "1"), ("x", "1"),
    ("A", "B"), ("2", "two"), ("2 1/2", "3/2"), ("12:30", "12.5"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"),
    ("\\begin{pmatrix}a&b\\end{pmatrix}", "\\begin{pmatrix}ab\\end{pmatrix}"),
    ("\\frac{3}{2}^2", "3/2^2"), ("3/\\frac{4}{5}", "\\frac{3}{4}/5"),
    # what a reader of a part would take for the whole
    ("36√3", "36"), ("25√2/2", "25"), ("6 * sqrt(2)", "6"), ("4*sqrt(2*(1+m^2)*a)", "4"),
    ("0.\\overline{3}", "0"), ("31.\\overline{6}", "31"), ("9, 18, 27, 36, ...", "36"),
    ("10\\,000", "0"), ("10^{100}(10^{100} - \x0crac{3}{2}) + 11", "11"), ("a root of 5", "5"),
    ("5 中 6", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_answers(a, b):
    assert anyio.run(equal, a, b, 20.0) is True
    assert anyio.run(equal, b, a, 20.0) is True
    assert math_match(f"So it is \\boxed{{{a}}}.", b, 20.0)
    assert anyio.run(merge, [a, b], 20.0) == [0, 0]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_answers(a, b):
    assert anyio.run(equal, a, b, 20.0) is False
    assert anyio.run(equal, b, a, 20.0) is False
    assert not math_match(f"So it is \\boxed{{{a}}}.", b, 20.0)
    assert anyio.run(merge, [a, b], 20.0) == [0, 1]


# -- expressions with a known value ------------------------------------------------------------------


def written(tree, style):
    """An expression of whole numbers, as LaTeX (style 0) or as one types it (style 1)."""
    if isinstance(tree, int):
        return str(tree) if tree >= 0 else f"({tree})"
    op, a, b = tree
    left, right = written(a, style), written(b, style)
    if op == "/":
        return f"\\frac{{{left}}}{{{right}}}" if style == 0 else f"({left})/({right})"
    if op == "*":
        return f"({left})\\cdot({right})" if style == 0 else f"({left})*({right})"
    return f"({left}{op}{right})"


def value(tree):
    if isinstance(tree, int):
        return Fraction(tree)
    op, a, b = tree[0], value(tree[1]), value(tree[2])
    if a is None or b is None or (op == "/" and b == 0):
        return None
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[op]


TREES = st.recursive(
    st.integers(-9, 9), lambda t: st.tuples(st.sampled_from("+-*/"), t, t), max_leaves=5
).filter(lambda t: value(t) is not None)


@settings(max_examples=20)
@given(TREES, TREES)
def test_expressions_are_equal_where_their_values_are(one, two):
    texts = [written(one, 0), written(one, 1), written(two, 0)]
    same = value(one) == value(two)
    assert anyio.run(equal, texts[0], str(value(one)), 20.0)
    assert anyio.run(equal, texts[0], texts[1], 20.0)
    assert anyio.run(equal, texts[0], texts[2], 20.0) == same
    assert anyio.run(equal, texts[2], texts[0], 20.0) == same


@given(TREES, TREES, st.integers(0, 1), st.integers(0, 1))
def test_one_normal_form_is_one_value(one, two, a, b):
    """The other way round is for math-verify: a normal form may miss what is equal."""
    if canonical_answer(written(one, a)) == canonical_answer(written(two, b)):
        assert value(one) == value(two)


SIMPLE = st.sampled_from(
    ["x", "y", "1", "2", "-3", "\\pi", "\\sqrt{2}", "x^2", "\\frac{1}{x}", "(1,2)", "[1,2]", "1,2", "i",
     "\\{1,2\\}", "x=1", "\\infty", "50\\%", "x<1", "x_1", "\\sin x", "\\begin{pmatrix}1&2\\end{pmatrix}"]
)  # fmt: skip


@given(SIMPLE, SIMPLE)
def test_equality_is_reflexive_and_symmetric(a, b):
    assert anyio.run(equal, a, a, 20.0)
    spaced = a.replace(",", " , ").replace("=", " = ")
    assert anyio.run(equal, a, spaced, 20.0)
    assert anyio.run(equal, a, b, 20.0) == anyio.run(equal, b, a, 20.0)


PAIRS = [("x+1", "1+x"), ("\\sqrt{8}", "2\\sqrt{2}"), ("1/2", "0.5"), ("Paris", "paris"),
         ("(1,2)", "(1, 2)"), ("x^2", "x\\cdot x"), ("7", "7.0"), ("2^3", "8")]  # fmt: skip


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, len(PAIRS) - 1), st.integers(0, 1)), max_size=10))
def test_merge_is_an_equivalence_numbered_in_order_of_appearance(drawn):
    classes = anyio.run(merge, [PAIRS[k][side] for k, side in drawn], 20.0)
    seen = list(dict.fromkeys(k for k, _ in drawn))
    assert classes == [seen.index(k) for k, _ in drawn]
    reader = reader_for(live_run({}).problem, "text(equivalence=math)")
    texts = [PAIRS[k][side] for k, side in drawn]
    assert anyio.run(reader.group, [*texts, None]).tolist() == [*classes, -1]


# -- real answers ------------------------------------------------------------------------------------


def test_reference_answers_of_math_500_are_told_apart_and_known_in_another_dress():
    with gzip.open(data("problems", "math500.jsonl.gz"), "rt") as lines:
        golds = list(dict.fromkeys(json.loads(line)["answer"] for line in lines))
    symbolic = [g for g in golds if not canonical_answer(g).lstrip("-").replace("/", "").isdigit()]
    chosen = random.Random(0).sample(symbolic, 16)
    other = [g.replace("\\frac", "\\dfrac").replace(" ", "").replace("\\left", "") for g in chosen]
    other = [g.replace("\\right", "").replace("\\text{", "\\mbox{") for g in other]
    classes = anyio.run(merge, [*chosen, *other], 20.0)
    assert classes == [*range(16), *range(16)]


def test_recorded_answers_agree_with_a_plain_grader():
    """Of ZeroEval's answers to MATH level 5, graded there by comparing normalised texts."""
    table = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    folder = data("zeroeval_math_l5", "answers.parquet").parent
    problems = table.read_table(folder / "problems.parquet").to_pylist()
    gold = {row["problem"]: row["gold"] for row in problems}
    rows = table.read_table(folder / "answers.parquet").to_pylist()
    pairs = {r: sorted({(gold[x["problem"]], x["answer"]) for x in rows
                        if x["answer"] and x["correct"] == r}) for r in (0, 1)}  # fmt: skip
    assert all(anyio.run(equal, *pair, 20.0) for pair in pairs[1])
    wrong = random.Random(0).sample(pairs[0], 150)
    found = [pair for pair in wrong if anyio.run(equal, *pair, 20.0)]
    assert len(found) <= 0.03 * len(wrong), found  # sums that were not carried out, units


# -- processes, with the real library ----------------------------------------------------------------


def gone(pid):
    """Has the process ended (waited for up to ten seconds)?"""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_hang_is_stopped_and_the_pool_works_on():
    pool = Workers(1)
    try:
        assert pool.find(["x+1"], "1+x", 20.0) == 0
        first = next(iter(pool._all)).process
        started = time.monotonic()
        assert pool.find([HANG], "1", 0.5) is None
        assert time.monotonic() - started < 10
        assert gone(first.pid)
        assert pool.find(["x+2", "x+1"], "1+x", 20.0) == 1
        second = next(iter(pool._all)).process
        assert second.pid != first.pid
    finally:
        pool.close()
    assert gone(second.pid)
    assert not pool._all


def test_a_verifier_in_a_run_gives_no_score_where_none_can_be_told():
    none = "there is no answer, I am afraid, whatever I try"
    texts = ["\\boxed{x+1}", "\\boxed{1+x}", "\\boxed{x+2}", none, f"\\boxed{{{HANG}}}",
             f"<think>\\boxed{{x+1}}</think>{none}"]  # fmt: skip
    found, run = scores(MathMatch("x + 1", seconds=1.0), texts)
    assert found[:4] == [1.0, 1.0, 0.0, 0.0]
    assert math.isnan(found[4])
    assert found[5] == 0.0
    assert any("1 answers could not be compared in 1 s" in note for note in run.world.notes)
    assert run.meter.spent.calls == 0


# -- processes, with a small library in place of math-verify -----------------------------------------

LIBRARY = """
import os, time
print("a library that prints")

class LatexExtractionConfig:
    pass

def parse(text, *args, **options):
    return [text.strip("$")]

def verify(one, two, **options):
    said = one[0] + two[0]
    if "hang" in said:
        9 ** 9 ** 9 ** 9
    if "abort" in said:
        os.abort()
    if "memory" in said:
        raise MemoryError
    if "error" in said:
        raise RuntimeError("no")
    if "slow" in said:
        time.sleep(0.05)
    print("more")
    return one[0].lower() == two[0].lower()
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Makes pools on a library that starts at once."""
    (tmp_path / "math_verify.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pools = []

    def make(size=1):
        pools.append(Workers(size))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_the_first_equal_one_is_found_and_errors_are_passed_over(small):
    pool = small()
    assert pool.find(["a", "b", "B"], "b", 9.0) == 1
    assert pool.find(["a"], "b", 9.0) == -1
    assert pool.find([], "b", 9.0) == -1
    assert pool.find(["error", "x"], "x", 9.0) == 1
    assert pool.find(["\ud800", "é"], "é", 9.0) == 1
    assert len(pool._all) == 1


@pytest.mark.parametrize("way", ["hang", "abort", "memory"])
def test_after_any_end_of_a_worker_the_next_question_is_answered(small, way):
    pool = small()
    assert pool.find(["a"], "A", 9.0) == 0
    before = {worker.process.pid for worker in pool._all}
    assert pool.find(["a", way], "A b", 0.2) is None
    assert all(map(gone, before))
    assert pool.find(["a"], "A", 9.0) == 0


def test_each_comparison_has_the_whole_time(small):
    pool = small()
    golds = [f"slow {i}" for i in range(20)]  # one second in all
    assert pool.find(golds, "slow 19", 0.5) == 19


def test_a_worker_that_was_killed_is_replaced(small):
    pool = small()
    assert pool.find(["a"], "a", 9.0) == 0
    (victim,) = pool._all
    os.kill(victim.process.pid, signal.SIGKILL)
    assert pool.find(["b"], "b", 9.0) == 0
    assert victim not in pool._all


def test_a_question_whose_worker_is_killed_is_asked_again(small):
    pool = small()
    assert pool.find(["a"], "a", 9.0) == 0
    (victim,) = pool._all
    os.kill(victim.process.pid, signal.SIGSTOP)  # it will not answer
    answers = []
    asking = threading.Thread(target=lambda: answers.append(pool.find(["b"], "b", 60.0)))
    asking.start()
    while pool._idle:
        time.sleep(0.01)
    os.kill(victim.process.pid, signal.SIGKILL)
    asking.join(30)
    assert answers == [0]


def test_many_ask_side_by_side_and_a_hang_holds_up_nobody_else(small):
    pool, peak, answers = small(2), [], {}

    def ask(i):
        hangs = i == 3
        answers[i] = pool.find(["hang" if hangs else str(i)], "x" if hangs else str(i), 0.3)
        peak.append(len(pool._all))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {i: None if i == 3 else 0 for i in range(12)}
    assert max(peak) <= 2


def test_a_cancelled_question_returns_at_once_and_stops_its_worker(small, monkeypatch):
    monkeypatch.setattr(maths, "_POOL", small())

    async def main():
        assert await equal("x_0", "X_0", 9.0)  # a worker is there
        started = anyio.current_time()
        with anyio.move_on_after(0.2) as scope:
            await equal("hang_1", "x_1", 120.0)
        assert scope.cancelled_caught
        took = anyio.current_time() - started
        with anyio.fail_after(20):
            while maths._POOL._all:
                await anyio.sleep(0.02)
        assert await equal("x_2", "X_2", 9.0)
        return took

    assert anyio.run(main) < 20


@pytest.mark.parametrize("place", [0, 2, 5])
def test_one_answer_that_hangs_costs_merge_two_limits_at_most(small, monkeypatch, place):
    monkeypatch.setattr(maths, "_POOL", small(2))
    stops = []
    inner = maths._find

    async def counted(*args):
        found = await inner(*args)
        stops.append(found is None)
        return found

    monkeypatch.setattr(maths, "_find", counted)
    answers = ["x_1", "X_1", "x_2", "x_3", "X_2"]
    answers.insert(place, "hang_9")
    classes = anyio.run(merge, answers, 0.3)
    assert sum(stops) <= 2
    del classes[place]
    ranks = [sorted(set(classes)).index(c) for c in classes]
    assert ranks == [0, 0, 1, 2, 1]


def test_a_library_that_does_not_load_is_said(tmp_path, monkeypatch):
    (tmp_path / "math_verify.py").write_text("raise ImportError('no antlr here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = Workers(1)
    with pytest.raises(VerifierError, match="math-verify does not run: ImportError: no antlr here"):
        pool.find(["a"], "b", 9.0)
    assert not pool._all


def test_no_process_is_left_behind_and_a_fork_has_its_own(small, tmp_path):
    """A program that forks, and ends while a computation that nobody waits for still runs."""
    code = """
        import os, threading, time
        from outthink.verify import math
        pool = math._POOL
        assert pool.find(["a"], "A", 30.0) == 0
        child = os.fork()
        if child == 0:
            good = pool.find(["b"], "B", 30.0) == 0
            own = [w.process.pid for w in pool._all]
            print("forked", good, *own, flush=True)
            pool.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert pool.find(["c"], "C", 30.0) == 0
        hang = lambda: pool.find(["hang"], "x", 300.0)
        threading.Thread(target=hang, daemon=True).start()
        while pool._idle:
            time.sleep(0.01)
        print("workers", *[w.process.pid for w in pool._all], flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100,
        cwd=os.getcwd(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    good, *forked = lines["forked"].split()
    assert good == "True"
    workers = [*forked, *lines["workers"].split()]
    assert len(set(workers)) == 2
    assert all(gone(int(pid)) for pid in workers)


@pytest.mark.parametrize("seconds", [0, -1, 601, math.nan])
def test_wrong_limits_are_refused(seconds):
    with pytest.raises(BadInput, match="must be above 0 and at most 600"):
        MathMatch("1", seconds)


def test_specs():
    assert build('math("\\\\frac{1}{2}")', "verifier") == MathMatch("\\frac{1}{2}")
    assert build("math(12)", "verifier") == MathMatch(12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sqrt(2)", "\\sqrt{2}"),
        ("3 sqrt (x+(1))/2", "3 \\sqrt{x+(1)}/2"),
        ("sqrt(sqrt(2)+1)", "\\sqrt{\\sqrt{2}+1}"),
        ("\\sqrt(2)", "\\sqrt(2)"),
        ("asqrt(2)", "asqrt(2)"),
        ("sqrt(2", "sqrt(2"),
        ("(1)) sqrt(2)", "(1)) \\sqrt{2}"),
    ],
)
def test_roots_in_words_are_latex(text, said):
    assert maths._roots(text) == said
    assert maths._roots("sqrt(" * 20_000 + ")" * 20_000).count("{") == 20_000
