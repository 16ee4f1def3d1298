"""stopwait, the displaying server, one camera after another: stopwait_server.py HOST PORT FOLDER"""

import sys

import cv2
import numpy

from headless import imshow, listen

host, port, folder = sys.argv[1:4]


def show(conn, window):
    while True:
        data = conn.recv(1024)
        if not data:
            return
        if data == b"over":
            print(window, "is over", flush=True)
            return
        length = int(data.decode().split(",")[0])
        conn.send(b"ok")
        receive = b""
        while len(receive) < length:
            part = conn.recv(1024)
            if not part:
                return
            receive += part
        conn.send(b"ok")
        imshow(folder, window, cv2.imdecode(numpy.frombuffer(receive, dtype="uint8"), 1))


server = listen(host, port)
while True:
    conn, addr = server.accept()
    show(conn, "%s:%d" % addr)
    conn.close()
