//! A clip played over and over as if a camera gave it, each frame stamped at the moment it is handed over.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use framewire::{
    clock,
    media::{
        Picture, Pool, colour,
        stamp::{self, Stamp},
    },
    proto::{Codec, Config, Frame, Times},
    source::{Item, Source},
    stop::Stop,
};

/// How to play a clip.
pub(crate) struct Play {
    /// Width and height of its pictures in pixels.
    pub(crate) size: (u32, u32),
    /// How the program gets the pixels.
    pub(crate) codec: Codec,
    /// Frames per second; 0 is as fast as they are taken.
    pub(crate) fps: f64,
}

/// The clip's frames: each leaves as it is, without a copy, and comes home with its last share.
pub(crate) struct Camera {
    play: Play,
    frames: Home,
    sequence: u64,
    configured: bool,
    due: Instant,
    stop: Stop,
}

type Home = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

struct Loan {
    pixels: Vec<u8>,
    place: usize,
    home: Home,
}

impl Camera {
    /// Loads a file of BGR pictures, before any time is taken.
    pub(crate) fn load(clip: &Path, play: Play, stop: &Stop) -> Result<Self> {
        let mut file = File::open(clip).with_context(|| format!("{}: bench/run makes it", clip.display()))?;
        let (width, height) = play.size;
        let length = Codec::Bgr24.raw_length(width, height).context("a size of pixels")?;
        let mut frames = Vec::new();
        loop {
            let mut bgr = Vec::with_capacity(length);
            if file.by_ref().take(length as u64).read_to_end(&mut bgr)? < length {
                break;
            }
            frames.push(Some(in_codec(bgr, &play)?));
        }
        ensure!(!frames.is_empty(), "{}: holds no picture of {width}x{height}", clip.display());
        let frames = Arc::new(Mutex::new(frames));
        Ok(Self { play, frames, sequence: 0, configured: false, due: Instant::now(), stop: stop.clone() })
    }

    fn config(&self) -> Config {
        let (width, height) = self.play.size;
        Config {
            codec: self.play.codec,
            width: width as u16,
            height: height as u16,
            millifps: (1000.0 * self.play.fps) as u32,
            extra: Bytes::new(),
        }
    }

    /// Waits for the next tick; one who comes late misses ticks, as with a camera.
    fn pace(&mut self) -> bool {
        if self.play.fps > 0.0 {
            let now = Instant::now();
            self.stop.wait(self.due.saturating_duration_since(now));
            self.due = (self.due + Duration::from_secs_f64(1.0 / self.play.fps)).max(now);
        }
        self.stop.stopped()
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Item>> {
        if !self.configured {
            self.configured = true;
            return Ok(Some(Item::Config(self.config())));
        }
        if self.pace() {
            return Ok(None);
        }
        let mut loan = borrow(&self.frames, self.sequence)?;
        let captured = clock::now();
        stamp_pixels(&mut loan.pixels, &self.play, Stamp { number: self.sequence as u32, captured });
        let times = Times { captured, ..Times::default() };
        let frame = Frame { sequence: self.sequence, keyframe: true, times, data: Bytes::from_owner(loan) };
        self.sequence += 1;
        Ok(Some(Item::Frame(frame)))
    }

    fn describe(&self) -> String {
        let (width, height) = self.play.size;
        format!("a clip of {width}x{height} as {}", self.play.codec.name())
    }
}

/// The clip's BGR pixels as the program shall get them.
fn in_codec(bgr: Vec<u8>, play: &Play) -> Result<Vec<u8>> {
    if play.codec == Codec::Bgr24 {
        return Ok(bgr);
    }
    let (width, height) = play.size;
    let picture = Picture::new(Codec::Bgr24, width, height, bgr.into())?;
    Ok(colour::convert(&picture, play.codec, &Pool::default())?.into_data().into())
}

fn stamp_pixels(pixels: &mut [u8], play: &Play, stamp: Stamp) {
    let width = play.size.0;
    if play.codec == Codec::I420 {
        return stamp::write(pixels, width, stamp);
    }
    let mut luma = vec![0; (stamp::height(width) * width) as usize];
    stamp::write(&mut luma, width, stamp);
    for (bgr, value) in pixels.chunks_exact_mut(3).zip(luma) {
        bgr.fill(value);
    }
}

fn borrow(home: &Home, sequence: u64) -> Result<Loan> {
    let mut frames = home.lock().unwrap_or_else(PoisonError::into_inner);
    let place = sequence as usize % frames.len();
    let pixels = frames[place].take().context("every frame of the clip is still under way: nobody lets go of them")?;
    Ok(Loan { pixels, place, home: home.clone() })
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.pixels
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut frames = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        frames[self.place] = Some(std::mem::take(&mut self.pixels));
    }
}
