"""lhh, the displaying server: lhh_server.py HOST PORT FOLDER [LAYOUT [BYTES]]

As the tutorial has it, it reads headers of 8 bytes and unpacks "lhh", which agree only on a 32-bit system, whose LAYOUT is
"<lhh". Whoever made it work on a 64-bit one reads BYTES: 12.
"""

import struct
import sys
import threading

import cv2
import numpy

from headless import imshow, listen

host, port, folder = sys.argv[1:4]
layout = sys.argv[4] if len(sys.argv) > 4 else "lhh"
header = int(sys.argv[5]) if len(sys.argv) > 5 else 8


def show(client, address):
    while True:
        info = client.recv(header)
        if not info:
            break
        length, width, height = struct.unpack(layout, info)
        data = b""
        while length:
            part = client.recv(length)
            if not part:
                return
            length -= len(part)
            data += part
        if data:
            image = cv2.imdecode(numpy.frombuffer(data, dtype="uint8"), 1)
            imshow(folder, "%s:%d" % address, image)


server = listen(host, port)
while True:
    client, address = server.accept()
    threading.Thread(target=show, args=(client, address), daemon=True).start()
