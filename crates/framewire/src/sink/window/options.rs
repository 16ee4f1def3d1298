//! What windows show and how they behave.

use super::stats::Stats;
use crate::{hub, latency::StaleFilter};

/// The contents of one window.
pub struct Pane {
    /// The window's title.
    pub title: String,
    /// The streams; several are shown in a grid.
    pub tiles: Vec<Tile>,
}

/// One stream in a window.
pub struct Tile {
    /// The stream's name in the window.
    pub name: String,
    /// The stream's frames. The times at which each frame was received, decoded and shown are reported here. Dropped at most
    /// about a tenth of a second after the window was closed.
    pub subscriber: hub::Subscriber,
    /// Drops frames that are too old to show.
    pub stale_filter: StaleFilter,
}

/// Receives the figures of all tiles.
pub type OnSecond = Box<dyn FnMut(&[Stats])>;

/// How windows behave.
#[derive(Default)]
pub struct WindowOptions {
    /// Show the overlay from the start.
    pub overlay: bool,
    /// Close a window when all its streams have ended.
    pub close_at_end: bool,
    /// Called once per second with the figures of all tiles of the open windows.
    pub on_second: Option<OnSecond>,
}
