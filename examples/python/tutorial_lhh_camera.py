"""The camera of the socket tutorial that packs struct "lhh" (length, width, height) and a JPEG.

    python YOUR_SERVER_SCRIPT.py                          # unchanged; or tutorial_lhh_server.py
    python tutorial_lhh_camera.py lhh://HOST:1234 camera
    python tutorial_lhh_camera.py lhh://HOST:1234 film.mp4

What to see: the pictures in the server's window, 640x480 as the tutorial has them.
For a script that reads lengths of 8 bytes, write lhh://HOST:1234?long=8.
The server may be slow, start later, or restart: it gets the newest picture.
"""

import sys

import framewire

to, source = sys.argv[1:]
with framewire.Sender(to, wait=True) as out:
    for frame in framewire.Viewer(source):
        out.send(frame.image, frame.captured_at)
