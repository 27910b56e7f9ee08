"""``outthink doctor``: every line has a state, and what is broken says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from outthink import doctor
from outthink.cli import app


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTTHINK_STORE", f"sqlite:///{tmp_path}/store.db")


def test_all_is_well_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "all that is needed works" in done.stdout
    assert "very-secret" not in done.output
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found["ok"] is True
    states = {c["name"]: c["state"] for c in found["checks"]}
    assert states["fly runs"] == "ok"
    assert states["store"] == "ok"
    assert states["OPENAI_API_KEY"] == "ok"
    assert all(c["mend"] for c in found["checks"] if c["state"] == "fail")


def test_what_is_broken_is_a_failure_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Check:
        raise OSError("no\nweights")

    only = (("fly's weights", broken, "fail", "install again"),)
    monkeypatch.setattr(doctor, "CHECKS", only)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "fail  fly's weights" in done.stdout
    assert "install again" in done.stdout
    assert "1 thing to mend" in done.stdout


def test_a_missing_extra_is_only_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = list(doctor.extras())
    assert {c.state for c in found} == {"warn"}
    assert "pip install 'outthink[local]'" in next(c.mend for c in found if c.name == "[local]")


def test_a_store_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a-file"
    file.write_text("")
    monkeypatch.setenv("OUTTHINK_STORE", f"sqlite:///{file}/x.db")
    line = next(c for c in doctor.checks() if c.name == "store")
    assert line.state == "fail"
    assert "OUTTHINK_STORE" in line.mend
