//! Frames of a stream to pictures.

use std::{collections::VecDeque, mem};

use ffmpeg_sys_the_third as ffi;
use framewire_proto::{Codec, Config, Frame, Micros, wire::y4m::Scan};

use super::{
    av::{AvDecoder, AvPacket, Decoded, Threads},
    colour,
    jpeg::JpegDecoder,
    picture::Picture,
    pool::Pool,
    scale::Importer,
};
use crate::error::{Context as _, Result, ensure};

/// Decodes the frames of a stream, of any codec: push one, then pull pictures until there are no more.
#[derive(Default)]
pub struct Decoder {
    jpeg: JpegDecoder,
    h264: Option<H264Decoder>,
    pool: Pool,
    ready: VecDeque<(Frame, Picture)>,
}

impl Decoder {
    /// Creates a decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a frame and decodes it, upright and with square pixels, as [`Codec::I420`] or [`Codec::Bgr24`]; with `None` only for the frames that need it, without a
    /// picture of its own.
    ///
    /// H.264 frames must come in decoding order. Their pictures come out in display order, and perhaps later. There is no picture
    /// before the first keyframe, nor after a broken or missing frame until the next keyframe.
    ///
    /// # Errors
    /// The frame is broken, or its picture is over the size limit. The next one may be good.
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

    /// How the pictures were captured that came out last.
    pub fn scan(&self) -> Scan {
        self.h264.as_ref().map_or(Scan::Progressive, |decoder| decoder.scan)
    }

    /// Decodes a frame that depends on no other into these bytes, as [`Codec::I420`] or [`Codec::Bgr24`].
    ///
    /// # Errors
    /// The frame is broken, or its picture takes more or fewer bytes.
    pub fn decode_into(&mut self, config: &Config, frame: &Frame, want: Codec, out: &mut [u8]) -> Result<()> {
        if config.codec == Codec::Jpeg {
            return self.jpeg.decode_into(&frame.data, want, out);
        }
        let picture = Picture::new(config.codec, config.width.into(), config.height.into(), frame.data.clone())?;
        colour::convert_into(&picture, want, out)
    }

    fn push_h264(&mut self, config: &Config, frame: &Frame, want: Option<Codec>) -> Result<()> {
        if self.h264.as_ref().is_none_or(|open| open.config != *config) {
            self.end();
            self.h264 = Some(H264Decoder::new(config)?);
        }
        let Some(open) = &mut self.h264 else { return Ok(()) };
        let outcome = open.push(frame, want);
        self.convert()?;
        outcome
    }

    /// Ends the GOP: the delayed pictures can be pulled. Decoding resumes at a keyframe.
    pub fn end(&mut self) {
        let Some(open) = &mut self.h264 else { return };
        // Broken frames at the end have no picture to wait for.
        let _ = open.drain().and_then(|()| self.convert());
    }

    /// The next picture, and its frame.
    pub fn pull(&mut self) -> Option<(Frame, Picture)> {
        self.ready.pop_front()
    }

    /// Takes a frame as [`Decoder::push`] does, and returns the newest picture that there is then, and its frame.
    ///
    /// # Errors
    /// As for [`Decoder::push`].
    pub fn decode(&mut self, config: &Config, frame: &Frame, want: Codec) -> Result<Option<(Frame, Picture)>> {
        self.push(config, frame, Some(want))?;
        Ok(self.ready.drain(..).next_back())
    }

    fn convert(&mut self) -> Result<()> {
        let decoded = self.h264.as_mut().map(|open| mem::take(&mut open.decoded)).unwrap_or_default();
        for (frame, picture, want) in decoded {
            self.ready.push_back((frame, colour::convert(&picture, want, &self.pool)?));
        }
        Ok(())
    }
}

/// The most frames inside the decoder. No stream needs more than 16 (ITU-T H.264, section A.3.1).
const MAX_DELAYED: usize = 32;

/// FFmpeg's decoder of H.264 in Annex B form.
struct H264Decoder {
    config: Config,
    decoder: AvDecoder,
    packet: AvPacket,
    import: Importer,
    /// The number of the last frame; `None` while decoding needs a keyframe.
    last: Option<u64>,
    /// When the first decoded keyframe was captured. Frames displayed before it need frames that were not decoded.
    keyframe_captured: Micros,
    /// The frames inside the decoder: time stamp of the packet, frame, wanted pixel layout.
    delayed: VecDeque<(i64, Frame, Option<Codec>)>,
    /// The time stamp of the last packet: a counter that links pictures to frames.
    timestamp: i64,
    decoded: Vec<(Frame, Picture, Codec)>,
    scan: Scan,
}

impl H264Decoder {
    fn new(config: &Config) -> Result<Self> {
        let decoder = AvDecoder::open(ffi::AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
        Ok(Self {
            config: config.clone(),
            decoder,
            packet: AvPacket::new(),
            import: Importer::default(),
            last: None,
            keyframe_captured: 0,
            delayed: VecDeque::new(),
            timestamp: 0,
            decoded: Vec::new(),
            scan: Scan::default(),
        })
    }

    fn push(&mut self, frame: &Frame, want: Option<Codec>) -> Result<()> {
        let next = self.last.is_some_and(|last| last.wrapping_add(1) == frame.sequence);
        if frame.keyframe && !next {
            self.start_at(frame);
        } else if self.last.is_none() {
            return Ok(());
        }
        let outcome = self.decode(frame, want).with_context(|| format!("H.264 frame {}", frame.sequence));
        // The frames after a broken one need it.
        self.last = outcome.is_ok().then_some(frame.sequence);
        outcome
    }

    /// Starts at a keyframe after a gap. Frames after it may still refer to frames before it, which were not decoded.
    fn start_at(&mut self, keyframe: &Frame) {
        // A broken frame was reported when it was pushed.
        let _ = self.drain();
        self.keyframe_captured = keyframe.times.captured;
    }

    fn decode(&mut self, frame: &Frame, want: Option<Codec>) -> Result<()> {
        if self.last.is_none() && !self.config.extra.is_empty() {
            // Parameter sets out of band go before the first frame.
            let unit = [&self.config.extra[..], &frame.data].concat();
            self.packet.fill(&unit)?;
        } else {
            self.packet.fill(&frame.data)?;
        }
        self.timestamp += 1;
        self.packet.set_pts(self.timestamp);
        if self.delayed.len() == MAX_DELAYED {
            self.delayed.pop_front();
        }
        self.delayed.push_back((self.timestamp, frame.clone(), want));
        self.decoder.send(Some(&self.packet))?;
        self.receive()
    }

    fn receive(&mut self) -> Result<()> {
        while let Decoded::Frame(picture) = self.decoder.receive()? {
            let timestamp = picture.fields().pts;
            let Some(place) = self.delayed.iter().position(|(known, ..)| *known == timestamp) else { continue };
            let Some((_, frame, want)) = self.delayed.remove(place) else { continue };
            if (1..self.keyframe_captured).contains(&frame.times.captured) {
                continue;
            }
            // With B-frames, frames that need this one and are displayed before it have come out already.
            ensure!(!picture.is_damaged(), InvalidData, "it needs a frame that is broken or missing");
            self.scan = picture.scan();
            if let Some(want) = want {
                self.decoded.push((frame, self.import.import(picture, false, self.config.presentation)?, want));
            }
        }
        Ok(())
    }

    /// Takes the delayed pictures out of the decoder and resets it.
    fn drain(&mut self) -> Result<()> {
        let outcome = if self.last.is_some() { self.decoder.send(None).and_then(|()| self.receive()) } else { Ok(()) };
        self.decoder.flush();
        self.delayed.clear();
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

    /// H.264 access units of a red picture, made by FFmpeg and split at their access unit delimiters.
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

    const CONFIG: Config = Config::new(Codec::H264, 128, 96, 0);

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

    /// Twelve pictures in two GOPs, the second `open` or not, in decoding order: I P B B P B B …, as frames that were captured
    /// a millisecond apart; and the decoded pictures, in display order.
    fn gops(open: bool) -> (Vec<Frame>, Vec<Picture>) {
        let open = u8::from(open);
        let options = format!(
            "-bf 2 -x264-params keyint=6:min-keyint=6:scenecut=0:b-adapt=0:b-pyramid=none:open-gop={open}:aud=1"
        );
        let units = units("testsrc2=duration=9", 12, &options);
        // Each frame's place in display order.
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

    /// The pictures of these frames in the order of output, each with its place in display order.
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
    fn pictures_come_in_display_order_each_with_its_frame() {
        for open in [false, true] {
            let (frames, pictures) = gops(open);
            assert!(pictures.windows(2).all(|pair| pair[0] != pair[1]));
            // Twice with the same decoder, which resumes at a keyframe.
            let mut decoder = Decoder::new();
            for _ in 0..2 {
                for (shown, picture) in decoded(&mut decoder, &frames) {
                    assert!(picture == pictures[shown as usize], "{shown}");
                }
            }
        }
    }

    #[test]
    fn after_a_gap_no_picture_needs_a_missing_frame() {
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
    fn after_a_broken_frame_pictures_resume_at_a_keyframe() {
        let units = units("testsrc2=duration=9", 12, "-tune zerolatency -g 6");
        let frame = |(sequence, data): (u64, &Bytes)| Frame { keyframe: sequence % 6 == 0, ..frame(sequence, data) };
        let mut frames: Vec<_> = (0..).zip(&units).map(frame).collect();
        // The slice's header is good, and the rest is not.
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
    fn a_frame_pushed_without_a_wanted_layout_gives_no_picture() {
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
