"""Compares decoded frames with captured ones: the mean SSIM of their luma (Wang 2004: Gaussian of 11 pixels, sigma 1.5).

    quality.py shown CLIP FOLDER        each FOLDER/NUMBER.pgm with the clip's frame of that number
    quality.py coded CLIP MBITS         the clip, encoded offline by x264 at that bitrate, by frame

Prints a line of JSON. The stamp's rows are left out. A frame of another size is scaled first, as a window scales it.
"""

import json
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import SAMPLED, SIZES, STAMP_BITS, stamp

WIDTH, HEIGHT = SIZES["720"]
STAMPED = WIDTH // STAMP_BITS
FPS = 30
# The constants of SSIM for 8 bits.
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def shown(clip: np.ndarray, folder: Path) -> dict[int, float]:
    return {
        int(path.stem): ssim(luma(clip[int(path.stem) % len(clip)]), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        for path in folder.iterdir()
    }


def coded(clip: np.ndarray, mbits: float) -> dict[int, float]:
    """Encodes the clip twice in a row and compares the second pass, which has no keyframe. Frames are stamped as when they are sent."""
    rate = f"{round(mbits * 1000)}k"
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(FPS)]
    full = ["-vf", "scale=out_range=full:out_color_matrix=bt601", "-pix_fmt", "yuvj420p"]
    x264 = ["-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-threads", "2", "-g", "9999"]
    bounds = ["-b:v", rate, "-maxrate", rate, "-bufsize", rate]
    stream = ffmpeg(*raw, "-i", "-", *full, *x264, *bounds, "-f", "h264", "-", given=stamped(clip, 2 * len(clip)))
    picked = ["-vf", f"select=gte(n\\,{len(clip)})*not(mod(n\\,{SAMPLED}))", "-vsync", "passthrough"]
    greys = ffmpeg("-f", "h264", "-i", "-", *picked, "-pix_fmt", "gray", "-f", "rawvideo", "-", given=[stream])
    pictures = np.frombuffer(greys, np.uint8).reshape(-1, HEIGHT, WIDTH)
    return {turn * SAMPLED: ssim(luma(clip[turn * SAMPLED]), picture) for turn, picture in enumerate(pictures)}


def stamped(clip: np.ndarray, count: int):
    for number in range(count):
        frame = clip[number % len(clip)].copy()
        stamp(frame, number, number * 1_000_000 // FPS)
        yield frame


def ffmpeg(*words: str, given) -> bytes:
    """FFmpeg's output for this input, which is written while the output is read."""
    process = subprocess.Popen(["ffmpeg", "-v", "error", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed():
        with process.stdin as pipe:
            for part in given:
                pipe.write(part)

    feeding = threading.Thread(target=feed)
    feeding.start()
    out = process.stdout.read()
    feeding.join()
    if process.wait():
        sys.exit("quality.py: ffmpeg failed")
    return out


def luma(bgr: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


def ssim(captured: np.ndarray, picture: np.ndarray) -> float:
    if picture.shape != captured.shape:
        picture = cv2.resize(picture, captured.shape[::-1], interpolation=cv2.INTER_LINEAR)
    a, b = (plane[STAMPED:].astype(np.float32) for plane in (captured, picture))
    mean_a, mean_b = blurred(a), blurred(b)
    aa, bb, ab = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    var_a, var_b, both = blurred(a * a) - aa, blurred(b * b) - bb, blurred(a * b) - ab
    of_each_pixel = ((2 * ab + C1) * (2 * both + C2)) / ((aa + bb + C1) * (var_a + var_b + C2))
    return float(of_each_pixel.mean())


def blurred(plane: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(plane, (11, 11), 1.5)


def main() -> None:
    what, path, of = sys.argv[1:]
    clip = np.memmap(path, np.uint8, mode="r").reshape(-1, HEIGHT, WIDTH, 3)
    print(json.dumps(shown(clip, Path(of)) if what == "shown" else coded(clip, float(of))))


if __name__ == "__main__":
    main()
