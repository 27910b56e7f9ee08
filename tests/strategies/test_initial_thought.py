"""Initial thought transfer: whose beginning stands in each sample."""

from collections import Counter

import pytest

import outthink
from outthink.api import needs_of
from outthink.core.registry import build
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(6, 30, 4)


def solve(spec, seed=0, model="fly-xs"):
    return outthink.solve(PROBLEM.question, model=model, strategy=spec, seed=seed)


def opening(sample):
    """The beginning that was drawn by itself: the first node after the root."""
    return sample.lineage()[1]


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("initial_thought(n=4, length=6)")
    check_strategy("initial_thought(n=4, donor=simulated(accuracy=0.9), length=6, scramble=true)")


def test_every_sample_begins_with_the_donors_tokens_and_goes_on_with_ones_own():
    found = solve("initial_thought(n=6, donor=fly, length=12)")
    assert len(found.candidates) == 6
    for sample in found.candidates:
        parts = sample.lineage()[1:]
        assert [p.role for p in parts] == ["fly", "main"]
        assert parts[0].tokens == 12
        assert sample.text.startswith(parts[0].text)
    assert len({opening(s).node for s in found.candidates}) == 6
    shared = solve("initial_thought(n=6, donor=fly, length=12, openings=2)")
    assert sorted(Counter(opening(s).node for s in shared.candidates).values()) == [3, 3]


def test_without_a_donor_the_rest_begin_as_the_first_sample_of_the_leading_answer():
    found = solve("initial_thought(n=8, length=12, openings=4)", seed=2)
    first, rest = found.candidates[:4], found.candidates[4:]
    assert len({opening(s).node for s in first}) == 4
    assert len({opening(s).node for s in rest}) == 1
    assert opening(rest[0]).node in {opening(s).node for s in first}
    # of which the text that leads is a continuation
    votes = Counter(s.text.split()[-1] for s in first)
    owner = next(s for s in first if opening(s).node == opening(rest[0]).node)
    assert votes[owner.text.split()[-1]] == max(votes.values())


def test_a_scrambled_opening_has_the_same_words():
    plain = solve("initial_thought(n=3, donor=fly, length=12)")
    mixed = solve("initial_thought(n=3, donor=fly, length=12, scramble=true)")
    for a, b in zip(plain.candidates, mixed.candidates, strict=True):
        # the words are joined in another order: the same letters
        assert opening(a).text != opening(b).text
        assert Counter(opening(a).text) == Counter(opening(b).text)


def test_a_greedy_donor_gives_one_opening_and_the_samples_differ():
    found = solve("initial_thought(n=6, donor=fly, length=16, donor_temperature=0)")
    assert len({opening(s).text for s in found.candidates}) == 1
    assert len({s.text for s in found.candidates}) > 1


def test_an_opening_that_is_a_whole_answer_is_one_sample():
    question = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
    found = outthink.solve(question, strategy="initial_thought(n=8, length=64, openings=2)")
    assert found.answer == "4"
    assert len({s.node for s in found.candidates}) == len(found.candidates) == 2


def test_it_needs_a_model_that_goes_on_with_a_beginning_and_one_sample_is_the_answer():
    assert needs_of(build("initial_thought", "strategy")) == {"PREFIX"}
    one = solve("initial_thought(n=1, length=12)")
    assert [s.text for s in one.candidates] == [one.text]


@pytest.mark.parametrize("tokens", [20, 70, 200])
def test_a_tight_budget_is_kept_and_leaves_an_answer_or_a_beginning(tokens):
    found = outthink.solve(
        PROBLEM.question,
        model="fly-xs",
        strategy="initial_thought(n=4, donor=fly, length=12)",
        budget=f"tokens={tokens}",
    )
    assert found.usage.completion_tokens <= tokens
    assert found.text
