import gzip
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


def row(**values):
    return json.dumps({"question": "2 + 2?", **values})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ("{oh", "cannot be read"),
        ('"x"', "has no question"),
        ('{"messages": [3]}', "has no question"),
        (row(), "list of texts"),
        (row(completions="x", completion=3) + "\n" + row(completion=3), "list of texts"),
        (row(completions=["x", None]), "list of texts"),
        (row(completions=["x"], completion_tokens=[1, 2]), "2 counts"),
        (row(completions=["x"], completion_tokens=["1"]), "is no count"),
        (row(completions=["x"], completion_tokens=[-1]), "is no count"),
        (row(completions=["x"], completion_tokens=[1e400]), "is no count"),
    ],
)
def test_what_is_wrong_in_a_recording_is_said_with_its_row(text, said, tmp_path):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(BadInput, match=said):
        outthink.solve("2 + 2?", model=f'replay("{tmp_path}/r.jsonl")', strategy="greedy")


def test_a_torn_archive_is_said(tmp_path):
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(row(completion="4").encode())[:-9])
    with pytest.raises(BadInput, match="cannot be read"):
        outthink.solve("2 + 2?", model=f'replay("{tmp_path}/r.jsonl.gz")', strategy="greedy")


def test_a_line_is_what_ends_with_a_newline_and_a_mark_of_utf8_is_no_text(tmp_path):
    text = "\ufeff" + json.dumps(
        {"question": "2 + 2?", "completion": "so\u2028answer: 4"}, ensure_ascii=False
    )
    (tmp_path / "r.jsonl").write_text(text, encoding="utf-8")
    model = f'replay("{tmp_path}/r.jsonl")'
    assert outthink.solve("2 + 2?", model=model, strategy="greedy").answer == "4"


def test_recordings_of_one_file_name_are_told_apart_in_a_store(tmp_path):
    found = []
    for said in ("answer: 4", "answer: 5"):
        (tmp_path / "r.jsonl").write_text(row(completion=said))
        found.append(
            outthink.solve(
                "2 + 2?",
                model=f'replay("{tmp_path}/r.jsonl")',
                strategy="greedy",
                store=str(tmp_path / "s.db"),
            ).answer
        )
    assert found == ["4", "5"]
