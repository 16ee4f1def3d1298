//! Flags that several commands share.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use framewire::{CodecChoice, Options, Source};

/// How to capture, code and report.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// What frames are coded in: auto (JPEG where the link carries it, a camera's own as they are, else H.264), jpeg, h264,
    /// copy (a camera's, file's or URL's own JPEGs or H.264, never coded again)
    #[arg(long, value_name = "CODEC", default_value = "auto", value_parser = |text: &str| text.parse::<CodecChoice>())]
    codec: CodecChoice,
    /// JPEG quality, 1 to 100 [default: 80]
    #[arg(long, value_name = "1..100", value_parser = |text: &str| option("quality", text, |options| options.quality))]
    quality: Option<u8>,
    /// Picture size: asked of a camera or screen, scaled to elsewhere
    #[arg(long, value_name = "WxH", value_parser = |text: &str| option("size", text, |options| options.size))]
    size: Option<(u32, u32)>,
    /// Bits per second at most, as in 2M or 500k [default: what the link carries]
    #[arg(long, value_name = "BITS", value_parser = |text: &str| option("bitrate", text, |options| options.bitrate))]
    bitrate: Option<u64>,
    /// Frames older than this many milliseconds are dropped instead of sent, shown or recorded
    #[arg(long, value_name = "MS", value_parser = |text: &str| option("max-age", text, |options| options.max_age))]
    max_age: Option<u64>,
    /// Frames of more bytes are dropped, as in 32M; the other end needs the same limit [default: 8M, at most 256M]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| option("max-frame", text, |options| options.max_frame))]
    max_frame: Option<usize>,
    /// Frames per second; 0 is as fast as they are taken [default: the source's own]
    #[arg(long, value_name = "N", value_parser = |text: &str| option("fps", text, |options| options.fps))]
    fps: Option<f64>,
    /// Begin a file again at its end
    #[arg(long = "loop")]
    looped: bool,
    /// Wait for a hub or a stream that is not there
    #[arg(long)]
    wait: bool,
    /// End after this many seconds
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub(crate) duration: Option<Duration>,
    /// Once a second on stderr: frame rate, drops by reason, bitrate and the latency split
    #[arg(long, value_name = "FORMAT")]
    pub(crate) stats: Option<Stats>,
}

/// How figures are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stats {
    /// A line for people.
    Text,
    /// A JSON object.
    Json,
}

impl Common {
    /// Whether stderr is for figures, not for words.
    pub(crate) fn quiet(&self) -> bool {
        self.stats == Some(Stats::Json)
    }

    /// A source with these flags where its own options are silent.
    pub(crate) fn apply(&self, source: &Source) -> Source {
        Source { source: source.source.clone(), options: source.options.clone().or(&self.options()) }
    }

    /// Sources with these flags: a flag that some of them honour is for those.
    pub(crate) fn apply_to_each(&self, sources: &[Source]) -> Vec<Source> {
        let apply = |source: &Source| {
            let mut flags = self.options();
            let for_others = |name| !source.honours(name) && sources.iter().any(|other| other.honours(name));
            flags.fps = flags.fps.filter(|_| !for_others("fps"));
            flags.looped &= !for_others("loop");
            flags.wait &= !for_others("wait");
            Source { source: source.source.clone(), options: source.options.clone().or(&flags) }
        };
        sources.iter().map(apply).collect()
    }

    /// Frames older than this are not shown.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        self.max_age.map(Duration::from_micros)
    }

    /// Whether to wait for a hub that is not there.
    pub(crate) fn wait(&self) -> bool {
        self.wait
    }

    /// These flags as a source's options.
    fn options(&self) -> Options {
        let mut options = Options::default();
        options.size = self.size;
        options.fps = self.fps;
        options.looped = self.looped;
        options.codec = self.codec;
        options.quality = self.quality;
        options.bitrate = self.bitrate;
        options.max_age = self.max_age;
        options.max_frame = self.max_frame;
        options.wait = self.wait;
        options
    }
}

/// The whole reason of an error: clap prints only the outermost of a chain.
pub(crate) fn reason<T>(read: Result<T>) -> Result<T, String> {
    read.map_err(|error| format!("{error:#}"))
}

/// Reads a flag's value as the option of a source that has this name.
pub(crate) fn option<T>(name: &str, text: &str, read: fn(&Options) -> Option<T>) -> Result<T, String> {
    let mut options = Options::default();
    options.set(&format!("{name}={text}")).map_err(|error| error.to_string())?;
    read(&options).ok_or_else(|| format!("'{text}' sets no {name}"))
}

/// A time over 0, in seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("'{text}' is no time: seconds over 0")),
    }
}
