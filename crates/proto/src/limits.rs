//! Every bound on what a peer may announce, in one place.

/// Bounds on received data. A larger announcement is refused before memory is reserved for it. [`Limits::default`] is used by
/// the hub and by every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one encoded frame.
    pub frame: usize,
    /// Bytes of one uncompressed picture from a tutorial's camera.
    pub raw: usize,
    /// Bytes of a text: an error's sentence, a program's name.
    pub text: usize,
    /// Bytes of a codec's out-of-band configuration.
    pub extra: usize,
    /// Bytes of a message of an unknown kind, which is skipped.
    pub unknown: usize,
}

/// The largest that [`Limits::frame`] may be, in bytes. What is longer is passed over up to this length, and a wrong length beyond.
/// No text is the length of such a frame: a space, the lowest character in one, would make it twice as long.
pub const LARGEST_FRAME: usize = 256 << 20;
/// Bytes of a stream's name in UTF-8.
pub const NAME: usize = 64;
/// Pixels on one side of a picture.
pub const SIDE: u32 = 8192;
/// Pixels of a whole picture.
pub const PIXELS: u64 = 40_000_000;

impl Limits {
    /// The default limits, but for frames, which may have so many bytes: [`LARGEST_FRAME`] at most.
    #[must_use]
    pub fn with_frame(frame: usize) -> Self {
        Self { frame: frame.min(LARGEST_FRAME), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame: 8 << 20, raw: 3 * PIXELS as usize, text: 1 << 10, extra: 16 << 10, unknown: 64 << 10 }
    }
}

/// Checks whether a picture of this size may be decoded.
///
/// # Errors
/// A sentence with the size and the limit.
pub fn check_size(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("a picture of {width}x{height} has no pixels"));
    }
    if width > SIDE || height > SIDE || u64::from(width) * u64::from(height) > PIXELS {
        let million = PIXELS / 1_000_000;
        return Err(format!(
            "a picture of {width}x{height} is over the limit of {SIDE} pixels a side and {million} million in all"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pictures_sides_and_area_are_bounded() {
        assert!(check_size(8192, 4880).is_ok());
        assert!(check_size(8192, 8192).unwrap_err().contains("40 million"));
        assert!(check_size(8193, 1).is_err());
        assert!(check_size(0, 10).is_err());
    }
}
