"""Run openai-python's own tests of chat and models against the gateway, with each strategy as default.

    git clone --depth 1 https://github.com/openai/openai-python /tmp/openai-python
    python scripts/openai_suite.py /tmp/openai-python [STRATEGY ...]

75 tests: every optional parameter, raw and streamed answers, both clients, strictly checked shapes.  The
gateway stands before the test server of ``tests/gateway/``.  Needs what ``scripts/clients.txt`` names, with
an ``openai`` near the checkout's version.  Nothing of the checkout enters this repository.  Ends with 1 if
a test fails.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from outthink.core.model import HIDDEN, LOGITS  # noqa: E402
from outthink.core.registry import entries, spec_of  # noqa: E402
from tests.gateway.upstream import hostile  # noqa: E402

#: what runs, of the suite
FILES = ["tests/api_resources/chat/test_completions.py", "tests/api_resources/test_models.py"]
CHOSEN = "create or ((list or retrieve) and (TestModels or TestAsyncModels))"
#: no wider than need be
SMALL: dict[str, Any] = {"n": 4, "branch": 2, "length": 2, "m": 2, "max_steps": 2}
#: the verifier of those that need one: it runs here, and scores any text
JUDGE = "prm"
#: what no server gives over HTTP
INSIDE = {LOGITS, HIDDEN}


def spec(name: str) -> str:
    """A registered strategy as a spec, small, with what it needs."""
    entry = entries("strategy")[name]
    cls = entry.make
    known = {f.name: f for f in dataclasses.fields(cls)}
    given = {k: v for k, v in SMALL.items() if k in known}
    for field in known.values():
        wanted = "VERIFIER" in entry.needs and field.metadata.get("kind") == "verifier"
        if wanted and field.default is None:
            given[field.name] = JUDGE
    return spec_of(cls(**given))


@contextlib.contextmanager
def gateway(upstream: str, strategy: str, folder: Path) -> Iterator[str]:
    """The address of a gateway with this default strategy; raises ``RuntimeError`` if it will not start."""
    log, settings = folder / "gateway.log", folder / "gateway.toml"
    # the test server never ends a text that is gone on with: short ones keep step by step short
    settings.write_text(f"[models.'*']\nupstreams = ['{upstream}']\nmax_tokens = 64\n")
    command = [sys.executable, "-m", "outthink", "serve", "--port", "0", "--config", str(settings)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--strategy", strategy, "--store", str(folder / "store.db")],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=out,
        )  # fmt: skip
    try:
        while not (url := ready(log)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                raise RuntimeError(log.read_text().strip().splitlines()[-1])
        yield url
    finally:
        process.terminate()
        process.wait(30)


def ready(log: Path) -> str | None:
    """The address of the gateway that writes this log, once it takes requests."""
    found = re.search(r"serves on (http://[^/\s]+)/v1", log.read_text())
    if found is None:
        return None
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{found[1]}/readyz", timeout=2):
        return f"{found[1]}/v1"
    return None


def run(checkout: Path, url: str, folder: Path) -> tuple[int, list[str]]:
    """How many tests passed, and what each of the others says."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    done = subprocess.run(
        [*command, "-k", CHOSEN, f"--junitxml={report}", *FILES],
        cwd=checkout, env={**os.environ, "TEST_API_BASE_URL": url},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if not report.exists():
        sys.exit(f"the tests did not run:\n{done.stdout.decode()[-3000:]}")
    passed, failed = 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [e for e in case if e.tag in ("failure", "error")]
        passed += not wrong and case.find("skipped") is None
        failed += [" ".join((e.get("message") or "").split()) for e in wrong]
    return passed, failed


def main() -> int:
    """Print a row for each strategy; 1 if a test failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument(
        "strategies", nargs="*", metavar="STRATEGY", help="all, where none is named"
    )
    given = parser.parse_args()
    if not (given.checkout / FILES[0]).exists():
        parser.error(f"{given.checkout} has no {FILES[0]}: is it a checkout of openai-python?")
    names = given.strategies or sorted(entries("strategy"))
    unknown = [name for name in names if name not in entries("strategy")]
    if unknown:
        parser.error(f"no strategy {unknown[0]!r}; known: {', '.join(sorted(entries('strategy')))}")
    wrong = 0
    print(f"{'strategy':<60} passed failed", flush=True)
    for name in names:
        told = spec(name)
        inside = sorted(INSIDE & entries("strategy")[name].needs)
        with hostile() as upstream, tempfile.TemporaryDirectory() as made:
            try:
                with gateway(upstream.url, told, Path(made)) as url:
                    passed, failed = run(given.checkout, url, Path(made))
            except RuntimeError as error:
                wrong += not inside
                why = f"needs {', '.join(inside)}, which no server gives" if inside else str(error)
                print(f"{told:<60} refused: {why}", flush=True)
                continue
        wrong += len(failed)
        print(f"{told:<60} {passed:>6} {len(failed):>6}", flush=True)
        for line, count in Counter(failed).items():
            print(f"    {count} x {line[:200]}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
