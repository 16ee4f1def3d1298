//! The rate, width and quality that an address asks for, as in `?fps=5&width=640&quality=60`.

use std::time::Duration;

use framewire_proto::limits::SIDE;

/// The most and the fewest pictures a second that can be asked for.
const FPS: [f64; 2] = [0.01, 240.0];
/// The longest that a snapshot can be asked to wait, in seconds.
const LONGEST_WAIT: f64 = 10.0;
/// The narrowest picture that can be asked for, in pixels.
const NARROWEST: u32 = 16;

/// What a picture or a stream of pictures is to be, where that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Wanted {
    /// The time from one picture to the next, at least.
    pub(super) interval: Option<Duration>,
    /// In pixels, at most; the height keeps the picture's shape.
    pub(super) width: Option<u32>,
    /// JPEG quality, 1 to 100.
    pub(super) quality: Option<u8>,
    /// How long a snapshot waits after the first picture; otherwise, until a camera that was asleep has settled.
    pub(super) wait: Option<Duration>,
}

impl Wanted {
    /// What a query asks for. Names that it does not know are ignored: programs add one so that no cache answers.
    ///
    /// # Errors
    /// A value is none; a sentence that says what it can be.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "fps" => wanted.interval = Some(interval(&value)?),
                "width" => wanted.width = Some(whole(&name, &value, NARROWEST, SIDE)?),
                "wait" => wanted.wait = Some(wait(&value)?),
                "quality" => wanted.quality = Some(whole(&name, &value, 1, 100)? as u8),
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Whether pictures have to be encoded again for it.
    pub(super) fn reencodes(&self) -> bool {
        self.width.is_some() || self.quality.is_some()
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fps = self.interval.map(|interval| format!("fps={}", (100.0 / interval.as_secs_f64()).round() / 100.0));
        let width = self.width.map(|width| format!("width={width}"));
        let quality = self.quality.map(|quality| format!("quality={quality}"));
        out.write_str(&[fps, width, quality].into_iter().flatten().collect::<Vec<_>>().join("&"))
    }
}

fn interval(value: &str) -> Result<Duration, String> {
    let [fewest, most] = FPS;
    let fps = value.parse().ok().filter(|fps| (fewest..=most).contains(fps));
    fps.map(|fps: f64| Duration::from_secs_f64(1.0 / fps))
        .ok_or_else(|| format!("fps={value}: expected pictures a second, {fewest} to {most}"))
}

fn wait(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().filter(|seconds| (0.0..=LONGEST_WAIT).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("wait={value}: expected seconds, 0 to {LONGEST_WAIT}"))
}

fn whole(name: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{name}={value}: expected a whole number, {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_asks_for_rate_width_and_quality() {
        let wanted = Wanted::parse("1595805826022&fps=5&x=%zz&width=640&quality=60&_=a").unwrap();
        let expected =
            Wanted { interval: Some(Duration::from_millis(200)), width: Some(640), quality: Some(60), wait: None };
        assert_eq!((wanted, wanted.to_string().as_str()), (expected, "fps=5&width=640&quality=60"));
        assert!(wanted.reencodes());
        let slow = Wanted::parse("fps=0.5").unwrap();
        assert_eq!((slow.interval, slow.reencodes()), (Some(Duration::from_secs(2)), false));
        for plain in ["", "1595805826022", "cb=1&&=&x"] {
            assert_eq!(Wanted::parse(plain), Ok(Wanted::default()), "{plain}");
        }
    }

    #[test]
    fn a_value_out_of_bounds_is_named() {
        for wrong in [
            "fps=0",
            "fps=-1",
            "fps=inf",
            "fps=NaN",
            "fps=",
            "width=15",
            "width=8193",
            "width=6.4",
            "quality=0",
            "quality=101",
        ] {
            let refusal = Wanted::parse(wrong).unwrap_err();
            assert!(refusal.starts_with(&format!("{wrong}: expected ")), "{refusal}");
        }
    }
}
