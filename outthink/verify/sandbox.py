"""Running untrusted Python in a subprocess with limits.

In force everywhere: an own session that is killed whole at the time limit, limits on processor time,
memory, file size and open files, an environment without anything of ours, a temporary working
directory, capped output.  Where the system allows namespaces, also no network, and no sight of other
processes: they hold secrets in their environment, and a child that left the session dies too.

Not in force: the files of the machine can be read, and written where you may write them; and a
program that takes the interpreter apart can claim to have passed.  Use a container for programs that
you fear.  ``isolation()`` and ``outthink doctor`` say what is in force.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

#: bytes of output that are kept
SHOWN = 20_000

_PROCESSES = ("--pid", "--fork", "--kill-child", "--mount-proc")
#: from the most to the least; in an own user namespace even root has no power outside it
_WALLS = (("--user", "--map-root-user", "--net", *_PROCESSES), ("--net", *_PROCESSES),
          ("--user", "--map-root-user", "--net"), ("--net",))  # fmt: skip


@functools.lru_cache(maxsize=1)
def _wall() -> tuple[str, ...]:
    """The command that runs another one in namespaces of its own, as far as the system allows."""
    tool = shutil.which("unshare")
    for flags in _WALLS if tool else ():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = (str(tool), *flags)
            subprocess.run([*command, "true"], capture_output=True, timeout=10, check=True)
            return command
    return ()


def isolation() -> dict[str, bool]:
    """What is in force on this system."""
    return {
        "own session and time limit": True,
        "processor and file limits": True,
        "memory limit": sys.platform.startswith("linux"),
        "empty environment": True,
        "network of its own": "--net" in _wall(),
        "processes of its own": "--pid" in _wall(),
        "file system of its own": False,
    }


@dataclass(frozen=True)
class Outcome:
    """How a program ended: ``passed`` only if it came to its end in time without an error."""

    passed: bool
    output: str
    timed_out: bool = False


def run_python(
    code: str,
    seconds: float = 5.0,
    megabytes: int = 512,
    *,
    tests: str = "",
    stop: threading.Event | None = None,
) -> Outcome:
    """Run a program, and after it ``tests`` in its namespace; blocking, until ``stop`` is set.

    It has passed when the last line was reached.  That is told by a file whose name is drawn anew for
    each run; a program that ends itself early does not pass.  Without tests it is ``__main__``.
    """
    token = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="outthink-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as sink,
    ):
        for name, source in (("program.py", code), ("tests.py", tests)):
            if source or name == "program.py":
                Path(folder, name).write_bytes(source.encode("utf-8", "surrogatepass"))
        process = subprocess.Popen(
            [*_wall(), sys.executable, "-s", "-P", "-B", str(_PROGRAM)],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=functools.partial(_limit, seconds, megabytes),
        )
        try:
            assert process.stdin is not None
            with contextlib.suppress(OSError), process.stdin as pipe:
                pipe.write(token.encode())
            _wait(process, seconds, stop or threading.Event())
            timed_out = process.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        passed = not timed_out and process.returncode == 0 and Path(folder, token).exists()
        text = os.pread(sink.fileno(), SHOWN, 0).decode("utf-8", errors="replace")
    return Outcome(passed, text, timed_out)


async def check_python(code: str, tests: str, seconds: float = 5.0) -> Outcome:
    """``run_python`` in a thread; its process is ended when the caller is cancelled."""
    stop = threading.Event()
    work = functools.partial(run_python, code, seconds, tests=tests, stop=stop)
    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    finally:
        stop.set()


_PROGRAM = Path(__file__).with_name("_sandbox_program.py")


def _environment(folder: str) -> dict[str, str]:
    """Nothing of ours; sets are ordered alike in each run, and numpy starts no threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    fixed = {"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "PYTHONHASHSEED": "0"}
    return {**fixed, **threads}


def _limit(seconds: float, megabytes: int) -> None:
    """In the child, before it becomes another program."""
    cpu, size = int(seconds) + 1, megabytes << 20
    for name, most in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, size),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS takes no memory limit
            resource.setrlimit(name, (most, most))


def _wait(process: subprocess.Popen[bytes], seconds: float, stop: threading.Event) -> None:
    """Until the process ends, its time is over or ``stop`` is set."""
    deadline = time.monotonic() + seconds
    while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            process.wait(min(left, 0.05))
        except subprocess.TimeoutExpired:
            continue
        return
