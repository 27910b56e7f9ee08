"""The command line: exit codes, one JSON object, one-line errors, quick help."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from outthink.cli import app
from outthink.core.nouns import Answer
from outthink.tasks import chain

EASY = "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?"
KEYS = {
    "answer", "text", "confidence", "distribution", "strategy", "model", "usage", "budget",
    "stopped", "run", "seed", "notes",
}  # fmt: skip
SPENT = {"calls", "prompt_tokens", "completion_tokens", "total_tokens", "seconds", "usd", "flops"}


def call(*args: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, list(args), **kwargs)


def shell(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outthink", *args],
        capture_output=True, text=True, timeout=60, **kwargs,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTTHINK_STORE", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


# -- the real program ------------------------------------------------------------------------------


def test_solve_prints_one_json_object_and_nothing_else() -> None:
    done = shell("solve", EASY, "--budget", "tokens=600,seconds=30", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == KEYS
    assert set(found["usage"]) >= SPENT
    assert found["answer"] == "7"
    assert found["budget"] == {"tokens": 600, "seconds": 30}
    assert found["usage"]["completion_tokens"] <= 600
    assert found["strategy"].startswith("self_consistency")
    assert done.stderr == ""


def test_a_bad_spec_points_at_the_place() -> None:
    done = shell("solve", EASY, "--strategy", "self_consistency(n=)")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[1].strip() == "self_consistency(n=)"
    assert lines[2].index("^") == lines[1].index(")")


def test_an_unreadable_file_is_bad_input(tmp_path: Path) -> None:
    done = shell("solve", str(tmp_path / "nothing.json"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing.json" in done.stderr
    assert "No such file" in done.stderr


def calls_in(path: Path) -> int:
    """How many samples a store holds by now."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        try:
            return int(store.execute("SELECT count(*) FROM calls").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def test_ctrl_c_prints_the_last_answer(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    child = subprocess.Popen(
        [
            sys.executable, "-m", "outthink", "solve", EASY, "--store", str(path), "--json",
            "--model", "simulated(latency=0.3)", "--strategy", "revision(n=200, length=100)",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while calls_in(path) < 4:  # the second attempts are there
        assert time.monotonic() < until
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    found = json.loads(out)
    assert found["stopped"] == "interrupted"
    assert found["answer"] is not None
    assert 0 < found["usage"]["calls"] < 200


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m outthink strategies | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    read, write = os.pipe()
    os.close(read)
    gone = subprocess.run(
        [sys.executable, "-m", "outthink", "fly", "problem"],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert gone.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom outthink.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'anyio', 'aiohttp', 'uvicorn', 'sqlalchemy', 'rich', 'matplotlib', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert time.perf_counter() - started < 3
    for name in app.commands:
        assert name in done.stdout


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("solv",), "'solve'"),
        (("solve", EASY, "--budge", "tokens=1"), "'--budget'"),
        (("fly", "problm"), "'problem'"),
        (("strategies", "best_of"), "'best_of_n'"),
        (("solve", EASY, "--budget", "token=5"), "'tokens'"),
        (("solve", EASY, "--model", "flyy"), "'fly'"),
        (("solve", EASY, "--strategy", "self_consistensy"), "'self_consistency'"),
    ],
)
def test_the_nearest_name_is_offered(args: tuple[str, ...], said: str) -> None:
    done = call(*args)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert said in done.stderr
    told = call(*args, "--json")
    assert told.exit_code == 2
    assert told.stderr == ""
    error = json.loads(told.stdout)["error"]
    assert said in error["message"]
    assert error["exit"] == 2


@pytest.mark.parametrize(
    "args",
    [
        ("solve",),
        ("solve", " "),
        ("solve", EASY, "--seed", "x"),
        ("solve", EASY, "--concurrency", "0"),
        ("solve", EASY, "--budget", "tokens=-1"),
        ("fly", "problem", "--dial", "steps=13"),
        ("fly", "train", "--seconds", "soon"),
        ("show", "no-such-run"),
        ("nothing",),
    ],
)
def test_bad_input_is_one_line_and_exit_2(args: tuple[str, ...]) -> None:
    done = call(*args)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert set(json.loads(call(*args, "--json").stdout)) == {"error"}


def test_debug_shows_the_traceback() -> None:
    done = call("solve", EASY, "--budget", "tokens=x", "--debug")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


def test_a_failure_of_the_world_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from outthink import api
    from outthink.core.errors import Unreachable

    def down(*_: Any, **__: Any) -> Answer:
        raise Unreachable("no connection to\nhttp://localhost:1; is the server up?")

    monkeypatch.setattr(api, "solve", down)
    done = call("solve", EASY)
    assert done.exit_code == 1
    assert done.stderr == "error: no connection to http://localhost:1; is the server up?\n"
    assert json.loads(call("solve", EASY, "--json").stdout)["error"]["type"] == "Unreachable"


@pytest.mark.parametrize(
    ("stopped", "code"), [("finished", 0), ("tokens", 0), ("error", 1), ("interrupted", 130)]
)
def test_the_exit_code_says_how_the_run_ended(
    stopped: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outthink import api

    monkeypatch.setattr(api, "solve", lambda *_, **__: Answer("7", "so 7", 1.0, stopped=stopped))
    done = call("solve", EASY)
    assert done.exit_code == code
    assert done.stdout.splitlines()[0] == "7"
    assert json.loads(call("solve", EASY, "--json").stdout)["stopped"] == stopped


def test_a_store_that_cannot_be_opened_costs_only_the_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    monkeypatch.setenv("OUTTHINK_STORE", f"sqlite:///{file}/store.db")
    done = call("solve", EASY, "-s", "greedy", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["answer"] == "7"
    assert "not remembered" in done.stderr
    asked = call("solve", EASY, "-s", "greedy", "--store", f"sqlite:///{file}/store.db")
    assert asked.exit_code == 1


# -- questions -----------------------------------------------------------------------------------


def solved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from outthink import api

    seen: list[Any] = []

    def keep(problem: Any, **_: Any) -> Answer:
        seen.append(problem)
        return Answer("1", "1")

    monkeypatch.setattr(api, "solve", keep)
    return seen


def test_a_question_is_text_stdin_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = solved(monkeypatch)
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "how?"}]
    plain, whole = tmp_path / "plain.json", tmp_path / "whole.json"
    plain.write_text(json.dumps(messages))
    whole.write_text(json.dumps({"messages": messages}))
    for args, given in [
        (("how?",), None),
        (("-",), "how?\n"),
        (("-",), json.dumps(messages)),
        ((str(plain),), None),
        ((str(whole),), None),
        (("what is in a.json and b.json",), None),
        (("what is in a.json",), None),
    ]:
        done = call("solve", *args, input=given)
        assert done.exit_code == 0, done.output
    assert [len(p.messages) for p in seen] == [1, 1, 2, 2, 2, 1, 1]
    assert [p.question for p in seen[:5]] == ["how?"] * 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[", "is not JSON"),
        (b"\xff\xfe\xff", "not UTF-8"),
        (b"{}", '"messages"'),
        (b"3", "list of messages"),
        (b"[]", "at least one message"),
        (b'[{"role": "wizard", "content": "x"}]', "wizard"),
        (b"[" * 100_000, "x.json"),
    ],
)
def test_a_wrong_file_is_explained(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    done = call("solve", str(file))
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_is_not_a_question(tmp_path: Path) -> None:
    folder = tmp_path / "x.json"
    folder.mkdir()
    assert call("solve", str(folder)).exit_code == 2


# -- the catalogue -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["strategies", "verifiers", "models", "tasks"])
def test_every_part_is_listed_and_explained(kind: str) -> None:
    rows = json.loads(call(kind, "--json").stdout)[kind]
    text = call(kind)
    assert text.exit_code == 0
    assert rows
    assert all(line == line.rstrip() and len(line) <= 80 for line in text.stdout.splitlines())
    for row in rows:
        assert row["name"] in text.stdout
        one = call(kind, row["name"])
        assert one.exit_code == 0
        facts = json.loads(call(kind, row["name"], "--json").stdout)
        assert facts["example"]
        assert all(p["name"] in one.stdout for p in facts["parameters"])


def test_the_example_specs_build() -> None:
    from outthink.core import registry

    for row in json.loads(call("strategies", "--json").stdout)["strategies"]:
        spec = json.loads(call("strategies", row["name"], "--json").stdout)["example"]
        built = registry.build(spec, "strategy")
        if "VERIFIER" in row["needs"]:
            from outthink.api import parts_of

            assert any(parts_of(built, "verifier")), spec


def test_models_say_what_is_usable_here() -> None:
    rows = {m["name"]: m for m in json.loads(call("models", "--json").stdout)["models"]}
    assert rows["fly"]["usable"]
    assert "PREFIX" in rows["fly"]["can"]
    assert all(m["usable"] or m["missing"] for m in rows.values())


def test_systems_are_listed_and_found() -> None:
    found = json.loads(call("systems", "--json").stdout)
    assert len(found["systems"]) == 182
    assert sum(found["counts"].values()) == 182
    assert "S036" in call("systems").stdout
    assert "S036" in json.dumps(json.loads(call("systems", "S036", "--json").stdout))
    assert call("systems", "S036").exit_code == 0
    assert call("systems", "S999").exit_code == 2


# -- runs ------------------------------------------------------------------------------------------


def test_a_run_is_remembered_shown_replayed_and_exported(tmp_path: Path) -> None:
    spec = ("--strategy", "best_of_n(n=4, verifier=prm)", "--seed", "3")
    first = json.loads(call("solve", EASY, *spec, "--json").stdout)
    listed = json.loads(call("runs", "--json").stdout)["runs"]
    assert [r["run"] for r in listed] == [first["run"]]
    assert first["run"] in call("runs").stdout
    shown = call("show", first["run"])
    assert shown.exit_code == 0
    assert "answer: 7" in shown.stdout
    assert json.loads(call("show", first["run"], "--json").stdout)["run"] == first["run"]
    again = json.loads(call("replay", first["run"], "--json").stdout)
    assert again["answer"] == first["answer"]
    assert again["distribution"] == first["distribution"]
    assert again["usage"]["completion_tokens"] == first["usage"]["completion_tokens"]
    assert again["same"] is True
    assert again["usage"]["stored_calls"] > 0
    other = call("replay", "last", "--strategy", "self_consistency(n=3)", "--json")
    assert other.exit_code == 0
    assert json.loads(other.stdout)["distribution"] == {"7": 1.0}
    more = call("replay", "last", "--strategy", "self_consistency(n=9)", "--json")
    assert more.exit_code == 0, more.output
    assert json.loads(more.stdout)["stopped"] == "store"
    assert json.loads(more.stdout)["answer"] == "7"
    file = tmp_path / "samples.jsonl"
    told = json.loads(call("export", first["run"], str(file), "--json").stdout)
    assert told["file"] == str(file)
    assert len(file.read_text().splitlines()) == 4


# -- fly -------------------------------------------------------------------------------------------


def test_fly_problem_prints_the_problem_of_its_dials() -> None:
    made = chain.make(5, 99, 3)
    done = call("fly", "problem", "--family", "chain", "--dial", "steps=5", "--seed", "3")
    assert done.stdout == made.question + "\n"
    args = ("fly", "problem", "--dial", "steps=5", "--dial", "top=99", "--seed", "3")
    assert made.solution in call(*args, "--solution").stdout
    found = json.loads(call(*args, "--json").stdout)
    assert found["question"] == made.question
    assert found["split"] == made.split
    assert "answer" not in found
    for name in ("countdown", "lookup", "program"):
        found = json.loads(call("fly", "problem", "--family", name, "--thoughts", "--json").stdout)
        assert found["family"] == name
        assert "</think>" in found["thoughts"]


@pytest.mark.parametrize(
    ("dial", "said"),
    [("steps", "NAME=NUMBER"), ("steps=many", "NAME=NUMBER"), ("hops=2", "its dials are steps, top"),
     ("steps=0", "from 1 to 12")],
)  # fmt: skip
def test_fly_problem_says_what_a_dial_may_be(dial: str, said: str) -> None:
    done = call("fly", "problem", "--dial", dial)
    assert done.exit_code == 2
    assert said in done.stderr


def test_fly_problems_writes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    args = ("fly", "problems", "--family", "lookup", "--count", "5", "--out", str(file), "--json")
    assert json.loads(call(*args).stdout)["problems"] == 5
    assert len(file.read_text().splitlines()) == 5
    missing = call("fly", "problems", "--out", str(tmp_path / "no" / "p.jsonl"))
    assert missing.exit_code == 1
    assert "cannot write" in missing.stderr


def test_fly_train_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from outthink.cli import fly

    monkeypatch.setattr(fly, "find_spec", lambda name: None)
    done = call("fly", "train", "--seconds", "1")
    assert done.exit_code == 1
    assert "pip install 'outthink[train]'" in done.stderr


def test_fly_train_stops_in_time_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from outthink.cli import fly
    from outthink.train import fly as training

    monkeypatch.setattr(fly, "find_spec", lambda name: object())
    calls: list[tuple[Any, ...]] = []

    def language(recipe: Any, out: Path, seconds: float | None, progress: Any) -> dict[str, Any]:
        calls.append(("language", recipe.tokens, recipe.seed, seconds))
        progress("step 1")
        return {"finished": len(calls) > 1, "step": len(calls)}

    def reward(recipe: Any, weights: Path, out: Path, *rest: Any) -> dict[str, Any]:
        calls.append(("reward", weights, out))
        return {"finished": True}

    monkeypatch.setattr(training, "train_language_model", language)
    monkeypatch.setattr(training, "train_reward_model", reward)
    args = ("fly", "train", "--out", str(tmp_path), "--seconds", "1min", "--tokens", "1M", "--json")
    first, second = call(*args), call(*args)
    assert json.loads(first.stdout)["finished"] is False
    assert json.loads(second.stdout)["finished"] is True
    assert "step 1" in first.stderr
    assert [c[0] for c in calls] == ["language", "language", "reward"]
    assert calls[0][1] == 761_904  # 16 of 21 parts are read before its own attempts
    assert 50 < calls[0][3] <= 60
    assert calls[2][1:] == (tmp_path, tmp_path / "prm")


def test_fly_train_goes_to_the_background(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from outthink.cli import fly

    started: list[list[str]] = []

    class Child:
        pid = 4242

        def __init__(self, args: list[str], **_: Any) -> None:
            started.append(args)

    monkeypatch.setattr(fly, "find_spec", lambda name: object())
    monkeypatch.setattr(fly.subprocess, "Popen", Child)
    args = ["fly", "train", "--out", str(tmp_path), "--background", "--json"]
    monkeypatch.setattr(sys, "argv", ["outthink", *args])
    found = json.loads(call(*args).stdout)
    assert found["pid"] == 4242
    assert started[0][-4:] == ["fly", "train", "--out", str(tmp_path)]


def test_fly_eval_measures() -> None:
    args = ("fly", "eval", "--level", "easy", "--problems", "2", "--n", "2", "--split", "dev")
    done = call(*args, "--strategies", "self_consistency(n=2)", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["problems"] == 2
    assert [row["label"] for row in found["rows"]][-1] == "self_consistency(n=2)"
    assert "self_consistency" in call(*args, "--strategies", "self_consistency(n=2)").stdout
    assert call(*args, "--strategies", "nonsense").exit_code == 2


def test_fly_card_is_there() -> None:
    assert "fly" in json.loads(call("fly", "card", "--json").stdout)["card"]
    assert "fly" in call("fly", "card").stdout


# -- the rest ----------------------------------------------------------------------------------------


def test_version_and_help() -> None:
    from outthink import __version__

    assert call("--version").stdout == f"outthink {__version__}\n"
    assert json.loads(call("--json", "--version").stdout) == {"version": __version__}
    assert "Look up:" in call().stdout
    assert call().exit_code == 0
    assert "problem" in call("fly").stdout
    for name in app.commands:
        assert "--json" in call(name, "--help").stdout or name == "fly"


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_is_printed_and_installed(
    shell_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from outthink.cli.completion import place_of

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    script = call("--show-completion", shell_name).stdout
    assert "_OUTTHINK_COMPLETE" in script
    done = call("--install-completion", shell_name)
    assert done.exit_code == 0
    assert place_of(shell_name)[0].read_text().strip() == script.strip()


def test_completion_knows_commands_and_strategies() -> None:
    env = {"_OUTTHINK_COMPLETE": "bash_complete", "COMP_WORDS": "outthink str", "COMP_CWORD": "1"}
    assert "strategies" in call(env=env).stdout
    env |= {"COMP_WORDS": "outthink solve x --strategy best", "COMP_CWORD": "4"}
    assert "best_of_n" in call(env=env).stdout


def test_demo_prints_its_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from outthink import demo

    def run_demo(out: Path, count: int, progress: Any) -> dict[str, Any]:
        progress(1, 2)
        progress(2, 2)
        row = {"strategy": "vote @16", "budget": "tokens=2400", "tokens": 900.0, "accuracy": 0.75}
        rows = [{**row, "gain": [0.25, 0.1, 0.4]}]
        files = {"picture": str(out / "demo.png")}
        return {"level": "medium", "problems": 12, "rows": rows, "files": files}

    monkeypatch.setattr(demo, "run_demo", run_demo)
    done = call("demo", "--out", str(tmp_path))
    assert done.exit_code == 0
    assert "vote @16" in done.stdout
    assert str(tmp_path / "demo.png") in done.stdout.replace("\n", "")
    assert "2 of 2" in done.stderr
    assert json.loads(call("demo", "--out", str(tmp_path), "--json").stdout)["problems"] == 12


def test_a_model_cannot_steer_the_terminal() -> None:
    from outthink.cli.base import clean

    assert clean("a\tb\n\x1b[2J\x07\x9b") == "a\tb\n\ufffd[2J\ufffd\ufffd"


def test_the_live_view_shows_candidates_votes_and_budget() -> None:
    import io

    from rich.console import Console

    from outthink.api import solve
    from outthink.cli.live import Live

    file = io.StringIO()
    screen = Console(file=file, width=80, height=40, force_terminal=True, color_system=None)
    view = Live(screen, EASY)
    screen.print(view.draw())
    solve(
        EASY,
        strategy="best_of_n(n=4, verifier=prm)",
        budget="tokens=2k, seconds=60",
        observer=view.see,
        on_start=view.start,
    )
    view.see("failure", {"nodes": [(9,)], "error": "gone"})
    screen.print(view.draw())
    text = file.getvalue()
    for part in ("answer: 7", "of 2,000", "of 60.0", "4 done", "1 failed", "█"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_parts_of_a_file_are_known_where_it_is_imported(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    mine = tmp_path / "mine.py"
    mine.write_text(text.split("```python\n")[1].split("```")[0].replace("first_agree", "agreed"))
    done = shell("solve", EASY, "--import", str(mine), "-s", "agreed(n=6)", "--store", "none")
    assert done.returncode == 0, done.stderr
    assert "agreed" in done.stdout
    listed = shell("strategies", "--json", env={**os.environ, "OUTTHINK_PARTS": str(mine)})
    assert "agreed" in {row["name"] for row in json.loads(listed.stdout)["strategies"]}
    for bad, words in (("nothing.py", "no Python file"), ("broken.py", "SyntaxError")):
        (tmp_path / "broken.py").write_text("def (")
        done = shell("strategies", "--import", str(tmp_path / bad))
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_one_sample_is_shown_in_full(tmp_path: Path) -> None:
    store = str(tmp_path / "s.db")
    call("solve", EASY, "-s", "best_of_n(n=2, verifier=prm)", "--store", store)
    whole = json.loads(call("show", "last", "1", "--store", store, "--json").stdout)
    shown = call("show", "last", "1", "--store", store).stdout
    assert whole["text"].strip() in shown
    assert "prm" in shown
    assert whole["answer"] == whole["text"].split("answer: ")[1].strip()
    done = call("show", "last", "7", "--store", store)
    assert done.exit_code == 2
    assert "no sample '7'" in done.stderr


def test_an_empty_budget_is_not_taken_for_none() -> None:
    for text in ("", " ", ","):
        done = call("solve", EASY, "--budget", text)
        assert done.exit_code == 2
        assert "leave --budget out" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("args", [("models",), ("models", "--json"), ("nonesuch", "--json")])
def test_a_full_disk_is_said_without_a_traceback(args: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "outthink", *args], stdout=full, stderr=subprocess.PIPE,
            text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="the shell of POSIX")
def test_closed_streams_are_no_accident() -> None:
    for redirect, code, said in ((">&-", 0, ""), ("<&-", 2, "standard input is closed")):
        line = f'"{sys.executable}" -m outthink solve - --model simulated {redirect}'
        done = subprocess.run(
            ["sh", "-c", line], input=EASY, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_json_for_a_screen_that_knows_ascii_only_is_json() -> None:
    done = shell(
        "solve", "h\u00e9?", "--model", "simulated", "--json",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert set(json.loads(done.stdout)) == KEYS


@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_tables_and_texts_fit_the_screen(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is longer than the screen, none is cut, and a bar is one line."""
    from outthink.cli.base import console
    from outthink.cli.here import _print_demo

    monkeypatch.setenv("COLUMNS", width)
    row = {
        "strategy": "best of n, weighted @4", "budget": "tokens=1100", "tokens": 517.0,
        "accuracy": 0.8, "gain": (0.16, 0.03, 0.28),
    }  # fmt: skip
    _print_demo(console(), {"problems": 4, "level": "medium", "rows": [row, row, row]})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(width)
    if int(width) >= 80:
        assert sum("best of n" in line for line in lines) == 3
        assert len([line for line in lines if "\u2588" in line]) in (0, 3)
    for name in ("beam_search", "particle_filter", "dvts"):
        shown = " ".join(call("strategies", name).stdout.split())
        doc = json.loads(call("strategies", name, "--json").stdout)["doc"]
        missing = [word for word in doc.replace("``", "").split() if word not in shown]
        assert not missing


def test_a_system_is_found_by_its_name() -> None:
    assert json.loads(call("systems", "particle-filtering", "--json").stdout)["id"] == "S036"
    assert "did you mean 'particle-filtering'" in call("systems", "particle-filter").stderr
    families = {r["family"] for r in json.loads(call("systems", "--json").stdout)["systems"]}
    assert len(families) == 6


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    call("solve", EASY, "--model", 'openai("m", base_url="http://127.0.0.1:9/v1", retries=0)')
    assert "Unreachable" in call("show", "last").stdout


@pytest.mark.parametrize(
    ("budget", "said"), [("5k", "write tokens=5k"), ("tokens=20k seconds=30", "put a comma")]
)
def test_a_budget_that_is_nearly_one_is_helped(budget: str, said: str) -> None:
    assert said in call("solve", EASY, "--budget", budget).stderr
