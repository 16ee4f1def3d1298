"""The displaying server of the socket tutorial that packs struct "lhh" (length, width, height) and a JPEG.

    python tutorial_lhh_server.py                     # waits for a camera of this machine
    python tutorial_lhh_server.py lhh://0.0.0.0:1234  # or of any machine
    python YOUR_CAMERA_SCRIPT.py                      # unchanged; or tutorial_lhh_camera.py

What to see: a window with the newest picture; Esc closes it.
The camera may come, go and come back.
"""

import sys

import cv2

import framewire

for frame in framewire.Viewer(sys.argv[1] if len(sys.argv) > 1 else "lhh://127.0.0.1:1234", timeout=None):
    cv2.imshow("lhh", frame.image)
    if cv2.waitKey(1) == 27:
        break
