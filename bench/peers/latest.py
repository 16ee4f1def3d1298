"""camera-stream, which also keeps only the newest frame: its own server, playing the clip, and its own client."""

import os

import camera_stream.drivers.opencv as drivers
from camera_stream import StreamClient
from camera_stream.config import ServiceConfig
from camera_stream.drivers.base import CapturedFrameSet, CapturedStream
from camera_stream.supervisor import Supervisor, install_signal_handlers
from common import QUALITY, Camera, arguments, main, micros, report

NAME = "camera"
# The highest rate that its configuration accepts; the clip's pace does not depend on it.
MOST_FPS = 240


class ClipCamera:
    """Replaces its camera driver. Its server starts a process for the camera, which imports this file again."""

    def __init__(self, _config):
        self.frames = Camera(arguments(["camera-stream"])).frames()

    def open(self):
        # The server's process and this one do the work.
        report(pids=[os.getppid(), os.getpid()])

    def read(self):
        return CapturedFrameSet({"color": CapturedStream(next(self.frames), "bgr8")})

    def close(self):
        pass


drivers.OpenCVCamera = ClipCamera


def endpoint(args) -> str:
    return f"tcp://{args.host}:{args.port}"


def publish(args, camera):
    camera.clip = None  # the other process loads it
    profile = {"width": camera.width, "height": camera.height, "fps": round(args.fps) or MOST_FPS}
    device = {"name": NAME, "driver": "opencv", "device": {"path": "clip"}, "profile": profile}
    device["encoding"] = {"codec": "jpeg", "jpeg_quality": QUALITY}
    config = ServiceConfig.model_validate({"endpoints": {"stream_pub": endpoint(args)}, "cameras": [device]})
    supervisor = Supervisor(config)
    install_signal_handlers(supervisor)
    supervisor.run()


def view(args, screen):
    report(connecting=micros())
    stream = StreamClient(endpoint(args)).subscribe(f"{NAME}/color", warm_up=False)
    while True:
        screen.picture(stream.read().image)


if __name__ == "__main__":
    main({"camera-stream": (publish, view)})
