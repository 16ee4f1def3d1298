"""Records what happened before and after something moved, as the sender's own JPEGs: nothing is encoded again.

    python event_recorder.py fw://127.0.0.1:7070/scene 5   # beside `framewire demo`, where something always moves

What to see: two lines for each event, and a file event-TIME.mjpeg with the 5 seconds before it and the 5 after.
`ffplay -framerate 30 event-TIME.mjpeg` plays it; cv2.VideoCapture reads it.
"""

import sys
from collections import deque
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Optional

import cv2
import numpy as np

import framewire

seconds = timedelta(seconds=float(sys.argv[2]))
kept: deque[tuple[datetime, bytes]] = deque()  # the last seconds
file, before = None, None  # type: Optional[BinaryIO], Any
for frame in framewire.Viewer(sys.argv[1]):
    jpeg = frame.jpeg()
    kept.append((frame.captured_at, jpeg))
    while kept[0][0] < frame.captured_at - seconds:
        kept.popleft()
    small: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)  # an eighth of its size
    if file:
        file.write(jpeg)
        if kept[0][0] > event:  # the event is older than what is kept
            file.close()
            print(f"{file.name} is complete", flush=True)
            file = None
    elif np.shape(before) == small.shape and (cv2.absdiff(small, before) > 25).mean() > 0.002:
        event: datetime = frame.captured_at
        file = open(f"event-{event:%Y%m%d-%H%M%S}.mjpeg", "xb")
        file.writelines(jpeg for _, jpeg in kept)
        print(f"something moved: {file.name} begins with {len(kept)} frames that were kept", flush=True)
    before = small
