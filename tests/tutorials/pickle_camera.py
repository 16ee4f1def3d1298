"""pickle, the camera server, one viewer at a time: pickle_camera.py HOST PORT FILM FPS"""

import pickle
import struct
import sys

import cv2

from headless import VideoCapture, listen

host, port, film, fps = sys.argv[1:5]


def resize(frame, width):
    """imutils.resize"""
    height = int(frame.shape[0] * (width / float(frame.shape[1])))
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


server = listen(host, port)
while True:
    client, addr = server.accept()
    vid = VideoCapture(film, fps)
    try:
        while vid.isOpened():
            good, frame = vid.read()
            if frame is not None:  # a camera that has failed sends None
                frame = resize(frame, width=320)
            a = pickle.dumps(frame)
            client.sendall(struct.pack("Q", len(a)) + a)
    except OSError as error:
        print(addr, error, flush=True)
    client.close()
