"""FFmpeg and GStreamer as programs: frames go in and out through pipes."""

import fcntl
import subprocess

import numpy as np
from common import QUALITY, SIZES, main, micros, report

# Pipes of one megabyte, the limit for users: fewer switches between the programs.
PIPE_BYTES = 1 << 20
# On FFmpeg's own scale, this is nearest to the bytes of libjpeg's quality 80.
FFMPEG_SCALE = 3

FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error"]
# No probing, no buffering, and no frame doubled or dropped to keep a rate.
LOW_DELAY = ["-fflags", "nobuffer", "-flags", "low_delay", "-probesize", "32", "-analyzeduration", "0", "-threads", "1"]
PASS_ALL = ["-fps_mode", "passthrough"]
GSTREAMER = ["gst-launch-1.0", "-q"]


def ffmpeg_publish(args, camera):
    target = ["-f", "mpjpeg", "-flush_packets", "1", f"tcp://{args.host}:{args.port}?listen=1&tcp_nodelay=1"]
    if args.passed:
        avi = args.clips / f"{args.size}.avi"
        process = subprocess.Popen([*FFMPEG, "-re", "-stream_loop", "-1", "-i", avi, "-c", "copy", *target])
        report(pids=[process.pid])
        process.wait()
        return
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-video_size", f"{camera.width}x{camera.height}", "-framerate", "30"]
    encode = ["-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", str(FFMPEG_SCALE), "-huffman", "default", "-threads", "1"]
    feed([*FFMPEG, *LOW_DELAY, *raw, "-i", "pipe:0", *PASS_ALL, *encode, *target], camera)


def ffmpeg_view(args, screen):
    source = ["-f", "mpjpeg", "-i", f"tcp://{args.host}:{args.port}?tcp_nodelay=1"]
    report(connecting=micros())
    if args.passed:
        count([*FFMPEG, *LOW_DELAY, *source, "-c", "copy", "-flush_packets", "1", "-f", "mjpeg", "pipe:1"], screen)
    else:
        # Even the raw encoder would delay by a frame for each of its threads.
        target = [*PASS_ALL, "-threads", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-flush_packets", "1", "pipe:1"]
        show([*FFMPEG, *LOW_DELAY, *source, *target], args, screen)


def gstreamer_publish(args, camera):
    raw = f"rawvideoparse format=bgr width={camera.width} height={camera.height} framerate=30/1"
    encode = f"videoconvert ! jpegenc quality={QUALITY} ! multipartmux"
    size = camera.width * camera.height * 3
    sink = f"tcpserversink host={args.host} port={args.port} sync=false"
    feed([*GSTREAMER, *f"fdsrc fd=0 blocksize={size} ! {raw} ! {encode} ! {sink}".split()], camera)


def gstreamer_view(args, screen):
    source = f"tcpclientsrc host={args.host} port={args.port} ! multipartdemux single-stream=true ! image/jpeg"
    decode = "jpegdec ! videoconvert ! video/x-raw,format=BGR"
    report(connecting=micros())
    show([*GSTREAMER, *f"{source} ! {decode} ! fdsink fd=1 sync=false".split()], args, screen)


def feed(command, camera) -> None:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)
    fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    report(pids=[process.pid])
    for frame in camera.frames():
        rest = memoryview(frame).cast("B")
        while rest:
            rest = rest[process.stdin.write(rest) :]


def show(command, args, screen) -> None:
    width, height = SIZES[args.size]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    report(pids=[process.pid])
    image = np.empty((height, width, 3), np.uint8)
    while True:
        rest = memoryview(image).cast("B")
        while rest:
            count = process.stdout.readinto(rest)
            if not count:
                raise ConnectionResetError
            rest = rest[count:]
        screen.picture(image)


def count(command, screen) -> None:
    """Discards JPEGs and counts their end markers, which entropy-coded data never contains."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    report(pids=[process.pid])
    while data := process.stdout.read(PIPE_BYTES):
        for _ in range(data.count(b"\xff\xd9")):
            screen.jpeg(data)


main({
    "ffmpeg": (ffmpeg_publish, ffmpeg_view),
    "gstreamer": (gstreamer_publish, gstreamer_view),
})
