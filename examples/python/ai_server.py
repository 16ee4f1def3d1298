"""A slow model on fresh frames: it watches one stream and publishes what it found as another.

    framewire demo                        # a hub with a stream "scene", 30 frames a second
    python ai_server.py fw://127.0.0.1:7070/scene fw://127.0.0.1:7070/found

What to see: on http://127.0.0.1:7070/ the stream "found", 5 frames a second with a box each. Here, one line a frame:
how old it was when the model began, and when it was sent. Frames that come while the model works are passed over, not
queued, so the model never falls behind.
"""

import sys
import time
from typing import Any

import cv2

import framewire


def find(image: Any) -> tuple[int, int]:
    """Stands in for a neural network: needs 200 ms, and finds the middle of the brightest region."""
    done = time.monotonic() + 0.2
    gray = cv2.blur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (81, 81))
    x, y = cv2.minMaxLoc(gray)[3]
    time.sleep(max(0.0, done - time.monotonic()))
    return x, y


source, to = sys.argv[1:]
with framewire.Sender(to, fps=5) as out:
    for frame in framewire.Viewer(source):
        began = frame.age
        x, y = find(frame.image)
        cv2.rectangle(frame.image, (x - 60, y - 60), (x + 60, y + 60), (0, 0, 255), 3)
        out.send(frame.image, frame.captured_at)  # viewers of the result see how old the original is
        ages = f"{1000 * began:.0f} ms old when the model began, {1000 * frame.age:.0f} ms when it was sent"
        print(f"frame {frame.sequence}: {ages}, {frame.missed} passed over", flush=True)
