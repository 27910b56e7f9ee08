import json

import numpy as np
import pytest

from outthink.cli.base import Flags
from outthink.cli.laws import LAWS, laws
from outthink.core.errors import BadInput


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A file of 40 problems x 12 samples with two scores."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("laws") / "samples.jsonl"
    rows = []
    for problem in range(40):
        p = rng.beta(0.8, 1.0)
        for _ in range(12):
            right = bool(rng.random() < p)
            row = {"problem": f"p{problem}", "answer": "7" if right else str(rng.integers(4))}
            row["right"] = row["answer"] == "7"
            for i in range(2):
                row[f"score.{i}"] = float(right ^ (rng.random() < 0.2))
            rows.append(json.dumps(row))
    path.write_text("\n".join(rows))
    return path


def run(capsys, *words):
    laws.main([str(word) for word in words], standalone_mode=False, obj=Flags())
    return capsys.readouterr().out


@pytest.mark.parametrize("law", ["coverage", "beta", "saturation", "vote", "verifier", "split"])
def test_a_law_is_fitted_shown_and_drawn(law, samples, tmp_path, capsys):
    options = ["--draws", 20, "--k", 4, "--out", tmp_path]
    options += {"verifier": ["--score", "score.0"], "split": ["--score", "score."]}.get(law, [])
    shown = run(capsys, "fit", law, samples, *options)
    assert "95 % interval" in shown
    assert {p.name for p in tmp_path.iterdir()} == {f"{law}.png", f"{law}.svg"}
    facts = json.loads(run(capsys, "fit", law, samples, *options, "--json"))
    assert facts["law"] == law
    assert facts["predictions"][0]["x"] == 4
    for name, found in facts["parameters"].items():
        assert name in shown
        assert found["low"] <= found["high"]


def test_a_prediction_is_held_against_what_it_did_not_see(samples, capsys):
    facts = json.loads(run(capsys, "fit", "coverage", samples, "--seen", 4, "--draws", 0, "--json"))
    held = facts["held_out"]
    assert (held["seen"], held["at"]) == (4, 12)
    assert held["error"] == pytest.approx(held["predicted"] - held["observed"])
    assert facts["parameters"]["a"]["low"] is None
    assert "mean |error|" in run(capsys, "fit", "vote", samples, "--seen", 4, "--draws", 10)


def test_tables_are_fitted_too(tmp_path, capsys):
    rng = np.random.default_rng(0)
    size, tokens = np.exp(rng.uniform(17, 23, 60)), np.exp(rng.uniform(20, 26, 60))
    loss = 1.7 + 400 / size**0.34 + 900 / tokens**0.33
    path = tmp_path / "runs.csv"
    rows = zip(size, tokens, loss, strict=True)
    path.write_text("size,tokens,loss\n" + "\n".join(",".join(map(str, row)) for row in rows))
    facts = json.loads(run(capsys, "fit", "chinchilla", path, "--draws", 3, "--json"))
    assert facts["parameters"]["alpha"]["value"] == pytest.approx(0.34, abs=0.01)
    lines = ["problem,length,chains,success,difficulty"]
    for i in range(20):
        for length in (1, 2, 4):
            lines.append(f"{i},{length},{4 // length},{int(length == 4)},{i / 20}")
    path.write_text("\n".join(lines))
    facts = json.loads(run(capsys, "fit", "sequential", path, "--bins", 2, "--json"))
    assert facts["parameters"]["bin 1"]["value"] == 4


def test_the_list_has_every_law(capsys):
    facts = json.loads(run(capsys, "list", "--json"))
    assert [row["law"] for row in facts["laws"]] == list(LAWS)
    shown = run(capsys, "list")
    assert all(law in shown for law in LAWS)


def test_recorded_sets_are_checked_by_name(data, tmp_path, capsys):
    words = ("check", data, "--set", "tot_game24_io", "--again", 2, "--out", tmp_path)
    facts = json.loads(run(capsys, *words, "--json"))
    # answers are expressions, seldom written twice the same: there is no vote
    assert [row["law"] for row in facts["rows"]] == ["coverage", "beta", "beta with zero"]
    assert facts["rows"][0]["observed"] == pytest.approx(0.33)
    assert (tmp_path / "check.svg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("coverag", "FILE"), "did you mean 'coverage'"),
        (("chinchilla", "FILE", "--seen", "4"), "--seen is for laws of samples"),
        (("sequential", "FILE", "--k", "4"), "not for sequential"),
        (("split", "FILE", "--score", "nothing"), r"there are: score\.0, score\.1"),
        (("split", "FILE", "--score", "score", "--seen", "4"), "not for split"),
        (("verifier", "FILE"), "several scores"),
    ],
)
def test_what_is_asked_wrongly_says_so(words, message, samples, tmp_path, capsys):
    path = samples
    if words[0] == "sequential":
        path = tmp_path / "runs.csv"
        rows = [f"{i},1,1,1,{i}" for i in range(10)]
        path.write_text("\n".join(["problem,length,chains,success,difficulty", *rows]))
    with pytest.raises(BadInput, match=message):
        run(capsys, "fit", *(path if word == "FILE" else word for word in words))
