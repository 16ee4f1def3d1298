#!/usr/bin/env python3
"""Writes the captures of the tutorials' wires: what their cameras send of two tiny pictures, packed as they pack it.

Needs nothing but Python on a 64-bit Linux or macOS; run it anywhere, the captures come out the same.
"""

import base64
import struct
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).parent
PICTURES = [(HERE / "pictures" / name).read_bytes() for name in ("first.jpg", "second.jpg")]
# When the pictures were sent; tests/wire/tutorials.rs knows these too.
TIMES = [
    datetime(2021, 5, 4, 10, 20, 30, 42, tzinfo=timezone.utc),
    datetime(2021, 5, 4, 10, 20, 30, 999_999, tzinfo=timezone.utc),
]


def lhh(layout, frames):
    """Width and height are what the camera was told, not what it sends."""
    return b"".join(struct.pack(layout, len(frame), 640, 480) + frame for frame in frames)


def base64_wire(times):
    out = b""
    for picture, time in zip(PICTURES, times):
        coded = base64.b64encode(picture)
        out += str(len(coded)).encode("utf-8").ljust(64) + coded + time.encode("utf-8").ljust(64)
    return out


def stopwait(pictures):
    return b"".join(str.encode(str(len(picture)) + ", ") + picture for picture in pictures) + str.encode("over")


def write(name, data):
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    print(f"{name}: {len(data)} bytes")


def main():
    native, standard = "lhh", "<lhh"  # standard sizes are those of Windows and of 32-bit Linux
    assert struct.calcsize(native) == 12 and struct.pack(native, 1, 2, 3)[:2] == b"\1\0", "run this on 64-bit Linux"
    write("lhh/long8.bin", lhh(native, PICTURES))
    write("lhh/long4.bin", lhh(standard, PICTURES))
    write("lhh/long8-empty-first.bin", lhh(native, [b"", b"", PICTURES[0], b"", PICTURES[1]]))
    write("lhh/long4-empty-first.bin", lhh(standard, [b"", b"", PICTURES[0], b"", PICTURES[1]]))
    write("base64/camera.bin", base64_wire([time.strftime("%Y-%m-%d %H:%M:%S.%f") for time in TIMES]))
    write("base64/other-times.bin", base64_wire(["04/05/2021 10:20:30", ""]))
    write("stopwait/camera.bin", stopwait(PICTURES))
    write("stopwait/camera-again.bin", stopwait(PICTURES[:1]) + stopwait(PICTURES[1:]))


if __name__ == "__main__":
    main()
