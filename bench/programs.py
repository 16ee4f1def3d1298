"""The table of programs that are measured: their command lines, and which role listens."""

from pathlib import Path

from harness import Job, Peer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHON = ROOT / ".deps/bench-venv/bin/python"
MEDIA = ROOT / ".deps/media"
# These two cannot be installed on every system.
SELKIES = ROOT / ".deps/selkies-venv/bin/python"
LIBWEBRTC = ROOT / ".deps/libwebrtc-venv/bin/python"
RELEASE = ROOT / "target/release"
STREAM = "bench"
# The name of an older build of framewire.
BEFORE = "framewire-before"


def in_python(script: str, name: str, python: Path = PYTHON):
    """The command lines of a peer written in Python."""
    return lambda role, job: [python, HERE / "peers" / script, name, role, *job.flags()]


def framewire(publish: tuple = (), view: tuple = (), release: Path = RELEASE):
    """The command lines of framewire: its own hub; framewire-bench as the publisher that stamps and the viewer that reads stamps."""
    options = {"publish": publish, "view": view}

    def command(role: str, job: Job) -> list:
        hub = f"fw://{job.host}:{job.port}/{STREAM}"
        if role == "hub":
            # --insecure: only this machine's own namespaces can reach the address.
            return [release / "framewire", "serve", "--listen", f"{job.host}:{job.port}", "--insecure"]
        if role == "publish" and job.passthrough:
            return [release / "framewire", "send", job.clips / f"{job.size}.avi", hub, "--loop", "--codec", "copy"]
        return [release / "framewire-bench", role, hub, *job.flags(), *options[role]]

    return command


def package(role: str, job: Job) -> list:
    """The command lines of framewire's Python package."""
    if role == "hub":
        return framewire()(role, job)
    return in_python("package.py", "framewire-python")(role, job)


PEERS = [
    Peer("framewire", "**framewire**", framewire(), "hub", ours=True),
    Peer("framewire-python", "**framewire's Python package**, array to array as the peers", package, "hub", passthrough=False, ours=True),
    Peer("framewire-bgr", "**framewire**, decoded to BGR as by the peers", framewire(view=("--bgr",)), "hub", passthrough=False, ours=True),
    Peer("framewire-i420", "framewire, publishing I420 as many cameras deliver it", framewire(publish=("--i420",)), "hub", passthrough=False, ours=True),
    Peer("lhh", "lhh tutorial (8-byte header)", in_python("tutorials.py", "lhh"), "view"),
    Peer("base64", "base64 tutorial", in_python("tutorials.py", "base64"), "view"),
    Peer("stopwait", "stopwait tutorial", in_python("tutorials.py", "stopwait"), "view"),
    Peer("pickle", "pickle tutorial, full size", in_python("tutorials.py", "pickle"), "publish", passthrough=False),
    Peer("imagezmq-req", "imageZMQ REQ/REP", in_python("messaging.py", "imagezmq-req"), "view"),
    Peer("imagezmq-pub", "imageZMQ PUB/SUB", in_python("messaging.py", "imagezmq-pub"), "publish"),
    Peer("netgear", "VidGear NetGear", in_python("messaging.py", "netgear"), "view", passthrough=False),
    Peer("camera-stream", "camera-stream", in_python("latest.py", "camera-stream"), "publish", passthrough=False),
    Peer("ffmpeg", "FFmpeg mjpeg, tuned", in_python("piped.py", "ffmpeg"), "publish"),
    Peer("gstreamer", "GStreamer jpeg, tuned", in_python("piped.py", "gstreamer"), "publish", passthrough=False),
]


def before(folder: Path, *options: str) -> Peer:
    """An older build of framewire: the programs in this folder."""
    command = framewire(options, options, folder.resolve())
    return Peer(BEFORE, "framewire before", command, "hub", ours=True)


# Measured over links only: its publisher is a whole desktop. The number is its highest bitrate, Mbit/s.
DESKTOPS = [
    Peer(f"selkies-{rate}", f"Selkies, at most {rate} Mbit/s", in_python("desktop.py", f"selkies-{rate}", SELKIES), "publish", passthrough=False)
    for rate in (8, 18)
]

# Measured over links only: on loopback it takes ten seconds to climb from 320x180 to 720p.
BROWSERS = [
    Peer("libwebrtc", "libwebrtc, VP8", in_python("libwebrtc.py", "libwebrtc", LIBWEBRTC), "publish", passthrough=False, settles=12)
]


def pair(wire: str, listens: str, camera: str, viewer: str) -> Peer:
    """Camera and viewer of a tutorial's wire, each the tutorial's or framewire's."""
    titles = {"tutorial": "tutorial", "framewire": "**framewire**"}

    def command(role: str, job: Job) -> list:
        if (camera if role == "publish" else viewer) == "tutorial":
            return in_python("tutorials.py", wire)(role, job)
        return [RELEASE / "framewire-bench", role, f"{wire}://{job.host}:{job.port}", *job.flags()]

    title = f"{wire}: {titles[camera]} to {titles[viewer]}"
    return Peer(f"{wire}-{camera}-{viewer}", title, command, listens, passthrough=False, ours=True)


# Every tutorial wire, with framewire as either end and as both.
PAIRS = [
    pair(wire, listens, camera, viewer)
    for wire, listens in [("lhh", "view"), ("base64", "view"), ("stopwait", "view"), ("pickle", "publish")]
    for camera in ("tutorial", "framewire")
    for viewer in ("tutorial", "framewire")
]
