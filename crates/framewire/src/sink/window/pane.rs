//! An open window: its tiles, keys, place and size.

use std::time::{Duration, Instant};

use sdl2::{
    EventPump, VideoSubsystem,
    event::{Event, WindowEvent},
    keyboard::Keycode,
    rect::Rect,
    video::{FullscreenType, Window, WindowPos},
};

use super::{
    layout,
    options::Pane,
    player::Waker,
    screen::{self, Painter},
    stats::Stats,
    tile::View,
};
use crate::clock;
use crate::error::{Error, Result, error};

/// The least time between two updates of the labels.
const RELABEL_INTERVAL: Duration = Duration::from_millis(250);
/// The window's size before the first picture.
const INITIAL_SIZE: (u32, u32) = (640, 360);

/// A pane in its window.
pub(super) struct OpenPane {
    /// The window's identifier in events.
    pub(super) id: u32,
    /// The window was told to close.
    pub(super) closing: bool,
    view: View,
    painter: Box<dyn Painter>,
    /// When the labels were last updated.
    relabelled: Option<Instant>,
    /// The window has got the size of its first picture.
    fitted: bool,
    /// The window's place before it filled the display.
    windowed: Option<Rect>,
}

impl OpenPane {
    /// Opens a window and starts its players. `others` are the places of other windows.
    ///
    /// # Errors
    /// The window cannot be opened, or the system refuses a thread.
    pub(super) fn new(
        video: &VideoSubsystem,
        pane: Pane,
        overlay: bool,
        waker: &Waker,
        others: &[Rect],
    ) -> Result<Self> {
        let area = layout::place(INITIAL_SIZE, others, bounds(video, 0));
        let mut painter = screen::open(video, &pane.title, area).map_err(window_error)?;
        Ok(Self {
            id: painter.window().id(),
            closing: false,
            view: View::new(pane.tiles, overlay, waker)?,
            painter,
            relabelled: None,
            fitted: false,
            windowed: None,
        })
    }

    /// The window's place.
    pub(super) fn area(&mut self) -> Rect {
        area(self.painter.window())
    }

    /// Handles an event of this window.
    pub(super) fn handle(&mut self, event: &Event) {
        match event {
            Event::Window { win_event: WindowEvent::Close, .. } => self.closing = true,
            Event::Window { win_event: WindowEvent::Exposed | WindowEvent::SizeChanged(..), .. } => self.view.expose(),
            Event::MouseButtonUp { .. } => self.focus(),
            Event::KeyDown { keycode: Some(key), repeat: false, .. } => match *key {
                Keycode::Q | Keycode::Escape => self.closing = true,
                Keycode::I => self.view.toggle_overlay(),
                Keycode::Space => self.view.toggle_freeze(),
                Keycode::S => self.view.snapshot(),
                Keycode::F => self.toggle_fullscreen(),
                _ => {}
            },
            _ => {}
        }
    }

    /// Takes the newest pictures. Returns the size of the first, once.
    pub(super) fn collect(&mut self) -> Option<(u32, u32)> {
        if self.view.collect() {
            self.relabelled = None;
        }
        let first = self.view.first_size().filter(|_| !self.fitted);
        self.fitted |= first.is_some();
        first
    }

    /// Gives the window the size of its first picture, and a place among these other windows, unless the user has already changed
    /// its size.
    pub(super) fn fit(&mut self, picture: (u32, u32), others: &[Rect]) {
        let window = self.painter.window();
        if window.size() != INITIAL_SIZE || window.fullscreen_state() != FullscreenType::Off {
            return;
        }
        let (video, display) = (window.subsystem(), window.display_index().unwrap_or(0));
        let room = video.display_usable_bounds(display).map_or(INITIAL_SIZE, |bounds| bounds.size());
        let size = layout::window_size(self.view.len(), picture, room);
        let area = layout::place(size, others, bounds(video, display));
        place(window, area);
        self.view.expose();
    }

    /// Paints what has changed.
    ///
    /// # Errors
    /// The window can no longer be painted.
    pub(super) fn paint(&mut self, pump: &EventPump) -> Result<()> {
        let now = Instant::now();
        if self.relabelled.is_none_or(|last| now.duration_since(last) >= RELABEL_INTERVAL) {
            self.relabelled = Some(now);
            self.view.relabel(clock::now());
        }
        self.view.arrange(self.painter.size(pump)?);
        self.view.paint(|cells| self.painter.paint(pump, cells))
    }

    /// Whether every stream has ended and its last picture was shown.
    pub(super) fn ended(&self) -> bool {
        self.view.ended()
    }

    /// The figures of each tile.
    pub(super) fn stats(&self) -> Vec<Stats> {
        self.view.stats(clock::now())
    }

    /// Hides the window and tells its players to end.
    pub(super) fn hide(&mut self) {
        self.view.stop();
        self.painter.window().hide();
    }

    /// Whether the players have ended and their subscribers were dropped.
    pub(super) fn finished(&self) -> bool {
        self.view.finished()
    }

    /// Waits for the players to end.
    pub(super) fn join(&mut self) {
        self.view.join();
    }

    /// Gives the window the keyboard after a click, where no window manager does that: SDL does it when the window is shown again.
    fn focus(&mut self) {
        let window = self.painter.window();
        if !window.has_input_focus() {
            window.hide();
            window.show();
        }
    }

    fn toggle_fullscreen(&mut self) {
        let window = self.painter.window();
        let bounds = window.subsystem().display_bounds(window.display_index().unwrap_or(0));
        let changed = match (window.fullscreen_state(), bounds) {
            (FullscreenType::Off, Ok(bounds)) => {
                // Without a window manager, as in a kiosk, only `place` makes the window fill the display.
                self.windowed = Some(area(window));
                place(window, bounds);
                window.set_fullscreen(FullscreenType::Desktop)
            }
            (FullscreenType::Off, Err(error)) => Err(error),
            _ => {
                let changed = window.set_fullscreen(FullscreenType::Off);
                if let Some(area) = self.windowed.take() {
                    place(window, area);
                }
                changed
            }
        };
        if let Err(error) = changed {
            tracing::warn!("the window cannot fill the display: {error}");
        }
        self.view.expose();
    }
}

fn area(window: &Window) -> Rect {
    let ((x, y), (width, height)) = (window.position(), window.size());
    Rect::new(x, y, width, height)
}

/// The error where no window can be opened, and what to try.
pub(super) fn window_error(error: impl std::fmt::Display) -> Error {
    error!(
        NotFound,
        "no window can be opened ({error}): run this in a desktop session or set DISPLAY; without a screen, use 'framewire \
         record' to write a file, or the hub's page to watch in a browser"
    )
}

fn place(window: &mut Window, area: Rect) {
    window.set_position(WindowPos::Positioned(area.x()), WindowPos::Positioned(area.y()));
    // SDL refuses only a size of zero.
    let _ = window.set_size(area.width(), area.height());
}

fn bounds(video: &VideoSubsystem, display: i32) -> Rect {
    video.display_bounds(display).unwrap_or(Rect::new(0, 0, INITIAL_SIZE.0, INITIAL_SIZE.1))
}
