"""Selkies: a virtual screen that shows the clip, its own server, and a client of its WebSocket."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from common import Camera, main, micros, report

PATH = "/api/websockets"
ACKNOWLEDGE = 0.05
# A message: type, flags, frame number and other fields, then one access unit. The type of video, and bytes before the unit.
VIDEO, HEAD = 4, 12
OPTIONS = (
    "--mode websockets --enable-basic-auth=false --audio-enabled=false --microphone-enabled=false --gamepad-enabled=false "
    "--encoder h264enc --use-cpu=true --framerate 30 --manual-resolution=true --enable-resize=false"
).split()


def publish(args, camera):
    read, write = os.pipe()
    size = f"{camera.width}x{camera.height}x24"
    # Xvfb picks a free display and writes its number.
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"], pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as display:
        os.environ["DISPLAY"] = f":{int(display.readline())}"
    window = paint_first(camera)
    sizes = [f"--manual-width={camera.width}", f"--manual-height={camera.height}", f"--video-bitrate={kbits(args)}"]
    serve = [Path(sys.executable).with_name("selkies"), f"--addr={args.host}", f"--port={args.port}", *OPTIONS, *sizes]
    server = subprocess.Popen(serve, stdout=sys.stderr)
    report(pids=[server.pid])
    for frame in camera.frames():
        if server.poll() is not None or screen.poll() is not None:
            sys.exit("selkies or its virtual screen ended")
        window(frame)


def paint_first(camera):
    """Opens a window that fills the screen; returns the function that paints a frame into it."""
    os.environ |= {"SDL_VIDEODRIVER": "x11", "SDL_RENDER_DRIVER": "software", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    import pygame

    pygame.display.init()
    surface = pygame.display.set_mode((camera.width, camera.height), pygame.NOFRAME)
    pygame.mouse.set_visible(False)

    def paint(frame):
        surface.blit(pygame.image.frombuffer(frame, (camera.width, camera.height), "BGR"), (0, 0))
        pygame.display.flip()
        pygame.event.pump()

    return paint


def view(args, screen):
    asyncio.run(Client(args, screen).run())


class Client:
    def __init__(self, args, screen):
        import av

        self.args, self.screen = args, screen
        self.decoder = av.CodecContext.create("h264", "r")
        self.decoder.thread_type = "NONE"
        self.decoder.flags |= av.codec.context.Flags.low_delay
        self.packet = av.Packet
        self.begun, self.newest, self.arrived = False, None, 0.0

    async def run(self):
        import websockets

        address = f"ws://{self.args.host}:{self.args.port}{PATH}"
        report(connecting=micros())
        async with websockets.connect(address, compression=None, max_size=None, max_queue=None, ping_interval=None) as socket:
            async for message in socket:
                if isinstance(message, str) and '"server_settings"' in message:
                    break
            await socket.send("SETTINGS," + json.dumps(settings(self.args)))
            acknowledging = asyncio.create_task(self.acknowledge(socket))
            async for message in socket:
                if isinstance(message, bytes) and message[0] == VIDEO:
                    self.newest, self.arrived = int.from_bytes(message[2:4], "big"), time.monotonic()
                    self.decode(message)
            acknowledging.cancel()

    async def acknowledge(self, socket):
        while True:
            await asyncio.sleep(ACKNOWLEDGE)
            if self.newest is not None:
                held = (time.monotonic() - self.arrived) * 1000
                await socket.send(f"CLIENT_FRAME_ACK {self.newest} {held:.0f}")

    def decode(self, message: bytes) -> None:
        self.begun = self.begun or message[1] & 1 == 1
        if not self.begun:
            return
        for picture in self.decoder.decode(self.packet(message[HEAD:])):
            self.screen.picture(picture.to_ndarray(format="bgr24"))


def settings(args) -> dict:
    return {
        "encoder": "h264enc", "framerate": 30, "initialClientWidth": 1280, "initialClientHeight": 720,
        "manual_resolution": True, "manual_width": 1280, "manual_height": 720, "displayId": "primary",
        "rate_control_mode": "cbr", "video_bitrate": kbits(args), "use_cpu": True, "tabId": "bench",
    }


def kbits(args) -> int:
    """Its highest bitrate, which is in the peer's name in Mbit/s."""
    return int(args.peer.rpartition("-")[2]) * 1000


if __name__ == "__main__":
    main({"selkies-8": (publish, view), "selkies-18": (publish, view)})
