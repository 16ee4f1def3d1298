"""Sending."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import framewire
from helpers import DEADLINE, free_port, next_of, picture, read_until, until, video

TUTORIALS = Path(__file__).parents[3] / "tests/tutorials"


@pytest.fixture
def publisher(hub):
    """Feeds a stream of the hub without loss."""
    with hub.publish("own") as publisher:
        yield publisher


@pytest.fixture
def mine(hub, publisher):
    with hub.view("own", timeout=DEADLINE) as viewer:
        yield viewer


@pytest.fixture
def sender(hub):
    with framewire.Sender(f"{hub.url}/mine") as sender:
        yield sender


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


STRIDES = {
    "plain": lambda: noise(24, 32, 3),
    "every second pixel": lambda: noise(48, 64, 3)[::2, ::2],
    "upside down": lambda: noise(24, 32, 3)[::-1],
    "mirrored": lambda: noise(24, 32, 3)[:, ::-1],
    "channels reversed": lambda: noise(24, 32, 3)[..., ::-1],
    "transposed": lambda: noise(32, 24, 3).transpose(1, 0, 2),
    "planes": lambda: np.moveaxis(noise(3, 24, 32), 0, -1),
    "Fortran's order": lambda: np.asfortranarray(noise(24, 32, 3)),
    "a part": lambda: noise(50, 60, 3)[5:29, 7:39],
    "a channel left out": lambda: noise(24, 32, 4)[..., :3],
    "one pixel repeated": lambda: np.broadcast_to(np.array([1, 2, 3], np.uint8), (24, 32, 3)),
}


@pytest.mark.parametrize("name", STRIDES)
def test_an_array_of_any_strides_arrives_as_it_is(publisher, mine, name):
    image = STRIDES[name]()
    publisher.send(image)
    assert np.array_equal(next_of(mine).image, image)


def test_an_array_that_is_read_only_is_sent(publisher, mine):
    image = noise(24, 32, 3)
    image.flags.writeable = False
    publisher.send(image)
    assert np.array_equal(next_of(mine).image, image)


def test_the_order_of_colours_is_what_the_program_says(publisher, mine):
    image = noise(24, 32, 3)
    publisher.send(image, color="rgb")
    frame = next_of(mine)
    assert np.array_equal(frame.rgb, image)
    assert np.array_equal(frame.image, image[..., ::-1])


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 1)])
def test_grey_pictures_are_sent(publisher, mine, shape):
    image = noise(*shape)
    publisher.send(image, color="gray")
    frame = next_of(mine)
    assert np.abs(frame.gray.astype(int) - image.reshape(24, 32)).max() <= 2
    assert np.abs(frame.image.astype(int) - image.reshape(24, 32, 1)).max() <= 2


def test_an_array_belongs_to_the_program_again_after_sending(publisher, mine):
    image = noise(24, 32, 3)
    copy = image.copy()
    publisher.send(image)
    image.fill(0)
    assert np.array_equal(next_of(mine).image, copy)


WRONG = {
    "nothing": (None, TypeError, "numpy array"),
    "a list": ([[[1, 2, 3]]], TypeError, "numpy array.*list"),
    "bytes": (b"abc", TypeError, "numpy array"),
    "floats": (np.zeros((24, 32, 3)), ValueError, r"float64.*astype\(numpy.uint8\)"),
    "signed": (np.zeros((24, 32, 3), np.int8), ValueError, "int8"),
    "wide": (np.zeros((24, 32, 3), np.uint16), ValueError, "uint16"),
    "truths": (np.zeros((24, 32, 3), bool), ValueError, "bool"),
    "objects": (np.zeros((24, 32, 3), object), ValueError, "object"),
    "four channels": (np.zeros((24, 32, 4), np.uint8), ValueError, r"shape.*\[24, 32, 4\]"),
    "channels first": (np.zeros((3, 24, 32), np.uint8), ValueError, r"\(height, width, 3\)"),
    "a row": (np.zeros(24, np.uint8), ValueError, "shape"),
    "a number": (np.uint8(1), TypeError, "numpy array"),
    "no dimension": (np.array(1, np.uint8), ValueError, "shape"),
    "a batch": (np.zeros((1, 24, 32, 3), np.uint8), ValueError, "shape"),
    "empty": (np.zeros((0, 0, 3), np.uint8), ValueError, "no pixels"),
    "no height": (np.zeros((0, 32), np.uint8), ValueError, "no pixels"),
    "huge": (np.broadcast_to(np.uint8(1), (10000, 10000, 3)), ValueError, "10000x10000.*limit"),
    "wide as a street": (np.zeros((1, 100_000), np.uint8), ValueError, "limit"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_is_an_error_that_says_why(sender, publisher, name):
    image, kind, text = WRONG[name]
    for end in (sender, publisher):
        with pytest.raises(kind, match=text):
            end.send(image)


def test_an_enormous_array_is_refused_before_it_is_copied(publisher):
    with pytest.raises(ValueError, match="limit"):
        publisher.send(np.broadcast_to(np.uint8(1), (1_000_000, 1_000_000, 3)))


def test_an_unknown_order_of_colours_is_an_error(sender):
    with pytest.raises(ValueError, match="bgr, rgb or gray"):
        sender.send(picture(), color="yuv")
    with pytest.raises(ValueError, match="shape"):
        sender.send(picture(), color="gray")


@pytest.mark.parametrize("moment", ["yesterday", object(), [1]])
def test_a_time_of_capture_that_is_none_is_an_error(sender, moment):
    with pytest.raises(TypeError):
        sender.send(picture(), moment)


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), float("-inf")])
def test_a_time_of_capture_that_no_clock_shows_is_an_error(sender, moment):
    with pytest.raises(ValueError, match="captured_at"):
        sender.send(picture(), moment)


AGO = {
    "seconds": lambda: time.time() - 3,
    "whole seconds": lambda: int(time.time()) - 3,
    "utc": lambda: datetime.now(timezone.utc) - timedelta(seconds=3),
    "another zone": lambda: datetime.now(timezone(timedelta(hours=5))) - timedelta(seconds=3),
    "this machine's zone": lambda: datetime.now() - timedelta(seconds=3),
}


@pytest.mark.parametrize("name", AGO)
def test_the_time_of_capture_comes_with_the_frame(hub, name):
    moment = AGO[name]()
    stamp = moment if isinstance(moment, (int, float)) else moment.timestamp()
    with framewire.Sender(f"{hub.url}/timed") as sender:
        sender.send(picture(), moment)
        with framewire.Viewer(f"{hub.url}/timed", wait=True) as viewer:
            frame = next_of(viewer)
    assert abs(frame.captured_at.timestamp() - stamp) < 0.5
    assert frame.age >= 2.5


def test_a_time_of_capture_to_come_is_now(publisher, mine):
    publisher.send(picture(), time.time() + 1000)
    assert 0 <= next_of(mine).age < DEADLINE


def test_send_tells_what_became_of_the_picture_before(hub):
    with framewire.Sender(f"{hub.url}/told") as sender:
        assert sender.send(picture()) is None
        assert sender.send(picture()) == "unwatched"
        with framewire.Viewer(f"{hub.url}/told", wait=True) as viewer:
            assert sender.wait_for_viewers(DEADLINE)
            sender.send(picture())
            next_of(viewer)
            assert sender.send(picture(), timeout=DEADLINE) == "sent"


def test_a_picture_that_waits_is_replaced(hub):
    """A link of 50 kbit/s takes its time for a picture of noise."""
    image = noise(480, 640, 3)
    with framewire.Sender(f"{hub.url}/narrow", codec="jpeg", bitrate=50_000) as sender:
        sender.send(image)
        with framewire.Viewer(f"{hub.url}/narrow", wait=True):
            assert sender.wait_for_viewers(DEADLINE)
            assert "replaced" in {sender.send(image) for _ in range(50)}


def test_sending_never_waits_when_nobody_takes(sender):
    image = picture(width=1280, height=720)
    began = time.monotonic()
    for _ in range(200):
        assert sender.send(image) in (None, "unwatched")
    # At 30 pictures a second these would be seven seconds.
    assert time.monotonic() - began < 5


def test_viewers_are_counted(hub, sender):
    sender.send(picture())
    assert sender.viewers == 0
    assert sender.wait_for_viewers(0.05) is False
    with framewire.Viewer(f"{hub.url}/mine", wait=True):
        assert sender.wait_for_viewers(DEADLINE) is True
        assert sender.viewers == 1
        with framewire.Viewer(f"{hub.url}/mine"):
            until(lambda: sender.viewers == 2)
    until(lambda: sender.viewers == 0)


def test_room_is_waited_for(hub, sender):
    sender.send(picture())
    with framewire.Viewer(f"{hub.url}/mine", wait=True):
        assert sender.wait_for_room(DEADLINE) is True


def test_stats_tell_of_the_stream_and_the_link(hub, sender):
    with framewire.Viewer(f"{hub.url}/mine", wait=True) as viewer:
        sender.wait_for_viewers(DEADLINE)
        for _ in range(5):
            sender.send(picture(), timeout=DEADLINE)
            next_of(viewer)
        stats = sender.stats
        assert (stats["stream"]["name"], stats["stream"]["width"]) == ("mine", 320)
        assert stats["stream"]["published"] > 0
        assert stats["link"]["codec"] == "jpeg"


def test_closing_delivers_the_last_picture(hub):
    with framewire.Sender(f"{hub.url}/last") as sender:
        sender.send(picture())
        viewer = framewire.Viewer(f"{hub.url}/last", wait=True)
        sender.wait_for_viewers(DEADLINE)
        next_of(viewer)
        sender.send(picture((9, 9, 9)))
    assert next_of(viewer).image.mean() < 20


def test_a_size_scales_what_is_sent(hub):
    with framewire.Sender(f"{hub.url}/small", size=(160, 120)) as sender:
        sender.send(picture())
        with framewire.Viewer(f"{hub.url}/small", wait=True) as viewer:
            assert next_of(viewer).image.shape == (120, 160, 3)


def test_the_size_of_the_pictures_may_change(hub, sender):
    sender.send(picture())
    with framewire.Viewer(f"{hub.url}/mine", wait=True) as viewer:
        assert next_of(viewer).width == 320
        sender.send(picture(width=200, height=100))
        assert next_of(viewer).image.shape == (100, 200, 3)


def test_h264_is_sent_where_it_is_asked_for(hub):
    with framewire.Sender(f"{hub.url}/h264", codec="h264") as sender:
        sender.send(picture())
        with framewire.Viewer(f"{hub.url}/h264", wait=True) as viewer:
            sender.wait_for_viewers(DEADLINE)
            sender.send(picture())
            frame = next_of(viewer)
            assert frame.codec == "h264"
            assert np.abs(frame.image.astype(int) - (200, 120, 40)).max() <= 12


def test_nobody_who_listens_is_a_connection_error_of_send():
    port = free_port()
    sender = framewire.Sender(f"fw://127.0.0.1:{port}/door")

    def send():
        try:
            sender.send(picture())
        except ConnectionError as error:
            return str(error)
        return None

    text = until(send, "the error")
    assert str(port) in text and "framewire serve" in text
    with pytest.raises((ConnectionError, framewire.Error)):
        sender.send(picture())
    sender.close()


def test_a_sender_that_has_failed_is_not_waited_for():
    sender = framewire.Sender(f"fw://127.0.0.1:{free_port()}/door")
    with pytest.raises(ConnectionError):
        sender.wait_for_viewers()
    for use in (sender.wait_for_viewers, sender.wait_for_room, lambda: sender.send(picture(), timeout=float("inf"))):
        with pytest.raises((ConnectionError, framewire.Error)):
            use()


def test_closing_tells_why_sending_failed_unless_send_did():
    sender = framewire.Sender(f"fw://127.0.0.1:{free_port()}/door")
    with pytest.raises(ConnectionError):
        sender.send(picture())
        sender.close()
    sender.close()


def test_a_sender_waits_for_a_hub_that_starts_later(hub_process):
    hub = hub_process()
    hub.kill()
    with framewire.Sender(f"{hub.url}/door", wait=True) as sender:
        sender.send(picture())
        hub.start()
        with framewire.Viewer(f"{hub.url}/door", wait=True) as viewer:
            assert next_of(viewer).width == 320


def test_sending_goes_on_when_the_hub_comes_back(hub_process):
    hub = hub_process()
    with framewire.Sender(f"{hub.url}/door") as sender:
        sender.send(picture())
        with framewire.Viewer(f"{hub.url}/door", wait=True) as viewer:
            next_of(viewer)
            hub.kill()
            hub.start()
            began = time.time()

            def arrives():
                sender.send(picture())
                try:
                    return viewer.latest(timeout=0.05).captured_at.timestamp() >= began
                except TimeoutError:
                    return False

            until(arrives, "a frame after the hub's return")


def test_a_name_that_is_taken_is_a_connection_error(hub, publisher):
    sender = framewire.Sender(f"{hub.url}/own")
    with pytest.raises(ConnectionError, match="own"):
        until(lambda: sender.send(picture()) == "never")


def test_a_sender_closes_twice_and_then_is_of_no_use(hub):
    sender = framewire.Sender(f"{hub.url}/mine")
    sender.send(picture())
    sender.close()
    sender.close()
    for use in (lambda: sender.send(picture()), lambda: sender.viewers, sender.wait_for_viewers, lambda: sender.stats):
        with pytest.raises(ValueError, match="the sender is closed"):
            use()


def test_a_sender_of_nothing_closes_at_once(hub):
    for to in (f"{hub.url}/mine", f"fw://127.0.0.1:{free_port()}/x"):
        began = time.monotonic()
        framewire.Sender(to).close()
        assert time.monotonic() - began < 5


def test_closing_does_not_wait_for_a_thread_that_waits(hub):
    sender, waits = framewire.Sender(f"{hub.url}/mine"), threading.Event()
    sender.send(picture())

    def wait():
        waits.set()
        sender.wait_for_viewers()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait)
        waits.wait(DEADLINE)
        sender.close()
        with pytest.raises((ValueError, framewire.Error)):
            waiting.result(DEADLINE)


def test_threads_share_a_sender(hub, sender):
    with ThreadPoolExecutor() as threads:
        for outcome in threads.map(lambda _: sender.send(picture()), range(100)):
            assert outcome in (None, "unwatched")


def test_pictures_go_to_viewers_of_the_pickling_tutorial():
    address = f"pickle://127.0.0.1:{free_port()}"
    image = noise(240, 320, 3)
    with framewire.Sender(address) as sender:
        viewer = framewire.Viewer(address, wait=True)
        assert sender.wait_for_viewers(DEADLINE)
        sender.send(image)
        frame = next_of(viewer)
        assert frame.codec == "bgr24"
        assert np.array_equal(frame.image, image)
    viewer.close()


def test_pictures_go_over_the_lhh_wire():
    address = f"lhh://127.0.0.1:{free_port()}"
    with framewire.Viewer(address) as viewer, framewire.Sender(address, wait=True) as sender:
        assert sender.wait_for_viewers(DEADLINE)
        sender.send(picture())
        frame = next_of(viewer)
        assert frame.codec == "jpeg"
        assert np.abs(frame.image.astype(int) - (200, 120, 40)).max() <= 6


@pytest.mark.parametrize("wire", ["base64", "stopwait"])
def test_pictures_reach_a_tutorials_display(wire, tmp_path):
    script = subprocess.Popen(
        [sys.executable, TUTORIALS / f"{wire}_server.py", "127.0.0.1", "0", tmp_path],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        address = script.stdout.readline().split()[-1]
        with framewire.Sender(f"{wire}://{address}") as sender:
            assert sender.wait_for_viewers(DEADLINE)
            sender.send(picture())
            assert any("shows" in line for line in script.stdout)
    finally:
        script.kill()
        script.communicate()


def test_a_tutorials_camera_is_watched(tmp_path):
    film = video(tmp_path / "film.avi", frames=60)
    script = subprocess.Popen(
        [sys.executable, TUTORIALS / "pickle_camera.py", "127.0.0.1", "0", film, "30"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        address = script.stdout.readline().split()[-1]
        with framewire.Viewer(f"pickle://{address}") as viewer:
            frame = read_until(viewer, lambda frame: True)
            assert frame.image.shape == (240, 320, 3)
    finally:
        script.kill()
        script.communicate()


def test_a_peer_that_is_no_hub_is_an_error_that_ends():
    """It accepts, and then says what no hub says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises((ConnectionError, framewire.Error), match=str(port)):
            framewire.Viewer(f"fw://127.0.0.1:{port}/door", reconnect=False)
        thread.join(DEADLINE)
