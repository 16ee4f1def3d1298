"""What happens to a live video, case by case: a link that changes, one that goes, a slow neighbour, a reader that stops."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import netns
from harness import CLOCK_WRAP, TO_END, TO_PICTURE, Failed, Job, Peer, Program, Running, processor
from netns import Link, Meter, Road

# Seconds after the first picture that are not measured.
WARM_UP = 2.0
# Seconds that a link is gone and a reader stopped, and what is looked at before and after.
GONE, BEFORE, AFTER = 5.0, 3.0, 12.0
# Of a link that goes, Mbit/s; of the slow one of two viewers; seconds with and without it.
OUTAGE_RATE, SLOW_RATE, NEIGHBOUR = 20, 2, 10.0


@dataclass
class Setting:
    """What is sent over which link."""

    clip: str = "film"
    link: Link = field(default_factory=Link)
    # Which way of the hub the link is: from the publisher to it, or from it to the viewer.
    slow: str = "uplink"

    def job(self, peer: Peer, road: Road, scratch: Path) -> Job:
        hub = road.far if self.slow == "uplink" else road.near
        places = {"publish": road.near, "hub": hub, "view": road.far}
        host = road.address[places[peer.listens]]
        return Job(clip=self.clip, clips=scratch / "clips", logs=scratch / "logs", host=host, places=places)


def changing(peer: Peer, setting: Setting, schedule: list[tuple[float, float]], scratch: Path, python: Path) -> dict:
    """The link takes each rate (Mbit/s) for its seconds; every picture shown, the bytes that crossed, the SSIM of a sample."""
    with Road(setting.link) as road:
        job = setting.job(peer, road, scratch)
        job.lumas = empty_folder(scratch / "lumas")
        road.rate(schedule[0][0])
        turns = []
        with Running(peer, job) as running, Meter(road) as meter:
            time.sleep(WARM_UP)
            before = processor(running)
            begin = due = time.monotonic()
            for rate, seconds in schedule:
                turns.append([rate, time.monotonic()])
                road.rate(rate)
                due += seconds
                time.sleep(max(0.0, due - time.monotonic()))
            end = time.monotonic()
            after = processor(running)
            result = shown(running) | {"begin": begin, "end": end, "turns": turns, "meter": meter.notes}
        result["cpu"] = {role: (after[role] - before[role]) / (end - begin) for role in after}
        result["relay"] = road.end_relay()
    ask = [python, Path(__file__).with_name("quality.py"), "shown", job.clips / f"{job.clip}.bgr", job.lumas]
    result["ssim"] = json.loads(subprocess.run([str(word) for word in ask], check=True, capture_output=True, text=True).stdout)
    empty_folder(job.lumas)
    return result


def outage(peer: Peer, setting: Setting, how: str, scratch: Path) -> dict:
    """The link is gone for a while: `down`, and what is sent is lost; or `stall`, its rate is nothing, and what is sent waits."""
    with Road(setting.link) as road:
        job = setting.job(peer, road, scratch)
        road.rate(OUTAGE_RATE)
        with Running(peer, job) as running:
            time.sleep(WARM_UP + BEFORE)
            gone = time.monotonic()
            road.cut() if how == "down" else road.rate(netns.STANDSTILL)
            time.sleep(GONE)
            road.mend() if how == "down" else road.rate(OUTAGE_RATE)
            back = time.monotonic()
            time.sleep(AFTER)
            return shown(running) | {"gone": gone, "back": back, "end": time.monotonic()}


def neighbour(peer: Peer, setting: Setting, scratch: Path) -> dict:
    """A viewer beside the hub, first alone, then with another behind a slow link."""
    with Road(setting.link) as road:
        job = setting.job(peer, road, scratch)
        there, job.places["view"] = job.places["view"], road.near
        road.rate(SLOW_RATE)
        with Running(peer, job) as running:
            time.sleep(WARM_UP)
            alone = time.monotonic()
            time.sleep(NEIGHBOUR)
            slow = Program("view", netns.within(there, peer.command("view", job)), job.logs / f"{peer.name}-slow.log")
            try:
                slow.fact("first", TO_PICTURE)
                joined = time.monotonic()
                time.sleep(NEIGHBOUR)
                end = time.monotonic()
                slow.terminate()
                theirs = slow.fact("frames", TO_END)
            finally:
                slow.end()
            return shown(running) | {"alone": alone, "joined": joined, "end": end, "slow_frames": theirs}


def stopped(peer: Peer, clip: str, scratch: Path) -> dict:
    """A viewer is stopped for a while, on loopback, and continued."""
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


def shown(running: Running) -> dict:
    """Ends the viewer: each picture's number, its latency in ms and when it was decoded, in seconds of CLOCK_MONOTONIC."""
    viewer = running.programs["view"]
    viewer.terminate()
    frames = viewer.fact("frames", TO_END)
    if not frames:
        raise Failed("no picture was shown")
    frames = [[number, (decoded - captured) % CLOCK_WRAP / 1000, decoded / 1e6] for number, captured, decoded in frames]
    return {"frames": frames, "unreadable": viewer.facts["unreadable"]}


def empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder
