"""The displaying server of the socket tutorial that sends "LENGTH, ", waits for "ok", and sends a JPEG.

    python tutorial_stopwait_server.py                          # waits for a camera of this machine
    python tutorial_stopwait_server.py stopwait://0.0.0.0:8080  # or of any machine
    python YOUR_CAMERA_SCRIPT.py                                # unchanged; or tutorial_stopwait_camera.py

What to see: a window with the newest picture; Esc closes it.
The camera may come, go and come back.
"""

import sys

import cv2

import framewire

for frame in framewire.Viewer(sys.argv[1] if len(sys.argv) > 1 else "stopwait://127.0.0.1:8080", timeout=None):
    cv2.imshow("stopwait", frame.image)
    if cv2.waitKey(1) == 27:
        break
