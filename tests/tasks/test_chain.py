import random

from hypothesis import given
from hypothesis import strategies as st

from outthink.tasks import chain

DIALS = st.tuples(st.integers(1, 12), st.integers(9, 9999), st.integers(0, 2**48))


@given(DIALS)
def test_a_problem_is_a_function_of_its_dials_and_its_steps_hold(dials):
    problem = chain.make(*dials)
    assert problem == chain.make(*dials)
    value = problem.steps[0].left
    for step in problem.steps:
        assert step.left == value
        got = {"+": value + step.right, "-": value - step.right, "*": value * step.right}
        if step.op == "/":
            assert value % step.right == 0
            assert step.value == value // step.right
        else:
            assert step.value == got[step.op]
        assert 1 <= step.value <= dials[1]
        value = step.value
    assert problem.answer == str(value)
    assert chain.check(problem, problem.solution)
    assert all(chain.step_labels(problem, problem.solution))
    assert all(chain.right_so_far(problem, problem.solution))


def test_a_false_path_with_the_right_answer_is_told_from_a_true_one():
    problem = chain.make(4, 99, 3)
    false_path = f"1 + 1 = 2\nanswer: {problem.answer}\n"
    assert chain.check(problem, false_path)
    assert chain.step_labels(problem, false_path) == [False, False]


def test_a_line_after_a_wrong_one_may_follow_from_it():
    problem = chain.make(4, 99, 3)
    first = problem.steps[0]
    text = f"{first.left} {first.op} {first.right} = {first.value + 1}\n"
    lines = chain.right_lines(problem, 1, first.value + 1)
    text += (lines[0] if lines else "nothing") + "\n"
    ends = [i for i, c in enumerate(text) if c == "\n"]
    judged = [chain.right_so_far(problem, text)[i] for i in ends]
    assert judged == [False, bool(lines)]
    assert chain.step_labels(problem, text) == [False, False]


@given(DIALS, st.integers(0, 2**32))
def test_an_unspoiled_copy_is_right_and_a_spoiled_one_is_caught(dials, seed):
    problem = chain.make(*dials)
    assert chain.spoiled(problem, random.Random(seed), 0.0) == problem.solution
    text = chain.spoiled(problem, random.Random(seed), 0.9)
    assert all(chain.right_so_far(problem, text)) == all(chain.step_labels(problem, text))


def test_an_answer_of_thousands_of_digits_is_wrong_and_no_error():
    problem = chain.make(3, 99, 1)
    for text in ("answer: " + "7" * 5000, "1 + 1 = " + "7" * 5000 + "\nanswer: 2\n"):
        assert not chain.check(problem, text)
        assert not chain.false_path(problem, text)
        assert not any(chain.step_labels(problem, text))
    assert chain.check(problem, f"answer: 00{problem.answer}\n")
