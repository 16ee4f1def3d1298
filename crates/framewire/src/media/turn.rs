//! Turning and mirroring pictures.

use framewire_proto::{Codec, Orientation};

use super::{
    picture::{Picture, planes, planes_mut},
    pool::Pool,
};
use crate::error::Result;

/// The side of the squares that a plane is turned in: their rows and columns stay in the processor's cache.
const SQUARE: usize = 32;

/// The picture, turned: the same one where it is upright.
///
/// # Errors
/// None for a picture of a valid size.
pub fn turn(picture: &Picture, orientation: Orientation, pool: &Pool) -> Result<Picture> {
    if orientation == Orientation::UPRIGHT {
        return Ok(picture.clone());
    }
    let size = (picture.width(), picture.height());
    let (width, height) = orientation.size(size);
    let mut out = pool.take(picture.data().len());
    if picture.codec() == Codec::Bgr24 {
        turn_plane::<3>(picture.data(), sides(size), &mut out, orientation);
    } else {
        let half = (size.0.div_ceil(2), size.1.div_ceil(2));
        let from = planes(picture.data(), size.0, size.1);
        for ((from, to), size) in from.into_iter().zip(planes_mut(&mut out, width, height)).zip([size, half, half]) {
            turn_plane::<1>(from, sides(size), to, orientation);
        }
    }
    Picture::new(picture.codec(), width, height, out.freeze())
}

fn sides((width, height): (u32, u32)) -> (usize, usize) {
    (width as usize, height as usize)
}

/// Turns a plane of this width and height, of `BYTES` a sample and without padding.
fn turn_plane<const BYTES: usize>(
    from: &[u8],
    (width, height): (usize, usize),
    to: &mut [u8],
    orientation: Orientation,
) {
    let (from, to) = (from.as_chunks::<BYTES>().0, to.as_chunks_mut::<BYTES>().0);
    let (columns, rows) = orientation.size((width, height));
    let walk = Walk::new(orientation, width, height);
    for (top, left) in
        (0..rows).step_by(SQUARE).flat_map(|top| (0..columns).step_by(SQUARE).map(move |left| (top, left)))
    {
        for row in top..rows.min(top + SQUARE) {
            let out = &mut to[row * columns + left..row * columns + columns.min(left + SQUARE)];
            let mut place = walk.place(left, row);
            for out in out {
                *out = from[place as usize];
                place += walk.right;
            }
        }
    }
}

/// Where the samples of a turned plane are in the plane that it is made from.
struct Walk {
    /// The place of the upper left sample.
    start: isize,
    /// How far it is to the place of the next sample to the right, and of the next one below.
    right: isize,
    down: isize,
}

impl Walk {
    fn new(orientation: Orientation, width: usize, height: usize) -> Self {
        let (width, height) = (width as isize, height as isize);
        // Where a step in the given plane goes says where a step in the turned one comes from.
        let [[a, b], [c, d]] = orientation.matrix().map(|step| step.map(|part| part as isize));
        let column = if a + b < 0 { width - 1 } else { 0 };
        let row = if c + d < 0 { height - 1 } else { 0 };
        Self { start: row * width + column, right: c * width + a, down: d * width + b }
    }

    fn place(&self, column: usize, row: usize) -> isize {
        self.start + self.right * column as isize + self.down * row as isize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_orientation_puts_every_pixel_in_its_place() {
        // a b
        // c d
        // e f
        let given = b"abcdef";
        for (number, expected) in
            (1..).zip([b"abcdef", b"badcfe", b"fedcba", b"efcdab", b"acebdf", b"ecafdb", b"fdbeca", b"bdface"])
        {
            let mut turned = [0; 6];
            turn_plane::<1>(given, (2, 3), &mut turned, Orientation::from_exif(number).unwrap());
            assert_eq!(turned, *expected, "{number}");
        }
    }

    #[test]
    fn both_layouts_are_turned_at_any_size() {
        for (width, height) in [(1, 1), (1, 5), (7, 2), (33, 65)] {
            for codec in [Codec::I420, Codec::Bgr24] {
                let length = codec.raw_length(width, height).unwrap();
                let data: Vec<u8> = (0..length).map(|place| (place * 7) as u8).collect();
                let picture = Picture::new(codec, width, height, data.into()).unwrap();
                let pool = Pool::default();
                for orientation in (1..=8).map(|number| Orientation::from_exif(number).unwrap()) {
                    let turned = turn(&picture, orientation, &pool).unwrap();
                    assert_eq!((turned.width(), turned.height()), orientation.size((width, height)));
                    let mut back = turned;
                    while back != picture {
                        // Each orientation leads back to itself after two or four times.
                        back = turn(&back, orientation, &pool).unwrap();
                        assert!(back.data().len() == length);
                    }
                }
            }
        }
    }
}
