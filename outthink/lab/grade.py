"""Is a text right?  By all that is known of a problem's answer, from full texts.

The first of these that a problem has decides:

    checker     the problem's own function of the text
    tests       the text's code passes them in the sandbox
    choices     the chosen letter (else the chosen option's text) is the right one
    reference   the answer that is read equals it, as the reader tells equal answers

Code may go on from the beginning that the problem gave (``meta["prompt"]``) or have the whole function.
Nothing here spends a model's tokens; tests and math-verify run in processes of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import anyio
import anyio.lowlevel

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem
from outthink.core.run import Reader
from outthink.lab.rows import LETTERS
from outthink.verify.extract import (
    TextReader,
    boxed,
    canonical_answer,
    code_of,
    reader_for,
    spoken,
)
from outthink.verify.extract import choice as letter_of
from outthink.verify.python_tests import SIDE_BY_SIDE
from outthink.verify.sandbox import check_python

#: seconds that a program with its tests may take
SECONDS = 10.0

# however many problems are graded at once: a program that waits for a processor is not slow
_SLOTS: anyio.lowlevel.RunVar[anyio.Semaphore] = anyio.lowlevel.RunVar("graded_programs")


def check_gradable(problems: Iterable[Problem]) -> None:
    """Raise ``BadInput`` where nothing is known of some problem's answer: before anything is spent."""
    everyone = list(problems)
    unknown = [p for p in everyone if not _known(p)]
    if unknown:
        name = unknown[0].id or unknown[0].question[:60]
        raise BadInput(
            f"nothing is known of the answer of {len(unknown)} of {len(everyone)} problems, the first "
            f"{name!r}: give a reference, tests or a checker"
        )


def _known(problem: Problem) -> bool:
    return bool(problem.checker or problem.tests or (problem.reference or "").strip())


def held(answer: Answer, reader: TextReader) -> bool:
    """Was an answer held back that stands in its text?  It is none, whatever the text says."""
    if answer.answer is not None:
        return False
    cut = any(s.finish == "length" for s in answer.candidates if s.text == answer.text)
    return reader.extract(answer.text, cut=cut) is not None


async def grade(
    problem: Problem, texts: Sequence[str], reader: Reader | str | None = None
) -> list[bool]:
    """Is each full text right?  Equal texts, answers and programs are judged once.

    ``reader`` reads the answers: a spec, or the reader itself.  Raises ``BadInput`` for a problem of
    whose answer nothing is known.
    """
    check_gradable([problem])
    distinct = list(dict.fromkeys(texts))
    if problem.checker:
        right = {text: bool(problem.checker(text)) for text in distinct}
    elif problem.tests:
        right = await _by_tests(problem, distinct)
    else:
        reads = reader_for(problem, reader) if reader is None or isinstance(reader, str) else reader
        right = await _by_answer(problem, distinct, reads)
    return [right[text] for text in texts]


# -- by tests ----------------------------------------------------------------------------------------


def program_of(problem: Problem, text: str) -> str:
    """The program that a text is: its code, behind the beginning that the problem gave.

    Of that beginning only what stands before the function (imports, helpers) where the code has the
    function itself.
    """
    code = code_of(text)
    prompt, name = problem.meta.get("prompt"), problem.meta.get("function")
    if not isinstance(prompt, str):
        return code
    begun = re.compile(rf"^(?:async\s+)?def\s+{re.escape(str(name))}\b", re.MULTILINE)
    goes_on = code.lstrip("\n")[:1].isspace()
    if begun.search(code) and not goes_on:
        start = begun.search(prompt)
        return prompt[: start.start() if start else 0] + code
    return prompt.rstrip("\n") + "\n" + code.lstrip("\n")


async def _by_tests(problem: Problem, texts: Sequence[str]) -> dict[str, bool]:
    programs = {text: program_of(problem, text) for text in texts}
    tests = "\n".join(problem.tests)
    passed: dict[str, bool] = {}
    try:
        slots = _SLOTS.get()
    except LookupError:
        slots = anyio.Semaphore(SIDE_BY_SIDE)
        _SLOTS.set(slots)

    async def one(program: str) -> None:
        async with slots:
            passed[program] = (await check_python(program, tests, SECONDS)).passed

    async with anyio.create_task_group() as group:
        for program in dict.fromkeys(programs.values()):
            group.start_soon(one, program)
    return {text: passed[program] for text, program in programs.items()}


# -- by answer ---------------------------------------------------------------------------------------


def _right_letter(problem: Problem) -> str | None:
    """The letter of the right option: the reference is it, or that option's text."""
    letters = LETTERS[: len(problem.choices)]
    said = (problem.reference or "").strip()
    if len(said) == 1 and said.upper() in letters:
        return said.upper()
    return letters[problem.choices.index(said)] if said in problem.choices[: len(letters)] else None


async def _by_answer(problem: Problem, texts: Sequence[str], reader: Reader) -> dict[str, bool]:
    letter = _right_letter(problem)
    if letter is not None:
        wanted = problem.choices[LETTERS.index(letter)]
        return {text: _chose(text, letter, wanted) for text in texts}
    reference = problem.reference or ""
    # "5 apples" is read as 5 where it is marked as the answer
    read = reader.extract(stated(reference, reader)) if isinstance(reader, TextReader) else None
    golds = dict.fromkeys([reference] if read is None else [reference, read])
    answers = {text: reader.extract(text) for text in texts}
    equal: dict[str | None, bool] = {None: False}

    async def one(answer: str) -> None:
        classes = [await reader.group([gold, answer]) for gold in golds]
        equal[answer] = any(first == second for first, second in classes)

    async with anyio.create_task_group() as group:
        for answer in dict.fromkeys(answers.values()):
            if answer is not None:
                group.start_soon(one, answer)
    return {text: equal[answer] for text, answer in answers.items()}


def _chose(text: str, letter: str, option: str) -> bool:
    chosen = letter_of(spoken(text))
    if chosen is not None:
        return chosen == letter
    said = TextReader().extract(text)
    return said is not None and canonical_answer(said) == canonical_answer(option)


# -- is what is known right by itself? -----------------------------------------------------------------


async def validate(problems: Iterable[Problem], reader: str | None = None) -> list[str]:
    """The ids of problems whose own worked solution, or own answer, is not accepted.

    Such a problem can be answered by nobody, or by everybody wrongly.
    """
    everyone = list(problems)
    good: dict[int, bool] = {}

    async def one(place: int, problem: Problem) -> None:
        good[place] = all(await grade(problem, _golden(problem, reader), reader))

    async with anyio.create_task_group() as group:
        for place, problem in enumerate(everyone):
            group.start_soon(one, place, problem)
    return [problem.id for place, problem in enumerate(everyone) if not good[place]]


def _golden(problem: Problem, spec: str | None) -> list[str]:
    """Texts that are right by the problem's own word."""
    solution, reference = problem.meta.get("solution"), problem.reference
    out = [solution] if isinstance(solution, str) else []
    if reference:
        out.append(reference if problem.tests else stated(reference, reader_for(problem, spec)))
    return out


def stated(reference: str, reader: TextReader) -> str:
    """A text that gives ``reference`` as its answer, where the reader looks for one."""
    if reader.how == "json":
        return json.dumps({reader.field: reference})
    if reader.how in ("code", "text", "regex"):
        return reference
    box = f"\\boxed{{{reference}}}"
    whole = boxed(box) == reference.strip() and reader.how != "answer"
    return box if whole else f"answer: {reference}"
