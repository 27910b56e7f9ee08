"""``fly`` elsewhere: the same tokens, the same prompts, the same text, behind the servers too."""

import contextlib
import functools
import importlib.util
import json
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from itertools import product

import anyio
import httpx
import numpy as np
import pytest
from click.testing import CliRunner

import outthink
from outthink.cli.fly_export import export
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.model import Request
from outthink.models.fly import JUDGING, WEIGHTS, Fly, prompt_ids
from outthink.models.fly.engine import load_safetensors
from outthink.models.fly.export import DTYPES, export_gguf, export_hf, rotated
from outthink.models.fly.tokenizer import SPECIALS, Tokenizer
from outthink.models.local import Local
from outthink.models.openai import OpenAI
from outthink.tasks import FAMILIES, family
from outthink.tasks import problems as problems_of

TOKENIZER = Tokenizer.load(WEIGHTS / "tokenizer.json")
QUESTIONS = [problems_of(name, "easy", "dev", 1)[0].question for name in FAMILIES]
#: tokens of a text that is compared: enough for an error to show
SOME = 40


def lacks(*modules):
    """Skip where a module is not installed, and say which."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


needs_gguf = lacks("gguf")
needs_transformers = lacks("torch", "transformers")
needs_llama = lacks("gguf", "llama_cpp")
SERVING = ("uvicorn", "fastapi")


# -- what is compared ------------------------------------------------------------------------------


@functools.cache
def texts():
    """Questions, solutions, thoughts and checks of all families, and what may trip a tokenizer."""
    found = []
    for name in FAMILIES:
        maker = family(name)
        for level in ("easy", "medium", "hard"):
            for problem in problems_of(name, level, "dev", 12):
                rng = random.Random(problem.seed)
                thoughts = "".join(piece for piece, _ in maker.thoughts(problem, rng)[0])
                spoiled = maker.spoiled(problem, rng, 0.3)
                found += [
                    problem.question + "\n" + problem.solution,
                    f"<think>3\n{thoughts}</think>\n{maker.ending(problem)}",
                    maker.critique(problem, spoiled),
                ]
    found += [
        "<think>3\n", "<think></think>\n<think>", " ", "    ", "\n\n\n", "a  b   c\td \n x",
        "  two\n\n    indented = 12345\n", "'they're it's 'there DON'T 'They 've 'll 'tx 'rent",
        "x.y,z(w|v)!? (they . ,they - -they", "1,234.5e-7 ==>> __init__", "café naïve Ω 世界\u00a0x\u2003y",
    ]  # fmt: skip
    rng = random.Random(0)
    signs = "abtheT rs  \n\n'0123.,()=+-|<>?!\té世"
    found += ["".join(rng.choices(signs, k=rng.randint(1, 20))) for _ in range(2000)]
    return found


def chats():
    """Chats to answer, to revise and to judge."""
    problem = problems_of("chain", "easy", "dev", 1)[0]
    asked = {"role": "user", "content": f" {problem.question}\n"}

    def said(text):
        return {"role": "assistant", "content": text}

    again, judge = ({"role": "user", "content": c} for c in ("Try again.", f" {JUDGING} Say."))
    return [
        [asked],
        [{"role": "system", "content": "Be brief."}, asked],
        [asked, again],
        [asked, judge],
        [asked, said(problem.solution)],
        [asked, said(problem.solution), again],
        [asked, said("x\n"), again, said("  y"), again, said("z"), again],
        [asked, said(problem.solution), judge],
        [asked, said("x"), again, said(problem.solution), judge],
    ]


def ask(model, question=QUESTIONS[0], **params):
    """One greedy text."""
    params = {"temperature": 0.0, "max_tokens": SOME} | params

    async def main():
        ticket = Meter(Budget()).reserve(Usage(calls=1))
        messages = ({"role": "user", "content": question},)
        return (await model.generate(Request(messages, **params), ticket)).generations[0]

    return anyio.run(main)


@functools.cache
def wanted(question):
    """What the numpy runtime writes."""
    return ask(Fly().open(), question).text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export_hf(WEIGHTS, tmp_path_factory.mktemp("hf") / "fly")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return export_gguf(WEIGHTS, tmp_path_factory.mktemp("gguf") / "fly.gguf")


def tiny(home, width):
    """A random Llama of this width in a folder, with fly's tokenizer."""
    config = json.loads((WEIGHTS / "config.json").read_text())
    config |= {"hidden_size": width, "intermediate_size": width, "num_hidden_layers": 1}
    config["head_dim"] = width // config["num_attention_heads"]
    shapes = {"model.embed_tokens": (config["vocab_size"], width), "model.norm": (width,)}
    for part in ("input_layernorm", "post_attention_layernorm"):
        shapes[f"model.layers.0.{part}"] = (width,)
    for part in (*(f"self_attn.{x}" for x in "qkvo"), "mlp.gate", "mlp.up", "mlp.down"):
        shapes[f"model.layers.0.{part}_proj"] = (width, width)
    rng, header, raw = np.random.default_rng(0), {}, b""
    for name, shape in shapes.items():
        data = rng.standard_normal(shape, np.float32).tobytes()
        place = [len(raw), len(raw) + len(data)]
        header[f"{name}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": place}
        raw += data
    head = json.dumps(header).encode()
    (home / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + raw)
    (home / "config.json").write_text(json.dumps(config))
    shutil.copy(WEIGHTS / "tokenizer.json", home)
    return home


# -- what needs nothing ----------------------------------------------------------------------------


def test_rotations_of_halves_become_rotations_of_neighbours():
    heads, size, width = 3, 8, 5
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((heads * size, width)), rng.standard_normal(width)
    angles = 7 * 10_000.0 ** (-np.arange(size // 2) * 2 / size)
    turn = np.exp(1j * angles)
    halves = (weight @ x).reshape(heads, 2, size // 2)
    wanted = (halves[:, 0] + 1j * halves[:, 1]) * turn
    pairs = (rotated(weight, heads) @ x).reshape(heads, size // 2, 2)
    assert np.allclose((pairs[..., 0] + 1j * pairs[..., 1]) * turn, wanted)


def test_a_token_is_a_character_or_a_word_so_every_coarser_cut_gives_the_same_ids():
    shape = re.compile(rb" ?[A-Za-z]+| ?[\x00-\x7f]|[\x80-\xff]+")
    for i, raw in enumerate(TOKENIZER.id_bytes):
        if raw and TOKENIZER.tokens[i] not in SPECIALS:  # no text shows the others
            assert shape.fullmatch(raw), raw


def test_fly_reads_its_own_export(folder):
    again = Fly(weights=str(folder)).open()
    assert again.name == Fly().open().name
    assert ask(again, QUESTIONS[0]).text == wanted(QUESTIONS[0])
    ours, theirs = (load_safetensors(f / "model.safetensors")[0] for f in (WEIGHTS, folder))
    assert all(np.array_equal(theirs[name], weight) for name, weight in ours.items())


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(BadInput, match="name another folder"):
        export_hf(WEIGHTS, WEIGHTS)
    with pytest.raises(BadInput, match=r"model\.safetensors is missing.*fly train"):
        export_hf(tmp_path, tmp_path / "out")
    shutil.copy(WEIGHTS / "tokenizer.json", tmp_path)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(WEIGHTS / "prm" / name, tmp_path)
    with pytest.raises(BadInput, match="no language model"):
        export_hf(tmp_path, tmp_path / "out")
    with pytest.raises(BadInput, match="f32, f16, bf16, q8_0"):
        export_gguf(WEIGHTS, tmp_path / "fly.gguf", "q4_0")


def test_without_gguf_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingNeed, match=r"pip install 'outthink\[local\]'"):
        export_gguf(WEIGHTS, tmp_path / "fly.gguf")


def test_the_command_writes_a_folder(tmp_path):
    out = tmp_path / "hf"
    done = CliRunner().invoke(export, ["--out", str(out), "--json"], standalone_mode=False)
    assert done.exception is None
    found = json.loads(done.stdout)
    assert found["kind"] == "transformers"
    assert found["bytes"] == sum(f.stat().st_size for f in out.iterdir()) < 10e6
    told = CliRunner().invoke(export, ["--out", str(out)], standalone_mode=False)
    assert f"transformers serve {out}" in told.stdout
    wrong = CliRunner().invoke(export, ["--out", str(out), "--dtype", "f16"], standalone_mode=False)
    assert isinstance(wrong.exception, BadInput)


# -- GGUF ------------------------------------------------------------------------------------------


@needs_gguf
def test_the_command_writes_a_file(tmp_path):
    out = tmp_path / "fly.gguf"
    args = ["--out", str(out), "--dtype", "q8_0"]
    done = CliRunner().invoke(export, args, standalone_mode=False)
    assert done.exception is None
    assert f"llama-server -m {out}" in done.stdout
    assert [f.name for f in tmp_path.iterdir()] == ["fly.gguf"]


@needs_gguf
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gguf_file_holds_the_weights(dtype, tmp_path):
    import gguf

    path = export_gguf(WEIGHTS, tmp_path / "fly.gguf", dtype)
    assert path.stat().st_size < 10e6
    ours = load_safetensors(WEIGHTS / "model.safetensors")[0]
    reader = gguf.GGUFReader(path)
    assert len(reader.tensors) == len(ours)
    # weights are bfloat16: all of float32 and of bfloat16 is kept
    within = {"f32": 0.0, "bf16": 0.0, "f16": 1e-3, "q8_0": 1 / 127}[dtype]
    heads = json.loads((WEIGHTS / "config.json").read_text())["num_attention_heads"]
    found = {t.name: (t, gguf.quants.dequantize(t.data, t.tensor_type)) for t in reader.tensors}
    for theirs, mine in {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "blk.1.attn_norm": "model.layers.1.input_layernorm",
        "blk.1.ffn_down": "model.layers.1.mlp.down_proj",
        "blk.0.attn_q": "model.layers.0.self_attn.q_proj",
        "blk.0.attn_v": "model.layers.0.self_attn.v_proj",
    }.items():
        tensor, weight = found[f"{theirs}.weight"]
        wanted = ours[f"{mine}.weight"]
        if theirs.endswith("attn_q"):
            wanted = rotated(wanted, heads)
        assert tensor.tensor_type.name == ("F32" if "norm" in theirs else DTYPES[dtype][0])
        assert np.abs(weight - wanted).max() <= within * np.abs(wanted).max()


@needs_gguf
def test_a_gguf_file_holds_the_vocabulary(file):
    import gguf

    def value(key):
        field = gguf.GGUFReader(file).fields[key]
        kind = gguf.GGUFValueType
        plain = [
            bytes(field.parts[i]).decode() if field.types[-1] == kind.STRING else field.parts[i][0]
            for i in field.data
        ]
        return plain if field.types[0] == kind.ARRAY else plain[0]

    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    assert all(tokens[i] == text for i, text in TOKENIZER.tokens.items())
    kinds = {text: types[TOKENIZER.vocab[text]] for text in SPECIALS}
    control, shown = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
    marks = {"<think>", "</think>"}
    assert kinds == {text: shown if text in marks else control for text in SPECIALS}
    assert set(types[TOKENIZER.size :]) <= {gguf.TokenType.UNUSED}
    assert value("tokenizer.ggml.eos_token_id") == TOKENIZER.eos
    assert value("tokenizer.ggml.bos_token_id") == TOKENIZER.bos
    ranks = {tuple(m.split(" ")): i for i, m in enumerate(value("tokenizer.ggml.merges"))}
    assert ranks == TOKENIZER.ranks


@needs_gguf
def test_an_export_is_the_same_each_time_and_what_fails_leaves_nothing(file, tmp_path, monkeypatch):
    import gguf

    out = tmp_path / "deep" / "fly.gguf"
    assert export_gguf(WEIGHTS, out).read_bytes() == file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", fail)
    with pytest.raises(OSError, match="disk full"):
        export_gguf(WEIGHTS, out, "f16")
    assert [f.name for f in out.parent.iterdir()] == ["fly.gguf"]
    assert out.read_bytes() == file.read_bytes()


@needs_gguf
def test_rows_that_q8_0_cannot_pack_are_refused(tmp_path):
    home = tiny(tmp_path, 48)
    with pytest.raises(BadInput, match="rows of 48 do not divide: take f16 or f32"):
        export_gguf(home, tmp_path / "fly.gguf", "q8_0")
    assert export_gguf(home, tmp_path / "fly.gguf", "f16").stat().st_size


# -- transformers ----------------------------------------------------------------------------------


@needs_transformers
def test_transformers_has_the_same_tokens(folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    for text in texts():
        ids = TOKENIZER.encode(text)
        assert theirs.encode(text, add_special_tokens=False) == ids, repr(text)
        assert theirs.decode(ids) == text, repr(text)
    # a text that no template went over begins as a prompt does
    assert theirs("Ada has")["input_ids"] == [TOKENIZER.bos, *TOKENIZER.encode("Ada has")]


@needs_gguf
@needs_transformers
def test_transformers_has_the_same_tokens_from_the_gguf_file(file):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    for text in texts():
        if not re.search(r"'(?:s|t|re|ve|m|ll|d)", text):  # its own cut parts a word there
            ids = TOKENIZER.encode(text)
            assert theirs.encode(text, add_special_tokens=False) == ids, repr(text)


@needs_transformers
@pytest.mark.parametrize("think", [None, "free", 0, 3])
def test_the_chat_template_makes_the_same_prompts(think, folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    begun = "Ada has\n  3 "
    for chat in chats():
        ids = list(prompt_ids(TOKENIZER, chat, think))
        options = {"think": think, "return_dict": False}
        assert theirs.apply_chat_template(chat, add_generation_prompt=True, **options) == ids
        # an answer begun is gone on with, as with the prefix of a request
        longer = [*chat, {"role": "assistant", "content": begun}]
        found = theirs.apply_chat_template(longer, continue_final_message=True, **options)
        assert found == [*ids, *TOKENIZER.encode(begun)]
        whole = theirs.apply_chat_template(longer, **options)
        assert whole == [*ids, *TOKENIZER.encode(begun), TOKENIZER.eos]


@pytest.mark.slow
@needs_transformers
def test_transformers_writes_the_same_text(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert str(model.dtype) == "torch.float32"
    for question in QUESTIONS:
        chat = [{"role": "user", "content": question}]
        options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        read = tokenizer.apply_chat_template(chat, **options)
        out = model.generate(**read, do_sample=False, max_new_tokens=SOME)[0]
        text = tokenizer.decode(out[read["input_ids"].shape[1] :], skip_special_tokens=True)
        assert text == wanted(question)


@pytest.mark.slow
@lacks("torch", "transformers", "gguf", "accelerate")
def test_local_writes_the_same_text_from_either(folder, file, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for path in (folder, file):
        model = Local(str(path)).open()
        chat = [{"role": "user", "content": QUESTIONS[0]}]
        assert model.inside.prompt(chat) == prompt_ids(TOKENIZER, chat)
        assert [ask(model, q).text for q in QUESTIONS] == [wanted(q) for q in QUESTIONS]


# -- llama.cpp -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(file):
    from llama_cpp import Llama

    return Llama(str(file), n_ctx=1024, n_threads=1, verbose=False)


def llama_ids(llama, text):
    return llama.tokenize(text.encode(), add_bos=False, special=True) if text else []


@needs_llama
def test_llama_cpp_has_the_same_tokens(llama):
    for text in texts():
        ids = TOKENIZER.encode(text)
        assert llama_ids(llama, text) == ids, repr(text)
        if text.strip():  # it drops what follows a space alone
            assert llama.detokenize(ids) == text.encode(), repr(text)


@needs_llama
@pytest.mark.parametrize("think", [None, "free", 3])
def test_llama_cpp_makes_the_same_prompts(think, llama):
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    template = llama.metadata["tokenizer.chat_template"]
    dress = Jinja2ChatFormatter(template, "<eos>", "<bos>")
    for chat in chats():
        prompt = dress(messages=chat, think=think).prompt
        assert llama_ids(llama, prompt) == list(prompt_ids(TOKENIZER, chat, think))


@pytest.mark.slow
@needs_llama
def test_llama_cpp_writes_the_same_text(llama):
    options = {"temperature": 0.0, "max_tokens": SOME, "repeat_penalty": 1.0}
    for question in QUESTIONS:
        chat = [{"role": "user", "content": question}]
        reply = llama.create_chat_completion(chat, **options)
        assert reply["choices"][0]["message"]["content"] == wanted(question)
        assert reply["usage"]["prompt_tokens"] == len(prompt_ids(TOKENIZER, chat))
    # without a template, a text is begun in the same way
    plain = llama.create_completion(QUESTIONS[0] + "\n", **options)
    assert plain["choices"][0]["text"] == wanted(QUESTIONS[0])


# -- servers ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(command, log, seconds=240):
    """A server on loopback while the block runs; ``{port}`` in its command is a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [word.format(port=port) for word in command], stdout=out, stderr=subprocess.STDOUT
        )
        try:
            url = f"http://127.0.0.1:{port}/v1"
            until = time.monotonic() + seconds
            while True:
                told = log.read_text(errors="replace")[-2000:]
                assert process.poll() is None, told
                assert time.monotonic() < until, told
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/models", timeout=60).is_success:
                        break
                time.sleep(0.3)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def votes(url, name="fly", more=""):
    """A vote over a server answers, and what it cost is known."""
    model = f'openai("{name}", base_url="{url}", max_tokens={SOME}{more})'
    budget = f"tokens={4 * SOME}"
    answer = outthink.solve(
        QUESTIONS[0], model=model, strategy="self_consistency(n=3)", budget=budget
    )
    assert len(answer.candidates) == 3
    assert 3 <= answer.usage.completion_tokens <= 3 * SOME
    assert not answer.usage.estimated
    return answer


def served_text(url, question, name="fly", **params):
    return ask(OpenAI(name, base_url=url).open(), question, **params).text


@pytest.mark.slow
@lacks("gguf", "llama_cpp", *SERVING, "sse_starlette", "starlette_context", "pydantic_settings")
def test_the_server_of_llama_cpp_python_serves_it(file, tmp_path):
    flags = ["--host", "127.0.0.1", "--port", "{port}", "--n_ctx", "1024", "--n_threads", "1"]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), *flags]
    with served(command, tmp_path / "log") as url:
        # its own defaults cut away unlikely tokens and punish repetition, even at temperature 0
        model = OpenAI("fly", base_url=url).open()
        plain = {"extra": {"repeat_penalty": 1.0}}
        assert ask(model, QUESTIONS[0], **plain).text == wanted(QUESTIONS[0])
        votes(url)


@pytest.mark.slow
@needs_gguf
@pytest.mark.skipif(shutil.which("llama-server") is None, reason="llama-server is not on the PATH")
def test_llama_server_serves_it(file, tmp_path):
    flags = ["--host", "127.0.0.1", "--port", "{port}", "-c", "4096", "-np", "4", "-t", "1"]
    with served(["llama-server", "-m", str(file), *flags], tmp_path / "log") as url:
        for question in QUESTIONS:
            assert served_text(url, question) == wanted(question)
        # its own reader of templates makes the same prompts; a last attempt it would go on with
        root = url.removesuffix("/v1")
        for chat, think in product(chats(), (None, "free", 0, 3)):
            if chat[-1]["role"] == "user":
                body = {"messages": chat, "chat_template_kwargs": {"think": think}}
                prompt = httpx.post(f"{root}/apply-template", json=body).json()["prompt"]
                body = {"content": prompt, "add_special": True, "parse_special": True}
                found = httpx.post(f"{root}/tokenize", json=body).json()["tokens"]
                assert found == list(prompt_ids(TOKENIZER, chat, think))
        thinking = ask(Fly(think=3).open()).text
        extra = {"chat_template_kwargs": {"think": 3}}
        assert served_text(url, QUESTIONS[0], extra=extra) == thinking
        settings = httpx.get(f"{root}/props").json()["default_generation_settings"]["params"]
        drawing = [settings[name] for name in ("temperature", "top_k", "top_p", "min_p")]
        assert drawing == [1.0, 0, 1.0, 0.0]
        # a beginning is gone on with
        model = OpenAI("fly", base_url=url, prefix="continue").open()
        half = wanted(QUESTIONS[0])[: len(wanted(QUESTIONS[0])) // 2]
        mine = ask(Fly().open(), prefix=half)
        assert ask(model, prefix=half).text == mine.text
        # of several samples in one call it counts one
        votes(url, more=", seeds=true")


@pytest.mark.slow
@lacks("torch", "transformers", "openai", "pydantic", *SERVING)
def test_transformers_serve_serves_it(folder, tmp_path):
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--device", "cpu"]
    with served(command, tmp_path / "log") as url:
        for question in QUESTIONS[:2]:
            assert served_text(url, question, str(folder)) == wanted(question)
        hot = {served_text(url, QUESTIONS[0], str(folder), temperature=2.0) for _ in range(3)}
        assert len(hot) > 1
        votes(url, str(folder))
