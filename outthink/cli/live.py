"""The live view of a run on a terminal: candidates, votes and the budget, as they go."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from outthink.cli.base import clean, grid

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from outthink.core.run import Run

#: candidates kept on the screen
SHOWN = 8
BAR = 24

#: a limit of the budget, and what the bar says
LABELS = {
    "tokens": "tokens",
    "total_tokens": "total tokens",
    "calls": "calls",
    "seconds": "seconds",
    "usd": "USD",
    "flops": "FLOPs",
}


def bar(share: float, width: int = BAR, style: str = "cyan") -> Text:
    """A bar of blocks, ``width`` columns for a share of 1."""
    from rich.text import Text

    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    whole, part = divmod(eighths, 8)
    blocks = "█" * whole + ("" if part == 0 else "▏▎▍▌▋▊▉"[part - 1])
    return Text(blocks, style=style)


def last_line(text: str) -> str:
    """The last line with something on it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return clean(lines[-1]) if lines else ""


def amount(value: float, limit: str) -> str:
    """A spent amount as short as it stays readable."""
    if limit == "seconds":
        return f"{value:,.1f}"
    if limit == "usd":
        return f"{value:,.4f}"
    return f"{value:.2e}" if value >= 1e7 else f"{int(value):,}"


class Live:
    """Draws a run on standard error while it lasts; give its ``start`` and ``see`` to ``solve``."""

    def __init__(self, screen: Console, question: str) -> None:
        from rich.live import Live as RichLive

        self.screen, self.question = screen, clean(" ".join(question.split()))
        self.run: Run | None = None
        self.rows: deque[tuple[str, int, str, str]] = deque(maxlen=SHOWN)
        self.votes: Counter[str] = Counter()
        #: the strategy's own view, where it has said one
        self.shares: dict[str, float] = {}
        self.steps = self.finished = self.failures = 0
        self._live = RichLive(
            get_renderable=self.draw, console=screen, transient=True, refresh_per_second=8
        )

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def start(self, run: Run) -> None:
        """The run begins."""
        self.run = run

    def see(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event of the run."""
        if kind == "sample":
            self._sample(data)
        elif kind == "proposal":
            self.shares = dict(data.get("distribution") or self.shares)
        elif kind == "failure":
            self.failures += 1
            self.rows.append(("!", 0, "failed", last_line(str(data.get("error", "")))))

    def _sample(self, data: Mapping[str, Any]) -> None:
        node = ".".join(map(str, data["node"]))
        if data["finish"] == "step":
            self.steps += 1
            self.rows.append((node, data["tokens"], "step", last_line(data["text"])))
            return
        self.finished += 1
        text, answer = data["text"], None
        if self.run is not None:
            sample = self.run.world.samples.get(tuple(data["node"]))
            if sample is not None:
                text = sample.text
                with contextlib.suppress(Exception):
                    answer = self.run.world.read(sample)
        if answer is not None:
            self.votes[answer] += 1
        state = "cut" if data["finish"] == "length" else "done"
        self.rows.append((node, data["tokens"], state, last_line(text)))

    # -- drawing ---------------------------------------------------------------------------------

    def draw(self) -> RenderableType:
        """The whole view; Rich calls it some times a second."""
        from rich.console import Group
        from rich.text import Text

        head = Text(self.question, style="dim", no_wrap=True, overflow="ellipsis")
        blocks: list[RenderableType] = [head, Text()]
        if self.rows:
            blocks += [self._candidates(), Text()]
        if self.votes or self.shares:
            blocks += [self._votes(), Text()]
        return Group(*blocks, *self._budget())

    def _candidates(self) -> Table:
        from rich.text import Text

        table = grid("node", "tokens", "state", "score", "text", right=(1, 3), head=False)
        table.columns[4].no_wrap, table.columns[4].overflow = True, "ellipsis"
        room = max(2, self.screen.height - 12)
        colours = {"done": "green", "cut": "yellow", "failed": "red"}
        for node, tokens, state, text in list(self.rows)[-room:]:
            shown = Text(state, style=colours.get(state, "dim"))
            label = node if len(node) < 16 else "…" + node[-14:]
            score = self._score(node)
            table.add_row(
                Text(label, style="dim"),
                f"{tokens:,}",
                shown,
                "" if score is None else f"{score:.2f}",
                Text(text),
            )
        return table

    def _score(self, node: str) -> float | None:
        """What a verifier gave this node, if one did."""
        if self.run is None or not node[:1].isdigit():
            return None
        key = tuple(map(int, node.split(".")))
        for book in list(self.run.world.scores.values()):
            if key in book:
                return book[key].value
        return None

    def _votes(self) -> Table:
        from rich.text import Text

        table = grid("answer", "share", "bar", right=(1,), head=False)
        total = sum(self.votes.values())
        shares = self.shares or {answer: n / total for answer, n in self.votes.items()}
        for answer, share in sorted(shares.items(), key=lambda item: -item[1])[:4]:
            name = Text(clean(answer).replace("\n", " ")[:24], style="bold")
            table.add_row(name, f"{share:.2f}", bar(share))
        return table

    def _budget(self) -> list[RenderableType]:
        from rich.text import Text

        table = grid("limit", "bar", "spent", head=False)
        if self.run is None:
            return [Text("starting", style="dim")]
        usage, limits = self.run.meter.usage(), self.run.meter.budget.limits()
        for limit, bound in limits.items():
            spent = usage.amount(limit)
            share = spent / bound
            style = "red" if share > 0.9 else "cyan"
            track = bar(share, style=style)
            track.append("·" * (BAR - track.cell_len), style="dim")
            table.add_row(LABELS[limit], track, f"{amount(spent, limit)} of {amount(bound, limit)}")
        counts = [f"{self.finished} done"] if self.finished or not self.steps else []
        counts += [f"{self.steps} steps"] if self.steps else []
        counts += [f"{self.failures} failed"] if self.failures else []
        counts += [
            f"{usage.calls} call{'s' * (usage.calls != 1)}",
            f"{usage.completion_tokens:,} tokens",
        ]
        counts += [f"{usage.seconds:.1f} s"] + ([f"${usage.usd:.4f}"] if usage.usd else [])
        foot = Text(" · ".join(counts), style="dim")
        return [table, foot] if limits else [foot]
