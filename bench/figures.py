"""Figures of a run: of each phase of the link, and of the recovery after the last change."""

import bisect
import statistics
from dataclasses import dataclass

from harness import percentile

# Back at full quality: from when on all figures stay within this share of the first phase's.
WITHIN = 0.98
# For that: seconds of a window of frame rates, seconds between windows, frames of which a median latency is taken.
WINDOW, STEP, FEW = 1.0, 0.1, 5
# Frames of a clip, which is repeated, and a frame's interval at 30 fps, ms.
CLIP = 300
FRAME_MS = 1000 / 30


@dataclass
class Phase:
    """The frames shown while the link had one rate."""

    # Rate in Mbit/s; seconds of CLOCK_MONOTONIC; bytes of the video that crossed the link.
    rate: float
    begin: float
    end: float
    sent: float
    # Number, latency (ms) and time of decoding (s) of each frame decoded in this phase.
    frames: list
    # SSIM of sampled frames by their numbers.
    ssim: dict[int, float]

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    @property
    def fps(self) -> float:
        return len(self.frames) / self.seconds

    def latency(self, part: float) -> float | None:
        """Milliseconds; the largest for 1."""
        taken = [latency for _, latency, _ in self.frames]
        if not taken:
            return None
        return max(taken) if part == 1 else percentile(taken, part)

    @property
    def used(self) -> float:
        """The share of the link that the video took."""
        return self.sent * 8 / (self.rate * 1e6 * self.seconds)

    @property
    def gap(self) -> float:
        """The longest time without a new frame, seconds."""
        return longest([self.begin, *(decoded for _, _, decoded in self.frames), self.end])

    @property
    def quality(self) -> float | None:
        return statistics.mean(self.ssim.values()) if self.ssim else None

    def ratio(self, reference: dict[int, float]) -> float | None:
        """Its SSIM over that of the reference at the same frames of the clip."""
        pairs = [(ssim, reference[number % CLIP]) for number, ssim in self.ssim.items() if number % CLIP in reference]
        return statistics.mean(ours for ours, _ in pairs) / statistics.mean(best for _, best in pairs) if pairs else None


def phases(run: dict) -> list[Phase]:
    ends = [begin for _, begin in run["turns"][1:]] + [run["end"]]
    result, new = [], new_frames(run["frames"])
    for (rate, begin), end in zip(run["turns"], ends):
        frames = [frame for frame in new if begin <= frame[2] < end]
        ssim = {number: run["ssim"][str(number)] for number, _, _ in frames if str(number) in run["ssim"]}
        own = crossed(run["meter"], begin, end) - crossed(run["rival"], begin, end)
        result.append(Phase(rate, begin, end, own, frames, ssim))
    return result


def new_frames(frames: list) -> list:
    """The frames without repetitions: a program that captures a screen may send a frame twice."""
    return list({frame[0]: frame for frame in reversed(frames)}.values())[::-1]


def back(all_phases: list[Phase]) -> float | None:
    """Seconds until quality, rate and latency stay as in the first phase; `None` if they never do."""
    first, last = all_phases[0], all_phases[-1]
    if not first.frames or not last.frames:
        return None
    ends = [quality_back(first, last), rate_back(first, last), latency_back(first, last)]
    return None if None in ends else max(ends)


def quality_back(first: Phase, last: Phase) -> float | None:
    # Frames of a clip differ: compare each with the same one in the first phase.
    then = {number % CLIP: ssim for number, ssim in first.ssim.items()}
    sampled = [frame for frame in last.frames if frame[0] in last.ssim]
    good_from = last.begin
    for place, (number, _, _) in enumerate(sampled):
        if last.ssim[number] < WITHIN * then.get(number % CLIP, first.quality or 0):
            if place + 1 == len(sampled):
                return None
            good_from = sampled[place + 1][2]
    return good_from - last.begin


def rate_back(first: Phase, last: Phase) -> float | None:
    # Not counted as missing: one or two frames at a window's ends, and as many as the first phase's worst second lacked.
    least = min(WITHIN * first.fps * WINDOW - 2, *windows(first))
    counts = windows(last)
    bad = [place for place, count in enumerate(counts) if count < least]
    if not bad:
        return 0.0
    return None if bad[-1] + 1 == len(counts) else (bad[-1] + 1) * STEP


def windows(phase: Phase) -> list[int]:
    """New frames in overlapping windows of a second."""
    starts = [phase.begin + step * STEP for step in range(max(1, int((phase.seconds - WINDOW) / STEP) + 1))]
    return [sum(start <= decoded < start + WINDOW for _, _, decoded in phase.frames) for start in starts]


def latency_back(first: Phase, last: Phase) -> float | None:
    most = first.latency(0.95) + FRAME_MS
    good_from = 0.0
    # The median: a single late frame is normal.
    for few in zip(*(last.frames[place:] for place in range(FEW))):
        if statistics.median(latency for _, latency, _ in few) > most:
            good_from = few[-1][2] - last.begin
    return None if last.frames and good_from == last.frames[-1][2] - last.begin else good_from


def after_outage(run: dict, bound: float) -> tuple[float | None, int, float]:
    """After the link is back: seconds until a frame younger than the bound (ms); number of older frames; the oldest, ms."""
    after = [frame for frame in run["frames"] if frame[2] >= run["back"]]
    fresh = next((decoded - run["back"] for _, latency, decoded in after if latency <= bound), None)
    ages = [latency for _, latency, _ in after]
    return fresh, sum(age > bound for age in ages), max(ages, default=0.0)


def percentile_between(run: dict, begin: float, end: float, part: float) -> float:
    return percentile([latency for _, latency, decoded in run["frames"] if begin <= decoded < end], part)


def crossed(notes: list, begin: float, end: float) -> float:
    """Bytes that crossed between two times, interpolated between notes."""
    return at(notes, end) - at(notes, begin)


def at(notes: list, time: float) -> float:
    place = bisect.bisect(notes, time, key=lambda note: note[0])
    if place in (0, len(notes)):
        return notes[min(place, len(notes) - 1)][1]
    (early, before), (late, after) = notes[place - 1], notes[place]
    return before + (after - before) * (time - early) / (late - early)


def longest(times: list[float]) -> float:
    return max(after - before for before, after in zip(times, times[1:]))
