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
use framewire::{Hub, Image, PixelFormat, Sender, Stop};
use framewire_proto::stamp::{self, Stamp};

use crate::now;

/// How often it is checked whether to stop while nothing can be sent.
const CHECK_STOP: Duration = Duration::from_millis(100);

/// How to play a clip.
pub(crate) struct Play {
    /// Width and height of its pictures in pixels.
    pub(crate) size: (u32, u32),
    /// How the program gets the pixels: BGR or I420.
    pub(crate) format: PixelFormat,
    /// Frames per second; 0 is as fast as they are taken.
    pub(crate) fps: f64,
}

/// The clip's frames: each leaves as it is, without a copy, and comes back when nobody uses it any more.
pub(crate) struct Camera {
    play: Play,
    frames: Home,
    due: Instant,
}

type Home = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

struct Loan {
    pixels: Vec<u8>,
    place: usize,
    home: Home,
}

impl Camera {
    /// Loads a file of BGR pictures, before any time is taken.
    pub(crate) fn load(clip: &Path, play: Play) -> Result<Self> {
        let mut file = File::open(clip).with_context(|| format!("{}: bench/run makes it", clip.display()))?;
        let (width, height) = play.size;
        let length = 3 * width as usize * height as usize;
        let mut frames = Vec::new();
        loop {
            let mut bgr = Vec::with_capacity(length);
            if file.by_ref().take(length as u64).read_to_end(&mut bgr)? < length {
                break;
            }
            frames.push(Some(in_format(bgr, &play)?));
        }
        ensure!(!frames.is_empty(), "{}: holds no picture of {width}x{height}", clip.display());
        Ok(Self { play, frames: Arc::new(Mutex::new(frames)), due: Instant::now() })
    }

    /// Sends the clip over and over until the stop is raised.
    pub(crate) fn play(&mut self, sender: &mut Sender, stop: &Stop) -> Result<()> {
        for sequence in 0.. {
            if self.pace(sender, stop) {
                break;
            }
            let image = self.frame(sequence)?;
            sender.send(image)?;
        }
        Ok(())
    }

    /// Waits until the next frame is due; a frame that comes late makes the following ones be left out, as with a camera.
    /// Returns whether to stop.
    fn pace(&mut self, sender: &Sender, stop: &Stop) -> bool {
        if self.play.fps > 0.0 {
            let now = Instant::now();
            stop.wait(self.due.saturating_duration_since(now));
            self.due = (self.due + Duration::from_secs_f64(1.0 / self.play.fps)).max(now);
            return stop.stopped();
        }
        while !stop.stopped() {
            if sender.wait_for_room(CHECK_STOP) {
                return false;
            }
        }
        true
    }

    fn frame(&self, sequence: u64) -> Result<Image> {
        let (width, height) = self.play.size;
        let mut loan = borrow(&self.frames, sequence)?;
        let captured = Instant::now();
        stamp_pixels(&mut loan.pixels, &self.play, Stamp { number: sequence as u32, captured: now() });
        let image = Image::new(self.play.format, width, height, Bytes::from_owner(loan))?;
        Ok(image.captured_at(captured))
    }
}

/// The clip's BGR pixels as the program shall get them.
fn in_format(bgr: Vec<u8>, play: &Play) -> Result<Vec<u8>> {
    if play.format == PixelFormat::Bgr {
        return Ok(bgr);
    }
    let (width, height) = play.size;
    let hub = Hub::new();
    let mut publisher = hub.publish("clip")?;
    let mut viewer = hub.view("clip")?;
    publisher.send(Image::new(PixelFormat::Bgr, width, height, bgr)?)?;
    let frame = viewer.next()?.context("a stream that goes on")?;
    Ok(frame.image(play.format)?.into_data().to_vec())
}

fn stamp_pixels(pixels: &mut [u8], play: &Play, stamp: Stamp) {
    let width = play.size.0;
    if play.format == PixelFormat::I420 {
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
