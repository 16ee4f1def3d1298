//! Renditions: the versions of a stream that a hub offers, and the choice among them for each viewer.

use crate::{Micros, hysteresis::RaiseDelay};

/// A rendition of a stream. A smaller number is a better picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Rendition {
    /// The frames as the publisher sent them.
    #[default]
    Source = 0,
    /// H.264 for links that are too slow for the source.
    High = 1,
    /// H.264 for links that are much slower than those of [`Rendition::High`].
    Low = 2,
    /// JPEGs for viewers that decode nothing else.
    Jpeg = 3,
}

impl Rendition {
    /// The renditions that the hub makes by transcoding.
    pub const TRANSCODED: [Self; 3] = [Self::High, Self::Low, Self::Jpeg];

    /// Its name in the overlay, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::High => "high",
            Self::Low => "low",
            Self::Jpeg => "jpeg",
        }
    }

    /// The rendition with this number on the native wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Source, Self::High, Self::Low, Self::Jpeg].into_iter().find(|rendition| *rendition as u64 == number)
    }
}

/// A viewer keeps the source while its link carries this many percent of the source's bitrate: a little headroom.
const KEEP_SOURCE_PERCENT: u64 = 103;
/// A viewer returns to the source at this many percent. The gap to [`KEEP_SOURCE_PERCENT`] prevents switching back and forth.
const RETURN_TO_SOURCE_PERCENT: u64 = 125;
/// A viewer keeps [`Rendition::High`] while its link carries this many percent of the fastest link that shares H.264.
const KEEP_HIGH_PERCENT: u64 = 60;
/// A viewer returns from [`Rendition::Low`] to [`Rendition::High`] at this many percent of the fastest link.
const RETURN_TO_HIGH_PERCENT: u64 = 80;
/// How long a link must be too slow before its viewer moves down, in µs: shorter dips pass unnoticed. A link at less than half
/// of the source's bitrate moves at once.
const MOVE_DOWN_AFTER: Micros = 300_000;
/// How long a link must be fast enough before its viewer moves up, in µs. Moving up too early costs the viewer a queue of large
/// frames and a second switch.
const MOVE_UP_AFTER: Micros = 3_000_000;
/// The longest such wait, in µs, after repeated moves up that failed.
const MOVE_UP_AFTER_FAILURES: Micros = 48_000_000;

/// What a hub can offer to one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The source's bitrate in bits a second; `None` if the viewer cannot decode the source.
    pub source: Option<u64>,
    /// Whether the viewer decodes H.264.
    pub h264: bool,
    /// The target of the fastest link among the viewers of H.264 renditions and this viewer, in bits a second.
    pub fastest: u64,
}

/// Chooses one viewer's rendition by what its link carries: down fast, up carefully.
#[derive(Debug, Clone)]
pub struct Chooser {
    /// Since when the link has been too slow for the current rendition.
    too_slow_since: Option<Micros>,
    raise: RaiseDelay,
    /// When the viewer last moved up; 0: never.
    moved_up_at: Micros,
}

impl Default for Chooser {
    fn default() -> Self {
        let raise = RaiseDelay::new(MOVE_UP_AFTER, MOVE_UP_AFTER_FAILURES);
        Self { too_slow_since: None, raise, moved_up_at: 0 }
    }
}

impl Chooser {
    /// Returns the rendition for a viewer that gets `current` now. `target` is what its link carries, in bits a second; `None`
    /// while unknown.
    pub fn choose(&mut self, current: Rendition, target: Option<u64>, offer: &Offer, now: Micros) -> Rendition {
        let best = best_for(current, target, offer);
        let decodable = match current {
            Rendition::Source => offer.source.is_some(),
            Rendition::High | Rendition::Low => offer.h264,
            Rendition::Jpeg => !offer.h264,
        };
        if best == current || !decodable {
            self.too_slow_since = None;
            self.raise.interrupt();
            return best;
        }
        let up = (best as u8) < current as u8;
        let due = if up { self.may_move_up(now) } else { self.must_move_down(current, target, offer, now) };
        if due { best } else { current }
    }

    fn may_move_up(&mut self, now: Micros) -> bool {
        self.too_slow_since = None;
        let due = self.raise.is_due(now);
        if due {
            self.moved_up_at = now;
        }
        due
    }

    fn must_move_down(&mut self, current: Rendition, target: Option<u64>, offer: &Offer, now: Micros) -> bool {
        self.raise.interrupt();
        let far_too_slow =
            current == Rendition::Source && target.zip(offer.source).is_some_and(|(target, needs)| target < needs / 2);
        if !far_too_slow && now.saturating_sub(*self.too_slow_since.get_or_insert(now)) < MOVE_DOWN_AFTER {
            return false;
        }
        self.too_slow_since = None;
        // A viewer that moves down soon after it moved up has moved up too early.
        let too_early = self.moved_up_at != 0 && now.saturating_sub(self.moved_up_at) < 4 * self.raise.delay();
        if too_early {
            self.raise.lengthen();
        } else {
            self.raise.reset();
        }
        true
    }
}

/// The best rendition that the link carries.
fn best_for(current: Rendition, target: Option<u64>, offer: &Offer) -> Rendition {
    let Some(target) = target else {
        return match (offer.source, offer.h264) {
            (Some(_), _) => Rendition::Source,
            (None, true) => Rendition::High,
            (None, false) => Rendition::Jpeg,
        };
    };
    let percent = if current == Rendition::Source { KEEP_SOURCE_PERCENT } else { RETURN_TO_SOURCE_PERCENT };
    if offer.source.is_some_and(|needs| target >= needs / 100 * percent) {
        return Rendition::Source;
    }
    if !offer.h264 {
        return Rendition::Jpeg;
    }
    let percent = if current == Rendition::Low { RETURN_TO_HIGH_PERCENT } else { KEEP_HIGH_PERCENT };
    if target >= offer.fastest / 100 * percent { Rendition::High } else { Rendition::Low }
}

/// The bitrate of a rendition that links with these targets share, in bits a second: the slowest target, but at least a third
/// of the fastest. So a viewer that claims a link of almost zero does not spoil the picture for the others. `None` without
/// targets.
pub fn shared_target(targets: impl Iterator<Item = u64>) -> Option<u64> {
    let (slowest, fastest) = targets.fold((u64::MAX, 0), |(low, high), target| (low.min(target), high.max(target)));
    (fastest > 0).then(|| slowest.max(fastest / 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const MEGABIT: u64 = 1_000_000;
    /// A source of JPEGs at 24 Mbit/s, for the only viewer with a slow link.
    const OFFER: Offer = Offer { source: Some(24 * MEGABIT), h264: true, fastest: 0 };

    fn choose(chooser: &mut Chooser, current: Rendition, megabits: u64, now: Micros) -> Rendition {
        let target = megabits * MEGABIT;
        chooser.choose(current, Some(target), &Offer { fastest: target, ..OFFER }, now)
    }

    #[test]
    fn a_link_far_too_slow_moves_down_at_once_and_a_slightly_slow_one_after_a_moment() {
        let mut chooser = Chooser::default();
        assert_eq!(
            chooser.choose(Rendition::Source, None, &OFFER, SECOND),
            Rendition::Source,
            "the capacity is unknown"
        );
        assert_eq!(choose(&mut chooser, Rendition::Source, 30, SECOND), Rendition::Source);
        assert_eq!(choose(&mut chooser, Rendition::Source, 4, SECOND), Rendition::High);
        let mut chooser = Chooser::default();
        assert_eq!(choose(&mut chooser, Rendition::Source, 20, SECOND), Rendition::Source, "slow for a moment only");
        assert_eq!(choose(&mut chooser, Rendition::Source, 20, SECOND + MOVE_DOWN_AFTER), Rendition::High);
    }

    #[test]
    fn a_link_that_recovers_returns_to_the_source_and_waits_longer_after_a_failure() {
        let mut chooser = Chooser::default();
        assert_eq!(choose(&mut chooser, Rendition::High, 60, SECOND), Rendition::High);
        assert_eq!(
            choose(&mut chooser, Rendition::High, 25, 2 * SECOND),
            Rendition::High,
            "not enough to return to the source"
        );
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 3 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 6 * SECOND), Rendition::Source);
        assert_eq!(choose(&mut chooser, Rendition::Source, 4, 7 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 8 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 12 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 14 * SECOND), Rendition::Source);
    }

    #[test]
    fn much_slower_links_get_low_and_viewers_that_decode_only_jpeg_get_jpeg() {
        let offer = Offer { fastest: 8 * MEGABIT, ..OFFER };
        let mut chooser = Chooser::default();
        let slow = |chooser: &mut Chooser, current, now| chooser.choose(current, Some(2 * MEGABIT), &offer, now);
        assert_eq!(slow(&mut chooser, Rendition::High, SECOND), Rendition::High);
        assert_eq!(slow(&mut chooser, Rendition::High, SECOND + MOVE_DOWN_AFTER), Rendition::Low);
        assert_eq!(chooser.choose(Rendition::Low, Some(5 * MEGABIT), &offer, 9 * SECOND), Rendition::Low);
        let jpegs = Offer { source: None, h264: false, fastest: 0 };
        assert_eq!(chooser.choose(Rendition::Source, None, &jpegs, 9 * SECOND), Rendition::Jpeg);
        let jpegs = Offer { source: Some(24 * MEGABIT), ..jpegs };
        assert_eq!(chooser.choose(Rendition::Source, Some(2 * MEGABIT), &jpegs, 9 * SECOND), Rendition::Jpeg);
    }

    #[test]
    fn a_viewer_that_claims_almost_no_capacity_does_not_spoil_the_shared_bitrate() {
        assert_eq!(shared_target([4 * MEGABIT, 3 * MEGABIT].into_iter()), Some(3 * MEGABIT));
        assert_eq!(shared_target([6 * MEGABIT, 50_000].into_iter()), Some(2 * MEGABIT));
        assert_eq!(shared_target(std::iter::empty()), None);
    }
}
