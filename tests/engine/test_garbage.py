"""Collections of garbage look at what is new only, and end with the server."""

import asyncio
import gc
from typing import Any

import pytest

from apsis_nb.engine import garbage


def test_what_has_lived_for_a_moment_is_looked_at_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(garbage, "EVERY_S", 0.001)
    before = gc.get_threshold()
    gc.disable()  # as a server starts

    async def check() -> None:
        looked: asyncio.Queue[int] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(phase: str, info: dict[str, Any]) -> None:
            if phase == "start" and info["generation"] == 2:
                loop.call_soon_threadsafe(looked.put_nowait, len(gc.get_objects()))

        gc.callbacks.append(tell)
        collecting = asyncio.create_task(garbage.collect())
        try:
            async with asyncio.timeout(30):
                first, second = await looked.get(), await looked.get()
        finally:
            gc.callbacks.remove(tell)
            collecting.cancel()
        assert second < first / 10
        with pytest.raises(asyncio.CancelledError):
            await collecting

    asyncio.run(check())

    assert gc.isenabled()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
