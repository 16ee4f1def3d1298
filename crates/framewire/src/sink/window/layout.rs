//! The place of each picture in its window, and of each window on the display.

use sdl2::rect::Rect;

/// The distance between two possible places of a window, and the least part of a window that must be visible, in pixels.
const STEP: i32 = 32;

/// A part of the window in pixels, from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Area {
    /// An area of this size in the upper left corner.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// The largest area with a picture's aspect ratio in the middle of this one: at least a pixel, and never outside.
    pub(super) fn letterbox(self, width: u32, height: u32) -> Self {
        let (outer_width, outer_height) = (u64::from(self.width), u64::from(self.height));
        let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
        let (inner_width, inner_height) = if outer_width * height <= outer_height * width {
            (outer_width, rounded(outer_width * height, width).clamp(1, outer_height.max(1)))
        } else {
            (rounded(outer_height * width, height).clamp(1, outer_width.max(1)), outer_height)
        };
        self.middle(inner_width as u32, inner_height as u32)
    }

    /// An area of this size, cut to this one, in the middle of this one.
    pub(super) fn middle(self, width: u32, height: u32) -> Self {
        let (width, height) = (width.min(self.width), height.min(self.height));
        Self { x: self.x + (self.width - width) / 2, y: self.y + (self.height - height) / 2, width, height }
    }

    /// The part of this area inside a window of this size.
    pub(super) fn within(self, width: u32, height: u32) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        Self { x, y, width: self.width.min(width - x), height: self.height.min(height - y) }
    }

    pub(super) fn empty(self) -> bool {
        self.width == 0 || self.height == 0
    }
}

/// Cells for this many pictures, row by row: a nearly square grid without gaps. The cells of the last row fill its width.
pub(super) fn grid(count: usize, width: u32, height: u32) -> Vec<Area> {
    let columns = columns(count);
    let rows = count.div_ceil(columns.max(1));
    let mut cells = Vec::with_capacity(count);
    for row in 0..rows {
        let (top, bottom) = (share(height, row, rows), share(height, row + 1, rows));
        let in_row = columns.min(count - row * columns);
        for column in 0..in_row {
            let (left, right) = (share(width, column, in_row), share(width, column + 1, in_row));
            cells.push(Area { x: left, y: top, width: right - left, height: bottom - top });
        }
    }
    cells
}

/// The size of a window that shows pictures of this size unscaled, or as large as fits on the display.
pub(super) fn window_size(count: usize, picture: (u32, u32), display: (u32, u32)) -> (u32, u32) {
    let columns = columns(count) as u32;
    let rows = (count as u32).div_ceil(columns.max(1));
    let (width, height) = (picture.0.saturating_mul(columns), picture.1.saturating_mul(rows));
    if width <= display.0 && height <= display.1 {
        return (width.max(1), height.max(1));
    }
    let fitted = Area::new(display.0, display.1).letterbox(width, height);
    (fitted.width, fitted.height)
}

/// The place of a window of this size on the display: the middle, or the nearest place on the diagonal through it where no window
/// hides another, if there is one. A window manager may decide otherwise.
pub(super) fn place(size: (u32, u32), others: &[Rect], display: Rect) -> Rect {
    let middle = Rect::from_center(display.center(), size.0, size.1);
    let hides = |one: Rect, other: Rect| {
        let (width, height) = (one.width() + STEP as u32, one.height() + STEP as u32);
        Rect::new(one.x() - STEP / 2, one.y() - STEP / 2, width, height).contains_rect(other)
    };
    let free = |place: &Rect| !others.iter().any(|other| hides(*place, *other) || hides(*other, *place));
    let moved = |steps| Rect::new(middle.x() + steps * STEP, middle.y() + steps * STEP, size.0, size.1);
    let most = display.width().max(display.height()) as i32 / 2 / STEP;
    let mut whole =
        (0..most).flat_map(|steps| [moved(steps), moved(-steps)]).filter(|place| display.contains_rect(*place));
    // A window that reaches beyond the display is still visible if its corner is not at the edge.
    let mut cut = (0..most).map(moved).filter(|place| display.contains_point(place.top_left().offset(STEP, STEP)));
    whole.find(free).or_else(|| cut.find(free)).unwrap_or(middle)
}

fn columns(count: usize) -> usize {
    (1..=count).find(|columns| columns * columns >= count).unwrap_or(0)
}

fn share(length: u32, part: usize, parts: usize) -> u32 {
    (u64::from(length) * part as u64 / parts as u64) as u32
}

fn rounded(dividend: u64, divisor: u64) -> u64 {
    (dividend + divisor / 2) / divisor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_picture_keeps_its_aspect_ratio_with_bars_beside_it() {
        let wide = Area::new(1000, 360).letterbox(1280, 720);
        assert_eq!(wide, Area { x: 180, y: 0, width: 640, height: 360 });
        let high = Area { x: 10, y: 20, width: 640, height: 1000 }.letterbox(1280, 720);
        assert_eq!(high, Area { x: 10, y: 340, width: 640, height: 360 });
        assert_eq!(Area::new(1280, 720).letterbox(1280, 720), Area::new(1280, 720));
    }

    #[test]
    fn three_pictures_make_two_rows_and_the_last_fills_its_row() {
        let cells = grid(3, 1280, 721);
        assert_eq!(cells[0], Area { x: 0, y: 0, width: 640, height: 360 });
        assert_eq!(cells[1], Area { x: 640, y: 0, width: 640, height: 360 });
        assert_eq!(cells[2], Area { x: 0, y: 360, width: 1280, height: 361 });
        assert_eq!(grid(1, 64, 48), [Area::new(64, 48)]);
        assert!(grid(0, 64, 48).is_empty());
    }

    #[test]
    fn a_window_gets_the_pictures_size_if_it_fits_on_the_display() {
        assert_eq!(window_size(1, (1280, 720), (1920, 1080)), (1280, 720));
        assert_eq!(window_size(1, (3840, 2160), (1920, 1000)), (1778, 1000));
        assert_eq!(window_size(4, (640, 480), (1920, 1080)), (1280, 960));
        assert_eq!(window_size(2, (1280, 720), (1920, 1080)), (1920, 540));
    }

    #[test]
    fn windows_are_near_the_middle_of_the_display_and_none_hides_another() {
        let display = Rect::new(0, 0, 1280, 800);
        let mut places = vec![];
        for (width, height) in [(640, 480); 3].into_iter().chain([(320, 240), (800, 600), (1280, 800)]) {
            places.push(place((width, height), &places, display));
        }
        let corners: Vec<(i32, i32)> = places.iter().map(|place| (place.x(), place.y())).collect();
        assert_eq!(corners[..3], [(320, 160), (352, 192), (288, 128)]);
        for place in &places {
            let hidden = places.iter().filter(|other| place.contains_rect(**other)).count();
            assert!(hidden == 1 && display.contains_point(place.top_left()), "{place:?} of {places:?}");
        }
        let everywhere: Vec<Rect> = (-40..40).map(|step| Rect::new(16 * step, 16 * step, 1280, 800)).collect();
        assert_eq!(place((1280, 800), &everywhere, display), display, "no place is free");
    }

    proptest! {
        /// For all sizes the picture lies inside, touches two sides, and its aspect ratio is right to a pixel.
        #[test]
        fn a_letterboxed_picture_fits(width in 1..4000u32, height in 1..4000u32, w in 1..8192u32, h in 1..8192u32) {
            let inner = Area::new(width, height).letterbox(w, h);
            prop_assert!(inner.x + inner.width <= width && inner.y + inner.height <= height && !inner.empty());
            prop_assert!(inner.width == width || inner.height == height);
            let error = f64::from(inner.width) * f64::from(h) - f64::from(inner.height) * f64::from(w);
            prop_assert!(error.abs() <= f64::from(w.max(h)), "{inner:?}");
        }

        /// Together the cells have the area of the window, and none is outside.
        #[test]
        fn a_grid_fills_the_window(count in 1..40usize, width in 64..4000u32, height in 64..4000u32) {
            let cells = grid(count, width, height);
            prop_assert_eq!(cells.len(), count);
            let area: u64 = cells.iter().map(|cell| u64::from(cell.width) * u64::from(cell.height)).sum();
            prop_assert_eq!(area, u64::from(width) * u64::from(height));
            prop_assert!(cells.iter().all(|cell| cell.within(width, height) == *cell));
        }
    }
}
