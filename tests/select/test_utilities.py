"""Utilities: their ranges and symmetries, closed forms, published values, brute force."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.core.registry import build, entries, spec_of
from outthink.select import utilities as u

TEXTS = st.text(alphabet="ab c.1\n\u00e9", max_size=30)
NAMES = ("exact", "ngram_cosine", "token_f1", "rouge_l", "chrf", "edit")
SYMMETRIC = ("exact", "ngram_cosine", "token_f1", "rouge_l", "chrf(beta=1)", "edit")


def test_all_are_registered_and_have_specs():
    assert set(NAMES) <= set(entries("utility"))
    for name in (*NAMES, "chrf(beta=1.0)", 'token_f1(of="answer")'):
        assert spec_of(build(name, "utility")) == name


@pytest.mark.parametrize("name", NAMES)
@given(a=TEXTS, b=TEXTS)
def test_a_utility_is_in_the_unit_interval_and_one_for_equal_texts(name, a, b):
    utility = build(name, "utility")
    assert 0.0 <= utility(a, b) <= 1.0 + 1e-12
    assert utility(a, a) == pytest.approx(1.0)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(a=TEXTS, b=TEXTS)
def test_they_are_symmetric(name, a, b):
    utility = build(name, "utility")
    assert utility(a, b) == pytest.approx(utility(b, a))


def test_chrf_minds_what_is_missing_more_than_what_is_too_much():
    long, short = "the cat sat on the mat", "the cat sat"
    assert u.chrf(long, short) > u.chrf(short, long)


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        # computed with sacrebleu 2's CHRF().sentence_score
        ("the cat sat on the mat", "the cat is on the mat", 0.6457794206),
        ("ab", "ab cd", 0.4716981132),
        ("7", "7", 1.0),
        ("x", "y", 0.0),
    ],
)
def test_chrf_agrees_with_its_reference_implementation(a, b, value):
    assert u.chrf(a, b) == pytest.approx(value, abs=1e-9)


def test_published_and_closed_forms():
    # Lin 2004, section 3: ROUGE-L ranks S2 over S3 by word order (F1 of 3/4 and 1/2)
    reference = "police killed the gunman"
    assert u.rouge_l("police kill the gunman", reference) == pytest.approx(0.75)
    assert u.rouge_l("the gunman kill police", reference) == pytest.approx(0.5)
    assert u.edit_distance("kitten", "sitting") == 3
    assert u.edit("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert u.token_f1("a a b", "a b b") == pytest.approx(2 / 3)
    assert u.token_f1("Seven!", "seven !") == 1.0


def slow_edit(a, b):
    @cache
    def d(i, j):
        if not i or not j:
            return i + j
        same = a[i - 1] == b[j - 1]
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (not same))

    return d(len(a), len(b))


def slow_common(a, b):
    @cache
    def d(i, j):
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return d(i - 1, j - 1) + 1
        return max(d(i - 1, j), d(i, j - 1))

    return d(len(a), len(b))


@given(st.text("abc", max_size=14), st.text("abc", max_size=14))
def test_bits_give_what_the_table_gives(a, b):
    assert u.edit_distance(a, b) == slow_edit(a, b)
    assert u.common_length(a, b) == slow_common(a, b)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_a_similarity_matrix_is_a_gram_matrix_of_unit_vectors(texts):
    s = u.similarity_matrix(texts)
    assert s.shape == (len(texts), len(texts))
    np.testing.assert_allclose(s, s.T)
    some = np.array([bool(u.tokens(t)) for t in texts])
    np.testing.assert_allclose(np.diag(s), some.astype(float))
    assert np.linalg.eigvalsh(s).min() > -1e-9
    assert ((s >= 0) & (s <= 1)).all()


def test_similarity_orders_texts_by_what_they_share():
    texts = ["Ada has 8 pens. Jo has 4.", "Ada has 8 pens. Jo has 5.", "Ada has 8 pens.", "so what"]
    s = u.similarity_matrix(texts)
    assert s[0, 1] > s[0, 2] > s[0, 3] == 0
    np.testing.assert_allclose(u.similarity_matrix(texts, texts[2:]), s[:, 2:])


def test_hashed_cosines_are_near_the_exact_ones():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghij"), 300)) for _ in range(6)]

    def grams(text):
        words = u.tokens(text)
        all_ = [tuple(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]
        return {g: 1 + np.log(all_.count(g)) for g in set(all_)}

    found = [grams(t) for t in texts]
    for i, j in itertools.combinations(range(6), 2):
        dot = sum(w * found[j].get(g, 0) for g, w in found[i].items())
        norm = [np.sqrt(sum(w * w for w in f.values())) for f in (found[i], found[j])]
        assert u.similarity_matrix(texts)[i, j] == pytest.approx(dot / norm[0] / norm[1], abs=0.03)


@pytest.mark.parametrize("name", [*NAMES, None])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    references=st.lists(TEXTS, min_size=1, max_size=5),
)
def test_the_matrix_holds_the_pairs(name, texts, references):
    utility = build(name, "utility") if name else lambda a, b: float(len(a) <= len(b))
    found = u.utility_matrix(utility, texts, references)
    wanted = [[utility(t, r) for r in references] for t in texts]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert u.utility_matrix(utility, [], references).shape == (0, len(references))


@pytest.mark.parametrize("wrong", [{"order": 0}, {"order": 21}, {"beta": 0.0}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(BadInput, match="chrf"):
        u.Chrf(**wrong)
