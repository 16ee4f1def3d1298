"""Two machines in one: network namespaces and a link between them with a set rate, delay, queue and loss. Needs root, ip, tc and nft."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x4000_0000
LIBC = ctypes.CDLL(None, use_errno=True)
NAMESPACES = Path("/run/netns")
# Namespaces are named by this prefix and the process that made them: leftovers of a killed process can be recognised.
PREFIX = "fwl"
# The congestion controls that a namespace may make its default.
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
# RFC 2544 reserves these addresses for benchmarks: no host on the Internet has them.
NEAR, FAR = "198.18.0.1", "198.18.0.2"
NEAR_OF_ROUTER, ROUTER = "198.18.1.1", "198.18.1.2"
DEVICE = "slow0"
# The device that leads to the router, if the link has one.
WIRE = "wire0"
# Bytes of two packets. A larger burst would let the beginning of each frame cross at once.
BURST = 3000
# Mbit/s of a link that holds every packet back. They leave with the next packet after the rate is back.
STANDSTILL = 0.008
# The resolution of random loss: one packet in so many.
LOTS = 10_000
# Seconds between two notes of the bytes that have crossed, and for the relay to start or end.
METER, RELAY = 0.05, 5


@dataclass
class Link:
    """The link between the two machines, except its rate."""

    # Round trip in ms. 0: a veth; otherwise a relay between two TUN devices.
    rtt: float = 0
    # The bound of the queue before the link, in bytes. A full queue drops packets.
    queue: int = 65536
    # Where the queue is: on the sending machine, whose TCP knows its length, or on a router behind it.
    at: str = "sender"
    # TCP's congestion control; `None`: the system's.
    congestion: str | None = None
    # Random loss towards the far machine, per cent of the packets.
    loss: float = 0


class Road:
    """The near machine, which sends the video, the far one, and the link: made on entering, removed on leaving."""

    def __init__(self, link: Link):
        self.link = link
        self.near, self.far = name("near"), name("far")
        self.shaped = name("router") if link.at == "router" else self.near
        self.address = {self.near: NEAR_OF_ROUTER if link.at == "router" else NEAR, self.far: FAR}
        self._relay = None

    def __enter__(self):
        remove_leftovers()
        try:
            for namespace in {self.near, self.shaped, self.far}:
                self._machine(namespace)
            self._join()
            if self.link.at == "router":
                self._route()
            if self.link.loss:
                self._lose_at_random()
            self.rate(None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.end_relay()
        for namespace in {self.near, self.shaped, self.far}:
            if (NAMESPACES / namespace).exists():
                run("ip", "netns", "del", namespace)

    def rate(self, mbits: float | None) -> None:
        """Limits the rate in the video's direction, in Mbit/s; `None` removes the limit."""
        if mbits is None:
            return unshaped(self.shaped)
        tbf = ["tbf", "rate", f"{round(mbits * 1e6)}bit", "burst", str(BURST), "limit", str(self.link.queue)]
        run("tc", "-n", self.shaped, "qdisc", "replace", "dev", DEVICE, "root", *tbf)
        self._nudge()

    def down(self) -> None:
        """Takes the link down like an unplugged cable, in both directions."""
        run("ip", "-n", self.far, "link", "set", DEVICE, "down")

    def up(self) -> None:
        run("ip", "-n", self.far, "link", "set", DEVICE, "up")
        if self.link.at == "router":
            run("ip", "-n", self.far, "route", "replace", "default", "via", NEAR)

    def lose(self) -> None:
        """Loses every packet in both directions while the link stays up; `find` ends this."""
        for namespace in (self.shaped, self.far):
            unshaped(namespace)
            run("tc", "-n", namespace, "qdisc", "add", "dev", DEVICE, "root", "bfifo", "limit", "1")

    def find(self, mbits: float) -> None:
        for namespace in (self.shaped, self.far):
            unshaped(namespace)
        self.rate(mbits)

    def sent(self) -> int:
        """Bytes sent over the link towards the far machine. Call it inside the namespace of the link's near end."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            device, _, counts = line.partition(":")
            if device.strip() == DEVICE:
                return int(counts.split()[8])
        raise OSError(f"{self.shaped} has no device {DEVICE}")

    def end_relay(self) -> dict | None:
        """Ends the relay, if the link has one; returns its figures."""
        if self._relay is None:
            return None
        self._relay.send_signal(signal.SIGTERM)
        printed, _ = self._relay.communicate(timeout=RELAY)
        self._relay = None
        return json.loads(printed.splitlines()[-1])

    def _machine(self, namespace: str) -> None:
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        set_kernel(namespace, "ipv6/conf/all/disable_ipv6", "1")
        if self.link.congestion:
            set_kernel(namespace, "ipv4/tcp_congestion_control", self.link.congestion)

    def _join(self) -> None:
        if self.link.rtt:
            for namespace in (self.shaped, self.far):
                run("ip", "-n", namespace, "tuntap", "add", "dev", DEVICE, "mode", "tun")
        else:
            veth(self.shaped, self.far, DEVICE)
        for namespace, address in [(self.shaped, NEAR), (self.far, FAR)]:
            run("ip", "-n", namespace, "addr", "add", f"{address}/30", "dev", DEVICE)
            one_packet_at_a_time(namespace, DEVICE)
        if self.link.rtt:
            self._relay = relay(self.shaped, self.far, self.link.rtt / 2)

    def _route(self) -> None:
        veth(self.near, self.shaped, WIRE)
        for namespace, address in [(self.near, NEAR_OF_ROUTER), (self.shaped, ROUTER)]:
            run("ip", "-n", namespace, "addr", "add", f"{address}/30", "dev", WIRE)
            one_packet_at_a_time(namespace, WIRE)
        set_kernel(self.shaped, "ipv4/ip_forward", "1")
        run("ip", "-n", self.near, "route", "add", "default", "via", ROUTER)
        run("ip", "-n", self.far, "route", "add", "default", "via", NEAR)

    def _lose_at_random(self) -> None:
        """The far machine drops packets that arrive over the link at random. Its loopback traffic is not affected."""
        rule = f'iifname "{DEVICE}" numgen random mod {LOTS} < {round(self.link.loss * LOTS / 100)} drop'
        table = f"table inet loss {{\nchain input {{\ntype filter hook input priority 0\n{rule}\n}}\n}}\n"
        run("ip", "netns", "exec", self.far, "nft", "-f", "-", given=table)

    def _nudge(self) -> None:
        """Sends one byte: after a rise, tbf would otherwise wait as long as its next packet takes at the old rate."""
        with inside(self.shaped), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
            try:
                anything.sendto(b"\0", (FAR, 9))
            except OSError:
                pass  # the link is down


class Meter:
    """Notes regularly how many bytes have crossed the link. `notes`: CLOCK_MONOTONIC in seconds, total bytes."""

    def __init__(self, road: Road):
        self.notes: list[tuple[float, int]] = []
        self._road, self._ended = road, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        with inside(self._road.shaped):
            while not self._ended.wait(METER):
                self.notes.append((time.monotonic(), self._road.sent()))


@contextmanager
def allowed(controls: list[str]):
    """Lets namespaces use these congestion controls: Linux demands that the machine allows them. Restores its list afterwards."""
    known = ALLOWED.read_text()
    ALLOWED.write_text(" ".join(dict.fromkeys([*known.split(), *controls])))
    try:
        yield
    finally:
        ALLOWED.write_text(known)


@contextmanager
def inside(namespace: str | None):
    """Moves this thread's network calls into a namespace."""
    if namespace is None:
        yield
        return
    with open("/proc/thread-self/ns/net") as home, open(NAMESPACES / namespace) as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def enter(namespace) -> None:
    if LIBC.setns(namespace.fileno(), CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")


def within(namespace: str | None, command: list) -> list:
    """A command line that runs a program inside a namespace. `ip` execs it, so the process id stays the same."""
    return command if namespace is None else ["ip", "netns", "exec", namespace, *command]


def name(role: str) -> str:
    return f"{PREFIX}-{os.getpid()}-{role}"


def remove_leftovers() -> None:
    """Removes namespaces of processes that were killed."""
    for path in NAMESPACES.glob(f"{PREFIX}-*-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            run("ip", "netns", "del", path.name)


def unshaped(namespace: str) -> None:
    # Fails when the device has no shaper, which is fine.
    subprocess.run(["tc", "-n", namespace, "qdisc", "del", "dev", DEVICE, "root"], capture_output=True)


def set_kernel(namespace: str, name: str, value: str) -> None:
    """Sets a sysctl of a namespace."""
    with inside(namespace):
        Path("/proc/sys/net", name).write_text(value)


def veth(left: str, right: str, device: str) -> None:
    run("ip", "link", "add", device, "netns", left, "type", "veth", "peer", "name", device, "netns", right)


def one_packet_at_a_time(namespace: str, device: str) -> None:
    """Turns segmentation offload off: the shaper would take a whole frame for one packet and let it cross at once."""
    run("ip", "-n", namespace, "link", "set", device, "gso_max_segs", "1", "up")


def relay(near: str, far: str, delay: float) -> subprocess.Popen:
    """Starts the process that carries packets between the TUN devices of two namespaces with this delay in ms."""
    command = [sys.executable, Path(__file__).with_name("relay.py"), near, far, str(delay)]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    if process.stdout.readline().strip() != "ready":
        process.kill()
        process.wait()
        raise OSError("the relay between the TUN devices did not start; check that /dev/net/tun exists")
    return process


def run(*command: str, given: str | None = None) -> None:
    """Runs a command; what it prints if it fails is the error."""
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}`: {done.stderr.strip()}")
