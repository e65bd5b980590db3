"""Tells an outside monitor that the server does its work: it tells people when it hears nothing any more."""

import asyncio
import logging
from collections.abc import Callable

from apsis_nb.core.errors import ApsisError

from . import senders
from .threads import in_thread

log = logging.getLogger("apsis_nb.heartbeat")


class Heartbeat:
    """The beats of a server.

    Args:
        url: gives the monitor's address, as it is now; raises NotFound.
        every_s: from one beat to the next.
        is_well: whether the server does its work; without that it is silent.
    """

    def __init__(self, url: Callable[[], str], every_s: float, is_well: Callable[[], bool]) -> None:
        self._url, self._every_s, self._is_well = url, every_s, is_well
        self._was_heard = True

    async def beat(self) -> None:
        """Beat for ever."""
        while True:
            if self._is_well():
                await self._tell()
            await asyncio.sleep(self._every_s)

    async def _tell(self) -> None:
        """What fails is said once; the next beat is tried all the same."""
        try:
            async with asyncio.timeout(senders.HEARTBEAT_S):
                await in_thread(lambda: senders.get(self._url()))
        except (ApsisError, TimeoutError) as error:
            if self._was_heard:
                log.error("the monitor does not hear us: %s", str(error) or "it does not answer")
            self._was_heard = False
        else:
            if not self._was_heard:
                log.info("the monitor hears us again")
            self._was_heard = True
