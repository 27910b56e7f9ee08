"""Shell completion: the script, and where each shell looks for it."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from outthink.cli.base import Flags, print_json, say
from outthink.core.errors import BadInput

VARIABLE = "_OUTTHINK_COMPLETE"


def _shell(shell: str) -> str:
    name = Path(os.environ.get("SHELL", "")).name if shell == "auto" else shell
    if name not in ("bash", "zsh", "fish"):
        raise BadInput("which shell? write --show-completion bash, zsh or fish")
    return name


def _source(context: click.Context, shell: str) -> str:
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(context.find_root().command, {}, "outthink", VARIABLE).source()


def show_completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    name = _shell(shell)
    source = _source(context, name)
    if context.ensure_object(Flags).json:
        print_json({"shell": name, "script": source})
    else:
        click.echo(source)


def place_of(shell: str) -> tuple[Path, str]:
    """The file that the shell reads, and what its start file needs, if anything."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "bash":
        file = data / "bash-completion" / "completions" / "outthink"
        return file, f"without the package bash-completion, add to ~/.bashrc: source {file}"
    if shell == "zsh":
        file = home / ".zfunc" / "_outthink"
        return file, "~/.zshrc needs: fpath+=~/.zfunc; autoload -Uz compinit; compinit"
    return config / "fish" / "completions" / "outthink.fish", ""


def install_completion(context: click.Context, shell: str) -> None:
    """Write the completion script where the shell looks for it; no start file is changed."""
    name = _shell(shell)
    file, hint = place_of(name)
    source = _source(context, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    if context.ensure_object(Flags).json:
        print_json({"shell": name, "file": str(file), "hint": hint})
        return
    click.echo(f"wrote {file}; it works in the next shell")
    if hint:
        say(hint)


def names(kind: str, incomplete: str) -> list[CompletionItem]:
    """The registered names of a kind that begin so, with their summaries."""
    from outthink.core import registry

    return [
        CompletionItem(name, help=entry.summary)
        for name, entry in sorted(registry.entries(kind).items())
        if name.startswith(incomplete)
    ]
