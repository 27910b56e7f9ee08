"""outthink: inference-time scaling for language models, under budgets that hold.

>>> import outthink
>>> answer = outthink.solve("Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?",
...                         strategy="self_consistency(n=8)", budget="tokens=2k")
>>> answer.answer
'7'
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outthink.core import registry as _registry

if TYPE_CHECKING:
    from outthink.api import Session, asolve, solve
    from outthink.core.budget import Budget, Usage
    from outthink.core.errors import OutthinkError
    from outthink.core.nouns import Answer, Pool, Problem, Sample, Score
    from outthink.core.registry import part, register, strategy
    from outthink.core.run import Run
    from outthink.lab.bench import bench
    from outthink.lab.design import Design

__version__ = "0.1.0"

_HOMES = {
    "Answer": "outthink.core.nouns",
    "Budget": "outthink.core.budget",
    "Design": "outthink.lab.design",
    "OutthinkError": "outthink.core.errors",
    "Pool": "outthink.core.nouns",
    "Problem": "outthink.core.nouns",
    "Run": "outthink.core.run",
    "Sample": "outthink.core.nouns",
    "Score": "outthink.core.nouns",
    "Session": "outthink.api",
    "Usage": "outthink.core.budget",
    "asolve": "outthink.api",
    "bench": "outthink.lab.bench",
    "part": "outthink.core.registry",
    "register": "outthink.core.registry",
    "solve": "outthink.api",
    "strategy": "outthink.core.registry",
}

__all__ = [
    "Answer",
    "Budget",
    "Design",
    "OutthinkError",
    "Pool",
    "Problem",
    "Run",
    "Sample",
    "Score",
    "Session",
    "Usage",
    "__version__",
    "asolve",
    "bench",
    "load_file",
    "part",
    "register",
    "solve",
    "strategy",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'outthink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _load_parts() -> None:
    """Import every module of the packages that hold parts, and those of installed plug-ins."""
    from importlib.metadata import entry_points
    from pkgutil import iter_modules

    for package in ("models", "verify", "stop", "select", "strategies"):
        home = import_module(f"outthink.{package}")
        for module in iter_modules(home.__path__):
            import_module(f"outthink.{package}.{module.name}")
    import_module("outthink.lab.tasks")
    for plugin in entry_points(group="outthink.parts"):
        plugin.load()
    for path in filter(None, os.environ.get("OUTTHINK_PARTS", "").split(os.pathsep)):
        load_file(path)


def load_file(path: str) -> None:
    """Import a Python file of one's own parts (strategies, verifiers, models): they are registered.

    The files named by the variable ``OUTTHINK_PARTS`` are loaded by themselves.
    """
    from importlib.util import module_from_spec, spec_from_file_location

    from outthink.core.errors import BadInput

    file = Path(os.path.expanduser(path))
    spec = spec_from_file_location(f"outthink_parts_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise BadInput(f"{path} is no Python file of parts: name one that ends in .py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their types up there
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


_registry.on_first_use(_load_parts)
