"""Recording into a file."""

import os
from typing import Any, NamedTuple, Optional

from . import _framewire


class Recording(NamedTuple):
    """What a recording holds."""

    files: "list[str]"
    """The files, in the order in which they were begun."""
    frames: int
    """How many frames they hold."""


def record(source: Any, file: Any, duration: Optional[float] = None, *, overwrite: bool = False) -> Recording:
    """Records a stream into a file (.mkv, .mp4, .avi) until it ends or `duration` seconds are over."""
    if not overwrite and os.path.exists(file):
        raise FileExistsError(f"{file} is there already: choose another name, or pass overwrite=True")
    files, frames = _framewire.record(source, file, duration, overwrite)
    return Recording([str(file) for file in files], frames)
