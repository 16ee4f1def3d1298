"""Results over links as tables, and framewire's own goals beside them."""

import statistics

import figures
from figures import Phase
from report import bar, titled

# By round trip: highest p95 of a phase and highest latency, ms. Lowest frame rate, SSIM against x264's, seconds until back, share used.
P95_MS, MOST_MS = {0: 120, 20: 150, 60: 150}, {0: 350, 20: 500, 60: 500}
FPS, SSIM, BACK_S, USED = 29, 0.97, 2, 0.80
# Against libwebrtc in the same run: highest p95 of every slow phase, lowest SSIM of the same frames.
P95_RATIO, SSIM_RATIO, BROWSER = 0.5, 1.0, "libwebrtc"
# Cases that are hard for TCP: longest gap, s; at this loss (per cent) and round trip (ms), highest p95, ms; beside a bulk flow, lowest
# share of the link and highest p95, ms.
GAP_S, LOSS, HARD_RTT, LOSS_MS, RIVAL_USED, RIVAL_MS = 0.7, 1, 20, 200, 0.40, 150
# After an outage: highest time in ms until a frame younger than this many ms.
FRESH_MS, OLD_MS = 500, 500
# Highest change of p95 by a slow neighbour, ms; most old frames after a stop.
NEIGHBOUR_MS, OLD_FRAMES = 5, 1
# A crowd: p50 and p99 of a hundred viewers, ms; how many viewers; processor ms per second and memory in KB for each.
HUNDRED_MS, MANY, MANY_MS, MANY_KB = (3, 10), 900, 0.8, 24


def markdown(results: dict) -> str:
    about, runs = results["about"], results["runs"]
    parts = [head(about), emulator_section(results["emulator"])]
    good = [run for run in runs if "failed" not in run]
    for case, section in SECTIONS.items():
        if taken := [run for run in good if run["case"] == case]:
            parts.append(section(taken, results))
    rows = [row for run in good if run["ours"] for row in BARS[run["case"]](run, results)]
    parts.append(titled("## The bars", ["", "bar", "this run", ""], rows) if rows else "")
    parts.append(footnotes(runs, about))
    return "\n\n".join(part for part in parts if part) + "\n"


def head(about: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    schedule = ", ".join(f"{rate:g} Mbit/s for {seconds:g} s" for rate, seconds in about["schedule"])
    return f"""# Results over links

Taken on {about['date']} by `bench/links` ([how](README.md#links)): {about['cores']} cores of {about['processor']}, {about['system']}, network
namespaces, TCP congestion control {about['congestion']}, a queue of {about['queue']} bytes before the link; framewire's codec {about['codec']}.
The changing link: {schedule}. One run each; figures compare within this run only.

Versions: {versions}."""


# What distinguishes a run from others of the same case and peer.
FACTS = ("clip", "slow", "rtt", "at", "how", "congestion", "loss")


def brief(run: dict) -> str:
    """One run in a line."""
    words = [run["case"], run["peer"], *(str(run[key]) for key in FACTS if run.get(key) is not None)]
    result = f"FAILED: {run['failed']}" if "failed" in run else BRIEF[run["case"]](run)
    return f"{' '.join(words)}: {result}"


def changing_brief(run: dict) -> str:
    phases = figures.phases(run)
    parts = [f"{phase.rate:g}: {cell(phase, {})}" for phase in phases]
    return " | ".join([*parts, f"back {seconds(figures.back(phases))}"])


def outage_brief(run: dict) -> str:
    fresh, old, oldest = figures.after_outage(run, OLD_MS)
    return f"fresh after {seconds(fresh)}, {old} older than {OLD_MS} ms, oldest {oldest:.0f} ms"


def neighbour_brief(run: dict) -> str:
    alone, beside = neighbour_p95(run)
    return f"p95 alone {alone:.1f} ms, beside a slow viewer {beside:.1f} ms"


def crowd_brief(run: dict) -> str:
    return " | ".join(" · ".join(crowd_row(taken)) for taken in [run["hundred"], *run["most"]]) + f" | {run['stopped']}"


def hard_brief(run: dict) -> str:
    return " | ".join(f"{phase.rate:g}: {hard_cell(phase)}" for phase in figures.phases(run))


BRIEF = {
    "changing": changing_brief, "falls": hard_brief, "loss": hard_brief, "rival": hard_brief, "outage": outage_brief,
    "neighbour": neighbour_brief, "stopped": outage_brief, "crowd": crowd_brief,
}


def emulator_section(checks: list[dict]) -> str:
    rows = []
    for facts in checks:
        for at in facts["rates"]:
            link = f"{at['rate']:g} Mbit/s, RTT {facts['rtt']:g}, queue at the {facts['at']}"
            message = f"{at['message']:.0f} ({at['expected']:.0f})"
            pings = "/".join(f"{ping:.1f}" for ping in at["ping"])
            rows.append([link, message, f"{at['carried']:.2f}", pings, relay(facts["relay"])])
    head = ["", "55 KB take, ms (computed)", "throughput, Mbit/s", "round trip, p50/p99/max ms", "relay late by, p50/p99/max ms"]
    return titled("## The links themselves", head, rows) if rows else ""


def relay(facts: dict | None) -> str:
    if facts is None:
        return "-"
    return "/".join(f"{facts[f'late_{part}']:.2f}" for part in ("50", "99", "100")) + f", {facts['lost']} lost"


def emulator_lines(facts: dict) -> str:
    return emulator_section([facts]).split("\n", 4)[-1]


def changing(runs: list[dict], results: dict) -> str:
    tables = []
    kinds = dict.fromkeys(kind(run) for run in runs)
    for clip, slow, rtt, at in kinds:
        rows, rates = [], [rate for rate, _ in results["about"]["schedule"]]
        for run in (run for run in runs if kind(run) == (clip, slow, rtt, at)):
            phases = figures.phases(run)
            cells = [cell(phase, reference(results, clip, phase.rate)) for phase in phases]
            rows.append([run["title"], *cells, f"{max(phase.gap for phase in phases):.2f}", seconds(figures.back(phases))])
        title = f"### {clip}, slow {slow}, RTT {rtt:g} ms, queue at the {at}"
        tables.append(titled(title, ["", *(f"{rate:g} Mbit/s" for rate in rates), "gap, s", "back after"], rows))
    cells = "p50/p95/max ms · frames per second · share of the link · SSIM (against x264's, offline)"
    return "\n\n".join([f"## A link that changes, 720p30: {cells}", *tables])


def kind(run: dict) -> tuple:
    return run["clip"], run["slow"], run["rtt"], run["at"]


def cell(phase: Phase, reference: dict) -> str:
    ratio = phase.ratio(reference)
    against = "" if ratio is None else f" ({ratio:.2f}x)"
    return f"{latency(phase)} · {phase.fps:.1f} · {phase.used:.0%} · {quality(phase)}{against}"


# The contents of a cell in the tables of hard cases.
HARD_CELL = "p50/p95/max ms · frames per second · longest gap · share of the link · SSIM"


def falls(runs: list[dict], results: dict) -> str:
    rates = [f"{rate:g} Mbit/s" for rate, _ in results["about"]["falls"]]
    rows = [[*hard_names(run), *map(hard_cell, figures.phases(run))] for run in runs]
    return titled(f"## A link that falls far, {runs[0]['clip']}, 720p30: {HARD_CELL}", [*HARD_NAMES, *rates], rows)


def rival(runs: list[dict], results: dict) -> str:
    """The share of the link is the video's own."""
    rows = [[*hard_names(run), *map(hard_cell, figures.phases(run))] for run in runs]
    title = f"## A bulk CUBIC flow beside, {results['about']['hard_rate']:g} Mbit/s: {HARD_CELL}"
    return titled(title, [*HARD_NAMES, "alone", "beside the flow", "alone again"], rows)


def loss(runs: list[dict], results: dict) -> str:
    """A row for every sender, a column for every loss rate."""
    losses = list(dict.fromkeys(run["loss"] for run in runs))
    table: dict = {}
    for run in runs:
        row = table.setdefault(tuple(hard_names(run)), dict.fromkeys(losses, "-"))
        row[run["loss"]] = hard_cell(figures.phases(run)[0])
    title = f"## Random loss, {results['about']['hard_rate']:g} Mbit/s: {HARD_CELL}"
    head = [*HARD_NAMES, *(f"{percent:g} % lost" for percent in losses)]
    return titled(title, head, [[*names, *row.values()] for names, row in table.items()])


HARD_NAMES = ["", "sender", "link"]


def hard_names(run: dict) -> list[str]:
    way = f"{run['slow']}, " if run["ours"] else ""
    sender = f"TCP {run['congestion']}" if run["congestion"] else "UDP"
    return [run["title"], sender, f"{way}RTT {run['rtt']:g}, queue at the {run['at']}"]


def hard_cell(phase: Phase) -> str:
    return f"{latency(phase)} · {phase.fps:.1f} · {phase.gap:.2f} s · {phase.used:.0%} · {quality(phase)}"


def outage(runs: list[dict], _) -> str:
    rows = []
    for run in runs:
        fresh, old, oldest = figures.after_outage(run, OLD_MS)
        rows.append([run["title"], f"{run['slow']}, RTT {run['rtt']:g}, {run['how']}", seconds(fresh), str(old), f"{oldest:.0f}"])
    title = f"## An outage of 5 s: time until a frame younger than {OLD_MS} ms is shown; older frames shown; the oldest, ms"
    return titled(title, ["", "link", "fresh after", "old", "oldest"], rows)


def neighbour(runs: list[dict], _) -> str:
    rows = []
    for run in runs:
        alone, beside = neighbour_p95(run)
        rows.append([run["title"], f"{alone:.1f}", f"{beside:.1f}", f"{beside - alone:+.1f}", str(len(run["slow_frames"]))])
    title = "## Two viewers, one behind 2 Mbit/s: the other's p95, ms"
    return titled(title, ["", "alone", "beside", "change", "frames of the slow one"], rows)


def stopped(runs: list[dict], _) -> str:
    rows = []
    for run in runs:
        fresh, old, oldest = figures.after_outage(run, OLD_MS)
        rows.append([run["title"], str(old), f"{oldest:.0f}", seconds(fresh)])
    title = f"## A viewer stopped for 5 s, then continued: frames older than {OLD_MS} ms that it shows; the oldest, ms"
    return titled(title, ["", "old frames", "oldest", "fresh after"], rows)


def crowd(runs: list[dict], _) -> str:
    rows = [[run["title"], *crowd_row(taken)] for run in runs for taken in [run["hundred"], *run["most"]]]
    head = ["", "viewers", "fps of the slowest", "p50/p99/max ms", "processor ms per second and viewer", "KB per viewer"]
    return titled("## JPEGs of 100 KB at 30 fps to many viewers over HTTP, on loopback", head, rows)


SECTIONS = {
    "changing": changing, "falls": falls, "loss": loss, "rival": rival, "outage": outage, "neighbour": neighbour,
    "stopped": stopped, "crowd": crowd,
}


def crowd_row(taken: dict) -> list[str]:
    ages = f"{taken['p50']:.1f}/{taken['p99']:.1f}/{taken['max']:.1f}"
    return [str(taken["viewers"]), f"{taken['fps_least']:.1f}", ages, f"{taken['ms']:.2f}", f"{taken['kb']:.0f}"]


def crowd_bars(run: dict, _) -> list:
    hundred, good = run["hundred"], [taken for taken in run["most"] if taken["fps_least"] >= FPS]
    rows = []
    for part, most in zip(("p50", "p99"), HUNDRED_MS):
        rows.append(bar(f"100 viewers over HTTP: {part}", f"≤ {most} ms", f"{hundred[part]:.1f} ms", hundred[part] <= most))
    most = max(good, key=lambda taken: taken["viewers"], default={"viewers": 0, "ms": float("inf"), "kb": float("inf")})
    old = run["stopped"]["old"]
    return rows + [
        bar(f"viewers over HTTP that get {FPS} fps", f"≥ {MANY}", str(most["viewers"]), most["viewers"] >= MANY),
        bar("processor ms per second and viewer at that number", f"≤ {MANY_MS}", f"{most['ms']:.2f}", most["ms"] <= MANY_MS),
        bar("memory per viewer at that number", f"≤ {MANY_KB} KB", f"{most['kb']:.0f} KB", most["kb"] <= MANY_KB),
        bar(f"a viewer over HTTP stopped for 5 s: frames older than {OLD_MS} ms", f"≤ {OLD_FRAMES}", str(old), old <= OLD_FRAMES),
    ]


def changing_bars(run: dict, results: dict) -> list:
    phases = figures.phases(run)
    where = f"{run['clip']}, {run['slow']}, RTT {run['rtt']:g}, queue at the {run['at']}"
    worst = max(phase.latency(0.95) or float("inf") for phase in phases)
    most = max(phase.latency(1) or float("inf") for phase in phases)
    fps = min(phase.fps for phase in phases)
    p95_ms, most_ms = nearest(P95_MS, run["rtt"]), nearest(MOST_MS, run["rtt"])
    rows = [
        bar(f"{where}: p95, worst phase", f"≤ {p95_ms} ms", f"{worst:.0f} ms", worst <= p95_ms),
        bar(f"{where}: largest", f"≤ {most_ms} ms", f"{most:.0f} ms", most <= most_ms),
        bar(f"{where}: frames per second, worst phase", f"≥ {FPS}", f"{fps:.1f}", fps >= FPS),
    ]
    ratios = [phase.ratio(reference(results, run["clip"], phase.rate)) for phase in phases]
    # A phase with hardly any frames has none that was sampled.
    found, good = ("-", False) if None in ratios else (f"{min(ratios):.3f} x", min(ratios) >= SSIM)
    rows.append(bar(f"{where}: SSIM against x264, worst phase", f"≥ {SSIM} x", found, good))
    back = figures.back(phases)
    rows.append(bar(f"{where}: back at full quality", f"≤ {BACK_S} s", seconds(back), back is not None and back <= BACK_S))
    slow = [phase for phase in phases if phase.rate < phases[0].rate]
    if slow:
        used = min(phase.used for phase in slow)
        rows.append(bar(f"{where}: share of the link used when slow", f"≥ {USED:.0%}", f"{used:.0%}", used >= USED))
    return rows + browser_bars(run, results)


def browser_bars(run: dict, results: dict) -> list:
    """Each phase slower than the first against libwebrtc's, if this run measured it."""
    same = ("case", "clip", "rtt", "at")
    theirs = [other for other in results["runs"] if other["peer"] == BROWSER and "failed" not in other]
    theirs = next((other for other in theirs if all(other[key] == run[key] for key in same)), None)
    if theirs is None:
        return []
    rows, pairs = [], list(zip(figures.phases(run), figures.phases(theirs)))
    for place, (own, other) in enumerate(pairs):
        if own.rate >= pairs[0][0].rate:
            continue
        what = f"{hard_where(run)}: phase {place + 1}, {own.rate:g} Mbit/s, against libwebrtc"
        p95, their_p95 = own.latency(0.95) or float("inf"), other.latency(0.95) or float("inf")
        found = f"{p95 / their_p95:.2f} x {their_p95:.0f} ms"
        rows.append(bar(f"{what}: p95", f"≤ {P95_RATIO} x", found, p95 <= P95_RATIO * their_p95))
        ratio = own.ratio(by_clip_frame(other))
        found = "-" if ratio is None else f"{ratio:.3f} x"
        rows.append(bar(f"{what}: SSIM", f"≥ {SSIM_RATIO} x", found, ratio is not None and ratio >= SSIM_RATIO))
    return rows


def by_clip_frame(phase: Phase) -> dict[int, float]:
    """SSIM by frame of the clip."""
    found: dict[int, list[float]] = {}
    for number, ssim in phase.ssim.items():
        found.setdefault(number % figures.CLIP, []).append(ssim)
    return {frame: statistics.mean(values) for frame, values in found.items()}


def hard_where(run: dict) -> str:
    control = f", {run['congestion']}" if run.get("congestion") else ""
    return f"{run['case']}{control}, {run['slow']}, RTT {run['rtt']:g}, queue at the {run['at']}"


def falls_bars(run: dict, results: dict) -> list:
    return [gap_bar(run, hard_where(run)), *browser_bars(run, results)]


def loss_bars(run: dict, _) -> list:
    where = f"{hard_where(run)}, {run['loss']:g} % lost"
    rows = [gap_bar(run, where)]
    if run["loss"] == LOSS and run["rtt"] == HARD_RTT:
        rows.append(p95_bar(figures.phases(run)[0], where, LOSS_MS))
    return rows


def rival_bars(run: dict, _) -> list:
    _, beside, _ = figures.phases(run)
    where = hard_where(run)
    used = bar(f"{where}: share of the link", f"≥ {RIVAL_USED:.0%}", f"{beside.used:.0%}", beside.used >= RIVAL_USED)
    return [gap_bar(run, where), used, p95_bar(beside, where, RIVAL_MS)]


def gap_bar(run: dict, where: str) -> list[str]:
    gap = max(phase.gap for phase in figures.phases(run))
    return bar(f"{where}: longest gap", f"≤ {GAP_S} s", f"{gap:.2f} s", gap <= GAP_S)


def p95_bar(phase: Phase, where: str, most: float) -> list[str]:
    found = phase.latency(0.95) or float("inf")
    return bar(f"{where}: p95", f"≤ {most} ms", f"{found:.0f} ms", found <= most)


def outage_bars(run: dict, _) -> list:
    fresh, old, _ = figures.after_outage(run, OLD_MS)
    where = f"outage of 5 s ({run['how']}), {run['slow']}, RTT {run['rtt']:g}"
    reached = fresh is not None and fresh * 1000 <= FRESH_MS
    return [
        bar(f"{where}: fresh frame after", f"≤ {FRESH_MS} ms", seconds(fresh), reached),
        bar(f"{where}: frames shown that are older than {OLD_MS} ms", "0", str(old), old == 0),
    ]


def neighbour_bars(run: dict, _) -> list:
    alone, beside = neighbour_p95(run)
    change = beside - alone
    what = "a slow viewer beside a fast one: the fast one's p95 changes by"
    return [bar(what, f"< {NEIGHBOUR_MS} ms", f"{change:+.1f} ms", abs(change) < NEIGHBOUR_MS)]


def stopped_bars(run: dict, _) -> list:
    _, old, _ = figures.after_outage(run, OLD_MS)
    return [bar(f"a viewer stopped for 5 s: frames older than {OLD_MS} ms", f"≤ {OLD_FRAMES}", str(old), old <= OLD_FRAMES)]


BARS = {
    "changing": changing_bars, "falls": falls_bars, "loss": loss_bars, "rival": rival_bars, "outage": outage_bars,
    "neighbour": neighbour_bars, "stopped": stopped_bars, "crowd": crowd_bars,
}


def neighbour_p95(run: dict) -> tuple[float, float]:
    between = [(run["alone"], run["joining"]), (run["joined"], run["end"])]
    return tuple(figures.percentile_between(run, begin, end, 0.95) for begin, end in between)


def reference(results: dict, clip: str, rate: float) -> dict[int, float]:
    return {int(frame): ssim for frame, ssim in results["references"].get(f"{clip} {rate:g}", {}).items()}


def nearest(bars: dict, rtt: float) -> float:
    return bars[min(bars, key=lambda known: abs(known - rtt))]


def latency(phase: Phase) -> str:
    taken = [phase.latency(part) for part in (0.5, 0.95, 1)]
    return "-" if None in taken else "/".join(f"{value:.0f}" for value in taken)


def quality(phase: Phase) -> str:
    return "-" if phase.quality is None else f"{phase.quality:.3f}"


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def footnotes(runs: list[dict], about: dict) -> str:
    """What failed, how many stamps could not be read, and how busy the machine was."""
    notes = [f"- {brief(run)}" for run in runs if "failed" in run]
    for run in (run for run in runs if run.get("unreadable")):
        notes.append(f"- {brief(run).split(':')[0]}: the stamp of {run['unreadable']} frames could not be read")
    if about["realtime"]:
        notes.append("- The measured programs had real-time priority.")
    if runs:
        loads = [run["load"] for run in runs]
        notes.append(f"- Load average of the minute before each run: {min(loads):.1f} to {max(loads):.1f}.")
    return "\n".join(["## Notes", "", *notes]) if notes else ""
