"""The process in which math-verify runs: one JSON line in, one out.

It may be killed at any moment.  Before each comparison it sets a timer whose signal ends the process,
so a computation that hangs in C code is stopped too, and so is one whose parent has died.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

MEMORY = 2 << 30


@lru_cache(maxsize=4096)
def _read(text: str) -> Any:
    from math_verify import LatexExtractionConfig, parse

    # as LaTeX alone: the other way is to take the last number of a text that it cannot read
    return parse(f"${text}$", (LatexExtractionConfig(),), parsing_timeout=None)


def equal(gold: str, answer: str) -> bool:
    """Does math-verify find the two equal, in either direction?"""
    from math_verify import verify

    one, two = _read(gold), _read(answer)
    if not one or not two:
        return False
    return bool(verify(one, two, timeout_seconds=None) or verify(two, one, timeout_seconds=None))


def main() -> None:
    """Answer requests until the input ends."""
    import logging
    import signal

    logging.disable(logging.CRITICAL)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass
    ticking = hasattr(signal, "setitimer")
    if ticking:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # replies go to the real output; what a library prints does not
    replies, sys.stdout = sys.stdout, sys.stderr

    def reply(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=replies, flush=True)

    try:
        equal("1", "\\frac{2}{2}")
    except Exception as error:
        reply({"broken": f"{type(error).__name__}: {error}"})
        return
    reply({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        found: int | None = -1
        for i, gold in enumerate(request["golds"]):
            if ticking:
                signal.setitimer(signal.ITIMER_REAL, request["seconds"])
            try:
                if equal(gold, request["answer"]):
                    found = i
                    break
            except MemoryError:
                found = None
                break
            except Exception:
                continue
        if ticking:
            signal.setitimer(signal.ITIMER_REAL, 0)
        reply({"found": found})


if __name__ == "__main__":
    main()
