"""Measures the emulated links themselves: the time of a message, the throughput, the evenness of the delay."""

import json
import math
import socket
import statistics
import threading
import time

from harness import percentile
from netns import BURST, Link, Road, inside

MESSAGE = 55_000
PINGS, PING_PAUSE = 100, 0.005
BULK_SECONDS = 2.0
# Bytes of a packet: headers (IP, and TCP with timestamps) and data.
HEADERS, DATA = 20 + 32, 1448
ETHERNET = 14
PATIENCE = 30


def check(link: Link, rates: list[float]) -> dict:
    """Measures one kind of link at each rate; times in ms, rates in Mbit/s."""
    facts = {"rtt": link.rtt, "at": link.at, "rates": []}
    with Road(link) as road:
        for rate in rates:
            road.rate(rate)
            with Ends(road) as ends:
                pings = ends.pings()
                message = statistics.median(ends.message() for _ in range(5))
                expected = link.rtt / 2 + (on_wire(MESSAGE, link) - BURST) * 8 / rate / 1000
                carried = on_wire(ends.bulk(BULK_SECONDS), link) * 8 / 1e6
            facts["rates"].append({
                "rate": rate, "message": message, "expected": expected, "carried": carried,
                "ping": [percentile(pings, part) for part in (0.5, 0.99)] + [max(pings)],
            })
        facts["relay"] = road.end_relay()
    return facts


def on_wire(data: float, link: Link) -> float:
    """Bytes that the shaper counts for this many bytes of data."""
    return data + math.ceil(data / DATA) * (HEADERS if link.rtt else ETHERNET + HEADERS)


class Ends:
    """A TCP connection from the near machine to the far one."""

    def __init__(self, road: Road):
        with inside(road.far):
            server = socket.create_server((road.address[road.far], 0))
        with server:
            with inside(road.near):
                self.near = socket.create_connection(server.getsockname(), timeout=PATIENCE)
            self.far = server.accept()[0]
        self.far.settimeout(PATIENCE)
        for end in (self.near, self.far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.near.close()
        self.far.close()

    def pings(self) -> list[float]:
        """Round trips of single bytes, ms."""
        times = []
        for _ in range(PINGS):
            begin = time.monotonic()
            self.near.sendall(b"?")
            self.far.recv(1)
            self.far.sendall(b"!")
            self.near.recv(1)
            times.append((time.monotonic() - begin) * 1000)
            time.sleep(PING_PAUSE)
        return times

    def message(self) -> float:
        """Time from writing a message until its last byte is read, ms."""
        time.sleep(0.1)  # until the queue is empty and the shaper's burst is available
        begin = time.monotonic()
        sending = threading.Thread(target=self.near.sendall, args=[bytes(MESSAGE)])
        sending.start()
        self._read(MESSAGE)
        taken = (time.monotonic() - begin) * 1000
        sending.join()
        return taken

    def bulk(self, seconds: float) -> float:
        """Bytes per second that a full link delivers, after a second of warm-up."""
        ended = threading.Event()
        sending = threading.Thread(target=self._fill, args=[ended])
        sending.start()
        try:
            self._drain(1.0)
            read, taken = self._drain(seconds)
        finally:
            ended.set()
            threading.Thread(target=self._empty, daemon=True).start()
            sending.join()
            self.near.shutdown(socket.SHUT_WR)
        return read / taken

    def _fill(self, ended: threading.Event) -> None:
        while not ended.is_set():
            self.near.sendall(bytes(16384))

    def _drain(self, seconds: float) -> tuple[int, float]:
        begin = time.monotonic()
        read = 0
        while (taken := time.monotonic() - begin) < seconds:
            read += len(self.far.recv(65536))
        return read, taken

    def _empty(self) -> None:
        try:
            while self.far.recv(65536):
                pass
        except OSError:
            pass  # the connection was closed

    def _read(self, length: int) -> None:
        while length:
            length -= len(self.far.recv(min(length, 65536)))


if __name__ == "__main__":
    for link in [Link(), Link(at="router"), Link(rtt=20), Link(rtt=60), Link(rtt=60, at="router")]:
        print(json.dumps(check(link, [20, 4, 2])))
