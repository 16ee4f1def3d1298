"""Sends a camera to a hub. The camera is open only while somebody watches, so an idle Raspberry Pi stays cool.

    framewire serve --listen 0.0.0.0:7070 --insecure             # on the machine in the middle
    python raspberry_pi_camera.py fw://HUB:7070/door              # on the Pi: picamera2, else camera 0
    python raspberry_pi_camera.py fw://HUB:7070/door /dev/video2  # or any live source that OpenCV opens

What to see: the stream on http://HUB:7070/. This program says when the camera opens and when it closes.
"""

import sys
from collections.abc import Iterator
from importlib import import_module, util
from typing import Any

import cv2

import framewire


def pictures(source: str) -> Iterator[Any]:
    if not source and util.find_spec("picamera2"):
        with import_module("picamera2").Picamera2() as pi:
            pi.start(pi.create_video_configuration({"format": "RGB888", "size": (1280, 720)}))  # this is BGR
            while True:
                yield pi.capture_array()
    camera = cv2.VideoCapture(source) if source else cv2.VideoCapture(0)
    while camera.isOpened() and (picture := camera.read())[0]:
        yield picture[1]
    sys.exit(f"no picture from {source or 'camera 0'}")


with framewire.Sender(sys.argv[1], wait=True) as out:  # wait: the hub may start later than the Pi
    while out.wait_for_viewers():
        print("somebody watches: the camera opens", flush=True)
        for image in pictures("".join(sys.argv[2:])):
            out.send(image)
            if out.viewers == 0:
                break
        print("nobody watches: the camera is closed", flush=True)
