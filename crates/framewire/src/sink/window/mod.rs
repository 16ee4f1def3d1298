//! A window in which streams are watched: one, or several in a grid.
//!
//! ```text
//!   player    a thread a tile: coded frames in, the newest picture out
//!   tile      a player, what it shows and what is written over it
//!   screen    pictures and labels onto the window
//!   layout    where they go      label  words as pixels      stats  what is known of a tile
//! ```
//!
//! A picture is painted when it is decoded, not by a timer: the player wakes the window by an event. Nothing is painted
//! without news.

mod label;
mod layout;
mod player;
mod screen;
mod snapshot;
mod stats;
mod tile;

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use sdl2::{
    EventPump, VideoSubsystem,
    event::{Event, WindowEvent},
    keyboard::Keycode,
    video::{FullscreenType, Window, WindowPos},
};

use crate::{clock, hub, stop::Stop};
use player::{Bell, News};
use screen::{Gpu, Plain, Screen};
pub use stats::{Drops, Stats};
use tile::View;

/// How often the labels are written anew, at most.
const REFRESH: Duration = Duration::from_millis(250);
/// How long the window waits for an event before it looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(100);
/// The window's size before the first picture.
const FIRST: (u32, u32) = (640, 360);

/// One stream to be shown.
pub struct Tile {
    /// What it is called on the window.
    pub name: String,
    /// Where its frames come from; when each was received, decoded and shown is reported there.
    pub subscriber: hub::Subscriber,
}

/// Takes what is known of each tile.
pub type Watcher = Box<dyn FnMut(&[Stats])>;

/// Takes what is known of each tile.
pub type OnSecond = Box<dyn FnMut(&[Stats])>;

/// How a window behaves.
#[derive(Default)]
pub struct Config {
    /// The overlay is there from the beginning.
    pub overlay: bool,
    /// The window closes by itself when every stream has ended.
    pub close_at_end: bool,
    /// Called once a second with what is known of each tile.
    pub on_second: Option<Watcher>,
}

/// What a window shall show.
pub struct Pane {
    /// The window's title.
    pub title: String,
    /// Side by side in a grid, where there are several.
    pub tiles: Vec<Tile>,
}

/// Shows the first pane in a window until it is closed, `q` or ESC is pressed or the stop is raised. To be called by the
/// main thread.
///
/// # Errors
/// There is no display, or it takes no window: what, and what to try.
pub fn run(panes: Vec<Pane>, _more: Option<Receiver<Pane>>, mut config: Config, stop: &Stop) -> Result<()> {
    let Some(Pane { title, tiles }) = panes.into_iter().next() else { return Ok(()) };
    let title = title.as_str();
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
    let events = sdl.event().map_err(no_display)?;
    // A second window of this process finds its event registered already.
    let _ = events.register_custom_event::<News>();
    let mut pump = sdl.event_pump().map_err(no_display)?;
    let bell = Bell::new(events.event_sender());
    let mut view = View::new(tiles, config.overlay, &bell)?;
    if screen::has_gpu(&video)
        && let Ok(canvas) = window(&video, title)?.into_canvas().accelerated().build()
    {
        let textures = canvas.texture_creator();
        let mut screen = Gpu::new(canvas, &textures);
        Loop::new(&video, &mut screen, &mut view, &bell).run(&mut pump, &mut config, stop)?;
    } else {
        // Straight into the window's memory, not through an emulated OpenGL.
        sdl2::hint::set("SDL_FRAMEBUFFER_ACCELERATION", "0");
        let mut screen = Plain::new(window(&video, title)?);
        Loop::new(&video, &mut screen, &mut view, &bell).run(&mut pump, &mut config, stop)?;
    }
    Ok(())
}

fn window(video: &VideoSubsystem, title: &str) -> Result<Window> {
    let window = video.window(title, FIRST.0, FIRST.1).position_centered().resizable().build();
    window.map_err(|error| no_display(error.to_string()))
}

fn no_display(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!(
        "cannot open a window ({error}): run this in a desktop session or set DISPLAY; without a screen, `framewire \
         record` writes to a file and the hub's page shows streams in a browser"
    )
}

/// What the window's thread works with.
struct Loop<'a> {
    video: &'a VideoSubsystem,
    screen: &'a mut dyn Screen,
    view: &'a mut View,
    bell: &'a Bell,
    /// Where the window was and how large before it filled the screen.
    windowed: Option<((i32, i32), (u32, u32))>,
}

fn place(window: &mut Window, (x, y): (i32, i32), (width, height): (u32, u32)) {
    window.set_position(WindowPos::Positioned(x), WindowPos::Positioned(y));
    // Only a size of zero is refused.
    let _ = window.set_size(width, height);
}

impl<'a> Loop<'a> {
    fn new(video: &'a VideoSubsystem, screen: &'a mut dyn Screen, view: &'a mut View, bell: &'a Bell) -> Self {
        Self { video, screen, view, bell, windowed: None }
    }

    fn run(&mut self, pump: &mut EventPump, config: &mut Config, stop: &Stop) -> Result<()> {
        let outcome = self.watch(pump, config, stop);
        // SDL passes a player's events by way of the X server, which ends a program that sends one to a window that is gone:
        // the players go first, and hiding waits until the server has taken what they sent.
        self.view.close();
        self.screen.window().hide();
        outcome
    }

    fn watch(&mut self, pump: &mut EventPump, config: &mut Config, stop: &Stop) -> Result<()> {
        let (mut refreshed, mut second, mut sized) = (None::<Instant>, Instant::now(), false);
        while !stop.stopped() {
            let first = pump.wait_event_timeout(PATIENCE.as_millis() as u32);
            self.bell.answered();
            let later: Vec<Event> = pump.poll_iter().collect();
            for event in first.into_iter().chain(later) {
                if !self.take(&event) {
                    return Ok(());
                }
            }
            let news = self.view.collect();
            if !sized && let Some(picture) = self.view.first_size() {
                sized = true;
                self.fit(picture)?;
            }
            let now = Instant::now();
            if news || refreshed.is_none_or(|last| now.duration_since(last) >= REFRESH) {
                refreshed = Some(now);
                self.view.relabel(clock::now());
            }
            self.view.arrange(self.screen.size(pump)?);
            self.view.paint(|cells| self.screen.paint(pump, cells))?;
            if config.close_at_end && self.view.ended() {
                return Ok(());
            }
            if let Some(tell) = &mut config.on_second
                && now.duration_since(second) >= Duration::from_secs(1)
            {
                second = now;
                tell(&self.view.stats(clock::now()));
            }
        }
        Ok(())
    }

    /// Does what an event asks for; false when the window shall close.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Quit { .. } => return false,
            Event::Window { win_event: WindowEvent::Exposed | WindowEvent::SizeChanged(..), .. } => self.view.expose(),
            Event::KeyDown { keycode: Some(key), repeat: false, .. } => match *key {
                Keycode::Q | Keycode::Escape => return false,
                Keycode::I => self.view.toggle_overlay(),
                Keycode::Space => self.view.toggle_freeze(),
                Keycode::S => self.view.snapshot(),
                Keycode::F => self.toggle_fullscreen(),
                _ => {}
            },
            _ => {}
        }
        true
    }

    fn toggle_fullscreen(&mut self) {
        let bounds = self.video.display_bounds(self.screen.window().display_index().unwrap_or(0));
        let window = self.screen.window();
        let changed = match (window.fullscreen_state(), bounds) {
            (FullscreenType::Off, Ok(bounds)) => {
                // A window manager makes it fill the display; where there is none, as in a kiosk, this does.
                self.windowed = Some((window.position(), window.size()));
                place(window, bounds.top_left().into(), bounds.size());
                window.set_fullscreen(FullscreenType::Desktop)
            }
            (FullscreenType::Off, Err(error)) => Err(error),
            _ => {
                let changed = window.set_fullscreen(FullscreenType::Off);
                if let Some((position, size)) = self.windowed.take() {
                    place(window, position, size);
                }
                changed
            }
        };
        if let Err(error) = changed {
            tracing::warn!("no full screen: {error}");
        }
        self.view.expose();
    }

    /// Gives the window the first picture's size, unless somebody has given it another already.
    fn fit(&mut self, picture: (u32, u32)) -> Result<()> {
        let display = self.video.display_usable_bounds(self.screen.window().display_index().unwrap_or(0));
        let display = display.map_or(FIRST, |bounds| bounds.size());
        let window = self.screen.window();
        if window.size() != FIRST || window.fullscreen_state() != FullscreenType::Off {
            return Ok(());
        }
        let (width, height) = layout::window_size(self.view.len(), picture, display);
        window.set_size(width, height).context("the window does not take the picture's size")?;
        window.set_position(WindowPos::Centered, WindowPos::Centered);
        self.view.expose();
        Ok(())
    }
}
