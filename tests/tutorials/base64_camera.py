"""base64, the camera: base64_camera.py HOST PORT FILM FPS"""

import base64
import socket
import sys
import time
from datetime import datetime

import cv2
import numpy

from headless import VideoCapture

host, port, film, fps = sys.argv[1:5]


def connect():
    for attempt in range(10):
        try:
            sock = socket.socket()
            sock.connect((host, int(port)))
            return sock
        except OSError as error:
            print(f"try {attempt + 1} to connect: {error}", flush=True)
    sys.exit("10 times not connected: that is the end")


def send_images(sock):
    capture = VideoCapture(film, fps)
    while capture.isOpened():
        good, frame = capture.read()
        resized = cv2.resize(frame, dsize=(480, 315), interpolation=cv2.INTER_AREA)  # fails at the film's end
        stime = datetime.utcnow().strftime("%Y-%m-%d %H:%M:%S.%f")
        good, imgencode = cv2.imencode(".jpg", resized, [int(cv2.IMWRITE_JPEG_QUALITY), 90])
        string_data = base64.b64encode(numpy.array(imgencode))
        sock.sendall(str(len(string_data)).encode("utf-8").ljust(64))
        sock.sendall(string_data)
        sock.sendall(stime.encode("utf-8").ljust(64))


while True:
    sock = connect()
    try:
        send_images(sock)
    except Exception as error:
        print(f"starts again: {error}", flush=True)
    sock.close()
    time.sleep(1)
