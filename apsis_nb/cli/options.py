"""Options that several commands share, and the client that they lead to."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from apsis_nb.client import Client


class Format(StrEnum):
    """How a listing is written."""

    table = "table"
    json = "json"  #: a list of objects
    csv = "csv"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to write the listing.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="APSIS_NB_URL",
        metavar="URL",
        help="The server, as http://HOST:PORT or unix:PATH; by default the one of yours that runs on this "
        "machine. Its token: APSIS_NB_TOKEN.",
    ),
]


def _in_utc(is_wanted: bool) -> None:
    """Let this process tell times in UTC: the reader's zone is that of the environment."""
    if is_wanted:
        os.environ["TZ"] = "UTC"


UtcOption = Annotated[
    bool, typer.Option("--utc", help="Tell times in UTC, not in the zone of this machine.", callback=_in_utc)
]


def client_of(url: str | None) -> "Client":
    """A client of the server that the options name."""
    from apsis_nb.client import Client

    return Client(url)


def args_of(words: list[str]) -> dict[str, str]:
    """The args of words such as `date=2026-01-31`."""
    args: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{word!r}: write ARG=VALUE, for example date=2026-01-31")
        if name in args:
            raise typer.BadParameter(f"{name} is given twice")
        args[name] = value
    return args
