//! Paints pictures and labels: on the graphics processor where there is one, else on the processor.

mod cell;
mod gpu;
mod software;

use std::path::Path;

use sdl2::{VideoSubsystem, rect::Rect, video::WindowBuildError};

use gpu::GpuPainter;
use software::SoftwarePainter;

pub(super) use cell::{Cell, Painter, PlacedLabel};

/// Opens a window.
pub(super) fn open(video: &VideoSubsystem, title: &str, area: Rect) -> Result<Box<dyn Painter>, WindowBuildError> {
    let window = || {
        let mut builder = video.window(title, area.width(), area.height());
        builder.position(area.x(), area.y()).resizable().build()
    };
    if has_gpu(video)
        && let Ok(canvas) = window()?.into_canvas().accelerated().build()
    {
        return Ok(Box::new(GpuPainter::new(canvas)));
    }
    // SDL must give access to the window's own memory, not emulate OpenGL.
    sdl2::hint::set("SDL_FRAMEBUFFER_ACCELERATION", "0");
    Ok(Box::new(SoftwarePainter::new(window()?)))
}

/// Whether this machine has a graphics processor. Without one OpenGL exists too, but the processor emulates it, at twenty times
/// the cost of painting directly.
fn has_gpu(video: &VideoSubsystem) -> bool {
    match sdl2::hint::get("SDL_RENDER_DRIVER") {
        Some(driver) if !driver.is_empty() => driver != "software",
        _ if !cfg!(target_os = "linux") => video.current_video_driver() != "dummy",
        _ => ["/dev/dri/renderD128", "/dev/nvidia0", "/dev/mali0"].iter().any(|node| Path::new(node).exists()),
    }
}
