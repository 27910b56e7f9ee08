"""Training on a model of a few thousand parameters; runs where the extra [train] is installed."""

import json
import random
import shutil
from dataclasses import asdict, replace

import anyio
import numpy as np
import pytest

from outthink.core.model import Judged
from outthink.models.fly.engine import load_safetensors
from outthink.tasks import FAMILIES, chain, check, family
from outthink.train import recipe as recipes

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
training = pytest.importorskip("outthink.train.fly")
loop = pytest.importorskip("outthink.train.loop")

TINY = recipes.Recipe(
    size="tiny",
    tokens=40 * 1024,
    skill_tokens=6 * 1024,
    hidden=32,
    layers=1,
    heads=2,
    ffn=48,
    batch_tokens=1024,
    warmup=5,
    threads=1,
)
TINY_ATTEMPTS = recipes.AttemptRecipe(problems=(20, 10, 10, 10), samples=2, max_tokens=24)
TINY_REWARD = recipes.RewardRecipe(
    tokens=10 * 1024,
    extra_layers=1,
    batch_tokens=1024,
    warmup=3,
    threads=1,
    problems=(20, 4, 4, 4),
    samples=2,
    max_tokens=24,
)


def quiet(text):
    """No progress."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A language model trained without a pause."""
    out = tmp_path_factory.mktemp("whole")
    done = training.train_language_model(TINY, out, progress=quiet, attempts=TINY_ATTEMPTS)
    assert done["finished"]
    return out


def test_the_loss_falls_and_the_recipe_is_in_the_weights(trained):
    rows = (trained / "language" / "language.csv").read_text().splitlines()
    losses = [float(row.split(",")[2]) for row in rows[1:]]
    assert len(losses) >= 2
    assert losses[-1] < losses[0] - 0.2
    for folder, stage in ((trained / "language", "language"), (trained, "skills")):
        _, metadata = load_safetensors(folder / "model.safetensors")
        assert json.loads(metadata["recipe"]) == json.loads(json.dumps(asdict(TINY)))
        assert metadata["stage"] == stage
        assert metadata["torch"]
    assert len(training.fingerprint(trained)) == 64


def test_the_attempts_are_the_models_own_on_training_problems(trained):
    records = training.read_attempts(trained / "attempts.jsonl")
    assert len(records) == sum(TINY_ATTEMPTS.problems)
    found = {name: sum(r["family"] == name for r in records) for name in FAMILIES}
    assert tuple(found.values()) == TINY_ATTEMPTS.problems
    for record in records:
        assert training.problem_of(record).split == "train"
        assert len(record["texts"]) == TINY_ATTEMPTS.samples


def test_a_training_that_was_stopped_ends_in_the_same_weights(trained, tmp_path, monkeypatch):
    """Stopped after some steps, as a clock or a kill would, and gone on with from the checkpoint."""
    clock = iter(range(1_000_000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    stops, done = 0, {"finished": False}
    while not done["finished"]:
        done = training.train_language_model(TINY, tmp_path, 25.0, quiet, attempts=TINY_ATTEMPTS)
        stops += 1
        assert stops < 80
    assert stops > 2
    assert (tmp_path / "attempts.jsonl").read_text() == (trained / "attempts.jsonl").read_text()
    whole, _ = load_safetensors(trained / "model.safetensors")
    parts, _ = load_safetensors(tmp_path / "model.safetensors")
    for name, tensor in whole.items():
        assert (tensor == parts[name]).all(), name


def test_a_checkpoint_of_another_recipe_is_refused(trained):
    with pytest.raises(ValueError, match="another recipe"):
        training.train_language_model(replace(TINY, seed=1), trained, progress=quiet)


def test_the_numpy_runtime_runs_what_was_trained(trained):
    from outthink.core.budget import Budget, Meter, Usage
    from outthink.core.model import Request
    from outthink.models.fly import Fly

    problem = chain.make(2, 9, 5)

    async def main():
        model = Fly(weights=str(trained)).open()
        request = Request(
            ({"role": "user", "content": problem.question},), max_tokens=20, seeds=(1, 2), n=2
        )
        return await model.generate(request, Meter(Budget()).reserve(Usage(calls=1)))

    reply = anyio.run(main)
    assert len(reply.generations) == 2
    assert all(g.tokens > 0 for g in reply.generations)


def test_the_reward_model_learns_from_exact_labels_goes_on_and_is_calibrated(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "trunk")
    trained = tmp_path / "trunk"
    out = trained / "prm"
    first = training.train_reward_model(TINY_REWARD, trained, out, 0.0, quiet)
    assert not first["finished"]
    done = training.train_reward_model(TINY_REWARD, trained, out, progress=quiet)
    assert done["finished"]
    config = json.loads((out / "config.json").read_text())
    assert set(config["calibration"]) == {"step", "outcome"}
    from outthink.core.budget import Budget, Meter, Usage
    from outthink.models.fly import FlyOrm, FlyPrm

    problem = chain.make(3, 9, 7)
    item = Judged(({"role": "user", "content": problem.question},), problem.solution)

    async def main(spec):
        ticket = Meter(Budget()).reserve(Usage(calls=1))
        return (await spec(str(out)).open().reward([item], ticket))[0][0]

    steps, outcomes = anyio.run(main, FlyPrm), anyio.run(main, FlyOrm)
    assert len(steps) == len(outcomes) == 4
    assert all(0 < s < 1 for s in (*steps, *outcomes))
    if config["calibration"]["step"][0] > 0:  # still right: never more likely than before
        assert list(steps) == sorted(steps, reverse=True)


def test_the_runtime_scores_as_the_reward_model_that_was_trained(trained, tmp_path):
    from outthink.models.fly import raw_rewards

    home = tmp_path / "trunk"
    shutil.copytree(trained, home)
    training.train_reward_model(TINY_REWARD, home, home / "prm", progress=quiet)
    judge = training.Judge(TINY_REWARD, home)
    judge.model.load_state_dict(torch.load(home / "prm" / "reward.checkpoint.pt")["model"])
    judge.model.eval()
    judge.scale = json.loads((home / "prm" / "config.json").read_text())["trunk_scale"]
    for weight in judge.model.parameters():  # exported in bf16
        weight.data = weight.data.bfloat16().float()
    tokenizer = training._tokenizer(home)
    problem = chain.make(4, 99, 11)
    text = chain.spoiled(problem, random.Random(0), 0.3)
    head = [1, *tokenizer.encode(problem.question + "\n").ids]
    ids = torch.tensor([[*head, *tokenizer.encode(text).ids]])
    of_text = (torch.arange(ids.shape[1]) >= len(head)).float()[None]
    with torch.no_grad():
        told = judge(ids, of_text)[0].sigmoid().numpy()
        blind = judge(ids, 0 * of_text)[0].sigmoid().numpy()
    newline = tokenizer.encode("\n").ids[0]
    ends = [i for i in range(len(head), ids.shape[1]) if ids[0, i] == newline]
    ((lines, outcomes),) = raw_rewards(home / "prm", [(problem.question, text)])
    assert np.allclose(lines, np.cumprod(told[ends, 0]), atol=1e-4)
    assert np.allclose(outcomes, told[ends, 1], atol=1e-4)
    assert np.abs(blind[ends] - told[ends]).max() > 1e-3  # what it is told counts
    with torch.no_grad():  # and nothing that it is told of a token reaches an earlier one
        cut = judge(ids[:, : ends[1]], of_text[:, : ends[1]])[0].sigmoid().numpy()
    assert np.allclose(cut, told[: ends[1]], atol=1e-5)


def test_the_fresh_layers_read_a_stream_of_size_one_and_the_trunk_stays(trained, tmp_path):
    judge = training.Judge(TINY_REWARD, trained)
    before = [p.clone() for p in judge.model["trunk"].parameters()]
    rows = [([1, *range(9, 9 + n)], [0.0] * (n + 1)) for n in (5, 30)]
    judge.measure(rows)
    squares = [(judge.read(torch.tensor([ids]))[0] / judge.scale).pow(2) for ids, _ in rows]
    assert torch.cat([s.flatten() for s in squares]).mean() == pytest.approx(1.0, abs=1e-4)
    assert not any(p.requires_grad for p in judge.model["trunk"].parameters())
    optimizer = loop.Optimizer(judge.model, TINY_REWARD)
    judge(torch.tensor([rows[1][0]]), torch.ones(1, 31)).sum().backward()
    optimizer.step(1.0)
    after = judge.model["trunk"].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_reward_model_lies_with_its_trunk(trained, tmp_path):
    with pytest.raises(ValueError, match="lies with its trunk"):
        training.train_reward_model(TINY_REWARD, trained, tmp_path / "prm", progress=quiet)


def test_expert_iteration_learns_from_right_thoughts_alone(trained, tmp_path, monkeypatch):
    recipe = recipes.ExpertRecipe(
        problems=(6, 2, 2, 2), samples=2, max_tokens=16, tokens=2048, batch_tokens=1024, threads=1
    )
    with pytest.raises(ValueError, match="nothing to learn"):
        training.train_expert(recipe, trained, tmp_path / "none", progress=quiet)
    monkeypatch.setattr(training, "check", lambda problem, text: len(text) % 2 == 0)
    said = []
    done = training.train_expert(recipe, trained, tmp_path / "some", progress=said.append)
    assert done["finished"]
    assert any("right thoughts of 24" in text for text in said)
    _, metadata = load_safetensors(tmp_path / "some" / "model.safetensors")
    assert metadata["stage"] == "expert"


def test_the_targets_of_the_reward_model_are_exact(trained):
    tokenizer = training._tokenizer(trained)
    problem = chain.make(3, 99, 7)
    wrong = problem.solution.replace(f"= {problem.steps[1].value}\n", "= 7777\n")
    rows = training.judged(tokenizer, [(problem, problem.solution), (problem, wrong)])
    for (ids, targets), text in zip(rows, (problem.solution, wrong), strict=True):
        marks = [t for t in targets if t >= 0]
        assert len(ids) == len(targets)
        lines = [m for i, m in zip(ids[-len(marks) :], marks, strict=True) if i == ids[-1]]
        right = family("chain").right_so_far(problem, text)
        ends = [right[i] for i, c in enumerate(text) if c == "\n"]
        assert [m >= 2 for m in lines] == ends
        assert {m % 2 for m in marks} == {float(check(problem, text))}


def test_a_logistic_fit_finds_what_the_labels_follow():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 20_000)
    p = 1 / (1 + np.exp(-x))
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * x + 1.0)))
    slope, offset = training.fit_logistic(list(zip(p, y.astype(float), strict=True)))
    assert abs(slope - 0.5) < 0.05
    assert abs(offset - 1.0) < 0.07


def test_a_batch_depends_on_its_number_alone():
    rows_of = lambda rng: [([rng.randrange(9) for _ in range(rng.randint(3, 9))], [0.0] * 9)]  # noqa: E731

    def batches(start, count):
        made = loop.pack("t", lambda rng: [(i, m[: len(i)]) for i, m in rows_of(rng)], 64, start)
        return [next(made) for _ in range(count)]

    whole, later = batches(0, 20), batches(7, 13)
    for (x, y), (x2, y2) in zip(whole[7:], later, strict=True):
        assert np.array_equal(x, x2)
        assert np.array_equal(y, y2)


def test_every_size_has_a_recipe_of_the_same_data():
    for size, shape in recipes.SIZES.items():
        made = recipes.Recipe().of_size(size)
        assert made.size == size
        assert made.hidden == shape["hidden"]
        fly = {**recipes.SIZES["fly"], "size": "fly", "threads": recipes.Recipe.threads}
        assert replace(made, **fly) == recipes.Recipe()
        assert made.hidden % made.heads == 0
        assert made.hidden // made.heads % 2 == 0


def test_rows_are_drawn_by_their_generator_alone(trained):
    writer = training.Writer(training._tokenizer(trained))
    assert writer.rows(random.Random(3)) == writer.rows(random.Random(3))
