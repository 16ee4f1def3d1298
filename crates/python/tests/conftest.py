"""Hubs, viewers and films for the tests."""

import os

import pytest

import framewire
from helpers import FILM, SCENE, HubProcess, Program, video

# Pictures of grey boxes have no need of many threads, and the machine of others.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def hub():
    """A hub with a moving scene in JPEG and one in H.264."""
    with framewire.Hub(sources={"scene": SCENE, "film": FILM}) as hub:
        yield hub


@pytest.fixture
def scene(hub):
    """Watches the scene over the network."""
    with framewire.Viewer(f"{hub.url}/scene", timeout=30) as viewer:
        yield viewer


@pytest.fixture
def hub_process():
    """Starts hubs in processes of their own."""
    hubs = []

    def start(*sources):
        hubs.append(HubProcess(*sources))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.kill()


@pytest.fixture
def program():
    """Starts Python programs, and ends those that are left."""
    programs = []

    def start(code, *args, **options):
        programs.append(Program(code, *args, **options))
        return programs[-1]

    yield start
    for each in programs:
        each.stop()


@pytest.fixture
def film(tmp_path):
    """A file of fifteen JPEGs, half a second long."""
    return video(tmp_path / "film.avi")
