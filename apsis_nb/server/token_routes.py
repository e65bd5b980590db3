"""Routes that give tokens out, tell which there are, and take them back."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from apsis_nb.config import Config
from apsis_nb.core.times import format_time
from apsis_nb.server import answers
from apsis_nb.server.asking import answer, audit_about, caller_of, instant, utc_now
from apsis_nb.server.callers import Role
from apsis_nb.server.problems import problems
from apsis_nb.server.routing import Router
from apsis_nb.server.token_book import Token, TokenBook


class TokenWanted(BaseModel):
    """What a token is for."""

    model_config = ConfigDict(extra="forbid")

    role: Role = Field(description="what its holder may do: read, run, write or admin", examples=["run"])
    name: str | None = Field(
        None, description="of the holder, told as `by`; one is made up unless given", examples=["ann"]
    )
    paths: list[str] = Field(
        [], description="folders of jobs, or jobs, that it is held to; none: all", examples=[["team"]]
    )
    expires: str | None = Field(
        None, description="when its time is over; never, unless given", examples=["+30d"]
    )


def token_routes(book: TokenBook, config: Config) -> APIRouter:
    """The routes."""
    router = Router(tags=["tokens"])
    turn = asyncio.Lock()  # two changes at once would lose one

    @router.get("/tokens", response_model=answers.Tokens)
    async def listed() -> Response:
        """The tokens that were given out, but not what their holders show."""
        return answer({"tokens": [_facts(token) for token in book]})

    @router.post("/tokens", status_code=201, response_model=answers.NewToken, responses=problems(409))
    async def made(request: Request, wanted: TokenWanted) -> Response:
        """Give a token out. Only this answer has the text that its holder shows, as `token`."""
        expires, now = instant(wanted.expires, "expires", config), utc_now()
        async with turn:
            shown, token = await asyncio.to_thread(
                book.make,
                role=wanted.role,
                name=wanted.name,
                paths=wanted.paths,
                expires_at=None if expires is None else expires.timestamp(),
                by=caller_of(request).user,
                now=now.timestamp(),
            )
        audit_about(request, token.name, token.role, *token.paths)
        return answer({**_facts(token), "token": shown}, 201)

    @router.delete("/tokens/{name}", response_model=answers.RevokedToken, responses=problems(404))
    async def revoked(name: str) -> Response:
        """Take a token back: it opens nothing any more, nor does a browser that logged in with it."""
        async with turn:
            token = await asyncio.to_thread(book.revoke, name)
        return answer({"token": _facts(token)})

    return router


def _facts(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "paths": list(token.paths),
        "made_at": _text(token.made_at),
        "by": token.by,
        "expires_at": None if token.expires_at is None else _text(token.expires_at),
    }


def _text(at_s: float) -> str:
    return format_time(datetime.fromtimestamp(at_s, UTC))
