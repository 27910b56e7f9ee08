"""What is said beside a question, or in its place, leaves the rest of a chat as it is."""

from outthink.core.nouns import Problem
from outthink.strategies._prompts import asking, instructed

PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
ASKED = {"role": "user", "content": [{"type": "text", "text": "How many?"}, PICTURE]}
RULED = Problem.of([{"role": "system", "content": "Be short."}, ASKED]).messages


def test_another_question_keeps_what_is_not_text():
    told = [{"type": "text", "text": "What number?"}, PICTURE]
    assert asking(RULED, "What number?") == (RULED[0], {**ASKED, "content": told})
    assert asking(Problem.of("How many?").messages, "2 + 2?") == Problem.of("2 + 2?").messages


def test_an_instruction_goes_into_the_system_message_that_is_there():
    assert instructed(RULED, "Work.")[0]["content"] == "Be short.\n\nWork."
    assert instructed(RULED, "Work.", first=True)[0]["content"] == "Work.\n\nBe short."
    for role in ("system", "developer"):
        empty = ({"role": role, "content": ""}, ASKED)
        assert instructed(empty, "Work.") == ({"role": role, "content": "Work."}, ASKED)
    assert instructed((ASKED,), "Work.") == ({"role": "system", "content": "Work."}, ASKED)


def test_parts_of_a_system_message_stay():
    rules = ({"role": "system", "content": [{"type": "text", "text": "Look."}, PICTURE]}, ASKED)
    more = {"type": "text", "text": "Work."}
    assert instructed(rules, "Work.")[0]["content"] == [*rules[0]["content"], more]
    assert instructed(rules, "Work.", first=True)[0]["content"] == [more, *rules[0]["content"]]
