"""Live video as NumPy arrays: always the newest frame, with its age, a timeout and automatic reconnection."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import Any, Literal, NamedTuple, Optional, Union, final

import numpy as np
from numpy.typing import NDArray

from ._capture import SourceProperties as SourceProperties, VideoCapture as VideoCapture

__version__: str

Pixels = NDArray[np.uint8]
Color = Literal["bgr", "rgb", "gray"]
Codec = Literal["auto", "jpeg", "h264", "copy"]

class Error(Exception):
    """What is no fault of a connection, a file, a time or a value."""

@final
class Frame:
    """One frame of a stream, with its times. It is decoded when its pixels are asked for, and once only.

    Raises framewire.Error where the frame is damaged; the next one may be good.
    """

    @property
    def image(self) -> Pixels:
        """The picture as OpenCV has it: uint8, (height, width, 3), blue, green, red; C-contiguous, writable, yours."""
    @property
    def rgb(self) -> Pixels:
        """The same in the order red, green, blue."""
    @property
    def gray(self) -> Pixels:
        """The picture in grey: uint8, (height, width)."""
    def jpeg(self) -> bytes:
        """The picture as a JPEG: the very bytes that were sent, where they are one and no size was asked for."""
    @property
    def width(self) -> int:
        """Pixels from left to right."""
    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
    @property
    def sequence(self) -> int:
        """The frame's number in its stream; rises by one for each frame."""
    @property
    def missed(self) -> int:
        """How many frames of the stream were passed over since the frame before."""
    @property
    def codec(self) -> str:
        """What it was encoded in on its way: "jpeg", "h264", "i420" or "bgr24"."""
    @property
    def captured_at(self) -> datetime:
        """When it was captured, in UTC, by this machine's calendar clock. Where the source does not say: when it came in."""
    @property
    def age(self) -> float:
        """How many seconds ago it was captured, on a clock that both ends agree on."""
    @property
    def latency(self) -> dict[str, float]:
        """The stages of its way (encode, send, uplink, hub, downlink, decode) and how many seconds each took."""

@final
class Viewer:
    """Watches one stream and gives its newest frame, each at most once. Frames that come while nobody asks make way for newer
    ones, and are not decoded. Iterable, also by `async for`; usable by several threads.

    source: fw://HOST:PORT/NAME, a camera ("camera", 0, "/dev/video0"), a file, a URL, a tutorial's address; options behind #.
    timeout: seconds that a frame is waited for; None: for ever.
    size: (width, height) in pixels that pictures are scaled to.
    max_age: seconds; older frames are dropped.
    codec: "copy" takes a camera's own H.264 as it is.
    reconnect: False makes a hub that goes away a ConnectionError.
    wait: wait for a hub or a stream that does not exist yet.

    Raises FileNotFoundError (no such stream, device, file or host), ConnectionError (nobody listens, or refuses), ValueError.
    """

    def __new__(
        cls,
        source: Union[str, int, PathLike[str]],
        *,
        timeout: Optional[float] = 5.0,
        size: Optional[tuple[int, int]] = None,
        max_age: Optional[float] = None,
        codec: Optional[Codec] = None,
        reconnect: bool = True,
        wait: bool = False,
    ) -> Viewer: ...
    def latest(self, timeout: Optional[float] = None) -> Frame:
        """The newest frame that was not returned before; waits for one, at most `timeout` seconds (None: the viewer's; 0: not).

        Raises TimeoutError, EOFError at the stream's end, ConnectionError or framewire.Error where the source failed for good.
        """
    @property
    def name(self) -> str:
        """The stream's name."""
    @property
    def state(self) -> Literal["live", "stalled", "idle", "closed"]:
        """stalled: frames stay away; idle: the source sleeps."""
    @property
    def fault(self) -> Optional[str]:
        """Why there is no picture, in a sentence; None while frames flow."""
    @property
    def stats(self) -> dict[str, Any]:
        """The stream's figures: fps, bitrate, latency_ms and more."""
    @property
    def timeout(self) -> Optional[float]:
        """Seconds that a frame is waited for."""
    def close(self) -> None:
        """Ends watching, from any thread. Nothing happens where it is closed already."""
    def __iter__(self) -> Iterator[Frame]: ...
    def __next__(self) -> Frame: ...
    def __aiter__(self) -> AsyncIterator[Frame]: ...
    async def __anext__(self) -> Frame: ...
    def __enter__(self) -> Viewer: ...
    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType], /
    ) -> None: ...
    def _poll(self) -> tuple[bool, Optional[Frame]]: ...
    def _fileno(self) -> int: ...

@final
class Sender:
    """Sends pictures of this program to fw://HOST:PORT/NAME, or to a tutorial's script (lhh://, base64://, stopwait://, pickle://):
    the newest one, when the link has room for it and as large as it carries. Connects in the background, reconnects by itself,
    and encodes nothing while nobody watches.

    codec: "auto" is JPEG where the link carries that, else H.264.
    quality: of JPEGs, 1 to 100.
    fps: pictures a second that the program will send (30): each is made as large as the link carries in that time.
    bitrate: bits a second at most.
    max_age: seconds; older pictures are dropped instead of sent.
    wait: keep trying where the first attempt to connect fails; otherwise that is an error of `send`.
    """

    def __new__(
        cls,
        to: str,
        *,
        codec: Codec = "auto",
        quality: int = 80,
        fps: Optional[float] = None,
        size: Optional[tuple[int, int]] = None,
        bitrate: Optional[int] = None,
        max_age: Optional[float] = None,
        wait: bool = False,
    ) -> Sender: ...
    def send(
        self,
        image: Pixels,
        captured_at: Union[datetime, float, None] = None,
        *,
        color: Color = "bgr",
        timeout: float = 0.0,
    ) -> Optional[Literal["sent", "replaced", "unwatched"]]:
        """Hands over a picture: uint8, (height, width, 3) or (height, width) for grey, of any strides; copied, so it is yours again.

        captured_at: a datetime, or seconds since 1970; None: now.
        timeout: seconds to wait until the picture before is on its way; with 0 a newer picture takes the place of one that waits.
        Returns what became of the picture before: "sent", "replaced" by this one, or "unwatched"; None for the first.
        Raises ConnectionError, ValueError or framewire.Error: why sending has ended; TypeError and ValueError: no such picture.
        """
    @property
    def viewers(self) -> int:
        """How many watch the stream now."""
    def wait_for_viewers(self, timeout: Optional[float] = None) -> bool:
        """Waits until somebody watches; False where nobody came in time. Raises why sending has ended."""
    def wait_for_room(self, timeout: Optional[float] = None) -> bool:
        """Waits until there is room for another picture; False where there was none in time."""
    @property
    def stats(self) -> dict[str, Any]:
        """The figures of what is sent ("stream") and of the link that carries it ("link")."""
    def close(self) -> None:
        """Sends the last picture, says goodbye and waits a few seconds at most for its arrival.

        Raises why sending failed. Nothing happens where it is closed already.
        """
    def __enter__(self) -> Sender: ...
    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType], /
    ) -> None: ...

@final
class Publisher:
    """Feeds one stream of a hub in this process."""

    def send(self, image: Pixels, captured_at: Union[datetime, float, None] = None, *, color: Color = "bgr") -> None:
        """Gives a picture to all viewers, see Sender.send. Never waits."""
    @property
    def viewers(self) -> int:
        """How many watch the stream now."""
    def close(self) -> None:
        """Ends the stream. Nothing happens where it is closed already."""
    def __enter__(self) -> Publisher: ...
    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType], /
    ) -> None: ...

@final
class Hub:
    """A hub in this process: named streams on one port, for senders, viewers, browsers and programs.

    listen: the address and port; port 0 lets the system choose one.
    sources: streams by name, each fed by a source that is opened while somebody watches.
    insecure: listen beyond this machine, though anybody who reaches the port may watch and publish.

    Raises framewire.Error (the port is taken or not permitted), ConnectionError, ValueError.
    """

    def __new__(
        cls, listen: str = "127.0.0.1:0", sources: Optional[Mapping[str, str]] = None, *, insecure: bool = False
    ) -> Hub: ...
    @property
    def url(self) -> str:
        """Where senders and viewers find it: fw://HOST:PORT; a stream is f"{hub.url}/NAME"."""
    @property
    def page(self) -> str:
        """Its page, for a browser."""
    def streams(self) -> list[dict[str, Any]]:
        """The figures of every stream: name, state, codec, width, height, fps, viewers, latency_ms and more."""
    def view(
        self,
        name: str,
        *,
        timeout: Optional[float] = 5.0,
        size: Optional[tuple[int, int]] = None,
        max_age: Optional[float] = None,
    ) -> Viewer:
        """Watches a stream of this hub; waits for it where it does not exist yet."""
    def snapshot(self, name: str, timeout: float = 5.0) -> Frame:
        """The newest frame of a stream; waits for one, at most so many seconds."""
    def publish(self, name: str) -> Publisher:
        """Feeds a stream with pictures of this program."""
    def close(self) -> None:
        """Closes the port and every connection. Nothing happens where it is closed already."""
    def __enter__(self) -> Hub: ...
    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType], /
    ) -> None: ...

class Recording(NamedTuple):
    """What a recording holds."""

    files: list[str]
    """The files, in the order in which they were begun."""
    frames: int
    """How many frames they hold."""

def record(
    source: Union[str, int, PathLike[str]],
    file: Union[str, PathLike[str]],
    duration: Optional[float] = None,
    *,
    overwrite: bool = False,
) -> Recording:
    """Records a stream into a file (.mkv, .mp4, .avi) until it ends or `duration` seconds are over, without encoding again.

    Raises as Viewer does; FileExistsError where the file is there and `overwrite` is not given; framewire.Error where the file cannot be written.
    """
