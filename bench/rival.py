"""A download beside the video: one bulk TCP flow over the same link in the same direction."""

import socket
import struct
import threading
import time

from emulator import on_wire
from netns import Road, inside

# Bytes of one write and one read, and seconds to connect.
PIECE, PATIENCE = 65536, 30
CLOSE_AT_ONCE = struct.pack("ii", 1, 0)


class Rival:
    """While it is on, sends as much as its congestion control allows. `notes`: CLOCK_MONOTONIC in seconds, total bytes on the wire."""

    def __init__(self, road: Road, congestion: str = "cubic"):
        self.notes: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        self._road, self._congestion = road, congestion
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.off()

    def on(self) -> None:
        with inside(self._road.far):
            server = socket.create_server((self._road.address[self._road.far], 0))
        with server, inside(self._road.near), socket.socket() as near:
            near.settimeout(PATIENCE)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self._congestion.encode())
            near.connect(server.getsockname())
            far = server.accept()[0]
            near.settimeout(None)
            self._ends = [near.dup(), far]
        self._threads = [threading.Thread(target=work, args=[end]) for work, end in zip((self._send, self._receive), self._ends)]
        for thread in self._threads:
            thread.start()

    def off(self) -> None:
        """Ends the flow at once and drops what it has queued."""
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_AT_ONCE)
            end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()
        self._ends, self._threads = [], []

    def _send(self, near: socket.socket) -> None:
        try:
            while True:
                near.sendall(bytes(PIECE))
        except OSError:
            pass  # shut down

    def _receive(self, far: socket.socket) -> None:
        total = self.notes[-1][1]
        try:
            while data := far.recv(PIECE):
                total += on_wire(len(data), self._road.link)
                self.notes.append((time.monotonic(), total))
        except OSError:
            pass  # shut down
