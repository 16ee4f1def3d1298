"""The camera of the socket tutorial that sends 64 bytes of length, a JPEG in base64, and 64 bytes of time.

    python YOUR_SERVER_SCRIPT.py                                # unchanged; or tutorial_base64_server.py
    python tutorial_base64_camera.py base64://HOST:8080 camera
    python tutorial_base64_camera.py base64://HOST:8080 film.mp4

What to see: the pictures in the server's window, 480x315 as the tutorial has them.
The server may be slow, start later, or restart: it gets the newest picture.
"""

import sys

import framewire

to, source = sys.argv[1:]
with framewire.Sender(to, wait=True) as out:
    for frame in framewire.Viewer(source):
        out.send(frame.image, frame.captured_at)
