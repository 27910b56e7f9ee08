"""Unit tests as a verifier: which code is run, what passes, and what a program cannot do."""

import gzip
import json
import math
import os
import secrets
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.strategies.best_of_n import BestOfN
from outthink.testing import check_verifier
from outthink.verify import sandbox
from outthink.verify.python_tests import SIDE_BY_SIDE, PythonTests, code_of
from outthink.verify.sandbox import Outcome, isolation, run_python
from tests.verify.scripted import Scripted, data, scores

DOUBLE = "def double(x):\n    return 2 * x\n"
TESTS = "assert double(2) == 4\nassert double('a') == 'aa'"
PATIENT = PythonTests(TESTS, seconds=30)


def fenced(code, language="python"):
    return f"Here it is:\n\n```{language}\n{code}```\n\nIt doubles."


# -- which code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        fenced(DOUBLE), fenced(DOUBLE, "py"), fenced(DOUBLE, "Python"), fenced(DOUBLE, "python3"),
        fenced(DOUBLE, "{python}"), fenced(DOUBLE, 'python title="a.py"'), fenced(DOUBLE, ""), DOUBLE,
        fenced("def double(x): return x\n") + fenced(DOUBLE),  # the last one
        fenced("pip install nothing\n", "bash") + fenced(DOUBLE),
        fenced(DOUBLE) + fenced("6\n", "") + fenced("output: 6\n", "text"),  # what it prints
        fenced(DOUBLE) + "```python\n```\n",
        "```python\n" + DOUBLE,  # cut before its end
        textwrap.indent(fenced(DOUBLE), "   "),
        fenced(DOUBLE).replace("\n", "\r\n"),
        fenced(DOUBLE).replace("```", "~~~"),
        "````python\n" + DOUBLE + "text = '''\n```\n'''\n````\n",
        f"<think>\n{fenced('def double(x): return x')}</think>{fenced(DOUBLE)}",
        f"<think>\n{fenced('def double(x): return x')}</think>\n{DOUBLE}",
        "# coding: latin-1\n" + DOUBLE, "\ufeff" + DOUBLE,
    ],
)  # fmt: skip
def test_the_code_of_a_text(text):
    space = {}
    exec(compile(code_of(text).encode(), "code", "exec"), space)
    assert space["double"](3) == 6


@given(
    st.lists(st.sampled_from(["x = {}", "", "    y", "'''", "``", "# {}"]), min_size=1), st.data()
)
def test_a_block_is_found_whole_whatever_stands_around_it(lines, data):
    code = "\n".join(lines).format(*range(99)) if "{}" not in "".join(lines) else "\n".join(lines)
    code = "x = 1\n" + code + "\n"
    words = st.lists(st.sampled_from(["so", "`x`", "\n", "``", "- a", "$x$"]), max_size=8).map(
        " ".join
    )
    before, after = data.draw(words), data.draw(words)
    assert code_of(f"{before}\n```python\n{code}```\n{after}") == code


def test_no_code_is_no_code():
    assert code_of("<think>\n```python\nx = 1\n```") == ""
    assert code_of("I give up.") == "I give up."


# -- what passes -------------------------------------------------------------------------------------


def test_right_code_passes_and_wrong_code_fails():
    texts = [
        fenced(DOUBLE), fenced("def double(x):\n    return 2 + x\n"), fenced("def double(x):\n"),
        fenced("def duble(x):\n    return 2 * x\n"), "I do not know.", "", fenced(DOUBLE),
        fenced(DOUBLE + "double('begins')\nraise ValueError\n"), "\ud800", fenced(DOUBLE + "\x00"),
        fenced(DOUBLE + "if __name__ == '__main__':\n    print(double(int(input())))\n"),
        fenced("from __future__ import annotations\n" + DOUBLE
               + "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"),
        fenced(DOUBLE + "import os, tempfile\nos.chdir(tempfile.mkdtemp())\n"),
        fenced(DOUBLE + "assert len({str(i) for i in range(9)}) == 9\nimport json\n"),
    ]  # fmt: skip
    found, run = scores(PATIENT, texts)
    assert found == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1]
    assert run.meter.spent.calls == 0


@pytest.mark.parametrize(
    "trick",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit()",
        "raise SystemExit(0)",
        "quit()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import builtins; builtins.compile = builtins.exec = None",
        "open('tests.py', 'w').close()",
        "while True: pass",
        "input()",
        # look for the secret in what can be read, write it all down, and leave
        "import os, re, glob\n"
        "for f in [*glob.glob('*'), __file__, '/proc/self/cmdline', '/proc/self/environ']:\n"
        "    for t in re.findall('[0-9a-f]{32}', open(f, errors='replace').read()):\n"
        "        open(t, 'w').close()\n"
        "os._exit(0)",
    ],
)
def test_ending_early_is_not_passing(trick):
    verifier = PythonTests("assert double(2) == 5", seconds=1)
    assert scores(verifier, [fenced(f"{trick}\n{DOUBLE}")])[0] == [0.0]


def test_sets_are_ordered_alike_in_each_run():
    code = "print(list({str(i) for i in range(50)}))"
    assert run_python(code, 30).output == run_python(code, 30).output != ""


def test_without_tests_a_program_runs_as_a_script():
    done = run_python("if __name__ == '__main__':\n    print('main', __file__)", 30)
    assert done.passed
    assert done.output == "main program.py\n"
    failed = run_python("def f():\n    return 1 / 0\n", 30, tests="x = 1\nf()\n")
    assert not failed.passed
    frames = [line.strip() for line in failed.output.splitlines() if line.startswith("  File")]
    assert frames == ['File "tests.py", line 2, in <module>', 'File "program.py", line 2, in f']


def test_humaneval_completions_get_the_verdict_that_was_recorded():
    """CodeGen-16B's completions (CodeT's release), run there against the hidden tests."""
    table = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    folder = data("codet_humaneval", "samples.parquet").parent
    chosen = (0, 12, 28, 53, 66, 98)
    with gzip.open(folder / "HumanEval.jsonl.gz", "rt") as lines:
        problems = [json.loads(line) for line in lines]
    with gzip.open(folder / "completions.jsonl.gz", "rt") as lines:
        written = [json.loads(line)["samples"] for line in lines]
    right = {(r["problem"], r["sample"]): r["correct"]
             for r in table.read_table(folder / "samples.parquet").to_pylist()}  # fmt: skip
    seen = set()
    for p in chosen:
        problem = problems[p]
        samples = [next((s for s in range(100) if right[p, s] == good), None) for good in (0, 1)]
        samples = [s for s in samples if s is not None]
        texts = [fenced(problem["prompt"] + written[p][s] + "\n") for s in samples]
        texts.append(fenced(problem["prompt"] + problem["canonical_solution"]))
        verifier = PythonTests(f"{problem['test']}\ncheck({problem['entry_point']})", seconds=20)
        labels = [right[p, s] for s in samples]
        assert scores(verifier, texts)[0] == [*labels, 1]
        seen.update(labels)
    assert seen == {0, 1}


# -- how it is run -----------------------------------------------------------------------------------


def test_two_at_a_time_and_equal_code_once(monkeypatch):
    active, peak, ran = 0, 0, []
    lock, meet = threading.Lock(), threading.Barrier(SIDE_BY_SIDE, timeout=20)

    def counted(code, seconds=5.0, megabytes=512, *, tests="", stop=None):
        nonlocal active, peak
        with lock:
            ran.append(code)
            active += 1
            peak = max(peak, active)
        meet.wait()  # passes only where two run side by side
        with lock:
            active -= 1
        return Outcome("good" in code, "")

    monkeypatch.setattr(sandbox, "run_python", counted)
    texts = ["good 1", "bad 2", "good 3", "bad 4", "good 1", "bad 2", "good 5", "bad 6"]
    found, _ = scores(PATIENT, texts)
    assert found == [float("good" in t) for t in texts]
    assert peak == SIDE_BY_SIDE == 2
    assert sorted(ran) == sorted(set(texts))


def alive(mark):
    """Is there a process with this mark in its command line (waited for up to five seconds)?"""
    for _ in range(100):
        found = False
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found = found or mark.encode() in entry.read_bytes()
            except OSError:
                continue
        if not found:
            return False
        time.sleep(0.05)
    return True


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="this system has no /proc"
)


@needs_proc
def test_a_hang_is_ended_whole():
    mark = f"60.{secrets.randbelow(10**9):09d}"
    code = f"import os, subprocess\nsubprocess.Popen(['sleep', '{mark}'])\nwhile True: pass"
    started = time.monotonic()
    found, _ = scores(PythonTests(TESTS, seconds=1.0), [fenced(code), fenced(DOUBLE)])
    assert found == [0.0, 1.0]
    assert time.monotonic() - started < 20
    assert not alive(mark)


@needs_proc
@pytest.mark.skipif(
    not isolation()["processes of its own"], reason="this system allows no process namespace"
)
def test_a_child_that_left_the_session_does_not_outlive_the_program():
    mark = f"60.{secrets.randbelow(10**9):09d}"
    code = f"import subprocess\nsubprocess.Popen(['sleep', '{mark}'], start_new_session=True)\n"
    assert run_python(code, 30).passed
    assert not alive(mark)


@needs_proc
def test_the_deadline_of_the_run_ends_a_program_with_a_longer_limit():
    mark = f"60.{secrets.randbelow(10**9):09d}"
    text = fenced(f"import os\nos.execvp('sleep', ['sleep', '{mark}'])\n")
    strategy = BestOfN(n=1, verifier=PythonTests(TESTS, seconds=60))
    model = Scripted(lambda messages: text)
    started = time.monotonic()
    answer = anyio.run(
        lambda: asolve("Double.", model=model, strategy=strategy, budget="seconds=1")
    )
    assert answer.stopped == "seconds"
    assert answer.text == text
    assert time.monotonic() - started < 15
    assert not alive(mark)


def test_what_a_program_leaves_lying_about_is_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = "import os, tempfile\nopen('here.txt', 'w').write('x')\ntempfile.mkdtemp()\n"
    code += "os.mkfifo('pipe')\nos.chmod('.', 0o500)\nprint(sorted(os.listdir('.')))"
    done = run_python(code, 30)
    assert done.passed
    assert "'here.txt', 'pipe', 'program.py'" in done.output
    assert list(tmp_path.iterdir()) == []
    assert not Path("here.txt").exists()


def test_secrets_are_not_visible():
    """Neither in the environment, nor, where processes are hidden, in that of the caller."""
    hidden = isolation()["processes of its own"]
    look = """
        import glob, os
        assert "sk-planted" not in str(os.environ)
        files = ["/proc/self/environ"]
        if HIDDEN:
            files += glob.glob("/proc/[0-9]*/environ") + [f"/proc/{os.getppid()}/environ"]
        for file in files:
            try:
                assert b"sk-planted" not in open(file, "rb").read(), file
            except OSError:
                continue
    """.replace("HIDDEN", str(hidden))
    caller = f"""
        from outthink.verify.sandbox import run_python
        done = run_python({textwrap.dedent(look)!r}, 30)
        print(done.passed, done.output)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(caller)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "OPENAI_API_KEY": "sk-planted"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.startswith("True"), done.stdout + done.stderr


def test_without_namespaces_it_works_and_says_so(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox._wall.cache_clear()
    try:
        found = isolation()
        assert not found["network of its own"]
        assert not found["processes of its own"]
        assert found["own session and time limit"]
        assert scores(PATIENT, [fenced(DOUBLE), "nothing"])[0] == [1.0, 0.0]
    finally:
        sandbox._wall.cache_clear()


# -- parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tests", ["", " \n"])
def test_tests_are_needed(tests):
    with pytest.raises(BadInput, match="tests is empty: write statements"):
        PythonTests(tests)


@pytest.mark.parametrize("seconds", [0, -1, 601, math.nan, math.inf])
def test_wrong_limits_are_refused(seconds):
    with pytest.raises(BadInput, match="must be above 0 and at most 600"):
        PythonTests("assert True", seconds)


def test_specs_and_laws():
    spec = 'python_tests(tests="assert double(2) == 4")'
    assert build(spec, "verifier") == PythonTests("assert double(2) == 4")
    check_verifier(spec)
