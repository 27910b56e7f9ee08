import gzip
import json
from pathlib import Path

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.nouns import Problem
from outthink.lab.pools import Pools
from outthink.lab.recorded import (
    KNOWN,
    Drawn,
    from_results,
    from_samples,
    from_store,
    known_set,
    read_pools,
)
from outthink.lab.resample import Best, Coverage, Vote, replay
from outthink.stop.window import Window
from tests.lab.made_up import results
from tests.store.toys import LastWord, Toy
from tests.store.toys import Vote as ToyVote

DATA = Path(__file__).parents[3] / "shared" / "data"

shelf = pytest.mark.skipif(
    not DATA.exists(), reason="the recorded samples of ../shared/data are not beside this checkout"
)

LONG = [
    {"problem": "a", "answer": "1/2", "correct": 1, "tokens": 5, "score": 0.5},
    {"problem": "b", "answer": "7", "correct": 0, "tokens": 6, "score": 0.25},
    {"problem": "a", "answer": "0.5", "correct": 1, "tokens": 7, "score": 1.0},
    {"problem": "a", "answer": "", "correct": 0, "tokens": 8, "score": 0.0},
]
WIDE = [
    {"problem": "a", "answers": ["1/2", "0.5", None], "correct": [True, True, False],
     "tokens": [5, 7, 8], "score": [0.5, 1.0, 0.0]},
    {"problem": "b", "answers": ["7"], "correct": [False], "tokens": [6], "score": [0.25]},
]  # fmt: skip


def written(folder, name, rows):
    """A file of these rows; its name says how."""
    file = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file
    if ".csv" in name:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        text = "\n".join(lines)
    elif ".jsonl" in name:
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        text = json.dumps(rows)
    data = text.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def same(a: Pools, b: Pools):
    assert a.problems == b.problems
    assert list(a.scores) == list(b.scores)
    for x, y in (
        (a.classes, b.classes), (a.right, b.right), (a.tokens, b.tokens), (a.present, b.present),
        *((a.scores[c], b.scores[c]) for c in a.scores),
    ):  # fmt: skip
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("s.jsonl", LONG), ("s.jsonl.gz", LONG), ("s.json.gz", LONG), ("s.csv", LONG),
     ("s.parquet", LONG), ("s.jsonl", WIDE), ("s.json", WIDE), ("s.parquet", WIDE)],
)  # fmt: skip
def test_one_row_a_sample_and_one_row_a_problem_are_the_same_pools(tmp_path, name, rows):
    pools = read_pools(written(tmp_path, name, rows))
    assert pools.classes.tolist() == [[0, 0, -1], [0, -1, -1]]
    assert pools.right.tolist() == [[True, True, False], [False, False, False]]
    assert pools.counts.tolist() == [3, 1]
    assert pools.tokens.tolist() == [[5, 7, 8], [6, 0, 0]]
    assert pools.scores["score"][0].tolist() == [0.5, 1.0, 0.0]
    assert (pools.unit, pools.problems) == ("tokens", ("a", "b"))


def test_texts_are_read_and_judged_by_the_reference(tmp_path):
    rows = [
        {"question": "2 + 2?", "answer": "4", "agg_scores": [0.9, 0.1, 0.5],
         "completions": ["so \\boxed{4}", "The answer is 4.0.", "I think that \\boxed{5}"]}
    ]  # fmt: skip
    pools = read_pools(written(tmp_path, "s.jsonl", rows))
    assert pools.classes.tolist() == [[0, 0, 1]]
    assert pools.right.tolist() == [[True, True, False]]
    assert pools.tokens.tolist() == [[1, 1, 1]]
    assert (pools.unit, list(pools.scores)) == ("samples", ["agg_scores"])


def test_columns_of_other_names_are_named(tmp_path):
    rows = [{"k": i // 2, "said": "x", "ok": "yes", "cost": 3, "v": i} for i in range(4)]
    file = written(tmp_path, "s.csv", rows)
    names = {"problem": "k", "answer": "said", "right": "ok", "tokens": "cost", "scores": ["v"]}
    pools = read_pools(file, **names, unit="calls")
    assert pools.scores["v"].tolist() == [[0, 1], [2, 3]]
    assert pools.right.all()
    assert pools.unit == "calls"
    with pytest.raises(BadInput, match="no column 'sad'; did you mean 'said'"):
        read_pools(file, **{**names, "answer": "sad"})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"problem": "c", "answer": "1", "correct": "maybe", "tokens": 1, "score": 1},
         "row 5 of .*'maybe' in correct: write true or false"),
        ({"problem": "", "answer": "1", "correct": 1, "tokens": 1, "score": 1}, "row 5 of .* no problem"),
        ({"problem": "c", "answer": "1", "correct": 1, "tokens": "many", "score": 1},
         "row 5 of .*'many' in tokens"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_row(tmp_path, row, words):
    with pytest.raises(BadInput, match=words) as error:
        read_pools(written(tmp_path, "s.jsonl", [*LONG, row]))
    assert "s.jsonl" in str(error.value)


def test_lists_of_one_row_are_equally_long(tmp_path):
    rows = [*WIDE, {**WIDE[0], "correct": [True]}]
    with pytest.raises(BadInput, match=r"row 3 of .* 3 samples in answers and 1 values in correct"):
        read_pools(written(tmp_path, "s.jsonl", rows))


def test_a_file_that_says_too_little_is_refused(tmp_path):
    with pytest.raises(BadInput, match="neither what is right nor"):
        read_pools(written(tmp_path, "s.jsonl", [{"problem": "a", "prediction": "1"}]))
    with pytest.raises(BadInput, match="no column for the answer"):
        read_pools(written(tmp_path, "t.jsonl", [{"problem": "a", "correct": 1}]))
    with pytest.raises(BadInput, match="no samples"):
        from_samples([])


def test_equal_answers_have_one_form_and_scores_may_be_absent():
    drawn = [
        Drawn("p", "A", True, 1, {"s": 1.0}), Drawn("p", "a", False), Drawn("p", None, False)
    ]  # fmt: skip
    assert from_samples(drawn).classes.tolist() == [[0, 0, -1]]
    exact = from_samples(drawn, form=str.strip)
    assert exact.classes.tolist() == [[0, 1, -1]]
    assert np.isnan(exact.scores["s"][0, 1:]).all()


# -- a bench and the store ------------------------------------------------------------------------------


def test_a_bench_replays_to_its_own_runs():
    bench = results(problems=12, seeds=2)
    for label, rule, n in (
        ("small: self_consistency n=16", Vote(ties="first"), 16),
        ("small: best_of_n n=16", Best("score"), 16),
    ):
        pools = from_results(bench, label)
        assert len(pools) == 24
        assert len(set(pools.problems)) == 12
        assert {c.max() for c in pools.classes} <= set(range(-1, 5))
        [found] = replay(pools, [rule], [n], orders=np.arange(n)[None])
        assert found.right[:, 0].tolist() == [float(run.right) for run in bench.of(label)]
        tokens = [run.completion_tokens for run in bench.of(label)]
        assert found.tokens[:, 0].tolist() == tokens
    with pytest.raises(BadInput, match="no arm 'small: best_of_n n=9'; did you mean"):
        from_results(bench, "small: best_of_n n=9")


def test_classes_are_in_order_of_first_appearance():
    for row in from_results(results(problems=8), "large: self_consistency n=4").classes:
        firsts = list(dict.fromkeys(c for c in row.tolist() if c >= 0))
        assert firsts == sorted(firsts)


def test_the_finished_runs_of_a_store_are_pools(tmp_path):
    url = str(tmp_path / "runs.db")

    async def solve(question, reference, seed, n=6):
        problem = Problem(({"role": "user", "content": question},), reference=reference)
        await asolve(
            problem, model=Toy(), strategy=ToyVote(n), seed=seed, store=url, reader=LastWord()
        )

    async def main():
        await solve("Which of 0, 1, 2?", "1", 1)
        await solve("Which of 0, 1, 2?", "1", 2)
        await solve("Which of 0, 1, 2?", "1", 2)
        await solve("Another one?", None, 3)

    anyio.run(main)
    pools = from_store(url)
    assert pools.problems == ("Which of 0, 1, 2?",) * 2
    assert pools.counts.tolist() == [6, 6]
    assert (pools.tokens >= 5).all()
    assert 0 < pools.correct.sum() < 12
    for classes, right in zip(pools.classes, pools.right, strict=True):
        assert len(set(classes[right].tolist())) <= 1
        assert not set(classes[right].tolist()) & set(classes[~right].tolist())
    with pytest.raises(BadInput, match="no finished run of 'greedy'"):
        from_store(url, "greedy")
    anyio.run(solve, "Which of 0, 1, 2?", "1", 4, 3)
    with pytest.raises(BadInput, match="several strategies"):
        from_store(url)
    assert from_store(url, pools.name).counts.tolist() == [6, 6]


# -- the recorded sets ----------------------------------------------------------------------------------


@shelf
@pytest.mark.parametrize(
    ("name", "shape", "right"),
    [
        ("esc_last_letters", (500, 40), 0.802),
        ("tot_game24_io", (100, 100), 0.073),
        ("tot_game24_cot", (100, 100), 0.040),
        ("codet_humaneval", (164, 100), 0.224),
        ("gsm8k_verifier", (1319, 4), (0.217 + 0.390 + 0.347 + 0.563) / 4),
        ("zeroeval_numersense_v2", (512, 12), None),
        ("prm_bon_math_n4", (10, 4), None),
    ],
)
def test_a_recorded_set_has_the_share_right_that_its_source_has(name, shape, right):
    pools = known_set(name, DATA)
    assert pools.classes.shape == shape
    assert pools.present.all()
    if right is not None:
        assert pools.correct.sum() / pools.counts.sum() == pytest.approx(right, abs=6e-4)


@shelf
def test_every_recorded_set_is_there():
    assert all((DATA / known.file).exists() for known in KNOWN.values())
    with pytest.raises(BadInput, match="did you mean 'zeroeval_gsm'"):
        known_set("zeroeval_gsmm", DATA)
    with pytest.raises(BadInput, match="name the folder"):
        known_set("zeroeval_gsm", "nowhere")


@shelf
def test_a_window_of_five_stops_the_last_letters_at_a_fifth_of_the_samples():
    pools = known_set("esc_last_letters", DATA)
    window, vote = replay(
        pools, [Vote(stop=Window(5)), Vote()], [5, 10, 40], orders=np.arange(40)[None]
    )
    assert window.samples[:, -1].mean() == pytest.approx(8.56, abs=0.005)
    assert window.accuracy()[-1].value == pytest.approx(0.830, abs=5e-4)
    assert vote.accuracy()[-1].value == pytest.approx(0.830, abs=5e-4)
    # a tie that goes to the first to appear: one of the 500 differs
    [first] = replay(pools, [Vote(stop=Window(5), ties="first")], [40], orders=np.arange(40)[None])
    assert first.accuracy()[-1].value == pytest.approx(0.828, abs=5e-4)


@shelf
def test_replayed_coverage_and_votes_are_the_published_ones():
    letters = known_set("esc_last_letters", DATA)
    vote, found = replay(letters, [Vote(), Coverage()], [1, 5, 10, 16, 40], 300)
    ours = [e.value for e in found.accuracy()]
    assert [ours[0], ours[3], ours[4]] == pytest.approx([0.802, 0.902, 0.924], abs=3e-3)
    assert [e.value for e in vote.accuracy()][1:3] == pytest.approx([0.822, 0.826], abs=3e-3)
    programs = known_set("codet_humaneval", DATA)
    found, tested = replay(programs, [Coverage(), Best("tests")], [1, 10, 100], 300)
    assert [e.value for e in found.accuracy()] == pytest.approx([0.224, 0.507, 0.744], abs=6e-3)
    # of all hundred the one that passes most of the model's own tests
    assert tested.accuracy()[-1].value == pytest.approx(0.241, abs=5e-4)
