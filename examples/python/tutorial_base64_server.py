"""The displaying server of the socket tutorial that sends 64 bytes of length, a JPEG in base64, and 64 bytes of time.

    python tutorial_base64_server.py                        # waits for a camera of this machine
    python tutorial_base64_server.py base64://0.0.0.0:8080  # or of any machine
    python YOUR_CAMERA_SCRIPT.py                            # unchanged; or tutorial_base64_camera.py

What to see: a window with the newest picture; Esc closes it. Here, when each was sent and when it came in.
The camera may come, go and come back.
"""

import sys
from datetime import datetime, timezone

import cv2

import framewire

for frame in framewire.Viewer(sys.argv[1] if len(sys.argv) > 1 else "base64://127.0.0.1:8080", timeout=None):
    print("send time:", frame.captured_at, "receive time:", datetime.now(timezone.utc), flush=True)
    cv2.imshow("base64", frame.image)
    if cv2.waitKey(1) == 27:
        break
