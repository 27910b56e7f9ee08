"""The problem sets that people measure on: what their rows say, as problems.

A form turns rows into problems.  ``plain`` finds the columns by their usual names; each of the others
knows one published set:

    gsm8k      the answer stands after ``####``                    (Cobbe et al., arXiv 2110.14168)
    math       the answer stands in ``\\boxed{}``                   (Hendrycks et al., arXiv 2103.03874)
    mmlu       a letter or place among options                     (Hendrycks et al., arXiv 2009.03300)
    humaneval  ``check(candidate)`` of a function to be completed  (Chen et al., arXiv 2107.03374)
    mbpp       assertions about a function to be written           (Austin et al., arXiv 2108.07732)

What is known of an answer goes into ``reference``, ``choices`` or ``tests``; a worked solution, where a
row has one, into ``meta["solution"]``; the beginning of a function that a text may go on from, and its
name, into ``meta["prompt"]`` and ``meta["function"]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from outthink.core.nouns import Problem
from outthink.lab.rows import LETTERS, Row, Table, listed, statements, text_of_value
from outthink.verify.extract import reader_for


def _meta(row: Row, used: Iterable[str | None]) -> dict[str, Any]:
    """What else a row says in few words: subject, level, year."""
    known = set(used)
    plainly = {k: v for k, v in row.items() if isinstance(v, (str, int, float)) and k not in known}
    return {name: v for name, v in plainly.items() if 0 < len(text_of_value(v) or "") <= 80}


def _ids(table: Table, given: str | None) -> tuple[list[str], str | None]:
    """The rows' own ids, or their numbers from 1 on; and the column they are from."""
    column = table.column("id", given) if given else table.usual("id")
    ids = [text_of_value(row.get(column)) for row in table.rows] if column else []
    own = [i for i in ids if i is not None]
    if own and len(set(own)) == len(table.rows):
        return own, column
    if given:
        at = next(n for n, i in enumerate(ids) if i is None or i in ids[:n])
        raise table.wrong(f"has no id of its own: {column} is {ids[at]!r}", at + 1)
    return [str(number) for number in range(1, len(table.rows) + 1)], None


def _ask(text: str) -> tuple[dict[str, str]]:
    return ({"role": "user", "content": text},)


# -- options -----------------------------------------------------------------------------------------


def lettered(question: str, options: Sequence[str]) -> str:
    """The question with its options below it, each under a letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question.rstrip(), "", *lines])


def _options(table: Table, column: str | None) -> list[list[str]]:
    """The options of each row, from one column or from columns A, B, C, ... (``None``)."""
    names = [x for x in LETTERS if x in table.columns]
    out = []
    for number, row in enumerate(table.rows, 1):
        options = listed(row.get(column) if column else [row.get(x) for x in names])
        if options is None or not 2 <= len(options) <= len(LETTERS):
            where = column or "columns A, B, ..."
            raise table.wrong(f"has no list of 2 to {len(LETTERS)} options in {where}", number)
        out.append(options)
    return out


def _letters(
    table: Table, options: Sequence[Sequence[str]], column: str | None, answer: str
) -> list[str]:
    """The letter of each right option.

    Rows give it by its letter, its label, its text, or its place from 0 on: all in one way, the first
    that fits them.
    """
    texts = table.texts("answer", answer)
    held = [row.get(column) if column else None for row in table.rows]
    labels = [v.get("label", ()) if isinstance(v, Mapping) else () for v in held]
    ways: list[list[list[str]]] = [
        [list(LETTERS[: len(some)]) for some in options],
        [[str(label) for label in some] for some in labels],
        [[option.strip() for option in some] for some in options],
        [[str(place) for place in range(len(some))] for some in options],
    ]
    best = ""
    for way in ways:
        out = ""
        for known, text in zip(way, texts, strict=True):
            said = re.sub(r"^\(([A-J])\)$", r"\1", text.strip())
            if said not in known:
                break
            out += LETTERS[known.index(said)]
        best = max(best, out, key=len)
    if len(best) < len(texts):
        text = texts[len(best)]
        allowed = "a letter, an option's text or its place from 0 on, alike in all rows"
        raise table.wrong(f"has the answer {text[:60]!r}: write {allowed}", len(best) + 1)
    return list(best)


# -- forms -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """The columns that a caller names; the others are found by their usual names."""

    question: str | None = None
    answer: str | None = None
    choices: str | None = None
    tests: str | None = None
    id: str | None = None


def plain(table: Table, named: Columns, reader: str | None) -> list[Problem]:
    """Questions with tests, else with options, else with an answer, by the columns there are."""

    def guessed(role: str, fits: Callable[[Any], Any]) -> bool:
        # a column of that name but not of such values is about something else
        name = table.usual(role)
        return name is not None and any(fits(row.get(name)) for row in table.rows)

    if named.tests or (not named.choices and guessed("tests", _asserts)):
        return _tested(table, named)
    if named.choices or guessed("choices", listed):
        return chosen(table, named)
    return answered(table, named, reader)


def _asserts(value: Any) -> bool:
    return any(re.search(r"\b(?:assert|raise)\b", test) for test in statements(value) or ())


def _tested(table: Table, named: Columns) -> list[Problem]:
    """Questions whose answer is code, and the tests that it has to pass."""
    asked, tests_in = table.column("question", named.question), table.column("tests", named.tests)
    answer = table.column("answer", named.answer) if named.answer else table.usual("answer")
    ids, id_in = _ids(table, named.id)
    out = []
    for i, (row, question) in enumerate(
        zip(table.rows, table.texts("question", asked), strict=True)
    ):
        tests = statements(row.get(tests_in))
        if tests is None:
            raise table.wrong(f"has no tests: {tests_in} is {row.get(tests_in)!r:.60}", i + 1)
        if any(re.search(r"^def check\(", test, re.MULTILINE) for test in tests):
            raise table.wrong("has tests that only define check(): read it as humaneval", i + 1)
        reference = text_of_value(row.get(answer)) if answer else None
        meta = _meta(row, (asked, answer, tests_in, id_in))
        out.append(Problem(_ask(question), reference, tests=tests, id=ids[i], meta=meta))
    return out


def chosen(table: Table, named: Columns = Columns()) -> list[Problem]:
    """Questions with options; the reference is the right one's letter."""
    asked, answer = table.column("question", named.question), table.column("answer", named.answer)
    apart = not named.choices and not table.usual("choices") and {"A", "B"} <= set(table.columns)
    column = None if apart else table.column("choices", named.choices)
    options = _options(table, column)
    letters = _letters(table, options, column, answer)
    ids, id_in = _ids(table, named.id)
    used = (asked, answer, column, id_in, *(LETTERS if apart else ()))
    return [
        Problem(
            _ask(lettered(question, options[i])),
            letters[i],
            tuple(options[i]),
            id=ids[i],
            meta=_meta(table.rows[i], used),
        )
        for i, question in enumerate(table.texts("question", asked))
    ]


def answered(
    table: Table, named: Columns, reader: str | None, solution: str | None = None
) -> list[Problem]:
    """Questions with an answer, of a worked solution what ``reader`` reads in it.

    ``solution`` names the column that is kept as ``meta["solution"]``, where there is one.
    """
    asked, answer = table.column("question", named.question), table.column("answer", named.answer)
    ids, id_in = _ids(table, named.id)
    out = []
    questions, answers = table.texts("question", asked), table.texts("answer", answer)
    for i, row in enumerate(table.rows):
        meta = _meta(row, (asked, answer, id_in, solution))
        worked = text_of_value(row.get(solution)) if solution else None
        if worked is not None:
            meta["solution"] = worked
        problem = Problem(_ask(questions[i]), answers[i], id=ids[i], meta=meta)
        found = reader_for(problem, reader).extract(answers[i])
        out.append(problem if found is None else replace(problem, reference=found))
    return out


def completed(table: Table) -> list[Problem]:
    """Functions to be completed from their beginning, and ``check(candidate)`` for each."""
    need = ("prompt", "test", "entry_point")
    columns = {name: table.column(name) for name in need}
    ids, id_in = _ids(table, None)
    worked = table.usual("canonical_solution")
    texts = {name: table.texts(name, columns[name]) for name in need}
    out = []
    for i, row in enumerate(table.rows):
        prompt, name = texts["prompt"][i], texts["entry_point"][i].strip()
        ask = "Complete this function. Write the whole function in a Python block."
        meta = _meta(row, (*columns.values(), id_in, worked)) | {"prompt": prompt, "function": name}
        if worked and row.get(worked):
            meta["solution"] = _fitted(prompt, str(row[worked]))
        # a function that is called check would be lost to the tests' own
        test = re.sub(r"^def check\(", "def check_candidate(", texts["test"][i], flags=re.MULTILINE)
        if re.search(r"\bmath\.", test) and "import math" not in test:  # lost from MBPP's rows
            test = f"import math\n{test}"
        tests = (test, f"check_candidate({name})")
        question = f"{ask}\n\n```python\n{prompt.rstrip()}\n```"
        out.append(Problem(_ask(question), tests=tests, id=ids[i], meta=meta))
    return out


def _fitted(prompt: str, body: str) -> str:
    """The rest of a function, indented as its beginning is (some rows are not, or mix in tabs)."""
    spaced = re.sub(r"^[ \t]+", lambda m: m[0].expandtabs(), body, flags=re.MULTILINE)
    lines = spaced.strip("\n").split("\n")
    code = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    begun = prompt.rstrip().rpartition("\n")[2]
    wanted = begun[: len(begun) - len(begun.lstrip())]
    found = lines[code[0]][: -len(lines[code[0]].lstrip())] if code else ""
    if not found or not wanted:
        return body
    end = next((i for i in code if not lines[i].startswith(found)), len(lines))
    moved = [
        wanted + line[len(found) :] if i in code else line for i, line in enumerate(lines[:end])
    ]
    return "\n".join([*moved, *lines[end:]]) + "\n"


def written(table: Table) -> list[Problem]:
    """Functions to be written from a sentence and the assertions, which are shown, as published.

    Rows with an ``entry_point`` are functions to be completed.
    """
    if table.usual("entry_point"):
        return completed(table)
    asked, tests_in = table.column("question"), table.column("tests")
    before = table.usual("test_setup_code", "test_imports")
    worked = table.usual("code", "canonical_solution")
    ids, id_in = _ids(table, None)
    out = []
    for i, (row, ask) in enumerate(zip(table.rows, table.texts("question", asked), strict=True)):
        tests = statements(row.get(tests_in))
        if tests is None:
            raise table.wrong(f"has no tests: {tests_in} is {row.get(tests_in)!r:.60}", i + 1)
        setup = statements(row.get(before)) or () if before else ()
        meta = _meta(row, (asked, tests_in, before, worked, id_in))
        if worked and row.get(worked):
            meta["solution"] = str(row[worked])
        shown = "\n".join(tests)
        question = f"{ask.strip()} Your code should pass these tests:\n\n{shown}"
        out.append(Problem(_ask(question), tests=(*setup, *tests), id=ids[i], meta=meta))
    return out


MATH = "reader(extract=auto, equivalence=math)"

#: for each published set how its answers are read, and its form
FORMS: Mapping[str, tuple[str, Callable[[Table], list[Problem]]]] = {
    "gsm8k": ("number", lambda table: answered(table, Columns(), "number", "answer")),
    "math": (MATH, lambda table: answered(table, Columns(), MATH, "solution")),
    "mmlu": ("choice", chosen),
    "humaneval": ("code", completed),
    "mbpp": ("code", written),
}
