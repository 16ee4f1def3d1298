"""Figures of a run: by phase of the link, and of what came after the last one."""

import bisect
import statistics
from dataclasses import dataclass

from harness import percentile

# Back at full quality: within this much of the first phase, for good.
WITHIN = 0.98
# Seconds over which a rate is taken while it is looked for, how far apart these windows are, and frames of which a latency is.
WINDOW, STEP, FEW = 1.0, 0.1, 5
# Frames of a clip before it begins again, and a frame's interval at 30 fps, ms.
CLIP = 300
FRAME_MS = 1000 / 30


@dataclass
class Phase:
    """What was shown while the link had one rate."""

    # Mbit/s; seconds of CLOCK_MONOTONIC; the program's own bytes that crossed the link.
    rate: float
    begin: float
    end: float
    sent: float
    # Number, latency (ms) and time of decoding (s) of each picture that was decoded meanwhile.
    frames: list
    # SSIM of those that were sampled, by number.
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
        """The share of the link that the program took."""
        return self.sent * 8 / (self.rate * 1e6 * self.seconds)

    @property
    def gap(self) -> float:
        """The longest time without a new picture, seconds."""
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
    result, new = [], new_pictures(run["frames"])
    for (rate, begin), end in zip(run["turns"], ends):
        frames = [frame for frame in new if begin <= frame[2] < end]
        ssim = {number: run["ssim"][str(number)] for number, _, _ in frames if str(number) in run["ssim"]}
        own = crossed(run["meter"], begin, end) - crossed(run["rival"], begin, end)
        result.append(Phase(rate, begin, end, own, frames, ssim))
    return result


def new_pictures(frames: list) -> list:
    """Without those that were shown before: what captures a screen may send one twice."""
    return list({frame[0]: frame for frame in reversed(frames)}.values())[::-1]


def back(all_phases: list[Phase]) -> float | None:
    """Seconds of the last phase until picture, rate and latency are for good as in the first one; `None` if they never are."""
    first, last = all_phases[0], all_phases[-1]
    if not first.frames or not last.frames:
        return None
    ends = [picture_back(first, last), rate_back(first, last), latency_back(first, last)]
    return None if None in ends else max(ends)


def picture_back(first: Phase, last: Phase) -> float | None:
    # A clip's frames differ, so each is held against the same one of the first phase, where it was sampled.
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
    # A frame or two more or less in a second are none that are missing, nor what the clip's hardest second lacked before.
    least = min(WITHIN * first.fps * WINDOW - 2, *windows(first))
    counts = windows(last)
    bad = [place for place, count in enumerate(counts) if count < least]
    if not bad:
        return 0.0
    return None if bad[-1] + 1 == len(counts) else (bad[-1] + 1) * STEP


def windows(phase: Phase) -> list[int]:
    """New pictures in each second of a phase, a little later each time."""
    starts = [phase.begin + step * STEP for step in range(max(1, int((phase.seconds - WINDOW) / STEP) + 1))]
    return [sum(start <= decoded < start + WINDOW for _, _, decoded in phase.frames) for start in starts]


def latency_back(first: Phase, last: Phase) -> float | None:
    most = first.latency(0.95) + FRAME_MS
    good_from = 0.0
    # Of a few frames one may be late, as also happens when nothing is wrong.
    for few in zip(*(last.frames[place:] for place in range(FEW))):
        if statistics.median(latency for _, latency, _ in few) > most:
            good_from = few[-1][2] - last.begin
    return None if last.frames and good_from == last.frames[-1][2] - last.begin else good_from


def after_outage(run: dict, bound: float) -> tuple[float | None, int, float]:
    """Seconds until a picture younger than the bound (ms) is shown; how many older ones are once it is back; the oldest, ms."""
    after = [frame for frame in run["frames"] if frame[2] >= run["back"]]
    fresh = next((decoded - run["back"] for _, latency, decoded in after if latency <= bound), None)
    ages = [latency for _, latency, _ in after]
    return fresh, sum(age > bound for age in ages), max(ages, default=0.0)


def percentile_between(run: dict, begin: float, end: float, part: float) -> float:
    return percentile([latency for _, latency, decoded in run["frames"] if begin <= decoded < end], part)


def crossed(notes: list, begin: float, end: float) -> float:
    """Bytes that crossed between two times, between two looks by proportion."""
    return at(notes, end) - at(notes, begin)


def at(notes: list, time: float) -> float:
    place = bisect.bisect(notes, time, key=lambda note: note[0])
    if place in (0, len(notes)):
        return notes[min(place, len(notes) - 1)][1]
    (early, before), (late, after) = notes[place - 1], notes[place]
    return before + (after - before) * (time - early) / (late - early)


def longest(times: list[float]) -> float:
    return max(after - before for before, after in zip(times, times[1:]))
