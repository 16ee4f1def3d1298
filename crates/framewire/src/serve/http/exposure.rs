//! When the picture of a camera that was just opened is worth a snapshot: its exposure begins in the dark, or too bright.

use framewire_proto::Micros;

/// Brightness is looked at this often, in µs.
const INTERVAL: Micros = 100_000;
/// It is steady when it changes by less than this from look to look, of 255.
const STEADY: f64 = 4.0;
/// It has settled when it was steady this many times in a row.
const LOOKS: u32 = 3;
/// It is not waited for any longer, in µs from the first picture on.
pub(super) const LONGEST: Micros = 1_500_000;

/// Follows the brightness of a camera's pictures.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    /// When the first picture came, and the last one that was looked at.
    first: Option<Micros>,
    looked: Micros,
    brightness: f64,
    steady: u32,
}

impl Exposure {
    /// Whether a picture that comes now is to be looked at.
    pub(super) fn is_due(&self, now: Micros) -> bool {
        self.first.is_none() || now >= self.looked + INTERVAL
    }

    /// Takes the mean brightness of a picture, 0 to 255.
    pub(super) fn look(&mut self, brightness: f64, now: Micros) {
        if self.first.is_none() {
            self.first = Some(now);
        } else if (brightness - self.brightness).abs() < STEADY {
            self.steady += 1;
        } else {
            self.steady = 0;
        }
        (self.looked, self.brightness) = (now, brightness);
    }

    /// Whether the brightness has settled.
    pub(super) fn has_settled(&self) -> bool {
        self.steady >= LOOKS
    }

    /// How long it is still waited for, in µs.
    pub(super) fn left(&self, now: Micros) -> Micros {
        self.first.map_or(LONGEST, |first| (first + LONGEST).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a camera of 30 frames per second with this brightness after so many ms has settled, in ms.
    fn settled(brightness: impl Fn(f64) -> f64) -> Option<Micros> {
        let (mut exposure, begin) = (Exposure::default(), 5_000_000);
        (0..).map(|number| number * 33_333).take_while(|since| *since <= LONGEST).find_map(|since| {
            if exposure.is_due(begin + since) {
                exposure.look(brightness(since as f64 / 1000.0), begin + since);
            }
            assert_eq!(exposure.left(begin + since), LONGEST - since);
            exposure.has_settled().then_some(since / 1000)
        })
    }

    #[test]
    fn a_picture_is_taken_once_the_brightness_is_steady() {
        assert_eq!(settled(|_| 120.0), Some(399));
        let fading = settled(|time| (time * 0.2).min(130.0)).unwrap();
        assert!((900..1_200).contains(&fading), "{fading}");
        assert_eq!(settled(|time| if time % 0.4 < 0.2 { 20.0 } else { 90.0 }), None);
    }
}
