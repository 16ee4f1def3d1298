"""The designs of four well-known socket tutorials, without their windows: lhh, base64, stopwait and pickle."""

import base64
import pickle
import socket
import struct
import threading
from datetime import datetime, timezone

from common import main, micros, report


def connect(args) -> socket.socket:
    report(connecting=micros())
    return socket.create_connection((args.host, args.port))


def accept(args) -> socket.socket:
    server = socket.create_server((args.host, args.port))
    return server.accept()[0]


def receive(connection: socket.socket, length: int) -> bytes:
    """Reads this many bytes, as three of the tutorials do."""
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


# lhh: length, width and height before each JPEG; the displaying server has a thread for every camera. The receiver
# reads an eight-byte header, so the sender must write one.

LHH = struct.Struct("<lhh")


def lhh_publish(args, camera):
    connection = connect(args)
    for jpeg in camera.jpegs():
        data = bytes(jpeg)
        connection.send(LHH.pack(len(data), camera.width, camera.height))
        connection.sendall(data)


def lhh_view(args, screen):
    connection = accept(args)

    def show():
        while True:
            length, _, _ = LHH.unpack(receive(connection, LHH.size))
            screen.jpeg(receive(connection, length))

    thread = threading.Thread(target=show)
    thread.start()
    thread.join()


# base64: 64 bytes of ASCII length, the JPEG in base64, 64 bytes of ASCII time.


def base64_publish(args, camera):
    connection = connect(args)
    for jpeg in camera.jpegs():
        text = base64.b64encode(bytes(jpeg))
        connection.sendall(str(len(text)).encode().ljust(64))
        connection.sendall(text)
        connection.send(datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f").encode().ljust(64))


def base64_view(args, screen):
    connection = accept(args)
    while True:
        length = int(receive(connection, 64))
        text = receive(connection, length)
        receive(connection, 64)
        screen.jpeg(base64.b64decode(text))


# stopwait: the length, `ok`, the JPEG, `ok`: two round trips a frame.


def stopwait_publish(args, camera):
    connection = connect(args)
    for jpeg in camera.jpegs():
        data = bytes(jpeg)
        connection.sendall(b"%d, " % len(data))
        receive(connection, 2)
        connection.sendall(data)
        receive(connection, 2)


def stopwait_view(args, screen):
    connection = accept(args)
    while True:
        header = connection.recv(1024)
        if not header:
            raise ConnectionResetError
        connection.send(b"ok")
        data = receive(connection, int(header.split(b",")[0]))
        connection.send(b"ok")
        screen.jpeg(data)


# pickle: the camera's server pickles the array itself; the viewer reads pieces of 4 KiB.


def pickle_publish(args, camera):
    connection = accept(args)
    for frame in camera.frames():
        data = pickle.dumps(frame)
        connection.sendall(struct.pack("Q", len(data)) + data)


def pickle_view(args, screen):
    connection = connect(args)
    size = struct.calcsize("Q")
    data = b""
    while True:
        while len(data) < size:
            data += piece(connection)
        length = struct.unpack("Q", data[:size])[0]
        data = data[size:]
        while len(data) < length:
            data += piece(connection)
        image, data = data[:length], data[length:]
        screen.picture(pickle.loads(image))


def piece(connection: socket.socket) -> bytes:
    more = connection.recv(4096)
    if not more:
        raise ConnectionResetError
    return more


main({
    "lhh": (lhh_publish, lhh_view),
    "base64": (base64_publish, base64_view),
    "stopwait": (stopwait_publish, stopwait_view),
    "pickle": (pickle_publish, pickle_view),
})
