//! Painting on the graphics processor: pictures are uploaded as I420, and it converts, scales and blends them.
#![allow(unsafe_code, reason = "SDL's choice of colours for YUV, which its crate lacks")]

use sdl2::{
    EventPump,
    pixels::{Color, PixelFormatEnum},
    rect::Rect,
    render::{BlendMode, ScaleMode, Texture, TextureCreator, WindowCanvas},
    video::{Window, WindowContext},
};
use self_cell::self_cell;

use super::cell::{Cell, Painter, PlacedLabel, planes};
use crate::error::{Result, error};
use crate::media::Picture;
use crate::sink::window::{label::Label, layout::Area};

/// A window that the graphics processor paints.
pub(super) struct GpuPainter {
    textures: Textures,
    canvas: WindowCanvas,
}

self_cell!(
    /// Textures borrow from their creator. Both live here together, so that a window can be dropped at any time.
    struct Textures {
        owner: TextureCreator<WindowContext>,
        #[not_covariant]
        dependent: Cells,
    }
);

type Cells<'a> = Vec<CellTextures<'a>>;

/// The textures of a cell.
#[derive(Default)]
struct CellTextures<'a> {
    picture: Option<Texture<'a>>,
    labels: Vec<(Label, Texture<'a>)>,
}

impl GpuPainter {
    pub(super) fn new(canvas: WindowCanvas) -> Self {
        // SAFETY: sets a number in SDL. Only this thread reads it, when it paints a texture.
        unsafe { sdl2::sys::SDL_SetYUVConversionMode(sdl2::sys::SDL_YUV_CONVERSION_MODE::SDL_YUV_CONVERSION_JPEG) };
        Self { textures: Textures::new(canvas.texture_creator(), |_| Cells::new()), canvas }
    }
}

impl Painter for GpuPainter {
    fn window(&mut self) -> &mut Window {
        self.canvas.window_mut()
    }

    fn size(&self, _: &EventPump) -> Result<(u32, u32)> {
        self.canvas.output_size().map_err(|error| error!(System, "{error}"))
    }

    fn paint(&mut self, _: &EventPump, cells: &[Cell]) -> Result<()> {
        let Self { textures, canvas } = self;
        canvas.set_draw_color(Color::BLACK);
        canvas.clear();
        textures.with_dependent_mut(|textures, stored| {
            stored.resize_with(cells.len(), CellTextures::default);
            for (cell, stored) in cells.iter().zip(stored) {
                if let Err(error) = stored.update(textures, cell).and_then(|()| stored.draw(canvas, cell)) {
                    tracing::warn!("a picture could not be painted: {error}");
                }
            }
        });
        canvas.present();
        Ok(())
    }
}

impl<'a> CellTextures<'a> {
    fn update(&mut self, textures: &'a TextureCreator<WindowContext>, cell: &Cell) -> Result<()> {
        if let Some(picture) = cell.picture
            && (cell.fresh || self.picture.is_none())
        {
            upload(&mut self.picture, textures, picture)?;
        }
        let same = self.labels.iter().map(|(label, _)| label).eq(cell.labels.iter().map(|placed| &placed.label));
        if !same {
            self.labels.clear();
            for PlacedLabel { label, .. } in cell.labels {
                self.labels.push((label.clone(), plate(textures, label)?));
            }
        }
        Ok(())
    }

    fn draw(&mut self, canvas: &mut WindowCanvas, cell: &Cell) -> Result<()> {
        if let (Some(picture), Some(texture)) = (cell.picture, &mut self.picture) {
            let light = if cell.dimmed { 128 } else { 255 };
            texture.set_color_mod(light, light, light);
            let area = cell.area.letterbox(picture.width(), picture.height());
            canvas.copy(texture, None, rect(area)).map_err(|error| error!(System, "{error}"))?;
        }
        for ((_, texture), placed) in self.labels.iter().zip(cell.labels) {
            canvas.copy(texture, None, rect(placed.area)).map_err(|error| error!(System, "{error}"))?;
        }
        Ok(())
    }
}

/// Uploads a picture into its texture. For another size a new texture is created.
fn upload<'a>(
    stored: &mut Option<Texture<'a>>,
    textures: &'a TextureCreator<WindowContext>,
    picture: &Picture,
) -> Result<()> {
    let [(luma, stride), (u, u_stride), (v, v_stride)] = planes(picture);
    let fits =
        |texture: &Texture| (texture.query().width, texture.query().height) == (picture.width(), picture.height());
    if !stored.as_ref().is_some_and(fits) {
        let mut texture =
            textures.create_texture_streaming(PixelFormatEnum::IYUV, picture.width(), picture.height())?;
        texture.set_scale_mode(ScaleMode::Linear);
        *stored = Some(texture);
    }
    if let Some(texture) = stored {
        texture.update_yuv(None, luma, stride as usize, u, u_stride as usize, v, v_stride as usize)?;
    }
    Ok(())
}

/// A label's texture: white letters on a dark, half-transparent plate.
fn plate<'a>(textures: &'a TextureCreator<WindowContext>, label: &Label) -> Result<Texture<'a>> {
    let mut texture = textures.create_texture_static(PixelFormatEnum::RGBA32, label.width, label.height)?;
    let pixels: Vec<u8> = label.light.iter().flat_map(|light| [*light, *light, *light, (*light).max(192)]).collect();
    texture.update(None, &pixels, 4 * label.width as usize)?;
    texture.set_blend_mode(BlendMode::Blend);
    Ok(texture)
}

fn rect(area: Area) -> Rect {
    Rect::new(area.x as i32, area.y as i32, area.width, area.height)
}
