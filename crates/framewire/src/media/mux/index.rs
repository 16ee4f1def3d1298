//! The index of a fragmented MP4, in room that is left for it at the file's start: while a file grows it needs none to play, and a
//! finished one tells its duration and where to seek, without a second pass over its frames (ISO/IEC 14496-12).

/// The most places to seek to that fit the room. A long recording has fewer a minute.
const MOST: usize = 1024;
/// Bytes of a `sidx` box without its references, and of one reference.
const SIDX: usize = 40;
const REFERENCE: usize = 12;
/// Bytes of the box that tells a fragmented film's duration.
const MEHD: usize = 20;
/// Bytes of a box's length and name.
const HEADER: usize = 8;
/// A reference whose first frame is a keyframe that needs none before it.
const STARTS_WITH_KEYFRAME: u32 = 0x9000_0000;

/// A fragment that begins with a keyframe.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    /// When it is displayed, in ticks.
    time: u64,
}

/// Notes where fragments begin.
#[derive(Debug)]
pub(super) struct Index {
    /// The file up to the room.
    head: Vec<u8>,
    /// Of the track's time stamps, per second.
    ticks: u32,
    places: Vec<Place>,
    /// Only each so-many-th place is noted.
    every: u64,
    seen: u64,
    /// Where the fragment begins that is being collected.
    fragment: Option<u64>,
    /// When the last frame ends, in ticks.
    end: u64,
}

impl Index {
    /// For a file that begins with these bytes: its `ftyp` and `moov` boxes.
    pub(super) fn new(head: Vec<u8>, ticks: u32) -> Self {
        Self { head, ticks, places: Vec::new(), every: 1, seen: 0, fragment: None, end: 0 }
    }

    /// What is written behind the head, before any fragment.
    pub(super) fn room() -> Vec<u8> {
        free(SIDX + REFERENCE * MOST + MEHD + HEADER)
    }

    /// A frame was written, and what was written before it now ends at `position`: where that has moved, the frame begins the
    /// fragment there.
    pub(super) fn note(&mut self, position: u64, keyframe: bool, shown: i64, duration: i64) {
        let [shown, end] = [shown, shown.saturating_add(duration)].map(|time| u64::try_from(time).unwrap_or(0));
        self.end = self.end.max(end);
        if self.fragment.replace(position) == Some(position) || !keyframe {
            return;
        }
        if self.seen.is_multiple_of(self.every) {
            if self.places.len() == MOST {
                let mut place = 0;
                self.places.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.places.push(Place { at: position, time: shown });
            }
        }
        self.seen += 1;
    }

    /// The head and the room with durations and index, once the last fragment has ended at this position. `None` where the file
    /// is of another kind than expected, or too large for an index.
    pub(super) fn finished(&self, media_end: u64) -> Option<Vec<u8>> {
        let first = self.places.first()?;
        let size = usize::try_from(first.at).ok()?;
        let mut file = Vec::with_capacity(size);
        let mut rest = &self.head[..];
        while !rest.is_empty() {
            let (name, whole) = next_box(&mut rest)?;
            match name {
                b"moov" => self.movie(whole, &mut file)?,
                _ => file.extend_from_slice(whole),
            }
        }
        let left = size.checked_sub(file.len())?.checked_sub(SIDX + REFERENCE * self.places.len())?;
        (left >= HEADER).then_some(())?;
        self.segments(media_end, left as u64, &mut file)?;
        file.extend(free(left));
        Some(file)
    }

    /// The `moov` box with the film's duration.
    fn movie(&self, moov: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let begin = out.len();
        open(out, *b"moov");
        let mut rest = &moov[HEADER..];
        let mut duration = None;
        while !rest.is_empty() {
            let (name, whole) = next_box(&mut rest)?;
            let at = out.len();
            out.extend_from_slice(whole);
            match name {
                // Version 0: times of creation and change, ticks a second, duration, 32 bits each.
                b"mvhd" if whole.get(HEADER) == Some(&0) => {
                    let ticks = u32::from_be_bytes(whole.get(20..24)?.try_into().ok()?);
                    let length =
                        u64::try_from(u128::from(self.end) * u128::from(ticks) / u128::from(self.ticks)).ok()?;
                    out.get_mut(at + 24..at + 28)?
                        .copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
                    duration = Some(length);
                }
                b"mvex" => {
                    out.truncate(at);
                    open(out, *b"mvex");
                    let mehd = out.len();
                    open(out, *b"mehd");
                    // Version 1: 64 bits.
                    out.extend([1, 0, 0, 0]);
                    out.extend(duration?.to_be_bytes());
                    close(out, mehd)?;
                    out.extend_from_slice(&whole[HEADER..]);
                    close(out, at)?;
                }
                _ => {}
            }
        }
        close(out, begin)
    }

    /// The `sidx` box, which is followed by so many bytes before the first fragment.
    fn segments(&self, media_end: u64, gap: u64, out: &mut Vec<u8>) -> Option<()> {
        let begin = out.len();
        open(out, *b"sidx");
        // Version 1: 64 bits. The track's number is 1.
        out.extend([1, 0, 0, 0, 0, 0, 0, 1]);
        out.extend(self.ticks.to_be_bytes());
        out.extend(self.places.first()?.time.to_be_bytes());
        out.extend(gap.to_be_bytes());
        out.extend([0, 0]);
        out.extend(u16::try_from(self.places.len()).ok()?.to_be_bytes());
        let end = Place { at: media_end, time: self.end };
        for (place, next) in self.places.iter().zip(self.places.iter().skip(1).chain([&end])) {
            let size = u32::try_from(next.at.checked_sub(place.at)?).ok().filter(|size| *size < 1 << 31)?;
            let duration = u32::try_from(next.time.checked_sub(place.time)?).ok()?;
            for number in [size, duration, STARTS_WITH_KEYFRAME] {
                out.extend(number.to_be_bytes());
            }
        }
        close(out, begin)
    }
}

/// Takes the next box: its name, and all its bytes.
fn next_box<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8; 4], &'a [u8])> {
    let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let (whole, behind) = rest.split_at_checked(length).filter(|_| length >= HEADER)?;
    *rest = behind;
    Some((whole[4..HEADER].try_into().ok()?, whole))
}

/// Begins a box, whose length is set when it is closed.
fn open(out: &mut Vec<u8>, name: [u8; 4]) {
    out.extend([0; 4]);
    out.extend(name);
}

fn close(out: &mut [u8], begin: usize) -> Option<()> {
    let length = u32::try_from(out.len() - begin).ok()?;
    out.get_mut(begin..begin + 4)?.copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// A box of this length that means nothing.
fn free(length: usize) -> Vec<u8> {
    let mut free = vec![0; length];
    free[..4].copy_from_slice(&(length as u32).to_be_bytes());
    free[4..HEADER].copy_from_slice(b"free");
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: [u8; 4], inside: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        open(&mut out, name);
        out.extend(inside);
        close(&mut out, 0).unwrap();
        out
    }

    fn head() -> Vec<u8> {
        let mvhd = boxed(*b"mvhd", &[&[0; 12][..], &1000_u32.to_be_bytes(), &[0; 80]].concat());
        let moov =
            boxed(*b"moov", &[mvhd, boxed(*b"trak", b"track"), boxed(*b"mvex", &boxed(*b"trex", b"any"))].concat());
        [boxed(*b"ftyp", b"isom"), moov].concat()
    }

    fn index() -> (Index, u64) {
        let start = head().len() + Index::room().len();
        (Index::new(head(), 90_000), start as u64)
    }

    fn numbers(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks_exact(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect()
    }

    #[test]
    fn places_to_seek_to_begin_with_a_keyframe() {
        let (mut index, start) = index();
        // Fragments of a second at 0, 100, 200 and 300; the third begins between keyframes.
        for (frame, (offset, keyframe)) in
            [(0, true), (0, false), (100, true), (200, false), (200, true), (300, true)].into_iter().enumerate()
        {
            index.note(start + offset, keyframe, frame as i64 * 45_000, 45_000);
        }
        let finished = index.finished(start + 400).unwrap();
        assert_eq!(finished.len() as u64, start);
        let sidx = finished.windows(4).position(|four| four == b"sidx").unwrap() - 4;
        let fields = numbers(&finished[sidx..][..SIDX + 3 * REFERENCE]);
        let gap = (finished.len() - sidx - SIDX - 3 * REFERENCE) as u32;
        assert_eq!(
            fields[2..],
            [
                1 << 24,
                1,
                90_000,
                0,
                0,
                0,
                gap,
                3,
                100,
                90_000,
                STARTS_WITH_KEYFRAME,
                200,
                135_000,
                STARTS_WITH_KEYFRAME,
                100,
                45_000,
                STARTS_WITH_KEYFRAME,
            ]
        );
        let mehd = finished.windows(4).position(|four| four == b"mehd").unwrap();
        assert_eq!(numbers(&finished[mehd + 4..][..12]), [1 << 24, 0, 3000]);
        let mvhd = finished.windows(4).position(|four| four == b"mvhd").unwrap();
        assert_eq!(numbers(&finished[mvhd + 4..][..20]), [0, 0, 0, 1000, 3000]);
        let mut rest = &finished[..];
        let names: Vec<_> = std::iter::from_fn(|| next_box(&mut rest).map(|(name, _)| *name)).collect();
        assert_eq!(names, [*b"ftyp", *b"moov", *b"sidx", *b"free"]);
    }

    #[test]
    fn a_long_recording_has_no_more_places_than_fit() {
        let (mut index, start) = index();
        for second in 0..100_000 {
            index.note(start + 1000 * second, true, 90_000 * second as i64, 90_000);
        }
        assert!((MOST / 2..=MOST).contains(&index.places.len()), "{}", index.places.len());
        let steps: Vec<_> = index.places.windows(2).map(|pair| pair[1].time - pair[0].time).collect();
        assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
        assert_eq!(index.finished(start + 100_000_000).unwrap().len() as u64, start);
    }

    #[test]
    fn what_cannot_be_indexed_stays_as_it_is() {
        let (mut index, start) = index();
        assert!(index.finished(start).is_none(), "no frame");
        index.note(start, true, 0, 1);
        assert!(index.finished(start + (1 << 31)).is_none(), "a fragment of two gigabytes");
        assert!(index.finished(start + 9).is_some());
        for broken in [vec![0; 9], head()[..head().len() - 1].to_vec(), boxed(*b"moov", &boxed(*b"mvex", b""))] {
            let mut index = Index::new(broken, 90_000);
            index.note(start, true, 0, 1);
            assert!(index.finished(start + 9).is_none());
        }
    }
}
