//! Every bound on what a peer may announce, in one place.

/// What is refused beyond, before any memory is taken for it. [`Limits::default`] is what the hub and every client use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one coded frame.
    pub frame: usize,
    /// Bytes of one picture that comes as plain pixels from a tutorial's camera, which nobody could have coded.
    pub raw: usize,
    /// Bytes of a text: an error's sentence, a program's name.
    pub text: usize,
    /// Bytes of a codec's out-of-band configuration.
    pub extra: usize,
    /// Bytes of a message whose kind is not known, which is skipped.
    pub unknown: usize,
}

/// Bytes of a stream's name in UTF-8.
pub const NAME: usize = 64;
/// Pixels on one side of a picture.
pub const SIDE: u32 = 8192;
/// Pixels of a whole picture.
pub const PIXELS: u64 = 40_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self { frame: 8 << 20, raw: 3 * PIXELS as usize, text: 1 << 10, extra: 16 << 10, unknown: 64 << 10 }
    }
}

/// Whether a picture of this size may be decoded.
///
/// # Errors
/// A sentence that names the size and the bound it breaks.
pub fn check_size(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("a picture of {width}x{height} has no pixels"));
    }
    if width > SIDE || height > SIDE || u64::from(width) * u64::from(height) > PIXELS {
        let million = PIXELS / 1_000_000;
        return Err(format!(
            "a picture of {width}x{height} is over the limit of {SIDE} a side and {million} million pixels"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded_by_side_and_area() {
        assert!(check_size(8192, 4880).is_ok());
        assert!(check_size(8192, 8192).unwrap_err().contains("40 million"));
        assert!(check_size(8193, 1).is_err());
        assert!(check_size(0, 10).is_err());
    }
}
