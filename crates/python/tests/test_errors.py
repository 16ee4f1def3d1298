"""Errors: of which kind they are, and whether they say what to try."""

import logging
import signal

import pytest

import framewire
from helpers import free_port, next_of, until


def test_a_stream_that_does_not_exist_is_not_found_and_those_that_do_are_told(hub):
    with pytest.raises(FileNotFoundError, match="'nothing'.*'film', 'scene'"):
        framewire.Viewer(f"{hub.url}/nothing")


def test_nobody_who_listens_is_a_connection_error_that_tells_how_to_start_a_hub():
    port = free_port()
    with pytest.raises(ConnectionError, match=f"{port}.*framewire serve"):
        framewire.Viewer(f"fw://127.0.0.1:{port}/door")


@pytest.mark.parametrize("source", ["/nowhere/film.mp4", "nowhere.mp4", 91, "/dev/video91"])
def test_a_file_or_camera_that_does_not_exist_is_not_found_and_named(source):
    with pytest.raises(FileNotFoundError, match=str(source).rpartition("/")[2]):
        framewire.Viewer(source)


def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path):
    (tmp_path / "notes.mp4").write_text("no video at all")
    with pytest.raises(framewire.Error, match="notes.mp4"):
        framewire.Viewer(tmp_path / "notes.mp4")


@pytest.mark.parametrize(
    "source, options, text",
    [
        ("", {}, "camera, file, URL"),
        ("fw://", {}, "fw://"),
        ("fw://host:port/x", {}, "port"),
        ("fw://127.0.0.1:7070/a b", {}, "letters"),
        ("pattern#colour=red", {}, "colour.*size=WxH"),
        ("pattern#size=big", {}, "size"),
        ("pattern", {"codec": "av1"}, "auto, jpeg, h264"),
        ("pattern", {"size": (0, 10)}, "pixels"),
        ("pattern", {"size": (-1, 10)}, "-1x10"),
        ("pattern", {"size": (100_000, 100_000)}, "limit"),
        ("pattern", {"timeout": -1}, "seconds"),
        ("pattern", {"timeout": float("nan")}, "seconds"),
        ("pattern", {"max_age": -1}, "seconds"),
    ],
)
def test_a_wrong_argument_is_a_value_error_that_tells_what_is_right(source, options, text):
    with pytest.raises(ValueError, match=text):
        framewire.Viewer(source, **options)


@pytest.mark.parametrize(
    "options",
    [{"source": None}, {"source": 1.5}, {"source": ["pattern"]}, {"source": "pattern", "timeout": "soon"},
     {"source": "pattern", "size": 3}, {"source": "pattern", "speed": 3}],
)
def test_an_argument_of_the_wrong_type_is_a_type_error(options):
    with pytest.raises(TypeError):
        framewire.Viewer(**options)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"to": "http://127.0.0.1"}, "fw://HOST:PORT/NAME"),
        ({"to": "door"}, "fw://HOST:PORT/NAME"),
        ({"codec": "av1"}, "auto, jpeg, h264"),
        ({"quality": 0}, "1 to 100"),
        ({"quality": 101}, "1 to 100"),
        ({"quality": 1000}, "1 to 100"),
        ({"fps": -1}, "rate"),
        ({"fps": float("nan")}, "rate"),
        ({"bitrate": 1}, "bitrate"),
        ({"size": (0, 1)}, "pixels"),
        ({"size": (1, -1)}, "1x-1"),
        ({"max_age": -1}, "seconds"),
    ],
)
def test_a_wrong_argument_of_a_sender_is_a_value_error(options, text):
    with pytest.raises(ValueError, match=text):
        framewire.Sender(**{"to": "fw://127.0.0.1:1/x", **options})


def test_an_error_is_one_line(hub):
    for source in (f"{hub.url}/nothing", "/nowhere.mp4", "pattern#x", f"fw://127.0.0.1:{free_port()}/a"):
        with pytest.raises((OSError, ValueError)) as error:
            framewire.Viewer(source)
        assert "\n" not in str(error.value)


def test_an_error_of_framewire_is_an_exception_of_its_own():
    assert issubclass(framewire.Error, Exception)
    assert not issubclass(framewire.Error, (OSError, ValueError))
    assert framewire.Error.__module__ == "framewire"


def test_a_hub_that_goes_away_is_told_in_the_log(hub_process, caplog):
    hub = hub_process("scene=pattern#size=320x240")
    with caplog.at_level(logging.INFO, logger="framewire"), framewire.Viewer(f"{hub.url}/scene") as viewer:
        next_of(viewer)
        hub.signal(signal.SIGKILL)

        def told():
            return [record for record in caplog.records if "trying again" in record.getMessage()]

        record = until(told, "a line of the log")[0]
    assert record.name == "framewire"
    assert record.levelno == logging.WARNING
    assert str(hub.port) in record.getMessage()
