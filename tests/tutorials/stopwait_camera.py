"""stopwait, the camera: stopwait_camera.py HOST PORT FILM FPS"""

import socket
import sys

import cv2
import numpy

from headless import VideoCapture

host, port, film, fps = sys.argv[1:5]

client = socket.socket()
client.connect((host, int(port)))
capture = VideoCapture(film, fps)
while capture.isOpened():
    good, frame = capture.read()
    if not good:
        break
    img_encode = cv2.imencode(".jpg", frame, [int(cv2.IMWRITE_JPEG_QUALITY), 30])[1]
    str_encode = numpy.array(img_encode).tobytes()
    client.send(str.encode(str(len(str_encode)) + ", "))
    if client.recv(1024).decode() == "ok":
        client.sendall(str_encode)
    if client.recv(1024).decode() == "ok":
        continue
client.send(b"over")
client.close()
