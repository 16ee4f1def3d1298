#!/usr/bin/env python3
"""Writes the captures of the tutorials' pickle wire: what its camera's end sends, pickled by the NumPy that runs this.

Files are named after Python, NumPy, protocol and size, so every pair of Python and NumPy adds its own:

    python3 -m venv /tmp/numpy1 && /tmp/numpy1/bin/pip install numpy==1.26.4 && /tmp/numpy1/bin/python make_pickles.py
"""

import pickle
import struct
import sys
from pathlib import Path

import numpy

HERE = Path(__file__).parent / "pickle"
PICTURES = Path(__file__).parent / "pictures"
WRITER = f"py{sys.version_info[0]}.{sys.version_info[1]}-numpy{'.'.join(numpy.__version__.split('.')[:2])}"


def image(height, width, start):
    """Bytes that differ, from 0 to 255; tests/wire/pickle.rs makes the same."""
    count = height * width * 3
    return ((start + 7 * numpy.arange(count)) % 256).astype(numpy.uint8).reshape(height, width, 3)


def frames():
    """As a camera gives them, a camera that failed, and arrays whose bytes lie otherwise than their rows do."""
    first, second = image(2, 4, 0), image(2, 4, 100)
    sealed = image(2, 4, 50)
    sealed.flags.writeable = False
    return [
        None,
        first,
        numpy.asfortranarray(second),
        first[:, ::-1],
        numpy.ascontiguousarray(second.transpose(1, 0, 2)).transpose(1, 0, 2),
        numpy.ascontiguousarray(first.transpose(2, 0, 1)).transpose(1, 2, 0),
        sealed,
    ]


def jpegs():
    """The same JPEG as OpenCV returns it, in one column or row, and as bytes."""
    jpeg = (PICTURES / "first.jpg").read_bytes()
    flat = numpy.frombuffer(jpeg, numpy.uint8).copy()
    return [flat.reshape(-1, 1), flat, flat.reshape(1, -1), jpeg, bytearray(jpeg)]


def send(frames, protocol):
    out = b""
    for frame in frames:
        data = pickle.dumps(frame, protocol)
        out += struct.pack("<Q", len(data)) + data
    return out


def write(name, data):
    HERE.mkdir(exist_ok=True)
    (HERE / name).write_bytes(data)
    print(f"{name}: {len(data)} bytes")


def main():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        write(f"{WRITER}-protocol{protocol}-4x2.bin", send(frames(), protocol))
        write(f"{WRITER}-protocol{protocol}-jpeg.bin", send(jpegs(), protocol))
    # One of them as large as the tutorial's, and easily compressed: what framewire sends, and what comes from most today.
    protocol = 3 if numpy.__version__.startswith("1.") else pickle.DEFAULT_PROTOCOL
    write(f"{WRITER}-protocol{protocol}-320x240.bin", send([numpy.full((240, 320, 3), 200, numpy.uint8)], protocol))


if __name__ == "__main__":
    main()
