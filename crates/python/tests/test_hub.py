"""A hub in this process."""

import urllib.request

import cv2
import numpy as np
import pytest

import framewire
from helpers import DEADLINE, free_port, next_of, picture, until


def test_the_address_and_the_page_are_told(hub):
    assert hub.url.startswith("fw://127.0.0.1:")
    assert hub.page == hub.url.replace("fw://", "http://") + "/"
    with urllib.request.urlopen(hub.page, timeout=DEADLINE) as page:
        assert page.headers.get_content_type() == "text/html"
        assert b"<html" in page.read().lower()


def test_streams_tells_the_figures_of_each(hub):
    with framewire.Viewer(f"{hub.url}/scene", timeout=DEADLINE) as viewer:
        next_of(viewer)
        streams = {stream["name"]: stream for stream in hub.streams()}
        assert set(streams) == {"scene", "film"}
        scene = streams["scene"]
        assert (scene["state"], scene["codec"], scene["width"], scene["height"]) == ("live", "jpeg", 320, 240)
        assert scene["viewers"] == 1
        assert {"fps", "latency_ms", "bitrate"} <= set(scene)
        assert streams["film"]["viewers"] == 0


def test_a_snapshot_is_the_newest_frame(hub):
    first, second = hub.snapshot("scene", DEADLINE), hub.snapshot("scene", DEADLINE)
    assert (second.captured_at - first.captured_at).total_seconds() > -0.001
    assert second.image.shape == (240, 320, 3)
    assert second.age < 10


def test_a_snapshot_of_nothing_is_a_timeout(hub):
    with pytest.raises(TimeoutError, match="'nothing'"):
        hub.snapshot("nothing", 0.1)


def test_what_is_published_is_seen_by_every_kind_of_viewer(hub):
    image = picture()
    with hub.publish("mine") as publisher:
        assert publisher.viewers == 0
        with hub.view("mine") as here, framewire.Viewer(f"{hub.url}/mine") as there:
            until(lambda: publisher.viewers == 2)
            publisher.send(image)
            assert np.array_equal(next_of(here).image, image)
            assert np.abs(next_of(there).image.astype(int) - image).max() <= 6


def test_a_published_stream_ends(hub):
    publisher = hub.publish("mine")
    publisher.send(picture())
    viewer = hub.view("mine")
    next_of(viewer)
    publisher.close()
    publisher.close()
    with pytest.raises(EOFError, match="'mine'"):
        next_of(viewer)
    with pytest.raises(ValueError, match="the publisher is closed"):
        publisher.send(picture())


def test_a_name_is_free_again_when_its_publisher_has_closed(hub):
    hub.publish("mine").close()
    with hub.publish("mine") as publisher:
        publisher.send(picture())


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a#b", "x" * 1000])
def test_a_bad_name_is_an_error_that_says_so(hub, name):
    for use in (hub.publish, hub.view, hub.snapshot):
        with pytest.raises(ValueError, match="name|not allowed"):
            use(name)


def test_a_name_that_is_taken_is_a_connection_error(hub):
    with hub.publish("mine"):
        for taken in ("mine", "scene"):
            with pytest.raises(ConnectionError, match=f"'{taken}'.*another name"):
                hub.publish(taken)


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(hub):
    with pytest.raises(framewire.Error, match="choose another port"):
        framewire.Hub(hub.url.removeprefix("fw://"))


def test_a_port_is_free_again_when_its_hub_has_closed():
    address = f"127.0.0.1:{free_port()}"
    for _ in range(3):
        with framewire.Hub(address) as hub:
            assert hub.url == f"fw://{address}"


@pytest.mark.parametrize("listen", ["nonsense", "", "127.0.0.1:99999", "127.0.0.1"])
def test_an_address_that_is_none_is_an_error(listen):
    with pytest.raises(ValueError, match="127.0.0.1:7070"):
        framewire.Hub(listen)


def test_listening_beyond_this_machine_has_to_be_wanted():
    with pytest.raises(ValueError, match="insecure"):
        framewire.Hub("0.0.0.0:0")
    with framewire.Hub("0.0.0.0:0", insecure=True) as hub:
        assert hub.url.startswith("fw://0.0.0.0:")


@pytest.mark.parametrize("sources", [{"a b": "pattern"}, {"": "pattern"}, {"a": ""}, {"a": "pattern#colour=red"}])
def test_sources_that_are_none_are_errors(sources):
    with pytest.raises(ValueError):
        framewire.Hub(sources=sources)
    with pytest.raises(TypeError):
        framewire.Hub(sources={1: 2})


def test_a_closed_hub_is_of_no_use_and_its_viewers_end(hub):
    here, there = hub.view("scene"), framewire.Viewer(f"{hub.url}/scene", reconnect=False)
    next_of(here), next_of(there)
    hub.close()
    hub.close()
    for use in (hub.streams, lambda: hub.publish("a"), lambda: hub.view("a"), lambda: hub.snapshot("a")):
        with pytest.raises(ValueError, match="the hub is closed"):
            use()
    with pytest.raises(ConnectionError):
        for _ in there:
            pass
    here.close()


def test_a_stream_of_the_hub_is_a_jpeg_for_other_programs(hub):
    frame = hub.snapshot("scene", DEADLINE)
    assert cv2.imdecode(np.frombuffer(frame.jpeg(), np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)
