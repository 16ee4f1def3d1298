"""Carries packets between the TUN devices of two network namespaces, in order and with a fixed delay.

    relay.py NAMESPACE NAMESPACE MILLISECONDS        prints `ready`, and a line of JSON when it is terminated
"""

import collections
import fcntl
import json
import os
import select
import signal
import struct
import sys
import time

import netns

# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LONGEST = 65536
# Above that of measured programs.
PRIORITY = 2


class Way:
    """One direction: its two devices and the packets that are not due yet."""

    def __init__(self, source: int, target: int):
        self.source, self.target = source, target
        self.waiting: collections.deque[tuple[int, bytes]] = collections.deque()
        self.carried = self.lost = 0
        # Packets by how late they left, in steps of 50 µs.
        self.lateness: collections.Counter = collections.Counter()

    def take(self, due: int) -> None:
        """Reads all packets that have arrived; they are due at this time (ns)."""
        while True:
            try:
                self.waiting.append((due, os.read(self.source, LONGEST)))
            except BlockingIOError:
                return

    def forward(self, now: int) -> None:
        """Forwards the packets that are due."""
        while self.waiting and self.waiting[0][0] <= now:
            due, packet = self.waiting.popleft()
            try:
                os.write(self.target, packet)
                self.carried += 1
            except OSError:  # the device is down
                self.lost += 1
            now = time.monotonic_ns()
            self.lateness[(now - due) // 50_000] += 1


def main() -> None:
    near, far = (tun(namespace) for namespace in sys.argv[1:3])
    delay = int(float(sys.argv[3]) * 1e6)
    ways = [Way(near, far), Way(far, near)]
    signal.signal(signal.SIGTERM, lambda *_: report(ways))
    try:
        # A relay that waits for a processor would add jitter.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        print("relay: no real-time priority; packets may be late", file=sys.stderr)
    print("ready", flush=True)
    while True:
        dues = [way.waiting[0][0] for way in ways if way.waiting]
        wait = max(0, min(dues) - time.monotonic_ns()) / 1e9 if dues else None
        readable, _, _ = select.select([near, far], [], [], wait)
        now = time.monotonic_ns()
        for way in ways:
            if way.source in readable:
                way.take(now + delay)
            way.forward(now)


def tun(namespace: str) -> int:
    """Opens the TUN device of a namespace."""
    with netns.inside(namespace):
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", netns.DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return handle


def report(ways: list[Way]) -> None:
    lateness = sum((way.lateness for way in ways), collections.Counter())
    facts = {"packets": sum(way.carried for way in ways), "lost": sum(way.lost for way in ways)}
    for part in (0.5, 0.99, 1.0):
        facts[f"late_{part * 100:g}"] = share(lateness, part)
    print(json.dumps(facts), flush=True)
    os._exit(0)


def share(lateness: collections.Counter, part: float) -> float:
    """The highest lateness of this share of the packets, ms."""
    left = part * lateness.total()
    for step in sorted(lateness):
        left -= lateness[step]
        if left <= 0:
            return (step + 1) * 0.05
    return 0.0


if __name__ == "__main__":
    main()
