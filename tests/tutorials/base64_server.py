"""base64, the displaying server, which shows one camera: base64_server.py HOST PORT FOLDER"""

import base64
import sys
from datetime import datetime

import cv2
import numpy

from headless import imshow, listen

host, port, folder = sys.argv[1:4]


def recvall(sock, count):
    buf = b""
    while count:
        newbuf = sock.recv(count)
        if not newbuf:
            return None
        buf += newbuf
        count -= len(newbuf)
    return buf


def receive_images(conn, window):
    while True:
        length = recvall(conn, 64).decode("utf-8")
        string_data = recvall(conn, int(length))
        stime = recvall(conn, 64).decode("utf-8")
        print("send time:", stime, "receive time:", datetime.utcnow(), flush=True)
        data = numpy.frombuffer(base64.b64decode(string_data), numpy.uint8)
        imshow(folder, window, cv2.imdecode(data, 1))


while True:
    server = listen(host, port)
    conn, addr = server.accept()
    try:
        receive_images(conn, "%s:%d" % addr)
    except Exception as error:
        print(f"opens again: {error}", flush=True)
    port = server.getsockname()[1]
    conn.close()
    server.close()
