//! The forms in which a hub has a stream, and which of them a viewer's link carries.

use crate::Micros;

/// A form of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Rendition {
    /// The frames as their publisher sent them.
    #[default]
    Source = 0,
    /// H.264 for links that carry less than the source.
    High = 1,
    /// H.264 for links that carry much less than those that take [`Rendition::High`].
    Low = 2,
    /// JPEGs, for who decodes nothing else.
    Jpeg = 3,
}

impl Rendition {
    /// Those that are coded in the hub.
    pub const CODED: [Self; 3] = [Self::High, Self::Low, Self::Jpeg];

    /// The word for it in the overlay, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::High => "high",
            Self::Low => "low",
            Self::Jpeg => "jpeg",
        }
    }

    /// The rendition of this number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Source, Self::High, Self::Low, Self::Jpeg].into_iter().find(|rendition| *rendition as u64 == number)
    }
}

/// A link must carry this many hundredths of the source to go on with it, and to begin with it.
const KEEP_SOURCE: u64 = 103;
const TO_SOURCE: u64 = 125;
/// One that carries this many hundredths of what the fastest link does shares its rendition, and goes on sharing it.
const TO_HIGH: u64 = 80;
const KEEP_HIGH: u64 = 60;
/// How long a link must fall short a little before its viewer moves down, in µs. Far short is at once.
const SHORT: Micros = 300_000;
/// How long a link must carry more before its viewer moves up, in µs: at first, and at most when that has failed before.
const PATIENCE: [Micros; 2] = [3_000_000, 48_000_000];

/// What there is for a viewer to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Bits a second that the source takes; `None` where the viewer cannot decode it.
    pub source: Option<u64>,
    /// Whether the viewer decodes H.264.
    pub h264: bool,
    /// Bits a second that the fastest link carries among those of H.264 renditions, this one included.
    pub fastest: u64,
}

/// Chooses a viewer's rendition by what its link carries: down at once, up carefully.
#[derive(Debug, Clone)]
pub struct Chooser {
    /// Since when its link falls short of what it takes, or carries more.
    short: Option<Micros>,
    roomy: Option<Micros>,
    patience: Micros,
    /// When it last moved up.
    moved: Micros,
}

impl Default for Chooser {
    fn default() -> Self {
        Self { short: None, roomy: None, patience: PATIENCE[0], moved: 0 }
    }
}

impl Chooser {
    /// What the viewer is to get that gets `taken` now, if its link carries `target` bits a second; `None` while that is not
    /// known.
    pub fn choose(&mut self, taken: Rendition, target: Option<u64>, offer: &Offer, now: Micros) -> Rendition {
        let best = fitting(taken, target, offer);
        let possible = match taken {
            Rendition::Source => offer.source.is_some(),
            Rendition::High | Rendition::Low => offer.h264,
            Rendition::Jpeg => !offer.h264,
        };
        if best == taken || !possible {
            (self.short, self.roomy) = (None, None);
            return best;
        }
        // A better form has a smaller number.
        if (best as u8) < taken as u8 { self.up(taken, best, now) } else { self.down(taken, best, target, offer, now) }
    }

    fn up(&mut self, taken: Rendition, best: Rendition, now: Micros) -> Rendition {
        self.short = None;
        if now.saturating_sub(*self.roomy.get_or_insert(now)) < self.patience {
            return taken;
        }
        self.roomy = None;
        self.moved = now;
        best
    }

    fn down(
        &mut self,
        taken: Rendition,
        best: Rendition,
        target: Option<u64>,
        offer: &Offer,
        now: Micros,
    ) -> Rendition {
        self.roomy = None;
        let far =
            taken == Rendition::Source && target.zip(offer.source).is_some_and(|(target, needs)| target < needs / 2);
        if !far && now.saturating_sub(*self.short.get_or_insert(now)) < SHORT {
            return taken;
        }
        self.short = None;
        // Who turns back soon was wrong, and waits for longer.
        let soon = self.moved != 0 && now.saturating_sub(self.moved) < 4 * self.patience;
        self.patience = if soon { (2 * self.patience).min(PATIENCE[1]) } else { PATIENCE[0] };
        best
    }
}

/// The best that the link carries.
fn fitting(taken: Rendition, target: Option<u64>, offer: &Offer) -> Rendition {
    let Some(target) = target else {
        return match (offer.source, offer.h264) {
            (Some(_), _) => Rendition::Source,
            (None, true) => Rendition::High,
            (None, false) => Rendition::Jpeg,
        };
    };
    let margin = if taken == Rendition::Source { KEEP_SOURCE } else { TO_SOURCE };
    if offer.source.is_some_and(|needs| target >= needs / 100 * margin) {
        return Rendition::Source;
    }
    if !offer.h264 {
        return Rendition::Jpeg;
    }
    let share = if taken == Rendition::Low { TO_HIGH } else { KEEP_HIGH };
    if target >= offer.fastest / 100 * share { Rendition::High } else { Rendition::Low }
}

/// Bits a second for a rendition that links of these budgets share: what the slowest carries, but not less than a third of
/// what the fastest does, so that one who claims next to nothing does not ruin it for the others. `None` where nothing is
/// known of any.
pub fn shared(targets: impl Iterator<Item = u64>) -> Option<u64> {
    let (slowest, fastest) = targets.fold((u64::MAX, 0), |(low, high), target| (low.min(target), high.max(target)));
    (fastest > 0).then(|| slowest.max(fastest / 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const MEGABIT: u64 = 1_000_000;
    /// JPEGs at 24 Mbit/s, and a viewer whose link is the only one that carries less.
    const OFFER: Offer = Offer { source: Some(24 * MEGABIT), h264: true, fastest: 0 };

    fn choose(chooser: &mut Chooser, taken: Rendition, megabits: u64, now: Micros) -> Rendition {
        let target = megabits * MEGABIT;
        chooser.choose(taken, Some(target), &Offer { fastest: target, ..OFFER }, now)
    }

    #[test]
    fn a_link_that_falls_far_gets_less_at_once_and_one_that_falls_short_soon() {
        let mut chooser = Chooser::default();
        assert_eq!(chooser.choose(Rendition::Source, None, &OFFER, SECOND), Rendition::Source, "nothing is known");
        assert_eq!(choose(&mut chooser, Rendition::Source, 30, SECOND), Rendition::Source);
        assert_eq!(choose(&mut chooser, Rendition::Source, 4, SECOND), Rendition::High);
        let mut chooser = Chooser::default();
        assert_eq!(choose(&mut chooser, Rendition::Source, 20, SECOND), Rendition::Source, "for a moment only");
        assert_eq!(choose(&mut chooser, Rendition::Source, 20, SECOND + SHORT), Rendition::High);
    }

    #[test]
    fn a_link_that_recovers_gets_the_source_after_a_while_and_waits_longer_when_that_was_wrong() {
        let mut chooser = Chooser::default();
        assert_eq!(choose(&mut chooser, Rendition::High, 60, SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 25, 2 * SECOND), Rendition::High, "not enough to begin with");
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 3 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 6 * SECOND), Rendition::Source);
        assert_eq!(choose(&mut chooser, Rendition::Source, 4, 7 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 8 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 12 * SECOND), Rendition::High);
        assert_eq!(choose(&mut chooser, Rendition::High, 60, 14 * SECOND), Rendition::Source);
    }

    #[test]
    fn slow_and_slower_links_part_and_who_decodes_jpegs_only_gets_those() {
        let offer = Offer { fastest: 8 * MEGABIT, ..OFFER };
        let mut chooser = Chooser::default();
        let slow = |chooser: &mut Chooser, taken, now| chooser.choose(taken, Some(2 * MEGABIT), &offer, now);
        assert_eq!(slow(&mut chooser, Rendition::High, SECOND), Rendition::High);
        assert_eq!(slow(&mut chooser, Rendition::High, SECOND + SHORT), Rendition::Low);
        assert_eq!(chooser.choose(Rendition::Low, Some(5 * MEGABIT), &offer, 9 * SECOND), Rendition::Low);
        let jpegs = Offer { source: None, h264: false, fastest: 0 };
        assert_eq!(chooser.choose(Rendition::Source, None, &jpegs, 9 * SECOND), Rendition::Jpeg);
        let jpegs = Offer { source: Some(24 * MEGABIT), ..jpegs };
        assert_eq!(chooser.choose(Rendition::Source, Some(2 * MEGABIT), &jpegs, 9 * SECOND), Rendition::Jpeg);
    }

    #[test]
    fn one_who_claims_next_to_nothing_does_not_ruin_it_for_the_others() {
        assert_eq!(shared([4 * MEGABIT, 3 * MEGABIT].into_iter()), Some(3 * MEGABIT));
        assert_eq!(shared([6 * MEGABIT, 50_000].into_iter()), Some(2 * MEGABIT));
        assert_eq!(shared(std::iter::empty()), None);
    }
}
