"""What each method should do, on the bundled model and on simulated ones."""

import anyio
import numpy as np
import pytest

import outthink
from outthink.api import Session
from outthink.core.budget import Price
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.model import Generation, Reply
from outthink.core.registry import build
from outthink.lab.stats import paired, wilson
from outthink.tasks import chain
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Contender, coverage, measure

SPECS = (
    "greedy",
    "self_consistency(n=4)",
    "self_consistency(n=4, weights=prm)",
    "best_of_n(n=4, verifier=prm)",
    "best_of_n(n=4, verifier=prm, vote=weighted)",
    "best_of_n(n=4, verifier=prm(aggregate=min))",
    "beam_search(n=4, prm=prm, branch=2)",
    "beam_search(n=4, prm=prm, branch=2, lookahead=1)",
    "dvts(n=4, prm=prm, branch=2)",
    "particle_filter(n=4, prm=prm)",
    "particle_filter(n=4, prm=prm, ess=0.5, vote=weighted)",
    "revision(n=4, length=2)",
)
PROBLEM = chain.make(3, 9, 4)


@pytest.mark.parametrize("spec", SPECS)
def test_an_easy_question_is_answered_rightly_by_every_strategy(spec):
    answer = outthink.solve(PROBLEM.question, strategy=spec)
    assert answer.answer == str(PROBLEM.answer)
    assert answer.stopped == "finished"
    assert chain.check(PROBLEM, answer.text)
    assert answer.usage.calls >= 1
    assert answer.usage.estimated is False


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("tokens", [20, 90, 300])
def test_no_strategy_spends_more_tokens_than_its_budget(spec, tokens):
    problem = chain.make(8, 99, 1)
    answer = outthink.solve(problem.question, strategy=spec, budget=f"tokens={tokens}")
    assert answer.usage.completion_tokens <= tokens


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_answer_and_usage_at_any_concurrency(spec):
    problem = chain.make(8, 99, 2)

    def run(seed, concurrency):
        a = outthink.solve(
            problem.question,
            strategy=spec,
            seed=seed,
            concurrency=concurrency,
            budget="tokens=700, calls=60",
        ).to_json()
        a.pop("run")
        a["usage"].pop("seconds")
        return a

    assert run(3, None) == run(3, 1) == run(3, 5)


def test_search_without_a_verifier_is_refused_before_the_first_token():
    for name in ("best_of_n", "beam_search", "dvts", "particle_filter"):
        with pytest.raises(MissingNeed, match="needs a verifier"):
            outthink.solve(PROBLEM.question, strategy=f"{name}(n=4)")


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("beam_search(n=6, prm=prm)", "multiple"),
        ("self_consistency(n=0)", "n=0"),
        ("greedy(temperature=9)", "temperature"),
        ("revision(n=7, length=3)", "multiple"),
    ],
)
def test_wrong_parameters_are_said_before_anything_is_spent(spec, word):
    with pytest.raises(BadInput, match=word):
        outthink.solve(PROBLEM.question, strategy=spec)


def test_a_vote_is_worth_more_than_a_sample_where_samples_are_mostly_right():
    """Closed form: with p = .6 and wrong answers spread, the majority of 15 is right above .95."""
    problems = [f"Question number {i}?" for i in range(60)]

    async def main():
        found = []
        spec = 'simulated(accuracy=0.6, answer="42")'
        async with Session(spec) as session:
            for i, question in enumerate(problems):
                one = await session.solve(question, "self_consistency(n=1)", seed=i)
                many = await session.solve(question, "self_consistency(n=15)", seed=i)
                found.append((one.answer == "42", many.answer == "42"))
        return np.mean(found, axis=0)

    one, many = anyio.run(main)
    assert 0.4 < one < 0.8
    assert many > 0.9


def test_paired_and_wilson_intervals_hold_known_values():
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
    mean, lower, upper = paired(np.array([1.0, 1, 0, 1]), np.array([0.0, 1, 0, 1]))
    assert mean == 0.25
    assert lower < 0.25 < upper


def test_measuring_is_paired_and_resumes_from_its_store(tmp_path):
    problems = problems_of("chain", "easy", "dev", 3, 1)
    lineup = [
        Contender("vote", "self_consistency(n=4)"),
        Contender("best", "best_of_n(n=4, verifier=prm)"),
    ]
    store = str(tmp_path / "calls.db")

    async def main():
        return await measure(lineup, problems, store=store)

    first, again = anyio.run(main), anyio.run(main)
    assert [r.right.tolist() for r in first] == [r.right.tolist() for r in again]
    assert all(a.usage.stored_calls == a.usage.calls for r in again for a in r.answers)
    curve = coverage(first[0], problems)
    assert list(curve) == [1, 2, 4]
    assert curve[1] <= curve[2] <= curve[4]


class Scripted:
    """Gives these texts, whatever is asked; for rules about ties."""

    def __init__(self, texts):
        self.texts = texts

    def solve(self, strategy, seed=0):
        texts = self.texts

        class Live:
            name, price, native_n, max_tokens = "scripted", Price(), True, 99
            capabilities = frozenset()

            def count_tokens(self, messages, prefix=""):
                return 1

            async def generate(self, request, ticket):
                rows = [texts[node[-1]] for node in request.nodes]
                rows = [Generation(t, len(t.split())) for t in rows]
                return Reply(tuple(rows), self.price.usage(1, sum(g.tokens for g in rows)))

            async def aclose(self):
                pass

        return outthink.solve("q?", model=Live(), strategy=strategy, seed=seed)


def test_ties_of_best_of_n_go_by_rule():
    told = Scripted(["long and winding\nanswer: 1", "answer: 2", "some way\nanswer: 3"])
    spec = 'best_of_n(n=3, verifier=regex("answer"), ties={})'
    assert told.solve(spec.format("first")).answer == "1"
    assert told.solve(spec.format("shortest")).answer == "2"
    drawn = {told.solve(spec.format("random"), seed).answer for seed in range(30)}
    assert drawn == {"1", "2", "3"}
    assert (
        told.solve(spec.format("random"), 4).answer == told.solve(spec.format("random"), 4).answer
    )


def test_ties_of_a_vote_go_by_rule():
    told = Scripted(["answer: 1", "answer: 2", "answer: 2", "answer: 1"])
    spec = "self_consistency(n=4, ties={})"
    assert told.solve(spec.format("count")).answer == told.solve(spec.format("first")).answer == "1"
    drawn = {told.solve(spec.format("random"), seed).answer for seed in range(30)}
    assert drawn == {"1", "2"}
    # one sample of weight 1 against none: the answers of weight 0 share the last place
    weighted = 'self_consistency(n=4, weights=exact("2"), ties=score)'
    assert told.solve(weighted).answer == "2"
    with pytest.raises(BadInput, match="shortest"):
        told.solve("best_of_n(n=2, verifier=regex(x), vote=weighted, ties=shortest)")


def test_code_that_passes_wins_and_is_the_answer():
    wrong = "```python\ndef f(x):\n    return x\n```\nThe answer is this function."
    right = "Here:\n```python\ndef f(x):\n    return x + 1\n```"
    told = Scripted([wrong, right, right])
    answer = told.solve('best_of_n(n=3, verifier=python_tests("assert f(1) == 2"))')
    assert answer.text == right
    assert answer.answer == "def f(x):\n    return x + 1"
    # a pattern that is sought in the text needs no answer to be read from it
    told = Scripted(["The answer is 3.", "I say\nthat it is clear = yes"])
    assert told.solve('best_of_n(n=2, verifier=regex("clear"))').text.startswith("I say")


def test_what_is_cut_before_an_answer_is_said():
    answer = outthink.solve(PROBLEM.question, strategy="self_consistency(n=3, max_tokens=4)")
    assert answer.answer is None
    assert answer.confidence is None
    assert "3 of 3 samples were cut at 4 tokens" in "".join(answer.notes)


def test_questions_that_fly_does_not_know_are_said():
    answer = outthink.solve("What is 17 * 23?", strategy="best_of_n(n=2, verifier=prm)")
    assert sum("knows nothing but problems like" in note for note in answer.notes) == 2
    assert not outthink.solve(PROBLEM.question, strategy="best_of_n(n=2, verifier=prm)").notes


@pytest.mark.parametrize("n", [3, 4, 5, 10, 14, 31, 32, 300])
def test_an_interval_holds_its_share_and_is_never_without_width(n):
    for k in range(n + 1):
        low, high = wilson(k, n)
        assert 0 <= low <= k / n <= high <= 1
        assert high > low
    mean, low, high = paired(np.ones(n), np.ones(n))
    assert low < mean == 0 < high


def test_revision_that_is_ended_in_its_first_round_has_an_answer():
    runs = []

    def observe(kind, data):
        if kind == "sample":
            runs[0].cancel("enough")

    answer = outthink.solve(
        "q?",
        model="simulated(latency=0.05, spread=1.2)",
        strategy="revision(n=8, length=2)",
        concurrency=1,
        observer=observe,
        on_start=runs.append,
    )
    assert answer.stopped == "enough"
    assert answer.answer is not None


def test_that_no_sample_passed_is_said():
    answer = outthink.solve(
        "q?", model="simulated(answer=7)", strategy="best_of_n(n=2, verifier=exact(nonsense))"
    )
    assert any("no sample passed" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("selective(strategy=best_of_n, verifier=final_answer)", "best_of_n needs a verifier"),
        ("selective(strategy=until_confident)", "until_confident needs a verifier"),
        ("chops(judge=simulated_prm)", "writes none"),
        ("model_switch(models=[simulated_prm])", "writes none"),
    ],
)
def test_what_an_inner_part_lacks_is_said_before_anything_is_spent(spec, said):
    model = build("simulated", "model").open()
    with pytest.raises((BadInput, MissingNeed), match=said):
        outthink.solve("q?", model=model, strategy=spec)
    assert model.begun == 0
