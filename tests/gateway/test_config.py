"""A configuration is what its file says, or an error that points at the place; and it tells no secret."""

import dataclasses
import pickle
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outthink.cli.base import explain
from outthink.core.budget import Budget
from outthink.core.errors import BadInput, SpecError
from outthink.gateway.config import (
    Alias,
    Config,
    KeyConfig,
    ModelConfig,
    ServerConfig,
    Upstream,
    is_loopback,
    quick,
    read_config,
    read_text,
)
from outthink.gateway.keys import new_key, toml_of

EXAMPLE = Path(__file__).parents[2] / "deploy" / "gateway.toml"
FLY = '[models.fly]\nspec = "fly"\n'
QWEN = '[models.qwen]\nupstreams = ["http://10.0.0.5:8000/v1"]\n'
KEY, KNOWN = new_key("app")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Keys that the tests name, and none of this machine's own."""
    for name in ("OPENAI_API_KEY", "OUTTHINK_PRICES", "OUTTHINK_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_API_KEY", "upstream-secret-1")


def read(text):
    return read_text(text, "t.toml")


def errors(text):
    """The errors of a text: number of the line, message, and what stands at the caret."""
    with pytest.raises(SpecError) as caught:
        read(text)
    said = str(caught.value)
    found = re.findall(r"^t\.toml:(\d+): (.*)\n  (.*)\n  ( *\^)$", said, re.MULTILINE)
    assert found, said
    return [(int(n), message, line[caret.index("^") :]) for n, message, line, caret in found]


# -- what is read --------------------------------------------------------------------------------


def test_the_smallest_file_has_every_default():
    assert read(FLY) == Config(ServerConfig(), {"fly": ModelConfig("fly", spec="fly")}, {}, {})


def test_each_table_becomes_what_it_says():
    config = read(
        """
        [server]
        host = "0.0.0.0"
        port = 0
        workers = 2
        strategy = "self_consistency(n=4)"
        budget = "tokens=20k, seconds=30"
        deadline_seconds = 60
        record = true

        [models.qwen]
        prefix = "continue"
        concurrency = 8
        [[models.qwen.upstreams]]
        url = "http://10.0.0.5:8000/v1"
        [[models.qwen.upstreams]]
        url = "https://hosted.example/v1"
        key_env = "VLLM_API_KEY"
        model = "@cf/qwen"

        [models."*"]
        upstreams = ["http://127.0.0.1:1/v1"]

        [aliases]
        fast = {model = "qwen", strategy = "greedy"}
        far.model = "any/name"
        far.budget = "calls=3"
        """
        + toml_of(dataclasses.replace(KNOWN, usd_per_month=None, models=("fast", "other")))
    )
    assert config.server == ServerConfig(
        host="0.0.0.0", port=0, workers=2, strategy="self_consistency(n=4)",
        budget=Budget(tokens=20_000, seconds=30), deadline_seconds=60.0, record=True,
    )  # fmt: skip
    assert isinstance(config.server.deadline_seconds, float)
    assert config.models == {
        "qwen": ModelConfig(
            "qwen",
            (Upstream("http://10.0.0.5:8000/v1"),
             Upstream("https://hosted.example/v1", "VLLM_API_KEY", "@cf/qwen")),
            prefix="continue", concurrency=8,
        ),
        "*": ModelConfig("*", (Upstream("http://127.0.0.1:1/v1"),)),
    }  # fmt: skip
    assert config.aliases == {
        "fast": Alias("fast", "qwen", "greedy"),
        "far": Alias("far", "any/name", budget=Budget(calls=3)),
    }
    assert config.keys[KNOWN.id] == dataclasses.replace(KNOWN, models=("fast", "other"))
    assert pickle.loads(pickle.dumps(config)) == config  # for workers of their own


def test_a_file_may_come_from_windows(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FLY.replace("\n", "\r\n").encode())
    assert read_config(path) == read(FLY)
    path.write_bytes(FLY.replace("\n", "\r\n").encode() + b'[server]\r\nport = "x"\r\n')
    with pytest.raises(SpecError, match=r'gateway.toml:4: .*\n  port = "x"\n          \^$'):
        read_config(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"cannot read .*none\.toml: No such file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(BadInput, match=r"cannot read .*: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[server]\n# \xe9\n")
    with pytest.raises(BadInput, match=r"latin\.toml:2: this is not UTF-8"):
        read_config(tmp_path / "latin.toml")


# -- the example ---------------------------------------------------------------------------------


def test_the_example_is_accepted(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    config = read_config(EXAMPLE)
    assert set(config.models) == {"qwen3-8b", "fly", "*"}
    assert len(config.aliases) == len(config.keys) == 1


def test_the_example_shows_every_field_and_the_defaults_are_true(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    text = re.sub(r"(?m)^#(?=\w)", "", EXAMPLE.read_text())
    values = tomllib.loads(text)
    config = read(text)  # what is commented is right too
    shown = {ServerConfig: values["server"], Alias: values["aliases"]["qwen3-8b-careful"]}
    shown[ModelConfig] = {**values["models"]["qwen3-8b"], **values["models"]["fly"]}
    shown[Upstream] = values["models"]["qwen3-8b"]["upstreams"][1]
    (shown[KeyConfig],) = values["keys"].values()
    for cls, table in shown.items():
        fields = {f.name: f for f in dataclasses.fields(cls)}
        assert set(table) == set(fields) - ({"id"} if cls is KeyConfig else {"name"} & set(fields))
        commented = {n for n in table if re.search(rf"(?m)^#{n} =", EXAMPLE.read_text())}
        for name in commented & set(fields):
            default = fields[name].default
            if default is not None and name not in ("parameters", "concurrency"):
                assert table[name] == default, name
    assert config.server.strategy
    assert config.models["qwen3-8b"].concurrency


# -- errors --------------------------------------------------------------------------------------

WRONG = {
    # tables and fields
    "an unknown table": (FLY + "[alias.x]\n", 3, "no 'alias'; did you mean 'aliases'", "alias.x]"),
    "an unknown field": (FLY + "[server]\nprot = 1\n", 4, "did you mean 'port'", "prot"),
    "an unknown field of an upstream": (
        '[models.m]\nupstreams = [\n  {url = "http://h/v1", modle = "x"}]\n',
        3, "[models.m.upstreams] has no field 'modle'; did you mean 'model'", "modle",
    ),
    "a value for a table": ("server = 3\n" + FLY, 1, "write [server]", "server"),
    "a field beside tables": (FLY + "[models]\nx = 3\n", 4, "write [models.NAME]", "x ="),
    "a missing field": (FLY + "[aliases.a]\n", 3, "[aliases.a] lacks model", "a]"),
    "an upstream without url": (
        '[models.m]\nupstreams = [{model = "x"}]\n', 2, "lacks url", '{model = "x"}]'
    ),
    "no model": ("[server]\nport = 1\n", 1, "no models: write [models.NAME]", "[server]"),
    # types and ranges
    "a text for a number": (FLY + '[server]\nport = "80"\n', 4, "a whole number, not a text", '80"'),
    "a fraction": (FLY + "[server]\nport = 80.5\n", 4, "a whole number, not 80.5", "80.5"),
    "true for a number": (FLY + "[server]\nport = true\n", 4, "not true", "true"),
    "a number for a switch": (FLY + "[server]\nrecord = 1\n", 4, "true or false, not 1", "1"),
    "a date": (FLY + "[server]\nhost = 2020-01-01\n", 4, "a text, not a date", "2020"),
    "a list for a text": (FLY + "[server]\nhost = []\n", 4, "a text, not a list", "[]"),
    "too large": (FLY + "[server]\nport = 65536\n", 4, "65,536: it is from 0 to 65,535", "65536"),
    "too small": (FLY + "[server]\nworkers = 0\n", 4, "workers = 0: it is from 1", "0"),
    "no number": (FLY + "[server]\nqueue_seconds = nan\n", 4, "nan: it is from 0", "nan"),
    "without end": (FLY + "[server]\ndrain_seconds = inf\n", 4, "inf: it is from 0", "inf"),
    "none of a few": (QWEN + 'prefix = "atuo"\n', 3, "one of auto, .*did you mean 'auto'", 'atuo"'),
    "a text for upstreams": (
        '[models.m]\nupstreams = "http://h/v1"\n', 2, "upstreams is a list, not a text", "http://h"
    ),
    "no upstream": ("[models.m]\nupstreams = []\n", 2, "name the address of a server", "[]"),
    "a number for an upstream": ("[models.m]\nupstreams = [3]\n", 2, "an address, or a table", "3]"),
    # addresses
    "another scheme": (
        '[models.m]\nupstreams = ["htp://h/v1"]\n', 2, "must begin with http:// or https://", "htp:"
    ),
    "an endpoint": (
        '[models.m]\nupstreams = ["http://h/v1/chat/completions"]\n',
        2, "ends in chat/completions: write what stands before it", "http:",
    ),
    "the same upstream twice": (
        '[models.m]\nupstreams = ["http://h/v1", {url = "http://h/v1"}]\n', 2, "twice", "{url"
    ),
    "no host to bind to": (FLY + '[server]\nhost = "http://x"\n', 4, "an address or a name", "http"),
    "half an address to bind to": (FLY + '[server]\nhost = "127.0.0"\n', 4, "an address", "127.0.0"),
    "no store": (FLY + '[server]\nstore = "mysql://h/d"\n', 4, "unknown kind of store", "mysql"),
    "a store of each worker's own": (
        FLY + '[server]\nworkers = 2\nstore = ":memory:"\n', 3, "not shared by several", "server]"
    ),
    # variables
    "a variable that is not set": (
        '[models.m]\nupstreams = [{url = "http://h/v1", key_env = "NO_SUCH_KEY"}]\n',
        2, "the variable NO_SUCH_KEY is not set", 'NO_SUCH_KEY"',
    ),
    "what is no variable": (
        '[models.m]\nupstreams = [{url = "http://h/v1", key_env = "a b"}]\n',
        2, "the name of a variable", "* *",
    ),
    # models
    "neither upstreams nor spec": ("[models.m]\nseeds = true\n", 1, "needs upstreams", "m]"),
    "upstreams and a spec": (QWEN + 'spec = "fly"\n', 3, "has upstreams too", "spec"),
    "a spec and a field of upstreams": (FLY + "retries = 1\n", 3, "is for upstreams", "retries"),
    "every name by a spec": ('[models."*"]\nspec = "fly"\n', 1, "it has upstreams", '"*"]'),
    "an unknown model": ('[models.m]\nspec = "flyy"\n', 2, "did you mean 'fly'", 'flyy"'),
    "a model of a server": ('[models.m]\nspec = "gpt-4o"\n', 2, "no model of this process", "gpt"),
    "a server as a spec": (
        """[models.m]\nspec = 'openai("x")'\n""", 2, "name its upstreams instead", "openai"
    ),
    "a wrong spec": ('[models.m]\nspec = "fly(thnk=4)"\n', 2, "no parameter 'thnk'", "thnk=4"),
    "an @ in a name": ('[models."a@b"]\nspec = "fly"\n', 1, "cannot hold '@'", '"a@b"]'),
    "a space in a name": ('[models."a b"]\nspec = "fly"\n', 1, "cannot hold ' '", '"a b"]'),
    "brackets in a name": ('[models."a(n=1)"]\nspec = "fly"\n', 1, "cannot hold '('", '"a(n'),
    "an empty name": ('[models.""]\nspec = "fly"\n', 1, "1 to 200 printable", '""]'),
    # aliases
    "an alias of nothing": (FLY + '[aliases.a]\nmodel = "fl"\n', 4, "did you mean 'fly'", 'fl"'),
    "an alias of an alias": (
        FLY + '[aliases]\na = {model = "fly"}\nb = {model = "a"}\n', 5, "no model 'a'", 'a"}'
    ),
    "an alias of every name": (
        '[models."*"]\nupstreams = ["http://h/v1"]\n[aliases.a]\nmodel = "*"\n',
        4, r"no model '\*'", '*"',
    ),
    "an alias called as a model": (
        FLY + '[aliases.fly]\nmodel = "fly"\n', 3, "a model is called 'fly' too", "fly]"
    ),
    # strategies and budgets
    "a wrong strategy": (
        FLY + '[server]\nstrategy = "self_consistancy(n=8)"\n',
        4, "unknown strategy .*did you mean 'self_consistency'", "self_consistancy",
    ),
    "a wrong parameter": (
        FLY + '[aliases.a]\nmodel = "fly"\nstrategy = "best_of_n(n=4, verifer=prm)"\n',
        5, "no parameter 'verifer'", "verifer=prm",
    ),
    "a wrong value": (
        FLY + '[server]\nstrategy = "self_consistency(width=2, n=0)"\n', 4, "n=0", "n=0",
    ),
    "a part within a part": (
        FLY + """[server]\nstrategy = 'best_of_n(4, verifier="juge")'\n""", 4, "juge", "juge",
    ),
    "past an escape": (
        FLY + r'[server]' + '\n' + r'strategy = "self_consistency(\u006e=8, stpo=beta)"' + '\n',
        4, "stpo", "stpo",
    ),
    "on a line of its own": (
        FLY + '[server]\nstrategy = """\nself_consistency(\n  n=8,\n  stpo=beta)"""\n',
        7, "stpo", "stpo=beta)",
    ),
    "an empty strategy": (FLY + '[server]\nstrategy = ""\n', 4, "an empty spec", '"'),
    "an unknown limit": (
        FLY + '[server]\nbudget = "tokens=20k, secs=3"\n', 4, "did you mean 'seconds'", "secs=3"
    ),
    "no quantity": (FLY + '[server]\nbudget = "calls=1,tokens=2x"\n', 4, "2x", "tokens=2x"),
    "a limit twice": (FLY + '[server]\nbudget = "calls=1, calls=2"\n', 4, "twice", "calls=1"),
    "a limit of nothing": (FLY + '[server]\nbudget = "tokens=0"\n', 4, "above zero", "tokens=0"),
    "a budget that is no text": (FLY + "[server]\nbudget = 3\n", 4, 'such as "tokens=20k', "3"),
    "dollars without a price": (
        QWEN + '[aliases.a]\nmodel = "qwen"\nbudget = "tokens=1k, usd=1"\n',
        5, "a limit in usd cannot hold: the price of qwen is not known", "tokens=1k",
    ),
    "FLOPs without a size": (
        QWEN + '[server]\nbudget = "flops=1e15"\n', 4, "the size of qwen is not known", "flops"
    ),
    # keys
    "an id that is none": (
        FLY + toml_of(KNOWN).replace(KNOWN.id, "abc"), 3, "the id of a key has 12", "abc]"
    ),
    "half a hash": (
        FLY + toml_of(KNOWN).replace(KNOWN.hash, "beef"), 6, "hash of a key is malformed", "****"
    ),
    "no salt": (
        FLY + re.sub("salt.*", "", toml_of(KNOWN)), 3, "lacks salt", KNOWN.id,
    ),
    "a name that is none": (
        FLY + toml_of(KNOWN).replace('"app"', '"a\\nb"'), 4, "a key's name has 1 to 64", "a"
    ),
    "a model that a key cannot have": (
        FLY + toml_of(KNOWN) + 'models = ["fly", "fyl"]\n', 7, "did you mean 'fly'", 'fyl"'
    ),
    "a strategy with parameters": (
        FLY + toml_of(KNOWN) + 'strategies = ["greedy", "self_consistency(n=8)"]\n',
        7, "did you mean 'self_consistency'", "self_consistency(n=8)",
    ),
    "a list of other things": (
        FLY + toml_of(KNOWN) + 'models = ["fly", 3]\n', 7, "a list of texts", "3]"
    ),
    "an empty list": (FLY + toml_of(KNOWN) + "models = []\n", 7, "leave it out for all", "[]"),
    "dollars of a key without a price": (
        QWEN + toml_of(KNOWN) + "usd_per_month = 5\n", 7, "the price of qwen is not known", "5"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message", "at"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_shown_at_its_place(text, line, message, at):
    ((number, said, shown),) = errors(text)
    assert number == line
    assert re.search(message if "*" in message else re.escape(message), said)
    assert shown.startswith(at)


@pytest.mark.parametrize(
    ("text", "line", "message", "at"),
    [
        (FLY + "[server]\nport = \n", 4, "this is no TOML: Invalid value", ""),
        (FLY + "[server]\nport 80\n", 4, "this is no TOML: Expected '='", "80"),
        (FLY + "[server]\n[server]\n", 4, "twice", "]"),
        (FLY + 'x = """a\nb', 4, "this is no TOML", ""),
        ("a = 1\na = 2\n", 2, "Cannot overwrite a value", ""),
    ],
)
def test_what_is_no_toml_is_shown_at_its_place(text, line, message, at):
    ((number, said, shown),) = errors(text)
    assert (number, shown) == (line, at)
    assert message in said


def test_a_text_that_nests_too_deep_is_an_error_as_any():
    with pytest.raises(SpecError, match=r"t\.toml: nested too deep"):
        read("x = " + "[" * 20_000)


def test_several_errors_are_told_together_in_the_order_of_the_file():
    text = QWEN + "[server]\nprot = 1\nworkers = 0\n[aliases.a]\n" + FLY.replace("fly", "flyy")
    assert [line for line, *_ in errors(text)] == [4, 5, 6, 8]
    with pytest.raises(SpecError, match=r"^t\.toml has 4 errors\nt\.toml:4: "):
        read(text)


def test_no_more_than_twenty_errors_are_told():
    text = FLY + "[server]\n" + "".join(f"x{i} = 1\n" for i in range(25))
    assert [line for line, *_ in errors(text)] == list(range(4, 24))
    with pytest.raises(SpecError, match=r"^t\.toml has 25 errors\n[^$]*\nand 5 more$"):
        read(text)


def test_the_command_line_shows_an_error_as_it_is():
    with pytest.raises(SpecError) as caught:
        read(FLY + "[server]\nprot = 1\n")
    code, message = explain(caught.value)
    assert code == 2
    assert message.endswith("\n  prot = *\n  ^")


@given(st.text(max_size=60) | st.text("[]{}=.,\"'#\n ab1", max_size=40))
@example("models.x.upstreams = [{}]")
@example("[keys]\n[models]\n")
@example("\x00")
@example("x = '''\n")
def test_any_text_is_a_configuration_or_an_error_of_it(text):
    told = "t.toml"
    try:
        read(text)
    except SpecError as error:
        told = str(error)
    assert told.startswith("t.toml")


# -- who can reach it ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_key(host):
    assert is_loopback(host)
    assert read(FLY + f'[server]\nhost = "{host}"\n').keys == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gpu-1.local", "localhost.example"])
def test_others_need_one(host):
    text = FLY + f'[server]\nhost = "{host}"\n'
    ((line, message, at),) = errors(text)
    assert (line, at) == (4, f'{host}"')
    assert "outthink serve new-key NAME" in message
    assert read(text + toml_of(KNOWN)).server.host == host
    # a host that an option gives later is checked too
    with pytest.raises(BadInput, match="there are no keys"):
        dataclasses.replace(read(FLY), server=ServerConfig(host=host))
    with pytest.raises(BadInput, match="there are no keys"):
        quick(None, "fly", "X", None, host, 1, 1, None)


# -- prices --------------------------------------------------------------------------------------


def test_limits_in_dollars_hold_where_prices_are_known():
    priced = QWEN + "usd_prompt = 0\nusd_completion = 0.5\n"
    limited = toml_of(dataclasses.replace(KNOWN, usd_per_month=5.0))
    hosted = '[models.h]\nupstreams = [{url = "http://h/v1", model = "gpt-4o"}]\n'
    wild = '[models."*"]\nupstreams = ["http://h/v1"]\n'
    assert read(priced + limited).keys[KNOWN.id].usd_per_month == 5.0
    assert read(hosted + FLY + limited).keys
    assert read(wild + limited).keys  # names come later, and then are checked
    assert read(QWEN + FLY + limited + 'models = ["fly"]\n').keys  # what it may use is counted
    ((_, message, _),) = errors(wild + limited + '[aliases.a]\nmodel = "unpriced"\n')
    assert "the price of unpriced is not known" in message


# -- secrets -------------------------------------------------------------------------------------

SECRET = "zR7Q4mT1kP9wXb2nV5cL8s"
HIDING = {
    "a key of an upstream": f'[models.m]\nupstreams = [{{url = "http://h/v1", key = "{SECRET}"}}]',
    "a key of a model": f"{QWEN}api_key = '{SECRET}'",
    "a key of the server": f'{FLY}[server]\nOPENAI_API_KEY = "{SECRET}"',
    "a key in several lines": f'{FLY}[server]\nsecret = """\n{SECRET}"""',
    "keys in a list": f'{FLY}[server]\nkeys = ["{SECRET}", "x"]',
    "a key in a table": f'{FLY}[server.auth]\nx = "{SECRET}"',
    "a key for a variable": f'[models.m]\nupstreams = [{{url = "http://h/v1", key_env = "{SECRET}"}}]',
    "a well-known key for a variable":
        f'[models.m]\nupstreams = [{{url = "http://h/v1", key_env = "sk-{SECRET}"}}]',
    "a password in an address": f'[models.m]\nupstreams = ["http://me:{SECRET}@h/v1"]',
    "a key in an address": f'[models.m]\nupstreams = ["http://h/v1?key={SECRET}"]',
    "a password of the store": f'{FLY}[server]\nstore = "postgresql://me:{SECRET}@db/o"',
    "a password option of the store": f'{FLY}[server]\nstore = "postgresql://db/o?password={SECRET}"',
    "the key itself": f'{FLY}[keys.abcdefghijkl]\nname = "x"\nkey = "{SECRET}"',
    "the key itself for a hash": f'{FLY}[keys.abcdefghijkl]\nname = "x"\nsalt = ""\nhash = "{SECRET}"',
    "the key itself for an id": f'{FLY}[keys.ot-abcdefghijkl-{SECRET}]\nname = "x"',
    "a key without quotes": f"{FLY}[server]\napi_key = {SECRET}",
    "a key with half its quotes": f'{FLY}[server]\napi_key = "{SECRET}',
    "a key alone": f"{FLY}[server]\n{SECRET}",
    "a key in a comment": f"{FLY}[server]\nprot = 1 # {SECRET}",
    "a key in a spec": f"{FLY}[server]\nstrategy = 'best_of_n(verifier=judge(key=\"sk-{SECRET}\"))'",
    "a well-known key for a field": f'{FLY}[server]\nsk-{SECRET} = 1',
    "a key beside another error": f'[models.m]\nseeds = 3\nkey = "{SECRET}"\nupstreams = [3]',
}  # fmt: skip


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING)
def test_a_secret_in_the_file_is_never_repeated(text):
    with pytest.raises(SpecError) as caught:
        read(text)
    told = f"{caught.value!s} {caught.value!r} {vars(caught.value)}"
    assert not any(SECRET[i : i + 6] in told for i in range(len(SECRET) - 5))


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("a key of an upstream", 'write key_env = "NAME"'),
        ("a key of a model", 'write key_env = "NAME"'),
        ("a key of the server", "a key belongs in the environment"),
        ("a password of the store", "set OUTTHINK_STORE"),
        ("a password option of the store", "set OUTTHINK_STORE"),
        ("the key itself", "salt and hash, never the key itself"),
        ("a well-known key for a variable", "the name of a variable of the environment"),
        ("a password in an address", "the variable that key_env names"),
    ],
)
def test_where_a_secret_belongs_is_said(case, told):
    assert told in " ".join(message for _, message, _ in errors(HIDING[case]))


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "ümlaut"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(monkeypatch, value):
    monkeypatch.setenv("BAD_KEY", value)
    text = '[models.m]\nupstreams = [{url = "http://h/v1", key_env = "BAD_KEY"}]\n'
    ((_, message, _),) = errors(text)
    assert message.startswith("the variable BAD_KEY holds a space or a character")
    assert value not in message


# -- what --check prints -------------------------------------------------------------------------


def test_what_a_configuration_means_is_told_without_secrets(monkeypatch):
    monkeypatch.setenv("OUTTHINK_STORE", "postgresql://me:hunter2@db/outthink")
    limited = dataclasses.replace(
        KNOWN, models=("qwen", "fast"), strategies=("greedy",), requests_per_minute=1200,
        tokens_per_day=2_000_000, concurrent=4, admin=True,
    )  # fmt: skip
    config = read(
        FLY + '[models.qwen]\nupstreams = ["http://10.0.0.5:8000/v1", '
        '{url = "https://h.example/v1", key_env = "VLLM_API_KEY", model = "Q"}]\n'
        '[aliases.fast]\nmodel = "qwen"\nstrategy = "self_consistency(n=8)"\nbudget = "tokens=20k"\n'
        + toml_of(limited)
    )
    told = config.describe()
    assert told.split("\n") == [
        "server   address             http://127.0.0.1:8000, 1 worker, keys required",
        "         requests            pass through; 300 s at most; 1,024 in work and 1,024 waiting in "
        "each worker",
        "         store               postgresql://db/outthink, keeps what is asked to be traced",
        "models   fly                 in this process: fly",
        "         qwen                10.0.0.5:8000 (no key), h.example (as Q, key in VLLM_API_KEY)",
        "aliases  fast                qwen; self_consistency(n=8); tokens=20000",
        f"keys     app ({KNOWN.id})  models qwen, fast; strategies greedy; 1,200 requests a minute, "
        "2,000,000 tokens a day, 4 at once; admin",
    ]  # fmt: skip
    for secret in (KNOWN.hash, KNOWN.salt, "hunter2", "upstream-secret-1"):
        assert secret not in told + repr(config)


def test_the_password_of_a_store_is_in_no_repr():
    server = ServerConfig(store="postgresql://me:hunter2@db/outthink")
    config = Config(server, {"fly": ModelConfig("fly", spec="fly")})
    assert "hunter2" not in repr(config) + config.describe()
    assert "postgresql://db/outthink" in config.describe()


# -- without a file ------------------------------------------------------------------------------


def test_an_upstream_alone_takes_every_name(monkeypatch):
    given = {"strategy": "self_consistency(n=8)", "host": "localhost", "port": 1, "workers": 2}
    config = quick("http://h/v1", None, "NOT_SET", store=None, **given)
    assert config.models == {"*": ModelConfig("*", (Upstream("http://h/v1"),))}
    assert config.server == ServerConfig(**given)
    config = quick("http://h/v1", None, "VLLM_API_KEY", store="x.db", **given)
    assert config.models["*"].upstreams == (Upstream("http://h/v1", "VLLM_API_KEY"),)
    assert config.server.store == "x.db"


def test_a_model_alone_has_the_name_of_its_spec():
    config = quick(None, "fly(think=4)", "X", None, "127.0.0.1", 8000, 1, None)
    assert config == Config(ServerConfig(), {"fly": ModelConfig("fly", spec="fly(think=4)")})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": None}, "--upstream URL of a server, or --model SPEC"),
        ({"upstream": "http://h/v1"}, "--upstream URL of a server, or --model SPEC"),
        ({"model": "flyy"}, "did you mean 'fly'"),
        ({"model": "gpt-4o"}, "'gpt-4o' is no model of this process"),
        ({"model": None, "upstream": "h:8000"}, "must begin with http:// or https://"),
        ({"model": None, "upstream": "http://h/v1", "key_env": "SPACED"}, "SPACED holds a space"),
        ({"strategy": "greedi"}, "did you mean 'greedy'"),
        ({"port": 70000}, "port = 70,000: it is from 0 to 65,535"),
        ({"workers": 0}, "workers = 0: it is from 1"),
        ({"host": ""}, "an address or a name to bind to"),
        ({"store": "mysql://h/d"}, "unknown kind of store"),
        ({"store": ":memory:", "workers": 2}, "not shared by several workers"),
    ],
)
def test_what_is_wrong_without_a_file_is_told_too(monkeypatch, changed, message):
    monkeypatch.setenv("SPACED", "a b")
    right = {
        "upstream": None, "model": "fly", "key_env": "X", "strategy": None,
        "host": "127.0.0.1", "port": 1, "workers": 1, "store": None,
    }  # fmt: skip
    assert quick(**right)
    with pytest.raises(BadInput, match=re.escape(message)):
        quick(**right | changed)


def test_settings_check_themselves():
    with pytest.raises(BadInput, match="retries is a whole number, not a text"):
        ModelConfig("m", spec="fly", retries="3")
    with pytest.raises(BadInput, match="upstreams, or a spec"):
        ModelConfig("m")
    with pytest.raises(BadInput, match="name of a variable of the environment"):
        Upstream("http://h/v1", key_env="a-b")


def test_the_command_line_goes_before_the_file() -> None:
    text = '[server]\nhost = "0.0.0.0"\nport = 1\n[models.m]\nspec = "fly"\n'
    with pytest.raises(SpecError, match="new-key"):
        read_text(text, "g.toml")
    config = read_text(text, "g.toml", host="127.0.0.1", port=9)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9)
    with pytest.raises(BadInput, match="self_consistency"):
        read_text(text, "g.toml", host="127.0.0.1", strategy="self_consistensy")
