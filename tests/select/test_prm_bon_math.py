"""Agreement with the choices of another implementation (search-and-learn) on recorded samples."""

import gzip
import json
from pathlib import Path

import anyio
import numpy as np
import pytest

from outthink.select.aggregate import aggregate
from outthink.select.best import best
from outthink.select.vote import majority, weighted
from outthink.verify.extract import TextReader, boxed, canonical_answer

DATA = Path(__file__).parents[3] / "shared" / "data" / "prm_bon_math" / "best_of_n.jsonl.gz"

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="the recorded samples of ../shared/data are not beside this checkout"
)


@pytest.fixture(scope="module")
def problems():
    with gzip.open(DATA, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_every_reference_choice_is_ours_too(problems):
    reader, agreed, asked = TextReader("number"), 0, 0
    for problem in problems:
        texts = problem["completions"]
        answers = [TextReader().extract(t) or reader.extract(t) for t in texts]
        classes = anyio.run(reader.group, answers)
        scores = np.array([aggregate(steps, "last") for steps in problem["scores"]])
        rules = {
            "weighted": lambda n, c=classes, s=scores: weighted(c[:n], s[:n]),
            "maj": lambda n, c=classes: majority(c[:n]),
            "naive": lambda n, s=scores: best(s[:n]),
        }
        for field, wanted in problem.items():
            if field.startswith("pred_"):
                name, n = field.removeprefix("pred_").split("@")
                ours = answers[rules[name](int(n))]
                asked += 1
                agreed += ours is not None and canonical_answer(ours) == canonical_answer(
                    boxed(wanted)
                )
    assert asked == 3 * 3 * 9 + 10 * 3 * 3
    assert agreed == asked


def test_their_score_of_a_solution_is_that_of_its_last_step(problems):
    for problem in problems:
        ours = [aggregate(steps, "last") for steps in problem["scores"]]
        assert ours == pytest.approx(problem["agg_scores"])
