"""ModelSwitch: whom it asks, what the votes weigh, and its limits."""

from dataclasses import dataclass

import pytest

import outthink
from outthink.core.budget import Price
from outthink.core.errors import BadInput
from outthink.core.model import Generation, Reply
from outthink.core.registry import _ENTRIES, build, register
from outthink.testing import check_strategy

QUESTION = "What is 6 * 7?"
SURE, TORN = "simulated(accuracy=1)", "simulated(accuracy=0.3, wrong=40, preferred=0)"


class Live:
    """Gives the answers of its spec in turn."""

    native_n, max_tokens, capabilities, price = True, 99, frozenset(), Price()

    def __init__(self, says):
        self.says, self.name = says, f"says {says}"

    def count_tokens(self, messages, prefix=""):
        return 1

    async def generate(self, request, ticket):
        rows = [
            Generation(f"answer: {self.says[i % len(self.says)]}" if self.says else "", 2)
            for i in range(request.n)
        ]
        return Reply(tuple(rows), self.price.usage(1, 2 * request.n))

    async def aclose(self):
        pass


@pytest.fixture
def says():
    """A model that gives the answers it is told, as ``says("112")``."""

    @register("model", "says")
    @dataclass(frozen=True)
    class Says:
        answers: str

        def open(self):
            return Live(self.answers)

    yield
    del _ENTRIES["model"]["says"]


def solve(spec, model=SURE, seed=0):
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed)


def switch(first, *others, **more):
    models = ", ".join(f'says("{o}")' for o in others)
    settings = "".join(f", {k}={v}" for k, v in more.items())
    return solve(f"model_switch(models=[{models}]{settings})", f'says("{first}")')


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("model_switch(n=5)")
    check_strategy("model_switch(models=[simulated(seed=1), simulated(seed=2)], n=6)")


def test_a_consistent_model_is_the_last_that_is_asked():
    spec = f"model_switch(models=[{TORN}, {TORN}], n=12)"
    alone = solve(spec)
    assert len(alone.candidates) == 4
    assert {s.role for s in alone.candidates} == {"main"}
    later = solve(f"model_switch(models=[{SURE}, {TORN}], n=12)", TORN)
    assert [s.role == "main" for s in later.candidates] == [True] * 4 + [False] * 4


def test_with_one_model_it_is_self_consistency():
    for seed in range(5):
        mine = solve("model_switch(n=9)", TORN, seed)
        vote = solve("self_consistency(n=9, ties=first)", TORN, seed)
        assert mine.answer == vote.answer
        assert [s.text for s in mine.candidates] == [s.text for s in vote.candidates]


def test_samples_are_split_evenly_the_first_get_what_is_left_over(says):
    found = switch("12", "34", "56", n=7)
    assert [s.role for s in found.candidates].count("main") == 3
    assert len(found.candidates) == 7
    assert len(switch("12", "34", "56", n=2).candidates) == 2


def test_a_consistent_model_outvotes_one_that_is_evenly_split(says):
    # four votes of weight 1/4 against three of weight 1, one of them for another answer
    found = switch("1122", "333", n=8)
    assert found.answer == "3"
    assert found.distribution == pytest.approx({"3": 4 / 5, "1": 0.1, "2": 0.1})
    # as votes that only count, the answer seen first wins the tie
    assert switch("1113", "2222", n=8, weights="count").answer == "2"
    assert switch("1133", "2211", n=8, weights="count").answer == "1"


def test_trust_multiplies_the_votes_of_a_model(says):
    assert switch("112", "222", n=6, weights="count").answer == "2"
    assert switch("112", "222", n=6, weights="count", trust="[5, 1]").answer == "1"
    assert switch("112", "222", n=6, weights="count", trust="[0, 1]").answer == "2"


def test_a_lower_threshold_asks_fewer_models(says):
    assert len(switch("1112", "222", n=8).candidates) == 8
    assert len(switch("1112", "222", n=8, threshold=0.75).candidates) == 4


def test_texts_without_an_answer_are_dropped_and_a_mute_model_is_passed_by(says):
    assert switch("", "22", n=4).answer == "2"


def test_a_verifier_chooses_among_the_samples_of_all_models():
    spec = f"model_switch(models=[{TORN}], n=8, verifier=prm(model=simulated_prm(auroc=1)))"
    found = solve(spec, TORN)
    assert len(found.scores["verifier"]) == 8


@pytest.mark.parametrize("trust", ["[1]", "[1, 2, 3]", "[1, -1]"])
def test_trust_is_one_number_for_each_model(trust):
    with pytest.raises(BadInput, match="2 numbers of at least 0"):
        build(f"model_switch(models=[fly-xs], trust={trust})", "strategy")
    with pytest.raises(BadInput, match="a list"):
        build("model_switch(models=fly-xs)", "strategy")
