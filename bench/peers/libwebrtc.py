"""libwebrtc, the engine of every browser: VP8 over UDP with its own congestion control and jitter buffer, as PyPI's wrtc has it."""

import asyncio
import json

import cv2
import numpy as np
import webrtc
from common import main, micros, report

# What the bitrate may climb to, bit/s: just below the fastest link.
MAX_BITRATE = 18_000_000
# One codec, and what repairs its losses: retransmission (RTX) and error correction (RED, ULPFEC).
CODECS = {"video/VP8", "video/rtx", "video/red", "video/ulpfec"}


def publish(args, camera):
    asyncio.run(send(args, camera))


async def send(args, camera):
    """Waits for a viewer on TCP, agrees on a connection with it, and sends the clip."""
    viewers = asyncio.Queue()
    async with await asyncio.start_server(lambda *viewer: viewers.put(viewer), args.host, args.port):
        lines = Lines(*await viewers.get())
        connection = webrtc.RTCPeerConnection()
        generator = webrtc.VideoTrackGenerator()
        offer_track(connection, generator.track)
        await connection.set_local_description()
        await lines.write(await complete(connection))
        await connection.set_remote_description(description(await lines.read()))
        await connected(connection)
        writer = generator.writable.get_writer()
        for frame in camera.frames():
            await writer.write(to_i420(frame))


def offer_track(connection, track) -> None:
    encoding = webrtc.RTCRtpEncodingParameters(max_bitrate=MAX_BITRATE)
    init = webrtc.RTCRtpTransceiverInit(direction="sendonly", send_encodings=[encoding])
    transceiver = connection.add_transceiver(track, init)
    known = webrtc.RTCRtpSender.get_capabilities("video").codecs
    transceiver.set_codec_preferences([codec for codec in known if codec.mime_type in CODECS])


def to_i420(bgr: np.ndarray):
    height, width = bgr.shape[:2]
    init = webrtc.VideoFrameBufferInit(format="I420", coded_width=width, coded_height=height, timestamp=micros())
    return webrtc.VideoFrame(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420), init)


def view(args, screen):
    asyncio.run(receive(args, screen))


async def receive(args, screen):
    """Connects to the publisher, answers its offer, and shows each decoded frame as BGR."""
    report(connecting=micros())
    lines = Lines(*await asyncio.open_connection(args.host, args.port))
    connection = webrtc.RTCPeerConnection()
    tracks = asyncio.Queue()
    connection.on("track", lambda event: tracks.put_nowait(event.track))
    await connection.set_remote_description(description(await lines.read()))
    await connection.set_local_description()
    await lines.write(await complete(connection))
    # Keeps one frame: an older one that was not read yet is dropped.
    processor = webrtc.MediaStreamTrackProcessor(webrtc.MediaStreamTrackProcessorInit(await tracks.get()))
    async for frame in processor.readable:
        with frame:
            i420 = np.empty((frame.coded_height * 3 // 2, frame.coded_width), np.uint8)
            await frame.copy_to(memoryview(i420).cast("B"))
        screen.picture(cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420))


class Lines:
    """Session descriptions over a TCP connection, each a line of JSON."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def write(self, message: dict) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")
        await self.writer.drain()

    async def read(self) -> dict:
        if not (line := await self.reader.readline()):
            raise ConnectionResetError("the other end closed the connection before its session description")
        return json.loads(line)


async def complete(connection) -> dict:
    """The local description once it holds every candidate."""
    gathered = asyncio.Event()
    connection.on("icegatheringstatechange", lambda _: connection.ice_gathering_state == "complete" and gathered.set())
    if connection.ice_gathering_state != "complete":
        await gathered.wait()
    local = connection.local_description
    return {"type": str(local.type.value), "sdp": local.sdp}


async def connected(connection) -> None:
    ready = asyncio.Event()
    connection.on("connectionstatechange", lambda _: connection.connection_state == "connected" and ready.set())
    if connection.connection_state != "connected":
        await ready.wait()


def description(message: dict):
    return webrtc.RTCSessionDescription(webrtc.RTCSessionDescriptionInit(**message))


if __name__ == "__main__":
    main({"libwebrtc": (publish, view)})
