"""The process around: forks, its end, Ctrl-C, the garbage collector."""

import gc
import multiprocessing
import os
import signal
import time

import pytest

import framewire
from helpers import DEADLINE, next_of, picture

ENDS_WITHIN = 10
"""Seconds in which a program has to end, with Python's own start and end."""


def watch_in_a_child(url, results):
    """Runs in a process that multiprocessing starts."""
    with framewire.Viewer(url) as viewer:
        results.put(viewer.latest(timeout=DEADLINE).image.shape)


def in_a_fork(run):
    """Runs this in a forked child, and returns what it returned, a short text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Nothing of pytest may run here.
        status = 1
        try:
            os.write(writer, run().encode())
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return text


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gets_an_error_and_the_parent_goes_on(hub, scene):
    sender = framewire.Sender(f"{hub.url}/mine")
    sender.send(picture())
    next_of(scene)
    uses = [
        scene.latest, lambda: next(scene), lambda: scene.stats, scene.close, hub.streams, hub.close,
        lambda: sender.send(picture()), sender.close,
    ]

    def use_all():
        told = []
        for use in uses:
            try:
                use()
            except framewire.Error as error:
                told.append(str(error))
        assert all("fork" in text and "spawn" in text for text in told)
        return str(len(told))

    assert in_a_fork(use_all) == str(len(uses))
    assert next_of(scene).image.shape == (240, 320, 3)
    sender.close()


def test_a_forked_child_exits_normally(program):
    child = program(
        """
        import os, framewire
        hub = framewire.Hub(sources={"scene": "pattern#size=320x240"})
        viewer = framewire.Viewer(hub.url + "/scene")
        viewer.latest()
        pid = os.fork()
        if pid:
            print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            print(viewer.latest().width)
        else:
            try:
                viewer.latest()
            except framewire.Error as error:
                print("told", flush=True)
            viewer = None
        """
    )
    status, out, errors = child.end(ENDS_WITHIN)
    assert (status, out.split()) == (0, ["told", "status", "0", "320"]), errors


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing_watch(hub, method):
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=watch_in_a_child, args=(f"{hub.url}/scene", results))
    child.start()
    child.join(DEADLINE)
    assert child.exitcode == 0
    assert results.get() == (240, 320, 3)


OPEN = """
import asyncio, sys, threading, numpy as np, framewire
hub = framewire.Hub(sources={"scene": "pattern#size=320x240#fps=30"})
viewer = framewire.Viewer(hub.url + "/scene")
viewer.latest(timeout=30)
idle = hub.view("nothing", timeout=None)
begun = threading.Event()
def watch(viewer):
    begun.set()
    for frame in viewer:
        frame.image
"""

ENDINGS = {
    "a viewer left open": "",
    "a viewer that iterates": "next(viewer).image; frames = iter(viewer); next(frames)",
    "a thread that iterates": "threading.Thread(target=watch, args=(viewer,)).start(); begun.wait()",
    "a thread that waits for ever": "threading.Thread(target=watch, args=(idle,)).start(); begun.wait()",
    "a daemon that iterates": "threading.Thread(target=watch, args=(viewer,), daemon=True).start()\nbegun.wait()",
    "a daemon that waits": "threading.Thread(target=watch, args=(idle,), daemon=True).start()\nbegun.wait()",
    "a sender left open": """
sender = framewire.Sender(hub.url + "/mine")
sender.send(np.zeros((240, 320, 3), np.uint8))
""",
    "a publisher left open": "hub.publish('mine').send(np.zeros((240, 320, 3), np.uint8))",
    "a capture left open": "capture = framewire.VideoCapture(hub.url + '/scene'); assert capture.read()[0]",
    "frames and arrays kept": "kept = [(f, f.image, f.gray) for f in (next(viewer) for _ in range(5))]",
    "an event loop that was cancelled": """
async def main():
    task = asyncio.ensure_future(viewer.__anext__())
    await asyncio.sleep(0)
    task.cancel()
asyncio.run(main())
""",
    "a reference in a circle": "viewer_of = [viewer, hub]; viewer_of.append(viewer_of)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_promptly_with(program, ending):
    began = time.monotonic()
    status, _, errors = program(OPEN + ENDINGS[ending]).end(3 * ENDS_WITHIN)
    assert (status, errors) == (0, "")
    assert time.monotonic() - began < ENDS_WITHIN


def test_an_exception_in_the_loop_ends_the_program_with_its_traceback(program):
    status, _, errors = program(OPEN + "for frame in viewer: raise KeyError('mine')").end(ENDS_WITHIN)
    assert status == 1
    assert errors.rstrip().endswith("KeyError: 'mine'")


def test_a_program_may_exit_from_within_the_loop(program):
    status, _, errors = program(OPEN + "for frame in viewer: sys.exit(7)").end(ENDS_WITHIN)
    assert (status, errors) == (7, "")


WAITS = {
    "latest": "idle.latest()",
    "the loop": "for frame in idle: pass",
    "a loop of frames": "for frame in viewer: pass",
    "opening": "framewire.Viewer(hub.url + '/later', wait=True)",
    "async for": "async def main():\n    async for frame in idle: pass\nasyncio.run(main())",
    "wait_for_viewers": "framewire.Sender(hub.url + '/mine').wait_for_viewers()",
    "send": """
sender = framewire.Sender(hub.url + '/mine')
while True:
    sender.send(np.zeros((240, 320, 3), np.uint8), timeout=float('inf'))
""",
    "record": "framewire.record(hub.url + '/scene', sys.argv[1])",
}


@pytest.mark.parametrize("where", WAITS)
def test_ctrl_c_is_a_keyboard_interrupt_in(program, tmp_path, where):
    waits = program(OPEN + "print('waits', flush=True)\n" + WAITS[where], tmp_path / "recording.mkv")
    assert waits.line() == "waits"
    # Wherever it is then: on its way, or waiting.
    waits.process.send_signal(signal.SIGINT)
    status, _, errors = waits.end(ENDS_WITHIN)
    assert "KeyboardInterrupt" in errors
    assert status in (-signal.SIGINT, 1)


def test_ctrl_c_may_be_caught_and_watching_goes_on(program):
    watches = program(
        OPEN
        + """
try:
    print("waits", flush=True)
    idle.latest()
except KeyboardInterrupt:
    print("caught", viewer.latest().width)
"""
    )
    assert watches.line() == "waits"
    watches.process.send_signal(signal.SIGINT)
    assert watches.line() == "caught 320"
    assert watches.end(ENDS_WITHIN)[0] == 0


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_objects_may_go_in_any_order(order):
    hub = framewire.Hub(sources={"scene": "pattern#size=320x240#fps=30"})
    things = [
        hub,
        framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE),
        hub.publish("mine"),
        hub.view("mine", timeout=DEADLINE),
    ]
    del hub
    image = next_of(things[1]).image
    things[2].send(image)
    frame = next_of(things[3])
    for index in order:
        things[index] = None
        gc.collect()
    assert frame.image.shape == image.shape == (240, 320, 3)


def test_the_program_framewire_is_there(program):
    version = program("import sys, framewire.__main__ as m; sys.argv[1:] = ['--version']; sys.exit(m.main())")
    status, out, _ = version.end(ENDS_WITHIN)
    assert (status, out.split()) == (0, ["framewire", framewire.__version__])
    wrong = program("import sys, framewire.__main__ as m; sys.argv[1:] = ['nonsense']; sys.exit(m.main())")
    assert wrong.end(ENDS_WITHIN)[0] == 2


def test_the_program_ends_on_ctrl_c(hub_process):
    hub = hub_process("scene=pattern")
    hub.signal(signal.SIGINT)
    assert hub.process.wait(ENDS_WITHIN) in (0, 130, -signal.SIGINT)
