"""The report on a few problems: every section runs, says what it found, and resumes."""

import json

import numpy as np
import pytest

from outthink.core.nouns import Answer
from outthink.tasks import problems
from outthink.train import report as reports
from outthink.train.evaluate import Contender, Result
from outthink.train.picture import draw_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def made(folder):
    seen = []
    report = reports.make_report(folder, 2, "dev", progress=lambda *step: seen.append(step))
    return report, seen


def test_every_section_makes_its_claims_and_tables(made, folder):
    report, seen = made
    assert set(report.tables) == set(reports.SECTIONS)
    assert {c.section for c in report.claims} == set(reports.SECTIONS) - {"sizes"}
    for claim in report.claims:
        low, high = claim.interval
        assert low <= claim.value + 1e-9 or np.isnan(claim.value)
        assert claim.value <= high + 1e-9 or np.isnan(claim.value)
    found = json.loads((folder / "report.json").read_text())
    assert found["problems"] == 2
    assert len(found["claims"]) == len(report.claims)
    assert found["models"]["fly"].startswith("fly@")
    assert (folder / "report.png").stat().st_size > 20_000
    assert all(0 <= done <= total for _, done, total in seen)


def test_a_second_report_pays_for_nothing_and_finds_the_same(made, folder, monkeypatch):
    from outthink.models.fly.decode import Decoder

    def refuse(*_):
        raise AssertionError("a call was made again")

    monkeypatch.setattr(Decoder, "submit", refuse)
    again = reports.make_report(folder, 2, "dev", sections=("selection", "search"))
    kept = {c.text: c for c in made[0].claims}
    assert again.claims
    assert all(kept[c.text] == c for c in again.claims)


def test_a_claim_holds_only_beyond_its_interval():
    report = reports.Report(10, "dev", 0)
    report.above("s", "a gap", (0.1, 0.01, 0.2))
    report.above("s", "a gap that may be none", (0.1, -0.01, 0.2))
    report.within("s", "in a range", (0.5, (0.4, 0.6)), 0.35, 0.65)
    report.within("s", "out of it", (0.7, (0.6, 0.8)), 0.35, 0.65)
    report.at_least("s", "enough", (0.9, (0.8, 0.95)), 0.9)
    assert [c.holds for c in report.claims] == [True, False, True, False, True]


def test_pools_hold_right_ones_and_classes_of_answers():
    (problem,) = problems("chain", "easy", "dev", 1)
    right = problem.solution
    texts = [right, "answer: 7777\n", "", right.replace("answer: ", "answer:  ")]

    class Text:
        def __init__(self, text):
            self.text = text

    answer = Answer(problem.answer, right, candidates=tuple(Text(t) for t in texts))
    one = np.ones(1)
    result = Result(Contender("x", "x"), one, 40 * one, one, one, [answer])
    pools = reports.Pools.of(result, [problem])
    assert pools.classes.tolist() == [[0, 1, -1, 0]]
    assert pools.right[0, :3].tolist() == [1, 0, 0]
    assert pools.coverage(1)[0] == pytest.approx(pools.right.mean())
    assert pools.tokens.tolist() == [10.0]


def test_a_picture_needs_no_section_that_is_not_there(tmp_path):
    draw_report({"tables": {}, "problems": 1, "split": "dev"}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
