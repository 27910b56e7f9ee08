"""Diverse openings: which beginnings are kept, and what is continued."""

import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.select.diverse import farthest, ngram_distances
from outthink.tasks import countdown
from outthink.testing import check_strategy

PROBLEM = countdown.make(4, 10, 40, 3)


def solve(spec, seed=0, **more):
    return outthink.solve(PROBLEM.question, strategy=spec, seed=seed, **more)


def beginning(sample):
    return sample.lineage()[1]


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("diverse_openings(n=3, width=6, length=6)")
    check_strategy("diverse_openings(n=2, width=4, length=6, verifier=prm(model=simulated_prm))")


def test_n_of_the_openings_are_continued_and_they_are_the_farthest():
    seen = []
    found = solve(
        "diverse_openings(n=3, width=8, length=8)",
        observer=lambda kind, data: seen.append((kind, data)),
    )
    drawn = [data["text"] for kind, data in seen if kind == "sample"][:8]
    kept = [beginning(s).text for s in found.candidates]
    wanted = sorted(farthest(ngram_distances(drawn), 3).tolist())
    assert len(found.candidates) == 3
    assert sorted(kept) == sorted(drawn[i] for i in wanted)


def test_kept_openings_differ_wherever_enough_do():
    for seed in range(4):
        found = solve("diverse_openings(n=4, width=24, length=8)", seed)
        assert len({beginning(s).text for s in found.candidates}) == 4


def test_as_many_openings_as_samples_are_all_continued():
    found = solve("diverse_openings(n=5, width=5, length=8)")
    assert len({beginning(s).node for s in found.candidates}) == 5
    one = solve("diverse_openings(n=1, width=1, length=8)")
    assert [s.text for s in one.candidates] == [one.text]


def test_it_costs_the_openings_and_the_rest_of_the_samples():
    found = solve("diverse_openings(n=3, width=8, length=8)")
    rest = sum(s.tokens for s in found.candidates)
    assert found.usage.completion_tokens == 8 * 8 + rest


def test_fewer_openings_than_samples_are_refused():
    with pytest.raises(BadInput, match="width=4 must be at least n=8"):
        build("diverse_openings(width=4)", "strategy")


@pytest.mark.parametrize("tokens", [20, 80, 200])
def test_a_tight_budget_is_kept(tokens):
    found = solve("diverse_openings(n=4, width=8, length=8)", budget=f"tokens={tokens}")
    assert found.usage.completion_tokens <= tokens
    assert found.candidates
