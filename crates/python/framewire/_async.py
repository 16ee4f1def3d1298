"""Waiting for a frame in an event loop: no thread waits."""

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Frame, Viewer


async def next_frame(viewer: "Viewer") -> "Frame":
    """The next frame of `async for`."""
    loop = asyncio.get_running_loop()
    deadline = None if viewer.timeout is None else loop.time() + viewer.timeout
    while True:
        ready, frame = viewer._poll()
        if frame is not None:
            return frame
        if ready:
            raise StopAsyncIteration
        left = None if deadline is None else deadline - loop.time()
        if left is not None and left <= 0:
            raise TimeoutError(f"'{viewer.name}': no frame came for {viewer.timeout} s")
        await _readable(loop, viewer._fileno(), left)


async def _readable(loop: asyncio.AbstractEventLoop, fd: int, timeout: "float | None") -> None:
    """Waits until this is readable, or the time is over."""
    # Of its own, since a loop has one reader for each number, and several tasks may wait for one viewer.
    fd = os.dup(fd)
    readable = loop.create_future()
    loop.add_reader(fd, lambda: readable.done() or readable.set_result(None))
    try:
        await asyncio.wait([readable], timeout=timeout)
    finally:
        loop.remove_reader(fd)
        os.close(fd)
        readable.cancel()
