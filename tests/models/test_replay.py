import json
from pathlib import Path

import pytest

import outthink
from outthink.core.errors import BadInput

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "samples.jsonl"
    texts = [f"The answer is {a}." for a in (4, 5, 4, 6, 4)]
    path.write_text(json.dumps({"question": "2 + 2?", "completions": texts}) + "\n")
    return path


def test_a_strategy_runs_over_recordings_in_their_order(recorded):
    answer = outthink.solve(
        "2 + 2?", model=f'replay("{recorded}")', strategy="self_consistency(n=5)"
    )
    assert answer.answer == "4"
    assert [s.text[14] for s in answer.candidates] == ["4", "5", "4", "6", "4"]
    first = outthink.solve("2 + 2?", model=f'replay("{recorded}")', strategy="greedy")
    assert first.answer == "4"


def test_more_samples_than_were_recorded_are_refused(recorded):
    with pytest.raises(outthink.OutthinkError, match="holds 5 samples"):
        outthink.solve("2 + 2?", model=f'replay("{recorded}")', strategy="self_consistency(n=6)")
    with pytest.raises(outthink.OutthinkError, match="holds nothing"):
        outthink.solve("3 + 3?", model=f'replay("{recorded}")', strategy="greedy")


def test_an_unreadable_recording_is_said(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        outthink.solve("2?", model=f'replay("{tmp_path}/none.jsonl")', strategy="greedy")


def test_real_recordings_are_replayed():
    path = DATA / "prm_bon_math" / "best_of_n.jsonl.gz"
    if not path.exists():
        pytest.skip("the recorded data sets are not here")
    import gzip

    row = json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])
    answer = outthink.solve(
        row["problem"], model=f'replay("{path}")', strategy="self_consistency(n=4)"
    )
    assert [s.text for s in answer.candidates] == row["completions"][:4]
