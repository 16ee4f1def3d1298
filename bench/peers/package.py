"""framewire's Python package: the hub is the program, the sender and the viewer are programs in Python."""

import framewire
from common import QUALITY, main, micros, report

STREAM = "bench"


def publish(args, camera):
    # The library speaks of `fps` as the rate to size frames for; unpaced pictures wait for room instead.
    with framewire.Sender(f"fw://{args.host}:{args.port}/{STREAM}", quality=QUALITY, fps=args.fps or None) as sender:
        for frame in camera.frames():
            sender.send(frame, timeout=0.0 if args.fps else 1.0)


def view(args, screen):
    report(connecting=micros())
    for frame in framewire.Viewer(f"fw://{args.host}:{args.port}/{STREAM}", wait=True):
        screen.picture(frame.image)


main({"framewire-python": (publish, view)})
