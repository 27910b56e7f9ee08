"""One HTML file that holds a whole bench: figures, charts, and every problem with its candidates.

The file needs no network and is kept from it by its own content security policy, which names the
hashes of its one script and one style.  What models wrote is data: it stands in the file as JSON
without any ``<``, ``>`` or ``&``, and reaches the page as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import outthink
from outthink.core.errors import BadInput
from outthink.core.nouns import finite
from outthink.lab.records import Results, RunRow, SampleRow

#: characters of one text that are kept
TEXT = 2_000
#: bytes that the data in the page may take
LIMIT = 20_000_000
#: a file of the package goes where the skeleton says ``{{its name}}``
SLOT = re.compile(r"\{\{(\w+)\}\}")

Row = list[Any]


def page(results: Results, summary: Mapping[str, Any], limit: int = LIMIT) -> str:
    """The page as text: the same one for the same results.

    Equal texts are stored once, long ones cut after ``TEXT`` characters.  Where the data would
    outgrow ``limit`` bytes, what tells most stays, and the page says what is missing: problems that
    the arms disagree on before those they agree on, the first candidate of each answer before the
    second, and so on, each with its text while there is room.
    """
    if summary.get("format") != 1:
        raise BadInput(
            f"a summary of format {summary.get('format')!r}; this version shows format 1: "
            "summarise the results again"
        )
    home = files("outthink.lab")
    script, style, skeleton = (
        (home / name).read_text("utf-8") for name in ("page.js", "page.css", "page.html")
    )
    parts = {
        "title": html.escape(f"Bench: {task_name(results.facts)}"),
        "policy": f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "data": encode(contents(results, summary, limit)),
    }
    return SLOT.sub(lambda slot: parts[slot[1]], skeleton)


def task_name(facts: Mapping[str, Any]) -> str:
    """What was measured on, in a few words."""
    task = facts.get("task")
    if isinstance(task, Mapping):
        task = task.get("spec") or task.get("name")
    design = facts.get("design")
    if not task and isinstance(design, Mapping):
        task = design.get("task")
    return str(task or "unnamed task")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def encode(value: Any) -> str:
    """JSON that may stand in a script element and in UTF-8, whatever the texts in it hold.

    No character of it can end the element or begin a comment (``<``, ``>``, ``&``), end a line
    of script (U+2028, U+2029), or has no place in UTF-8 (a lone surrogate).
    """
    text = json.dumps(
        finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str
    )
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _number(value: float | None) -> float | int | None:
    """Six digits of a figure are enough to look at."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.6g}")


@dataclass
class Strings:
    """Texts by number, equal ones once; -1 is no text.  ``size`` is their length as JSON, in bytes."""

    numbers: dict[str, int] = field(default_factory=dict)
    size: int = 0
    cut: int = 0

    def cost(self, text: str) -> int:
        """Bytes that one more text takes."""
        kept = _shortened(text)
        return 0 if kept in self.numbers else len(encode(kept).encode()) + 1

    def add(self, text: str | None) -> int:
        """The number of a text."""
        if text is None:
            return -1
        kept = _shortened(text)
        if kept not in self.numbers:
            self.size += self.cost(text)
            self.cut += kept is not text
            self.numbers[kept] = len(self.numbers)
        return self.numbers[kept]


def _shortened(text: str) -> str:
    if len(text) <= TEXT:
        return text
    return f"{text[:TEXT]} … [{len(text) - TEXT:,} more characters are cut here]"


@dataclass
class Scores:
    """Values of verifiers: arms of a model that never differ on a candidate share a column."""

    columns: list[dict[tuple[str, int], dict[int, float]]] = field(default_factory=list)
    arms: list[list[str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def add(self, label: str, model: str, runs: Sequence[RunRow]) -> None:
        """Take in the scores of an arm's runs."""
        mine: dict[tuple[str, int], dict[int, float]] = {}
        for run in runs:
            pairs = zip(run.candidates, run.scores, strict=False)
            given = {c: float(s) for c, s in pairs if math.isfinite(s)}
            if given:
                mine[run.problem, run.seed] = given
        if not mine:
            return
        for place, column in enumerate(self.columns):
            if self.models[place] == model and all(
                column.get(at, {}).get(c, s) == s
                for at, some in mine.items()
                for c, s in some.items()
            ):
                self.arms[place].append(label)
                break
        else:
            place = len(self.columns)
            self.columns.append({})
            self.arms.append([label])
            self.models.append(model)
        for at, some in mine.items():
            self.columns[place].setdefault(at, {}).update(some)

    def of(self, sample: SampleRow) -> list[float | int | None]:
        """A candidate's value in each column of its model."""
        at = sample.problem, sample.seed
        return [
            _number(column.get(at, {}).get(sample.number))
            for column, model in zip(self.columns, self.models, strict=True)
            if model == sample.model
        ]


def contents(results: Results, summary: Mapping[str, Any], limit: int = LIMIT) -> dict[str, Any]:
    """What the page holds, as plain values.

    ``strings`` are all texts; a problem has its ``name``, ``question``, ``reference`` (numbers of
    strings), ``bin`` (a number or ``None``), ``runs`` (for each arm the rows of ``_run``) and
    ``answers`` (groups of candidates: see ``_answers``).  ``left`` counts what is not in the page.
    """
    labels = [arm["label"] for arm in summary["arms"]]
    strings, scores = Strings(), Scores()
    runs: dict[str, dict[str, list[RunRow]]] = defaultdict(lambda: defaultdict(list))
    of_arm: dict[str, list[RunRow]] = defaultdict(list)
    for run in results.runs:
        runs[run.problem][run.arm].append(run)
        of_arm[run.arm].append(run)
    for arm in results.arms:
        scores.add(arm.label, arm.model, of_arm[arm.label])
    samples: dict[str, list[SampleRow]] = defaultdict(list)
    for sample in results.samples:
        samples[sample.problem].append(sample)
    models = list(
        dict.fromkeys([*(a.model for a in results.arms), *(s.model for s in results.samples)])
    )
    bins = _bins(summary)

    rest = {
        "version": outthink.__version__,
        "task": task_name(results.facts),
        "facts": results.facts,
        "summary": {k: v for k, v in summary.items() if k != "facts"},
        "models": models,
        "scores": [
            {"model": models.index(m), "arms": arms}
            for m, arms in zip(scores.models, scores.arms, strict=True)
        ],
    }
    used = len(encode(rest).encode())
    kept: list[tuple[int, dict[str, Any], list[list[SampleRow]]]] = []
    # half of the page is for the problems themselves, the other half for candidates and their texts
    for place, name in _telling(results.problems, runs):
        groups = _grouped(samples[name])
        entry = {
            "name": name,
            "question": strings.add(results.questions.get(name)),
            "reference": strings.add(results.references.get(name)),
            "bin": bins.get(name),
            "runs": [[_run(run, strings) for run in runs[name][label]] for label in labels],
            "answers": [_answer(group, models, scores, strings) for group in groups],
        }
        size = len(encode(entry).encode())
        if kept and used + size + strings.size > limit / 2:
            break
        used += size
        kept.append((place, entry, groups))
    kept.sort(key=lambda item: item[0])
    shown, texts = _fill(kept, scores, strings, limit - used)
    total = sum(len(group) for _, _, groups in kept for group in groups)
    return {
        **rest,
        "problems": [entry for _, entry, _ in kept],
        "strings": list(strings.numbers),
        "left": {
            "problems": len(results.problems) - len(kept),
            "candidates": total - shown,
            "texts": shown - texts,
            "cut": strings.cut,
            "limit": limit,
            "characters": TEXT,
        },
    }


def _bins(summary: Mapping[str, Any]) -> dict[str, int]:
    bins = summary["bins"]["bins"] if summary["bins"] else []
    return {name: i for i, b in enumerate(bins) for name in b["names"]}


def _telling(
    problems: Sequence[str], runs: Mapping[str, Mapping[str, Sequence[RunRow]]]
) -> list[tuple[int, str]]:
    """The problems and their places, those first that the arms' runs disagree on most."""

    def agreement(item: tuple[int, str]) -> float:
        some = runs.get(item[1], {}).values()
        right = [run.right for of_arm in some for run in of_arm if run.right is not None]
        return abs(sum(right) / len(right) - 0.5) if right else 1.0

    return sorted(enumerate(problems), key=agreement)


def _run(run: RunRow, strings: Strings) -> Row:
    """Seed, 1 right 0 wrong -1 failed, answer, confidence, tokens, calls, stopped, error, candidates."""
    return [
        run.seed,
        -1 if run.right is None else int(run.right),
        strings.add(run.answer),
        _number(run.confidence),
        run.completion_tokens,
        run.calls,
        strings.add(run.stopped),
        strings.add(run.error),
        len(run.candidates),
    ]


def _grouped(samples: Sequence[SampleRow]) -> list[list[SampleRow]]:
    """Candidates of a problem by model and answer, most frequent first.

    A group is known within one seed; groups of several seeds are one where their first answers
    are the same text.
    """
    names: dict[tuple[str, int, int], str | None] = {}
    found: dict[tuple[str, str | None, bool], list[SampleRow]] = {}
    for s in samples:
        said = names.setdefault((s.model, s.seed, s.group), s.answer) if s.group >= 0 else None
        found.setdefault((s.model, said, s.right), []).append(s)
    order = list(dict.fromkeys(s.model for s in samples))

    def most(group: list[SampleRow]) -> tuple[int, int]:
        return order.index(group[0].model), -sum(s.count for s in group)

    return sorted(found.values(), key=most)


def _answer(
    group: Sequence[SampleRow], models: Sequence[str], scores: Scores, strings: Strings
) -> dict[str, Any]:
    """An answer of a model: how often, mean tokens, highest scores, mean log probability."""
    first, count = group[0], sum(s.count for s in group)
    logprobs = [s.logprob for s in group if s.logprob is not None and math.isfinite(s.logprob)]
    columns = zip(*(scores.of(s) for s in group), strict=True)
    known = [[v for v in column if v is not None] for column in columns]
    return {
        "model": models.index(first.model),
        "answer": strings.add(first.answer if first.group >= 0 else None),
        "right": int(first.right),
        "count": count,
        "distinct": len(group),
        "tokens": _number(sum(s.tokens * s.count for s in group) / count),
        "scores": [max(column) if column else None for column in known],
        "logprob": _number(sum(logprobs) / len(logprobs)) if logprobs else None,
        "rows": [],
    }


def _fill(
    kept: Sequence[tuple[int, dict[str, Any], list[list[SampleRow]]]],
    scores: Scores,
    strings: Strings,
    room: int,
) -> tuple[int, int]:
    """Put candidates into the problems' answers while there is room; how many, and with text.

    A row is: seed, how often it was drawn, tokens, log probability, the number of its text or -1, scores.
    """
    waiting = [
        (rank, place, g, sample)
        for place, (_, _, groups) in enumerate(kept)
        for g, group in enumerate(groups)
        for rank, sample in enumerate(group)
    ]
    waiting.sort(key=lambda item: item[:3])
    room -= strings.size
    shown = texts = 0
    for _, place, g, s in waiting:
        row: Row = [s.seed, s.count, s.tokens, _number(s.logprob), -1, *scores.of(s)]
        # twelve bytes: the comma, and the number of a text in place of -1
        size = len(encode(row)) + 12
        if size > room:
            break
        room -= size
        cost = strings.cost(s.text)
        if cost <= room:
            room -= cost
            row[4] = strings.add(s.text)
            texts += 1
        kept[place][1]["answers"][g]["rows"].append(row)
        shown += 1
    return shown, texts
