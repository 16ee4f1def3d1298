//! How a coded picture becomes the one that is shown: turned, and with square pixels.

use crate::limits;

/// What a viewer does with a decoded picture before it shows it. The default is to show it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Presentation {
    /// Scaled first, so that its pixels are square.
    pub pixel_aspect: PixelAspect,
    /// Then turned.
    pub orientation: Orientation,
}

impl Presentation {
    /// The picture is shown as it is.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// The size in which a coded picture of this size is shown.
    pub fn size(self, coded: (u32, u32)) -> (u32, u32) {
        self.orientation.size(self.pixel_aspect.square_size(coded))
    }
}

/// The shape of a picture's pixels: how wide one is for how high it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelAspect {
    width: u8,
    height: u8,
}

impl Default for PixelAspect {
    fn default() -> Self {
        Self::SQUARE
    }
}

impl PixelAspect {
    /// As wide as high.
    pub const SQUARE: Self = Self { width: 1, height: 1 };
    /// Wider or higher pixels by more than this are a damaged header.
    const LARGEST: u64 = 16;

    /// Less than one part in this is not seen, and scaling would only blur.
    const UNSEEN: u64 = 100;

    /// The nearest shape with numbers of 8 bits; square where that is hardly seen, and where the numbers make no sense.
    pub fn new(width: u64, height: u64) -> Self {
        if width == 0 || height == 0 || width / height >= Self::LARGEST || height / width >= Self::LARGEST {
            return Self::SQUARE;
        }
        if width.abs_diff(height) < width / Self::UNSEEN {
            return Self::SQUARE;
        }
        let divisor = greatest_common_divisor(width, height);
        let (width, height) = (width / divisor, height / divisor);
        let larger = width.max(height);
        let fit = |side: u64| {
            if larger <= 255 {
                side
            } else {
                ((u128::from(side) * 255 + u128::from(larger) / 2) / u128::from(larger)) as u64
            }
        };
        let (width, height) = (fit(width), fit(height));
        let divisor = greatest_common_divisor(width, height);
        Self { width: (width / divisor) as u8, height: (height / divisor) as u8 }
    }

    /// Width and height of a pixel, in lowest terms.
    pub fn parts(self) -> (u8, u8) {
        (self.width, self.height)
    }

    /// The size of a picture with square pixels. The side that is too short grows, so no detail is lost; unless the picture
    /// would be over [`limits::check_size`].
    pub fn square_size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let (across, down) = (u32::from(self.width), u32::from(self.height));
        // H.264 needs even sizes.
        let grow = |side: u32, by: u32, from: u32| {
            (u64::from(side) * u64::from(by))
                .div_ceil(2 * u64::from(from))
                .saturating_mul(2)
                .try_into()
                .unwrap_or(u32::MAX)
        };
        let square = match across.cmp(&down) {
            std::cmp::Ordering::Equal => (width, height),
            std::cmp::Ordering::Greater => (grow(width, across, down), height),
            std::cmp::Ordering::Less => (width, grow(height, down, across)),
        };
        if limits::check_size(square.0, square.1).is_ok() { square } else { (width, height) }
    }
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one.max(1)
}

/// How a coded picture must be mirrored and turned to be upright. The default is upright already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Orientation {
    /// Mirror left to right, before turning.
    mirrored: bool,
    /// Turn clockwise by so many quarters, 0 to 3.
    quarters: u8,
}

impl Orientation {
    /// The picture is shown as it is.
    pub const UPRIGHT: Self = Self { mirrored: false, quarters: 0 };
    /// Mirrored left to right.
    pub const MIRRORED: Self = Self { mirrored: true, quarters: 0 };

    /// Turned clockwise by this many quarters.
    pub const fn turned(quarters: u8) -> Self {
        Self { mirrored: false, quarters: quarters % 4 }
    }

    /// The orientation that EXIF gives this number, 1 to 8 (CIPA DC-008, tag 0x0112).
    pub fn from_exif(number: u16) -> Option<Self> {
        let (mirrored, quarters) = match number {
            1 => (false, 0),
            2 => (true, 0),
            3 => (false, 2),
            4 => (true, 2),
            5 => (true, 3),
            6 => (false, 1),
            7 => (true, 1),
            8 => (false, 3),
            _ => return None,
        };
        Some(Self { mirrored, quarters })
    }

    /// Its number in EXIF, 1 to 8.
    pub fn exif(self) -> u8 {
        match (self.mirrored, self.quarters) {
            (false, 0) => 1,
            (true, 0) => 2,
            (false, 2) => 3,
            (true, 2) => 4,
            (true, 3) => 5,
            (false, 1) => 6,
            (true, _) => 7,
            (false, _) => 8,
        }
    }

    /// The nearest orientation of a container's display matrix: where it moves a step to the right, and a step down. Each is the
    /// way to the right and the way down of the result, in any unit.
    pub fn from_matrix(right: [i32; 2], down: [i32; 2]) -> Self {
        let [[a, b], [c, d]] = [right, down].map(|step| step.map(i64::from));
        let mirrored = a * d < b * c;
        let (across, along) = if mirrored { (-a, -b) } else { (a, b) };
        let quarters = match (across.abs() >= along.abs(), across < 0, along < 0) {
            (true, false, _) => 0,
            (true, true, _) => 2,
            (false, _, false) => 1,
            (false, _, true) => 3,
        };
        Self { mirrored, quarters }
    }

    /// Where a step to the right and a step down go, as [`Orientation::from_matrix`] takes them; in units of 1.
    pub fn matrix(self) -> [[i32; 2]; 2] {
        let turn = |[right, down]: [i32; 2]| match self.quarters {
            0 => [right, down],
            1 => [-down, right],
            2 => [-right, -down],
            _ => [down, -right],
        };
        [turn([if self.mirrored { -1 } else { 1 }, 0]), turn([0, 1])]
    }

    /// This orientation first, and `next` on the result.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        // Mirroring reverses the direction of a turn that came before.
        let before = if next.mirrored { 4 - self.quarters } else { self.quarters };
        Self { mirrored: self.mirrored != next.mirrored, quarters: (before + next.quarters) % 4 }
    }

    /// Whether the picture is mirrored left to right before it is turned.
    pub fn is_mirrored(self) -> bool {
        self.mirrored
    }

    /// By how many quarters the picture is turned clockwise, 0 to 3.
    pub fn quarters(self) -> u8 {
        self.quarters
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.quarters % 2 == 1
    }

    /// The size of an upright picture, of a coded one of this size.
    pub fn size<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Orientation> {
        (1..=8).map(|number| Orientation::from_exif(number).unwrap())
    }

    /// Where a step goes.
    fn moved(orientation: Orientation, [right, down]: [i32; 2]) -> [i32; 2] {
        let [a, b] = orientation.matrix();
        [a[0] * right + b[0] * down, a[1] * right + b[1] * down]
    }

    #[test]
    fn pixels_become_square_by_growth() {
        for (shape, coded, shown) in [
            ((64, 45), (720, 576), (1024, 576)),
            ((128, 90), (720, 576), (1024, 576)),
            ((8, 9), (720, 480), (720, 540)),
            ((4, 3), (1440, 1080), (1920, 1080)),
            ((1, 1), (641, 481), (641, 481)),
            ((0, 1), (64, 48), (64, 48)),
            ((1, 1000), (64, 48), (64, 48)),
            ((2, 1), (8000, 100), (8000, 100)),
            ((399, 400), (640, 480), (640, 480)),
            ((98, 100), (640, 480), (640, 490)),
        ] {
            let aspect = PixelAspect::new(shape.0, shape.1);
            assert_eq!(aspect.square_size(coded), shown, "{shape:?}");
        }
        assert_eq!(PixelAspect::new(1000, 1001).parts(), (1, 1));
        assert_eq!(PixelAspect::new(u64::MAX, u64::MAX - 1), PixelAspect::SQUARE);
        let turned = Presentation { pixel_aspect: PixelAspect::new(16, 11), orientation: Orientation::turned(3) };
        assert_eq!(turned.size((352, 288)), (288, 512));
    }

    #[test]
    fn numbers_and_matrices_lead_back_to_their_orientation() {
        for (number, orientation) in (1..).zip(all()) {
            assert_eq!(u16::from(orientation.exif()), number);
            let [right, down] = orientation.matrix();
            assert_eq!(Orientation::from_matrix(right, down), orientation, "{number}");
        }
        assert_eq!([0, 9, u16::MAX].map(Orientation::from_exif), [None; 3]);
        assert_eq!(all().next(), Some(Orientation::default()));
    }

    #[test]
    fn a_telephone_held_upright_is_turned_clockwise() {
        // The matrix that an iPhone writes, in units of 1/65536; and one that is a degree off.
        for right in [[0, 65_536], [1143, 65_526]] {
            let orientation = Orientation::from_matrix(right, [-65_536, 0]);
            assert_eq!((orientation, orientation.exif()), (Orientation::turned(1), 6));
        }
        assert_eq!(Orientation::turned(1).size((1920, 1080)), (1080, 1920));
        assert_eq!(Orientation::from_matrix([i32::MIN; 2], [i32::MIN; 2]).quarters(), 2);
    }

    #[test]
    fn one_orientation_after_another_moves_as_both_do() {
        for (first, next) in all().flat_map(|first| all().map(move |next| (first, next))) {
            for step in [[1, 0], [0, 1]] {
                assert_eq!(moved(first.then(next), step), moved(next, moved(first, step)), "{first:?}, {next:?}");
            }
        }
    }
}
