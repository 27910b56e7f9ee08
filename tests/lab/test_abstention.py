"""An answer that a strategy held back is no answer, whatever its text says."""

import outthink
from outthink.lab.bench import bench
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Contender, measure


def test_what_was_held_back_counts_as_not_right(tmp_path):
    results = bench(
        task='fly:chain(level="easy"),n=6',
        strategies=[
            "selective(strategy=greedy, threshold=0)",
            "selective(strategy=greedy, threshold=1, verifier=yes_no)",
        ],
        out=tmp_path / "out",
    )
    sure, silent = (results.of(arm) for arm in results.arms)
    assert all(row.right for row in sure)
    assert [row.answer for row in silent] == [None] * 6
    assert not any(row.right for row in silent)


def test_the_small_bench_grades_alike():
    import anyio

    easy = problems_of("chain", "easy", "test", 4)
    specs = ("greedy", "selective(strategy=greedy, threshold=1, verifier=yes_no)")
    plain, silent = anyio.run(measure, [Contender(s, s) for s in specs], easy)
    assert plain.right.mean() == 1
    assert silent.right.mean() == 0
    assert outthink.solve(easy[0].question, strategy=specs[1]).text == plain.answers[0].text
