"""What the tests share: conditions with a deadline, pictures, films, and programs in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import cv2
import numpy as np

DEADLINE = 30.0
"""Seconds after which a test that waits has failed: far more than it takes on a slow machine."""

SCENE = "pattern#size=320x240#fps=30#codec=jpeg"
FILM = "pattern#size=320x240#fps=30#codec=h264"


def until(condition, what="the condition", seconds=DEADLINE):
    """Waits until this holds, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.01)
    return value


def picture(color=(200, 120, 40), width=320, height=240):
    """A picture of one colour: blue, green, red."""
    return np.full((height, width, 3), color, np.uint8)


def video(path, fourcc="MJPG", frames=15, fps=30):
    """A short video of 320x240, whose frames become brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), fps, (320, 240))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture((number * 10, number * 5, 100)))
    writer.release()
    return path


def damage(film, to):
    """Writes this film of JPEGs with pictures that cannot be decoded: their Huffman tables are none."""
    data, at = bytearray(film.read_bytes()), 0
    while (at := data.find(b"\xff\xc4", at)) >= 0:
        data[at + 4 : at + 21] = b"\xff" * 17
        at += 2
    to.write_bytes(data)
    return to


def read_until(viewer, wanted, what="a frame as wanted"):
    """The first frame of which this holds."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            frame = viewer.latest(timeout=0.5)
        except TimeoutError:
            continue
        if wanted(frame):
            return frame
    raise AssertionError(f"{what} did not come within {DEADLINE} s")


def next_of(viewer):
    """The next frame, however slow the machine is."""
    return viewer.latest(timeout=DEADLINE)


def free_port():
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


class Program:
    """A Python program in a process of its own, and its lines."""

    def __init__(self, code, *args, python=sys.executable, env=None):
        command = [python, "-u", "-c", textwrap.dedent(code), *map(str, args)]
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )

    def line(self):
        """Waits for its next line."""
        return self.process.stdout.readline().strip()

    def end(self, seconds=DEADLINE):
        """Waits for its end: its status, the rest of its output, and its errors."""
        try:
            out, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            _, errors = self.process.communicate()
            raise AssertionError(f"the program did not end within {seconds} s:\n{errors}") from None
        return self.process.returncode, out, errors

    def stop(self):
        """Ends it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class HubProcess:
    """`framewire serve` on a port that stays the same when it starts again."""

    def __init__(self, *sources):
        self.port = free_port()
        self.url = f"fw://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "framewire", "serve", "--listen", f"127.0.0.1:{self.port}"]
        for source in sources:
            self.command += ["--source", source]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.listens, "the hub's port")

    def listens(self):
        assert self.process.poll() is None, "the hub has ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()
