"""A dashboards process for the tests of the proxy: tells what it is asked, and leaves when stdin closes.

Run as the real one: `python pages.py --socket PATH --prefix /dash --api URL`.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

SECRETS: dict[str, str] = {}


async def told(request: Request) -> Response:
    """What came: method, path, query, headers, body."""
    facts = {
        "pid": os.getpid(),
        "method": request.method,
        "path": request.url.path,
        "query": request.url.query,
        "headers": request.headers.items(),
        "body": (await request.body()).decode(),
        "secrets": SECRETS,
        "argv": sys.argv[1:],
    }
    response = JSONResponse(facts, headers={"Cache-Control": "no-store"})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def script(request: Request) -> Response:
    """A script that counts how often it was asked for."""
    script.asked = getattr(script, "asked", 0) + 1  # type: ignore[attr-defined]
    text = f"// {script.asked}\n" + "x" * 10_000  # type: ignore[attr-defined]
    return Response(text, media_type="text/javascript", headers={"ETag": '"e1"', "Cache-Control": "no-cache"})


async def pieces(request: Request) -> Response:
    """Two pieces; the second comes when `/dash/more` is asked for."""

    async def body() -> AsyncIterator[bytes]:
        yield b"first "
        await more.wait()
        yield b"second"

    return StreamingResponse(body())


more = asyncio.Event()


async def give_more(request: Request) -> Response:
    more.set()
    return Response()


async def die(request: Request) -> Response:
    os._exit(3)


async def echo(websocket: WebSocket) -> None:
    """Tells the headers, then sends back what comes; `close` closes."""
    await websocket.accept(subprotocol=next(iter(websocket.scope["subprotocols"]), None))
    await websocket.send_json({"headers": websocket.headers.items(), "path": str(websocket.url)})
    async for message in _messages(websocket):
        if message.get("text") == "close":
            await websocket.close()
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])
    left.set()


left = asyncio.Event()


async def has_left(request: Request) -> Response:
    """Answers once a websocket was closed by its browser."""
    await left.wait()
    return Response()


async def _messages(websocket: WebSocket) -> AsyncIterator[dict[str, str]]:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        yield dict(message)


def leave_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--socket", "--prefix", "--api"):
        parser.add_argument(name)
    given = parser.parse_args()
    SECRETS.update(json.loads(sys.stdin.readline()))
    threading.Thread(target=leave_with_stdin, daemon=True).start()
    app = Starlette(
        routes=[
            Route("/dash/told", told, methods=["GET", "POST"]),
            Route("/dash/static/app.js", script),
            Route("/dash/pieces", pieces),
            Route("/dash/more", give_more),
            Route("/dash/left", has_left),
            Route("/dash/die", die),
            WebSocketRoute("/dash/told/ws", echo),
        ]
    )
    uvicorn.run(app, uds=given.socket, log_level="error")
