"""The page of a made-up bench: it holds what was measured, and nothing in it can act."""

import base64
import copy
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab.page import LIMIT, TEXT, contents, encode, page
from outthink.lab.records import SampleRow
from outthink.lab.summary import summarise
from tests.lab import made_up

VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "<script>alert(1)</script><!--</SCRIPT ><img src=http://x.y/z onerror=alert(2)>{{script}}\u2028&amp;"


class Read(HTMLParser):
    """The elements of a page, and the text in each kind of them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.comments = [], [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def handle_comment(self, data):
        self.comments.append(data)


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def results():
    return made_up.results(problems=8, length=60)


@pytest.fixture(scope="module")
def summary(results):
    return summarise(results)


@pytest.fixture(scope="module")
def text(results, summary):
    return page(results, summary)


def hostile(results):
    """The same bench with evil in every text that anyone but us may write."""
    return replace(
        results,
        facts={**results.facts, "task": EVIL, EVIL: EVIL},
        arms=[replace(a, series=a.series + EVIL) for a in results.arms],
        runs=[replace(r, answer=EVIL, error=EVIL, stopped=EVIL) for r in results.runs],
        samples=[replace(s, text=EVIL + s.text, answer=EVIL) for s in results.samples],
        questions={name: EVIL + q for name, q in results.questions.items()},
        references=dict.fromkeys(results.references, EVIL),
    )


def test_the_page_is_one_well_formed_document(text):
    read = Read(text)
    assert text.startswith("<!doctype html>")
    assert read.comments == []
    ids = [a["id"] for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    named = {i for _, a in read.elements for i in a.get("aria-labelledby", "").split()}
    assert named <= set(ids)
    assert read.texts["title"] == ["Bench: chain"]


def test_nothing_in_it_reaches_for_a_network(text):
    read = Read(text)
    for tag, attributes in read.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    code = text.replace(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1], "")
    for way in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket",
                "EventSource", "sendBeacon", "import("):  # fmt: skip
        assert way not in code
    # nor makes markup or code of a text
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert way not in code


def test_its_policy_allows_its_own_script_and_style_alone(text):
    read = Read(text)
    policy = next(a["content"] for t, a in read.elements if a.get("http-equiv"))
    (style,), (_, script) = read.texts["style"], read.texts["script"]
    for kind, source in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_same_results_give_the_same_page(results, summary, text):
    assert page(copy.deepcopy(results), copy.deepcopy(summary)) == text


def test_what_was_measured_comes_back_from_the_page(results, summary, text):
    data = data_of(text)
    strings = [*data["strings"], None]  # -1 is no text
    assert data["summary"] == {k: v for k, v in summary.items() if k != "facts"}
    assert data["facts"] == results.facts
    assert [p["name"] for p in data["problems"]] == results.problems
    labels = [arm["label"] for arm in data["summary"]["arms"]]
    runs, samples = [], []
    for p in data["problems"]:
        name = p["name"]
        assert strings[p["question"]] == results.questions[name]
        assert strings[p["reference"]] == results.references[name]
        for label, rows in zip(labels, p["runs"], strict=True):
            for seed, right, answer, confidence, tokens, calls, stopped, error, count in rows:
                runs.append((label, name, seed, right, strings[answer], float(confidence), tokens, calls,
                             strings[stopped], strings[error], count))  # fmt: skip
        for group in p["answers"]:
            assert group["distinct"] == len(group["rows"])
            assert group["count"] == sum(row[1] for row in group["rows"])
            for seed, times, tokens, logprob, said, *_ in group["rows"]:
                samples.append((data["models"][group["model"]], name, seed, times, strings[said],
                                bool(group["right"]), tokens, logprob))  # fmt: skip

    assert sorted(map(repr, runs)) == sorted(
        repr((r.arm, r.problem, r.seed, int(r.right), r.answer, r.confidence, r.completion_tokens,
              r.calls, r.stopped, r.error, len(r.candidates))) for r in results.runs
    )  # fmt: skip
    assert sorted(s[:6] for s in samples) == sorted(
        (s.model, s.problem, s.seed, s.count, s.text, s.right) for s in results.samples
    )
    assert data["left"] == {"problems": 0, "candidates": 0, "texts": 0, "cut": 0, "limit": LIMIT,
                            "characters": TEXT}  # fmt: skip


def test_a_problem_knows_its_bin(summary, text):
    for p in data_of(text)["problems"]:
        assert p["name"] in summary["bins"]["bins"][p["bin"]]["names"]


def test_scores_that_agree_share_a_column_and_others_do_not(results):
    def columns(some):
        return contents(some, summarise(some))["scores"]

    (column,) = columns(results)
    scored = [a.label for a in results.arms if "best_of_n" in a.label]
    assert column["arms"] == scored
    odd = replace(
        results,
        runs=[replace(r, scores=tuple(s + 1 for s in r.scores)) if r.arm == scored[1] else r
              for r in results.runs],
    )  # fmt: skip
    assert [c["arms"] for c in columns(odd)] == [[scored[0], scored[2]], [scored[1]]]


def test_answers_that_a_task_holds_equal_are_one(results, summary):
    name = results.problems[0]
    rows = [
        SampleRow("m", name, seed, i, f"t{i}", answer, group, right, 10 * (i + 1))
        for seed in (0, 1)
        for i, (answer, group, right) in enumerate(
            [("1/2", 0, True), ("0.5", 0, True), (None, -1, False), ("3", 1, False)]
        )
    ]
    data = contents(replace(results, samples=rows), summary)
    said = [
        (
            data["strings"][g["answer"]] if g["answer"] >= 0 else None,
            g["right"],
            g["count"],
            g["tokens"],
        )
        for g in data["problems"][0]["answers"]
    ]
    assert said == [("1/2", 1, 4, 15), (None, 0, 2, 30), ("3", 0, 2, 40)]


def test_hostile_texts_stay_data(results, text):
    evil = hostile(results)
    out = page(evil, summarise(evil))
    read, benign = Read(out), Read(text)
    assert [t for t, _ in read.elements] == [t for t, _ in benign.elements]
    assert read.comments == []
    assert "alert(1)</script" not in out.lower()
    assert "<script>alert" not in out.lower()
    assert "<img" not in out
    data = data_of(out)
    assert {k: v for k, v in data["facts"].items() if v == EVIL} == {"task": EVIL, EVIL: EVIL}
    assert data["strings"][data["problems"][0]["reference"]] == EVIL
    assert "".join(read.texts["title"]) == f"Bench: {EVIL}"
    assert read.texts["style"] == benign.texts["style"]
    assert read.texts["script"][-1] == benign.texts["script"][-1]


@given(st.text() | st.text("<>&!-/script\u2028\u2029\ud800\udfff\0"))
def test_any_text_survives_a_script_element(value):
    written = encode([{value: value}])
    assert not set("<>&\u2028\u2029") & set(written)
    ((name, back),) = json.loads(written.encode("utf-8"))[0].items()
    assert name == back
    # two halves of one character side by side are that character
    assert back.encode("utf-16", "surrogatepass") == value.encode("utf-16", "surrogatepass")


def test_numbers_that_json_has_not_are_none():
    assert json.loads(encode({"a": [float("inf"), float("nan"), 1.5, 2, True, None]})) == {
        "a": [None, None, 1.5, 2, True, None]
    }


def test_an_equal_text_is_stored_once_and_a_long_one_is_cut_with_a_mark(results, summary):
    long = "x" * (TEXT + 1234)
    same = replace(results, samples=[replace(s, text=long) for s in results.samples])
    data = contents(same, summary)
    (cut,) = [s for s in data["strings"] if s.startswith("xxx")]
    assert cut.startswith("x" * TEXT)
    assert "1,234 more characters are cut here" in cut
    assert data["left"]["cut"] == 1
    assert data["left"]["texts"] == 0


@pytest.mark.parametrize("limit", [200_000, 100_000, 60_000])
def test_a_page_too_large_keeps_the_first_of_each_answer_and_counts_the_rest(
    results, summary, limit
):
    each = [replace(s, text=f"{s.model} {s.problem} {s.seed} {s.number} " + "é<" * 200)
            for s in results.samples]  # fmt: skip
    data = contents(replace(results, samples=each), summary, limit)
    assert len(encode(data).encode()) < limit + 2_000
    left = data["left"]
    kept = {p["name"] for p in data["problems"]}
    groups = [g for p in data["problems"] for g in p["answers"]]
    rows = [row for g in groups for row in g["rows"]]
    assert len(kept) + left["problems"] == len(results.problems)
    assert len(rows) + left["candidates"] == sum(s.problem in kept for s in results.samples)
    assert sum(row[4] < 0 for row in rows) == left["texts"]
    assert left["problems"] + left["candidates"] + left["texts"] > 0
    # counts are whole, and no answer has a second candidate before another has its first
    assert sum(g["count"] for g in groups) == sum(s.problem in kept for s in results.samples)
    most = max(len(g["rows"]) for g in groups)
    assert all(len(g["rows"]) >= min(most - 1, g["count"]) for g in groups)


def test_problems_that_arms_disagree_on_are_the_last_to_be_left_out(results, summary):
    data = contents(results, summary, 60_000)
    assert data["left"]["problems"] > 0

    def doubt(name):
        right = [r.right for r in results.runs if r.problem == name]
        return -abs(sum(right) / len(right) - 0.5)

    kept = [p["name"] for p in data["problems"]]
    assert min(map(doubt, kept)) >= max(doubt(n) for n in results.problems if n not in kept)
    assert kept == [n for n in results.problems if n in kept]


def test_another_format_is_refused(results, summary):
    with pytest.raises(BadInput, match="format 0"):
        page(results, {**summary, "format": 0})


def poor(what):
    """A bench that lacks much."""
    results = made_up.results(problems=5, seeds=1, length=5)
    if what == "one arm":
        results.arms = results.arms[:1]
        results.runs = [r for r in results.runs if r.arm == results.arms[0].label]
    elif what == "no samples":
        results.samples = []
        results.runs = [replace(r, candidates=(), confidence=None) for r in results.runs]
    elif what == "no runs":
        results.runs, results.samples = [], []
    elif what == "failed":
        worst = results.arms[4].label
        results.runs = [
            replace(r, right=None, answer=None, error="HTTP 500: no") if r.arm == worst else r
            for r in results.runs[:-3]
        ]
    return results


POOR = ["one arm", "no samples", "no runs", "failed"]


@pytest.mark.parametrize("what", POOR)
def test_a_poor_bench_has_its_page(what):
    results = poor(what)
    summary = summarise(results)
    data = data_of(page(results, summary))
    assert len(data["problems"]) == 5
    flat = [row for p in data["problems"] for rows in p["runs"] for row in rows]
    assert len(flat) == len(results.runs)
    failed = [data["strings"][row[7]] for row in flat if row[1] < 0]
    assert failed == ["HTTP 500: no"] * summary["failed"]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def shown(tmp_path, results):
    """The document after its script ran, by a browser."""
    file = tmp_path / "page.html"
    file.write_text(page(results, summarise(results)), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to show the page")
@pytest.mark.parametrize("what", [*POOR, "hostile"])
def test_a_browser_shows_it_to_the_end(tmp_path, what):
    results = hostile(made_up.results(5, 1, 5)) if what == "hostile" else poor(what)
    out = shown(tmp_path, results)
    assert "This file asks nothing of any network." in out.split("<footer")[1].split("</footer")[0]
    body = out.split('<script type="application/json"')[0]
    assert body.count('<tr class="line"') == 5
    assert ('<div id="alarm" class="alarm" role="alert">' in body) == (
        what in ("failed", "no runs")
    )
    if what == "failed":
        assert "HTTP 500: no" in body
    if what == "hostile":
        assert "<script" not in body
        assert "<img" not in body
        assert body.count("&lt;script&gt;alert(1)") > 5
