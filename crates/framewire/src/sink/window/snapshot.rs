//! A picture on the window becomes a file.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use framewire_proto::{Codec, Name};

use super::player::Ready;
use crate::error::{Context as _, Result, bail};
use crate::media::jpeg;

/// The quality of pictures that were no JPEG.
const QUALITY: u8 = 90;
/// Pictures of one name and second at most.
const MOST: u32 = 100;

/// Writes the picture as a JPEG into the current directory, as it came where it came as one. Never overwrites. Returns
/// the file's name: `framewire-NAME-20260131T235959Z.jpg`.
pub(super) fn save(name: &str, ready: &Ready, now: SystemTime) -> Result<PathBuf> {
    let data = coded(ready)?;
    // A colon may stand in a stream's name, but not in a file's name everywhere.
    let name = Name::from_lossy(name).as_str().replace(':', "-");
    let stem = format!("framewire-{name}-{}", date(now));
    for number in 1..=MOST {
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
    bail!(Busy, "there are {MOST} pictures of this second already")
}

fn coded(ready: &Ready) -> Result<Bytes> {
    if ready.config.codec == Codec::Jpeg {
        return Ok(ready.frame.data.clone());
    }
    jpeg::JpegEncoder::new(QUALITY).encode(&ready.picture)
}

/// Date and time in UTC, as ISO 8601 has them without marks.
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
    fn dates_are_those_of_the_calendar() {
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
