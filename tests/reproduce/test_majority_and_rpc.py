"""What the reproductions of S004 and S084 compute, beside closed forms and plain counting."""

import numpy as np
import pytest

from outthink.lab.pools import Pools
from outthink.reproduce import s004_best_of_majority as s004
from outthink.reproduce import s084_rpc as s084


def test_errors_of_confidence_are_those_of_theory():
    counted, summed = s084.errors(np.random.default_rng(4), 3, 4000)
    p = np.random.default_rng(4).dirichlet(np.full(s084.PATHS, 0.8), 3)
    for i, n in enumerate(s084.SIZES[:5]):
        for row in range(3):
            vote, paths = [], []
            for a in range(s084.ANSWERS):
                mine = p[row, a :: s084.ANSWERS]
                vote.append(mine.sum() * (1 - mine.sum()) / n)
                unseen = (1 - mine[:, None] - mine) ** n
                np.fill_diagonal(unseen, (1 - mine) ** n)
                paths.append(mine @ unseen @ mine)
            assert counted[row, i] == pytest.approx(np.mean(vote), rel=0.15)
            assert summed[row, i] == pytest.approx(np.mean(paths), rel=0.4, abs=1e-5)


def test_of_all_samples_each_rule_decides_as_counting_by_hand_does():
    """Texts 0 and 1 lead to the right answer 0, texts 2 and 3 to answers 1 and 2."""
    texts = np.array([[0, 0, 1, 2, 2, 2, 2, 3]])
    p = np.array([0.4, 0.3, 0.2, 0.1])[texts]
    classes = np.array([0, 0, 1, 2])[texts]
    scores = {"text": texts.astype(float), "mean": np.log(p), "sum": np.log(p)}
    right, present = classes == 0, np.ones(texts.shape, dtype=bool)
    found = Pools(classes, right, np.ones(texts.shape), present, ("p",), scores)
    decided = s084.subsets(found, 8, 5, np.random.default_rng(0))
    assert (decided["vote"].accuracy, decided["pc sum"].accuracy) == (0.0, 1.0)
    assert decided["vote"].confidence == pytest.approx(0.5)
    assert decided["pc mean"].confidence == pytest.approx(0.7)
    assert decided["ppl sum"].accuracy == 1.0
    assert decided["pc sum"].ece() == pytest.approx(0.3)


def test_submissions_pass_where_one_of_them_is_right():
    right = np.array([[False, True, False]] * 3)
    places = np.array([[0, 1], [2, -1], [0, 2]])
    assert s004.submitted(right, places).tolist() == [1, 0, 0]
    assert s004.counted(np.array([[3, 3, 5], [1, 2, 4]])).tolist() == [[2, 2, 1], [1, 1, 1]]


def test_the_simulated_answers_have_the_probabilities_that_are_told():
    classes, rewards, right = s004.simulated(np.random.default_rng(1), 50, overrated=0.05)
    rare = classes > s004.COMMON
    assert rare.mean() == pytest.approx(0.3, abs=0.01)
    shares = (classes == right[:, None]).mean(axis=1)
    assert shares.min() > 0.005
    assert shares.max() < 0.45
    assert (rewards[rare] > 1).mean() == pytest.approx(0.05, abs=0.01)
    honest = s004.simulated(np.random.default_rng(1), 50, overrated=0.0)
    assert not honest[1][honest[0] > s004.COMMON].any()
