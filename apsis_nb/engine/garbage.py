"""Keeps Python's collections of garbage short: each holds the loop for as long as it looks at what is alive.

With many runs alive a collection of everything takes some tenths of a second, and Python would do one every
few minutes. Runs and jobs are in no cycles: they go when nobody names them. So what has lived for a moment is
looked at no more, but every quarter of an hour, for the cycles that connections and tasks may have left.

A start makes what stays: whoever starts a server turns collections off, which saves a tenth of the time.
"""

import asyncio
import gc

EVERY_S, ALL_EVERY_S = 0.2, 900.0
#: As the threshold of the oldest: Python does not collect it by itself.
_NEVER = 1_000_000_000


async def collect() -> None:
    """Collect, for as long as the server runs; then all is as Python does it."""
    loop = asyncio.get_running_loop()
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], _NEVER)
    gc.enable()
    try:
        while True:
            gc.unfreeze()
            all_at = loop.time() + ALL_EVERY_S
            while loop.time() < all_at:
                gc.collect()
                gc.freeze()
                await asyncio.sleep(EVERY_S)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
