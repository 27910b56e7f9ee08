"""What a reproduction is, what it may use, and what it leaves.

``Reproduction`` declares claims with their rules and costs; its ``measure`` gives ``Findings``, numbers
only; ``reproduce`` applies the rules and makes an ``Outcome``.  The code that measures never sees a
verdict.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import outthink
from outthink import systems
from outthink.core.budget import Usage
from outthink.core.errors import BadInput, WorldError
from outthink.lab.stats import Estimate
from outthink.reproduce.rules import Overall, Rule, Verdict, overall

if TYPE_CHECKING:
    from outthink.lab.pools import Pools
    from outthink.tasks.base import TaskProblem
    from outthink.train.evaluate import Result

#: a label, how many are done, how many there are
Progress = Callable[[str, int, int], None]
FORMAT = 1
#: a line through points, a dashed line alone, points alone
Style = Literal["line", "dashed", "dots"]


@dataclass(frozen=True)
class Claim:
    """One published claim and how it is put to the test here.

    ``text`` is the claim in a sentence, ``published`` its number as printed, ``source`` where (paper,
    table or figure); ``setting`` says on what it is tried here, ``statistic`` what is computed.
    """

    text: str
    published: str
    source: str
    setting: str
    statistic: str
    rule: Rule


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take: model calls, completion tokens, seconds on two cores."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 1.0

    def __str__(self) -> str:
        took = f"{self.seconds / 60:.0f} min" if self.seconds >= 120 else f"{self.seconds:.0f} s"
        return f"{self.calls:,} calls, {self.tokens:,} tokens, about {took}"


@dataclass(frozen=True)
class Line:
    """A curve: points, with 95 % intervals where ``low`` and ``high`` are given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: Style = "line"


@dataclass(frozen=True)
class Panel:
    """One set of axes of the plot."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log: bool = True
    log_y: bool = False


@dataclass
class Findings:
    """What was measured: an estimate for each claim, tables (rows of plain values), panels, notes."""

    measured: Mapping[str, Estimate]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    panels: Sequence[Panel] = ()
    notes: Sequence[str] = ()


@dataclass
class Trial:
    """What a measurement may use: the recorded sets, a store for its calls, random numbers.

    ``quick`` asks for the same statistics from little: CI runs it in seconds.  ``models`` and ``spent``
    fill with the names of the models that ran and what they took, stored calls included.
    """

    ident: str
    quick: bool = False
    data: Path | None = None
    seed: int = 0
    out: Path = Path("reproductions")
    progress: Progress | None = None
    models: set[str] = field(default_factory=set)
    spent: Usage = field(default_factory=Usage)

    @property
    def draws(self) -> int:
        """Resamples of a bootstrap."""
        return 200 if self.quick else 2000

    def rng(self) -> np.random.Generator:
        """Fresh random numbers, the same at each call."""
        return np.random.default_rng(self.seed)

    def folder(self, name: str) -> Path:
        """The folder of a recorded set; ``WorldError`` where it is not there."""
        folder = self.data / name if self.data is not None else None
        if folder is None or not folder.is_dir():
            raise WorldError(f"needs the recorded set {name}; name its folder: --data FOLDER")
        return folder

    def pools(self, name: str) -> Pools:
        """A recorded set as ``outthink.lab.recorded.known_set`` has it."""
        from outthink.lab.recorded import known_set

        return known_set(name, self.data or Path())

    def run(
        self,
        label: str,
        strategies: Sequence[str | tuple[str, str]],
        problems: Sequence[TaskProblem],
        model: str = "fly",
    ) -> list[Result]:
        """Strategies (or pairs of strategy and budget) live on the same problems.

        Every call goes through a store in the output folder: a run that was stopped goes on from
        there, and a full run has the calls of a quick one for nothing.
        """
        import anyio

        from outthink.core.registry import build
        from outthink.train.evaluate import Contender, measure

        contenders = [
            Contender(s, s) if isinstance(s, str) else Contender(" within ".join(s), *s)
            for s in strategies
        ]
        self.models.add(build(model, "model").open().name)
        store = self.out / "calls" / f"{self.ident}.db"
        store.parent.mkdir(parents=True, exist_ok=True)

        def step(done: int, total: int) -> None:
            if self.progress:
                self.progress(label, done, total)

        async def main() -> list[Result]:
            return await measure(
                contenders, problems, model=model, store=str(store), seed=self.seed, progress=step
            )

        results = anyio.run(main)
        for result in results:
            self.spent = sum((a.usage for a in result.answers), self.spent)
        return results


@dataclass(frozen=True)
class Reproduction:
    """The claims of one system, and the function that measures them.

    ``claims`` maps a short key to each; ``measure`` gives an estimate for every key.  ``sets`` names
    the recorded sets it reads (folders of ``--data``).
    """

    ident: str
    claims: Mapping[str, Claim]
    measure: Callable[[Trial], Findings]
    full: Cost
    quick: Cost
    sets: Sequence[str] = ()

    def __post_init__(self) -> None:
        systems.find(self.ident)
        if not self.claims:
            raise BadInput(f"{self.ident}: a reproduction makes at least one claim")

    @property
    def name(self) -> str:
        """The system's name."""
        return str(systems.find(self.ident)["name"])

    def lacks(self, data: Path | None) -> str:
        """What it cannot run without, in words; empty where nothing is missing."""
        absent = [s for s in self.sets if data is None or not (data / s).is_dir()]
        if absent:
            what = "sets" if len(absent) > 1 else "set"
            return f"needs the recorded {what} {', '.join(absent)}; --data FOLDER"
        if self.sets and find_spec("pyarrow") is None:
            return "needs pyarrow to read recorded sets: pip install 'outthink[lab]'"
        return ""


@dataclass(frozen=True)
class Judged:
    """A claim with what was measured and the verdict, in plain values."""

    key: str
    text: str
    published: str
    source: str
    setting: str
    statistic: str
    rule: str
    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """A reproduction that has run."""

    ident: str
    name: str
    quick: bool
    seed: int
    date: str
    seconds: float
    calls: int
    stored_calls: int
    tokens: int
    versions: Mapping[str, str]
    claims: tuple[Judged, ...]
    tables: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Overall:
        """What its claims come to."""
        return overall(c.verdict for c in self.claims)

    @property
    def summary(self) -> str:
        """The verdict with the numbers behind it, such as "holds in part (4 hold, 1 cannot tell)"."""
        words: dict[Verdict, str]
        words = {"holds": "hold", "does not hold": "do not", "cannot tell": "cannot tell"}
        found = Counter(c.verdict for c in self.claims)
        told = ", ".join(f"{found[v]} {word}" for v, word in words.items() if found[v])
        return f"{self.verdict} ({told}){', quick: not for the record' if self.quick else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"format": FORMAT, "verdict": self.verdict, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Outcome:
        """From plain values; ``BadInput`` where they are of another format."""
        if found.get("format") != FORMAT:
            raise BadInput(f"a result of format {found.get('format')!r}: this reads {FORMAT}")
        values = {k: v for k, v in found.items() if k not in ("format", "verdict")}
        values["claims"] = tuple(Judged(**_numbers(row)) for row in values["claims"])
        values["panels"] = tuple(
            Panel(**{**p, "lines": tuple(Line(**line) for line in p["lines"])})
            for p in values["panels"]
        )
        values["notes"] = tuple(values["notes"])
        return cls(**values)


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is null there is one."""
    return {k: float("nan") if v is None else v for k, v in row.items()}


def reproduce(
    reproduction: Reproduction,
    *,
    quick: bool = False,
    data: Path | None = None,
    seed: int = 0,
    out: Path = Path("reproductions"),
    progress: Progress | None = None,
) -> Outcome:
    """Measure, apply the rules, and say what came out.

    Raises ``WorldError`` where something it needs is missing: that is no verdict.
    """
    lacks = reproduction.lacks(data)
    if lacks:
        raise WorldError(f"{reproduction.ident} cannot run: {lacks}")
    trial = Trial(reproduction.ident, quick, data, seed, out, progress)
    start = time.monotonic()
    found = reproduction.measure(trial)
    seconds = time.monotonic() - start
    if set(found.measured) != set(reproduction.claims):
        odd = set(found.measured) ^ set(reproduction.claims)
        raise BadInput(f"{reproduction.ident}: claims and measurements differ in {sorted(odd)}")
    return Outcome(
        reproduction.ident,
        reproduction.name,
        quick,
        seed,
        datetime.now(UTC).isoformat(timespec="seconds"),
        round(seconds, 1),
        trial.spent.calls,
        trial.spent.stored_calls,
        trial.spent.completion_tokens,
        _versions(trial, reproduction.sets),
        tuple(
            _judge(key, claim, Estimate(*map(float, found.measured[key])))
            for key, claim in reproduction.claims.items()
        ),
        dict(found.tables),
        tuple(found.panels),
        tuple(found.notes),
    )


def _judge(key: str, claim: Claim, measured: Estimate) -> Judged:
    said = (claim.text, claim.published, claim.source, claim.setting, claim.statistic)
    return Judged(key, *said, claim.rule.text, *measured, claim.rule.verdict(measured))


def _versions(trial: Trial, sets: Sequence[str]) -> dict[str, str]:
    """Of the code, of the models that ran, of the recorded sets (their repository's commit)."""
    found = {
        "outthink": outthink.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    found |= {name.partition("@")[0]: name for name in sorted(trial.models)}
    for name in sets:
        source = trial.folder(name) / "SOURCE.txt"
        lines = source.read_text(encoding="utf-8").splitlines() if source.exists() else []
        commit = next((x.partition(":")[2].strip() for x in lines if x.startswith("Commit:")), "")
        found[name] = commit or "no commit named"
    return found
