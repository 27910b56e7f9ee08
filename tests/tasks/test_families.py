"""What holds for every family: the checker, the labels, the splits, mistakes, thoughts, export."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.tasks import FAMILIES, check, family, family_of, problems
from outthink.tasks.base import SPLITS, export, level_problems, stream

NAMES = pytest.mark.parametrize("name", FAMILIES)
SEEDS = st.integers(0, 2**48)


def drawn(name, seed):
    """A problem with dials drawn by the seed."""
    maker = family(name)
    rng = random.Random(seed)
    dials = {dial: rng.randint(low, high) for dial, (low, high) in maker.DIALS.items()}
    return maker, maker.make(seed=seed, **dials), rng


@NAMES
@given(seed=SEEDS)
def test_the_reference_is_right_in_every_way(name, seed):
    maker, problem, _ = drawn(name, seed)
    dials = dict(problem.dials)
    assert problem == maker.make(seed=seed, **dials)
    assert maker.is_question(problem.question)
    assert family_of(problem.question) is maker
    assert check(problem, problem.solution)
    assert maker.check(problem, maker.ending(problem))
    labels = maker.step_labels(problem, problem.solution)
    assert len(labels) == problem.solution.count("\n")
    assert all(labels)
    assert all(maker.right_so_far(problem, problem.solution))
    assert not maker.false_path(problem, problem.solution)
    assert "no\n" not in maker.critique(problem, problem.solution)


@NAMES
@given(seed=SEEDS)
def test_thoughts_end_in_a_right_answer_and_only_slips_are_not_learned(name, seed):
    maker, problem, rng = drawn(name, seed)
    marked, answer = maker.thoughts(problem, rng)
    text = "".join(piece for piece, _ in marked) + "</think>\n" + answer
    assert check(problem, text)
    assert all(piece for piece, _ in marked)
    assert any(learned for _, learned in marked)
    assert "</think>" not in "".join(piece for piece, _ in marked)


@NAMES
@given(seed=SEEDS)
def test_mistakes_are_seen_by_checker_labels_and_critique(name, seed):
    maker, problem, rng = drawn(name, seed)
    assert check(problem, maker.spoiled(problem, rng, 0.0))
    text = maker.spoiled(problem, rng, 0.5)
    labels = maker.step_labels(problem, text)
    assert len(labels) == text.count("\n")
    assert labels == sorted(labels, reverse=True)  # once wrong, wrong to the end
    assert len(maker.right_so_far(problem, text)) == len(text)
    right = check(problem, text) and not maker.false_path(problem, text)
    said = maker.critique(problem, text)
    assert said.endswith("no\n") == (not right) or name == "countdown"
    if check(problem, text) and not all(labels):
        assert maker.false_path(problem, text)


@NAMES
@given(
    seed=SEEDS, text=st.text(alphabet="answer: 0123456789+-*/=()xdefil\n leoftunr", max_size=120)
)
def test_any_text_can_be_judged(name, seed, text):
    maker, problem, _ = drawn(name, seed)
    assert len(maker.right_so_far(problem, text)) == len(text)
    assert len(maker.step_labels(problem, text)) == text.count("\n")
    assert maker.check(problem, text) in (True, False)
    assert maker.false_path(problem, text) in (True, False)
    assert maker.critique(problem, text).count("\n") >= 1


@NAMES
def test_levels_are_streams_of_different_problems_of_one_split(name):
    maker = family(name)
    assert set(maker.LEVELS) == {"easy", "medium", "hard"}
    for level, dials in maker.LEVELS.items():
        assert set(dials) == set(maker.DIALS)
        found = problems(name, level, "test", 60)
        assert found == problems(name, level, "test", 60)
        assert found != problems(name, level, "test", 60, seed=1)
        assert len({p.question for p in found}) == 60
        for p in found:
            assert p.split == "test"
            assert all(value in dials[dial] for dial, value in p.dials)


@NAMES
def test_the_splits_have_their_shares(name):
    maker = family(name)
    splits = [maker.make(seed=seed).split for seed in range(3000)]
    assert abs(splits.count("test") / 3000 - 0.1) < 0.02
    assert abs(splits.count("dev") / 3000 - 0.1) < 0.02


@NAMES
def test_bad_dials_levels_and_splits_are_said(name):
    maker = family(name)
    for dial, (low, high) in maker.DIALS.items():
        for wrong in (low - 1, high + 1):
            with pytest.raises(ValueError, match=f"{dial}={wrong}"):
                maker.make(**{dial: wrong})
    with pytest.raises(ValueError, match="the levels are easy"):
        next(level_problems(maker, "harder", "test"))
    with pytest.raises(ValueError, match="the splits are train"):
        next(stream(maker, "tset"))
    with pytest.raises(ValueError, match="the families are chain"):
        family(name + "s")


@NAMES
def test_export_writes_a_line_a_problem(name, tmp_path):
    found = problems(name, "easy", "dev", 12)
    path = tmp_path / "problems.jsonl"
    assert export(found, path) == 12
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [p.record() for p in found]
    for row in rows:
        dials = {dial: row[dial] for dial in family(name).DIALS}
        assert family(name).make(seed=row["seed"], **dials).question == row["question"]
        assert row["split"] == "dev"


def test_an_unknown_question_has_no_family():
    assert family_of("What is 6 * 7?") is None
    assert SPLITS == ("train", "dev", "test")
