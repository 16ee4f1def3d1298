"""Memory: what was sent and read is given back."""

import gc
import os
import tracemalloc

import numpy as np

import framewire
from helpers import DEADLINE, next_of, picture

FRAMES = 3000


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grows(run):
    """Runs this once to warm up and then for long; by how many bytes Python's and all memory grew."""
    run(FRAMES // 10)
    gc.collect()
    before = resident()
    tracemalloc.start()
    try:
        traced = tracemalloc.get_traced_memory()[0]
        run(FRAMES)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - traced, resident() - before
    finally:
        tracemalloc.stop()


def test_frames_sent_and_read_are_given_back():
    image = picture()
    with framewire.Hub() as hub, framewire.Sender(f"{hub.url}/mine", wait=True) as sender:
        sender.send(image)
        with framewire.Viewer(f"{hub.url}/mine", wait=True) as viewer:
            next_of(viewer)

            def run(frames):
                for _ in range(frames):
                    sender.send(image, timeout=DEADLINE)
                    try:
                        frame = viewer.latest(timeout=0.01)
                    except TimeoutError:
                        continue
                    assert frame.image.shape == frame.rgb.shape and frame.gray.size and frame.jpeg()

            traced, whole = grows(run)
    # One picture of each frame, kept, would be 690 MB.
    assert traced < 1_000_000
    assert whole < 50_000_000


def test_frames_published_and_read_are_given_back(hub):
    image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    with hub.publish("mine") as publisher, hub.view("mine") as viewer:

        def run(frames):
            for _ in range(frames):
                publisher.send(image[::-1])
                assert next_of(viewer).image[0, 0, 0] == image[-1, 0, 0]

        traced, whole = grows(run)
    assert traced < 1_000_000
    assert whole < 50_000_000


def test_an_array_is_given_back_to_be_used_again(hub):
    """The memory of a picture that is gone shows the next ones: no allocation for each."""
    addresses = set()
    with hub.publish("mine") as publisher, hub.view("mine") as viewer:
        for _ in range(100):
            publisher.send(picture())
            addresses.add(next_of(viewer).image.ctypes.data)
    assert len(addresses) < 20


def test_viewers_and_senders_that_are_gone_leave_nothing(hub):
    def run(rounds):
        for _ in range(rounds // 30):
            with framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE) as viewer:
                next_of(viewer).image.sum()
            framewire.Sender(f"{hub.url}/mine").close()

    traced, whole = grows(run)
    assert traced < 1_000_000
    assert whole < 60_000_000
