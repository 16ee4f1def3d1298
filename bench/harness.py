"""Starts a publisher, a viewer and, for framewire, the hub between them; measures them; ends them and nothing else."""

import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import netns

CLOCK_WRAP = 1 << 40
TICKS = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"
# Timeouts in seconds: until a port listens, until the hub lists a stream, until a first frame is shown, until a program ends.
TO_LISTEN, TO_PUBLISH, TO_FIRST, TO_END = 30, 10, 20, 5
# Seconds after the first frame that are not measured.
WARM_UP = 1.0


class Failed(Exception):
    """A program failed: its role, the reason, and the end of its log."""


@dataclass
class Job:
    """What a publisher and a viewer are started with."""

    size: str = "720"
    # The clip's name; `None`: named like its size.
    clip: str | None = None
    # Frames per second; 0: unpaced.
    fps: float = 30.0
    # Passthrough: finished JPEGs are sent; nothing is encoded or decoded.
    passthrough: bool = False
    clips: Path = Path()
    logs: Path = Path()
    # The address of the end that listens.
    host: str = HOST
    port: int = 0
    # The folder where viewers save the luma of every tenth frame.
    lumas: Path | None = None
    # The network namespace of each role; a role that is missing runs in the machine's own.
    places: dict[str, str] = field(default_factory=dict)

    def flags(self) -> list[str]:
        flags = ["--host", self.host, "--port", str(self.port), "--size", self.size, "--clips", str(self.clips)]
        flags += ["--fps", str(self.fps)] + ["--passed"] * self.passthrough
        flags += ["--clip", self.clip] if self.clip else []
        return flags + (["--lumas", str(self.lumas)] if self.lumas else [])


@dataclass
class Peer:
    """A program to measure: how to start each of its roles, and which of them listens."""

    name: str
    title: str
    # Maps a role ("hub", "publish", "view") and a job to a command line.
    command: callable
    listens: str
    # Whether it can send finished JPEGs.
    passthrough: bool = True
    # A variant of framewire: not a peer.
    ours: bool = False
    # Seconds after the first frame until it sends its full quality; links are measured after that.
    settles: float = 0

    def order(self) -> list[str]:
        """The roles in starting order: the one that listens first, the one that connects last."""
        return {"hub": ["hub", "publish", "view"], "publish": ["publish", "view"], "view": ["view", "publish"]}[self.listens]


class Program:
    """A process that we started, the facts it has reported, and its processor time."""

    def __init__(self, role: str, command: list, log: Path):
        self.role, self.log = role, log
        self.facts: dict = {}
        self._reports: queue.Queue = queue.Queue()
        with log.open("ab") as stderr:
            # In a session of its own: the programs that it starts can be ended with it.
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                text=True, start_new_session=True,
            )
        if priority := os.nice(0):
            # Linux shares processors among sessions: the priority must be that of the session.
            Path(f"/proc/{self.process.pid}/autogroup").write_text(str(priority))
        threading.Thread(target=self._read, daemon=True).start()

    def fact(self, name: str, seconds: float):
        """Waits until it reports this fact."""
        deadline = time.monotonic() + seconds
        while name not in self.facts:
            try:
                facts = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self.failed(f"did not report '{name}' within {seconds} s") from None
            if facts is None:
                raise self.failed(f"ended before it reported '{name}'")
            self.facts.update(facts)
        return self.facts[name]

    def _receive(self) -> None:
        """Takes the facts reported so far."""
        while not self._reports.empty():
            self.facts.update(self._reports.get() or {})

    def failed(self, why: str) -> Failed:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        return Failed(" | ".join([f"{self.role} {why}", *lines]))

    def processor(self) -> float:
        """Seconds of processor used so far: its own, or those of the processes that it reported as `pids`."""
        self._receive()
        ticks = 0
        for number in self.facts.get("pids", [self.process.pid]):
            stat = Path(f"/proc/{number}/stat").read_text()
            ticks += sum(int(word) for word in stat.rpartition(")")[2].split()[11:13])
        return ticks / TICKS

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends it and all that it started: its session holds nothing else."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(TO_END if number == signal.SIGTERM else None)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        self.process.wait()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("{"):
                self._reports.put(json.loads(line))
        self._reports.put(None)


@dataclass
class Running:
    """The programs of one peer: started in order on entering, ended on leaving."""

    peer: Peer
    job: Job
    programs: dict[str, Program] = field(default_factory=dict)

    def __enter__(self):
        self.job.port = free_port()
        try:
            for role in self.peer.order():
                log = self.job.logs / f"{self.peer.name}-{role}.log"
                command = netns.within(self.job.places.get(role), self.peer.command(role, self.job))
                program = Program(role, command, log)
                self.programs[role] = program
                if role == self.peer.listens:
                    wait_listening(self.job.port, program)
                elif role == "publish" and self.peer.listens == "hub":
                    wait_published(self.job, program)
            self.first = self.programs["view"].fact("first", TO_FIRST)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for role in reversed(self.peer.order()):
            if role in self.programs:
                self.programs[role].end()

    def last(self) -> Program:
        """The program that connected last."""
        return self.programs[self.peer.order()[-1]]


def measure(peer: Peer, job: Job, seconds: float) -> dict:
    """Measures a peer for this many seconds: frame rate, latencies in ms, processor seconds per second of each process."""
    with Running(peer, job) as running:
        time.sleep(WARM_UP)
        before, begin = processor(running), time.monotonic()
        time.sleep(seconds)
        after, end = processor(running), time.monotonic()
        viewer = running.programs["view"]
        viewer.terminate()
        frames = viewer.fact("frames", TO_END)
    shown = [frame for frame in frames if begin * 1e6 <= frame[2] < end * 1e6]
    if len(shown) < 2:
        raise Failed(f"only {len(shown)} frames in {seconds} s")
    return {
        "fps": len(shown) / (end - begin),
        # JPEGs that are passed through carry no stamp.
        "latencies": [((decoded - captured) % CLOCK_WRAP) / 1000 for _, captured, decoded in shown if not job.passthrough],
        "cpu": {role: (after[role] - before[role]) / (end - begin) for role in after},
        "unreadable": viewer.facts["unreadable"],
    }


def connect(peer: Peer, job: Job) -> float:
    """Milliseconds from just before the last program connects until a frame is decoded."""
    with Running(peer, job) as running:
        return (running.first - running.last().fact("connecting", TO_END)) / 1000


def processor(running: Running) -> dict[str, float]:
    for program in running.programs.values():
        if program.process.poll() is not None:
            raise program.failed("ended during the measurement")
    return {role: program.processor() for role, program in running.programs.items()}


def wait_published(job: Job, publisher: Program) -> None:
    """Waits until the hub lists the stream."""
    address = f"http://{job.host}:{job.port}/streams"
    deadline = time.monotonic() + TO_PUBLISH
    while time.monotonic() < deadline:
        if publisher.process.poll() is not None:
            raise publisher.failed("ended before it published")
        with netns.inside(job.places.get("hub")), urllib.request.urlopen(address, timeout=TO_PUBLISH) as answer:
            if json.load(answer):
                return
        time.sleep(0.05)
    raise publisher.failed(f"published nothing within {TO_PUBLISH} s")


def percentile(values: list[float], part: float) -> float:
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, round(part * 1000) - 1)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_listening(port: int, program: Program) -> None:
    """Waits until the kernel lists the port as listening. A trial connection would be taken for a peer."""
    deadline = time.monotonic() + TO_LISTEN
    while time.monotonic() < deadline:
        if program.process.poll() is not None:
            raise program.failed("ended before it listened")
        for line in sockets(program.process.pid):
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                return
        time.sleep(0.01)
    raise program.failed(f"does not listen on port {port} after {TO_LISTEN} s")


def sockets(process: int) -> list[str]:
    """The kernel's list of TCP sockets in this process's network namespace."""
    lists = [Path(f"/proc/{process}/net/{family}").read_text() for family in ("tcp", "tcp6")]
    return [line for text in lists for line in text.splitlines()[1:]]
