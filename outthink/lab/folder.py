"""The folder of a bench: what was asked, a journal of what is done, and tables for other programs.

    bench.json       the design, the task and its problems, versions, dates
    journal.jsonl    one line for each finished group (model, problem, seed): its runs and candidates
    results.parquet  one row a run, the fields of ``records.RunRow`` and of its arm
    samples.parquet  one row a candidate, the fields of ``records.SampleRow``
    results.json     the summary (``summary.summarise``)
    calls.db         every call, unless another store was named
    bench.lock       held while a bench works here

The journal is what a bench resumes from and what ``load`` reads; a line is whole or it is not there.
``format`` in ``bench.json``, and in the Parquet files' metadata, is the version of all of them.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput, MissingNeed, StoreError
from outthink.core.nouns import Problem, finite
from outthink.lab.records import FORMAT, Arm, Results, RunRow, SampleRow
from outthink.lab.work import Group
from outthink.store.export import replacing


class Folder:
    """A bench's folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()

    @property
    def store(self) -> str:
        """The store that belongs to the folder."""
        return str(self.path / "calls.db")

    def facts(self) -> dict[str, Any] | None:
        """What ``bench.json`` says; ``None`` where there is none yet."""
        file = self.path / "bench.json"
        try:
            facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BadInput(f"{file} cannot be read: {error}") from None
        wanted = ("design", "arms", "models", "problems", "task", "baseline", "created")
        if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
            raise BadInput(f"{file} is no design of a bench: name another folder")
        if facts["format"] == FORMAT and (lacks := [w for w in wanted if w not in facts]):
            raise BadInput(f"{file} lacks {', '.join(lacks)}: name another folder")
        if facts.get("format") != FORMAT:
            raise BadInput(
                f"{self.path} holds a bench of format {facts.get('format')}, this outthink reads "
                f"{FORMAT}: use the version that wrote it, or another folder"
            )
        return facts

    def begin(self, facts: Mapping[str, Any], problems: Iterable[Problem]) -> None:
        """Write what is asked.  Raises ``BadInput`` where the folder holds a bench of something else."""
        found = self.facts()
        asked = {p.id: {"question": p.question, "reference": p.reference} for p in problems}
        if found is not None:
            models = found["models"]  # one may be added, but none may change
            pairs = [(name, found[name], facts[name]) for name in ("task", "reader")]
            pairs += [(m, models[m], now) for m, now in facts["models"].items() if m in models]
            prints = found.get("fingerprints", {})
            pairs += [
                (s, prints[s], now) for s, now in facts["fingerprints"].items() if s in prints
            ]
            for name, before, now in pairs:
                if before != now:
                    raise BadInput(
                        f"{self.path} holds a bench with {name} {before!r}, not {now!r}: name "
                        "another folder"
                    )
            for name, problem in asked.items():
                if name in found["problems"] and found["problems"][name] != problem:
                    raise BadInput(
                        f"the problem {name!r:.60} is another one in {self.path}: the task has "
                        "changed since; name another folder"
                    )
            facts = {**facts, "created": found["created"]}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be made: {error.strerror or error}") from None
        with replacing(self.path / "bench.json") as beside:
            whole = {**facts, "problems": asked}
            beside.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", "utf-8")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other benches out of the folder while the block lasts."""
        import fcntl

        with (self.path / "bench.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BadInput(
                    f"another bench works in {self.path}: wait for it, or name another folder"
                ) from None
            yield

    # -- the journal --------------------------------------------------------------------------------

    def note(self, group: Group) -> None:
        """Add a finished group: one line, at once."""
        line = json.dumps(
            {
                "model": group.model,
                "problem": group.problem,
                "seed": group.seed,
                "runs": [_written(row) for row in group.runs],
                "samples": [_written(row) for row in group.samples],
            },
            ensure_ascii=False,
            allow_nan=False,
        )
        try:
            with (self.path / "journal.jsonl").open("ab") as file:
                # a line that a kill cut short stays alone
                torn = file.tell() and not self._ends_whole()
                file.write((("\n" if torn else "") + line + "\n").encode("utf-8", "replace"))
        except OSError as error:
            raise StoreError(
                f"{self.path}/journal.jsonl cannot be written: {error.strerror or error}"
            ) from None

    def _ends_whole(self) -> bool:
        with (self.path / "journal.jsonl").open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def groups(self) -> dict[tuple[str, str, int], Group]:
        """The finished groups; of one that was done again, the last."""
        found: dict[tuple[str, str, int], Group] = {}
        try:
            lines = (self.path / "journal.jsonl").read_bytes().split(b"\n")
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                row = json.loads(line.decode()) if line else None
            except ValueError:  # cut short by a kill
                continue
            if isinstance(row, dict):
                shared = (row["model"], row["problem"], row["seed"])
                group = Group(
                    *shared,
                    tuple(_read(RunRow, r) for r in row["runs"]),
                    tuple(_read(SampleRow, r) for r in row["samples"]),
                )
                found[group.key] = group
        return found

    # -- results ------------------------------------------------------------------------------------

    def load(self) -> Results:
        """The bench as far as it is done."""
        facts = self.facts()
        if facts is None:
            raise BadInput(f"{self.path} holds no bench: there is no bench.json")
        problems = facts.pop("problems")
        arms = [Arm(**arm) for arm in facts["arms"]]
        order = {name: i for i, name in enumerate(problems)}
        place = {arm.label: i for i, arm in enumerate(arms)}
        models = {arm.model for arm in arms}
        groups = [
            g
            for g in self.groups().values()
            if g.problem in order and g.model in models and g.seed < facts["design"]["seeds"]
        ]
        groups.sort(key=lambda g: (order[g.problem], g.seed))
        runs = [r for g in groups for r in g.runs if r.arm in place]
        runs.sort(key=lambda r: place[r.arm])
        return Results(
            facts,
            arms,
            runs,
            [s for g in groups for s in g.samples],
            {name: p["question"] for name, p in problems.items()},
            {name: p["reference"] for name, p in problems.items() if p["reference"] is not None},
        )

    def export(self, results: Results, summary: Mapping[str, Any]) -> list[Path]:
        """Write ``results.json``, ``results.parquet`` and ``samples.parquet``."""
        pa, pq = need_parquet()
        arms = {arm.label: asdict(arm) for arm in results.arms}
        for arm in arms.values():
            arm.pop("label")
        runs = [{**asdict(row), **arms[row.arm]} for row in results.runs]
        samples = [asdict(row) for row in results.samples]
        files = [self.path / "results.json"]
        with replacing(files[0]) as beside:
            text = json.dumps(finite(summary), ensure_ascii=False, indent=1, allow_nan=False)
            beside.write_text(text + "\n", "utf-8")
        for name, rows in (("results", runs), ("samples", samples)):
            files.append(self.path / f"{name}.parquet")
            schema = _schema(pa, RunRow if name == "results" else SampleRow)
            if name == "results":
                for column in ("model", "strategy", "budget", "series"):
                    schema = schema.append(pa.field(column, pa.string()))
            schema = schema.with_metadata({"outthink.format": str(FORMAT)})
            with replacing(files[-1]) as beside:
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), beside)
        return files


def need_parquet() -> tuple[Any, Any]:
    """pyarrow; ``MissingNeed`` says how to get it, before anything is spent."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingNeed("a bench writes Parquet: pip install 'outthink[lab]'") from None
    return pa, pq


def _schema(pa: Any, row: type) -> Any:
    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    kinds["tuple[int, ...]"] = pa.list_(pa.int64())
    kinds["tuple[float, ...]"] = pa.list_(pa.float64())
    return pa.schema([(f.name, kinds[str(f.type).removesuffix(" | None")]) for f in fields(row)])


def _written(row: RunRow | SampleRow) -> dict[str, Any]:
    """The fields that are not as they are by themselves."""
    return {
        f.name: finite(value) for f in fields(row) if (value := getattr(row, f.name)) != f.default
    }


def _read(kind: Any, values: Mapping[str, Any]) -> Any:
    known = dict(values)
    if "candidates" in known:
        known["candidates"] = tuple(known["candidates"])
    if "scores" in known:
        known["scores"] = tuple(math.nan if s is None else float(s) for s in known["scores"])
    return kind(**known)
