"""Every key and value of a TOML text is found where it stands, and what is shown holds no secret."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.gateway.places import (
    cover,
    cover_line,
    cover_values,
    has_secret,
    inside,
    locate,
    show,
)

# -- texts in every style ------------------------------------------------------------------------

SPACE = st.sampled_from(["", " ", "\t ", "  "])
GAP = st.sampled_from(["", " ", "\n", " # a ] } \" ' comment\n  ", "\n\n\t"])
WORDS = st.text(st.sampled_from("ab1 ü#[]{}=,.-\\\n\t\"'😀"), max_size=8)
BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)


def basic(text):
    return json.dumps(text, ensure_ascii=False)


def multi_line(text):
    body = basic(text)[1:-1].replace("\\n", "\n").replace("\\t", "\t")
    return f'"""\n{body}"""'


def continued(text):
    return f'"""{basic(text)[1:-1]}\\\n   \n  """'


def literal(text):
    return f"'{text}'" if not set(text) & {"'", "\n"} else basic(text)


def multi_literal(text):
    return f"'''\n{text}'''" if "'''" not in text and not text.endswith("'") else basic(text)


STRINGS = st.builds(
    lambda style, text: style(text),
    st.sampled_from([basic, multi_line, continued, literal, multi_literal]),
    WORDS,
)
PLAIN = st.sampled_from(
    [
        "1",
        "-0x1F".replace("-", ""),
        "1_000",
        "3.5e-7",
        "inf",
        "true",
        "1979-05-27 07:32:00",
        "08:00:00",
    ]
)
KEYS = BARE | WORDS.map(basic) | WORDS.map(literal).filter(lambda s: "\n" not in s)


@st.composite
def keyed(draw, values, most=3):
    """Texts ``key`` and ``value`` whose keys differ; some keys are dotted."""
    out = []
    for number in range(draw(st.integers(0, most))):
        names = [f"k{number}", *draw(st.lists(KEYS, max_size=1))]
        dot = draw(SPACE) + "." + draw(SPACE)
        out.append((dot.join(names), draw(SPACE) + "=" + draw(SPACE), draw(values)))
    return out


@st.composite
def arrays(draw, values):
    items = draw(st.lists(values, max_size=3))
    inner = "".join(f"{draw(GAP)}{item}{draw(GAP)}," for item in items)
    if items and draw(st.booleans()):
        inner = inner[:-1]
    return f"[{inner}{draw(GAP)}]"


@st.composite
def inline_tables(draw, values):
    pairs = draw(keyed(values, 2))
    return "{" + ",".join(draw(SPACE) + "".join(pair) + draw(SPACE) for pair in pairs) + "}"


VALUES = st.recursive(
    STRINGS | PLAIN, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=5
)


@st.composite
def documents(draw):
    def body():
        return "".join(
            "".join(pair) + draw(st.sampled_from(["\n", " # note = 1\n", "\n\n"]))
            for pair in draw(keyed(VALUES))
        )

    parts = [draw(GAP), body()]
    for number in range(draw(st.integers(0, 3))):
        name = draw(SPACE) + f"t{number}" + draw(SPACE)
        if draw(st.booleans()):
            name += "." + draw(KEYS)
        if draw(st.booleans()):
            parts.append(f"[{name}]\n" + body())
        else:
            for _ in range(draw(st.integers(1, 2))):
                parts += [f"[[{name}]]\n", body(), f"[{name}.inner]\n", body()]
    return "".join(parts)


def flat(value, path=()):
    """Each path of a value, with what stands there."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from flat(inner, (*path, place))


# -- places --------------------------------------------------------------------------------------


@given(documents())
def test_each_value_is_found_where_it_stands(text):
    values = tomllib.loads(text)
    spots = locate(text)
    assert set(spots) == {path for path, _ in flat(values)}
    for path, value in flat(values):
        spot = spots[path]
        if spot.value > spot.key or (isinstance(path[-1], int) and not isinstance(value, dict)):
            assert repr(tomllib.loads(f"x = {text[spot.value : spot.end]}")["x"]) == repr(value)
        elif isinstance(path[-1], str):  # a table: where its name stands
            rest = text[spot.key :]
            assert rest.startswith((path[-1], '"', "'"))


@given(documents(), st.data())
def test_each_character_of_a_text_is_found_where_it_is_written(text, data):
    spots, values = locate(text), dict(flat(tomllib.loads(text)))
    texts = [p for p, v in values.items() if isinstance(v, str) and v]
    if not texts:
        return
    path = data.draw(st.sampled_from(texts))
    at = data.draw(st.integers(0, len(values[path]) - 1))
    spot = spots[path]
    raw = text[spot.value : spot.end]
    quotes = raw[:3] if raw.startswith(('"""', "'''")) else raw[0]
    before = text[spot.value : inside(text, spot, at)]
    assert tomllib.loads(f"x = {before}{quotes}")["x"] == values[path][:at]


def test_the_end_of_a_text_is_where_its_quotes_are():
    for text in ('x = "ab"', "x = 'ab'", 'x = """ab"""'):
        assert text[inside(text, locate(text)[("x",)], 2) :].strip("\"'") == ""
        assert text[inside(text, locate(text)[("x",)], 99) :].strip("\"'") == ""


@given(documents())
def test_covered_values_change_no_place_and_cover_all_that_is_not_harmless(text):
    spots = locate(text)
    assert cover_values(text, spots, lambda *_: True) == text
    covered = cover_values(text, spots, lambda *_: False)
    assert len(covered) == len(text)
    assert covered.count("\n") == text.count("\n")
    for path, value in flat(tomllib.loads(text)):
        spot = spots[path]
        if isinstance(value, str) and (spot.value > spot.key or isinstance(path[-1], int)):
            assert set(covered[spot.value : spot.end]) <= set(" \n\t*\"'[]{},")


# -- what is shown -------------------------------------------------------------------------------


def test_an_error_is_shown_with_its_line_and_a_caret():
    text = "a = 1\n\tb = 'x' # why\n"
    assert show(text, "t.toml", text.index("'"), "no") == "t.toml:2: no\n   b = 'x'\n       ^"


def test_a_long_line_is_shown_around_its_caret():
    text = "x = '" + "a" * 500 + "!" + "b" * 500 + "'"
    _, line, caret = show(text, "t", text.index("!"), "no").split("\n")
    assert len(line) < 120
    assert line[caret.index("^")] == "!"
    assert line.strip().startswith("...")
    assert line.endswith("...")


def test_an_error_at_the_end_is_shown_there():
    assert show("a = [", "t", 99, "no") == "t:1: no\n  a = [\n       ^"
    assert show("", "t", 0, "no") == "t:1: no\n  \n  ^"


SECRETS = [
    "sk-proj-AbCd1234efgh",
    "ot-abcdefghijkl-" + "x" * 43,
    "hf_abcdefgh12345678",
    "AIzaSyA1234567890",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "model = '{}'", "Bearer {}", "[keys.{}]", "http://h/{}", '"{}"']
)
def test_the_keys_of_well_known_services_are_covered_wherever_they_stand(secret, around):
    line = around.format(secret)
    assert has_secret(line)
    assert secret[3:] not in cover(line)
    assert len(cover(line)) == len(line)


@pytest.mark.parametrize(
    "text",
    ["Qwen/Qwen3-30B-A3B-Instruct-2507", "self_consistency(n=8)@qwen3-8b", "robot-vacuum-cleaner",
     "http://127.0.0.1:8000/v1", "did you mean 'x'? known: y", "risk-averse-planner"],
)  # fmt: skip
def test_what_is_no_secret_is_shown(text):
    assert not has_secret(text)
    assert cover(text) == text


def test_an_address_is_shown_without_user_password_and_query():
    assert cover("postgresql://me:hunter2@db/out") == "postgresql://***********db/out"
    assert cover("'http://h/v1?key=hunter2' no") == "'http://h/v1?***********' no"
    assert "hunter2" not in cover("http://me:hun@hunter2@h/v1?x=hunter2")


@pytest.mark.parametrize(
    "line",
    ["key = 5f3a9c0b7e21d4f6a8b9", "key = '5f3a9c0b7e21d4f6a8b9",
     'x = {url = "u", k = "5f3a9c0b7e21d4f6a8b9"}',
     "5f3a9c0b7e21d4f6a8b9", "keys = ['5f3a9c0b7e21d4f6a8b9', 'b'", 'key = """5f3a9c0b7e21d4f6a8b9',
     '"my key" = "5f3a9c0b7e21d4f6a8b9"', "url = [{key = '5f3a9c0b7e21d4f6a8b9'}]"],
)  # fmt: skip
def test_a_line_that_is_no_toml_shows_only_harmless_fields(line):
    shown = cover_line(line, lambda name, value: name == "url")
    assert "5f3a9c0b7e21d4f6a8b9" not in shown
    assert len(shown) == len(line)
    assert 'url = "u"' in shown or '"u"' not in line
