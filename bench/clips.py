"""Makes the clips that every program sends.

    clips.py FOLDER FILM        photographs panned, with as much noise as brings a JPEG to the size wanted: writes
                                FOLDER/{480,720,1080}.bgr, 720.jpegs/ and 720.avi, unless they are there
    clips.py FOLDER FILM NAME   ten seconds of the film's own motion at 720p30 with light noise: FOLDER/NAME.bgr; with the
                                name crowd FOLDER/crowd.avi: ready JPEGs of 100 KB
"""

import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import QUALITY, SIZES, encode

FRAMES = 60
STILLS = 4
# Bytes of a JPEG of quality 80.
WANTED = {"480": 54_000, "720": 127_000, "1080": 234_000}
# Pixels that the view moves from frame to frame, to the right and down.
PAN = (6, 2)
PASSED = "720"
# Pictures of a clip with motion, and the noise that a camera adds to it, of 255.
MOVING, GRAIN = 300, 2.0
# Of a JPEG for many viewers.
CROWD = 100_000


def make(folder: Path, film: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        target = folder / f"{size}.bgr"
        if not target.exists():
            clip = noisy(panned(stills(film), *SIZES[size]), WANTED[size])
            clip.tofile(partial := target.with_suffix(".partial"))
            partial.rename(target)
            print(f"{target}: {len(clip)} frames, {mean_size(clip) / 1000:.0f} KB as JPEG")
    ready_jpegs(folder)


def make_moving(target: Path, film: Path) -> None:
    """The film frame by frame, from its beginning again where it is shorter, filling a wide picture."""
    if target.exists():
        return
    frames = itertools.islice(itertools.cycle(pictures(film)), MOVING)
    width, height = SIZES["720"]
    clip = with_noise(np.stack([filling(frame, width, height) for frame in frames]), GRAIN)
    clip.tofile(partial := target.with_suffix(".partial"))
    partial.rename(target)
    print(f"{target}: {len(clip)} frames, {mean_size(clip[::10]) / 1000:.0f} KB as JPEG")


def filling(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture scaled until it fills the size, and cut at the middle."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def stills(film: Path) -> list[np.ndarray]:
    """Pictures of a film, evenly spaced, black ones at its ends left out."""
    frames = pictures(film)
    return [frames[len(frames) * (2 * turn + 1) // (2 * STILLS)] for turn in range(STILLS)]


def pictures(film: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(film))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    if not frames:
        sys.exit(f"{film}: holds no pictures that OpenCV can read; `scripts/setup bench` fetches it")
    return frames


def panned(pictures: list[np.ndarray], width: int, height: int) -> np.ndarray:
    clip = np.empty((FRAMES, height, width, 3), np.uint8)
    each = FRAMES // len(pictures)
    for number in range(FRAMES):
        right, down = (step * (number % each) for step in PAN)
        wide, high = width + PAN[0] * each, height + PAN[1] * each
        scale = max(wide / pictures[0].shape[1], high / pictures[0].shape[0])
        picture = cv2.resize(pictures[number // each], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        clip[number] = picture[down : down + height, right : right + width]
    return clip


def noisy(clip: np.ndarray, wanted: int) -> np.ndarray:
    """The clip with the noise that brings it to the wanted bytes, found by halving."""
    least, most = 0.0, 40.0
    for _ in range(12):
        middle = (least + most) / 2
        few = with_noise(clip[:: FRAMES // 6], middle)
        least, most = (middle, most) if mean_size(few) < wanted else (least, middle)
    return with_noise(clip, least)


def with_noise(clip: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(7)
    out = np.empty_like(clip)
    for number, frame in enumerate(clip):
        grain = noise.normal(0, sigma, frame.shape[:2] + (1,)).astype(np.float32)
        out[number] = np.clip(frame + grain, 0, 255)
    return out


def mean_size(clip: np.ndarray, quality: int = QUALITY) -> float:
    return float(np.mean([len(encode(frame, quality)) for frame in clip]))


def ready_jpegs(folder: Path) -> None:
    """A camera's own JPEGs: one a file for the peers, and as an AVI."""
    if not (folder / f"{PASSED}.avi").exists():
        width, height = SIZES[PASSED]
        as_avi(np.fromfile(folder / f"{PASSED}.bgr", np.uint8).reshape(-1, height, width, 3), folder, PASSED)


def make_crowd(folder: Path, film: Path) -> None:
    if (folder / "crowd.avi").exists():
        return
    clip = panned(stills(film), *SIZES["720"])
    # The pictures are larger even without noise.
    quality = next(quality for quality in range(QUALITY, 0, -1) if mean_size(clip[::6], quality) <= CROWD)
    as_avi(clip, folder, "crowd", quality)


def as_avi(clip: np.ndarray, folder: Path, name: str, quality: int = QUALITY) -> None:
    jpegs, film = folder / f"{name}.jpegs", folder / f"{name}.avi"
    jpegs.mkdir(exist_ok=True)
    for number, frame in enumerate(clip):
        (jpegs / f"{number:03}.jpg").write_bytes(encode(frame, quality).tobytes())
    command = ["ffmpeg", "-v", "error", "-y", "-framerate", "30", "-i", jpegs / "%03d.jpg", "-c", "copy", film]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    folder, film = Path(sys.argv[1]), Path(sys.argv[2])
    match sys.argv[3:]:
        case []:
            make(folder, film)
        case ["crowd"]:
            make_crowd(folder, film)
        case [name]:
            make_moving(folder / f"{name}.bgr", film)
