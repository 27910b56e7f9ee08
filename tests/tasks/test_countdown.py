import random
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.tasks import countdown


def brute(numbers, target):
    """Every order of the numbers, every sign, both ways to bracket three; by exact arithmetic."""

    def values(group):
        if len(group) == 1:
            return {group[0]}
        out = set()
        for cut in range(1, len(group)):
            for a, b in product(values(group[:cut]), values(group[cut:])):
                out |= {a + b} | ({a - b} if a > b else set())
                if min(a, b) > 1:  # times 1 and divided by 1 are no steps
                    out |= {a * b} | ({a // b} if a % b == 0 else set())
        return {v for v in out if 0 < v <= countdown.LIMIT}

    return any(target in values(order) for order in set(permutations(numbers)))


@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(1, 60))
def test_what_is_reachable_is_what_trying_everything_finds(numbers, target):
    assert countdown.reachable(tuple(sorted(numbers)), target) == brute(tuple(numbers), target)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(2 + 3) * 4", (20, (2, 3, 4))),
        ("2 + 3 * 4", (14, (2, 3, 4))),
        ("8 / 2 - 1", (3, (8, 2, 1))),
        ("7 / 2", None),
        ("7 / 0", None),
        ("(1 + 2", None),
        ("1 + + 2", None),
        ("", None),
        ("(" * 5000, None),
        ("__import__('os')", None),
        ("1 2", None),
    ],
)
def test_expressions_are_read_not_run(text, value):
    assert countdown.value_of(text) == value


def test_each_number_is_used_once():
    problem = countdown.make(3, 10, 40, seed=4)
    assert countdown.check(problem, f"answer: {problem.answer}\n")
    assert not countdown.check(problem, f"answer: {problem.target}\n")
    assert not countdown.check(problem, f"answer: {problem.answer} + 1 - 1\n")


@given(st.integers(0, 2**32))
def test_a_search_ends_in_a_path_that_its_lines_hold(seed):
    rng = random.Random(seed)
    problem = countdown.make(rng.randint(3, 5), 12, 60, seed=seed)
    (piece, _), answer = countdown.thoughts(problem, rng)[0][0], countdown.thoughts(problem, rng)[1]
    found = countdown.found_in(problem, piece)
    assert found is not None
    assert countdown.check(problem, f"answer: {found}\n")
    assert countdown.check(problem, answer)


def test_a_true_step_that_leads_nowhere_is_no_right_step():
    problem = next(
        p
        for p in (countdown.make(3, 10, 40, seed=s) for s in range(200))
        if not all(
            countdown.reachable(tuple(sorted(countdown._after(p.numbers, m))), p.target)
            for m in countdown._moves(p.numbers)
        )
    )
    dead = next(
        m
        for m in countdown._moves(problem.numbers)
        if not countdown.reachable(
            tuple(sorted(countdown._after(problem.numbers, m))), problem.target
        )
    )
    line = countdown._line(dead, countdown._after(problem.numbers, dead)) + "\n"
    assert countdown.step_labels(problem, line) == [False]


def test_a_right_expression_after_a_wrong_line_is_a_false_path():
    problem = countdown.make(3, 10, 40, seed=4)
    text = f"1 + 1 = 3 left 3 3\n3 + 3 = 6\nanswer: {problem.answer}\n"
    assert countdown.check(problem, text)
    assert countdown.false_path(problem, text)
