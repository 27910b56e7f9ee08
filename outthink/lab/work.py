"""One group of a bench: every arm of a model on one problem with one seed.

The arms of a group run one after another with the same seed, the widest first, so that they share
their samples: sample i of one is sample i of the other, and the store gives it for nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from outthink.api import Session
from outthink.core.budget import Budget
from outthink.core.errors import BadInput, NoSuchModel, NotAuthorised, OutthinkError
from outthink.core.nouns import Answer, Problem, Sample, digest
from outthink.core.registry import build
from outthink.core.run import Run
from outthink.lab.grade import grade, held
from outthink.lab.records import Arm, RunRow, SampleRow
from outthink.verify.extract import TextReader, reader_for


@dataclass(frozen=True)
class Group:
    """A unit of work, and what came of it."""

    model: str
    problem: str
    seed: int
    runs: tuple[RunRow, ...] = ()
    samples: tuple[SampleRow, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """What names it."""
        return self.model, self.problem, self.seed


def seed_of(problem: Problem, seed: int) -> int:
    """The seed of a run: of the question and the repeat alone, so that all arms share samples."""
    text = f"{digest(problem.question)}/{seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def width_of(arm: Arm) -> float:
    """How many samples an arm draws at most, as far as its parameters say."""
    n = getattr(build(arm.strategy, "strategy"), "n", 1)
    return float(n) if isinstance(n, (int, float)) else 1.0


async def run_group(
    session: Session,
    model: str,
    problem: Problem,
    seed: int,
    arms: Sequence[Arm],
    reader: str | None,
) -> Group:
    """Run every arm; a run that fails is a row with its error.

    Raises what would make every other run fail too: a wrong key, a model that is not there.
    """
    made = _Group(model, problem, seed, reader_for(problem, reader))
    for arm in sorted(arms, key=lambda a: (-width_of(a), a.label)):
        await made.run(session, arm)
    return await made.finish(arms)


class _Group:
    """What a group gathers while its arms run."""

    def __init__(self, model: str, problem: Problem, seed: int, reader: TextReader) -> None:
        self.model, self.problem, self.seed, self.reader = model, problem, seed, reader
        #: each distinct text with a sample that has it, in order of first appearance
        self.texts: dict[str, Sample | None] = {}
        #: where in the tree of samples each text was written
        self.places: dict[str, set[tuple[int, ...]]] = {}
        self.drawn: set[tuple[str, tuple[int, ...], str]] = set()
        self.done: dict[str, tuple[RunRow, Answer | None]] = {}

    async def run(self, session: Session, arm: Arm) -> None:
        started: list[Run] = []
        row = RunRow(arm.label, self.problem.id, self.seed, None)
        try:
            given = await session.solve(
                self.problem,
                arm.strategy,
                Budget.parse(arm.budget),
                seed=seed_of(self.problem, self.seed),
                run=self.name_of(arm, session.model.name),
                on_start=started.append,
            )
            answer = _checked(given)
        except (NotAuthorised, NoSuchModel):
            raise
        except Exception as error:
            known = isinstance(error, OutthinkError)
            told = str(error) if known else f"{type(error).__name__}: {error}"
            self.done[arm.label] = (
                replace(row, stopped="failed", error=" ".join(told.split())),
                None,
            )
            return
        fresh = 0
        for sample in started[0].world.samples.values() if started else ():
            place = (sample.role, sample.node, digest(sample.text))
            if place not in self.drawn:
                self.drawn.add(place)
                fresh += sample.tokens
        for sample in answer.candidates:
            if self.texts.get(sample.text) is None:
                self.texts[sample.text] = sample
            self.places.setdefault(sample.text, set()).add(sample.node)
        self.texts.setdefault(answer.text, None)
        usage = answer.usage
        row = replace(
            row,
            answer=answer.answer,
            confidence=answer.confidence,
            stopped=answer.stopped,
            # an answer that was reached all the same is no measurement of the strategy
            error="; ".join(answer.notes) or "ended early" if answer.stopped == "error" else None,
            calls=usage.calls,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            new_tokens=fresh,
            seconds=usage.seconds,
            critical_seconds=answer.critical_seconds,
            usd=usage.usd,
            flops=usage.flops,
            scores=_scores(answer),
        )
        self.done[arm.label] = (row, answer)

    def name_of(self, arm: Arm, model: str) -> str:
        """The name of the run in the store: the same when it is run again."""
        asked = (arm.strategy, arm.budget, model, self.problem.question, self.reader, self.seed)
        return digest("/".join(map(str, asked)))[:12]

    def read(self, text: str) -> str | None:
        """The answer in a text of the group, which may have been cut short."""
        sample = self.texts.get(text)
        return self.reader.extract(text, cut=sample is not None and sample.finish == "length")

    async def finish(self, arms: Sequence[Arm]) -> Group:
        texts = list(self.texts)
        right = dict(zip(texts, await grade(self.problem, texts, self.reader), strict=True))
        answers = [self.read(text) for text in texts]
        groups = await self.reader.group(answers)
        number = {text: i for i, text in enumerate(texts)}
        runs = []
        for arm in arms:
            row, answer = self.done[arm.label]
            if answer is not None:
                found = (
                    None
                    if row.error
                    else not held(answer, self.reader) and bool(right[answer.text])
                )
                candidates = tuple(number[s.text] for s in answer.candidates)
                row = replace(row, right=found, candidates=candidates)
            runs.append(row)
        samples = tuple(
            SampleRow(
                self.model,
                self.problem.id,
                self.seed,
                i,
                text,
                answers[i],
                int(groups[i]),
                bool(right[text]),
                sample.total_tokens,
                sample.total_logprob,
                len(self.places[text]),
            )
            for i, (text, sample) in enumerate(self.texts.items())
            if sample is not None
        )
        return Group(self.model, self.problem.id, self.seed, tuple(runs), samples)


def _checked(answer: Answer) -> Answer:
    """The answer with plain numbers; ``BadInput`` where a strategy put something else into it."""
    if not isinstance(answer.text, str) or not isinstance(answer.answer, (str, type(None))):
        raise BadInput(f"the strategy's answer {answer.answer!r:.80} is no text")
    sure = answer.confidence
    try:
        sure = None if sure is None or sure != sure else float(sure)
        scores = {k: tuple(map(float, v)) for k, v in answer.scores.items()}
    except (TypeError, ValueError) as error:
        raise BadInput(f"the strategy's confidence and scores are numbers: {error}") from None
    return replace(answer, confidence=sure, scores=scores)


def _scores(answer: Answer) -> tuple[float, ...]:
    """The verifier's value of each candidate, where one gave any."""
    for values in answer.scores.values():
        if len(values) == len(answer.candidates):
            return tuple(v if math.isfinite(v) else math.nan for v in values)
    return ()
