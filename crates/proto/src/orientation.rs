//! How a picture is turned before it is shown.

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
