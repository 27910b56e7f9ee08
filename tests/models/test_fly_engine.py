"""The runtime of fly on random weights: what holds whatever the weights are."""

import threading
import time

import numpy as np
import pytest

from benchmarks.fly_speed import prompt, random_weights
from outthink.models.fly import engine
from outthink.models.fly.decode import Decoder, Job
from outthink.models.fly.engine import CHUNK, DESK, Network, alike, load_safetensors, one_thread
from outthink.models.fly.tokenizer import Tokenizer

SHAPES = [(192, 2, 4, 512), (112, 2, 4, 304), (288, 2, 6, 768)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("weights")
    random_weights(made, 112, 2, 4, 304)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder):
    found = Tokenizer.load(folder / "tokenizer.json")
    found.eos = -1  # rows end by length or stop
    return found


def decode(decoder, *asked, new=40, temperature=1.0, stop=()):
    """The rows of jobs ``(ids, seeds)`` handed in together."""
    jobs, left = [], threading.Semaphore(0)
    failed = []

    def done(_, error):
        failed.extend([error] if error else [])
        left.release()

    for ids, seeds in asked:
        jobs.append(Job(ids, tuple(seeds), new, temperature, 1.0, 0, stop, done))
        decoder.submit(jobs[-1])
    for _ in jobs:
        assert left.acquire(timeout=120)
    if failed:
        raise failed[0]
    return [[(tuple(r.tokens), tuple(r.logprobs)) for r in job.rows] for job in jobs]


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_are_the_same_read_at_once_in_parts_or_token_by_token_alone_or_in_company(
    tmp_path, shape
):
    random_weights(tmp_path, *shape)
    net = Network(tmp_path)
    net.reserve(40)
    ids = list(prompt(2 * CHUNK + 23))
    last = len(ids) - 1
    with one_thread():
        whole = net.logits(net.forward([(0, 0, ids)]))
        parts = [net.forward([(1, a, ids[a : a + 10])]) for a in range(0, 40, 10)]
        parts += [net.forward([(1, a, ids[a : a + 1])]) for a in range(40, len(ids))]
        assert (net.logits(np.concatenate(parts)) == whole).all()
        both = net.forward([(2, 0, ids), (4, 0, ids[:50]), (3, 0, ids)])
        assert (net.logits(both[: len(ids)]) == whole).all()
        assert (net.logits(both[len(ids) + 50 :]) == whole).all()
        state = net.keep(0, ids[:-1])
        for rows in (1, 3, 5, 17, 40):  # below and above what is read from one place
            for slot in range(rows):
                net.load(slot, state)
            net.settle(rows)
            groups = [(slot, last, ids[-1:] if slot % 2 == 0 else [17]) for slot in range(rows)]
            assert (net.logits(net.forward(groups))[::2] == whole[-1]).all()


def test_tokens_and_logprobs_do_not_depend_on_width_threads_memory_or_other_jobs(folder, tokenizer):
    net = Network(folder)
    long, short = prompt(90), prompt(33)[::-1]
    alone = decode(Decoder(net, tokenizer, max_rows=1, threads=1), (long, range(20)))[0]
    assert len(set(alone)) == 20
    for options in (
        {"max_rows": 64, "threads": 1},
        {"max_rows": 64, "threads": 2},
        {"max_rows": 64, "threads": 3},
        {"max_rows": 7, "threads": 2},
        {"max_rows": 64, "threads": 2, "cache_limit": 4 * 130 * net.token_bytes},
    ):
        fresh = Network(folder)
        wide = Decoder(fresh, tokenizer, **options)
        assert decode(wide, (long, range(20)))[0] == alone
        found = decode(wide, (short, range(30)), *[(long, [seed]) for seed in reversed(range(20))])
        assert [rows[0] for rows in found[:0:-1]] == alone


def test_rows_in_the_making_are_limited_by_memory(folder, tokenizer):
    net = Network(folder)
    ids = prompt(10)
    need = 50 * net.token_bytes
    decoder = Decoder(net, tokenizer, max_rows=64, threads=1, cache_limit=8 * need)
    rows = decode(decoder, (ids, range(40)))[0]
    assert len(rows) == 40
    assert all(len(tokens) == 40 for tokens, _ in rows)
    assert sum(1 for slot in net._cache.columns[0][0, 0] if slot.any()) == 8
    narrow = Decoder(Network(folder), tokenizer, threads=1, cache_limit=1)  # one at least
    assert decode(narrow, (ids, range(2)))[0] == rows[:2]


def test_a_state_that_is_kept_and_loaded_is_the_text_itself(folder):
    net = Network(folder)
    net.reserve(8)
    ids = list(prompt(150))
    with one_thread():
        net.forward([(0, 0, ids)])
        straight = net.keep(0, ids)
        start = net.keep(0, ids[:70])
        assert net.keep(0, ids[:70]) is start
        assert net.longest(ids, 149) is start
        for slot in range(1, 6):  # enough to share what they began with
            net.load(slot, start)
        for at in range(70, 149):
            net.forward([(slot, at, [ids[at]]) for slot in range(1, 6)])
        net.move(5, 2)
        net.forward([(2, 149, ids[149:])])
    net.states.clear()
    used = net.keep(2, ids)
    assert used is not straight
    places = np.arange(used.kv.shape[3] * CHUNK).reshape(-1, CHUNK, 1) < 150
    assert (np.where(places, used.kv, 0) == np.where(places, straight.kv, 0)).all()


def test_a_row_moves_with_what_it_has_read_and_no_more(folder):
    """A token may have been drawn that is not read yet, where a new column would begin."""
    net = Network(folder)
    net.reserve(60)
    longer, ids = list(prompt(CHUNK + 8)), list(prompt(CHUNK + 1))
    with one_thread():
        net.forward([(0, 0, longer), (1, 0, longer)])  # the second column is narrow
        net.forward([(slot, 0, ids[:-1]) for slot in range(60)])
        net.move(53, 0)
        moved = net.forward([(0, CHUNK, ids[-1:])])
        assert (moved == net.forward([(54, CHUNK, ids[-1:])])).all()


def test_kept_states_stay_under_their_limit_and_the_oldest_go(folder):
    net = Network(folder)
    ids = list(prompt(64))
    with one_thread():
        net.forward([(DESK, 0, ids)])
    one = net.keep(DESK, ids).kv.nbytes
    net.state_limit = 3 * one
    for i in range(5):
        net.keep(DESK, [i, *ids[1:]])
    assert net.state_bytes == sum(s.kv.nbytes for s in net.states.values()) <= 3 * one
    assert net.longest(ids, 64) is None
    assert net.longest([4, *ids[1:]], 64) is not None


def test_logprobs_are_those_of_the_logits_at_any_temperature(folder, tokenizer):
    net = Network(folder)
    ids = prompt(40)
    (rows,) = decode(Decoder(net, tokenizer), (ids, (1, 2)), new=6, temperature=0.6)
    net.reserve(1)
    for tokens, logprobs in rows:
        with one_thread():
            logits = net.logits(net.forward([(0, 0, [*ids, *tokens[:-1]])]))[39:].astype(float)
        wanted = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        assert np.allclose(wanted[np.arange(6), tokens], logprobs, atol=1e-12, rtol=0)


def test_draws_follow_the_distribution(folder, tokenizer):
    net = Network(folder)
    ids = prompt(12)
    (rows,) = decode(Decoder(net, tokenizer, max_rows=256), (ids, range(3000)), new=1)
    probability = {tokens[0]: np.exp(logprobs[0]) for tokens, logprobs in rows}
    for token, p in sorted(probability.items(), key=lambda item: -item[1])[:5]:
        share = np.mean([tokens[0] == token for tokens, _ in rows])
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / 3000)


def test_an_error_in_any_span_reaches_the_callers_and_the_worker_lives_on(
    folder, tokenizer, monkeypatch
):
    net = Network(folder)
    decoder = Decoder(net, tokenizer, threads=2)
    forward = net.forward

    def broken(groups):
        if groups[0][0] > 0:  # the second span of slots
            raise ArithmeticError("broken")
        return forward(groups)

    monkeypatch.setattr(net, "forward", broken)
    with pytest.raises(ArithmeticError, match="broken"):
        decode(decoder, (prompt(20), range(32)))
    monkeypatch.setattr(net, "forward", forward)
    assert len(decode(decoder, (prompt(20), range(32)))[0]) == 32


def test_a_cancelled_job_ends_at_the_next_token(folder, tokenizer):
    decoder = Decoder(Network(folder), tokenizer)
    ended = threading.Event()
    job = Job(prompt(20), tuple(range(8)), 900, 1.0, 1.0, 0, (), lambda *_: ended.set())
    decoder.submit(job)
    while not job.rows or not job.rows[0].tokens:
        assert not ended.wait(0.001)
    job.cancelled = True
    assert ended.wait(30)
    assert max(len(row.tokens) for row in job.rows) < 900


def test_threads_of_an_idle_decoder_end(folder, tokenizer):
    def helpers():
        return sum(thread.name == "fly-helper" for thread in threading.enumerate())

    before = helpers()
    decoder = Decoder(Network(folder), tokenizer, idle=0.05, threads=3)
    decode(decoder, (prompt(20), range(32)), new=3)
    for _ in range(1000):
        if decoder._thread is None and helpers() <= before:
            break
        time.sleep(0.01)
    assert decoder._thread is None
    assert helpers() <= before
    assert not decoder.network._cache.columns  # and their memory is given back


def test_texts_that_are_read_together_may_need_more_room_than_there_was(folder):
    net, fresh = Network(folder), Network(folder)
    rng = np.random.default_rng(0)
    ids = [rng.integers(9, 400, 50).tolist() for _ in range(12)]
    net.reserve(3)
    net.forward([(i, 0, ids[i][::-1]) for i in range(3)])
    net.reserve(12)
    fresh.reserve(12)
    groups = [(i, 0, part) for i, part in enumerate(ids)]
    assert (net.forward(groups) == fresh.forward(groups)).all()


def test_a_score_head_gives_a_probability_for_each_label(folder):
    net = Network(folder)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((2, net.hidden)).astype(np.float32)
    net.score = weight, np.array([0.5, -0.5], np.float32)
    hidden = rng.standard_normal((7, net.hidden)).astype(np.float32)
    found = net.values_of(hidden)
    assert found.shape == (7, 2)
    assert found.dtype == np.float64
    raw = hidden.astype(float) @ weight.T.astype(float) + [0.5, -0.5]
    assert np.allclose(found, 1 / (1 + np.exp(-raw)), atol=1e-6)
    assert (net.values_of(hidden[3:4]) == found[3:4]).all()


def test_the_layers_shown_are_those_of_the_file(folder):
    net = Network(folder)
    w, _ = load_safetensors(folder / "model.safetensors")
    assert len(net.layers) == 2
    assert (net.layers[1].down == w["model.layers.1.mlp.down_proj.weight"].T).all()
    keys = net.layers[0].qkv[:, net.hidden : 2 * net.hidden]
    assert (keys == w["model.layers.0.self_attn.k_proj.weight"].T).all()


def test_block_sizes_are_those_that_keep_bits():
    w = np.random.default_rng(0).standard_normal((48, 32)).astype(np.float32)

    def even(x):  # a BLAS that adds another way in blocks beyond 8
        return np.matmul(x, w) + np.float32(x.shape[-2] > 8)

    def nowhere(x):  # ... and one whose bits depend on the place
        return np.matmul(x, w) + np.arange(x.shape[-2], dtype=np.float32)[:, None]

    with one_thread():
        whole = alike(48, lambda x: np.einsum("bsk,kn->bsn", x, w))
        assert set(whole) == set(engine.SIZES)
        assert not set(alike(48, even)) & {2, 4, 8} or not set(alike(48, even)) & {16, 32, 64}
        assert set(alike(48, nowhere)) == {1}
