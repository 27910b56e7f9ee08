"""The doors are the same on ``fly`` and on ``local``, and both hold to one law."""

import threading
from dataclasses import replace

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, ModelError
from outthink.core.model import Request
from outthink.core.registry import build
from outthink.models.fly import WEIGHTS
from outthink.models.fly.engine import Network
from outthink.models.fly.inside import FlyInside
from outthink.models.fly.tokenizer import Tokenizer
from outthink.models.inside import Doors, Inside, likelihoods, log_softmax, stacked
from outthink.testing import check_inside

QUESTION = "Ada has 12 pens. Ben has 5 more than Ada. How many pens has Ben?"
MESSAGES = ({"role": "user", "content": QUESTION},)


@pytest.fixture(scope="module")
def network():
    return Network(WEIGHTS)


@pytest.fixture(scope="module")
def fly(network):
    return FlyInside(network, Tokenizer.load(WEIGHTS / "tokenizer.json"))


@pytest.fixture(scope="module")
def ids(fly):
    return fly.prompt(MESSAGES)


def test_fly_keeps_the_laws(fly):
    assert isinstance(fly, Inside)
    check_inside(fly)


def test_flys_two_forward_passes_agree(network, fly, ids):
    network.reserve(1)
    normed = network.forward([(0, 0, ids)])
    assert np.abs(network.logits(normed) - fly.logits(ids)).max() < 1e-3
    assert np.abs(normed - fly.hidden(ids)).max() < 1e-3
    assert fly.hidden(ids, 0) == pytest.approx(network.embed[list(ids)])


def test_a_memory_is_shared_until_two_go_on_from_it(fly, ids):
    state = fly.read(ids)
    one, two = fly.advance([state, state.fork()], [30, 31])
    assert one.memory is state.memory
    assert two.memory is not state.memory
    three = fly.advance([two], [32])[0]
    assert three.memory is two.memory
    whole = fly.logits((*ids, 31, 32))[-1]
    assert three.logits == pytest.approx(whole, abs=1e-3)


def test_a_memory_grows_up_to_the_context(fly, ids):
    state = fly.read(ids[:1] * (fly.context - 2))
    state = fly.advance(fly.advance([state], [30]), [31])[0]
    assert len(state.ids) == fly.context
    with pytest.raises(BadInput, match=str(fly.context)):
        fly.advance([state], [30])
    (row,) = fly.write(state.ids[:-1], max_tokens=5, bias={30: np.inf})
    assert (row.ids, row.finish) == ((30,), "length")


def test_states_go_on_in_threads(fly, ids):
    state = fly.read(ids)
    wanted = [fly.logits((*ids, t))[-1] for t in range(20, 36)]
    found = {}

    def work(i):
        found[i] = fly.advance([state], [20 + i])[0].logits

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, logits in enumerate(wanted):
        assert found[i] == pytest.approx(logits, abs=1e-3)


def test_a_state_cannot_be_changed(fly, ids):
    state = fly.read(ids)
    with pytest.raises(ValueError, match="read-only"):
        state.logits[0] = 1.0
    with pytest.raises(AttributeError):
        state.ids = ()


def test_a_state_goes_on_in_its_own_model_only(network, fly, ids):
    other = FlyInside(network, fly.tokenizer)
    with pytest.raises(BadInput, match="read it"):
        other.advance([fly.read(ids)], [30])
    with pytest.raises(BadInput, match="read it"):
        other.write(fly.read(ids))


def test_draws_are_in_proportion_to_the_softmax(fly, ids):
    allowed = {30: 1.0, 31: 0.0, 32: -1.0}
    only = np.full(fly.vocabulary, -np.inf)
    only[list(allowed)] = list(allowed.values())
    n, heat = 3000, 0.7
    rows = fly.write(ids, n, max_tokens=1, temperature=heat, processors=[lambda read, logits: only])
    counts = np.array([sum(row.ids == (t,) for row in rows) for t in allowed])
    p = np.exp(np.array(list(allowed.values())) / heat)
    p /= p.sum()
    assert counts.sum() == n
    assert np.abs(counts / n - p).max() < 5 * np.sqrt(p.max() / n)


def test_ids_without_a_text_are_not_drawn(network, fly, ids):
    class Short(FlyInside):
        _known = 100

    rows = Short(network, fly.tokenizer).write(ids, 20, max_tokens=5, temperature=50.0)
    drawn = {i for row in rows for i in row.ids}
    assert max(drawn) < 100
    assert len(drawn) > 30


def test_a_state_that_is_written_from_keeps_its_steer(fly, ids):
    vector = np.random.default_rng(0).normal(size=fly.width) * 30
    steer = {fly.layers - 1: vector}
    wanted = fly.write(ids, 3, max_tokens=6, temperature=3.0, steer=steer)
    found = fly.write(fly.read(ids, steer=steer), 3, max_tokens=6, temperature=3.0)
    assert [w.ids for w in found] == [w.ids for w in wanted]
    own = fly.score(ids, found[0].ids, steer=steer)
    assert found[0].logprobs == pytest.approx(own, abs=1e-3)
    assert fly.score(ids, found[0].ids) != pytest.approx(own, abs=1e-3)
    # a steer of its own holds from the next token on
    state = fly.read(ids)
    (late,) = fly.write(state, max_tokens=2, temperature=0.0, steer=steer, bias={30: np.inf})
    assert late.logprobs[0] == pytest.approx(fly.score(ids, [30])[0], abs=1e-3)
    assert late.logprobs[1] != pytest.approx(fly.score(ids, [30, 30])[1], abs=1e-3)
    assert state.steer == {}


@given(st.lists(st.integers(3, 500), min_size=2, max_size=12), st.data())
@settings(max_examples=15, deadline=None)
def test_a_text_scores_the_same_however_it_is_parted(fly, text, data):
    cut = data.draw(st.integers(1, len(text) - 1))
    whole = fly.score(text[:1], text[1:])
    parts = np.concatenate([fly.score(text[:1], text[1:cut]), fly.score(text[:cut], text[cut:])])
    assert parts == pytest.approx(whole, abs=1e-3)


def test_likelihoods_are_those_of_reading_each_text_by_itself(fly, ids):
    heads = [(*ids, *fly.encode(h)) for h in ("", "8 - 4 = 4\n")]
    texts = [fly.encode(t) for t in ("8 - 4 = 4\n", "4 * 3", "answer: 12\n")]
    found = likelihoods(fly, [fly.read(h) for h in heads], texts)
    for i, head in enumerate(heads):
        for j, text in enumerate(texts):
            assert found[i, j] == pytest.approx(fly.score(head, text).sum(), abs=1e-3)


def test_log_softmax_sums_to_one_and_stands_large_numbers():
    x = np.array([[1e4, 0.0, -1e4], [1.0, 2.0, 3.0]])
    assert np.exp(log_softmax(x)).sum(axis=1) == pytest.approx(1.0)
    assert log_softmax(x)[1] == pytest.approx(log_softmax(x[1] + 100))


def test_vectors_of_rows_without_one_are_zero():
    found = stacked([{1: np.ones(3)}, {}, {2: np.full(3, 2.0)}], 3)
    assert {layer: rows[:, 0].tolist() for layer, rows in found.items()} == {
        1: [[1] * 3, [0] * 3, [0] * 3],
        2: [[0] * 3, [0] * 3, [2] * 3],
    }


# -- insides that break a law ----------------------------------------------------------------------


def broken(fly, **methods):
    other = FlyInside(fly.network, fly.tokenizer)
    other.__class__ = type("Broken", (FlyInside,), methods)
    return other


def forgetful(self, states, tokens):
    return FlyInside._step(self, [replace(s, steer={}) for s in states], tokens)


def sharing(self, memory, length, more):
    memory.used = max(memory.used, length + more)
    return memory


def looking(self, ids, layer, steer):
    return FlyInside._attention(self, ids, layer, steer).swapaxes(1, 2)


def unnormed(self, ids, layer, steer):
    return FlyInside._hidden(self, ids, self.layers if layer == -1 else layer, steer)


def company(self, start, n=1, seeds=(), *rest, **named):
    return FlyInside.write(self, start, n, tuple(range(n)), *rest, **named)


def unbiased(self, start, *rest, bias=None, **named):
    return FlyInside.write(self, start, *rest, **named)


def late(self, ids, state=None, *, steer=None):
    return Doors.read(self, ids if state is None else ids[-1:], state, steer=steer)


@pytest.mark.parametrize(
    ("law", "methods"),
    [
        ("states", {"_taken": sharing}),
        ("states", {"read": late}),
        ("steer", {"_step": forgetful}),
        ("attention", {"_attention": looking}),
        ("hidden", {"_hidden": unnormed}),
        ("write", {"write": company}),
        ("write", {"write": unbiased}),
        ("score", {"score": lambda self, ids, text: FlyInside.score(self, ids, text) / 2}),
        ("errors", {"_fits": lambda self, count: None}),
    ],
)
def test_a_broken_inside_is_caught(fly, law, methods):
    with pytest.raises(AssertionError, match=f"law '{law}'"):
        check_inside(broken(fly, **methods))


def test_what_has_no_doors_is_caught():
    with pytest.raises(AssertionError, match="law 'inside'"):
        check_inside("simulated")


# -- transformers ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from outthink.models.local import Local

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Local(str(WEIGHTS)).open().inside
    torch.set_num_threads(before)


def test_local_keeps_the_laws(local):
    check_inside(local)


def test_fly_and_local_are_one(fly, local, ids):
    for name in ("vocabulary", "layers", "width", "heads", "context", "ends"):
        assert getattr(fly, name) == getattr(local, name), name
    assert local.prompt(MESSAGES) == ids
    assert local.encode(QUESTION) == fly.encode(QUESTION)
    assert local.decode(ids) == fly.decode(ids)
    same = {"abs": 1e-3}
    assert local.logits(ids) == pytest.approx(fly.logits(ids), **same)
    for layer in range(-1, fly.layers + 1):
        found = local.hidden(ids, layer)
        assert found == pytest.approx(fly.hidden(ids, layer), **same)
        assert local.lens(found, layer) == pytest.approx(fly.lens(found, layer), **same)
    for block in range(fly.layers):
        assert local.attention(ids, block) == pytest.approx(fly.attention(ids, block), **same)
    vector = np.random.default_rng(1).normal(size=fly.width)
    for layer in range(fly.layers + 1):
        steer = {layer: vector}
        assert local.logits(ids, steer=steer) == pytest.approx(fly.logits(ids, steer=steer), **same)
    params = {"n": 6, "max_tokens": 20, "temperature": 1.3}
    ours, theirs = fly.write(ids, **params), local.write(ids, **params)
    assert [w.ids for w in ours] == [w.ids for w in theirs]
    assert [(w.text, w.finish) for w in ours] == [(w.text, w.finish) for w in theirs]


def test_asking_for_attention_leaves_the_model_as_it_was(local, ids):
    before = local.model.config._attn_implementation
    with pytest.raises(BadInput):
        local.attention(ids, local.layers)
    local.attention(ids, 0)
    assert local.model.config._attn_implementation == before
    hooks = [m for m in local.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    local.hidden(ids, 2, steer={0: np.ones(local.width), 3: np.ones(local.width)})
    left = [m for m in local.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert left == hooks


def test_an_unknown_layout_is_said(local, ids, monkeypatch):
    monkeypatch.setattr(local, "layers", 99)
    with pytest.raises(ModelError, match="LlamaForCausalLM"):
        local.hidden(ids, 3)
    assert local.hidden(ids).shape == (len(ids), local.width)


FAMILIES = {
    "grouped": ("Llama", {"num_key_value_heads": 2}),
    "sliding": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 8}),
    "gpt2": ("GPT2", {}),
    "neox": ("GPTNeoX", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_architectures_keep_the_laws(local, family, tmp_path):
    import torch
    import transformers
    from tokenizers import Tokenizer as Raw
    from tokenizers import decoders, models, pre_tokenizers

    from outthink.models.local import Local

    kind, more = FAMILIES[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    raw = Raw(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(vocab), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=96, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, initializer_range=0.3, **more,
    )  # fmt: skip
    name = {"GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM")
    getattr(transformers, name)(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    check_inside(Local(str(tmp_path)), question="2 and 2 are how many?")


def _drawn(model, **options):
    """The generations of one request, and its prompt's ids."""
    request = Request(MESSAGES, max_tokens=12, seeds=(5, 6), n=2, **options)

    async def main():
        return await model.generate(request, Meter(Budget()).reserve(Usage(calls=1)))

    return anyio.run(main).generations, model.inside.prompt(MESSAGES)


def test_top_logprobs_are_the_largest_of_the_logits():
    model = build("fly", "model").open()
    found, ids = _drawn(model, top_logprobs=6, temperature=1.3)
    for g in found:
        text = model.inside.encode(g.text)
        assert g.top_logprobs.shape == (g.tokens, 6)
        rows = log_softmax(model.inside.logits((*ids, *text)))[len(ids) - 1 :][: len(text)]
        wanted = np.sort(rows, axis=1)[:, ::-1][:, :6]
        np.testing.assert_allclose(g.top_logprobs[: len(text)], wanted, atol=1e-3)
        assert (g.top_logprobs[:, 0] >= g.logprobs - 1e-9).all()


def test_a_logit_bias_forces_and_forbids_and_leaves_the_logprobs_alone():
    model = build("fly", "model").open()
    plain, ids = _drawn(model, logprobs=True)
    token = int(np.argsort(model.inside.read(ids).logits)[-3])
    for temperature in (0.0, 0.7, 1.0):
        forced, _ = _drawn(
            model, logprobs=True, logit_bias={token: 1000.0}, temperature=temperature
        )
        assert {g.text for g in forced} == {model.inside.decode([token]) * 12}
        own = log_softmax(model.inside.read(ids).logits)[token]
        assert forced[0].logprobs[0] == pytest.approx(own, abs=1e-3)
    same, _ = _drawn(model, logprobs=True, logit_bias={token: 0.0})
    assert [g.text for g in same] == [g.text for g in plain]
    with pytest.raises(BadInput, match="logit_bias"):
        _drawn(model, logit_bias={100_000: 1.0})
    with pytest.raises(BadInput, match="logit_bias"):
        Request(({"role": "user", "content": "x"},), logit_bias={-1: 1.0})
