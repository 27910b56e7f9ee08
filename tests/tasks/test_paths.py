"""Answers that are right by a wrong way."""

import math
from itertools import combinations

import numpy as np
import pytest

from outthink.tasks import check, family, problems
from outthink.tasks.paths import by_path, covered, false_positive_rate


@pytest.mark.parametrize("name", ["chain", "countdown", "lookup"])
def test_a_reference_solution_is_right_by_its_path_and_a_bare_answer_is_not(name):
    for problem in problems(name, "easy", "dev", 5):
        assert by_path(problem, problem.solution)
        bare = family(name).ending(problem)
        assert check(problem, bare)
        if problem.solution != bare:
            assert not by_path(problem, bare)


def test_two_mistakes_that_cancel_are_a_false_positive():
    (problem,) = problems("chain", "easy", "dev", 1)
    lines = problem.solution.splitlines(keepends=True)
    wrong = ["1 + 1 = 3\n", *lines[1:]]
    assert check(problem, "".join(wrong))
    assert not by_path(problem, "".join(wrong))


def test_the_rate_is_the_share_of_right_answers_without_a_right_way():
    assert false_positive_rate([1, 1, 1, 0], [1, 0, 1, 0]) == pytest.approx(1 / 3)
    assert false_positive_rate([1, 0], [1, 0]) == 0.0
    assert math.isnan(false_positive_rate([0, 0], [0, 0]))


def test_coverage_is_the_share_of_subsets_with_a_right_one():
    labels = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    for k in (1, 2, 3, 5):
        wanted = [
            np.mean([any(row[list(some)]) for some in combinations(range(5), k)]) for row in labels
        ]
        assert covered(labels, k) == pytest.approx(wanted)
