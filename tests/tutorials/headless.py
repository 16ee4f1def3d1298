"""Stands in for what these programs had on a desk: a camera, a screen, and a port of their own."""

import os
import socket
import time

import cv2


class VideoCapture:
    """cv2.VideoCapture, that gives a film's frames at a camera's pace."""

    def __init__(self, film, fps):
        self.film = cv2.VideoCapture(film)
        self.interval = 1 / float(fps)
        self.due = time.monotonic()

    def isOpened(self):
        return self.film.isOpened()

    def read(self):
        time.sleep(max(0, self.due - time.monotonic()))
        self.due = max(self.due, time.monotonic() - self.interval) + self.interval
        return self.film.read()


def imshow(folder, window, image):
    """cv2.imshow, that appends the pixels to FOLDER/WINDOW.bgr and then says so."""
    with open(os.path.join(folder, f"{window}.bgr"), "ab") as file:
        file.write(image.tobytes())
    height, width, _ = image.shape
    print(f"{window} shows {width}x{height}\n", end="", flush=True)


def listen(host, port):
    """A listening socket. Port 0 is one that the system chooses, and a port that was just in use may be used again."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, int(port)))
    server.listen(5)
    print("listens on %s:%d" % server.getsockname(), flush=True)
    return server
