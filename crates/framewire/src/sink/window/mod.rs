//! Windows in which streams are watched: each with one, or with several in a grid. More may come while others are open.
//!
//! ```text
//!   player    a thread a tile: coded frames in, the newest picture out
//!   tile      a player, what it shows and what is written over it
//!   pane      a window: its tiles, its keys, its place and size
//!   screen    pictures and labels onto the window
//!   layout    where they go      label  words as pixels      stats  what is known of a tile
//! ```
//!
//! A picture is painted when it is decoded, not by a timer: the player wakes the windows' thread by an event. Nothing
//! is painted without news.

mod label;
mod layout;
mod pane;
mod player;
mod screen;
mod snapshot;
mod stats;
mod tile;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use sdl2::{EventPump, Sdl, VideoSubsystem, event::Event, mouse::MouseUtil, rect::Rect};

use crate::error::{Error, Result, error};
use crate::{hub, latency::Bound, stop::Stop};
use pane::Open;
use player::{Bell, News};
pub use stats::Stats;

/// How long the windows' thread waits before it looks whether it shall end, or open another.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a window shall show.
pub struct Pane {
    /// The window's title.
    pub title: String,
    /// Side by side in a grid, where there are several.
    pub tiles: Vec<Tile>,
}

/// One stream to be shown.
pub struct Tile {
    /// What it is called on the window.
    pub name: String,
    /// Where its frames come from; when each was received, decoded and shown is reported there. Dropped
    /// about a tenth of a second after the window was closed, at the latest.
    pub subscriber: hub::Subscriber,
    /// Which pictures are too old to be shown.
    pub bound: Bound,
}

/// Takes what is known of each tile.
pub type OnSecond = Box<dyn FnMut(&[Stats])>;

/// How windows behave.
#[derive(Default)]
pub struct Config {
    /// The overlay is there from the beginning.
    pub overlay: bool,
    /// A window closes by itself when every stream in it has ended.
    pub close_at_end: bool,
    /// Called once a second with what is known of each tile of the windows that are open.
    pub on_second: Option<OnSecond>,
}

/// Shows each pane in a window of its own until that is closed or `q` or ESC is pressed in it, and those that come out
/// of `more` too, each within about a tenth of a second. Returns when no window is left and no pane can come any more
/// (every sender into `more` was dropped), or when the stop is raised. To be called by the main thread.
///
/// # Errors
/// There is no display, or it takes no window: what, and what to try. Of a window for a pane that came later it is only
/// warned.
pub fn run(panes: Vec<Pane>, more: Option<Receiver<Pane>>, config: Config, stop: &Stop) -> Result<()> {
    // Ctrl-C is this program's own affair.
    sdl2::hint::set("SDL_NO_SIGNAL_HANDLERS", "1");
    sdl2::hint::set("SDL_VIDEO_ALLOW_SCREENSAVER", "0");
    let sdl = sdl2::init().map_err(no_display)?;
    let video = sdl.video().map_err(no_display)?;
    let driver = video.current_video_driver();
    // What SDL falls back to shows nothing to anybody; a test may ask for it.
    if ["offscreen", "dummy", "evdev"].contains(&driver) && std::env::var_os("SDL_VIDEODRIVER").is_none() {
        return Err(no_display("no display was found"));
    }
    let mut windows = Windows::new(&sdl, video, more, config)?;
    let outcome = windows.show(panes, stop);
    windows.close();
    outcome
}

fn no_display(error: impl std::fmt::Display) -> Error {
    error!(
        NotFound,
        "cannot open a window ({error}): run this in a desktop session or set DISPLAY; without a screen, `framewire \
         record` writes to a file and the hub's page shows streams in a browser"
    )
}

/// What the windows' thread works with.
struct Windows {
    video: VideoSubsystem,
    mouse: MouseUtil,
    pump: EventPump,
    bell: Bell,
    config: Config,
    open: Vec<Open>,
    /// Hidden, and kept until they may go, see [`Windows::clear_away`].
    closed: Vec<Open>,
    /// The window that was opened last.
    newest: u32,
    /// Where panes come from, while some can.
    more: Option<Receiver<Pane>>,
    /// When [`Config::on_second`] was called.
    told: Instant,
}

impl Windows {
    fn new(sdl: &Sdl, video: VideoSubsystem, more: Option<Receiver<Pane>>, config: Config) -> Result<Self> {
        let events = sdl.event().map_err(no_display)?;
        // A second run in this process finds its event registered already.
        let _ = events.register_custom_event::<News>();
        Ok(Self {
            video,
            mouse: sdl.mouse(),
            pump: sdl.event_pump().map_err(no_display)?,
            bell: Bell::new(events.event_sender()),
            config,
            open: Vec::new(),
            closed: Vec::new(),
            newest: 0,
            more,
            told: Instant::now(),
        })
    }

    fn show(&mut self, panes: Vec<Pane>, stop: &Stop) -> Result<()> {
        for pane in panes {
            self.open(pane)?;
        }
        while !stop.stopped() && (!self.open.is_empty() || self.more.is_some()) {
            let first = self.wait();
            self.bell.answered();
            let later: Vec<Event> = self.pump.poll_iter().collect();
            for event in first.into_iter().chain(later) {
                self.take(&event);
            }
            self.paint()?;
            self.clear_away();
            self.tell();
        }
        Ok(())
    }

    /// Waits for an event, and opens a window for each pane that came.
    fn wait(&mut self) -> Option<Event> {
        let (event, mut patience) = if self.open.is_empty() {
            // SDL would not sleep without a window but look for events again and again: the pane is waited for.
            (None, PATIENCE)
        } else {
            (self.pump.wait_event_timeout(PATIENCE.as_millis() as u32), Duration::ZERO)
        };
        while let Some(more) = &self.more {
            match more.recv_timeout(patience) {
                Ok(pane) => {
                    let title = pane.title.clone();
                    if let Err(error) = self.open(pane) {
                        tracing::warn!("'{title}': {error}");
                    }
                    patience = Duration::ZERO;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => self.more = None,
            }
        }
        event
    }

    fn open(&mut self, pane: Pane) -> Result<()> {
        let others = self.areas(None);
        let open = Open::new(&self.video, pane, self.config.overlay, &self.bell, &others)?;
        self.newest = open.id;
        self.open.push(open);
        Ok(())
    }

    /// Gives an event to the window that it names.
    fn take(&mut self, event: &Event) {
        if let Event::Quit { .. } = event {
            // The desktop wants the program to close what it has open, or the last window's close button was pressed.
            return self.open.iter_mut().for_each(|open| open.closing = true);
        }
        let id = match event.get_window_id() {
            // A key that is no window's, as may be without a window manager, is for the one under the pointer.
            Some(0) => self.mouse.focused_window_id(),
            id => id,
        };
        if let Some(open) = self.open.iter_mut().find(|open| Some(open.id) == id) {
            open.take(event);
        }
    }

    /// Paints what is new on each window.
    fn paint(&mut self) -> Result<()> {
        for place in 0..self.open.len() {
            // Each takes its newest picture when it is its turn.
            if let Some(picture) = self.open[place].collect() {
                let others = self.areas(Some(self.open[place].id));
                self.open[place].fit(picture, &others);
            }
            self.open[place].paint(&self.pump)?;
        }
        Ok(())
    }

    /// Where windows are, besides this one.
    fn areas(&mut self, besides: Option<u32>) -> Vec<Rect> {
        self.open.iter_mut().filter(|open| Some(open.id) != besides).map(Open::area).collect()
    }

    /// Hides the windows that shall close, and lets those go that were hidden before and whose players have ended.
    ///
    /// To wake this thread, SDL sends an event to the window that was opened last, by another connection to the X server
    /// than the one that destroys windows, and a program that has sent one to a window that is gone is ended. So that
    /// window is only hidden until another is the last, and none goes while a player may be sending.
    fn clear_away(&mut self) {
        let at_end = self.config.close_at_end;
        for mut open in self.open.extract_if(.., |open| open.closing || at_end && open.ended()) {
            open.hide();
            self.closed.push(open);
        }
        let newest = self.newest;
        let gone: Vec<Open> = self.closed.extract_if(.., |open| open.id != newest && open.finished()).collect();
        if !gone.is_empty() {
            self.bell.hush(|| drop(gone));
        }
    }

    fn tell(&mut self) {
        let now = Instant::now();
        if let Some(tell) = &mut self.config.on_second
            && now.duration_since(self.told) >= Duration::from_secs(1)
        {
            self.told = now;
            tell(&self.open.iter().flat_map(Open::stats).collect::<Vec<_>>());
        }
    }

    /// Closes every window, when no player can send to one any more.
    fn close(&mut self) {
        self.open.iter_mut().for_each(Open::hide);
        self.closed.append(&mut self.open);
        self.closed.iter_mut().for_each(Open::join);
        self.closed.clear();
    }
}
