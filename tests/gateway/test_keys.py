"""Keys come back as they were made, nothing else does, and no word of a secret stays behind."""

import time
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.gateway import keys as made
from outthink.gateway.config import read_text
from outthink.gateway.keys import ALPHABET, find_key, new_key, toml_of

NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
SERVED = '[models.fly]\nspec = "fly"\n'


@given(NAMES)
def test_a_key_is_found_again_from_what_the_file_holds_of_it(name):
    key, known = new_key(name)
    read = read_text(SERVED + toml_of(known), "t.toml").keys
    assert read == {known.id: known}
    assert find_key(read, key) is read[known.id]
    assert known.name == name


def test_a_key_has_an_id_of_12_signs_and_a_secret_of_256_bits():
    start, ident, secret = new_key("app")[0].split("-")
    assert (start, len(ident), len(secret)) == ("ot", 12, 43)
    assert len(ALPHABET) ** len(secret) > 2**256 > len(ALPHABET) ** (len(secret) - 1)
    largest = made._base62(2**256 - 1)
    number = 0
    for sign in largest:
        number = number * len(ALPHABET) + ALPHABET.index(sign)
    assert number == 2**256 - 1


def test_no_two_keys_share_anything():
    pairs = [new_key("app") for _ in range(200)]
    for part in ("id", "salt", "hash"):
        assert len({getattr(known, part) for _, known in pairs}) == 200
    assert len({key for key, _ in pairs}) == 200


@given(st.data())
def test_one_character_changed_is_refused(data):
    key, known = new_key("app")
    at = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(sorted({*ALPHABET, "-", " ", "é", "\x00"} - {key[at]})))
    assert find_key({known.id: known}, key[:at] + other + key[at + 1 :]) is None


@given(st.text(max_size=80))
def test_what_is_no_key_is_refused_without_an_error(text):
    key, known = new_key("app")
    held = {known.id: known}
    for presented in (text, key + text, text + key, key[: len(text)]):
        assert (find_key(held, presented) is known) == (presented == key)


def test_the_secret_of_one_key_does_not_open_another():
    (one, first), (two, second) = new_key("one"), new_key("two")
    held = {first.id: first, second.id: second}
    crossed = "-".join([*one.split("-")[:2], two.split("-")[2]])
    assert find_key(held, crossed) is None
    assert find_key({second.id: second}, one) is None
    assert find_key({}, one) is None


def test_an_unknown_or_malformed_key_is_hashed_and_compared_as_a_known_one_is(monkeypatch):
    (key, known), (unknown, _) = new_key("app"), new_key("other")
    done, real = [], made._digest
    monkeypatch.setattr(made, "_digest", lambda *a: done.append(tuple(map(len, a))) or real(*a))
    compared, compare = [], made.hmac.compare_digest
    monkeypatch.setattr(
        made.hmac, "compare_digest", lambda *a: compared.append(tuple(map(len, a))) or compare(*a)
    )
    held = {known.id: known}
    for presented in (key, unknown, key[:-1] + "!", "", "sk-1", "x" * 100_000):
        find_key(held, presented)
    assert len(done) == len(compared) == 6
    assert set(done) == {(32, 43)}
    assert set(compared) == {(64, 64)}


def test_nothing_of_the_secret_stays_in_what_is_shown():
    for _ in range(50):
        key, known = new_key("app")
        secret = key.rpartition("-")[2]
        for shown in (repr(known), str(known), toml_of(known)):
            assert not any(secret[i : i + 8] in shown for i in range(len(secret) - 7))
        assert known.hash not in repr(known)
        assert known.salt not in repr(known)


def test_the_lines_for_the_file_hold_every_limit_that_is_set():
    _, known = new_key('a "quoted" \\ name')
    full = replace(
        known, models=("fly", "x y"), strategies=("greedy",), requests_per_minute=60,
        tokens_per_day=10**6, usd_per_month=0.5, concurrent=4, admin=True,
    )  # fmt: skip
    values = tomllib.loads(toml_of(full))["keys"][full.id]
    assert values == {
        "name": 'a "quoted" \\ name', "salt": full.salt, "hash": full.hash,
        "models": ["fly", "x y"], "strategies": ["greedy"], "requests_per_minute": 60,
        "tokens_per_day": 10**6, "usd_per_month": 0.5, "concurrent": 4, "admin": True,
    }  # fmt: skip
    assert set(tomllib.loads(toml_of(known))["keys"][known.id]) == {"name", "salt", "hash"}


@pytest.mark.parametrize("name", ["", " app", "a\nb", "x" * 65, "\x7f"])
def test_a_name_that_would_spoil_a_log_is_refused(name):
    with pytest.raises(BadInput, match="name has 1 to 64 printable"):
        new_key(name)


def test_a_key_is_checked_in_microseconds():
    key, known = new_key("app")
    held = {known.id: known, **{k.id: k for _, k in (new_key("x") for _ in range(100))}}
    presented = [key, new_key("y")[0]] * 100

    def seconds():
        begin = time.process_time()
        for one in presented:
            find_key(held, one)
        return time.process_time() - begin

    # a slow hash takes a hundred times that
    assert min(seconds() for _ in range(5)) / len(presented) < 0.5e-3
