"""lhh, the camera: lhh_camera.py HOST PORT FILM FPS [LAYOUT]; LAYOUT "<lhh" is what "lhh" is on a 32-bit system."""

import socket
import struct
import sys

import cv2
import numpy

from headless import VideoCapture

host, port, film, fps = sys.argv[1:5]
layout = sys.argv[5] if len(sys.argv) > 5 else "lhh"
resolution = (640, 480)
quality = [int(cv2.IMWRITE_JPEG_QUALITY), 15]

client = socket.socket()
client.connect((host, int(port)))
camera = VideoCapture(film, fps)
while True:
    good, image = camera.read()
    if not good:
        break
    image = cv2.resize(image, resolution)
    good, image_encode = cv2.imencode(".jpg", image, quality)
    image_data = numpy.array(image_encode).tobytes()
    client.sendall(struct.pack(layout, len(image_data), resolution[0], resolution[1]) + image_data)
client.close()
