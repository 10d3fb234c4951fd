"""Background work ends when told to."""

import asyncio
import contextlib

from realtime.lifecycle import Background


async def test_stop_ends_work_whose_library_swallows_a_cancellation() -> None:
    swallowed = asyncio.Event()

    async def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.set()
        await asyncio.Event().wait()

    background = Background()
    background.start([work()])
    # the work begins before it can be cancelled
    await asyncio.sleep(0)
    await asyncio.wait_for(background.stop(), 5)
    assert swallowed.is_set()
    assert not background.died.is_set()
