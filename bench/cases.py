"""The cases: a link that changes, loses packets, is shared or goes away; a slow neighbour; a stopped viewer; a crowd."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import netns
from harness import (
    CLOCK_WRAP, HOST, TO_END, TO_FIRST, Failed, Job, Peer, Program, Running, free_port, processor, wait_listening,
)
from netns import Link, Meter, Road
from rival import Rival

# Seconds after the first frame that are not measured.
WARM_UP = 2.0
# Seconds: how long a link is gone or a viewer stopped, and how long is measured before and after.
GONE, BEFORE, AFTER = 5.0, 3.0, 12.0
# The rate of a link that goes away and of a slow neighbour, Mbit/s; seconds with and without that neighbour.
OUTAGE_RATE, SLOW_RATE, NEIGHBOUR = 20, 2, 10.0
# Seconds that a crowd is measured, and that it may take to connect.
CROWD, TO_CONNECT = 5.0, 30


@dataclass
class Setting:
    """A clip and the link that it is sent over."""

    clip: str = "film"
    link: Link = field(default_factory=Link)
    # Where the link is: uplink, from the publisher to the hub, or downlink, from the hub to the viewer.
    slow: str = "uplink"

    def job(self, peer: Peer, road: Road, scratch: Path) -> Job:
        hub = road.far if self.slow == "uplink" else road.near
        places = {"publish": road.near, "hub": hub, "view": road.far}
        host = road.address[places[peer.listens]]
        return Job(clip=self.clip, clips=scratch / "clips", logs=scratch / "logs", host=host, places=places)


@dataclass
class Turn:
    """A phase of the link: its rate in Mbit/s, its length in seconds, and whether a bulk flow shares it."""

    rate: float
    seconds: float
    rival: bool = False


def changing(peer: Peer, setting: Setting, turns: list[Turn], scratch: Path, python: Path) -> dict:
    """Takes the link through its phases; returns the frames shown, the bytes that crossed and the SSIM of a sample."""
    with Road(setting.link) as road:
        job = setting.job(peer, road, scratch)
        job.lumas = empty_folder(scratch / "lumas")
        road.rate(turns[0].rate)
        with Running(peer, job) as running, Meter(road) as meter, Rival(road) as rival:
            time.sleep(WARM_UP + peer.settles)
            before = processor(running)
            begin = time.monotonic()
            begins = run_through(turns, road, rival)
            end = time.monotonic()
            after = processor(running)
            result = shown(running) | {
                "begin": begin, "end": end, "turns": begins, "meter": meter.notes, "rival": rival.notes,
            }
        result["cpu"] = {role: (after[role] - before[role]) / (end - begin) for role in after}
        result["relay"] = road.end_relay()
    ask = [python, Path(__file__).with_name("quality.py"), "shown", job.clips / f"{job.clip}.bgr", job.lumas]
    result["ssim"] = json.loads(subprocess.run([str(word) for word in ask], check=True, capture_output=True, text=True).stdout)
    empty_folder(job.lumas)
    return result


def run_through(turns: list[Turn], road: Road, rival: Rival) -> list:
    """Takes the link through its phases; returns the rate of each and when it began."""
    begins, due = [], time.monotonic()
    for turn in turns:
        begins.append([turn.rate, time.monotonic()])
        road.rate(turn.rate)
        if turn.rival:
            rival.on()
        due += turn.seconds
        time.sleep(max(0.0, due - time.monotonic()))
        rival.off()
    return begins


# How a link goes away, how it comes back, and where its queue is: a machine notices when its own link goes.
OUTAGES = {
    "down": (Road.down, Road.up, "sender"),
    "lost": (Road.lose, lambda road: road.find(OUTAGE_RATE), "router"),
    "stall": (lambda road: road.rate(netns.STANDSTILL), lambda road: road.rate(OUTAGE_RATE), "router"),
}


def outage(peer: Peer, setting: Setting, how: str, scratch: Path) -> dict:
    """The link is gone for a while: taken down, losing every packet, or holding every packet back."""
    go, come, at = OUTAGES[how]
    with Road(replace(setting.link, at=at)) as road:
        job = setting.job(peer, road, scratch)
        road.rate(OUTAGE_RATE)
        with Running(peer, job) as running:
            time.sleep(WARM_UP + peer.settles + BEFORE)
            gone = time.monotonic()
            go(road)
            time.sleep(GONE)
            come(road)
            back = time.monotonic()
            time.sleep(AFTER)
            return shown(running) | {"gone": gone, "back": back, "end": time.monotonic()}


def neighbour(peer: Peer, setting: Setting, scratch: Path) -> dict:
    """A viewer beside the hub, first alone, then beside another viewer behind a slow link."""
    with Road(setting.link) as road:
        job = setting.job(peer, road, scratch)
        there, job.places["view"] = job.places["view"], road.near
        road.rate(SLOW_RATE)
        with Running(peer, job) as running:
            time.sleep(WARM_UP)
            alone = time.monotonic()
            time.sleep(NEIGHBOUR)
            joining = time.monotonic()
            slow = Program("view", netns.within(there, peer.command("view", job)), job.logs / f"{peer.name}-slow.log")
            try:
                slow.fact("first", TO_FIRST)
                joined = time.monotonic()
                time.sleep(NEIGHBOUR)
                end = time.monotonic()
                slow.terminate()
                theirs = slow.fact("frames", TO_END)
            finally:
                slow.end()
            return shown(running) | {
                "alone": alone, "joining": joining, "joined": joined, "end": end, "slow_frames": theirs,
            }


def stopped(peer: Peer, clip: str, scratch: Path) -> dict:
    """On loopback, a viewer is stopped for a while and continued."""
    job = Job(clip=clip, clips=scratch / "clips", logs=scratch / "logs")
    with Running(peer, job) as running:
        time.sleep(WARM_UP)
        viewer = running.programs["view"].process.pid
        os.kill(viewer, signal.SIGSTOP)
        time.sleep(GONE)
        back = time.monotonic()
        os.kill(viewer, signal.SIGCONT)
        time.sleep(AFTER)
        return shown(running) | {"back": back, "end": time.monotonic()}


class Server:
    """framewire's hub playing finished JPEGs itself: a frame is captured when the hub has it."""

    def __init__(self, scratch: Path, release: Path, stream: str):
        port = free_port()
        source = f"{stream}={scratch / 'clips/crowd.avi'}#loop"
        command = [release / "framewire", "serve", "--listen", f"{HOST}:{port}", "--source", source]
        self.program = Program("hub", command, scratch / "logs/crowd-hub.log")
        self.address = f"http://{HOST}:{port}/streams/{stream}/mjpeg"
        self._watch = [release / "framewire-bench", "crowd", self.address]
        self._log = scratch / "logs/crowd.log"
        wait_listening(port, self.program)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.end()

    def crowd(self, viewers: int, warm_up: float, seconds: float) -> Program:
        numbers = ["--viewers", str(viewers), "--warm-up", str(warm_up), "--seconds", str(seconds)]
        return Program("view", [*self._watch, *numbers], self._log)

    def memory(self) -> int:
        """Kilobytes of memory that it uses."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def crowd(viewers: int, *server) -> dict:
    """Many viewers over HTTP and a new hub: their frame rates, the ages of last bytes, and what they cost the hub."""
    with Server(*server) as server:
        with_one = holding(server, 1)
        watching = server.crowd(viewers, WARM_UP, CROWD)
        try:
            watching.fact("begun", TO_CONNECT)
            before, begin = server.program.processor(), time.monotonic()
            # Ends while all viewers still watch.
            time.sleep(CROWD * 0.9)
            spent, memory = (server.program.processor() - before) / (time.monotonic() - begin), server.memory()
            watching.fact("viewers", TO_END)
        finally:
            watching.end()
    figures = {name: watching.facts[name] for name in ("viewers", "fps_least", "fps_mean", "p50", "p99", "max")}
    return figures | {"ms": spent * 1000 / viewers, "kb": (memory - with_one) / max(1, viewers - 1)}


def holding(server: Server, viewers: int) -> int:
    """Kilobytes of the hub's memory with so many viewers."""
    watching = server.crowd(viewers, 0, CROWD)
    try:
        watching.fact("begun", TO_CONNECT)
        time.sleep(1)
        return server.memory()
    finally:
        watching.end()


def most_viewers(least_fps: float, step: int, most: int, *server) -> list[dict]:
    """Adds viewers until one of them gets less than the rate; then tries between the last two numbers."""
    taken, good, bad = [], 0, most + step
    while bad - good > step // 2:
        asked = min(good + step, most) if bad > most else (good + bad) // 2
        taken.append(crowd(asked, *server))
        if taken[-1]["fps_least"] >= least_fps:
            good = asked
            if good == most:
                break
        else:
            bad = asked
    return taken


def stopped_crowd(*server) -> dict:
    """One viewer over HTTP is stopped for a while and continued."""
    with Server(*server) as server:
        watching = server.crowd(1, WARM_UP, GONE + AFTER)
        try:
            watching.fact("begun", TO_CONNECT)
            os.kill(watching.process.pid, signal.SIGSTOP)
            time.sleep(GONE)
            os.kill(watching.process.pid, signal.SIGCONT)
            return {"old": watching.fact("old", AFTER + TO_END), "oldest": watching.facts["max"]}
        finally:
            watching.end()


def shown(running: Running) -> dict:
    """Ends the viewer; returns each frame's number, its latency in ms and when it was decoded, in seconds of CLOCK_MONOTONIC."""
    viewer = running.programs["view"]
    viewer.terminate()
    frames = viewer.fact("frames", TO_END)
    if not frames:
        raise Failed("the viewer showed no frame")
    frames = [[number, (decoded - captured) % CLOCK_WRAP / 1000, decoded / 1e6] for number, captured, decoded in frames]
    return {"frames": frames, "unreadable": viewer.facts["unreadable"]}


def empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder
