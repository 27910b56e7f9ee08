"""Running untrusted Python in a subprocess with limits.

In force everywhere: an own session that is killed whole at the time limit, limits on processor time,
memory, file size and open files, an empty environment, a temporary working directory, capped output.
Where the system allows, also no network (an own network namespace).  The files of the machine can be
read: use a container for programs that you fear.
"""

from __future__ import annotations

import functools
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@functools.lru_cache(maxsize=1)
def _without_network() -> tuple[str, ...]:
    tool = shutil.which("unshare")
    for flags in (("-n",), ("-rn",)):
        if tool:
            tried = subprocess.run(
                [tool, *flags, "true"], capture_output=True, timeout=10, check=False
            )
            if tried.returncode == 0:
                return (tool, *flags)
    return ()


def isolation() -> dict[str, bool]:
    """What is in force on this system."""
    return {
        "own session and time limit": True,
        "processor, memory and file limits": True,
        "empty environment": True,
        "no network": bool(_without_network()),
        "no file system": False,
    }


@dataclass(frozen=True)
class Outcome:
    """How a program ended: ``passed`` only if it came to its end in time without an error."""

    passed: bool
    output: str
    timed_out: bool = False


def run_python(code: str, seconds: float = 5.0, megabytes: int = 512) -> Outcome:
    """Run a program; blocking.  It has passed when its last line was reached.

    That is told by a file whose name is drawn anew for each run and written by the last line; a
    program that ends itself early does not pass.
    """
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="outthink-") as folder:
        program = f"{code}\n\nopen({token!r}, 'w').close()\n"
        Path(folder, "program.py").write_text(program, encoding="utf-8")

        def limit() -> None:
            size = megabytes << 20
            cpu = int(seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            if os.getuid() != 0:
                resource.setrlimit(resource.RLIMIT_NPROC, (256, 256))

        out = Path(folder, "output")
        with out.open("wb") as sink:
            process = subprocess.Popen(
                [*_without_network(), sys.executable, "-I", "program.py"],
                cwd=folder,
                env={"PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
            )
            timed_out = False
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    timed_out = timed_out and process.poll() is None
                process.wait()
        passed = not timed_out and process.returncode == 0 and Path(folder, token).exists()
        text = out.read_bytes()[:20_000].decode("utf-8", errors="replace")
    return Outcome(passed, text, timed_out)
