"""Results as tables, and framewire's own goals beside them."""

import datetime
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import Peer, percentile

OURS, OURS_BGR = "framewire", "framewire-bgr"
SIZES = ["480", "720", "1080"]
# The goals by size: p50 and p99 in ms at 30 fps; frames per second and p50 in ms unpaced.
LATENCY = {"480": (2.2, 3.5), "720": (5, 7), "1080": (10, 14)}
UNPACED = {"480": (1000, 10), "720": (400, 15), "1080": (190, 25)}
PROCESSOR = {"publish": 0.09, "hub": 0.01, "view": 0.08}
CONNECT_MS = 10
PASSTHROUGH = 0.01
# Against the best peer of the same run: highest p50 at 30 fps, lowest frame rate unpaced.
LATENCY_RATIO, UNPACED_RATIO = 0.75, 1.4
AGAINST = {OURS: "against the best peer", OURS_BGR: "against the best peer, both decoded to BGR"}
# Highest processor time against the tutorial's own Python in the same role.
PICKLE_RATIO = 0.5


@dataclass
class Cell:
    """All rounds of one peer at one size."""

    rounds: list[dict]

    @property
    def failed(self) -> str | None:
        return next((result["failed"] for result in self.rounds if "failed" in result), None)

    @property
    def fps(self) -> float:
        return statistics.mean(result["fps"] for result in self.rounds)

    def latency(self, part: float) -> float:
        return percentile([value for result in self.rounds for value in result["latencies"]], part)

    def cpu(self, role: str) -> float | None:
        shares = [result["cpu"][role] for result in self.rounds if role in result["cpu"]]
        return statistics.mean(shares) if shares else None

    @property
    def connect(self) -> float:
        return statistics.median(value for result in self.rounds for value in result["connect"])


def markdown(results: dict, peers: list[Peer], pairs: list[Peer]) -> str:
    """The whole of RESULTS.md."""
    tables = {
        table: {size: {name: Cell(rounds) for name, rounds in cells.items()} for size, cells in results[table].items()}
        for table in results
        if table != "about"
    }
    parts = [head(results["about"])]
    for table, section in [("A", section_a), ("B", section_b), ("C", section_c), ("D", section_d)]:
        if tables[table]:
            parts.append(section(tables[table], peers))
    if tables["E"] or tables["F"]:
        parts.append(section_wires(tables["E"], tables["F"], pairs))
    parts.append(bars(tables, peers, pairs))
    parts.append(footnotes(tables, peers + pairs))
    return "\n\n".join(part for part in parts if part) + "\n"


def brief(result: dict) -> str:
    """One round's result in a line."""
    if "failed" in result:
        return f"FAILED: {result['failed']}"
    if "connect" in result:
        return " ".join(f"{value:.1f}" for value in sorted(result["connect"])) + " ms"
    shares = " ".join(f"{role} {share:.3f}" for role, share in result["cpu"].items())
    unreadable = f", {result['unreadable']} unreadable" if result["unreadable"] else ""
    taken = result["latencies"]
    latency = f"{percentile(taken, 0.5):.1f}/{percentile(taken, 0.99):.1f} ms, " if taken else ""
    return f"{result['fps']:.1f} fps, {latency}{shares}{unreadable}"


def head(about: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"""# Results

Taken on {about['date']} by `make bench` ([how](README.md)): {about['cores']} cores of {about['processor']}, {about['system']}, loopback.
{about['rounds']} rounds of {about['seconds']:g} s a cell, every second one in the opposite order; figures compare within this run only.

Versions: {versions}."""


def section_a(cells: dict, peers: list[Peer]) -> str:
    rows = []
    for peer in peers:
        row = [on(cells, size, peer, lambda cell: f"{latencies(cell)}{rate(cell)}") for size in SIZES]
        shares = on(cells, "720", peer, lambda cell: " / ".join(share(cell.cpu(role)) for role in PROCESSOR))
        rows.append([peer.title, *row, shares])
    title = "## A. 30 fps, quality 80: p50/p99 from captured to decoded, ms; processor seconds per second at 720p"
    return titled(title, ["", "640x480", "1280x720", "1920x1080", "publisher / hub / viewer"], rows)


def section_b(cells: dict, peers: list[Peer]) -> str:
    text = lambda cell: f"{cell.fps:.0f} ({cell.latency(0.5):.1f})"  # noqa: E731
    rows = [[peer.title, *(on(cells, size, peer, text) for size in SIZES)] for peer in peers]
    return titled("## B. Unpaced: frames per second (p50, ms)", ["", "640x480", "1280x720", "1920x1080"], rows)


def section_c(cells: dict, peers: list[Peer]) -> str:
    rows = [[peer.title, on(cells, "720", peer, lambda cell: f"{cell.connect:.1f}")] for peer in peers]
    return titled("## C. Connecting until the first decoded frame, 1280x720, ms (median)", ["", "ms"], rows)


def section_d(cells: dict, peers: list[Peer]) -> str:
    rows = []
    for peer in (peer for peer in peers if peer.passthrough):
        shares = [on(cells, "720", peer, lambda cell, role=role: share(cell.cpu(role))) for role in PROCESSOR]
        rows.append([peer.title, on(cells, "720", peer, lambda cell: f"{cell.fps:.1f}"), *shares])
    title = "## D. JPEG passthrough, 1280x720 at 30 fps: processor seconds per second"
    return titled(title, ["", "fps", "publisher", "hub", "viewer"], rows)


def section_wires(paced: dict, unpaced: dict, pairs: list[Peer]) -> str:
    fast = lambda cell: f"{cell.fps:.0f} ({cell.latency(0.5):.1f})"  # noqa: E731
    rows = []
    for peer in pairs:
        row = [on(paced, size, peer, lambda cell: f"{latencies(cell)}{rate(cell)}") for size in ("480", "720")]
        row += [on(unpaced, size, peer, fast) for size in ("480", "720")]
        row.append(on(paced, "720", peer, lambda cell: f"{share(cell.cpu('publish'))} / {share(cell.cpu('view'))}"))
        rows.append([peer.title, *row])
    title = "## E, F. The tutorials' wires, camera to viewer: p50/p99 at 30 fps, ms; frames per second unpaced (p50, ms)"
    head = ["", "480, 30 fps", "720, 30 fps", "480, unpaced", "720, unpaced", "processor at 720p30, camera / viewer"]
    return titled(title, head, rows)


def bars(tables: dict, peers: list[Peer], pairs: list[Peer]) -> str:
    """Each goal, this run's figure, and whether it is reached."""
    rows = [*latency_bars(tables["A"], peers), *unpaced_bars(tables["B"], peers)]
    for role, most in PROCESSOR.items():
        if (cell := ours(tables["A"], "720")) and (value := cell.cpu(role)) is not None:
            rows.append(bar(f"processor seconds per second at 720p30, {role}", f"≤ {most}", f"{value:.3f}", value <= most))
    if cell := ours(tables["C"], "720"):
        rows.append(bar("connecting until the first frame", f"≤ {CONNECT_MS} ms", f"{cell.connect:.1f} ms", cell.connect <= CONNECT_MS))
    if cell := ours(tables["D"], "720"):
        for role in ("publish", "hub"):
            value = cell.cpu(role)
            rows.append(bar(f"JPEG passthrough, {role}", f"≤ {PASSTHROUGH}", f"{value:.3f}", value <= PASSTHROUGH))
    cells = {name: cell for name, cell in tables["E"].get("720", {}).items() if not cell.failed}
    for role, end, name in [("publish", "camera", "pickle-framewire-tutorial"), ("view", "viewer", "pickle-tutorial-framewire")]:
        if name in cells and "pickle-tutorial-tutorial" in cells:
            value = cells[name].cpu(role) / cells["pickle-tutorial-tutorial"].cpu(role)
            what = f"pickle at 720p30: processor against the tutorial's own {end}"
            rows.append(bar(what, f"≤ {PICKLE_RATIO} x", f"{value:.2f} x", value <= PICKLE_RATIO))
    return titled("## The bars", ["", "bar", "this run", ""], rows) if rows else ""


def latency_bars(cells: dict, peers: list[Peer]) -> list:
    rows = []
    for size in SIZES:
        if not (cell := ours(cells, size)):
            continue
        for part, most in zip((0.5, 0.99), LATENCY[size]):
            value = cell.latency(part)
            rows.append(bar(f"{size}: p{part * 100:.0f} at 30 fps", f"≤ {most} ms", f"{value:.1f} ms", value <= most))
        others = {peer.title: cells[size][peer.name].latency(0.5) for peer in good(cells[size], peers)}
        for name, what in AGAINST.items():
            if others and (cell := ours(cells, size, name)):
                best = min(others, key=others.get)
                ratio = cell.latency(0.5) / others[best]
                found = f"{ratio:.2f} x {others[best]:.1f} ms ({best})"
                rows.append(bar(f"{size}: p50 {what}", f"≤ {LATENCY_RATIO} x", found, ratio <= LATENCY_RATIO))
    return rows


def unpaced_bars(cells: dict, peers: list[Peer]) -> list:
    rows = []
    for size in SIZES:
        if not (cell := ours(cells, size)):
            continue
        least, most = UNPACED[size]
        p50 = cell.latency(0.5)
        rows.append(bar(f"{size}: frames per second unpaced", f"≥ {least}", f"{cell.fps:.0f}", cell.fps >= least))
        rows.append(bar(f"{size}: p50 unpaced", f"≤ {most} ms", f"{p50:.1f} ms", p50 <= most))
        others = {peer.title: cells[size][peer.name].fps for peer in good(cells[size], peers)}
        for name, what in AGAINST.items():
            if others and (cell := ours(cells, size, name)):
                best = max(others, key=others.get)
                ratio = cell.fps / others[best]
                found = f"{ratio:.2f} x {others[best]:.0f} fps ({best})"
                rows.append(bar(f"{size}: frames per second {what}", f"≥ {UNPACED_RATIO} x", found, ratio >= UNPACED_RATIO))
    return rows


def footnotes(tables: dict, peers: list[Peer]) -> str:
    """What failed, and how many stamps could not be read."""
    notes = []
    for table, sizes in tables.items():
        for size, cells in sizes.items():
            for peer in peers:
                if (cell := cells.get(peer.name)) is None:
                    continue
                if cell.failed:
                    notes.append(f"- {table}, {size}, {peer.name} failed: {cell.failed}")
                elif unreadable := sum(result.get("unreadable", 0) for result in cell.rounds):
                    notes.append(f"- {table}, {size}, {peer.name}: the stamp of {unreadable} frames could not be read")
    return "\n".join(["## What went wrong", "", *notes]) if notes else ""


def on(cells: dict, size: str, peer: Peer, text) -> str:
    """The text of a table's cell; a dash where nothing was measured."""
    cell = cells.get(size, {}).get(peer.name)
    if cell is None:
        return "-"
    return "failed" if cell.failed else text(cell)


def ours(cells: dict, size: str, name: str = OURS) -> Cell | None:
    cell = cells.get(size, {}).get(name)
    return cell if cell and not cell.failed else None


def good(cells: dict[str, Cell], peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if not peer.ours and peer.name in cells and not cells[peer.name].failed]


def latencies(cell: Cell) -> str:
    return f"{cell.latency(0.5):.1f}/{cell.latency(0.99):.1f}"


def rate(cell: Cell) -> str:
    """The frame rate, where it is below the 30 fps of the clip."""
    return "" if cell.fps > 29.5 else f" at {cell.fps:.0f} fps"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def bar(what: str, wanted: str, found: str, reached: bool) -> list[str]:
    return [what, wanted, found, "reached" if reached else "**not reached**"]


def titled(title: str, head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. Rows of dashes alone are left out."""
    rows = [row for row in rows if any(cell not in ("-", "- / - / -") for cell in row[1:])]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join([title, "", *lines])


def about(python: Path, release: Path) -> dict:
    """Date, machine and versions."""
    packages = ["imagezmq", "vidgear", "camera-stream", "pyzmq", "opencv-python", "simplejpeg", "numpy"]
    ask = f"from importlib.metadata import version as v\nfor name in {packages}: print(name, v(name))"
    versions = dict(line.split() for line in printed([python, "-c", ask]).splitlines())
    versions = {
        "framewire": printed([release / "framewire", "--version"]).split()[-1],
        **versions,
        "Python": printed([python, "--version"]).split()[-1],
        "FFmpeg": printed(["ffmpeg", "-version"]).split()[2],
        "GStreamer": printed(["gst-launch-1.0", "--version"]).splitlines()[0].split()[-1],
    }
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": models[0].split(":")[1].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "versions": versions,
    }


def printed(command: list) -> str:
    """What a program prints about itself; a dash when it is missing or prints nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip() or "-"
    except (OSError, subprocess.TimeoutExpired):
        return "-"
