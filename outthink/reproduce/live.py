"""What live reproductions make of results: the samples of a vote as pools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Pools
from outthink.tasks import check, family
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result
from outthink.verify.extract import TextReader, canonical_answer


def pools(result: Result, problems: Sequence[TaskProblem]) -> Pools:
    """The candidates of a strategy that draws as many samples of every problem.

    Answers are the same where their normal forms are.
    """
    reader = TextReader(how=family(problems[0].family).READER)
    width = min(len(a.candidates) for a in result.answers)
    shape = (len(problems), width)
    classes, right = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=bool)
    tokens = np.zeros(shape)
    for i, (problem, answer) in enumerate(zip(problems, result.answers, strict=True)):
        numbers: dict[str, int] = {}
        for j, sample in enumerate(answer.candidates[:width]):
            found = reader.extract(sample.text)
            form = None if found is None else canonical_answer(found)
            if form is not None:
                classes[i, j] = numbers.setdefault(form, len(numbers))
            right[i, j] = check(problem, sample.text)
            tokens[i, j] = sample.tokens
    names = tuple(p.question for p in problems)
    return Pools(classes, right, tokens, np.ones(shape, dtype=bool), names)


def one_sample(found: Pools) -> Floats:
    """The share of right samples of each problem, ``(problems,)``."""
    return np.asarray(found.correct / found.counts)
