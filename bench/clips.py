"""Makes the clips that every program sends.

    clips.py FOLDER FILM        panned photographs, with noise that brings their JPEGs to the wanted size: writes
                                FOLDER/{480,720,1080}.bgr, 720.jpegs/ and 720.avi, unless they exist
    clips.py FOLDER FILM NAME   ten seconds of the film at 720p30 with light noise: FOLDER/NAME.bgr; with the name
                                crowd: FOLDER/crowd.avi, finished JPEGs of 100 KB
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
# The mean bytes of a JPEG of quality 80.
WANTED = {"480": 54_000, "720": 127_000, "1080": 234_000}
# Pixels that the view moves from frame to frame, to the right and down.
PAN = (6, 2)
PASSTHROUGH = "720"
# Frames of a clip with motion, and the sigma of its noise, of 255.
MOVING, GRAIN = 300, 2.0
# Bytes of a JPEG for many viewers.
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
    finished_jpegs(folder)


def make_moving(target: Path, film: Path) -> None:
    """The film frame by frame, repeated if it is shorter, scaled and cut to a wide frame."""
    if target.exists():
        return
    frames = itertools.islice(itertools.cycle(pictures(film)), MOVING)
    width, height = SIZES["720"]
    clip = with_noise(np.stack([filling(frame, width, height) for frame in frames]), GRAIN)
    clip.tofile(partial := target.with_suffix(".partial"))
    partial.rename(target)
    print(f"{target}: {len(clip)} frames, {mean_size(clip[::10]) / 1000:.0f} KB as JPEG")


def filling(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture scaled to fill the size, and its middle cut out."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def stills(film: Path) -> list[np.ndarray]:
    """Evenly spaced pictures of a film, without the black ones at its ends."""
    frames = pictures(film)
    return [frames[len(frames) * (2 * turn + 1) // (2 * STILLS)] for turn in range(STILLS)]


def pictures(film: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(film))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    if not frames:
        sys.exit(f"{film}: OpenCV can read no pictures from it; delete it and run `scripts/setup bench`")
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
    """The clip with noise that brings its JPEGs to the wanted bytes; bisects the sigma."""
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


def finished_jpegs(folder: Path) -> None:
    """JPEGs as a camera delivers them: a file each for the peers, and an AVI."""
    if not (folder / f"{PASSTHROUGH}.avi").exists():
        width, height = SIZES[PASSTHROUGH]
        as_avi(np.fromfile(folder / f"{PASSTHROUGH}.bgr", np.uint8).reshape(-1, height, width, 3), folder, PASSTHROUGH)


def make_crowd(folder: Path, film: Path) -> None:
    if (folder / "crowd.avi").exists():
        return
    clip = panned(stills(film), *SIZES["720"])
    # At the usual quality they are larger even without noise.
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
