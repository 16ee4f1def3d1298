//! An open window: its tiles, its keys, its place and size.

use std::time::{Duration, Instant};

use sdl2::{
    EventPump, VideoSubsystem,
    event::{Event, WindowEvent},
    keyboard::Keycode,
    rect::Rect,
    video::{FullscreenType, Window, WindowPos},
};

use super::{
    Pane, Stats, layout, no_display,
    player::Bell,
    screen::{self, Screen},
    tile::View,
};
use crate::clock;
use crate::error::Result;

/// How often the labels are written anew, at most.
const REFRESH: Duration = Duration::from_millis(250);
/// The window's size before the first picture.
const FIRST: (u32, u32) = (640, 360);

/// A pane on the display.
pub(super) struct Open {
    /// What its events name it.
    pub(super) id: u32,
    /// It shall close.
    pub(super) closing: bool,
    view: View,
    screen: Box<dyn Screen>,
    /// When its labels were written.
    refreshed: Option<Instant>,
    /// Its first picture has come.
    begun: bool,
    /// Where the window was before it filled the display.
    windowed: Option<Rect>,
}

impl Open {
    /// Opens a window and starts its players. `others` is where windows are already.
    ///
    /// # Errors
    /// The display takes no window, or the system gives no thread.
    pub(super) fn new(video: &VideoSubsystem, pane: Pane, overlay: bool, bell: &Bell, others: &[Rect]) -> Result<Self> {
        let area = layout::place(FIRST, others, bounds(video, 0));
        let mut screen = screen::open(video, &pane.title, area).map_err(no_display)?;
        Ok(Self {
            id: screen.window().id(),
            closing: false,
            view: View::new(pane.tiles, overlay, bell)?,
            screen,
            refreshed: None,
            begun: false,
            windowed: None,
        })
    }

    /// Where the window is.
    pub(super) fn area(&mut self) -> Rect {
        area(self.screen.window())
    }

    /// Does what an event asks for.
    pub(super) fn take(&mut self, event: &Event) {
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
            self.refreshed = None;
        }
        let first = self.view.first_size().filter(|_| !self.begun);
        self.begun |= first.is_some();
        first
    }

    /// Gives the window this picture's size and a place among these others, unless somebody has given it another size
    /// already.
    pub(super) fn fit(&mut self, picture: (u32, u32), others: &[Rect]) {
        let window = self.screen.window();
        if window.size() != FIRST || window.fullscreen_state() != FullscreenType::Off {
            return;
        }
        let (video, display) = (window.subsystem(), window.display_index().unwrap_or(0));
        let room = video.display_usable_bounds(display).map_or(FIRST, |bounds| bounds.size());
        let size = layout::window_size(self.view.len(), picture, room);
        let area = layout::place(size, others, bounds(video, display));
        put(window, area);
        self.view.expose();
    }

    /// Paints what has changed.
    ///
    /// # Errors
    /// The window cannot be painted any more.
    pub(super) fn paint(&mut self, pump: &EventPump) -> Result<()> {
        let now = Instant::now();
        if self.refreshed.is_none_or(|last| now.duration_since(last) >= REFRESH) {
            self.refreshed = Some(now);
            self.view.relabel(clock::now());
        }
        self.view.arrange(self.screen.size(pump)?);
        self.view.paint(|cells| self.screen.paint(pump, cells))
    }

    /// Every stream has ended and its last picture was shown.
    pub(super) fn ended(&self) -> bool {
        self.view.ended()
    }

    /// What is known of each tile.
    pub(super) fn stats(&self) -> Vec<Stats> {
        self.view.stats(clock::now())
    }

    /// Takes the window from the display and asks its players to end.
    pub(super) fn hide(&mut self) {
        self.view.stop();
        self.screen.window().hide();
    }

    /// The players have ended, and their subscribers are gone.
    pub(super) fn finished(&self) -> bool {
        self.view.finished()
    }

    /// Waits for the players to end.
    pub(super) fn join(&mut self) {
        self.view.join();
    }

    /// Gives the window the keys, where no window manager has done so by the time the mouse button is let go: SDL does
    /// when it is shown anew.
    fn focus(&mut self) {
        let window = self.screen.window();
        if !window.has_input_focus() {
            window.hide();
            window.show();
        }
    }

    fn toggle_fullscreen(&mut self) {
        let window = self.screen.window();
        let bounds = window.subsystem().display_bounds(window.display_index().unwrap_or(0));
        let changed = match (window.fullscreen_state(), bounds) {
            (FullscreenType::Off, Ok(bounds)) => {
                // A window manager makes it fill the display; where there is none, as in a kiosk, this does.
                self.windowed = Some(area(window));
                put(window, bounds);
                window.set_fullscreen(FullscreenType::Desktop)
            }
            (FullscreenType::Off, Err(error)) => Err(error),
            _ => {
                let changed = window.set_fullscreen(FullscreenType::Off);
                if let Some(area) = self.windowed.take() {
                    put(window, area);
                }
                changed
            }
        };
        if let Err(error) = changed {
            tracing::warn!("no full screen: {error}");
        }
        self.view.expose();
    }
}

fn area(window: &Window) -> Rect {
    let ((x, y), (width, height)) = (window.position(), window.size());
    Rect::new(x, y, width, height)
}

fn put(window: &mut Window, area: Rect) {
    window.set_position(WindowPos::Positioned(area.x()), WindowPos::Positioned(area.y()));
    // Only a size of zero is refused.
    let _ = window.set_size(area.width(), area.height());
}

fn bounds(video: &VideoSubsystem, display: i32) -> Rect {
    video.display_bounds(display).unwrap_or(Rect::new(0, 0, FIRST.0, FIRST.1))
}
