"""A length and a picture, the camera: length_camera.py HOST PORT FILM FPS [LENGTH [BODY [PROTOCOL]]]

LENGTH is what Python's struct packs ("L", ">L", "!I", "Q", ...), or ljust16, rjust16, zfill10, netstring or none. BODY is jpeg,
base64, lines (base64 with line breaks), array, or the JPEG pickled: column as OpenCV encoded until 4.5, flat as it does since,
bytes. At the film's end it sends a length of 0, as the Raspberry Pi's own camera example does.
"""

import base64
import pickle
import socket
import struct
import sys

import cv2

from headless import VideoCapture

host, port, film, fps = sys.argv[1:5]
length = sys.argv[5] if len(sys.argv) > 5 else ">L"
body = sys.argv[6] if len(sys.argv) > 6 else "column"
protocol = int(sys.argv[7]) if len(sys.argv) > 7 else 0


def encode(frame):
    if body == "array":
        return pickle.dumps(frame, protocol)
    good, jpeg = cv2.imencode(".jpg", frame, [int(cv2.IMWRITE_JPEG_QUALITY), 90])
    if body == "jpeg":
        return jpeg.tobytes()
    if body == "base64":
        return base64.b64encode(jpeg)
    if body == "lines":
        return base64.encodebytes(jpeg)
    return pickle.dumps({"column": jpeg.reshape(-1, 1), "flat": jpeg.ravel(), "bytes": jpeg.tobytes()}[body], protocol)


def frame(data):
    size = len(data)
    if length == "none":
        return data
    if length == "netstring":
        return b"%d:%s," % (size, data)
    texts = {"ljust16": str(size).ljust(16), "rjust16": str(size).rjust(16), "zfill10": str(size).zfill(10)}
    return (texts[length].encode() if length in texts else struct.pack(length, size)) + data


client = socket.socket()
client.connect((host, int(port)))
camera = VideoCapture(film, fps)
while True:
    good, image = camera.read()
    if not good:
        break
    client.sendall(frame(encode(image)))
client.sendall(frame(b""))
client.close()
