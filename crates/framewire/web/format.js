// Numbers and names as people read them.

const CODECS = { jpeg: "JPEG", h264: "H.264", i420: "raw I420", bgr24: "raw BGR" };

/** A time in milliseconds. */
export function duration(ms) {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A time in seconds, rounded to one unit. */
export function roughDuration(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(0)} h` : `${(seconds / 86_400).toFixed(0)} days`;
}

/** A rate in bits a second. */
export function bitrate(bits) {
  if (bits < 999_500) return `${(bits / 1e3).toFixed(0)} kbit/s`;
  return `${(bits / 1e6).toFixed(bits < 9.95e6 ? 1 : 0)} Mbit/s`;
}

/** A frame's size in pixels; empty when it is not known. */
export function frameSize(width, height) {
  return width && height ? `${width}×${height}` : "";
}

/** A count, with thin spaces between thousands. */
export function count(number) {
  return String(number ?? 0).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** A codec's usual name, from its name in the JSON. */
export function codecName(codec) {
  return CODECS[codec] ?? codec ?? "–";
}
