"""Tells systemd, if it started us, that the server is up and that its loop goes on."""

import asyncio
import os
import socket
from collections.abc import Mapping


def tell(text: str, env: Mapping[str, str] = os.environ) -> None:
    """Send a message as sd_notify(3) has them: `READY=1`, `WATCHDOG=1`, `STOPPING=1`.

    Without systemd there is nobody to tell, and one that cannot be sent is lost.
    """
    address = env.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(text.encode(), name)
        except OSError:
            return


def watchdog_s(env: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """After how many seconds without a word systemd kills this process and starts it anew; None: never.

    Args:
        env: in which systemd says so.
        pid: of the process that is to speak, by default this one.
    """
    who = env.get("WATCHDOG_PID", "")
    text = env.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0 or who not in ("", str(pid or os.getpid())):
        return None
    return int(text) / 1e6


async def feed_watchdog(within_s: float) -> None:
    """Say for ever that the loop goes on, twice in the time that systemd waits.

    That the store is out of order is no reason to be killed: the server says so, and starts again by itself.
    """
    while True:
        tell("WATCHDOG=1")
        await asyncio.sleep(within_s / 2)
