"""What a bench is asked to do: a task, models, strategies and budgets; lists in a spec are swept.

``self_consistency(n=[1,4,16])`` is three strategies, ``best_of_n(n=[4,16], verifier=[prm, judge])``
four.  A list is swept wherever one value is wanted; where a parameter takes a list itself, the list
stays whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.errors import BadInput, SpecError, nearest
from outthink.core.grammar import Call, dump, parse
from outthink.lab.records import Arm

#: arms of one bench at most: a sweep that multiplies out beyond this is a slip
MOST_ARMS = 1000
#: what a person writes, one or several of, and the field that it is
PLURAL = {"model": "models", "strategy": "strategies", "budget": "budgets"}


def sweep(spec: str, kind: str = "strategy") -> dict[str, str]:
    """Every spec that a spec with lists stands for, as written: its canonical form, each once.

    Raises ``SpecError`` with a caret for a wrong name or value, before anything is spent.
    """
    found: dict[str, str] = {}
    for tree in itertools.islice(_expanded(parse(spec), kind), MOST_ARMS + 1):
        text = dump(tree) if isinstance(tree, Call) else str(tree)
        canonical = registry.spec_of(registry.build(text, kind))
        if canonical not in found.values():
            found[text] = canonical
    if not found:
        raise SpecError("an empty list sweeps over nothing: write at least one value", spec)
    if len(found) > MOST_ARMS:
        raise SpecError(f"a sweep over more than {MOST_ARMS} specs", spec)
    return found


def _expanded(tree: Any, kind: str) -> Iterator[Any]:
    """The trees that a tree with lists stands for."""
    entry = registry.entries(kind).get(tree.name) if isinstance(tree, Call) else None
    if entry is None or tree.bare:
        yield tree
        return
    fields = [f for f in dataclasses.fields(entry.make) if f.init]
    named = {f.name: f for f in fields}
    by_place = [named.get(f.name) for f in fields[: len(tree.args)]]
    slots = [*by_place, *([None] * (len(tree.args) - len(by_place)))]
    slots += [named.get(name) for name, _ in tree.kwargs]
    values = [*tree.args, *(value for _, value in tree.kwargs)]
    choices = [_choices(value, f, entry.make) for value, f in zip(values, slots, strict=True)]
    for some in itertools.product(*choices):
        args, rest = some[: len(tree.args)], some[len(tree.args) :]
        kwargs = tuple((name, v) for (name, _), v in zip(tree.kwargs, rest, strict=True))
        yield dataclasses.replace(tree, args=args, kwargs=kwargs)


def _choices(value: Any, field: Any, make: type) -> list[Any]:
    kind = field.metadata.get("kind") if field is not None else None
    many = field is not None and (bool(field.metadata.get("many")) or _takes_list(field, make))
    if not isinstance(value, list):
        each = [value]
    elif not many or any(isinstance(v, list) for v in value):
        each = value
    else:  # the list is the value
        inner = [list(_expanded(v, kind)) if kind else [v] for v in value]
        return [list(some) for some in itertools.product(*inner)]
    return [tree for v in each for tree in (_expanded(v, kind) if kind else [v])]


def _takes_list(field: Any, make: type) -> bool:
    hint = typing.get_type_hints(make)[field.name]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    return any(typing.get_origin(option) in (tuple, list) for option in options)


@dataclass(frozen=True)
class Design:
    """A bench on paper: ``task`` on every ``models`` with every ``strategies`` in every ``budgets``.

    ``task`` is as on the command line: ``fly:chain(level="medium"),n=500``.  ``seeds`` is how often each
    problem is tried, ``baseline`` the label (or the beginning of one) that differences are taken to,
    ``width`` how many problems are under way at once on a model, ``concurrency`` how many calls.
    """

    task: str
    models: tuple[str, ...] = ("fly",)
    strategies: tuple[str, ...] = ("self_consistency(n=[1,4,16])",)
    budgets: tuple[str, ...] = ("",)
    seeds: int = 1
    baseline: str | None = None
    reader: str | None = None
    concurrency: int | None = None
    width: int = 12

    def __post_init__(self) -> None:
        for name in ("models", "strategies", "budgets"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else value
            listed = isinstance(value, (list, tuple)) and len(value) > 0
            if not listed or not all(isinstance(v, str) for v in value):
                raise BadInput(f"{name}={value!r}: a text, or a list of at least one")
            value = tuple(value)
            object.__setattr__(self, name, value)
        if not isinstance(self.task, str) or not self.task.strip():
            raise BadInput('no task: write one such as fly:chain(level="medium"),n=100, or a file')
        for name in ("baseline", "reader"):
            if not isinstance(getattr(self, name), (str, type(None))):
                raise BadInput(f"{name}={getattr(self, name)!r}: a text")
        for name, value in (("seeds", self.seeds), ("width", self.width)):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
                raise BadInput(f"{name}={value!r}: a whole number from 1 to 10,000")
        self.arms()

    def arms(self) -> list[Arm]:
        """Every arm, its label as short as can be: the strategy, and what else differs."""
        budgets = [str(Budget.parse(b)) for b in dict.fromkeys(self.budgets)]
        models = {m: c for spec in self.models for m, c in sweep(spec, "model").items()}
        swept = {series: sweep(series) for series in self.strategies}
        out: dict[tuple[str, str, str], Arm] = {}
        for (shown, model), budget in itertools.product(models.items(), budgets):
            for series, specs in swept.items():
                for label, strategy in specs.items():
                    label += f" on {shown}" if len(models) > 1 else ""
                    label += f" within {budget}" if budget else ""
                    # two lists may name the same point: it is measured once
                    out.setdefault(
                        (model, strategy, budget), Arm(label, model, strategy, budget, series)
                    )
        if len(out) > MOST_ARMS:
            raise BadInput(f"{len(out)} arms: a bench has at most {MOST_ARMS}")
        return list(out.values())

    def base(self) -> str:
        """The label of the baseline: the first arm unless said."""
        arms = self.arms()
        if self.baseline is None:
            return arms[0].label
        with contextlib.suppress(BadInput):  # a spec in another spelling
            canonical = registry.spec_of(registry.build(self.baseline, "strategy"))
            same = [arm.label for arm in arms if arm.strategy == canonical]
            if same:
                return same[0]
        return beginning(self.baseline, [arm.label for arm in arms])

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str = "the design") -> Design:
        """A design from plain values; ``model``, ``strategy`` and ``budget`` are one text or a list."""
        given = fields_of(values, where)
        if "task" not in given:
            raise BadInput(
                f'{where} has no task: write one such as fly:chain(level="medium"),n=100'
            )
        return cls(**given)

    @classmethod
    def read(cls, path: str | Path) -> Design:
        """A design from a TOML file with the names of ``Design`` (or of the command's options)."""
        return cls.of(read_toml(path), str(path))

    def joined(self, earlier: Design) -> Design:
        """What this and an earlier design of the same task ask for together: a folder only grows."""

        def both(name: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys((*getattr(earlier, name), *getattr(self, name))))

        return dataclasses.replace(
            self,
            models=both("models"),
            strategies=both("strategies"),
            budgets=both("budgets"),
            seeds=max(self.seeds, earlier.seeds),
            baseline=self.baseline if self.baseline is not None else earlier.baseline,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def fields_of(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Plain values under the names of ``Design``'s fields; ``BadInput`` for others, or one given twice."""
    known = {f.name for f in dataclasses.fields(Design)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        key = PLURAL.get(name, name)
        if key not in known:
            names = sorted((known - set(PLURAL.values())) | set(PLURAL))
            raise BadInput(f"{where} has no {name!r}{nearest(name, names)}")
        if key in given:
            raise BadInput(f"{where} has {name!r} twice, as {key} too")
        given[key] = value
    return given


def beginning(text: str, labels: Sequence[str]) -> str:
    """The one label that is this or begins so; ``BadInput`` where there is none, or several."""
    if text in labels:
        return text
    found = [label for label in labels if label.startswith(text)]
    if len(found) != 1:
        what = "no arm" if not found else f"{len(found)} arms"
        raise BadInput(f"baseline {text!r} is the beginning of {what}{nearest(text, labels)}")
    return found[0]


def read_toml(path: str | Path) -> dict[str, Any]:
    """The values of a TOML file; ``BadInput`` says where it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} is no TOML: {error}") from None
