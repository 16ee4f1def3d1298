"""`VideoCapture`, for programs that were written for OpenCV's: the same methods, and always the newest frame."""

from dataclasses import dataclass
from typing import Any, Optional

from ._framewire import Frame, Viewer

# OpenCV's numbers of properties (cv::VideoCaptureProperties).
_POS_MSEC, _POS_FRAMES, _WIDTH, _HEIGHT, _FPS, _FRAME_COUNT, _BUFFERSIZE = 0, 1, 3, 4, 5, 7, 38


@dataclass(frozen=True)
class SourceProperties:
    """What Roboflow's inference asks of a VideoFrameProducer."""

    width: int
    height: int
    total_frames: int
    is_file: bool
    fps: float
    is_reconnectable: bool = True


class VideoCapture:
    """As cv2.VideoCapture, for whatever framewire watches. `read` waits 5 s at most and returns (False, None) where no frame came;
    no frame is returned twice. `why` tells what went wrong last. Also a VideoFrameProducer of Roboflow's inference."""

    def __init__(self, source: Any = None, apiPreference: int = 0, params: Any = None, *, timeout: float = 5.0) -> None:
        self.why: Optional[Exception] = None
        self._timeout = timeout
        self._viewer: Optional[Viewer] = None
        self._frame: Optional[Frame] = None
        # A frame that was only looked at: the next one to be grabbed.
        self._peeked: Optional[Frame] = None
        self._first: Optional[Frame] = None
        self._size: Optional[tuple[int, int]] = None
        self._source = source
        if source is not None:
            self.open(source)

    def open(self, source: Any, apiPreference: int = 0, params: Any = None) -> bool:
        self.release()
        self._source = source
        try:
            self._viewer = Viewer(source, timeout=self._timeout, size=self._size)
        except Exception as why:  # As OpenCV: told by isOpened().
            self.why = why
        return self.isOpened()

    def isOpened(self) -> bool:
        return self._viewer is not None

    def grab(self) -> bool:
        """Takes the newest frame, without decoding it."""
        self._frame, self._peeked = self._peeked or self._next(), None
        return self._frame is not None

    def retrieve(self, image: Any = None, flag: int = 0) -> "tuple[bool, Any]":
        """Decodes the frame that was grabbed: uint8, height x width x 3, BGR."""
        if self._frame is None:
            return False, None
        try:
            pixels = self._frame.image
        except Exception as why:
            self.why = why
            return False, None
        if image is None:
            return True, pixels
        image[...] = pixels
        return True, image

    def read(self, image: Any = None) -> "tuple[bool, Any]":
        return self.retrieve(image) if self.grab() else (False, None)

    def get(self, propId: int) -> float:
        """Width, height, frames per second, position; 0 for what is not known."""
        if propId == _BUFFERSIZE:
            return 1.0
        frame = self._frame or self._peek()
        if frame is None or self._viewer is None:
            return 0.0
        if propId == _FPS:
            return float(self._viewer.stats["fps"])
        position = self._first.captured_at if self._first else frame.captured_at
        known = {
            _WIDTH: frame.width,
            _HEIGHT: frame.height,
            _POS_FRAMES: frame.sequence,
            _POS_MSEC: 1000 * (frame.captured_at - position).total_seconds(),
        }
        return float(known.get(propId, 0))

    def set(self, propId: int, value: float) -> bool:
        """Asks for a width and a height, once both are known. One frame is all that is ever buffered."""
        if propId == _BUFFERSIZE:
            return True
        if propId not in (_WIDTH, _HEIGHT) or self._viewer is None or value < 1:
            return False
        width, height = int(self.get(_WIDTH)), int(self.get(_HEIGHT))
        self._size = (int(value), height) if propId == _WIDTH else (width, int(value))
        return self.open(self._source)

    def release(self) -> None:
        if self._viewer is not None:
            self._viewer.close()
        self._viewer = self._frame = self._peeked = self._first = None

    def getBackendName(self) -> str:
        return "FRAMEWIRE"

    def discover_source_properties(self) -> SourceProperties:
        return SourceProperties(
            width=int(self.get(_WIDTH)), height=int(self.get(_HEIGHT)), total_frames=int(self.get(_FRAME_COUNT)),
            is_file=False, fps=self.get(_FPS),
        )

    def initialize_source_properties(self, properties: "dict[str, float]") -> None:
        numbers = {"frame_width": _WIDTH, "frame_height": _HEIGHT}
        for name, value in properties.items():
            if name in numbers:
                self.set(numbers[name], value)

    def _peek(self) -> Optional[Frame]:
        if self._peeked is None:
            self._peeked = self._next()
        return self._peeked

    def _next(self) -> Optional[Frame]:
        if self._viewer is None:
            return None
        try:
            frame = self._viewer.latest()
        except TimeoutError as why:
            self.why = why
            return None
        except Exception as why:  # As OpenCV: told by the result.
            self.why = why
            self.release()
            return None
        self._first = self._first or frame
        return frame
