import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.tasks import program
from outthink.verify.sandbox import check_python


@given(st.integers(1, 4), st.integers(0, 2**48))
def test_the_interpreter_does_what_python_does(lines, seed):
    problem = program.make(lines, 5, seed)
    space: dict = {}
    exec(problem.solution, space)  # our own code, made by make()
    for x, y in (*problem.shown, *problem.tests):
        assert space["f"](x) == y == program.run(problem.statements, x)
    assert program.parse(problem.solution) == problem.statements


@pytest.mark.anyio
async def test_the_unit_tests_run_in_the_sandbox():
    problem = program.make(2, 5, 3)
    assert (await check_python(problem.solution, problem.unit_tests, 20.0)).passed
    wrong = problem.solution.replace("return x", "return x + 1")
    assert not (await check_python(wrong, problem.unit_tests, 20.0)).passed


@pytest.mark.parametrize(
    "text",
    ["", "def f(x):\n", "def f(x):\n x = x ** 2\n return x\n", "def f(x):\n x = x % 0\n return x\n",
     "def f(x):\n import os\n return x\n", "return x\n"],
)  # fmt: skip
def test_what_is_no_such_function_is_not_run(text):
    assert program.parse(text) is None
    assert not program.check(program.make(), text)


def test_passing_the_examples_alone_is_a_false_path():
    rng = random.Random(1)
    found = 0
    for seed in range(300):
        problem = program.make(1, 3, seed)
        for _ in range(20):
            text = program.spoiled(problem, rng, 1.0)
            statements = program.parse(text)
            shown = all(program.run(statements, x) == y for x, y in problem.shown)
            kept = all(program.run(statements, x) == y for x, y in problem.tests)
            assert program.false_path(problem, text) == (shown and not kept)
            found += shown and not kept
    assert found > 0


def test_a_line_is_right_while_the_function_can_still_become_right():
    problem = program.make(2, 5, 3)
    lines = problem.solution.splitlines(keepends=True)
    assert program.step_labels(problem, "".join(lines[:2])) == [True, True]
    assert program.step_labels(problem, lines[0] + " x = x % 2\n x = x % 2\n") == [
        True,
        False,
        False,
    ]
