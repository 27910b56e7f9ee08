"""Recorded samples as ``Pools``: from files of any shape, from the sets of the paper shelf, from a bench,
from the store.

A file has one row a sample, or one row a problem with lists:

    problem   answer   right   tokens   score          problem   answers[]   correct[]   score[]

Equal answers are those with one normal form (``outthink.verify.extract.canonical_answer``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.lab.pools import Pools
from outthink.lab.records import Results
from outthink.lab.rows import Row, Table, read_table, text_of_value
from outthink.select.aggregate import AGGREGATES, aggregate
from outthink.verify.extract import TextReader, canonical_answer
from outthink.verify.reference import exact_match

if TYPE_CHECKING:
    from outthink.store.db import Store, StoredRun

#: the usual names of columns, the likeliest first; ``texts`` are whole texts, answers are read from them
COLUMNS = {
    "problem": ("problem", "question", "problem_id", "question_id", "task_id", "id", "idx"),
    "answer": ("answers", "predictions", "preds", "answer", "prediction", "pred"),
    "text": ("completions", "responses", "generations", "texts", "completion", "response", "text"),
    "right": ("right", "correct", "is_correct"),
    "reference": ("reference", "gold", "ground_truth", "target", "answer"),
    "tokens": ("tokens", "completion_tokens", "total_tokens"),
    "count": ("count",),
}


@dataclass(frozen=True)
class Drawn:
    """One recorded sample; ``answer`` is what was read from it, ``None`` for nothing."""

    problem: str
    answer: str | None
    right: bool
    tokens: float = 1.0
    scores: Mapping[str, float] = field(default_factory=dict)


@lru_cache(maxsize=1 << 16)
def normal(answer: str) -> str:
    """``canonical_answer``, remembered: most recorded answers come many times."""
    return canonical_answer(answer)


def from_samples(
    samples: Iterable[Drawn],
    unit: str = "tokens",
    name: str = "",
    form: Callable[[str], str] = normal,
) -> Pools:
    """Pools of samples, problems in order of first appearance; equal answers have one ``form``."""
    by_problem: dict[str, list[Drawn]] = {}
    for sample in samples:
        by_problem.setdefault(sample.problem, []).append(sample)
    if not by_problem:
        raise BadInput(f"{name or 'the pools'}: there are no samples")
    groups = [_classes([s.answer for s in some], form) for some in by_problem.values()]
    return _filled(list(by_problem), list(by_problem.values()), groups, unit, name)


def _classes(answers: Sequence[str | None], form: Callable[[str], str] = normal) -> list[int]:
    """Classes of equal forms, in order of first appearance."""
    known: dict[str, int] = {}
    return [-1 if a is None else known.setdefault(form(a), len(known)) for a in answers]


def _filled(
    names: Sequence[str],
    rows: Sequence[Sequence[Drawn]],
    groups: Sequence[Sequence[int]],
    unit: str,
    name: str,
) -> Pools:
    """Columns from lists, one of samples and one of their classes for each problem."""
    shape = len(rows), max(map(len, rows))
    classes = np.full(shape, -1, dtype=np.int32)
    right, present = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    tokens = np.zeros(shape)
    columns = dict.fromkeys(column for row in rows for s in row for column in s.scores)
    scores = {column: np.full(shape, np.nan) for column in columns}
    for p, (row, group) in enumerate(zip(rows, groups, strict=True)):
        n = len(row)
        classes[p, :n], present[p, :n] = group, True
        right[p, :n] = [s.right for s in row]
        tokens[p, :n] = [s.tokens for s in row]
        for column, values in scores.items():
            values[p, :n] = [s.scores.get(column, np.nan) for s in row]
    return Pools(classes, right, tokens, present, tuple(names), scores, unit, name)


# -- files ---------------------------------------------------------------------------------------------


def read_pools(
    path: str | Path,
    *,
    problem: str | None = None,
    answer: str | None = None,
    right: str | None = None,
    tokens: str | None = None,
    scores: Sequence[str] | None = None,
    unit: str = "tokens",
) -> Pools:
    """Pools from a JSON, JSON-lines, CSV (each also ``.gz``) or Parquet file.

    Columns that are not named are found by their usual names (``COLUMNS``; scores: those with
    ``score``, ``reward`` or ``logprob`` in the name).  Without a column of what is right, a sample is
    right whose answer has the normal form of the reference.  A row of one sample may have a ``count`` of
    as many like it.  Without tokens each sample costs 1, and
    the unit is ``samples``.  Raises ``BadInput`` that names the file and the row, from 1 on.
    """
    table = read_table(str(path), "pools")
    given = {"problem": problem, "answer": answer, "right": right, "tokens": tokens}
    reader = _Columns(table, {role: name for role, name in given.items() if name}, scores)
    drawn = [s for number, row in enumerate(table.rows, 1) for s in reader.samples(row, number)]
    return from_samples(drawn, unit if reader.tokens else "samples", Path(path).name)


class _Columns:
    """Which column of a table is what."""

    def __init__(
        self, table: Table, given: Mapping[str, str], scores: Sequence[str] | None
    ) -> None:
        self.table = table
        for name in (*given.values(), *(scores or ())):
            if name not in table.columns:
                raise table.wrong(f"has no column {name!r}{nearest(name, table.columns)}")
        row = table.rows[0]

        def find(role: str, *but: str | None) -> str | None:
            names = [c for c in COLUMNS[role] if c in table.columns and c not in but]
            lists = [c for c in names if isinstance(row.get(c), list)]
            return given.get(role) or next(iter(lists or names), None)

        read, text = find("answer"), find("text")
        # of a single answer beside a list of texts, the answer is the reference
        whole = text and "answer" not in given and isinstance(row.get(text), list)
        self.reads = bool(read is None or (whole and not isinstance(row.get(read), list)))
        self.answer = text if self.reads else read
        self.problem = find("problem")
        self.right, self.tokens, self.count = find("right"), find("tokens"), find("count")
        self.reference = find("reference", self.answer)
        self.lists = isinstance(row.get(self.answer or ""), list)
        kinds = ("score", "reward", "logprob")
        self.scores = (
            scores
            if scores is not None
            else [
                c
                for c in table.columns
                if any(k in c.lower() for k in kinds) and self._plain(row, c)
            ]
        )
        for role, found in (("problem", self.problem), ("answer", self.answer)):
            if found is None:
                listed = ", ".join(table.columns[:40])
                raise table.wrong(
                    f"has no column for the {role}; its columns are {listed}; write {role}='COLUMN'"
                )
        if self.right is None and self.reference is None:
            raise table.wrong(
                "says neither what is right nor what the right answer is: write right='COLUMN'"
            )

    def _plain(self, row: Row, column: str) -> bool:
        """Does a column hold one number a sample?"""
        value = row.get(column)
        if isinstance(value, list) and self.lists:
            value = value[0] if value else None
        try:
            return value is not None and not isinstance(value, bool) and float(value) is not None
        except (TypeError, ValueError):
            return False

    def samples(self, row: Row, number: int) -> Iterable[Drawn]:
        """The samples of a row."""
        name = text_of_value(row.get(self.problem or ""))
        if name is None:
            raise self.table.wrong(f"has no {self.problem}", number)
        answers = row.get(self.answer or "")
        if not self.lists:
            times = self._number(row, self.count, number) if self.count else 1.0
            if times < 1 or times != int(times):
                raise self.table.wrong(f"has {times:g} in {self.count}: a whole number", number)
            return [self._sample(name, row, number)] * int(times)
        if not isinstance(answers, list):
            raise self.table.wrong(f"has no list in {self.answer}", number)
        if not answers:
            raise self.table.wrong(f"has no samples in {self.answer}: leave such rows out", number)
        wide = [c for c in (self.answer, self.right, self.tokens, *self.scores) if c]
        for column in wide:
            value = row.get(column)
            if not isinstance(value, list) or len(value) != len(answers):
                held = f"{len(value)} values" if isinstance(value, list) else "no list"
                raise self.table.wrong(
                    f"has {len(answers)} samples in {self.answer} and {held} in {column}", number
                )
        return [
            self._sample(name, {**row, **{c: row[c][i] for c in wide}}, number)
            for i in range(len(answers))
        ]

    def _sample(self, name: str, row: Row, number: int) -> Drawn:
        answer = text_of_value(row.get(self.answer or ""))
        if self.reads and answer is not None:
            answer = TextReader().extract(answer)
        if self.right is not None:
            right = self._truth(row.get(self.right), number)
        else:
            reference = text_of_value(row.get(self.reference or ""))
            if reference is None:
                raise self.table.wrong(f"has no {self.reference}", number)
            right = answer is not None and normal(answer) == normal(reference)
        tokens = self._number(row, self.tokens, number) if self.tokens else 1.0
        scores = {c: self._number(row, c, number, absent=True) for c in self.scores}
        return Drawn(name, answer, right, tokens, scores)

    def _truth(self, value: Any, number: int) -> bool:
        word = str(value).strip().lower()
        if word in ("true", "1", "1.0", "yes"):
            return True
        if word in ("false", "0", "0.0", "no"):
            return False
        raise self.table.wrong(f"has {value!r:.60} in {self.right}: write true or false", number)

    def _number(self, row: Row, column: str, number: int, absent: bool = False) -> float:
        value = row.get(column)
        if absent and value in (None, ""):
            return float("nan")
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self.table.wrong(
                f"has {value!r:.60} in {column}, which is no number", number
            ) from None


# -- the recorded sets -----------------------------------------------------------------------------------


def known_set(name: str, folder: str | Path) -> Pools:
    """One of the recorded sets (``KNOWN``), from the folder that holds them all, each in its own.

    Costs are characters where no tokens were recorded: see ``unit``.  In the ``zeroeval`` sets and
    ``gsm8k_verifier`` the samples of a problem are those of different models, one of each that answered.
    """
    if name not in KNOWN:
        raise BadInput(f"no recorded set {name!r}{nearest(name, KNOWN)}")
    known = KNOWN[name]
    file = Path(folder) / known.file
    if not file.exists():
        raise BadInput(f"{name}: there is no {file}: name the folder of the recorded sets")
    drawn = known.drawn(read_table(str(file), name).rows)
    return from_samples(drawn, known.unit, name, known.form)


def _last_letters(rows: Sequence[Row]) -> Iterable[Drawn]:
    for r in rows:
        yield Drawn(str(r["problem"]), r["answer"] or None, bool(r["correct"]), r["chars"])


def _game24(prompt: str) -> Callable[[Sequence[Row]], Iterable[Drawn]]:
    def drawn(rows: Sequence[Row]) -> Iterable[Drawn]:
        for r in rows:
            if r["prompt"] == prompt:
                said = None if r["expr"] in ("", "none") else r["expr"]
                yield Drawn(r["puzzle"], said, bool(r["correct_recomputed"]), r["chars"])

    return drawn


def _humaneval(rows: Sequence[Row]) -> Iterable[Drawn]:
    """Equal programs are one answer; the share of the model's own tests that one passes is its score."""
    for r in rows:
        tests = {"tests": r["gen_tests_passed"] / r["gen_tests"]} if r["gen_tests"] else {}
        name = f"HumanEval/{r['problem']}"
        yield Drawn(name, str(r["solution_id"]), bool(r["correct"]), r["chars"], tests)


def _prm_math(which: str) -> Callable[[Sequence[Row]], Iterable[Drawn]]:
    def drawn(rows: Sequence[Row]) -> Iterable[Drawn]:
        numbers = TextReader("number")
        for r in rows:
            if r["set"] == which:
                lengths = r.get("completion_tokens") or map(len, r["completions"])
                for text, steps, length in zip(r["completions"], r["scores"], lengths, strict=True):
                    said = TextReader().extract(text) or numbers.extract(text)
                    right = said is not None and normal(said) == normal(r["answer"])
                    scores = {how: aggregate(steps, how) for how in AGGREGATES}
                    yield Drawn(r["unique_id"], said, right, length, scores)

    return drawn


def _zeroeval(rows: Sequence[Row]) -> Iterable[Drawn]:
    for r in sorted(rows, key=lambda r: str(r["model"])):
        said = text_of_value(r["answer"])
        yield Drawn(r["problem"], said, bool(r["correct"]), r["out_chars"])


def _verified(rows: Sequence[Row]) -> Iterable[Drawn]:
    """One of each model, then the one of a hundred that its verifier ranked first."""
    for r in rows:
        for kind in ("6b_finetuning", "175b_finetuning", "6b_verification", "175b_verification"):
            text, right = r[kind]["solution"], bool(r[kind]["is_correct"])
            said = text.rpartition("A:")[2].strip() if "A:" in text else None
            yield Drawn(r["question"], said or None, right, len(text))


class Known(NamedTuple):
    """A recorded set: its file, what reads the rows, what costs are counted in, which answers are equal."""

    file: str
    drawn: Callable[[Sequence[Row]], Iterable[Drawn]]
    unit: str = "characters"
    form: Callable[[str], str] = normal


KNOWN: dict[str, Known] = {
    "esc_last_letters": Known("esc_last_letters/samples.parquet", _last_letters),
    "tot_game24_io": Known("tot_game24/samples.parquet", _game24("io")),
    "tot_game24_cot": Known("tot_game24/samples.parquet", _game24("cot")),
    "codet_humaneval": Known("codet_humaneval/samples.parquet", _humaneval),
    "prm_bon_math_n256": Known("prm_bon_math/best_of_n.jsonl.gz", _prm_math("n256")),
    "prm_bon_math_n4": Known("prm_bon_math/best_of_n.jsonl.gz", _prm_math("n4"), "tokens"),
    "gsm8k_verifier": Known("gsm8k_verifier/example_model_solutions.jsonl.gz", _verified),
    "zeroeval_gsm": Known("zeroeval_gsm/answers.parquet", _zeroeval),
    "zeroeval_math_l5": Known("zeroeval_math_l5/answers.parquet", _zeroeval),
    "zeroeval_numersense_v2": Known("zeroeval_numersense_v2/answers.parquet", _zeroeval),
    # what a program prints is equal only letter by letter
    "zeroeval_crux": Known("zeroeval_crux/answers.parquet", _zeroeval, form=str.strip),
}


# -- a bench, the store ----------------------------------------------------------------------------------


def from_results(results: Results, arm: str) -> Pools:
    """The candidates of an arm's runs: a row for each problem and seed, under the problem's name.

    ``score`` holds the verifier's values where the arm has one, ``logprob`` the model's.  A run that
    failed has no row.
    """
    labels = [a.label for a in results.arms]
    if arm not in labels:
        raise BadInput(f"no arm {arm!r}{nearest(arm, labels)}")
    model = results.arm(arm).model
    known = {(s.problem, s.seed, s.number): s for s in results.samples if s.model == model}
    names, rows, groups = [], [], []
    for run in results.of(arm):
        if run.right is None:
            continue
        if not run.candidates:
            raise BadInput(
                f"{arm}: the run of {run.problem!r:.60} with seed {run.seed} ended without a sample "
                f"({run.stopped}), and pools without it would look too good: take an arm whose runs "
                "all have candidates"
            )
        found = [known.get((run.problem, run.seed, number)) for number in run.candidates]
        candidates = [s for s in found if s is not None]
        if len(candidates) < len(found):
            raise BadInput(
                f"{arm}: the samples of {run.problem!r} with seed {run.seed} are not among the results"
            )
        drawn = []
        for i, s in enumerate(candidates):
            scores = {"score": run.scores[i]} if run.scores else {}
            if s.logprob is not None:
                scores["logprob"] = s.logprob
            drawn.append(Drawn(run.problem, s.answer, s.right, s.tokens, scores))
        order: dict[int, int] = {}
        groups.append(
            [-1 if s.group < 0 else order.setdefault(s.group, len(order)) for s in candidates]
        )
        names.append(run.problem)
        rows.append(drawn)
    if not rows:
        raise BadInput(f"{arm}: no run of it has candidates")
    return _filled(names, rows, groups, "tokens", arm)


def from_store(url: str | None = None, strategy: str | None = None) -> Pools:
    """The whole texts of finished runs of one strategy spec: a row for each run, under its question.

    ``url`` is the default store where it is not given, ``strategy`` may be left out where the store
    has one.  Runs whose problem has no reference are left out, and so is a run that was made again
    with the same model and seed (the newest counts); a sample is right whose answer has the
    reference's normal form.
    """
    with ThreadPoolExecutor(1) as beside:  # a loop may run in this thread, as in a notebook
        return beside.submit(anyio.run, _stored, url, strategy).result()


async def _stored(url: str | None, strategy: str | None) -> Pools:
    from outthink.store import default_url, open_store

    async with await open_store(url or default_url()) as store:
        return await _from_runs(store, strategy)


async def _from_runs(store: Store, strategy: str | None) -> Pools:
    shown = store.address.shown
    runs = [r for r in await store.list_runs(None) if r.answer is not None]
    specs = list(dict.fromkeys(r.strategy for r in runs))
    if strategy is None and len(specs) > 1:
        raise BadInput(
            f"the store {shown} has runs of several strategies: name one of {specs[:20]}"
        )
    wanted = strategy if strategy is not None else next(iter(specs), "")
    if wanted not in specs:
        raise BadInput(
            f"the store {shown} has no finished run of {wanted!r}{nearest(wanted, specs)}"
        )
    newest: dict[tuple[str, str, int], StoredRun] = {}
    for run in runs:
        if run.strategy == wanted:
            newest.setdefault((run.model, run.question, run.seed), run)
    names, rows, groups = [], [], []
    for run in reversed(newest.values()):
        reference = text_of_value(run.problem.get("reference"))
        if reference is None:
            continue
        samples = await store.samples_of(run)
        extended = {s.parent for s in samples}
        drawn = []
        for s in samples:
            if s.role == "main" and s.finish not in ("step", "root") and s.node not in extended:
                right = s.answer is not None and exact_match(s.answer, reference)
                scores = {name: values[0] for name, values in s.scores.items() if values}
                drawn.append(Drawn(run.question, s.answer, right, s.total_tokens, scores))
        if drawn:
            names.append(run.question)
            rows.append(drawn)
            groups.append(_classes([s.answer for s in drawn]))
    if not rows:
        raise BadInput(f"the store {shown}: no run of {wanted} has samples and a reference")
    return _filled(names, rows, groups, "tokens", wanted)
