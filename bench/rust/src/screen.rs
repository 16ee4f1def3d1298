//! The viewer: decodes, notes which frame each picture is and when it was there, and tells all of it at the end.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use framewire::{Error, Frame, Image, PixelFormat, Stop, Viewer};
use framewire_proto::{
    Micros,
    stamp::{self, Stamp},
};

use crate::{Job, now};

/// How long a frame is waited for before it is checked whether to stop.
const CHECK_STOP: Duration = Duration::from_millis(100);
/// Frames between two whose luma is kept.
const SAMPLED: u32 = 10;

/// Views a stream until the stop is raised. The luma of some pictures is put into a folder.
pub(crate) fn view(job: &Job, stop: &Stop) -> Result<()> {
    tell(&format!("\"connecting\": {}", now()));
    let format = if job.bgr { PixelFormat::Bgr } else { PixelFormat::I420 };
    let viewer = Viewer::builder(job.to.parse()?).timeout(CHECK_STOP).stop(stop);
    let mut viewer = viewer.open()?;
    let mut screen = Screen { format, seen: Vec::new(), unreadable: 0, lumas: job.lumas.clone() };
    while !stop.stopped() {
        match viewer.next() {
            Ok(Some(_)) if job.passed => screen.received(),
            Ok(Some(frame)) => screen.show(&frame)?,
            Ok(None) => break,
            Err(Error::Timeout(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    screen.tell();
    Ok(())
}

struct Screen {
    format: PixelFormat,
    seen: Vec<Seen>,
    unreadable: u64,
    lumas: Option<PathBuf>,
}

struct Seen {
    stamp: Stamp,
    decoded: Micros,
}

impl Screen {
    fn show(&mut self, frame: &Frame) -> Result<()> {
        let image = frame.image(self.format)?;
        let decoded = now();
        let (width, rows) = (image.width(), stamp::height(image.width()));
        let stamp = match self.format {
            PixelFormat::I420 => stamp::read(image.data(), width, width as usize),
            _ => stamp::read(&green(image.data(), width, rows), width, width as usize),
        };
        match stamp {
            Some(stamp) => {
                self.note(Seen { stamp, decoded });
                self.keep_luma(stamp.number, &image)?;
            }
            None => self.unreadable += 1,
        }
        Ok(())
    }

    /// Keeps the luma of one picture in ten as a file that says its size.
    fn keep_luma(&self, number: u32, image: &Image) -> Result<()> {
        let sampled = number.is_multiple_of(SAMPLED) && self.format == PixelFormat::I420;
        let Some(folder) = self.lumas.as_ref().filter(|_| sampled) else { return Ok(()) };
        let mut pgm = format!("P5\n{} {}\n255\n", image.width(), image.height()).into_bytes();
        pgm.extend(&image.data()[..(image.width() * image.height()) as usize]);
        let path = folder.join(format!("{number}.pgm"));
        fs::write(&path, pgm).with_context(|| path.display().to_string())
    }

    /// A frame has come that is not looked at.
    fn received(&mut self) {
        self.note(Seen { stamp: Stamp { number: 0, captured: 0 }, decoded: now() });
    }

    fn note(&mut self, seen: Seen) {
        if self.seen.is_empty() {
            tell(&format!("\"first\": {}", seen.decoded));
        }
        self.seen.push(seen);
    }

    fn tell(&self) {
        let frames: Vec<_> = self.seen.iter().map(Seen::to_json).collect();
        tell(&format!("\"frames\": [{}], \"unreadable\": {}", frames.join(", "), self.unreadable));
    }
}

impl Seen {
    fn to_json(&self) -> String {
        let Stamp { number, captured } = self.stamp;
        format!("[{number}, {captured}, {}]", self.decoded)
    }
}

/// The green of the topmost rows stands for their luma: the code there is black and white.
fn green(bgr: &[u8], width: u32, rows: u32) -> Vec<u8> {
    bgr.chunks_exact(3).take((width * rows) as usize).map(|pixel| pixel[1]).collect()
}

/// One line of JSON for `bench/run`.
fn tell(facts: &str) {
    println!("{{{facts}}}");
}
