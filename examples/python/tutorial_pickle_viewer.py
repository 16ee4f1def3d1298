"""The viewer of the socket tutorial that pickles the array behind struct "Q".

    python YOUR_CAMERA_SERVER_SCRIPT.py                  # unchanged; or tutorial_pickle_server.py
    python tutorial_pickle_viewer.py pickle://HOST:9999

What to see: a window with the newest picture; q closes it.
The pickle is read and never executed, so a stranger's server runs no code here.
"""

import sys

import cv2

import framewire

for frame in framewire.Viewer(sys.argv[1], wait=True, timeout=None):
    cv2.imshow("RECEIVING VIDEO", frame.image)
    if cv2.waitKey(1) == ord("q"):
        break
