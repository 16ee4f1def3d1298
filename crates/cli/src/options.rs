//! Flags that several commands share.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use framewire::proto::{
    Micros,
    wire::tutorial::{Size, Tutorial},
};

use framewire::{
    source::{
        Spec, kind,
        spec::{self, Options},
    },
    transcode::encode::{self, CodecChoice},
};

/// How to capture, code and report.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// What frames are coded in: auto (JPEG where the link carries it, a camera's own as they are, else H.264), jpeg, h264,
    /// copy (a camera's, file's or URL's own JPEGs or H.264, never coded again)
    #[arg(long, value_name = "CODEC", default_value = "auto", value_parser = |text: &str| text.parse::<CodecChoice>())]
    codec: CodecChoice,
    /// JPEG quality, 1 to 100 [default: 80]
    #[arg(long, value_name = "1..100", value_parser = spec::parse_quality)]
    quality: Option<u8>,
    /// Picture size: asked of a camera or screen, scaled to elsewhere
    #[arg(long, value_name = "WxH", value_parser = spec::parse_size)]
    pub(crate) size: Option<(u32, u32)>,
    /// Bits per second at most, as in 2M or 500k [default: what the link carries]
    #[arg(long, value_name = "BITS", value_parser = spec::parse_bitrate)]
    bitrate: Option<u64>,
    /// Frames older than this many milliseconds are dropped instead of sent, shown or recorded
    #[arg(long, value_name = "MS", value_parser = spec::parse_max_age)]
    pub(crate) max_age: Option<Micros>,
    /// Frames per second; 0 is as fast as they are taken [default: the source's own]
    #[arg(long, value_name = "N", value_parser = spec::parse_fps)]
    fps: Option<f64>,
    /// Begin a file again at its end
    #[arg(long = "loop")]
    looped: bool,
    /// Wait for a hub or a stream that is not there
    #[arg(long)]
    pub(crate) wait: bool,
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

    /// Whether pictures are to be coded anew.
    pub(crate) fn codes(&self) -> bool {
        self.size.is_some() || self.quality.is_some()
    }

    /// A source with these flags where its own options are silent.
    pub(crate) fn apply(&self, spec: &Spec) -> Spec {
        Spec { source: spec.source.clone(), options: spec.options.clone().or(&self.options()) }
    }

    /// These flags as a source's options.
    fn options(&self) -> Options {
        Options {
            size: self.size,
            fps: self.fps,
            format: None,
            looped: self.looped,
            codec: self.codec,
            quality: self.quality,
            bitrate: self.bitrate,
            max_age: self.max_age,
            wait: self.wait,
            every: false,
        }
    }
}

/// How this source's frames are coded. One that was asked for a size gives what it can: that stands.
pub(crate) fn encoding(spec: &Spec) -> Result<encode::EncodeOptions> {
    let kind = kind(spec)?;
    let Options { quality, size, codec, .. } = spec.options;
    let size = size.filter(|_| !kind.sized).map(|(width, height)| encode::Size::Exactly(width, height));
    Ok(encode::EncodeOptions {
        quality,
        size,
        codec,
        bitrate: spec.options.bitrate,
        ..encode::EncodeOptions::default()
    })
}

/// How frames are coded for a tutorial's wire: with its own size and quality where none is asked for. A source that is
/// `sized` gives what size it can: that stands.
pub(crate) fn encoding_for(tutorial: &Tutorial, options: &Options, sized: bool) -> encode::EncodeOptions {
    let asked = options.size.map(|(width, height)| encode::Size::Exactly(width, height));
    let own = match tutorial.size {
        Size::Own => None,
        Size::Exactly(width, height) => Some(encode::Size::Exactly(width.into(), height.into())),
        Size::Width(width) => Some(encode::Size::Width(width.into())),
    };
    let exactly = |size: &encode::Size| matches!(size, encode::Size::Exactly(..));
    encode::EncodeOptions {
        quality: options.quality.or(tutorial.quality),
        size: asked.or(own).filter(|size| !(sized && exactly(size))),
        codec: options.codec,
        bitrate: options.bitrate,
        only: Some(tutorial.codec),
        reencode: false,
    }
}

/// A time over 0, in seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(Duration::from_secs_f64(seconds)),
        _ => bail!("'{text}' is no time: seconds over 0"),
    }
}
