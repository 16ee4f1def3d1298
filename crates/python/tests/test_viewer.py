"""Watching."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import islice

import cv2
import numpy as np
import pytest

import framewire
from helpers import DEADLINE, damage, next_of, picture, read_until, until, video


def test_each_frame_comes_once_and_in_order(scene):
    numbers = [frame.sequence for frame in islice(scene, 20)]
    assert numbers == sorted(set(numbers))


def test_a_slow_reader_gets_fresh_frames(scene):
    ages, missed = [], []
    for _ in range(3):
        next_of(scene)
        time.sleep(0.5)
        frame = next_of(scene)
        ages.append(frame.age)
        missed.append(frame.missed)
    # Were they queued, each would be older than the pauses; the newest is not, except on a machine that stands still.
    assert min(ages) < 0.25
    assert min(missed) > 0


def test_missed_counts_the_frames_between(scene):
    before = next_of(scene)
    time.sleep(0.3)
    after = next_of(scene)
    assert after.missed == after.sequence - before.sequence - 1


def test_latest_without_time_takes_what_is_there_and_nothing_twice(hub):
    with hub.publish("still") as publisher, framewire.Viewer(f"{hub.url}/still") as viewer:
        publisher.send(picture())
        assert next_of(viewer).sequence == 0
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            viewer.latest(timeout=0)
        assert time.monotonic() - began < 5
        publisher.send(picture())

        def now():
            try:
                return viewer.latest(timeout=0)
            except TimeoutError:
                return None

        assert until(now, "the second frame").sequence == 1


def test_a_stream_without_frames_is_a_timeout_that_names_it(hub):
    with hub.view("nothing", timeout=0.1) as viewer:
        with pytest.raises(TimeoutError, match="'nothing'.*no frame"):
            viewer.latest()
        with pytest.raises(TimeoutError):
            next(viewer)
        with pytest.raises(TimeoutError):
            viewer.latest(timeout=0.05)


def test_after_a_timeout_frames_come_as_before(hub):
    with hub.view("late", timeout=0.05) as viewer:
        with pytest.raises(TimeoutError):
            viewer.latest()
        with hub.publish("late") as publisher:
            publisher.send(picture())
            assert next_of(viewer).width == 320


def test_a_film_ends_iteration_and_then_is_at_its_end(film):
    with framewire.Viewer(f"{film}", timeout=DEADLINE) as viewer:
        assert [frame.sequence for frame in viewer] == list(range(15))
        for _ in range(2):
            with pytest.raises(EOFError, match="film.avi"):
                viewer.latest()
        assert list(viewer) == []


def test_a_path_object_is_a_source(film):
    with framewire.Viewer(film, timeout=DEADLINE) as viewer:
        assert viewer.name == "film.avi"
        assert next_of(viewer).height == 240


def test_arrays_are_as_opencv_has_them(scene):
    frame = next_of(scene)
    for array, shape in ((frame.image, (240, 320, 3)), (frame.rgb, (240, 320, 3)), (frame.gray, (240, 320))):
        assert isinstance(array, np.ndarray)
        assert array.shape == shape
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert (frame.width, frame.height) == (320, 240)
    assert np.array_equal(frame.rgb, frame.image[..., ::-1])
    grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY).astype(int)
    assert np.abs(grey - frame.gray).mean() < 3


def test_an_image_is_decoded_once_and_belongs_to_the_program(scene):
    frame = next_of(scene)
    image, rgb = frame.image, frame.rgb.copy()
    assert frame.image is image
    assert frame.gray is frame.gray
    cv2.rectangle(image, (0, 0), (320, 240), (1, 2, 3), -1)
    assert (frame.image == (1, 2, 3)).all()
    assert np.array_equal(frame.rgb, rgb)
    assert not (next_of(scene).image == (1, 2, 3)).all()


def test_images_outlive_their_frames_and_the_viewer(hub):
    viewer = framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE)
    images = [frame.image for frame in islice(viewer, 12)]
    copies = [image.copy() for image in images]
    for frame in islice(viewer, 5):
        frame.image.fill(0)
    viewer.close()
    del viewer
    assert all(np.array_equal(image, copy) for image, copy in zip(images, copies))


def test_a_jpeg_is_the_bytes_that_were_sent(hub_process, film):
    with framewire.Viewer(film, codec="copy", timeout=DEADLINE) as viewer:
        frame = next_of(viewer)
        assert frame.codec == "jpeg"
        assert frame.jpeg() in film.read_bytes()
    hub = hub_process(f"film={film}#codec=copy#loop")
    with framewire.Viewer(f"{hub.url}/film", timeout=DEADLINE) as viewer:
        assert next_of(viewer).jpeg() in film.read_bytes()


def test_a_jpeg_of_another_stream_is_made(hub):
    frame = hub.snapshot("film", DEADLINE)
    decoded = cv2.imdecode(np.frombuffer(frame.jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert frame.codec == "h264"
    assert decoded.shape == (240, 320, 3)
    assert np.abs(decoded.astype(int) - frame.image).mean() < 12


@pytest.mark.parametrize("stream", ["scene", "film"])
def test_a_size_scales_every_kind_of_picture(hub, stream):
    with framewire.Viewer(f"{hub.url}/{stream}", size=(160, 100), timeout=DEADLINE) as viewer:
        frame = next_of(viewer)
        assert frame.image.shape == (100, 160, 3)
        assert frame.rgb.shape == (100, 160, 3)
        assert frame.gray.shape == (100, 160)
        assert cv2.imdecode(np.frombuffer(frame.jpeg(), np.uint8), cv2.IMREAD_COLOR).shape == (100, 160, 3)
        assert (frame.width, frame.height) == (160, 100)


def test_frames_over_the_maximum_age_are_dropped(hub):
    with hub.publish("aged") as publisher, framewire.Viewer(f"{hub.url}/aged", max_age=60) as viewer:
        publisher.send(picture(), time.time() - 600)
        with pytest.raises(TimeoutError):
            viewer.latest(timeout=0.2)
        publisher.send(picture())
        assert next_of(viewer).age < 60
        publisher.send(picture(), time.time() - 600)
        with pytest.raises(TimeoutError):
            viewer.latest(timeout=0.2)


def test_the_time_of_capture_is_now_in_utc(scene):
    frame = next_of(scene)
    assert frame.captured_at.tzinfo == timezone.utc
    assert abs(datetime.now(timezone.utc) - frame.captured_at) < timedelta(seconds=10)
    assert frame.captured_at == frame.captured_at
    assert 0 <= frame.age < 10
    assert abs((datetime.now(timezone.utc) - frame.captured_at).total_seconds() - frame.age) < 1


def test_age_grows(scene):
    frame = next_of(scene)
    age = frame.age
    until(lambda: frame.age > age + 0.02)


def test_latency_tells_the_stages_in_the_order_of_the_way(hub):
    with framewire.Viewer(f"{hub.url}/film", timeout=DEADLINE) as viewer:
        latency = next_of(viewer).latency
    assert list(latency) == ["encode", "hub", "downlink", "decode"]
    assert all(0 <= took < DEADLINE for took in latency.values())


def test_stats_and_state_tell_of_the_stream(scene):
    next_of(scene)
    assert scene.state == "live"
    assert scene.name == "scene"
    assert scene.timeout == 30
    stats = scene.stats
    assert (stats["name"], stats["codec"], stats["width"], stats["height"]) == ("scene", "jpeg", 320, 240)
    for _ in islice(scene, 30):
        pass
    assert 5 < scene.stats["fps"] < 60
    assert repr(next_of(scene)).startswith("<framewire.Frame ")


def test_a_stream_whose_frames_stay_away_is_stalled(hub):
    with hub.publish("slow") as publisher, framewire.Viewer(f"{hub.url}/slow") as viewer:
        publisher.send(picture())
        next_of(viewer)
        assert until(lambda: viewer.state != "live" and viewer.state) in ("stalled", "idle")


def test_a_stream_that_is_not_there_yet_is_waited_for(hub):
    with ThreadPoolExecutor() as threads:
        opening = threads.submit(framewire.Viewer, f"{hub.url}/later", wait=True)
        with hub.publish("later") as publisher:
            publisher.send(picture())
            with opening.result(DEADLINE) as viewer:
                assert next_of(viewer).width == 320


def test_frames_come_again_when_the_hub_does(hub_process):
    hub = hub_process("scene=pattern#size=320x240#fps=30")
    with framewire.Viewer(f"{hub.url}/scene") as viewer:
        next_of(viewer)
        hub.kill()
        with pytest.raises(TimeoutError):
            while True:
                viewer.latest(timeout=0.3)
        assert viewer.state != "closed"
        hub.start()
        assert next_of(viewer).age < 10


def test_without_reconnection_a_hub_that_goes_away_is_a_connection_error(hub_process):
    hub = hub_process("scene=pattern#size=320x240#fps=30")
    with framewire.Viewer(f"{hub.url}/scene", reconnect=False, timeout=DEADLINE) as viewer:
        next_of(viewer)
        hub.kill()
        with pytest.raises(ConnectionError, match=str(hub.port)):
            for _ in viewer:
                pass


def test_frames_resume_with_a_hub_that_was_stopped(hub_process):
    hub = hub_process("scene=pattern#size=320x240#fps=30")
    with framewire.Viewer(f"{hub.url}/scene") as viewer:
        next_of(viewer)
        hub.signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                while True:
                    viewer.latest(timeout=0.5)
        finally:
            hub.signal(signal.SIGCONT)
        began = time.time()
        fresh = read_until(viewer, lambda frame: frame.captured_at.timestamp() >= began)
        assert fresh.image.shape == (240, 320, 3)


def test_a_context_closes_the_viewer(hub):
    with framewire.Viewer(f"{hub.url}/scene") as viewer:
        pass
    assert viewer.state == "closed"
    with pytest.raises(ValueError, match="closed"):
        viewer.latest()
    with pytest.raises(ValueError, match="closed"):
        _ = viewer.stats
    assert list(viewer) == []
    viewer.close()


def test_a_context_closes_the_viewer_after_an_exception_too(hub):
    with pytest.raises(KeyError), framewire.Viewer(f"{hub.url}/scene") as viewer:
        raise KeyError
    assert viewer.state == "closed"


def test_leaving_the_loop_does_not_close_the_viewer(scene):
    for _ in scene:
        break
    assert next_of(scene)


def test_closing_wakes_a_thread_that_waits(hub):
    """Many times, as the thread may be anywhere in its waiting."""
    for _ in range(10):
        viewer, waits = hub.view("nothing", timeout=None), threading.Event()

        def wait(viewer=viewer, waits=waits):
            waits.set()
            viewer.latest()

        with ThreadPoolExecutor() as threads:
            iterating = threads.submit(list, viewer)
            waiting = threads.submit(wait)
            waits.wait(DEADLINE)
            viewer.close()
            assert iterating.result(DEADLINE) == []
            with pytest.raises(ValueError, match="the viewer is closed"):
                waiting.result(DEADLINE)


def test_two_threads_may_close_at_once(hub):
    for _ in range(10):
        viewer, barrier = framewire.Viewer(f"{hub.url}/scene"), threading.Barrier(2)

        def close(viewer=viewer, barrier=barrier):
            barrier.wait(DEADLINE)
            viewer.close()

        with ThreadPoolExecutor() as threads:
            for closing in [threads.submit(close) for _ in range(2)]:
                closing.result(DEADLINE)
        assert viewer.state == "closed"


def test_the_figures_are_there_while_another_thread_waits(hub):
    with hub.view("nothing", timeout=None) as viewer, ThreadPoolExecutor() as threads:
        waiting = threads.submit(list, viewer)
        for _ in range(5):
            assert threads.submit(lambda: viewer.stats).result(DEADLINE)["name"] == "nothing"
        viewer.close()
        waiting.result(DEADLINE)


def test_two_threads_share_a_viewer_and_no_frame_comes_twice(scene):
    with ThreadPoolExecutor() as threads:
        readers = [threads.submit(lambda: [next_of(scene).sequence for _ in range(15)]) for _ in range(2)]
        first, second = (reader.result(DEADLINE) for reader in readers)
    assert len(set(first) | set(second)) == 30


def test_several_viewers_watch_in_several_threads(hub):
    def watch(stream):
        with framewire.Viewer(f"{hub.url}/{stream}", timeout=DEADLINE) as viewer:
            return [frame.image.shape for frame in islice(viewer, 10)]

    with ThreadPoolExecutor(6) as threads:
        for shapes in threads.map(watch, ["scene", "film"] * 3):
            assert shapes == [(240, 320, 3)] * 10


def test_h264_is_decoded(hub):
    with framewire.Viewer(f"{hub.url}/film", timeout=DEADLINE) as viewer:
        frames = list(islice(viewer, 10))
    assert {frame.codec for frame in frames} == {"h264"}
    # A moving scene: neither empty nor twice the same.
    images = [frame.image for frame in frames]
    assert all(image.std() > 10 for image in images)
    assert not np.array_equal(images[0], images[-1])


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (255, 255, 255), (0, 0, 0)])
def test_colours_come_back_to_a_few_units(hub, color):
    with framewire.Sender(f"{hub.url}/colors", codec="jpeg", wait=True) as sender:
        with framewire.Viewer(f"{hub.url}/colors", wait=True) as viewer:
            sender.send(picture(color))
            frame = next_of(viewer)
            assert frame.codec == "jpeg"
            assert np.abs(frame.image.astype(int) - color).max() <= 4
            assert np.abs(frame.rgb.astype(int) - color[::-1]).max() <= 4


def test_a_frame_is_decoded_when_its_pixels_are_asked_for(film, tmp_path):
    """These pictures cannot be decoded, and are no error of those who do not look."""
    damaged = damage(film, tmp_path / "damaged.avi")
    with framewire.Viewer(damaged, codec="copy", timeout=DEADLINE) as viewer:
        frames = list(viewer)
    assert frames and all(frame.width == 320 for frame in frames)
    for _ in range(2):
        with pytest.raises(framewire.Error, match="broken"):
            _ = frames[0].image
        with pytest.raises(framewire.Error):
            _ = frames[-1].gray


def test_only_what_is_taken_costs_time(hub_process):
    """The processor's time, of a reader of all frames and of one that takes every sixth."""
    hub = hub_process("large=pattern#size=1920x1080#fps=30#codec=jpeg")

    def cost(frames, pause):
        with framewire.Viewer(f"{hub.url}/large", timeout=DEADLINE) as viewer:
            next_of(viewer)
            began = time.process_time()
            for _ in range(frames):
                time.sleep(pause)
                assert next_of(viewer).image.shape == (1080, 1920, 3)
            return time.process_time() - began

    assert cost(6, 0.2) < 0.6 * cost(36, 0)


def test_a_film_is_opened_anew_by_each_viewer(tmp_path):
    path = video(tmp_path / "film.mp4", "mp4v", 5)
    for _ in range(2):
        assert next_of(framewire.Viewer(f"{path}")).sequence == 0


def test_no_descriptor_is_left_by_viewers(hub):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    def watch():
        with framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE) as viewer:
            next_of(viewer)

    watch()
    before = opened()
    for _ in range(10):
        watch()
    until(lambda: opened() <= before + 3, "as few descriptors as before")
