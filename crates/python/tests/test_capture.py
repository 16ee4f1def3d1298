"""VideoCapture and recording."""

import cv2
import numpy as np
import pytest

import framewire
from helpers import DEADLINE, damage, free_port, picture, until


@pytest.fixture
def capture(hub):
    capture = framewire.VideoCapture(f"{hub.url}/scene", timeout=DEADLINE)
    yield capture
    capture.release()


def test_it_has_the_methods_of_opencvs(capture):
    for name in ("open", "isOpened", "read", "grab", "retrieve", "get", "set", "release", "getBackendName"):
        assert callable(getattr(capture, name)) and callable(getattr(cv2.VideoCapture, name))


def test_read_gives_the_newest_frame_as_bgr(capture):
    assert capture.isOpened()
    for _ in range(3):
        good, image = capture.read()
        assert good is True
        assert (image.shape, image.dtype) == ((240, 320, 3), np.uint8)


def test_a_loop_for_opencv_runs_as_it_stands(film):
    capture, frames = framewire.VideoCapture(f"{film}", timeout=DEADLINE), 0
    while capture.isOpened():
        good, image = capture.read()
        if not good:
            break
        frames += 1
    assert frames == 15
    assert isinstance(capture.why, EOFError)
    assert not capture.isOpened()


def test_grab_and_retrieve_are_the_halves_of_read(capture):
    assert capture.retrieve() == (False, None)
    assert capture.grab() is True
    good, image = capture.retrieve()
    assert good and capture.retrieve()[1] is image
    assert capture.grab() and capture.retrieve()[1] is not image


def test_read_fills_an_array_that_it_is_given(capture):
    image = np.zeros((240, 320, 3), np.uint8)
    good, returned = capture.read(image)
    assert good and returned is image
    assert image.std() > 10


def test_get_tells_the_properties(capture):
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 320
    assert capture.get(cv2.CAP_PROP_FRAME_HEIGHT) == 240
    assert capture.get(cv2.CAP_PROP_BUFFERSIZE) == 1
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 0
    assert capture.get(cv2.CAP_PROP_HUE) == 0
    for _ in range(20):
        capture.read()
    assert 5 < capture.get(cv2.CAP_PROP_FPS) < 60
    position = capture.get(cv2.CAP_PROP_POS_MSEC), capture.get(cv2.CAP_PROP_POS_FRAMES)
    capture.read()
    assert capture.get(cv2.CAP_PROP_POS_MSEC) > position[0] > 0
    assert capture.get(cv2.CAP_PROP_POS_FRAMES) > position[1] > 0


def test_a_frame_that_was_only_looked_at_is_read(film):
    capture = framewire.VideoCapture(f"{film}", timeout=DEADLINE)
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 320
    assert capture.read()[0]
    assert capture.get(cv2.CAP_PROP_POS_FRAMES) == 0


def test_set_asks_for_a_size(capture):
    assert capture.set(cv2.CAP_PROP_FRAME_WIDTH, 160)
    assert capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 120)
    assert capture.read()[1].shape == (120, 160, 3)
    assert capture.set(cv2.CAP_PROP_BUFFERSIZE, 3) is True
    assert capture.set(cv2.CAP_PROP_HUE, 3) is False
    assert capture.set(cv2.CAP_PROP_FRAME_WIDTH, -1) is False
    assert capture.read()[0]


def test_what_cannot_be_opened_is_told_by_is_opened(hub):
    port = free_port()
    for source, kind in (
        ("/nowhere/film.mp4", FileNotFoundError),
        (f"fw://127.0.0.1:{port}/door", ConnectionError),
        (f"{hub.url}/nothing", FileNotFoundError),
        (91, FileNotFoundError),
    ):
        capture = framewire.VideoCapture(source)
        assert capture.isOpened() is False
        assert isinstance(capture.why, kind)
        assert capture.read() == (False, None)
        assert capture.grab() is False
        assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 0
        assert capture.set(cv2.CAP_PROP_FRAME_WIDTH, 100) is False
        capture.release()


def test_it_is_opened_later_and_again(hub):
    capture = framewire.VideoCapture()
    assert not capture.isOpened()
    assert capture.open(f"{hub.url}/scene") is True
    assert capture.read()[0]
    capture.release()
    capture.release()
    assert not capture.isOpened()
    assert capture.read() == (False, None)
    assert capture.open(f"{hub.url}/film") is True
    assert capture.read()[0]
    assert capture.open("/nowhere.mp4") is False
    assert not capture.isOpened()


def test_no_frame_in_time_is_no_picture(hub):
    with hub.publish("still") as publisher:
        capture = framewire.VideoCapture(f"{hub.url}/still", timeout=0.1)
        assert capture.read() == (False, None)
        assert isinstance(capture.why, TimeoutError)
        assert capture.isOpened()
        publisher.send(picture())
        assert until(lambda: capture.read()[0], "the first frame")


def test_a_damaged_frame_is_no_picture(film, tmp_path):
    capture = framewire.VideoCapture(f"{damage(film, tmp_path / 'damaged.avi')}#codec=copy", timeout=DEADLINE)
    assert capture.read() == (False, None)
    assert isinstance(capture.why, framewire.Error)
    assert capture.isOpened()


def test_it_is_a_video_frame_producer(capture):
    properties = capture.discover_source_properties()
    assert isinstance(properties, framewire.SourceProperties)
    assert (properties.width, properties.height) == (320, 240)
    assert properties.is_file is False
    assert properties.is_reconnectable is True
    capture.initialize_source_properties({"frame_width": 160, "frame_height": 120, "fps": 3})
    assert capture.read()[1].shape == (120, 160, 3)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "avi"])
def test_a_recording_can_be_played(hub, tmp_path, ending):
    file = tmp_path / f"recording.{ending}"
    recording = framewire.record(f"{hub.url}/scene", file, 0.7)
    assert recording.files == [str(file)]
    assert recording.frames > 3
    player, frames = cv2.VideoCapture(str(file)), 0
    while True:
        good, image = player.read()
        if not good:
            break
        frames += 1
        assert image.shape == (240, 320, 3)
    assert abs(frames - recording.frames) <= 1


def test_a_film_is_recorded_to_its_end(film, tmp_path):
    recording = framewire.record(f"{film}#codec=copy", str(tmp_path / "copy.mkv"))
    assert recording.frames == 15


def test_a_recording_that_cannot_be_written_is_an_error(hub, tmp_path):
    with pytest.raises((framewire.Error, FileNotFoundError), match="nowhere"):
        framewire.record(f"{hub.url}/scene", tmp_path / "nowhere" / "a.mkv", 0.3)
    with pytest.raises(ValueError, match="mkv"):
        framewire.record(f"{hub.url}/scene", tmp_path / "a.txt", 0.3)
    with pytest.raises(FileNotFoundError):
        framewire.record(f"{hub.url}/nothing", tmp_path / "a.mkv", 0.3)


def test_a_recording_replaces_no_file_unasked(hub, tmp_path):
    file = tmp_path / "a.mkv"
    file.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        framewire.record(f"{hub.url}/scene", file, 0.3)
    assert file.read_text() == "precious"
    assert framewire.record(f"{hub.url}/scene", file, 0.3, overwrite=True).frames > 1
    with pytest.raises(ValueError, match="what would be recorded"):
        framewire.record(str(file), file, overwrite=True)
