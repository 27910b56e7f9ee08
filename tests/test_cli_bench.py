"""``bench``, ``compare``, ``plan`` from the command line: from a question to a plan that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from outthink.cli import app
from tests.lab.test_bench import questions

SWEEP = ("--strategy", "self_consistency(n=[2,4,8])", "--strategy", "revision(n=4, length=2)")


def call(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "120")
    task = questions(tmp_path / "q.jsonl")
    out = str(tmp_path / "out")
    return ["bench", "--task", task, "--model", "simulated(accuracy=.6)", *SWEEP, "--out", out]


def test_a_bench_says_everything_and_writes_its_report(asked: list[str], tmp_path: Path) -> None:
    done = call(*asked)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert sum("self_consistency(n=" in line for line in lines) == 3
    assert "48 runs on 12 problems" in done.stdout
    assert "% saved" in done.stdout
    out = tmp_path / "out"
    for name in ("report.html", "results.json", "results.parquet", "samples.parquet"):
        assert (out / name).stat().st_size > 0
    assert {p.suffix for p in (out / "plots").iterdir()} == {".png", ".svg"}


def test_it_goes_on_by_its_folder_alone_and_json_is_the_summary(
    asked: list[str], tmp_path: Path
) -> None:
    first = call(*asked, "--json")
    again = call("bench", "--out", str(tmp_path / "out"), "--json")
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert one["arms"] == two["arms"]
    report = call("bench", "--out", str(tmp_path / "out"), "--report", "--json")
    assert json.loads(report.stdout)["arms"] == one["arms"]


def test_a_design_from_a_file_is_overruled_by_options(asked: list[str], tmp_path: Path) -> None:
    design = tmp_path / "design.toml"
    design.write_text(
        f'task = "{asked[2]},n=3"\nmodels = ["simulated"]\nstrategies = ["greedy"]\nout = "{tmp_path}/o"\n'
    )
    assert "3 runs on 3 problems" in call("bench", str(design)).stdout
    found = call("bench", str(design), "-s", "self_consistency(n=[1,2])", "-o", str(tmp_path / "p"))
    assert "6 runs on 3 problems" in found.stdout
    assert "greedy" not in found.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "holds no bench yet"),
        (["--task", "fly:chian"], "did you mean 'fly:chain'"),
        (["--task", "nothing.jsonl"], "nothing.jsonl"),
        (["--task", "fly:chain,n=2", "--strategy", "best_of_n(n=2)"], "needs a verifier"),
        (["--task", "fly:chain,n=2", "--baseline", "x"], "baseline 'x'"),
        (["none.toml"], "cannot read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("bench", *args, "--out", "out")
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_compare_pairs_the_arms_of_two_benches(asked: list[str], tmp_path: Path) -> None:
    call(*asked)
    other = [*asked[:-1], str(tmp_path / "other"), "--seeds", "2"]
    other[4] = "simulated(accuracy=.9)"
    call(*other)
    done = call("compare", str(tmp_path / "out"), str(tmp_path / "other"))
    assert done.exit_code == 0, done.output
    assert "paired over 12 problems" in done.stdout
    assert "design.seeds" in done.stdout
    found: dict[str, Any] = json.loads(
        call("compare", str(tmp_path / "out"), str(tmp_path / "other"), "--json").stdout
    )
    assert all(row["difference"]["value"] >= 0 for row in found["arms"])


def test_benches_of_different_problems_are_compared_unpaired(
    asked: list[str], tmp_path: Path
) -> None:
    call(*asked)
    (tmp_path / "more").mkdir()
    questions(tmp_path / "more" / "q.jsonl", 30)
    rows = (tmp_path / "more" / "q.jsonl").read_text().splitlines()[12:]
    (tmp_path / "more" / "q.jsonl").write_text("\n".join(rows))
    other = [*asked[:-1], str(tmp_path / "other")]
    other[2] = str(tmp_path / "more" / "q.jsonl")
    call(*other)
    done = call("compare", str(tmp_path / "out"), str(tmp_path / "other"))
    assert done.exit_code == 0, done.output
    assert "on different problems" in done.stdout


def test_a_plan_is_made_from_a_bench_saved_and_run(asked: list[str], tmp_path: Path) -> None:
    call(*asked)
    out = str(tmp_path / "out")
    told = call("plan", out, "--budget", "calls=1")
    assert told.exit_code == 0, told.output
    assert "self_consistency(n=" in told.stdout
    assert json.loads(call("plan", out, "--target", ".2", "--json").stdout)["arm"] is not None
    file = str(tmp_path / "plan.json")
    made = call("plan", out, "--budget", "tokens=2k", "--by-difficulty", "--save", file)
    assert made.exit_code == 0, made.output
    solved = call(
        "solve",
        "What is 1?",
        "--model",
        "simulated",
        "--strategy",
        f'auto(plan="{file}")',
        "--json",
    )
    assert json.loads(solved.stdout)["answer"] is not None
    for wrong in (
        ["--save", "x"],
        ["--by-difficulty"],
        ["--budget", "tokens=1k", "--target", ".5"],
    ):
        assert call("plan", out, *wrong).exit_code == 2
