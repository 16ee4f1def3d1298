//! What a screen paints.

use sdl2::{EventPump, video::Window};

use crate::error::Result;
use crate::media::Picture;
use crate::sink::window::{label::Label, layout::Area};

/// A label and its place in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sink::window) struct PlacedLabel {
    pub(in crate::sink::window) label: Label,
    pub(in crate::sink::window) area: Area,
}

/// The contents of one cell of the window's grid.
#[derive(Debug, Clone, Copy)]
pub(in crate::sink::window) struct Cell<'a> {
    pub(in crate::sink::window) area: Area,
    /// I420.
    pub(in crate::sink::window) picture: Option<&'a Picture>,
    pub(in crate::sink::window) dimmed: bool,
    pub(in crate::sink::window) labels: &'a [PlacedLabel],
    /// The picture was not painted yet.
    pub(in crate::sink::window) fresh: bool,
    /// Anything in the cell has changed since the last painting.
    pub(in crate::sink::window) changed: bool,
}

/// A window that can be painted.
pub(in crate::sink::window) trait Painter {
    /// The window.
    fn window(&mut self) -> &mut Window;

    /// The current size of the window's contents, in pixels.
    fn size(&self, pump: &EventPump) -> Result<(u32, u32)>;

    /// Paints the cells that have changed, and shows them before it returns.
    fn paint(&mut self, pump: &EventPump, cells: &[Cell]) -> Result<()>;
}

/// The three planes of an I420 picture, each with its stride.
pub(super) fn planes(picture: &Picture) -> [(&[u8], u32); 3] {
    let half = picture.width().div_ceil(2);
    let (luma, chroma) = picture.data().split_at(picture.width() as usize * picture.height() as usize);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    [(luma, picture.width()), (u, half), (v, half)]
}
