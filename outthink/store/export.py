"""A run as text for people, and as a file for everything else."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outthink.core.errors import BadInput, MissingNeed, StoreError
from outthink.core.nouns import dotted, finite

if TYPE_CHECKING:
    from outthink.core.nouns import Node
    from outthink.store.db import Store, StoredRun, StoredSample

#: the columns of a sample in a file: ``scores`` is JSON in CSV and Parquet; units are tokens, nats
COLUMNS = (
    "run",
    "strategy",
    "model",
    "seed",
    "question",
    "reference",
    "run_answer",
    "node",
    "parent",
    "role",
    "delta",
    "text",
    "answer",
    "finish",
    "tokens",
    "total_tokens",
    "logprob",
    "stored",
    "scores",
)
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


def row_of(run: StoredRun, sample: StoredSample) -> dict[str, Any]:
    """One sample with what is needed to learn from it, as plain values."""
    return {
        "run": run.id,
        "strategy": run.strategy,
        "model": run.model,
        "seed": run.seed,
        "question": run.question,
        "reference": run.problem.get("reference"),
        "run_answer": (run.answer or {}).get("answer"),
        "node": dotted(sample.node),
        "parent": dotted(sample.parent) if sample.parent is not None else None,
        "role": sample.role,
        "delta": sample.delta,
        "text": sample.text,
        "answer": sample.answer,
        "finish": sample.finish,
        "tokens": sample.tokens,
        "total_tokens": sample.total_tokens,
        "logprob": sample.logprob,
        "stored": sample.stored,
        "scores": {name: list(values) for name, values in sample.scores.items()},
    }


def run_json(
    run: StoredRun, samples: Sequence[StoredSample], events: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A whole run as plain values: problem, spec, answer, usage, tree and events."""
    tree = []
    for sample in samples:
        row = row_of(run, sample)
        tree.append({k: row[k] for k in COLUMNS[COLUMNS.index("node") :] if k != "text"})
    return {
        "run": run.id,
        "created": run.created,
        "ended": run.ended,
        "problem": dict(run.problem),
        "strategy": run.strategy,
        "model": run.model,
        "budget": dict(run.budget),
        "seed": run.seed,
        "facts": dict(run.facts),
        "answer": dict(run.answer) if run.answer is not None else None,
        "stopped": run.stopped,
        "usage": run.usage.to_json() if run.usage else None,
        "samples": tree,
        "events": [dict(e) for e in events],
    }


def _json(value: Any) -> str:
    from outthink.store.address import dump

    return dump(finite(value))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a table: scores as JSON, texts without what UTF-8 cannot hold."""
    flat = {**row, "seed": str(row["seed"]), "scores": _json(row["scores"])}
    for name, value in flat.items():
        if isinstance(value, str):
            flat[name] = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return flat


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when everything is written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)


async def export(store: Store, run: str, path: str | Path) -> int:
    """Write the samples of a run, or of ``"all"`` finished runs, to a file; returns their number.

    The file's ending says how: ``.jsonl`` one sample a line; ``.csv`` and ``.parquet`` (extra
    ``[parquet]``) one sample a row with the columns ``COLUMNS``; ``.json`` whole runs with problem,
    answer, usage, tree and events.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"{path.name!r}: an export ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise BadInput(f"the directory {str(path.parent)!r} does not exist: make it first")
    if suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise MissingNeed(
                "Parquet needs pyarrow: pip install 'outthink[parquet]', or export to .jsonl"
            ) from None
    chosen = await store.list_runs(None) if run == "all" else [await store.get_run(run)]
    with replacing(path) as beside:
        if suffix == ".json":
            return await _write_runs(store, chosen[::-1], beside, one=run != "all")
        if suffix == ".parquet":
            return await _write_parquet(_rows(store, chosen[::-1]), beside)
        return await _write_lines(_rows(store, chosen[::-1]), beside, suffix)


async def _rows(store: Store, runs: Sequence[StoredRun]) -> AsyncIterator[list[dict[str, Any]]]:
    for run in runs:
        rows = [row_of(run, sample) for sample in await store.samples_of(run)]
        if rows:
            yield rows


async def _write_lines(rows: AsyncIterator[list[dict[str, Any]]], path: Path, suffix: str) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        if suffix == ".csv":
            table.writeheader()
        async for some in rows:
            count += len(some)
            if suffix == ".csv":
                table.writerows(_flat(row) for row in some)
            else:
                file.writelines(_json(row) + "\n" for row in some)
    return count


async def _write_runs(store: Store, runs: Sequence[StoredRun], path: Path, one: bool) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("" if one else "[")
        for i, run in enumerate(runs):
            samples = await store.samples_of(run)
            count += len(samples)
            file.write(",\n" if i else "")
            file.write(_json(run_json(run, samples, await store.events_of(run))))
        file.write("\n" if one else "]\n")
    return count


async def _write_parquet(rows: AsyncIterator[list[dict[str, Any]]], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"tokens": pa.int64(), "total_tokens": pa.int64(), "logprob": pa.float64()}
    kinds["stored"] = pa.bool_()
    fields = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    count = 0
    waiting: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, fields) as writer:
        async for some in rows:
            count += len(some)
            waiting += map(_flat, some)
            if len(waiting) >= 10_000:
                writer.write_table(pa.Table.from_pylist(waiting, schema=fields))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=fields))
    return count


# -- for people -------------------------------------------------------------------------------------


def _line(text: str, width: int) -> str:
    """A text on one line of a terminal: no control characters, not longer than ``width``."""
    marks = {"\n": "⏎", "\t": " ", "\r": ""}
    shown = "".join(
        marks.get(c, c if c.isprintable() else f"\\x{ord(c):02x}") for c in text.strip("\n")
    )
    return shown if len(shown) <= width else shown[: max(width - 1, 1)] + "…"


def _scores(sample: StoredSample) -> str:
    parts = []
    judged = [name for name in sample.scores if not name.startswith("reward/")]
    for name in judged or sample.scores:  # a verifier's score has its reward model's in it
        values, label = sample.scores[name], name.rpartition("/")[2]
        parts.append(f"{_line(label, 24)} {values[0]:.3f}" if values else _line(label, 24))
    if sample.logprob is not None:
        parts.append(f"logprob {sample.logprob:.2f}")
    return ", ".join(parts)


def render(run: StoredRun, samples: Sequence[StoredSample], width: int = 100) -> str:
    """A run as text: its head, its tree (or list) of samples with scores, its answer.

    A sample whose whole text is the answer's is marked ``*``.
    """
    out = io.StringIO()
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created))
    budget = ", ".join(f"{k}={v:g}" for k, v in run.budget.items()) or "none"
    print(f"run {_line(run.id, 60)}  {began}  seed {run.seed}", file=out)
    print(_line(f"{run.strategy} on {run.model}, budget {budget}", width), file=out)
    print(_line(f"question: {run.question}", width), file=out)
    print(file=out)
    chosen = (run.answer or {}).get("text")
    ends = {s.parent for s in samples if s.parent is not None}
    lines = _tree_lines(samples)
    # samples side by side stand in columns; in a tree the branches do that
    flat = 0 if ends else max((len(str(s.node[-1])) for s in samples), default=0)
    for lead, sample in lines:
        if sample is None:
            print(lead, file=out)
            continue
        final = sample.node not in ends and bool(chosen) and sample.text == chosen
        facts = [] if sample.role == "main" else [_line(sample.role, 24)]
        facts += [f"{sample.tokens} tok", _line(sample.finish, 12), _scores(sample)]
        facts += ["from store"] if sample.stored else []
        name = dotted(sample.node)
        head = f"{lead}{'*' if final else ' '}{name.ljust(flat)}  "
        head += f"[{', '.join(f for f in facts if f)}]  "
        print(head + _line(sample.delta, max(width - len(head), 24)), file=out)
    if not samples:
        ended = run.ended is not None
        text = "no samples" if ended else "unfinished: its samples so far are kept, run it again"
        print(f"  ({text})", file=out)
    print(file=out)
    if run.answer is None:
        print("answer: none yet (the run goes on, or was killed)", file=out)
        return out.getvalue()
    if run.answer.get("error"):
        print(_line(f"failed: {run.answer['error']}", width), file=out)
        return out.getvalue()
    answer = run.answer.get("answer")
    sure = run.answer.get("confidence")
    words = "(none found)" if answer is None else _line(str(answer), width)
    print(f"answer: {words}" + (f"  confidence {sure:.2f}" if sure is not None else ""), file=out)
    shares = run.answer.get("distribution") or {}
    if len(shares) > 1:
        listed = "  ".join(f"{_line(str(a), 24)}: {w:.2f}" for a, w in list(shares.items())[:8])
        print(_line(f"  {listed}", width), file=out)
    u = run.usage
    if u is not None:
        spent = f"{u.calls} call{'s' * (u.calls != 1)}, {u.prompt_tokens:,} prompt and "
        spent += f"{u.completion_tokens:,} tokens"
        spent += f", {u.seconds:.2f} s" + (f", ${u.usd:.4f}" if u.usd else "")
        print(f"  {spent}; {_line(run.stopped or '', 40)}", file=out)
    for note in run.answer.get("notes") or ():
        print(_line(f"  note: {note}", width), file=out)
    return out.getvalue()


def _tree_lines(samples: Sequence[StoredSample]) -> list[tuple[str, StoredSample | None]]:
    """Each sample with the branches before it, parents first; roots that wrote nothing get a line."""
    known = {s.node: s for s in samples}
    below: dict[Node | None, list[Node]] = {}
    order: list[Node] = []
    for sample in samples:
        if sample.parent is None:
            order.append(sample.node)
        else:
            if sample.parent not in known and sample.parent not in below:
                order.append(sample.parent)
            below.setdefault(sample.parent, []).append(sample.node)
    lines: list[tuple[str, StoredSample | None]] = []
    todo = [(node, "", "") for node in reversed(order)]
    while todo:
        node, lead, under = todo.pop()
        if node in known:
            lines.append((lead, known[node]))
        else:
            lines.append((f"{lead} {dotted(node)}  (root)", None))
        inner = below.get(node, [])
        for i, child in reversed(list(enumerate(inner))):
            last = i == len(inner) - 1
            branch = (under + ("└─" if last else "├─"), under + ("   " if last else "│  "))
            todo.append((child, *branch))
    return lines
