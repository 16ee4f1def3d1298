"""Two machines in one: network namespaces joined by a link whose rate, delay and queue are ours. Needs root, ip and tc."""

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
# Names of ours: the process that made them stands in them, so that what a killed one left behind is known.
PREFIX = "fwl"
# RFC 2544 keeps these addresses for benchmarks: nothing of the world answers to them.
NEAR, FAR = "198.18.0.1", "198.18.0.2"
NEAR_OF_ROUTER, ROUTER = "198.18.1.1", "198.18.1.2"
DEVICE = "slow0"
# The device that leads to the router, where there is one.
WIRE = "wire0"
# Two packets: a larger burst lets the beginning of each frame cross at once.
BURST = 3000
# A link that stands still; what waits is sent at the next packet after the rate is back.
STANDSTILL = 0.008
# Random loss is set in steps of one packet in so many.
LOTS = 10_000
# Seconds between two looks at the bytes that have passed, and until the relay is ready or gone.
METER, RELAY = 0.05, 5


@dataclass
class Link:
    """What joins the two machines; the rate is set while it is in use."""

    # Of the whole way, milliseconds; 0 is a veth alone, anything else a relay between two TUN devices.
    rtt: float = 0
    # Bytes that wait before the slow link at most; what is more is lost.
    queue: int = 65536
    # Where they wait: on the sending machine, whose TCP knows of them, or on a router behind it, of which it does not.
    at: str = "sender"
    # TCP's congestion control; None is the system's.
    congestion: str | None = None
    # Per cent of the packets towards the far machine that get lost at random.
    loss: float = 0


class Road:
    """The near machine, where the video comes from, the far one, and the link: made on entering, gone on leaving."""

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
        """Sets the rate of the direction that the video takes, in Mbit/s; `None` lifts it."""
        if mbits is None:
            return unshaped(self.shaped)
        tbf = ["tbf", "rate", f"{round(mbits * 1e6)}bit", "burst", str(BURST), "limit", str(self.link.queue)]
        run("tc", "-n", self.shaped, "qdisc", "replace", "dev", DEVICE, "root", *tbf)
        self._nudge()

    def down(self) -> None:
        """Takes the link away, as a cable that is pulled: nothing crosses it in either direction."""
        run("ip", "-n", self.far, "link", "set", DEVICE, "down")

    def up(self) -> None:
        run("ip", "-n", self.far, "link", "set", DEVICE, "up")
        if self.link.at == "router":
            run("ip", "-n", self.far, "route", "replace", "default", "via", NEAR)

    def lose(self) -> None:
        """From now on the link stays up and loses every packet, in both directions, until it gets a rate."""
        for namespace in (self.shaped, self.far):
            unshaped(namespace)
            run("tc", "-n", namespace, "qdisc", "add", "dev", DEVICE, "root", "bfifo", "limit", "1")

    def find(self, mbits: float) -> None:
        for namespace in (self.shaped, self.far):
            unshaped(namespace)
        self.rate(mbits)

    def sent(self) -> int:
        """Bytes that have left over the link towards the far machine. To be called inside its near end's namespace."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            device, _, counts = line.partition(":")
            if device.strip() == DEVICE:
                return int(counts.split()[8])
        raise OSError(f"there is no device {DEVICE} in {self.shaped}")

    def end_relay(self) -> dict | None:
        """Ends the relay, where there is one, and says what it did."""
        if self._relay is None:
            return None
        self._relay.send_signal(signal.SIGTERM)
        told, _ = self._relay.communicate(timeout=RELAY)
        self._relay = None
        return json.loads(told.splitlines()[-1])

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
        """The far machine drops some of the packets that arrive over the link; what its programs send each other is spared."""
        rule = f'iifname "{DEVICE}" numgen random mod {LOTS} < {round(self.link.loss * LOTS / 100)} drop'
        table = f"table inet loss {{\nchain input {{\ntype filter hook input priority 0\n{rule}\n}}\n}}\n"
        run("ip", "netns", "exec", self.far, "nft", "-f", "-", given=table)

    def _nudge(self) -> None:
        """Sends one byte: tbf, told a higher rate, would else first wait as long as the next packet took at the old one."""
        with inside(self.shaped), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
            try:
                anything.sendto(b"\0", (FAR, 9))
            except OSError:
                pass  # a link that is cut


class Meter:
    """Notes again and again how many bytes have crossed the link; `notes` are pairs of CLOCK_MONOTONIC and bytes."""

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
def inside(namespace: str | None):
    """What this thread asks of the network, it asks inside that namespace."""
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
    """The command line that runs a program inside a namespace, in the same process."""
    return command if namespace is None else ["ip", "netns", "exec", namespace, *command]


def name(role: str) -> str:
    return f"{PREFIX}-{os.getpid()}-{role}"


def remove_leftovers() -> None:
    """Removes namespaces whose process was killed before it could."""
    for path in NAMESPACES.glob(f"{PREFIX}-*-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            run("ip", "netns", "del", path.name)


def unshaped(namespace: str) -> None:
    # There may be none to take away.
    subprocess.run(["tc", "-n", namespace, "qdisc", "del", "dev", DEVICE, "root"], capture_output=True)


def set_kernel(namespace: str, name: str, value: str) -> None:
    """Sets one of the kernel's values for a namespace."""
    with inside(namespace):
        Path("/proc/sys/net", name).write_text(value)


def veth(left: str, right: str, device: str) -> None:
    run("ip", "link", "add", device, "netns", left, "type", "veth", "peer", "name", device, "netns", right)


def one_packet_at_a_time(namespace: str, device: str) -> None:
    """No segmentation behind the shaper's back: else a whole frame is one packet to it and crosses at once."""
    run("ip", "-n", namespace, "link", "set", device, "gso_max_segs", "1", "up")


def relay(near: str, far: str, delay: float) -> subprocess.Popen:
    """Starts what carries packets between the TUN devices of two namespaces, each this many ms later."""
    command = [sys.executable, Path(__file__).with_name("relay.py"), near, far, str(delay)]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    if process.stdout.readline().strip() != "ready":
        process.kill()
        process.wait()
        raise OSError("the relay between the TUN devices did not start: is there a /dev/net/tun?")
    return process


def run(*command: str, given: str | None = None) -> None:
    """Runs a command; what it prints if it fails is the error."""
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}`: {done.stderr.strip()}")
