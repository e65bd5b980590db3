"""A proxy that takes a prefix away: everything below it goes to another address."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def stripping(prefix: str, url: str) -> Iterator[str]:
    """The address below which the server at `url` answers, which hears nothing of `prefix`."""
    ready = threading.Event()
    told: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        passing: set[asyncio.Task[None]] = set()

        def take(browser: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_pass_on(browser, answer, prefix, url))
            passing.add(task)
            task.add_done_callback(passing.discard)

        proxy = await asyncio.start_server(take, "127.0.0.1", 0)
        stopped, port = asyncio.Event(), proxy.sockets[0].getsockname()[1]
        told.append((f"http://127.0.0.1:{port}{prefix}", asyncio.get_running_loop(), stopped))
        ready.set()
        async with proxy:
            await stopped.wait()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(10)
    address, loop, stopped = told[0]
    yield address
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)
    assert not thread.is_alive()


async def _pass_on(
    browser: asyncio.StreamReader, answer: asyncio.StreamWriter, prefix: str, url: str
) -> None:
    """One request on each connection, or one websocket."""
    async with AsyncExitStack() as open_ones:
        open_ones.enter_context(suppress(asyncio.IncompleteReadError))  # who connects and asks for nothing
        open_ones.push_async_callback(_close, answer)
        head = (await browser.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.split("\r\n")[:-2]
        method, path, version = first.split(" ")
        if not path.startswith(f"{prefix}/"):
            answer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        is_websocket = any(field.lower() == "upgrade: websocket" for field in fields)
        if not is_websocket:
            fields = [field for field in fields if not field.lower().startswith("connection:")]
            fields.append("Connection: close")
        there = urlsplit(url)
        server, to_server = await asyncio.open_connection(there.hostname, there.port)
        open_ones.push_async_callback(_close, to_server)
        head = "\r\n".join([f"{method} {path.removeprefix(prefix)} {version}", *fields, "", ""])
        to_server.write(head.encode("latin-1"))
        copying = [
            asyncio.ensure_future(_copy(browser, to_server)),
            asyncio.ensure_future(_copy(server, answer)),
        ]
        try:  # until one of the two has left
            await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copying:
                task.cancel()
            await asyncio.gather(*copying, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):  # who asked has left
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
