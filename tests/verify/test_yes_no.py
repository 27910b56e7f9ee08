"""A generative verifier: how a verdict is read, what its probability is, and what it costs."""

import itertools
import math
from dataclasses import dataclass

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outthink
from outthink.core.errors import BadInput, BudgetExhausted, NotAuthorised, ServerFailed
from outthink.core.model import LOGPROBS, PREFIX, Generation, Reply
from outthink.core.nouns import Problem
from outthink.core.registry import build, entries, register
from outthink.strategies.best_of_n import BestOfN
from outthink.testing import check_verifier
from outthink.verify.yes_no import CHECK, OPENING, REQUEST, THOUGHT, YesNo, chance, verdict
from tests.loopback import completion, serving
from tests.verify.scripted import QUESTION, Scripted, scores

# -- reading -----------------------------------------------------------------------------------------

YES = [
    "yes", "Yes", "YES.", " yes\n", "**Yes**", "**Yes.**", "`yes`", '"Yes"', "[[yes]]", "\\boxed{yes}",
    "\\boxed{\\text{Yes}}", "verdict: yes", "Verdict: Yes.", "**Verdict: yes**", "**verdict:** yes",
    "Verdict = yes", "verdict\nyes", "Verdict – yes", '{"verdict": "yes"}', '{"verdict": true}',
    '{"correct": true}', '{"right": "yes"}', "<verdict>yes</verdict>", "<answer>Yes</answer>", "correct",
    "Correct.", "The solution is correct.", "The answer is right.", "It is correct!", "This is true.",
    "Answer: yes", "Final answer: **yes**", "My judgement: correct", "The final answer is: yes",
    "The verdict is yes.", "Is this solution right? Yes.", "Not wrong.", "That's right.", "(yes)",
    "The solution isn't wrong.", "It is completely correct, because 3 + 4 = 7.",
    "<think>no, or is it?</think>yes", "3 + 4 = 7 ok\n</think>\nyes\n", "<think>\nno\n</think>\n\nYes",
    "verdict: no at first.\nBut on a second look,\nverdict: yes", "3 + 4 = 7 is right.\nSo yes.",
    "Step 1 is wrong? No errors in fact.\nverdict: yes", "Verdict: the solution is correct",
    "Verdict: yes (sure)", "In conclusion, the solution is right.", "Verdict： yes",
]  # fmt: skip
NO = [
    "no", "No", "NO.", "**No**", "**No.**", "`no`", "[[no]]", "\\boxed{no}", "verdict: no", "Verdict: No.",
    "**Verdict: No**", '{"verdict": "no"}', '{"verdict": false}', '{"correct": false, "why": "7"}',
    "<verdict>no</verdict>", "incorrect", "Incorrect.", "wrong", "The solution is incorrect.", "not right",
    "Not right.", "It is not right.", "The answer isn't right.", "The answer isn\u2019t correct",
    "The solution is not entirely correct.", "This is false.", "Answer: no", "So the answer is wrong.",
    "The verdict is no", "Verdict: not right", "Verdict: the solution is not correct",
    "<think>yes, I guess</think>no", "3 + 4 = 8 no\n</think>\nno\n", "Yes at first sight, but\nverdict: no",
    "3 + 4 = 7, not 8.\nSo no.", "verdict: yes was my guess.\nverdict: no", "The answer was wrong",
]  # fmt: skip
NEITHER = [
    "", " \n", "Hmm.", "verdict: X", "verdict: yes or no", "yes/no", "Yes or no?", "verdict:", "maybe",
    "partly right", "The correct answer is 7.", "The right answer: 7", "wrong or right, who knows", "7",
    "No errors were found", "not sure", "I do not know", "nothing", "yesterday", "<think>yes",
    "<think>\nno\n", '{"verdict": null}', '{"verdict": ["yes"]}', "where X is yes or no.",
    "no doubt there is more", "\ud800", "{" * 3000, "so " * 3000, "[[" * 3000, "the answer is " * 2000,
    "so, thus: " * 2000, "verdict " * 3000, "(" * 3000, "correct " * 3000,
]  # fmt: skip


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("texts", "value"), [(YES, True), (NO, False), (NEITHER, None)])
def test_a_verdict_is_read_in_many_dresses(texts, value, check):
    wrong = [t[:60] for t in texts if verdict(t, check) is not value]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Yes, since 3 + 4 = 7.\nBen has 7 pens, no more", True),
        ("No. The second step adds 5.\nIt should be 7.", False),
        ("Yes\n\nThe steps follow.", True), ("Incorrect: it should be 8\nas 3 + 5 = 8", False),
        ("No because of step 2", False),
    ],
)  # fmt: skip
def test_without_a_check_the_first_word_counts_cut_short_or_not(text, first):
    assert verdict(text) is verdict(text, cut=True) is first
    if "\n" in text:
        assert verdict(text, check=True) is None  # a check may begin with any word


def test_of_a_check_that_was_cut_only_a_named_verdict_is_read():
    assert verdict("3 + 4 = 7\nno", check=True) is False
    assert verdict("3 + 4 = 7\nno", check=True, cut=True) is None
    assert verdict("3 + 4 = 7\nverdict: yes\nfor 3", check=True, cut=True) is True


PIECES = st.sampled_from(
    ["yes", "no", "not", "right", "wrong", "correct", "verdict", ":", " ", "\n", ",", ".", "/", "or", "is",
     "the solution", "so", "answer", "<think>", "</think>", "**", "[[", "]]", "{", "}", '"', "because", "7"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join), st.booleans(), st.booleans())
def test_whatever_is_said_it_is_yes_no_or_nothing(text, check, cut):
    assert verdict(text, check, cut) in (True, False, None)


@given(st.text(max_size=200), st.booleans(), st.sampled_from(["yes", "no"]))
def test_the_line_that_was_asked_for_is_read_after_any_text(before, check, word):
    assert verdict(f"x{before}\nverdict: {word}", check) is (word == "yes")


# -- the probability ---------------------------------------------------------------------------------


class Spelled(Scripted):
    """Writes tokens with their probabilities: ``write`` gives a list of both, or a text.

    With ``end`` the end of a text is a token too, as some models count.
    """

    name, native_n, max_tokens = "spelled", True, 64

    def __init__(self, write, capabilities=(LOGPROBS,), end=False):
        super().__init__(write)
        self.capabilities, self.end, self.requests = frozenset(capabilities), end, []

    async def generate(self, request, ticket):
        self.asked.append(request.messages)
        self.requests.append(request)
        await anyio.sleep(0)
        out = []
        for seed in request.seeds:
            spelled = self.write(request.messages, seed)
            if isinstance(spelled, str):
                spelled = [(spelled, 1.0)]
            text = "".join(t for t, _ in spelled)
            logprobs = [math.log(p) for _, p in spelled] + ([0.0] if self.end else [])
            kept = np.array(logprobs) if request.logprobs else None
            out.append(Generation(text, len(logprobs), logprobs=kept, logprob=sum(logprobs)))
        written = sum(g.tokens for g in out)
        return Reply(tuple(out), self.price.usage(10, written))


def asked_of(verifier, spelled, texts=("7",), **options):
    model = Spelled(lambda messages, seed: spelled, **options)
    found, run = scores(verifier, list(texts), {"main": model})
    return found, run, model


@pytest.mark.parametrize("end", [True, False])
@given(p=st.floats(0.01, 1))
def test_the_score_is_the_probability_of_yes(end, p):
    for tokens, score in (
        ([("yes", p)], p), ([("no", p)], 1 - p), ([(" Yes", p)], p), ([("No", p), (".", 0.3)], 1 - p),
        ([("Yes", p), (",", 0.5), (" since", 0.5), (" it", 0.5), (" is", 0.5), (" right", 0.5)], p),
        ([("In", p), ("correct", 0.9)], 1 - p), ([("no", p), ("\n", 1.0)], 1 - p),
    ):  # fmt: skip
        found, _, _ = asked_of(YesNo(), tokens, end=end)
        assert found == pytest.approx([score])


LATE = (
    [("No", 0.5), (" slip", 0.5), (".", 0.5), ("\n", 0.4), ("verdict", 0.4), (":", 1.0)],
    [("3 + 4 = 7 ok", 0.5), ("\n", 0.5), ("</think>", 0.4), ("\n", 1.0)],
)


@pytest.mark.parametrize("before", LATE)
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("after", [[], [("\n", 1.0)]])
@given(p=st.floats(0.01, 1))
def test_a_verdict_at_the_end_has_its_probability(before, end, after, p):
    for word, score in (("yes", p), ("no", 1 - p)):
        word = f" {word}" if before[-1][0] == ":" else word
        found, _, _ = asked_of(YesNo(check=True), [*before, (word, p), *after], end=end)
        assert found == pytest.approx([score])


@pytest.mark.parametrize("check", [False, True])
def test_where_the_token_of_the_verdict_cannot_be_told_it_counts_one_or_zero(check):
    for tokens, score in (
        ([("**", 0.5), ("Yes", 0.5), ("**", 0.5)], 1.0),
        ([("Not", 0.5), (" right", 0.5)], 0.0),
        ([("verdict", 0.5), (":", 0.5), (" no", 0.5), (" (step 2)", 0.5)], 0.0),
        ([('{"verdict": ', 0.5), ("true", 0.5), ("}", 0.5)], 1.0),
        ([("</think>", 0.5), ("yes", 0.5)], 1.0), ([("3 + 4 = 7", 0.5), ("\n", 0.5), ("no", 0.5)], 0.0),
    ):  # fmt: skip
        found, _, _ = asked_of(YesNo(check=check), tokens)
        assert found == [score]


def test_without_log_probabilities_a_verdict_counts_one_or_zero_and_none_are_asked_for():
    for text, score in (("Yes.", 1.0), ("**No**", 0.0)):
        found, _, model = asked_of(YesNo(), [(text, 0.7)], capabilities=())
        assert found == [score]
        assert not model.requests[0].logprobs
        found, _, model = asked_of(YesNo(), [(text, 0.7)])
        assert model.requests[0].logprobs


def test_hidden_thoughts_among_the_log_probabilities_are_not_taken_for_the_verdict():
    logprobs = np.log([0.3] * 40 + [1.0, 0.8])
    assert chance("verdict: yes", logprobs, True) == pytest.approx(0.8)
    assert chance("yes", logprobs, True) == 1.0
    assert chance("no, since 3 + 4 = 7", logprobs, False) == 0.0


@pytest.mark.parametrize(
    ("value", "p"), [(-math.inf, 1), (math.nan, 1), (1e-7, 1), (-0.5, math.exp(-0.5))]
)
def test_a_log_probability_that_is_none_does_not_count(value, p):
    assert chance("yes", np.array([value]), True) == pytest.approx(p)
    assert chance("no", np.array([value]), False) == pytest.approx(1 - p)
    assert chance("yes", np.array([]), True) == chance("yes", None, True) == 1.0


@given(st.text(max_size=20), st.lists(st.floats(-30, 0), max_size=30), st.booleans(), st.booleans())
def test_a_chance_is_from_zero_to_one_whatever_came(text, logprobs, right, check):
    for word in ("", "yes", "no\n"):
        assert 0 <= chance(text + word, np.array(logprobs), right, check) <= 1


# -- what is asked -----------------------------------------------------------------------------------


def test_the_chat_is_the_problem_the_solution_as_the_assistants_own_and_the_request():
    problem = Problem.of([
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": [{"type": "text", "text": "And doubled?"}]},
    ])  # fmt: skip
    for check, request in ((False, REQUEST), (True, CHECK)):
        model = Scripted(lambda messages: "verdict: yes")
        scores(YesNo(check=check), ["</think> 8"], {"main": model}, question=problem)
        assert model.asked == [
            (*problem.messages, {"role": "assistant", "content": "</think> 8"},
             {"role": "user", "content": request})
        ]  # fmt: skip
        assert request.startswith(OPENING)
    assert OPENING == "Is this solution right?"  # the bundled model listens to these words


def test_a_check_begins_with_a_thought_where_the_model_can_go_on_from_one():
    spelled = [("3 + 4 = 7 ok\n", 0.5), ("</think>", 0.9), ("\n", 1.0), ("yes", 0.7), ("\n", 1.0)]
    for capabilities, prefix in (((LOGPROBS, PREFIX), THOUGHT), ((LOGPROBS,), "")):
        for check in (True, False):
            found, run, model = asked_of(
                YesNo(check=check, max_tokens=9), spelled, capabilities=capabilities, end=True
            )
            (request,) = model.requests
            assert request.prefix == (prefix if check else "")
            assert (request.max_tokens, request.stop, request.temperature) == (9, (), 0.0)
            assert found == pytest.approx([0.7])
            assert {s.role for s in run.world.samples.values()} == {"judge"}
    assert THOUGHT == "<think>\n"


def test_a_thought_that_the_model_never_ends_is_read_as_what_it_says():
    found, _, _ = asked_of(
        YesNo(check=True), [("All is right.\nverdict:", 0.5), (" no", 0.6)], capabilities=(PREFIX,)
    )
    assert found == [0.0]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_the_score_is_the_mean_over_n_checks(native, prefix):
    said = {}

    def write(messages, seed):
        share = {"7": 0.75, "8": 0.25}[messages[-2]["content"]]
        turns = said.setdefault(messages[-2]["content"], {})
        turn = turns.setdefault(seed, len(turns))
        right = turn < 8 * share
        word = "yes" if right else "no"
        return [(f"check {turn}", 0.5), ("</think>", 0.5), ("\n", 1.0), (word, 0.9)]

    capabilities = (LOGPROBS, PREFIX) if prefix else (LOGPROBS,)
    model = Spelled(write, capabilities)
    model.native_n = native
    verifier = YesNo(check=True, n=8, temperature=0.7)
    found, _ = scores(verifier, ["7", "8", "7"], {"main": model})
    assert found == pytest.approx([0.9 * 0.75 + 0.1 * 0.25, 0.9 * 0.25 + 0.1 * 0.75, 0.7])
    assert sum(len(r.seeds) for r in model.requests) == 16  # equal texts are asked about once
    assert len(model.requests) == (2 if native else 16)
    assert {r.temperature for r in model.requests} == {0.7}


def test_a_text_that_holds_nothing_is_wrong_and_costs_nothing():
    found, _, model = asked_of(YesNo(), [("yes", 0.9)], texts=("", " \n", "7"))
    assert found == pytest.approx([0.0, 0.0, 0.9])
    assert len(model.asked) == 1
    assert asked_of(YesNo(), [("yes", 0.9)], texts=("",))[0] == [0.0]


# -- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
def test_a_reply_that_says_neither_is_asked_for_once_more_and_no_other(check):
    talk = {"plain": ["yes"], "late": ["Hmm.", "No."], "mute": ["Hmm.", "Well."]}
    seen = dict.fromkeys(talk, 0)

    def write(messages, seed):
        text = messages[-2]["content"]
        seen[text] += 1
        return talk[text][seen[text] - 1]

    model = Spelled(write, (PREFIX,))
    found, run = scores(YesNo(check=check), list(talk), {"main": model})
    assert found[:2] == [1.0, 0.0]
    assert math.isnan(found[2])
    assert seen == {"plain": 1, "late": 2, "mute": 2}
    assert any("1 of 3 replies gave no verdict" in note for note in run.world.notes)
    for request in model.requests:
        roles = [m["role"] for m in request.messages]
        assert all(a != b for a, b in itertools.pairwise(roles))
        assert request.messages[-1]["content"].startswith(OPENING)
    first, again = (r for r in model.requests if r.messages[-2]["content"] == "mute")
    assert first.messages != again.messages
    assert (bool(first.prefix), again.prefix) == (check, "")


def test_replies_that_say_neither_do_not_count_in_the_mean():
    replies = iter(["yes", "Hmm.", "no", "yes"])
    model = Spelled(lambda messages, seed: next(replies, "Hmm."), ())
    found, run = scores(YesNo(n=4, temperature=1), ["7"], {"main": model})
    assert found == pytest.approx([2 / 3])
    assert any("1 of 4 replies" in note for note in run.world.notes)


@pytest.mark.parametrize("check", [False, True])
def test_one_call_that_fails_costs_one_score_and_a_wrong_key_ends_the_run(check):
    def write(messages, seed):
        if messages[-2]["content"] == "broken":
            raise ServerFailed("out of memory")
        return "verdict: yes"

    found, run = scores(YesNo(check=check), ["7", "broken"], {"main": Spelled(write, (PREFIX,))})
    assert found[0] == 1.0
    assert math.isnan(found[1])
    assert any("out of memory" in note for note in run.world.notes)

    def refuse(messages, seed):
        raise NotAuthorised("no key")

    with pytest.raises(NotAuthorised):
        scores(YesNo(check=check), ["7"], {"main": Spelled(refuse, (PREFIX,))})


def test_what_was_said_is_kept_when_asking_again_fails():
    def write(messages, seed):
        if "Be brief" in messages[-1]["content"]:
            raise ServerFailed("out of memory")
        return "Hmm." if messages[-2]["content"] == "mute" else "yes"

    found, run = scores(YesNo(), ["7", "mute"], {"main": Spelled(write, ())})
    assert found[0] == 1.0
    assert math.isnan(found[1])
    assert any("asking again failed" in note for note in run.world.notes)


@pytest.mark.parametrize("check", [False, True])
def test_a_verifier_that_runs_out_says_so(check):
    model = Spelled(lambda messages, seed: "yes", (PREFIX,))
    with pytest.raises(BudgetExhausted) as caught:
        scores(YesNo(check=check), ["a", "b", "c"], {"main": model}, budget="calls=2")
    assert caught.value.limit == "calls"
    assert len(model.asked) == 2


# -- in a run ----------------------------------------------------------------------------------------

ANSWERS = ("3", "5", "5", "7")


def writer_and_verifier():
    """Writes 3, 5, 5, 7 to the question; asked about one it holds 7 to be right."""
    turn = itertools.count()

    def write(messages):
        if len(messages) == 1:
            return f"answer: {ANSWERS[next(turn) % 4]}"
        return "Yes." if messages[-2]["content"] == "answer: 7" else "No."

    return Scripted(write)


@pytest.mark.parametrize("limit", ["calls", "tokens", "total_tokens", "usd"])
def test_best_of_n_takes_what_is_held_right_or_the_last_proposal_at_its_limit(limit):
    each = {"calls": 1, "tokens": 5, "total_tokens": 15, "usd": 15}[limit]
    for calls in range(3, 9):
        model = writer_and_verifier()
        strategy = BestOfN(n=4, verifier=YesNo())
        budget = f"{limit}={calls * each}"
        answer = outthink.solve(QUESTION, model=model, strategy=strategy, budget=budget)
        assert answer.usage.amount(limit) <= calls * each
        assert len(model.asked) == min(calls, 7)
        finished = calls >= 7
        assert answer.answer == ("7" if finished else "5")
        assert answer.stopped == ("finished" if finished else limit)


def test_any_model_may_be_asked_and_a_server_gives_its_probability():
    def answer(body, number):
        assert body["logprobs"] is True
        right = "7" in body["messages"][-2]["content"]
        reply = completion(["Yes" if right else "No"], prompt=20, tokens=1)
        token = {"token": "Yes" if right else "No", "logprob": math.log(0.75)}
        reply["choices"][0]["logprobs"] = {"content": [token]}
        return reply

    with serving(answer) as server:
        spec = f'best_of_n(n=4, verifier=yes_no(openai("m", base_url="{server.url}")))'
        model = writer_and_verifier()
        found = outthink.solve(QUESTION, model=model, strategy=spec)
    assert found.answer == "7"
    assert len(model.asked) == 4
    assert sorted(found.scores["verifier"]) == pytest.approx([0.25, 0.25, 0.25, 0.75])


@pytest.mark.parametrize("options", ["", ", check=true", ", check=true, n=3, temperature=0.7"])
def test_it_keeps_the_laws_of_verifiers(options):
    @register("model", "scripted_verifier")
    @dataclass(frozen=True)
    class ScriptedVerifier:
        """Holds texts of an even length to be right."""

        def open(self):
            def write(messages, seed):
                even = len(messages[-2]["content"]) % 2 == 0
                return [("fine", 0.5), ("</think>", 0.5), ("yes" if even else "no", 0.9)]

            return Spelled(write, (LOGPROBS, PREFIX))

    try:
        check_verifier(f"yes_no(model=scripted_verifier{options})")
    finally:
        entries("model").pop("scripted_verifier")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n": 0}, "n=0 must be from 1 to 1000"),
        ({"n": 1001, "temperature": 1.0}, "n=1001 must be"),
        ({"n": 2}, "n=2 replies at temperature 0 are all the same: give a temperature"),
        ({"temperature": -1.0}, "temperature=-1 must be from 0 to 5"),
        ({"temperature": math.nan}, "from 0 to 5"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
        ({"check": 1}, "check=1 must be true or false"),
    ],
)
def test_wrong_parameters_are_refused(wrong, said):
    with pytest.raises(BadInput, match=said):
        YesNo(**wrong)


def test_specs():
    assert build("yes_no", "verifier") == YesNo()
    named = build("yes_no(gpt-5-mini, check=true, n=4, temperature=0.7)", "verifier")
    assert (named.model.name, named.check, named.n) == ("gpt-5-mini", True, 4)
