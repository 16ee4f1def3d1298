//! Windows that show streams: each shows one stream, or several in a grid. More windows may open while others are open.
//!
//! ```text
//!   options   what windows show and how they behave
//!   player    one thread per tile: decodes frames and keeps the newest picture
//!   tile      a player, its picture and its labels
//!   pane      a window: its tiles, keys, place and size
//!   screen    paints pictures and labels
//!   layout    the places of pictures and windows
//!   label     text as pixels
//!   stats     the figures of a tile
//!   snapshot  saves a picture to a file
//! ```
//!
//! A picture is painted when it is decoded, not by a timer: the player wakes the windows' thread with an event. Nothing is painted
//! without a change.

mod label;
mod layout;
mod options;
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

use crate::error::Result;
use crate::stop::Stop;
use pane::{OpenPane, window_error};
use player::{WakeEvent, Waker};

pub use options::{OnSecond, Pane, Tile, WindowOptions};
pub use stats::Stats;

/// How often the windows' thread checks the stop, and for new panes.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Shows each pane in its own window, until the user closes the window or presses `q` or ESC in it. Panes from `more` are shown
/// too, each within about a tenth of a second.
///
/// Returns when no window is open and all senders of `more` were dropped, or when the stop is raised. Must be called on the main
/// thread.
///
/// # Errors
/// There is no display, or it refuses a window. If the window of a later pane cannot be opened, a warning is logged instead.
pub fn run(panes: Vec<Pane>, more: Option<Receiver<Pane>>, options: WindowOptions, stop: &Stop) -> Result<()> {
    // This program handles Ctrl-C itself.
    sdl2::hint::set("SDL_NO_SIGNAL_HANDLERS", "1");
    sdl2::hint::set("SDL_VIDEO_ALLOW_SCREENSAVER", "0");
    let sdl = sdl2::init().map_err(window_error)?;
    let video = sdl.video().map_err(window_error)?;
    let driver = video.current_video_driver();
    // These are SDL's fallbacks without a visible display. A test may select one.
    if ["offscreen", "dummy", "evdev"].contains(&driver) && std::env::var_os("SDL_VIDEODRIVER").is_none() {
        return Err(window_error("no display was found"));
    }
    let mut windows = Windows::new(&sdl, video, more, options)?;
    let outcome = windows.show(panes, stop);
    windows.close();
    outcome
}

/// The data of the windows' thread.
struct Windows {
    video: VideoSubsystem,
    mouse: MouseUtil,
    pump: EventPump,
    waker: Waker,
    options: WindowOptions,
    open: Vec<OpenPane>,
    /// Hidden windows that cannot be destroyed yet, see [`Windows::remove_closed`].
    closed: Vec<OpenPane>,
    /// The identifier of the window that was opened last.
    newest: u32,
    /// Later panes; `None` when there can be no more.
    more: Option<Receiver<Pane>>,
    /// When [`WindowOptions::on_second`] was last called.
    last_figures: Instant,
}

impl Windows {
    fn new(sdl: &Sdl, video: VideoSubsystem, more: Option<Receiver<Pane>>, options: WindowOptions) -> Result<Self> {
        let events = sdl.event().map_err(window_error)?;
        // This fails in a second run of this process, where the event is already registered.
        let _ = events.register_custom_event::<WakeEvent>();
        Ok(Self {
            video,
            mouse: sdl.mouse(),
            pump: sdl.event_pump().map_err(window_error)?,
            waker: Waker::new(events.event_sender()),
            options,
            open: Vec::new(),
            closed: Vec::new(),
            newest: 0,
            more,
            last_figures: Instant::now(),
        })
    }

    fn show(&mut self, panes: Vec<Pane>, stop: &Stop) -> Result<()> {
        for pane in panes {
            self.open(pane)?;
        }
        while !stop.stopped() && (!self.open.is_empty() || self.more.is_some()) {
            let first = self.wait();
            self.waker.clear();
            let later: Vec<Event> = self.pump.poll_iter().collect();
            for event in first.into_iter().chain(later) {
                self.handle(&event);
            }
            self.paint()?;
            self.remove_closed();
            self.report_figures();
        }
        Ok(())
    }

    /// Waits for an event, and opens a window for each new pane.
    fn wait(&mut self) -> Option<Event> {
        let (event, mut timeout) = if self.open.is_empty() {
            // Without a window SDL would poll for events without sleeping, so wait for a pane instead.
            (None, CHECK_INTERVAL)
        } else {
            (self.pump.wait_event_timeout(CHECK_INTERVAL.as_millis() as u32), Duration::ZERO)
        };
        while let Some(more) = &self.more {
            match more.recv_timeout(timeout) {
                Ok(pane) => {
                    let title = pane.title.clone();
                    if let Err(error) = self.open(pane) {
                        tracing::warn!("'{title}': {error}");
                    }
                    timeout = Duration::ZERO;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => self.more = None,
            }
        }
        event
    }

    fn open(&mut self, pane: Pane) -> Result<()> {
        let others = self.areas(None);
        let open = OpenPane::new(&self.video, pane, self.options.overlay, &self.waker, &others)?;
        self.newest = open.id;
        self.open.push(open);
        Ok(())
    }

    /// Gives an event to its window.
    fn handle(&mut self, event: &Event) {
        if let Event::Quit { .. } = event {
            // The desktop session ends, or the user has closed the last window.
            return self.open.iter_mut().for_each(|open| open.closing = true);
        }
        let id = match event.get_window_id() {
            // A key event without a window, possible without a window manager, is for the window under the pointer.
            Some(0) => self.mouse.focused_window_id(),
            id => id,
        };
        if let Some(open) = self.open.iter_mut().find(|open| Some(open.id) == id) {
            open.handle(event);
        }
    }

    /// Paints what is new on each window.
    fn paint(&mut self) -> Result<()> {
        for place in 0..self.open.len() {
            // Each window takes its newest picture just before it is painted.
            if let Some(picture) = self.open[place].collect() {
                let others = self.areas(Some(self.open[place].id));
                self.open[place].fit(picture, &others);
            }
            self.open[place].paint(&self.pump)?;
        }
        Ok(())
    }

    /// The places of all windows except this one.
    fn areas(&mut self, except: Option<u32>) -> Vec<Rect> {
        self.open.iter_mut().filter(|open| Some(open.id) != except).map(OpenPane::area).collect()
    }

    /// Hides the windows that were told to close, and destroys hidden windows whose players have ended.
    ///
    /// To wake this thread, SDL sends an event to the newest window, on another connection to the X server than the one that
    /// destroys windows. An event to a destroyed window would end the program. So the newest window is only hidden until another is
    /// the newest, and no window is destroyed while a player may send an event.
    fn remove_closed(&mut self) {
        let at_end = self.options.close_at_end;
        for mut open in self.open.extract_if(.., |open| open.closing || at_end && open.ended()) {
            open.hide();
            self.closed.push(open);
        }
        let newest = self.newest;
        let gone: Vec<OpenPane> = self.closed.extract_if(.., |open| open.id != newest && open.finished()).collect();
        if !gone.is_empty() {
            self.waker.pause_while(|| drop(gone));
        }
    }

    fn report_figures(&mut self) {
        let now = Instant::now();
        if let Some(on_second) = &mut self.options.on_second
            && now.duration_since(self.last_figures) >= Duration::from_secs(1)
        {
            self.last_figures = now;
            on_second(&self.open.iter().flat_map(OpenPane::stats).collect::<Vec<_>>());
        }
    }

    /// Closes all windows, after their players have ended.
    fn close(&mut self) {
        self.open.iter_mut().for_each(OpenPane::hide);
        self.closed.append(&mut self.open);
        self.closed.iter_mut().for_each(OpenPane::join);
        self.closed.clear();
    }
}
