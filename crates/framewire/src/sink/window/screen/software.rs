//! Painting on the processor, directly into the window's memory: five times cheaper than SDL's software renderer, which copies
//! each picture three times.

use framewire_proto::Codec;
use sdl2::{EventPump, pixels::PixelFormatEnum, rect::Rect, surface::Surface, video::Window};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use super::cell::{Cell, Painter, planes};
use crate::error::{Context as _, Error, OrError as _, Result, error};
use crate::media::{Picture, scale::Scaler};
use crate::sink::window::{label::Label, layout::Area};

/// A window that the processor paints.
pub(super) struct SoftwarePainter {
    window: Window,
    scaler: Scaler,
    /// A buffer between, where the window's memory has another pixel format.
    backing: Option<Surface<'static>>,
}

impl SoftwarePainter {
    pub(super) fn new(window: Window) -> Self {
        Self { window, scaler: Scaler::new(), backing: None }
    }
}

impl Painter for SoftwarePainter {
    fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    fn size(&self, pump: &EventPump) -> Result<(u32, u32)> {
        let surface =
            self.window.surface(pump).map_err(|error| error!(System, "{error}")).context("the window has no memory")?;
        Ok(surface.size())
    }

    fn paint(&mut self, pump: &EventPump, cells: &[Cell]) -> Result<()> {
        let changed: Vec<&Cell> = cells.iter().filter(|cell| cell.changed && !cell.area.empty()).collect();
        let mut surface = self.window.surface(pump).map_err(|error| error!(System, "{error}"))?;
        let (width, height) = surface.size();
        if matches!(surface.pixel_format_enum(), PixelFormatEnum::RGB888 | PixelFormatEnum::ARGB8888) {
            let pitch = surface.pitch();
            surface.with_lock_mut(|pixels| {
                let mut canvas = PixelBuffer { pixels, pitch, width, height, scaler: &mut self.scaler };
                canvas.cells(&changed);
            });
        } else {
            if self.backing.as_ref().is_none_or(|backing| backing.size() != (width, height)) {
                let backing = Surface::new(width, height, PixelFormatEnum::RGB888);
                self.backing = Some(backing.map_err(|error| error!(System, "{error}"))?);
            }
            if let Some(backing) = &mut self.backing {
                let pitch = backing.pitch();
                backing.with_lock_mut(|pixels| {
                    let mut canvas = PixelBuffer { pixels, pitch, width, height, scaler: &mut self.scaler };
                    canvas.cells(&changed);
                });
                backing.blit(None, &mut surface, None).map_err(|error| error!(System, "{error}"))?;
            }
        }
        let areas: Vec<Rect> = changed.iter().map(|cell| rect(cell.area.within(width, height))).collect();
        surface
            .update_window_rects(&areas)
            .map_err(|error| error!(System, "{error}"))
            .context("cannot show the picture")
    }
}

/// Pixels of blue, green, red and an unused byte.
struct PixelBuffer<'a> {
    pixels: &'a mut [u8],
    pitch: u32,
    width: u32,
    height: u32,
    scaler: &'a mut Scaler,
}

impl PixelBuffer<'_> {
    fn cells(&mut self, cells: &[&Cell]) {
        for cell in cells {
            self.cell(cell);
        }
    }

    fn cell(&mut self, cell: &Cell) {
        let area = cell.area.within(self.width, self.height);
        let inner = cell.picture.map_or(Area::default(), |picture| area.letterbox(picture.width(), picture.height()));
        self.clear_around(area, inner);
        if let Some(picture) = cell.picture
            && !inner.empty()
        {
            if let Err(error) = self.picture(picture, inner) {
                tracing::warn!("a picture could not be painted: {error}");
            }
            if cell.dimmed {
                self.rows(inner, darken);
            }
        }
        for placed in cell.labels {
            self.label(&placed.label, placed.area);
        }
    }

    /// Blackens the bars around a picture.
    fn clear_around(&mut self, outer: Area, inner: Area) {
        if inner.empty() {
            return self.rows(outer, |row| row.fill(0));
        }
        let (below, right) = (inner.y + inner.height, inner.x + inner.width);
        let bars = [
            Area { height: inner.y - outer.y, ..outer },
            Area { y: below, height: outer.y + outer.height - below, ..outer },
            Area { y: inner.y, height: inner.height, width: inner.x - outer.x, ..outer },
            Area { x: right, y: inner.y, width: outer.x + outer.width - right, height: inner.height },
        ];
        for bar in bars {
            self.rows(bar, |row| row.fill(0));
        }
    }

    fn picture(&mut self, picture: &Picture, area: Area) -> Result<()> {
        if (picture.width(), picture.height()) != (area.width, area.height) {
            let scaled = self.scaler.scale(picture, (area.width, area.height), Codec::I420)?;
            return self.convert(&scaled, area);
        }
        self.convert(picture, area)
    }

    fn convert(&mut self, picture: &Picture, area: Area) -> Result<()> {
        let [(y_plane, y_stride), (u_plane, u_stride), (v_plane, v_stride)] = planes(picture);
        let (width, height) = (picture.width(), picture.height());
        let image = YuvPlanarImage { y_plane, y_stride, u_plane, u_stride, v_plane, v_stride, width, height };
        let start = self.start(area.x, area.y);
        let pixels = self.pixels.get_mut(start..).or_error(Error::System, || "the picture is outside the window")?;
        Ok(yuv420_to_bgra(&image, pixels, self.pitch, YuvRange::Full, YuvStandardMatrix::Bt601)?)
    }

    fn label(&mut self, label: &Label, area: Area) {
        let mut lights = label.light.chunks_exact(label.width.max(1) as usize);
        self.rows(area, |row| {
            for (pixel, light) in row.chunks_exact_mut(4).zip(lights.next().unwrap_or_default()) {
                // From a quarter of the brightness below to white.
                for part in pixel {
                    *part = (*part >> 2).max(*light);
                }
            }
        });
    }

    fn rows(&mut self, area: Area, mut change: impl FnMut(&mut [u8])) {
        let area = area.within(self.width, self.height);
        for y in area.y..area.y + area.height {
            let start = self.start(area.x, y);
            if let Some(row) = self.pixels.get_mut(start..start + 4 * area.width as usize) {
                change(row);
            }
        }
    }

    fn start(&self, x: u32, y: u32) -> usize {
        y as usize * self.pitch as usize + 4 * x as usize
    }
}

/// Halves the brightness of pixels.
fn darken(pixels: &mut [u8]) {
    for part in pixels {
        *part >>= 1;
    }
}

fn rect(area: Area) -> Rect {
    Rect::new(area.x as i32, area.y as i32, area.width, area.height)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::cell::PlacedLabel, *};

    #[test]
    fn colours_are_right_and_bars_are_black() {
        let (mut pixels, mut scaler) = (vec![9_u8; 8 * 4 * 4], Scaler::new());
        // Pure red in full-range BT.601: Y 76, Cb 85, Cr 255.
        let data: Vec<u8> = [vec![76; 16], vec![85; 4], vec![255; 4]].concat();
        let picture = Picture::new(Codec::I420, 4, 4, Bytes::from(data)).unwrap();
        let mut canvas = PixelBuffer { pixels: &mut pixels, pitch: 32, width: 8, height: 4, scaler: &mut scaler };
        let area = Area::new(8, 4);
        let cell = Cell { area, picture: Some(&picture), dimmed: false, labels: &[], fresh: true, changed: true };
        canvas.cell(&cell);
        for row in pixels.chunks_exact(32) {
            assert!(row[..8].iter().chain(&row[24..]).all(|byte| *byte == 0), "{row:?}");
            for pixel in row[8..24].chunks_exact(4) {
                assert!(pixel[0] <= 1 && pixel[1] <= 1 && pixel[2] >= 254, "{pixel:?}");
            }
        }
    }

    #[test]
    fn a_stalled_picture_is_dimmed_and_letters_are_white_on_a_dark_plate() {
        let (mut pixels, mut scaler) = (vec![9_u8; 8 * 4 * 4], Scaler::new());
        let data = [vec![200; 32], vec![128; 16]].concat();
        let picture = Picture::new(Codec::I420, 8, 4, Bytes::from(data)).unwrap();
        let mut canvas = PixelBuffer { pixels: &mut pixels, pitch: 32, width: 8, height: 4, scaler: &mut scaler };
        let label = Label { width: 2, height: 1, light: vec![0, 255] };
        let labels = [PlacedLabel { label, area: Area { x: 3, y: 2, width: 2, height: 1 } }];
        let area = Area::new(8, 4);
        canvas.cell(&Cell {
            area,
            picture: Some(&picture),
            dimmed: true,
            labels: &labels,
            fresh: false,
            changed: true,
        });
        let blue = |x: usize, y: usize| pixels[32 * y + 4 * x];
        assert_eq!([blue(0, 0), blue(3, 2), blue(4, 2), blue(5, 2)], [100, 25, 255, 100]);
    }
}
