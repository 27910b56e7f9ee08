"""Run the tests of stores against a real PostgreSQL: ``python scripts/test_postgres.py [PYTEST ARGS]``.

Uses the server named by ``OUTTHINK_TEST_POSTGRES`` (a ``postgresql://`` URL) if there is one.  Else
it starts a server of its own in a temporary directory, on a free port of this machine, and stops and
removes it afterwards.  The programs are those found here; where there are none and the user is root
on a Debian system, the package ``postgresql`` is installed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def folder_of_programs() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are; the newest version of several."""
    found = shutil.which("initdb")
    if found and shutil.which("pg_ctl", path=str(Path(found).resolve().parent)):
        return Path(found).resolve().parent
    versions = [Path(p).parent for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    return max(versions, key=lambda p: float(p.parent.name), default=None)


def install() -> None:
    """Install Debian's package."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("no PostgreSQL here: install it (Debian: apt-get install postgresql), or name a "
                 "server in OUTTHINK_TEST_POSTGRES")  # fmt: skip
    print("installing postgresql", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], env=quiet, check=False, stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"]
    subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)


def user() -> dict[str, int]:
    """PostgreSQL refuses to run as root: then as the user that its package made, or as nobody."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid}
    sys.exit("PostgreSQL does not run as root, and there is no other user here")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server that lives as long as the block."""
    programs = folder_of_programs()
    if programs is None:
        install()
        programs = folder_of_programs()
    if programs is None:
        sys.exit("PostgreSQL was installed, but its initdb is not where it should be")
    who, password = user(), secrets.token_hex(8)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="outthink-pg-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        (home / "password").write_text(password)
        for path in (home, home / "password"):
            if who:
                os.chown(path, who["user"], who["group"])

        def run(program: str, *arguments: str) -> None:
            log = home / f"{program}.out"
            with log.open("w") as out:  # not a pipe: the server would hold it open
                done = subprocess.run(
                    [str(programs / program), *arguments],
                    stdout=out, stderr=subprocess.STDOUT, cwd=home, check=False, **who,
                )  # fmt: skip
            if done.returncode:
                log_file = home / "server.log"
                more = log_file.read_text() if log_file.exists() else ""
                sys.exit(f"{program} failed:\n{log.read_text()}{more}")

        data = str(home / "data")
        run("initdb", "-D", data, "-U", "outthink", "-A", "scram-sha-256", "-E", "UTF8",
            "--locale=C", f"--pwfile={home / 'password'}")  # fmt: skip
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "-D", data, "-l", str(home / "server.log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql://outthink:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def main() -> int:
    """Run the tests; gives pytest's exit status."""
    root = Path(__file__).resolve().parent.parent
    named = os.environ.get("OUTTHINK_TEST_POSTGRES", "")
    with contextlib.nullcontext(named) if named else server() as url:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "tests/store",
            "tests/lab/test_bench.py",
            "tests/gateway/test_ledger.py",
            *sys.argv[1:],
        ]
        environment = {**os.environ, "OUTTHINK_TEST_POSTGRES": url}
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
