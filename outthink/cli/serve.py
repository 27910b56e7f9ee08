"""``outthink serve``: any strategy behind the OpenAI API."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from outthink.cli.base import Group, common, complete, flags, give, missing_extra, say
from outthink.core.errors import BadInput

if TYPE_CHECKING:
    from outthink.gateway.config import Config


#: a key is sent to the server that it belongs to, unless --key-env says otherwise
OPENAI, OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"


class Serve(Group):
    """A command of its own that has commands too: without one it serves, and shows no help."""

    def invoke(self, ctx: click.Context) -> Any:
        """Serve, or run the command."""
        return click.Group.invoke(self, ctx)


@click.group(cls=Serve)
@click.option(
    "--config", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="The TOML file with models, aliases, keys and limits.",
)  # fmt: skip
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible server to stand in front of.")
@click.option(
    "--model", metavar="SPEC", shell_complete=complete("model"),
    help="A bundled or local model to serve; fly where nothing else is given.",
)  # fmt: skip
@click.option(
    "--strategy", metavar="SPEC", shell_complete=complete("strategy"),
    help="The strategy of requests that name none; without it they are passed through.",
)  # fmt: skip
@click.option(
    "--key-env", metavar="NAME",
    help="The variable that holds the key for --upstream (OpenAI's own: OPENAI_API_KEY).",
)  # fmt: skip
@click.option("--host", help="Where to listen; beyond this machine keys are required.")
@click.option("--port", type=click.IntRange(0, 65535), help="8000 by default; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve.")
@click.option("--store", metavar="FILE", help="Where limits of keys and traces are kept.")
@click.option("--check", is_flag=True, help="Check the configuration, say what it is, and end.")
@click.option("--quiet", is_flag=True, help="No line for each request.")
@click.pass_context
@common
def serve(
    context: click.Context,
    file: Path | None,
    upstream: str | None,
    model: str | None,
    strategy: str | None,
    key_env: str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    store: str | None,
    check: bool,
    quiet: bool,
) -> None:
    """Serve any strategy behind the OpenAI API."""
    if context.invoked_subcommand is not None:
        return
    try:
        from outthink.gateway.config import read_config
        from outthink.gateway.serve import serve as run
    except ImportError as error:
        raise missing_extra("gateway", "the gateway") from error
    here = {"host": host, "port": port, "workers": workers, "store": store}
    if file is not None:
        given = [n for n, v in (("--upstream", upstream), ("--model", model)) if v]
        if given:
            raise BadInput(f"{given[0]} and --config: the file says what is served")
        over = {k: v for k, v in {**here, "strategy": strategy}.items() if v is not None}
        load: Any = partial(read_config, str(file), **over)
    else:
        if upstream is not None and model is not None:
            raise BadInput(
                "--upstream and --model: give one; behind an upstream the model is what a request names"
            )
        if key_env is not None and not os.environ.get(key_env, "").strip():
            raise BadInput(f"--key-env {key_env}: that variable is not set")
        if upstream is None and model is None:
            # the environment says both where the server is and which key belongs to it
            upstream = os.environ.get("OPENAI_BASE_URL") or None
            key_env = key_env or (OPENAI_KEY if upstream else None)
            model = None if upstream else "fly"
        elif key_env is None and upstream and urlsplit(upstream).hostname == OPENAI:
            key_env = OPENAI_KEY
        if upstream is not None and not urlsplit(upstream).path.strip("/"):
            say(f"{upstream} has no path: most servers want {upstream.rstrip('/')}/v1")
        load = partial(_quick, upstream, model, key_env, strategy, here)
    config: Config = load()
    if check:
        from outthink.gateway.app import checked

        checked(config)
        told = config.describe()
        give({"ok": True, "configuration": told}, lambda screen: say(told))
        return
    run(load, config, quiet=quiet)


def _quick(
    upstream: str | None,
    model: str | None,
    key_env: str | None,
    strategy: str | None,
    here: dict[str, Any],
) -> Config:
    from outthink.gateway.config import quick

    return quick(
        upstream,
        model,
        key_env or "",
        strategy,
        here["host"] or "127.0.0.1",
        8000 if here["port"] is None else here["port"],
        here["workers"] or 1,
        here["store"],
    )


@serve.command("new-key")
@click.argument("name")
@common
def new_key(name: str) -> None:
    """Make a key: shown once, with the lines for the configuration."""
    from outthink.gateway.keys import new_key as make
    from outthink.gateway.keys import toml_of

    key, config = make(name)
    lines = toml_of(config)
    if flags().json:
        give({"key": key, "id": config.id, "toml": lines}, lambda screen: None)
        return
    say("the key, shown this once (the configuration holds only its hash):")
    click.echo(f"\n    {key}\n")
    say("lines for the configuration:")
    click.echo(f"\n{lines}")
