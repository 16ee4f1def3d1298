"""What all peers share: the clip and its pace, the stamp in the pixels, and the facts reported to `run` and `links`."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np

SIZES = {"480": (640, 480), "720": (1280, 720), "1080": (1920, 1080)}
QUALITY = 80
# The luma of every tenth frame is saved.
SAMPLED = 10

# OpenCV's own threads would add noise to the figures of two cores.
cv2.setNumThreads(1)


def arguments(peers: list[str]) -> argparse.Namespace:
    """The command line of every peer: `PEER publish|view --host ADDR --port N --size 720 …`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=peers)
    parser.add_argument("role", choices=["publish", "view"])
    parser.add_argument("--host", default="127.0.0.1", help="address of the end that listens")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", choices=SIZES, default="720")
    parser.add_argument("--clips", type=Path, required=True, help="the folder that clips.py filled")
    parser.add_argument("--clip", help="the clip's name [default: the size]")
    parser.add_argument("--lumas", type=Path, help="save the luma of every tenth frame in this folder")
    parser.add_argument("--fps", type=float, default=30.0, help="0: unpaced")
    parser.add_argument("--passed", action="store_true", help="send finished JPEGs: nothing is encoded or decoded")
    return parser.parse_args()


def report(**facts) -> None:
    """Prints a line of JSON for `run` and `links`."""
    print(json.dumps(facts), flush=True)


def micros() -> int:
    """CLOCK_MONOTONIC, the same in all processes of a machine."""
    return time.monotonic_ns() // 1000


class Camera:
    """Repeats a clip. Stamps each frame at the moment it hands the frame over."""

    def __init__(self, args: argparse.Namespace):
        self.width, self.height = SIZES[args.size]
        self.interval = 1 / args.fps if args.fps else 0.0
        self.passed = args.passed
        if args.passed:
            self.clip = [path.read_bytes() for path in sorted((args.clips / f"{args.size}.jpegs").iterdir())]
        else:
            pixels = np.fromfile(args.clips / f"{args.clip or args.size}.bgr", np.uint8)
            self.clip = pixels.reshape(-1, self.height, self.width, 3)

    def frames(self):
        """Frames (with `--passed`: JPEGs) at the clip's pace, without end. A late caller misses frames, as with a camera."""
        due = time.monotonic()
        number = 0
        while True:
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            due = max(due + self.interval, time.monotonic())
            frame = self.clip[number % len(self.clip)]
            if not self.passed:
                stamp(frame, number, micros())
            yield frame
            number += 1

    def jpegs(self):
        """The frames as JPEGs."""
        for frame in self.frames():
            yield frame if self.passed else encode(frame)


class Screen:
    """Notes the number and time of each decoded frame, and reports all of them when terminated."""

    def __init__(self, args: argparse.Namespace):
        self.passed, self.lumas = args.passed, args.lumas
        self.seen: list[tuple[int, int, int]] = []
        self.unreadable = 0
        signal.signal(signal.SIGTERM, self._end)

    def jpeg(self, data) -> None:
        """Takes a JPEG, which is decoded except in passthrough."""
        if self.passed:
            self._note((0, 0), micros())
        else:
            self.picture(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))

    def picture(self, image: np.ndarray) -> None:
        """Takes a decoded frame."""
        now = micros()
        read = read_stamp(image)
        if read is None:
            self.unreadable += 1
        else:
            self._note(read, now)
            if self.lumas and read[0] % SAMPLED == 0:
                cv2.imwrite(str(self.lumas / f"{read[0]}.pgm"), cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))

    def _note(self, read: tuple[int, int], now: int) -> None:
        if not self.seen:
            report(first=now)
        self.seen.append((*read, now))

    def _end(self, *_) -> None:
        report(frames=self.seen, unreadable=self.unreadable)
        os._exit(0)


def encode(frame: np.ndarray, quality: int = QUALITY) -> np.ndarray:
    """A JPEG of the frame, by the call that the tutorials use."""
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]


# The stamp: a row of 80 squares over the top, black for 0 and white for 1, most significant bit first: the frame's number (32
# bits), microseconds of CLOCK_MONOTONIC modulo 2^40 (40 bits), CRC-8 of those nine bytes (polynomial 0x07, initial value 0xFF).
STAMP_BITS = 80
CLOCK_BITS = 40


def stamp(frame: np.ndarray, number: int, now: int) -> None:
    """Writes the stamp into the frame."""
    data = (number % 2**32).to_bytes(4, "big") + (now % 2**CLOCK_BITS).to_bytes(5, "big")
    bits = np.unpackbits(np.frombuffer(data + bytes([crc8(data)]), np.uint8)) * np.uint8(255)
    square = frame.shape[1] // STAMP_BITS
    frame[:square] = np.repeat(bits, square)[None, :, None]


def read_stamp(image: np.ndarray) -> tuple[int, int] | None:
    """The number and the capture time in a frame's stamp; `None` when the CRC is wrong."""
    square = image.shape[1] // STAMP_BITS
    greens = image[square // 2, square // 2 :: square, 1]
    data = np.packbits(greens[:STAMP_BITS] > 128).tobytes()
    if crc8(data[:9]) != data[9]:
        return None
    return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:9], "big")


def crc8(data: bytes) -> int:
    crc = 0xFF
    for byte in data:
        crc = CRC_TABLE[crc ^ byte]
    return crc


def _crc_row(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


CRC_TABLE = [_crc_row(byte) for byte in range(256)]


def main(peers: dict) -> None:
    """Runs the publisher or the viewer that the command line names; `peers` maps a name to both."""
    args = arguments(list(peers))
    publish, view = peers[args.peer]
    try:
        if args.role == "publish":
            publish(args, Camera(args))
        else:
            view(args, Screen(args))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit("the other end closed the connection")
