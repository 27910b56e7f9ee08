import pytest

from outthink.verify.sandbox import isolation, run_python


def test_a_right_program_passes_and_a_wrong_one_does_not():
    assert run_python("def f(x):\n    return x + 1\nassert f(1) == 2").passed
    failed = run_python("assert 1 == 2, 'no'")
    assert not failed.passed
    assert "AssertionError" in failed.output


@pytest.mark.parametrize(
    "trick", ["import os; os._exit(0)", "raise SystemExit(0)", "print('PASSED'); exit()"]
)
def test_ending_early_is_not_passing(trick):
    assert not run_python(trick + "\nassert False").passed


def test_hangs_memory_and_output_are_bounded():
    hang = run_python("while True: pass", seconds=1.0)
    assert hang.timed_out
    assert not hang.passed
    assert not run_python("x = bytearray(1 << 31)").passed
    assert len(run_python("while True: print('x' * 1000)", seconds=2.0).output) <= 20_000


def test_secrets_of_the_environment_are_not_there(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    assert run_python("import os; assert 'OPENAI_API_KEY' not in os.environ").passed


def test_the_network_is_away_where_it_is_said():
    if not isolation()["network of its own"]:
        pytest.skip("this system allows no network namespace")
    code = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
    code += "except OSError as e:\n    assert 'unreachable' in str(e).lower(), e"
    assert run_python(code).passed
