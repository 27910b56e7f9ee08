from hypothesis import given
from hypothesis import strategies as st

from outthink.tasks import lookup


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**48))
def test_facts_never_contradict_each_other_and_the_path_is_among_them(hops, facts, seed):
    problem = lookup.make(hops, facts, seed)
    known = [(whom, relation) for whom, relation, _ in problem.facts]
    assert len(known) == len(set(known)) == max(hops, facts)
    assert set(problem.path) <= set(problem.facts)
    at = problem.path[0][0]
    for whom, relation, who in problem.path:
        assert whom == at
        assert f"{whom}'s {relation} is {who}." in problem.question
        at = who
    assert at == problem.answer


def test_a_right_name_by_a_wrong_hop_is_a_false_path():
    problem = lookup.make(3, 10, 1)
    text = f"Nobody's boss is Nobody\nanswer: {problem.answer}\n"
    assert lookup.check(problem, text)
    assert lookup.false_path(problem, text)
