//! Saves the picture in a window to a file.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use framewire_proto::{Codec, Name};

use super::player::DecodedPicture;
use crate::error::{Context as _, Result, bail};
use crate::media::jpeg::JpegEncoder;

/// The JPEG quality of pictures that did not arrive as JPEG.
const QUALITY: u8 = 90;
/// The most snapshots of a stream in one second.
const MAX_PER_SECOND: u32 = 100;

/// Saves the picture as a JPEG in the current directory; a JPEG of the stream is saved unchanged. Never overwrites a file.
/// Returns the file's name: `framewire-NAME-20260131T235959Z.jpg`.
pub(super) fn save(name: &str, picture: &DecodedPicture, now: SystemTime) -> Result<PathBuf> {
    let data = jpeg_data(picture)?;
    // Stream names may contain colons, but file names may not on every system.
    let name = Name::from_lossy(name).as_str().replace(':', "-");
    let stem = format!("framewire-{name}-{}", date(now));
    for number in 1..=MAX_PER_SECOND {
        let path = PathBuf::from(if number == 1 { format!("{stem}.jpg") } else { format!("{stem}-{number}.jpg") });
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(&data);
                written.with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
    bail!(Busy, "there are already {MAX_PER_SECOND} snapshots of this second")
}

fn jpeg_data(picture: &DecodedPicture) -> Result<Bytes> {
    if picture.config.codec == Codec::Jpeg {
        return Ok(picture.frame.data.clone());
    }
    JpegEncoder::new(QUALITY).encode(&picture.picture)
}

/// Date and time in UTC, in the basic format of ISO 8601.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
