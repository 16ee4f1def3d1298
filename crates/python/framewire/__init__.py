"""Live video as NumPy arrays: always the newest frame, with its age, a timeout and automatic reconnection.

    import framewire

    for frame in framewire.Viewer("fw://127.0.0.1:7070/door"):   # a hub's stream, a camera, a file, a URL
        print(frame.image.shape, f"{1000 * frame.age:.0f} ms old")

Errors are Python's own where one fits (ConnectionError, FileNotFoundError, TimeoutError, ValueError), else framewire.Error.
"""

import atexit
import threading

from ._capture import SourceProperties, VideoCapture
from ._framewire import Error, Frame, Hub, Publisher, Sender, Viewer, __version__, end
from ._record import Recording, record

__all__ = [
    "Error", "Frame", "Hub", "Publisher", "Recording", "Sender", "SourceProperties", "VideoCapture", "Viewer",
    "__version__", "record",
]

# Before Python waits for its threads: those that wait for frames learn that there will be none.
getattr(threading, "_register_atexit", atexit.register)(end)
del atexit, end, threading
