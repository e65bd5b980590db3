"""The tokens with which people and programs come in."""

import sys
from typing import Annotated, Literal

import typer

from apsis_nb.cli.options import Format, FormatOption, UrlOption, client_of

app = typer.Typer(
    help="Print the token of the server; give out others.", invoke_without_command=True, rich_markup_mode=None
)


@app.callback()
def token(context: typer.Context, url: UrlOption = None) -> None:
    """Print the token of the server; give out others, and take them back.

    \b
    Example:
      APSIS_NB_TOKEN=$(apsis-nb token) python report.py
    """
    if context.invoked_subcommand is not None:
        return
    from apsis_nb.client import find_server

    sys.stdout.write(find_server(url)[1] + "\n")


@app.command()
def new(
    role: Annotated[
        Literal["read", "run", "write", "admin"], typer.Option("--role", help="What its holder may do.")
    ],
    path: Annotated[
        list[str] | None,
        typer.Option("--path", metavar="P", help="Only jobs below this folder; may be repeated. [all]"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="T", help="When its time is over, as +30d. [never]")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="Of the holder; told as who did something.")
    ] = None,
    url: UrlOption = None,
) -> None:
    """Make a token for somebody else, and print it.

    It is told this once: the server keeps only a hash. `read` looks; `run` also starts, stops and marks runs
    of the jobs that there are; `write` also changes jobs and runs any command; `admin` also gives out tokens.

    \b
    Examples:
      apsis-nb token new --role read --name wallboard
      apsis-nb token new --role run --path sales --expires +90d --name ann
    """
    made = client_of(url).make_token(role, name=name, paths=path or (), expires=expires)
    sys.stdout.write(made["token"] + "\n")
    below = f" below {' and '.join(made['paths'])}" if made["paths"] else ""
    until = f" until {made['expires_at']}" if made["expires_at"] else ""
    ends = f"`apsis-nb token revoke {made['name']}` ends it"
    sys.stderr.write(f"{made['name']} may {made['role']}{below}{until}; {ends}\n")


@app.command("list")
def list_(format: FormatOption = Format.table, url: UrlOption = None) -> None:
    """The tokens that were given out: whose, and what for.

    \b
    Example:
      apsis-nb token list
    """
    from apsis_nb.cli.listing import Shown, local, show

    columns = [
        Shown("name", lambda t: t["name"], gives_way=True),
        Shown("role", lambda t: t["role"]),
        Shown("paths", lambda t: " ".join(t["paths"]) or "all", gives_way=True),
        Shown("made", lambda t: local(t["made_at"])),
        Shown("by", lambda t: t["by"]),
        Shown("expires", lambda t: local(t["expires_at"]) if t["expires_at"] else "never"),
    ]
    show(client_of(url).list_tokens(), columns, format, empty="no token has been given out")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `token list` has it.")],
    url: UrlOption = None,
) -> None:
    """Take a token back: it opens nothing any more.

    \b
    Example:
      apsis-nb token revoke ann
    """
    from apsis_nb.cli.listing import clean

    client_of(url).revoke_token(name)
    sys.stderr.write(f"{clean(name)} is revoked\n")
