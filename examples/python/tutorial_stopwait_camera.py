"""The camera of the socket tutorial that sends "LENGTH, ", waits for "ok", and sends a JPEG.

    python YOUR_SERVER_SCRIPT.py                                    # unchanged; or tutorial_stopwait_server.py
    python tutorial_stopwait_camera.py stopwait://HOST:8080 camera
    python tutorial_stopwait_camera.py stopwait://HOST:8080 film.mp4

What to see: the pictures in the server's window, in their own size. The film's end ends the server's window too.
The server may be slow, start later, or restart: it gets the newest picture.
"""

import sys

import framewire

to, source = sys.argv[1:]
with framewire.Sender(to, wait=True) as out:
    for frame in framewire.Viewer(source):
        out.send(frame.image, frame.captured_at)
