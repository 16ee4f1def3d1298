"""The stubs: complete, right, and kept by the module; other versions of NumPy."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import framewire
from helpers import Program

PACKAGE = Path(framewire.__file__).parent
OLD_NUMPY = Path(__file__).parents[3] / ".deps/venv-numpy1/bin/python"

USAGE = '''
"""What programs do, for mypy to look at."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Optional

import numpy as np
from numpy.typing import NDArray

import framewire


def watch() -> list[NDArray[np.uint8]]:
    images: list[NDArray[np.uint8]] = []
    with framewire.Viewer(Path("film.mp4"), timeout=None, size=(640, 480), max_age=0.5, codec="copy") as viewer:
        for frame in viewer:
            images += [frame.image, frame.rgb, frame.gray]
            moment: datetime = frame.captured_at
            stages: dict[str, float] = frame.latency
            data: bytes = frame.jpeg()
            print(moment, stages, data, frame.age + frame.missed + frame.sequence, frame.codec.upper())
        frame = viewer.latest(timeout=1)
        if viewer.state == "live" and viewer.timeout is not None:
            print(viewer.name.upper(), viewer.stats["fps"], viewer.timeout + 1)
    return images


async def loop(viewer: framewire.Viewer) -> int:
    async for frame in viewer:
        return frame.width * frame.height
    return 0


def send(image: NDArray[np.uint8]) -> None:
    with framewire.Sender("fw://127.0.0.1:7070/door", codec="jpeg", quality=90, fps=25, wait=True) as sender:
        outcome: Optional[str] = sender.send(image, datetime.now(), color="rgb", timeout=0.5)
        arrived: bool = sender.wait_for_viewers(1.0) and sender.wait_for_room()
        print(outcome, arrived, sender.viewers + 1, sender.stats["link"])


def serve() -> framewire.Frame:
    with framewire.Hub("127.0.0.1:0", {"a": "pattern"}, insecure=False) as hub, hub.publish("b") as publisher:
        publisher.send(np.zeros((2, 2, 3), np.uint8), 0.5)
        print(hub.url, hub.page, [stream["name"] for stream in hub.streams()], publisher.viewers, hub.view("a").name)
        return hub.snapshot("a", 1.0)


def others() -> None:
    capture = framewire.VideoCapture(0)
    good, image = capture.read()
    properties: framewire.SourceProperties = capture.discover_source_properties()
    files, frames = framewire.record("pattern", "a.mkv", 1.5)
    print(good, image, properties.width + 1, files[0].upper(), frames + 1, framewire.__version__.upper())
    try:
        asyncio.run(loop(framewire.Viewer(0)))
    except framewire.Error as error:
        print(error)
'''

MISUSE = {
    'framewire.Viewer(1.5)': "arg-type",
    'framewire.Viewer("a", reconect=True)': "call-arg",
    'framewire.Viewer("a", codec="av1")': "arg-type",
    'framewire.Viewer("a").latest().image = 1': "misc",
    'framewire.Viewer("a").newest()': "attr-defined",
    'framewire.Sender("a").send(None)': "arg-type",
    'framewire.Sender("a", 80)': "call-arg",
    'framewire.Hub(sources=["a"])': "arg-type",
}


def mypy(*arguments, cwd):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where mypy works: its cache serves all tests here."""
    return tmp_path_factory.mktemp("mypy")


def test_a_program_passes_mypy_and_its_mistakes_do_not(folder):
    pytest.importorskip("mypy")
    (folder / "usage.py").write_text(USAGE)
    (folder / "misuse.py").write_text("import framewire\n" + "\n".join(MISUSE) + "\n")
    checked = mypy("usage.py", "misuse.py", cwd=folder)
    lines = checked.stdout.splitlines()
    assert not [line for line in lines if not line.startswith("misuse.py")], checked.stdout + checked.stderr
    for number, (statement, code) in enumerate(MISUSE.items(), 2):
        found = [line for line in lines if line.startswith(f"misuse.py:{number}:") and f"[{code}]" in line]
        assert found, f"{statement}\n{checked.stdout}"


def test_the_stubs_pass_mypy(folder):
    pytest.importorskip("mypy")
    checked = mypy("-m", "framewire", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def stub():
    return ast.parse((PACKAGE / "__init__.pyi").read_text())


def public(name):
    return not name.startswith("_")


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_the_stubs_name_all_that_the_module_has():
    names = set()
    for node in stub().body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname}
    assert set(framewire.__all__) <= names
    here = {name for name, value in vars(framewire).items() if public(name) and not inspect.ismodule(value)}
    assert here <= set(framewire.__all__)
    assert set(framewire.__all__) <= set(dir(framewire))


CLASSES = [node for node in stub().body if isinstance(node, ast.ClassDef) and node.name not in ("Error", "Recording")]


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_the_stubs_name_every_attribute_of(node):
    members = {each.name: each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
    kind = getattr(framewire, node.name)
    assert {name for name in vars(kind) if public(name)} == {name for name in members if public(name)}
    for name, member in members.items():
        if public(name):
            assert ast.get_docstring(member), f"{node.name}.{name} has no description"
        if name != "__new__":
            assert hasattr(kind, name)


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_the_stubs_have_the_parameters_of(node):
    kind = getattr(framewire, node.name)
    for member in node.body:
        if not isinstance(member, ast.FunctionDef) or member.decorator_list or member.name == "__exit__":
            continue
        if not (public(member.name) or member.name == "__new__"):
            continue
        told = member.args
        real = inspect.signature(kind if member.name == "__new__" else getattr(kind, member.name)).parameters
        ours = [name for name in real if name != "self"]
        names = [each.arg for each in [*told.args, *told.kwonlyargs] if each.arg not in ("self", "cls")]
        assert names == ours, f"{node.name}.{member.name}"
        keywords = [name for name in ours if real[name].kind is inspect.Parameter.KEYWORD_ONLY]
        assert [each.arg for each in told.kwonlyargs] == keywords, f"{node.name}.{member.name}"
        defaults = dict(zip([each.arg for each in told.args][::-1], told.defaults[::-1]))
        defaults.update({each.arg: value for each, value in zip(told.kwonlyargs, told.kw_defaults) if value})
        expected = {name: each.default for name, each in real.items() if each.default is not inspect.Parameter.empty}
        found = {name: ast.literal_eval(value) for name, value in defaults.items()}
        # Where the signature does not tell a default, it says `...`.
        assert found == {name: found[name] if value is ... else value for name, value in expected.items()}


@pytest.mark.parametrize("name", [each for each in framewire.__all__ if public(each)])
def test_everything_has_a_description(name):
    thing = getattr(framewire, name)
    assert thing.__doc__
    if inspect.isclass(thing):
        assert thing.__module__.startswith("framewire")


def test_what_belongs_to_a_stream_cannot_be_written_or_made(scene):
    frame = scene.latest(timeout=30)
    with pytest.raises(AttributeError):
        frame.image = None
    with pytest.raises(TypeError):
        framewire.Frame()
    with pytest.raises(TypeError):
        framewire.Publisher()
    for final in (framewire.Frame, framewire.Viewer, framewire.Sender, framewire.Hub, framewire.Publisher):
        with pytest.raises(TypeError):
            type("Mine", (final,), {})


SMOKE = """
import sys, cv2, numpy as np, framewire
assert np.__version__.startswith("1.26"), np.__version__
assert framewire.__file__.startswith(sys.argv[1]), framewire.__file__
image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
with framewire.Hub(sources={"scene": "pattern#size=320x240"}) as hub, hub.publish("mine") as publisher:
    with hub.view("mine", timeout=30) as viewer:
        publisher.send(image[::-1, ::-1])
        frame = next(viewer)
        assert np.array_equal(frame.image, image[::-1, ::-1])
        frame.image[:] = 3
        assert cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY).max() == 3
    for wrong in (image.astype(float), None):
        try:
            publisher.send(wrong)
        except (TypeError, ValueError):
            continue
        raise AssertionError("no picture was taken for one")
    address = hub.url + "/sent"
    with framewire.Sender(address, wait=True) as sender, framewire.Viewer(address, wait=True, timeout=30) as viewer:
        sender.send(image)
        assert next(viewer).rgb.shape == image.shape
    assert framewire.VideoCapture(hub.url + "/scene").read()[1].shape == image.shape
"""


def test_the_same_package_works_with_numpy_1(tmp_path):
    if not OLD_NUMPY.exists():
        pytest.skip(f"{OLD_NUMPY.parents[1]}, which has NumPy 1.26, is not there: scripts/setup test makes it")
    # The package alone: the other packages beside it are for the other NumPy.
    shutil.copytree(PACKAGE, tmp_path / "framewire")
    libraries = PACKAGE.with_name("framewire.libs")
    if libraries.exists():
        shutil.copytree(libraries, tmp_path / "framewire.libs")
    smoke = Program(SMOKE, tmp_path, python=os.fspath(OLD_NUMPY), env={"PYTHONPATH": os.fspath(tmp_path)})
    try:
        status, _, errors = smoke.end(60)
    finally:
        smoke.stop()
    assert status == 0, errors
