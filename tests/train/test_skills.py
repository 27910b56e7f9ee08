"""What the model is trained on, without torch: rows by a stand-in for the tokenizer of tokenizers."""

import math
import random
from types import SimpleNamespace

import pytest

from outthink.models.fly import WEIGHTS
from outthink.models.fly.tokenizer import JUDGE, THINK, THOUGHT, TRY, Tokenizer
from outthink.tasks import FAMILIES, family
from outthink.train import skills
from outthink.train.fly import ATTEMPT_DIALS

OURS = Tokenizer.load(WEIGHTS / "tokenizer.json")


class Stand:
    """The tokenizer of ``fly`` under the names that ``tokenizers`` has."""

    def token_to_id(self, token):
        return OURS.vocab[token]

    def encode_batch(self, texts):
        return [SimpleNamespace(ids=OURS.encode(text)) for text in texts]


WRITER = skills.Writer(Stand())


def rows_of(skill, name, count=40, seed=1, writer=WRITER):
    rng = random.Random(seed)
    drafts = [writer._draft(skill, name, rng) for _ in range(count)]
    return writer.encode(drafts)


def shown(ids):
    return "".join(OURS.id_bytes[i].decode() or OURS.tokens[i] for i in ids)


def learned(row):
    return shown([int(t) for t in row[1] if t >= 0])


@pytest.mark.parametrize("name", FAMILIES)
def test_solving_learns_the_solution_and_the_end(name):
    for row in rows_of("solve", name):
        text = shown(row[0])
        question, _, solution = text.removeprefix("<bos>").partition("\n")
        assert family(name).is_question(question)
        assert learned(row) == solution
        assert solution.endswith("<eos>")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_dial_tells_how_long_the_thoughts_are(name):
    dials = set()
    for row in rows_of("think", name, 120):
        ids = row[0]
        at, end = ids.index(WRITER.think), ids.index(WRITER.thought)
        said = OURS.decode([ids[at + 1]])
        if said == "\n":
            continue
        dials.add(int(said))
        assert int(said) == skills.dial_of(end - at - 2 - 1) or end - at - 3 == 0
        # neither the mark of thoughts nor the dial is learned: who asks for thoughts sets them
        assert row[1][at] < 0
        assert row[1][at + 1] < 0
        assert THOUGHT in learned(row)
    assert len(dials) >= 3


def test_dials_double():
    assert [skills.dial_of(n) for n in (0, 1, 16, 17, 32, 33, 64, 65, 128, 256, 257, 9999)] == [
        0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 6,
    ]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_revising_shows_attempts_and_learns_the_right_solution(name):
    for row in rows_of("revise", name):
        text = shown(row[0]).removeprefix("<bos>").removesuffix("<eos>")
        question, *attempts, _ = [text.partition("\n")[0], *text.partition("\n")[2].split(TRY)[1:]]
        assert family(name).is_question(question)
        assert len(attempts) in (1, 2)
        assert all(a.endswith("\n") for a in attempts)
        assert TRY not in learned(row)
        assert learned(row) == text.rpartition(TRY)[2] + "<eos>"


@pytest.mark.parametrize("name", FAMILIES)
def test_judging_learns_the_truth(name):
    said = set()
    for row in rows_of("judge", name, 60):
        _, solution, _ = shown(row[0]).split(JUDGE)
        verdict = learned(row).removesuffix("<eos>").rsplit("\n", 2)[-2]
        assert verdict in ("yes", "no")
        said.add((verdict, THINK in shown(row[0])))
        assert solution not in learned(row)
    assert len(said) == 4


def test_plain_solutions_slip_the_more_the_longer_they_are():
    tired = skills.Writer(Stand(), skills.Attempts([]), tiring=0.002)
    clean = {steps: [] for steps in range(1, 13)}
    for seed in range(1500):
        problem = skills.draw("chain", random.Random(seed), skills.DIALS)
        draft = tired._draft("solve", "chain", random.Random(seed))
        assert draft[0] == (problem.question + "\n", False)
        clean[len(problem.steps)].append(draft[1] == (problem.solution, True))
        assert WRITER._draft("solve", "chain", random.Random(seed))[1] == (problem.solution, True)
    for steps, found in clean.items():
        expected = math.prod(1 - 0.002 * i * i for i in range(1, steps + 1))
        assert sum(found) / len(found) == pytest.approx(expected, abs=0.15)
    row = tired._draft("solve", "lookup", random.Random(1))
    assert row[1] == (skills.draw("lookup", random.Random(1), skills.DIALS).solution, True)


def test_no_row_comes_from_another_split():
    rng = random.Random(5)
    for name in FAMILIES:
        for dials in (skills.DIALS, ATTEMPT_DIALS):
            drawn = [skills.draw(name, rng, dials) for _ in range(300)]
            assert {p.split for p in drawn} == {"train"}


def test_own_attempts_are_used_where_there_are_some():
    problem = skills.draw("chain", random.Random(2), skills.DIALS)
    record = {"family": "chain", "dials": dict(problem.dials), "seed": problem.seed,
              "texts": ["1 + 1 = 3\nanswer: 3\n", problem.solution]}  # fmt: skip
    own = skills.Writer(Stand(), skills.Attempts([record]), own=1.0)
    for row in rows_of("judge", "chain", 20, writer=own):
        assert problem.question in shown(row[0])
    assert skills.problem_of(record) == problem
    for row in rows_of("judge", "lookup", 5, writer=own):  # none of this family: spoiled references
        assert "Who is" in shown(row[0])


def test_the_mixture_has_every_skill_and_no_row_is_too_long():
    rows = WRITER.rows(random.Random(1), 200)
    assert 150 < len(rows) <= 200
    assert max(len(ids) for ids, _ in rows) <= skills.LONGEST
    text = "".join(shown(ids) for ids, _ in rows)
    assert all(mark in text for mark in (THINK, TRY, JUDGE))
    assert {name for _, name, _ in WRITER.table} == set(FAMILIES)


def test_drills_are_true():
    for _ in range(20):
        pieces = skills.drill(random.Random(_))
        for (head, read), (tail, write) in zip(pieces[::2], pieces[1::2], strict=True):
            assert (read, write) == (False, True)
            left, op, right = head.removesuffix(" =").split()
            a, b, c = int(left), int(right), int(tail)
            assert c == {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op]
