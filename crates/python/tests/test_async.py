"""Watching in an event loop."""

import asyncio

import pytest

import framewire
from helpers import DEADLINE, picture


async def first(viewer, count):
    frames = []
    async for frame in viewer:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def run(task):
    async def limited():
        return await asyncio.wait_for(task, DEADLINE)

    return asyncio.run(limited())


@pytest.mark.parametrize("stream", ["scene", "film"])
def test_frames_come_in_an_event_loop_each_once(hub, stream):
    with framewire.Viewer(f"{hub.url}/{stream}") as viewer:
        frames = run(first(viewer, 15))
    numbers = [frame.sequence for frame in frames]
    assert numbers == sorted(set(numbers))
    assert frames[0].image.shape == (240, 320, 3)


def test_a_film_ends_the_loop(film):
    with framewire.Viewer(f"{film}") as viewer:
        assert len(run(first(viewer, 1000))) == 15
        assert run(first(viewer, 1000)) == []


def test_no_frame_in_time_is_a_timeout_and_the_loop_goes_on(hub):
    with hub.view("late", timeout=0.1) as viewer:
        with pytest.raises(TimeoutError, match="'late'.*no frame"):
            run(first(viewer, 1))
        with hub.publish("late") as publisher:
            publisher.send(picture())
            assert len(run(first(viewer, 1))) == 1


def test_the_loop_runs_on_while_frames_are_waited_for(hub):
    async def both():
        with hub.view("nothing", timeout=None) as viewer:
            waiting = asyncio.ensure_future(first(viewer, 1))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(both())


def test_a_cancelled_wait_loses_no_frame_and_leaves_the_viewer_usable(hub):
    async def again():
        with hub.publish("late") as publisher, hub.view("late", timeout=None) as viewer:
            for number in range(5):
                waiting = asyncio.ensure_future(viewer.__anext__())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                publisher.send(picture())
                assert (await viewer.__anext__()).sequence == number

    run(again())


def test_wait_for_bounds_the_wait(hub):
    async def bounded():
        with hub.view("nothing", timeout=None) as viewer:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(viewer.__anext__(), 0.05)

    run(bounded())


def test_several_viewers_share_a_loop(hub):
    async def several():
        viewers = [framewire.Viewer(f"{hub.url}/{name}") for name in ("scene", "film", "scene")]
        counts = [len(frames) for frames in await asyncio.gather(*(first(viewer, 10) for viewer in viewers))]
        for viewer in viewers:
            viewer.close()
        return counts

    assert run(several()) == [10, 10, 10]


def test_several_tasks_share_a_viewer_and_no_frame_comes_twice(hub):
    async def several():
        with framewire.Viewer(f"{hub.url}/scene", timeout=None) as viewer:
            return await asyncio.gather(*(first(viewer, 8) for _ in range(3)))

    numbers = [frame.sequence for frames in run(several()) for frame in frames]
    assert len(set(numbers)) == len(numbers) == 24


@pytest.mark.parametrize("from_thread", [False, True])
def test_closing_ends_the_loop(hub, from_thread):
    async def closed():
        viewer = hub.view("nothing", timeout=None)
        waiting = asyncio.ensure_future(first(viewer, 1))
        await asyncio.sleep(0.05)
        if from_thread:
            await asyncio.get_running_loop().run_in_executor(None, viewer.close)
        else:
            viewer.close()
        return await waiting

    assert run(closed()) == []


def test_a_viewer_serves_one_loop_after_another_and_plain_code(hub):
    with framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE) as viewer:
        numbers = []
        for _ in range(3):
            numbers += [frame.sequence for frame in run(first(viewer, 2))]
            numbers.append(next(viewer).sequence)
    assert numbers == sorted(set(numbers))
