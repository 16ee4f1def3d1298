"""A length and a picture, the displaying server: length_server.py HOST PORT FOLDER [LAYOUT]

As most of these scripts have it: a payload that grows by 4096 bytes, and a JPEG behind what struct calls LAYOUT.
"""

import struct
import sys

import cv2
import numpy

from headless import imshow, listen

host, port, folder = sys.argv[1:4]
layout = sys.argv[4] if len(sys.argv) > 4 else ">L"
header = struct.calcsize(layout)

server = listen(host, port)
client, address = server.accept()
data = b""
while True:
    while len(data) < header:
        part = client.recv(4096)
        if not part:
            sys.exit()
        data += part
    size = struct.unpack(layout, data[:header])[0]
    data = data[header:]
    while len(data) < size:
        part = client.recv(4096)
        if not part:
            sys.exit()
        data += part
    frame = data[:size]
    data = data[size:]
    imshow(folder, "frame", cv2.imdecode(numpy.frombuffer(frame, dtype="uint8"), cv2.IMREAD_COLOR))
