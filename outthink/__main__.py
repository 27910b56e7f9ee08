"""``python -m outthink``: the command line."""

from outthink.cli import main

if __name__ == "__main__":
    main()
