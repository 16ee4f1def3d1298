// Figures as people read them.

/** Milliseconds. */
export function time(ms) {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A span of seconds, roughly. */
export function span(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(0)} h` : `${(seconds / 86_400).toFixed(0)} days`;
}

/** Bits a second. */
export function rate(bits) {
  if (bits < 1e6) return `${(bits / 1e3).toFixed(0)} kbit/s`;
  return `${(bits / 1e6).toFixed(bits < 9.95e6 ? 1 : 0)} Mbit/s`;
}

/** A picture's size; nothing when it is not known. */
export function size(width, height) {
  return width && height ? `${width}×${height}` : "";
}

/** A count, with thin spaces between thousands. */
export function count(number) {
  return String(number ?? 0).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}
