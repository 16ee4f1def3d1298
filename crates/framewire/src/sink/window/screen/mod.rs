//! How pictures and labels reach the window: by the graphics processor where there is one, else by the processor.

mod gpu;
mod plain;

use std::path::Path;

use sdl2::{
    EventPump, VideoSubsystem,
    rect::Rect,
    video::{Window, WindowBuildError},
};

use super::{label::Label, layout::Area};
use crate::error::Result;
use crate::media::Picture;
use gpu::Gpu;
use plain::Plain;

/// A label in its place on the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) label: Label,
    pub(super) area: Area,
}

/// What is to be seen in one cell of the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) area: Area,
    /// I420.
    pub(super) picture: Option<&'a Picture>,
    pub(super) dimmed: bool,
    pub(super) labels: &'a [Placed],
    /// The picture is another one than last time.
    pub(super) fresh: bool,
    /// Anything about the cell is other than last time.
    pub(super) changed: bool,
}

/// A window that can be painted.
pub(super) trait Screen {
    /// The window.
    fn window(&mut self) -> &mut Window;

    /// Pixels that can be painted now.
    fn size(&self, pump: &EventPump) -> Result<(u32, u32)>;

    /// Paints the cells that changed and shows them before it returns.
    fn paint(&mut self, pump: &EventPump, cells: &[Cell]) -> Result<()>;
}

/// Opens a window.
pub(super) fn open(video: &VideoSubsystem, title: &str, area: Rect) -> Result<Box<dyn Screen>, WindowBuildError> {
    let window = || {
        let mut builder = video.window(title, area.width(), area.height());
        builder.position(area.x(), area.y()).resizable().build()
    };
    if has_gpu(video)
        && let Ok(canvas) = window()?.into_canvas().accelerated().build()
    {
        return Ok(Box::new(Gpu::new(canvas)));
    }
    // Straight into the window's memory, not through an emulated OpenGL.
    sdl2::hint::set("SDL_FRAMEBUFFER_ACCELERATION", "0");
    Ok(Box::new(Plain::new(window()?)))
}

/// Whether drawing can be left to a graphics processor. Without one OpenGL is there too, emulated by the processor at
/// twenty times the cost of painting without it.
fn has_gpu(video: &VideoSubsystem) -> bool {
    match sdl2::hint::get("SDL_RENDER_DRIVER") {
        Some(driver) if !driver.is_empty() => driver != "software",
        _ if !cfg!(target_os = "linux") => video.current_video_driver() != "dummy",
        _ => ["/dev/dri/renderD128", "/dev/nvidia0", "/dev/mali0"].iter().any(|node| Path::new(node).exists()),
    }
}

/// The three planes of an I420 picture, each with its bytes a row.
fn planes(picture: &Picture) -> [(&[u8], u32); 3] {
    let half = picture.width().div_ceil(2);
    let (luma, chroma) = picture.data().split_at(picture.width() as usize * picture.height() as usize);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    [(luma, picture.width()), (u, half), (v, half)]
}
