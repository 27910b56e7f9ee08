"""Training on a model of a few thousand parameters; runs where the extra [train] is installed."""

import json
import random
from dataclasses import asdict, replace

import anyio
import numpy as np
import pytest

from outthink.core.model import Judged
from outthink.models.fly.engine import load_safetensors
from outthink.tasks import chain

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
training = pytest.importorskip("outthink.train.fly")

TINY = training.Recipe(
    tokens=40 * 1024, hidden=32, layers=1, heads=2, ffn=48, batch_tokens=1024, warmup=5, threads=1
)
TINY_PRM = training.PrmRecipe(
    tokens=12 * 1024, extra_layers=1, problems=96, samples=1, batch_tokens=1024, warmup=3, threads=1
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A language model trained without a pause."""
    out = tmp_path_factory.mktemp("whole")
    done = training.train_language_model(TINY, out, progress=lambda text: None)
    assert done["finished"]
    return out


def test_the_loss_falls_and_the_recipe_is_in_the_weights(trained):
    rows = (trained / "curve.csv").read_text().splitlines()
    losses = [float(row.split(",")[2]) for row in rows[1:]]
    assert len(losses) >= 2
    assert losses[-1] < losses[0] - 0.2
    _, metadata = load_safetensors(trained / "model.safetensors")
    assert json.loads(metadata["recipe"]) == json.loads(json.dumps(asdict(TINY)))
    assert int(metadata["tokens_seen"]) >= 0.9 * TINY.tokens


def test_a_training_that_was_stopped_ends_in_the_same_weights(trained, tmp_path, monkeypatch):
    """Stopped after some steps, as a clock or a kill would, and gone on with from the checkpoint."""
    clock = iter(range(100_000))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    stops, done = 0, {"finished": False}
    while not done["finished"]:
        done = training.train_language_model(TINY, tmp_path, 30.0, progress=lambda text: None)
        stops += 1
        assert stops < 50
    assert stops > 1
    whole, _ = load_safetensors(trained / "model.safetensors")
    parts, _ = load_safetensors(tmp_path / "model.safetensors")
    for name, tensor in whole.items():
        assert (tensor == parts[name]).all(), name


def test_a_checkpoint_of_another_recipe_is_refused(trained):
    with pytest.raises(ValueError, match="another recipe"):
        training.train_language_model(replace(TINY, seed=1), trained, progress=lambda text: None)


def test_the_numpy_runtime_runs_what_was_trained(trained):
    from outthink.core.budget import Budget, Meter, Usage
    from outthink.core.model import Request
    from outthink.models.fly import Fly

    problem = chain.make(2, 1, 5)

    async def main():
        model = Fly(str(trained)).open()
        request = Request(
            ({"role": "user", "content": problem.question},), max_tokens=20, seeds=(1, 2), n=2
        )
        return await model.generate(request, Meter(Budget()).reserve(Usage(calls=1)))

    reply = anyio.run(main)
    assert len(reply.generations) == 2
    assert all(g.tokens > 0 for g in reply.generations)


def test_the_reward_model_learns_from_exact_labels_and_goes_on(trained, tmp_path):
    out = tmp_path / "prm"
    first = training.train_reward_model(TINY_PRM, trained, out, 0.0, lambda text: None)
    assert not first["finished"]
    done = training.train_reward_model(TINY_PRM, trained, out, progress=lambda text: None)
    assert done["finished"]
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == TINY_PRM.problems * TINY_PRM.samples
    for row in rows[:20]:
        problem = chain.make(*row["dials"])
        assert problem.split == "train"
        assert row["labels"] == chain.step_labels(problem, row["text"])
    from outthink.core.budget import Budget, Meter, Usage
    from outthink.models.fly import FlyPrm

    (out / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
    problem = chain.make(3, 1, 7)

    async def main():
        model = FlyPrm(str(out)).open()
        item = Judged(({"role": "user", "content": problem.question},), problem.solution)
        ticket = Meter(Budget()).reserve(Usage(calls=1))
        return (await model.reward([item], ticket))[0][0]

    steps = anyio.run(main)
    assert len(steps) == 4
    assert all(0 < s < 1 for s in steps)
    assert list(steps) == sorted(steps, reverse=True)  # still right: never more likely than before


def test_no_row_of_training_comes_from_another_split():
    rng = random.Random(3)
    drawn = [training.draw(rng, TINY) for _ in range(400)]
    assert {p.split for p in drawn} == {"train"}


def test_a_batch_depends_on_its_number_alone():
    rows_of = lambda rng: [([rng.randrange(9) for _ in range(rng.randint(3, 9))], [0.0] * 9)]  # noqa: E731

    def batches(start, count):
        made = training.pack(
            "t", lambda rng: [(i, m[: len(i)]) for i, m in rows_of(rng)], 64, start
        )
        return [next(made) for _ in range(count)]

    whole, later = batches(0, 20), batches(7, 13)
    for (x, y), (x2, y2) in zip(whole[7:], later, strict=True):
        assert np.array_equal(x, x2)
        assert np.array_equal(y, y2)
