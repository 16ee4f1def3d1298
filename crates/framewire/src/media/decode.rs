//! Frames as they travel become pictures.

use std::{collections::VecDeque, mem};

use ffmpeg_the_third::ffi;
use framewire_proto::{Codec, Config, Frame, Micros};

use super::{
    Picture, Pool,
    av::{self, Decoded, Threads},
    colour, jpeg,
    scale::Importer,
};
use crate::error::{Context as _, Result, ensure};

/// Decodes frames of any codec, one after another: push one, then pull until there is none.
#[derive(Default)]
pub struct Decoder {
    jpeg: jpeg::Decoder,
    h264: Option<H264>,
    pool: Pool,
    ready: VecDeque<(Frame, Picture)>,
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a frame, to make its picture as [`Codec::I420`] or [`Codec::Bgr24`], or none where it only matters to the decoding
    /// of those after it. Where frames depend on each other they must
    /// come in the order of decoding, after a gap from a keyframe on; their pictures come in the order in which they are to be
    /// shown, perhaps later. None comes of what cannot be whole: before the first keyframe, and after a broken frame until the
    /// next.
    ///
    /// # Errors
    /// The frame is broken, or its picture over the limit. The next one may be good.
    pub fn push(&mut self, config: &Config, frame: &Frame, want: Option<Codec>) -> Result<()> {
        if config.codec == Codec::H264 {
            return self.push_h264(config, frame, want);
        }
        let Some(want) = want else { return Ok(()) };
        let (width, height) = (config.width.into(), config.height.into());
        let picture = if config.codec == Codec::Jpeg {
            self.jpeg.decode(&frame.data, want)?
        } else {
            let picture = Picture::new(config.codec, width, height, frame.data.clone())?;
            colour::convert(&picture, want, &self.pool)?
        };
        self.ready.push_back((frame.clone(), picture));
        Ok(())
    }

    fn push_h264(&mut self, config: &Config, frame: &Frame, want: Option<Codec>) -> Result<()> {
        if self.h264.as_ref().is_none_or(|open| open.config != *config) {
            self.end();
            self.h264 = Some(H264::new(config)?);
        }
        let Some(open) = &mut self.h264 else { return Ok(()) };
        let outcome = open.push(frame, want);
        self.convert()?;
        outcome
    }

    /// No more will come for now: what was held back is to be pulled. Decoding goes on at a keyframe.
    pub fn end(&mut self) {
        let Some(open) = &mut self.h264 else { return };
        // What cannot be decoded is lost to whoever waits no more.
        let _ = open.drain().and_then(|()| self.convert());
    }

    /// The next picture, and the frame that it was made of.
    pub fn pull(&mut self) -> Option<(Frame, Picture)> {
        self.ready.pop_front()
    }

    /// The newest picture that there is once this frame was taken, and the frame that it was made of; see [`Decoder::push`].
    ///
    /// # Errors
    /// As for [`Decoder::push`].
    pub fn decode(&mut self, config: &Config, frame: &Frame, want: Codec) -> Result<Option<(Frame, Picture)>> {
        self.push(config, frame, Some(want))?;
        Ok(self.ready.drain(..).next_back())
    }

    fn convert(&mut self) -> Result<()> {
        let made = self.h264.as_mut().map(|open| mem::take(&mut open.made)).unwrap_or_default();
        for (frame, picture, want) in made {
            self.ready.push_back((frame, colour::convert(&picture, want, &self.pool)?));
        }
        Ok(())
    }
}

/// Frames whose pictures a decoder may hold back: more than any stream has (ITU-T H.264, section A.3.1: 16).
const HELD: usize = 32;

/// FFmpeg's decoder of H.264 in Annex B form.
struct H264 {
    config: Config,
    decoder: av::Decoder,
    packet: av::Packet,
    import: Importer,
    /// The number of the last frame; `None` where nothing can be decoded before a keyframe.
    last: Option<u64>,
    /// When the keyframe that decoding began with was captured: what is shown before it needs what was not decoded.
    began: Micros,
    /// Frames whose pictures have not come yet, by what their packets were called, and what is wanted of them.
    held: VecDeque<(i64, Frame, Option<Codec>)>,
    named: i64,
    made: Vec<(Frame, Picture, Codec)>,
}

impl H264 {
    fn new(config: &Config) -> Result<Self> {
        let decoder = av::Decoder::open(ffi::AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
        Ok(Self {
            config: config.clone(),
            decoder,
            packet: av::Packet::new(),
            import: Importer::default(),
            last: None,
            began: 0,
            held: VecDeque::new(),
            named: 0,
            made: Vec::new(),
        })
    }

    fn push(&mut self, frame: &Frame, want: Option<Codec>) -> Result<()> {
        let next = self.last.is_some_and(|last| last.wrapping_add(1) == frame.sequence);
        if frame.keyframe && !next {
            self.begin(frame);
        } else if self.last.is_none() {
            return Ok(());
        }
        let outcome = self.decode(frame, want).with_context(|| format!("H.264 frame {}", frame.sequence));
        // What follows a frame that is not whole is not whole either.
        self.last = outcome.is_ok().then_some(frame.sequence);
        outcome
    }

    /// Begins anew at a keyframe, in case that what follows it still looks back to what was not decoded.
    fn begin(&mut self, frame: &Frame) {
        // A broken frame was told of when it came.
        let _ = self.drain();
        self.began = frame.times.captured;
    }

    fn decode(&mut self, frame: &Frame, want: Option<Codec>) -> Result<()> {
        if self.last.is_none() && !self.config.extra.is_empty() {
            // Parameter sets out of band stand before the first frame.
            let whole = [&self.config.extra[..], &frame.data].concat();
            self.packet.fill(&whole)?;
        } else {
            self.packet.fill(&frame.data)?;
        }
        self.named += 1;
        self.packet.set_pts(self.named);
        if self.held.len() == HELD {
            self.held.pop_front();
        }
        self.held.push_back((self.named, frame.clone(), want));
        self.decoder.send(Some(&self.packet))?;
        self.receive()
    }

    fn receive(&mut self) -> Result<()> {
        while let Decoded::Frame(picture) = self.decoder.receive()? {
            let named = picture.fields().pts;
            let Some(place) = self.held.iter().position(|(name, ..)| *name == named) else { continue };
            let Some((_, frame, want)) = self.held.remove(place) else { continue };
            if (1..self.began).contains(&frame.times.captured) {
                continue;
            }
            // With B-frames this is known too late for those that need it and are shown before it.
            ensure!(!picture.torn(), InvalidData, "it needs a frame that is broken or missing");
            if let Some(want) = want {
                self.made.push((frame, self.import.import(picture, false)?, want));
            }
        }
        Ok(())
    }

    /// Has the decoder give what it holds back, and forget the rest.
    fn drain(&mut self) -> Result<()> {
        let outcome = if self.last.is_some() { self.decoder.send(None).and_then(|()| self.receive()) } else { Ok(()) };
        self.decoder.flush();
        self.held.clear();
        self.last = None;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bytes::Bytes;
    use framewire_proto::Times;

    use super::*;

    /// H.264 access units of a red picture, made by FFmpeg, parted at their access unit delimiters.
    fn h264(frames: u32) -> Vec<Bytes> {
        units("color=red", frames, "-tune zerolatency")
    }

    fn units(source: &str, frames: u32, options: &str) -> Vec<Bytes> {
        let source = format!("{source}:size=128x96:rate=25,trim=end_frame={frames},format=yuv420p");
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264"])
            .args(options.split(' '))
            .args(["-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"])
            .output()
            .expect("the command ffmpeg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let delimiter = [0, 0, 0, 1, 9];
        let starts = output.stdout.windows(5).enumerate().filter(|(_, bytes)| *bytes == delimiter);
        let mut starts: Vec<usize> = starts.map(|(place, _)| place).collect();
        starts.push(output.stdout.len());
        starts.windows(2).map(|unit| Bytes::copy_from_slice(&output.stdout[unit[0]..unit[1]])).collect()
    }

    fn frame(sequence: u64, data: &Bytes) -> Frame {
        Frame { sequence, keyframe: sequence == 0, times: Times::default(), data: data.clone() }
    }

    const CONFIG: Config = Config { codec: Codec::H264, width: 128, height: 96, millifps: 0, extra: Bytes::new() };

    #[test]
    fn each_h264_frame_gives_its_picture_at_once() {
        let units = h264(5);
        assert_eq!(units.len(), 5);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&CONFIG, &frame(3, &units[3]), Codec::Bgr24).unwrap(), None);
        for (number, unit) in units.iter().enumerate() {
            let (of, picture) = decoder.decode(&CONFIG, &frame(number as u64, unit), Codec::Bgr24).unwrap().unwrap();
            assert_eq!(of.sequence, number as u64);
            assert_eq!((picture.width(), picture.height()), (128, 96));
            let off = picture.data().chunks_exact(3).map(|bgr| bgr[0].max(bgr[1]).max(255 - bgr[2])).max().unwrap();
            assert!(off <= 3, "{off} off");
        }
    }

    #[test]
    fn random_bytes_are_an_error_and_the_next_keyframe_is_fine() {
        let units = h264(1);
        let mut decoder = Decoder::new();
        let noise: Vec<u8> = (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(decoder.decode(&CONFIG, &frame(0, &noise.into()), Codec::I420).is_err());
        assert!(decoder.decode(&CONFIG, &frame(0, &Bytes::new()), Codec::I420).is_err());
        assert!(decoder.decode(&CONFIG, &frame(0, &units[0]), Codec::I420).unwrap().is_some());
    }

    /// Twelve pictures in two GOPs, the second `open` or not, in the order of decoding: I P B B P B B …, as frames that are
    /// captured a millisecond apart; and what each looks like, in the order of showing.
    fn gops(open: bool) -> (Vec<Frame>, Vec<Picture>) {
        let open = u8::from(open);
        let options = format!(
            "-bf 2 -x264-params keyint=6:min-keyint=6:scenecut=0:b-adapt=0:b-pyramid=none:open-gop={open}:aud=1"
        );
        let units = units("testsrc2=duration=9", 12, &options);
        // Where each stands in the order of showing.
        let shown =
            if open == 1 { [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10] } else { [0, 3, 1, 2, 5, 4, 6, 9, 7, 8, 11, 10] };
        let frame = |(sequence, (data, shown)): (u64, (&Bytes, u64))| {
            let contents = framewire_proto::h264::contents(data);
            let times = Times { captured: 1_000 + 1_000 * shown, ..Times::default() };
            Frame { sequence, keyframe: contents.is_random_access_point(), times, data: data.clone() }
        };
        let frames: Vec<_> = (0..).zip(units.iter().zip(shown)).map(frame).collect();
        let keyframes: Vec<_> = frames.iter().filter(|frame| frame.keyframe).map(|frame| frame.sequence).collect();
        assert_eq!(keyframes, if open == 1 { [0, 4] } else { [0, 6] });
        let pictures = decoded(&mut Decoder::new(), &frames);
        assert_eq!(pictures.iter().map(|(shown, _)| *shown).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
        (frames, pictures.into_iter().map(|(_, picture)| picture).collect())
    }

    /// The pictures of these frames as they come, each with where it says that it stands in the order of showing.
    fn decoded(decoder: &mut Decoder, frames: &[Frame]) -> Vec<(u64, Picture)> {
        let mut pictures = Vec::new();
        for frame in frames {
            decoder.push(&CONFIG, frame, Some(Codec::I420)).unwrap();
            pictures.extend(std::iter::from_fn(|| decoder.pull()));
        }
        decoder.end();
        pictures.extend(std::iter::from_fn(|| decoder.pull()));
        pictures.into_iter().map(|(frame, picture)| (frame.times.captured / 1_000 - 1, picture)).collect()
    }

    #[test]
    fn pictures_come_in_the_order_of_showing_each_with_its_frame() {
        for open in [false, true] {
            let (frames, pictures) = gops(open);
            assert!(pictures.windows(2).all(|pair| pair[0] != pair[1]));
            // Again with the same decoder, which goes on at a keyframe.
            let mut decoder = Decoder::new();
            for _ in 0..2 {
                for (shown, picture) in decoded(&mut decoder, &frames) {
                    assert!(picture == pictures[shown as usize], "{shown}");
                }
            }
        }
    }

    #[test]
    fn after_a_gap_nothing_is_shown_that_needs_what_was_left_out() {
        for open in [false, true] {
            let (frames, pictures) = gops(open);
            let key = frames.iter().rposition(|frame| frame.keyframe).unwrap();
            let mut kept = frames[..3].to_vec();
            kept.extend_from_slice(&frames[key..]);
            for given in [&frames[key..], &kept] {
                let got = decoded(&mut Decoder::new(), given);
                let shown: Vec<_> = got.iter().map(|(shown, _)| *shown).collect();
                let before = if given.len() > frames.len() - key { vec![0, 1, 3] } else { Vec::new() };
                assert_eq!(shown, [before, (6..12).collect()].concat(), "open: {open}");
                assert!(got.iter().all(|(shown, picture)| *picture == pictures[*shown as usize]));
            }
        }
    }

    #[test]
    fn after_a_broken_frame_nothing_is_shown_until_a_keyframe() {
        let units = units("testsrc2=duration=9", 12, "-tune zerolatency -g 6");
        let frame = |(sequence, data): (u64, &Bytes)| Frame { keyframe: sequence % 6 == 0, ..frame(sequence, data) };
        let mut frames: Vec<_> = (0..).zip(&units).map(frame).collect();
        // The slice's header is whole; what follows is not.
        let data = &frames[2].data;
        frames[2].data = [&data[..20], &vec![0xFF; data.len() - 20][..]].concat().into();
        let (mut decoder, mut shown, mut bad) = (Decoder::new(), Vec::new(), Vec::new());
        for frame in &frames {
            match decoder.decode(&CONFIG, frame, Codec::I420) {
                Ok(picture) => shown.extend(picture.map(|(frame, _)| frame.sequence)),
                Err(_) => bad.push(frame.sequence),
            }
        }
        assert_eq!((shown, bad), (vec![0, 1, 6, 7, 8, 9, 10, 11], vec![2]));
    }

    #[test]
    fn what_only_leads_up_to_a_picture_is_not_made() {
        let (frames, pictures) = gops(false);
        let mut decoder = Decoder::new();
        for frame in &frames[..7] {
            let want = (frame.sequence >= 5).then_some(Codec::I420);
            decoder.push(&CONFIG, frame, want).unwrap();
        }
        decoder.end();
        let (_, last) = decoder.pull().unwrap();
        assert!(last == pictures[4]);
        assert!(decoder.pull().unwrap().1 == pictures[6] && decoder.pull().is_none());
    }
}
