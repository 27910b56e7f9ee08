"""What runs in the sandbox: a program, then its tests; tells by a secret that both came to their end.

The secret is read from the standard input before the program starts, so it is in no file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import types

PROCESSES = 1024


def main() -> None:
    """Run ``program.py``, and ``tests.py`` in its namespace where there is one."""
    goal = os.path.abspath(sys.stdin.readline().strip())
    create, write = os.open, os.O_CREAT | os.O_WRONLY
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    tested = os.path.exists("tests.py")
    # before tests it is a module: what it does as a script is left out
    module = types.ModuleType("program" if tested else "__main__")
    module.__file__ = "program.py"
    sys.modules[module.__name__] = module
    sys.argv = ["program.py"]
    try:
        parts = []
        # all of it is read before any of it runs
        for name in ("program.py", "tests.py") if tested else ("program.py",):
            with open(name, "rb") as file:
                parts.append(compile(file.read(), name, "exec", dont_inherit=True))
        for part in parts:
            exec(part, module.__dict__)
    except Exception as error:
        there = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, there)
        raise SystemExit(1) from None
    create(goal, write)


if __name__ == "__main__":
    main()
