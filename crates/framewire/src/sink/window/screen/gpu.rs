//! Painting by the graphics processor: pictures go up as they are, it converts, scales and blends.
#![allow(unsafe_code, reason = "SDL's choice of colours for YUV, which its crate lacks")]

use sdl2::{
    EventPump,
    pixels::{Color, PixelFormatEnum},
    rect::Rect,
    render::{BlendMode, ScaleMode, Texture, TextureCreator, WindowCanvas},
    video::{Window, WindowContext},
};
use self_cell::self_cell;

use super::{Area, Cell, Label, Placed, Screen, planes};
use crate::error::{Result, error};
use crate::media::Picture;

/// A window painted by the graphics processor.
pub(super) struct Gpu {
    textures: Textures,
    canvas: WindowCanvas,
}

self_cell!(
    /// Textures borrow from what created them: here they live together, so that a window can come and go as it likes.
    struct Textures {
        owner: TextureCreator<WindowContext>,
        #[not_covariant]
        dependent: Cells,
    }
);

type Cells<'a> = Vec<Kept<'a>>;

/// What the graphics processor keeps of a cell.
#[derive(Default)]
struct Kept<'a> {
    picture: Option<Texture<'a>>,
    labels: Vec<(Label, Texture<'a>)>,
}

impl Gpu {
    pub(super) fn new(canvas: WindowCanvas) -> Self {
        // SAFETY: it sets a number in SDL that is read when a texture is painted, by this thread.
        unsafe { sdl2::sys::SDL_SetYUVConversionMode(sdl2::sys::SDL_YUV_CONVERSION_MODE::SDL_YUV_CONVERSION_JPEG) };
        Self { textures: Textures::new(canvas.texture_creator(), |_| Cells::new()), canvas }
    }
}

impl Screen for Gpu {
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
        textures.with_dependent_mut(|textures, kept| {
            kept.resize_with(cells.len(), Kept::default);
            for (cell, kept) in cells.iter().zip(kept) {
                if let Err(error) = kept.update(textures, cell).and_then(|()| kept.draw(canvas, cell)) {
                    tracing::warn!("a picture could not be painted: {error}");
                }
            }
        });
        canvas.present();
        Ok(())
    }
}

impl<'a> Kept<'a> {
    fn update(&mut self, textures: &'a TextureCreator<WindowContext>, cell: &Cell) -> Result<()> {
        if let Some(picture) = cell.picture
            && (cell.fresh || self.picture.is_none())
        {
            upload(&mut self.picture, textures, picture)?;
        }
        let same = self.labels.iter().map(|(label, _)| label).eq(cell.labels.iter().map(|placed| &placed.label));
        if !same {
            self.labels.clear();
            for Placed { label, .. } in cell.labels {
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

/// Brings a picture into its texture, made anew where the size is another.
fn upload<'a>(
    kept: &mut Option<Texture<'a>>,
    textures: &'a TextureCreator<WindowContext>,
    picture: &Picture,
) -> Result<()> {
    let [(luma, stride), (u, u_stride), (v, v_stride)] = planes(picture);
    let fits =
        |texture: &Texture| (texture.query().width, texture.query().height) == (picture.width(), picture.height());
    if !kept.as_ref().is_some_and(fits) {
        let mut texture =
            textures.create_texture_streaming(PixelFormatEnum::IYUV, picture.width(), picture.height())?;
        texture.set_scale_mode(ScaleMode::Linear);
        *kept = Some(texture);
    }
    if let Some(texture) = kept {
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
