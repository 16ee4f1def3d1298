"""The camera server of the socket tutorial that pickles the array behind struct "Q".

    python tutorial_pickle_server.py pickle://127.0.0.1:9999 camera  # 0.0.0.0: for viewers on other machines
    python YOUR_VIEWER_SCRIPT.py                                     # unchanged; or tutorial_pickle_viewer.py

What to see: the pictures in the viewer's window, 320 pixels wide as the tutorial has them.
Any number of viewers may watch. A slow one gets the newest picture.
"""

import sys

import framewire

to, source = sys.argv[1:]
with framewire.Sender(to) as out:
    for frame in framewire.Viewer(source):
        out.send(frame.image, frame.captured_at)
