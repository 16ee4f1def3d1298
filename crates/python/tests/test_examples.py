"""Runs the programs of examples/python as a user would, and the Python of docs/python.md, against a hub."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Optional

import cv2
import nbclient
import nbformat
import numpy as np
import pytest

import framewire

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples/python"
TUTORIALS = ROOT / "tests/tutorials"
PAGE = ROOT / "docs/python.md"

# Seconds that anything may take here before it has failed.
DEADLINE = 30.0

# Stands in for a screen: a window says what it shows.
SCREEN = """
import cv2
cv2.imshow = lambda window, image: print(f"{window} shows {image.shape[1]}x{image.shape[0]}", flush=True)
cv2.waitKey = lambda delay=0: -1
"""

# Stands in for a model that finds one thing.
MODEL = """
class YOLO:
    def __init__(self, weights): self.boxes = [weights]
    def __call__(self, image, verbose): self.image = image; return [self]
    def plot(self): return self.image
"""


class Program:
    """A Python program and the lines that it prints."""

    def __init__(self, folder: Path, *args: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, args)], cwd=folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # A shell that started the tests in the background has Ctrl-C ignored, and programs inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.lines: list[str] = []
        self._coming: Queue[Optional[str]] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def line(self, pattern: str) -> "Optional[re.Match[str]]":
        """The next line with this pattern; None where the program ends without one."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._coming.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"'{pattern}' was not printed within {DEADLINE} s, but:\n" + "\n".join(self.lines))
            if line is None:
                self._coming.put(None)
                return None
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def says(self, pattern: str) -> "re.Match[str]":
        """The same; that there is none is a failure."""
        found = self.line(pattern)
        assert found, f"the program ended without '{pattern}':\n" + "\n".join(self.lines)
        return found

    def interrupt(self) -> int:
        """Presses Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()


Run = Callable[..., Program]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts Python programs, in a folder of their own and without a screen; ends those that still run."""
    (tmp_path / "sitecustomize.py").write_text(SCREEN)
    programs: list[Program] = []

    def start(*args: object) -> Program:
        programs.append(Program(tmp_path, *args))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


@pytest.fixture
def hub() -> Iterator[framewire.Hub]:
    with framewire.Hub(sources={"scene": "pattern"}) as hub:
        yield hub


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(true: Callable[[], bool], what: str) -> None:
    """Looks again and again until this is true."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.01)


def test_every_example_is_tested_short_and_explained() -> None:
    here = Path(__file__).read_text()
    for example in EXAMPLES.iterdir():
        if example.suffix not in (".py", ".ipynb"):
            continue
        pairs = r"tutorial_((lhh|base64|stopwait)_(server|camera)|pickle_(server|viewer))\.py"
        tutorial = re.fullmatch(pairs, example.name)
        assert tutorial or f'"{example.name}"' in here, f"no test runs {example.name}"
        if example.suffix == ".py":
            text = example.read_text()
            assert len(text.splitlines()) < 40, example.name
            assert text.startswith('"""') and example.name in text and "What to see:" in text, example.name


def test_mypy_is_strict_about_the_examples(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, *EXAMPLES.glob("*.py")],
        capture_output=True, text=True, timeout=300,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_raspberry_pi_camera_is_open_only_while_somebody_watches(run: Run, hub: framewire.Hub) -> None:
    scene = f"{hub.page}streams/scene/mjpeg"
    pi = run(EXAMPLES / "raspberry_pi_camera.py", f"{hub.url}/door", scene)
    for _ in range(2):
        with framewire.Viewer(f"{hub.url}/door", wait=True, timeout=DEADLINE) as viewer:
            pi.says("the camera opens")
            assert next(viewer).image.shape == (720, 1280, 3)
        pi.says("the camera is closed")
    assert pi.interrupt() != 0


def test_raspberry_pi_camera_takes_picamera2_where_it_is(run: Run, hub: framewire.Hub, tmp_path: Path) -> None:
    (tmp_path / "picamera2.py").write_text("""
import contextlib, time, numpy
class Picamera2(contextlib.AbstractContextManager):
    def __exit__(self, *error): print("closed", flush=True)
    def create_video_configuration(self, main): return main
    def start(self, main): self.main = main
    def capture_array(self):
        time.sleep(1 / 30)
        assert self.main["format"] == "RGB888"
        return numpy.full((*self.main["size"][::-1], 3), (200, 100, 0), numpy.uint8)
""")
    pi = run(EXAMPLES / "raspberry_pi_camera.py", f"{hub.url}/door")
    with framewire.Viewer(f"{hub.url}/door", wait=True, timeout=DEADLINE) as viewer:
        assert np.allclose(next(viewer).image.mean((0, 1)), (200, 100, 0), atol=4)
    pi.says("^closed")


def test_raspberry_pi_camera_says_that_there_is_no_camera(run: Run, hub: framewire.Hub) -> None:
    pi = run(EXAMPLES / "raspberry_pi_camera.py", f"{hub.url}/door", "no-such-film.mp4")
    with framewire.Viewer(f"{hub.url}/door", wait=True, timeout=DEADLINE):
        pi.says("no picture from no-such-film.mp4")


def test_ai_server_gives_its_slow_model_fresh_frames(run: Run, hub: framewire.Hub) -> None:
    server = run(EXAMPLES / "ai_server.py", f"{hub.url}/scene", f"{hub.url}/found")
    with framewire.Viewer(f"{hub.url}/found", wait=True, timeout=DEADLINE) as viewer:
        server.says("frame")  # the first, which may be late
        ages, missed = [], []
        for _ in range(5):
            line = server.says(r"(\d+) ms old when the model began, (\d+) ms when it was sent, (\d+) passed over")
            began, sent, passed = map(int, line.groups())
            assert sent >= began + 200
            ages.append(began)
            missed.append(passed)
        # A queue would make each 170 ms older than the one before.
        assert sorted(ages)[2] < 150 and sorted(missed)[2] >= 4, server.lines
        frame = viewer.latest()
        red = (np.abs(frame.image.astype(int) - (0, 0, 255)) < 60).all(axis=2)
        assert red.sum() > 500, "a red box of 120x120 is on the picture"
        assert frame.age > 0.2, "the age is the original's"


def test_event_recorder_writes_what_was_before_and_after_the_event(
    run: Run, hub: framewire.Hub, tmp_path: Path
) -> None:
    still, moved = (np.full((240, 320, 3), 40, np.uint8) for _ in range(2))
    moved[80:160, 80:160] = 220
    picture = still
    over = threading.Event()

    def publish() -> None:
        with hub.publish("yard") as out:
            while not over.wait(1 / 30):  # a camera's pace
                out.send(picture)

    camera = threading.Thread(target=publish)
    camera.start()
    try:
        recorder = run(EXAMPLES / "event_recorder.py", f"{hub.url}/yard", "1")

        def delivered() -> int:
            return sum(int(stream["delivered"]) for stream in hub.streams() if stream["name"] == "yard")

        until(lambda: delivered() > 45, "the recorder has seen 1.5 s")
        picture = moved
        name, kept = recorder.says(r"something moved: (event-\S+\.mjpeg) begins with (\d+) frames").groups()
        recorder.says(f"{name} is complete")
    finally:
        over.set()
        camera.join()
    film = cv2.VideoCapture(str(tmp_path / name))
    bright = [image[120, 120, 0] > 128 for _ in range(1000) for good, image in [film.read()] if good]
    before, after = bright.count(False), bright.count(True)
    assert before == int(kept) - 1 and bright == sorted(bright), bright
    # A second is 30 frames; a busy machine passes some over.
    assert 15 <= before <= 31 and 15 <= after <= 33, (before, after)


def test_notebook_shows_live_video() -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    shown: list[bytes] = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):  # type: ignore[no-untyped-def]
            if message["header"]["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"]["image/jpeg"])
            return super().process_message(message, cell, cell_index)

    Client(notebook, timeout=60, kernel_name="python3").execute()
    assert len(shown) == 101 and len(set(shown)) > 50, "each of the pictures is another"
    outputs = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "ms old" in outputs and "(720, 1280, 3)" in outputs


def film(hub: framewire.Hub, folder: Path) -> Path:
    """Two seconds of the scene in a file."""
    file = folder / "film.mkv"
    assert framewire.record(f"{hub.url}/scene", file, 2).frames > 20
    return file


SIZES = {"lhh": "640x480", "base64": "480x315", "stopwait": "1280x720"}


@pytest.mark.parametrize("wire", SIZES)
def test_tutorial_server_shows_the_tutorials_camera(run: Run, hub: framewire.Hub, tmp_path: Path, wire: str) -> None:
    port, source = free_port(), film(hub, tmp_path)
    server = run(EXAMPLES / f"tutorial_{wire}_server.py", f"{wire}://127.0.0.1:{port}")
    for _ in range(20):  # the script does not wait for its server
        camera = run(TUTORIALS / f"{wire}_camera.py", "127.0.0.1", port, source, 30)
        # At the film's end, this one begins again.
        if camera.line("starts again") if wire == "base64" else camera.process.wait(DEADLINE) == 0:
            break
    for _ in range(3):
        server.says(f"{wire} shows {SIZES[wire]}")
    if wire == "base64":
        server.says(r"send time: \d+-\d+-\d+ .*\+00:00 receive time:")


@pytest.mark.parametrize("wire", SIZES)
def test_tutorial_camera_sends_to_the_tutorials_server(run: Run, hub: framewire.Hub, tmp_path: Path, wire: str) -> None:
    more = ("lhh", 12) if wire == "lhh" else ()
    server = run(TUTORIALS / f"{wire}_server.py", "127.0.0.1", 0, tmp_path, *more)
    port = server.says(r"listens on 127\.0\.0\.1:(\d+)").group(1)
    to = f"{wire}://127.0.0.1:{port}" + ("?long=8" if wire == "lhh" else "")
    camera = run(EXAMPLES / f"tutorial_{wire}_camera.py", to, f"{hub.url}/scene")
    for _ in range(3):
        server.says(f"127.0.0.1:\\d+ shows {SIZES[wire]}")
    assert camera.interrupt() != 0


def test_tutorial_stopwait_camera_ends_with_the_film(run: Run, hub: framewire.Hub, tmp_path: Path) -> None:
    server = run(TUTORIALS / "stopwait_server.py", "127.0.0.1", 0, tmp_path)
    port = server.says(r"listens on 127\.0\.0\.1:(\d+)").group(1)
    camera = run(EXAMPLES / "tutorial_stopwait_camera.py", f"stopwait://127.0.0.1:{port}", film(hub, tmp_path))
    server.says("is over")
    assert camera.process.wait(DEADLINE) == 0


def test_tutorial_pickle_server_feeds_two_viewers(run: Run, hub: framewire.Hub, tmp_path: Path) -> None:
    to = f"pickle://127.0.0.1:{free_port()}"
    run(EXAMPLES / "tutorial_pickle_server.py", to, f"{hub.url}/scene")
    ours = run(EXAMPLES / "tutorial_pickle_viewer.py", to)
    ours.says("RECEIVING VIDEO shows 320x180")
    theirs = run(TUTORIALS / "pickle_viewer.py", "127.0.0.1", to.rpartition(":")[2], tmp_path)
    for _ in range(3):
        theirs.says("RECEIVING VIDEO shows 320x180")
        ours.says("RECEIVING VIDEO shows 320x180")


def test_tutorial_pickle_viewer_shows_the_tutorials_camera(run: Run, hub: framewire.Hub, tmp_path: Path) -> None:
    camera = run(TUTORIALS / "pickle_camera.py", "127.0.0.1", 0, film(hub, tmp_path), 30)
    port = camera.says(r"listens on 127\.0\.0\.1:(\d+)").group(1)
    viewer = run(EXAMPLES / "tutorial_pickle_viewer.py", f"pickle://127.0.0.1:{port}")
    for _ in range(3):
        viewer.says("RECEIVING VIDEO shows 320x180")


def blocks() -> "list[tuple[str, str]]":
    """The Python of the page: its first line, and all of it. `<!-- run -->` stands before what runs as it is."""
    page = PAGE.read_text()
    return re.findall(r"(<!-- run -->\n)?```python\n(.*?)```", page, re.DOTALL)


RUNNABLE = [code for mark, code in blocks() if mark]


def test_all_python_of_the_page_compiles() -> None:
    assert len(RUNNABLE) > 10
    for _, code in blocks():
        compile(code, str(PAGE), "exec")


@pytest.mark.parametrize("code", RUNNABLE, ids=[str(n) for n in range(len(RUNNABLE))])
def test_the_page_runs(run: Run, hub: framewire.Hub, tmp_path: Path, code: str) -> None:
    """It ends by itself without an error, or goes on and on printing or showing pictures."""
    (tmp_path / "ultralytics.py").write_text(MODEL)
    (tmp_path / "snippet.py").write_text(code.replace("127.0.0.1:7070", hub.url.removeprefix("fw://")))
    snippet = run("snippet.py")
    goes_on = all([snippet.line("") for _ in range(5)])
    assert goes_on or snippet.process.wait(DEADLINE) == 0, "\n".join(snippet.lines)
    assert "Traceback" not in "".join(snippet.lines), "\n".join(snippet.lines)
