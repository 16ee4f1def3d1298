//! Whatever FFmpeg opens: files, URLs, cameras, screens.
#![allow(unsafe_code, reason = "FFmpeg's demuxers and devices behind an owned type")]

mod access_units;
mod packet;
mod watch;

use std::{
    ffi::{CStr, CString, c_int},
    fs,
    os::fd::{BorrowedFd, RawFd},
    path::Path,
    ptr,
    time::Duration,
};

use ffmpeg_sys_the_third::{self as ffi, AVCodecID, AVMediaType};
use framewire_proto::Micros;
use framewire_proto::{PixelAspect, Presentation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    packet::micros,
    watch::{InterruptWatch, OPEN},
};
use super::{
    av::{self, AvDecoder, AvPacket, Decoded},
    deinterlace::Deinterlacer,
    picture::Picture,
    scale::Importer,
};
use crate::error::{Context as _, Result, bail, ensure};
use crate::stop::Stop;

pub use super::{av::Threads, deinterlace::Deinterlace};
pub use access_units::{AccessUnit, AccessUnits};
pub use packet::Packet;

/// How often a wait for a device checks the deadline and the stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a host may take to answer that it stops sending.
const GOODBYE: Duration = Duration::from_millis(300);
/// The highest plausible frame rate: some formats state their time base instead.
const MAX_FPS: f64 = 1000.0;

/// An open file, URL or device, and the video stream in it.
pub struct Input {
    context: *mut ffi::AVFormatContext,
    watch: Box<InterruptWatch>,
    stream: c_int,
    timeout: Duration,
    /// A device's descriptor, to wait for its next frame; `None` for files and URLs, or where it is unknown.
    device: Option<RawFd>,
}

/// What the container states about a video stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// FFmpeg's name of the codec: `h264`, `mjpeg`, `rawvideo`.
    pub codec: String,
    /// Width in pixels; 0 while unknown.
    pub width: u32,
    /// Height in pixels; 0 while unknown.
    pub height: u32,
    /// Frames per second, when known.
    pub fps: Option<f64>,
    /// The length in µs, when known: so for a film, and not for a live stream.
    pub length: Option<Micros>,
    /// Whether the stream has B-frames: its decoding order differs from its display order.
    pub reorders: bool,
    /// How its pictures are shown, as the container states it.
    pub presentation: Presentation,
    /// Whether its pictures are flagged as interlaced.
    pub interlaced: bool,
    /// FFmpeg's name of the format: `mov,mp4,m4a,3gp,3g2,mj2`, `rtsp`, `hls`.
    pub format: String,
}

impl Video {
    /// Whether its pixels are not square.
    pub fn has_odd_pixels(&self) -> bool {
        self.presentation.pixel_aspect != PixelAspect::SQUARE
    }
}

impl Video {
    /// Whether it is a film: it has an end.
    pub fn is_finite(&self) -> bool {
        self.length.is_some()
    }
}

/// The outcome of one read.
enum ReadOutcome {
    Packet(Packet),
    /// There is no packet yet.
    NotReady,
    End,
}

/// Decodes the packets of an [`Input`]: push one, then pull pictures until there are no more.
pub struct VideoDecoder {
    decoder: AvDecoder,
    /// Present once a picture was interlaced.
    deinterlacer: Option<Deinterlacer>,
    deinterlace: Deinterlace,
    import: Importer,
    raw: bool,
    presentation: Presentation,
    time_base: ffi::AVRational,
}

// SAFETY: a context is bound to no thread, and only its owner uses it.
unsafe impl Send for Input {}

impl Input {
    /// Opens a URL (`file:` and a path for files) and selects its best video stream; or a device, with FFmpeg's name of its
    /// format. No progress for `timeout`, here or in [`Input::read`], is an error.
    ///
    /// # Errors
    /// The input cannot be opened, does not respond, or holds no video. The sentence lacks the input's name, which the caller
    /// adds.
    pub fn open(
        url: &str,
        format: Option<&str>,
        options: &[(&str, &str)],
        stop: &Stop,
        timeout: Duration,
    ) -> Result<Self> {
        av::quiet();
        let name = url;
        let url = CString::new(url).context("the name contains a zero byte")?;
        let watch = Box::new(InterruptWatch::new(stop, timeout));
        let format = format.map(find_format).transpose()?.unwrap_or(ptr::null());
        // SAFETY: has no arguments, and returns null only without memory.
        let mut context = unsafe { ffi::avformat_alloc_context() };
        assert!(!context.is_null(), "no memory for a format");
        let mut options = Dictionary::new(options)?;
        // SAFETY: the context is ours. The watch lives in a box until after the context is closed. An open that fails frees the
        // context and sets it to null.
        let code = unsafe {
            if !format.is_null() {
                // Reads of a device must return without a frame: its own waits cannot be interrupted.
                (*context).flags |= ffi::AVFMT_FLAG_NONBLOCK;
            }
            (*context).interrupt_callback = watch.callback();
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), format, &raw mut options.0)
        };
        if code < 0 {
            return Err(watch.explain(code, OPEN));
        }
        let device = if format.is_null() { None } else { descriptor(Path::new(name)) };
        let mut this = Self { context, watch, stream: 0, timeout, device };
        if format.is_null() {
            this.select_video()?;
        }
        Ok(this)
    }

    fn select_video(&mut self) -> Result<()> {
        self.watch.extend(self.timeout);
        // SAFETY: the context is open.
        let code = unsafe { ffi::avformat_find_stream_info(self.context, ptr::null_mut()) };
        if self.watch.interrupted() {
            return Err(self.watch.explain(code, "cannot be read"));
        }
        let kind = AVMediaType::VIDEO;
        // SAFETY: the context is open. The decoder's out parameter may be null.
        let best = unsafe { ffi::av_find_best_stream(self.context, kind, -1, -1, ptr::null_mut(), 0) };
        // SAFETY: the context is open, and has this number of streams.
        unsafe {
            let streams = match (*self.context).nb_streams {
                0 => &[],
                count => std::slice::from_raw_parts((*self.context).streams, count as usize),
            };
            let cover =
                |index: c_int| (*streams[index as usize]).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC as c_int != 0;
            if streams.is_empty() {
                bail!(InvalidData, "holds no stream that FFmpeg can read: the file may be cut short, or no video");
            }
            ensure!(best >= 0 && !cover(best), InvalidData, "has no video, only audio or data");
            for (index, stream) in streams.iter().enumerate() {
                if index != best as usize {
                    (**stream).discard = ffi::AVDiscard::ALL;
                }
            }
        }
        self.stream = best;
        Ok(())
    }

    /// What the container states about the video.
    pub fn video(&self) -> Video {
        let parameters = self.parameters();
        // SAFETY: the context is open, names are constant strings, and the frame may be null.
        unsafe {
            let rate = ffi::av_guess_frame_rate(self.context, self.stream(), ptr::null_mut());
            // Devices state only an average.
            let rate = if rate.num > 0 { rate } else { (*self.stream()).avg_frame_rate };
            let fps = f64::from(rate.num) / f64::from(rate.den);
            let text = |name| CStr::from_ptr(name).to_string_lossy().into_owned();
            let format = (*self.context).iformat;
            let format = if format.is_null() { String::new() } else { text((*format).name) };
            // Motion-JPEG over HTTP states no rate, and FFmpeg assumes one.
            let stated = fps > 0.0 && fps <= MAX_FPS && format != "mpjpeg";
            Video {
                codec: text(ffi::avcodec_get_name(parameters.codec_id)),
                width: parameters.width.unsigned_abs(),
                height: parameters.height.unsigned_abs(),
                fps: stated.then_some(fps),
                reorders: parameters.video_delay > 0,
                // A still picture is no film of one frame.
                length: Some((*self.context).duration)
                    .filter(|length| *length > 0 && !format.ends_with("_pipe"))
                    .map(i64::unsigned_abs),
                presentation: self.presentation(),
                interlaced: is_interlaced(parameters.field_order),
                format,
            }
        }
    }

    /// The next packet of the video; `None` at the end, or soon after the stop was raised.
    ///
    /// # Errors
    /// The input is broken, or the timeout has passed.
    pub fn read(&mut self) -> Result<Option<Packet>> {
        self.watch.extend(self.timeout);
        loop {
            match self.try_read()? {
                ReadOutcome::Packet(packet) => return Ok(Some(packet)),
                ReadOutcome::End => return Ok(None),
                ReadOutcome::NotReady => self.wait()?,
            }
        }
    }

    /// The newest packet of a device, and how many older ones were dropped; `None` as for [`Input::read`].
    ///
    /// # Errors
    /// As for [`Input::read`].
    pub fn read_newest(&mut self) -> Result<Option<(Packet, u64)>> {
        let Some(mut newest) = self.read()? else { return Ok(None) };
        let mut dropped = 0;
        while let ReadOutcome::Packet(packet) = self.try_read()? {
            // An empty packet is a frame that the camera could not transfer.
            if !packet.data().is_empty() {
                newest = packet;
            }
            dropped += 1;
        }
        Ok(Some((newest, dropped)))
    }

    fn try_read(&mut self) -> Result<ReadOutcome> {
        let mut packet = AvPacket::new();
        loop {
            // SAFETY: both are live.
            let code = unsafe { ffi::av_read_frame(self.context, packet.as_ptr()) };
            if code == ffi::AVERROR_EOF || self.watch.stopped() {
                return self.end();
            }
            if code == av::AGAIN {
                return Ok(ReadOutcome::NotReady);
            }
            // After an interruption FFmpeg still gives the frame that it had begun, and would then wait again.
            if code < 0 || self.watch.interrupted() {
                return Err(self.watch.explain(code, "reading failed"));
            }
            if packet.fields().stream_index == self.stream {
                break;
            }
            packet.clear();
            self.watch.extend(self.timeout);
        }
        Ok(ReadOutcome::Packet(Packet::new(packet, self.time_base())))
    }

    /// Waits a short time for a device's next frame.
    fn wait(&self) -> Result<()> {
        if let Some(device) = self.device {
            // SAFETY: FFmpeg keeps the descriptor open as long as the device, which lives longer than this borrow.
            let device = unsafe { BorrowedFd::borrow_raw(device) };
            let limit = Timespec { tv_sec: 0, tv_nsec: CHECK_INTERVAL.as_nanos() as i64 };
            // The next read reports any error.
            let _ = poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&limit));
        } else {
            self.watch.stop().wait(Duration::from_millis(1));
        }
        self.watch.check_deadline()
    }

    /// The end of the input, or an error if the connection was lost.
    fn end(&self) -> Result<ReadOutcome> {
        // SAFETY: the context is open. Devices have no byte stream.
        let code = unsafe { (*self.context).pb.as_ref().map_or(0, |bytes| bytes.error) };
        if self.watch.stopped() || code >= 0 || code == ffi::AVERROR_EOF {
            return Ok(ReadOutcome::End);
        }
        Err(self.watch.explain(code, "the connection was lost"))
    }

    /// Sets how long to wait for a packet from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// A decoder for the input's packets.
    ///
    /// # Errors
    /// FFmpeg was built without a decoder for this codec.
    pub fn decoder(&self, threads: Threads) -> Result<VideoDecoder> {
        let parameters = self.parameters();
        let decoder = AvDecoder::open(parameters.codec_id, parameters, threads)?;
        let raw = parameters.codec_id == AVCodecID::RAWVIDEO;
        Ok(VideoDecoder {
            decoder,
            deinterlacer: None,
            deinterlace: Deinterlace::Flagged,
            import: Importer::default(),
            raw,
            presentation: self.presentation(),
            time_base: self.time_base(),
        })
    }

    /// A converter of the input's packets, which are H.264, to access units in Annex B form.
    ///
    /// # Errors
    /// The parameter sets in the container are broken.
    pub fn access_units(&self) -> Result<AccessUnits> {
        AccessUnits::open(self.parameters(), self.time_base())
    }

    fn presentation(&self) -> Presentation {
        // SAFETY: the context is open, and the frame may be null. The side data are the stream's, and have this length.
        let (ratio, matrix) = unsafe {
            let ratio = ffi::av_guess_sample_aspect_ratio(self.context, self.stream(), ptr::null_mut());
            #[cfg(ffmpeg_6_1)]
            let (data, count) = (self.parameters().coded_side_data, self.parameters().nb_coded_side_data);
            #[cfg(not(ffmpeg_6_1))]
            let (data, count) = ((*self.stream()).side_data, (*self.stream()).nb_side_data);
            let data = match usize::try_from(count) {
                Ok(count) if !data.is_null() => std::slice::from_raw_parts(data, count),
                _ => &[],
            };
            let matrix = data.iter().find(|data| data.type_ == ffi::AVPacketSideDataType::DISPLAYMATRIX);
            (ratio, matrix.and_then(|matrix| av::display_matrix(matrix.data, matrix.size)))
        };
        Presentation { pixel_aspect: av::pixel_aspect(ratio), orientation: matrix.unwrap_or_default() }
    }

    fn time_base(&self) -> ffi::AVRational {
        // SAFETY: the stream is one of the open context's.
        unsafe { (*self.stream()).time_base }
    }

    fn stream(&self) -> *mut ffi::AVStream {
        // SAFETY: the context is open, and `stream` is one of its streams.
        unsafe { *(*self.context).streams.add(self.stream as usize) }
    }

    fn parameters(&self) -> &ffi::AVCodecParameters {
        // SAFETY: every stream has parameters while the context is open.
        unsafe { &*(*self.stream()).codecpar }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A host that has not answered any more is not waited for again when it is told to stop sending.
        if !self.watch.interrupted() {
            self.watch.extend(GOODBYE);
        }
        // SAFETY: the context is ours and open. The watch is dropped after this.
        unsafe { ffi::avformat_close_input(&raw mut self.context) }
    }
}

impl VideoDecoder {
    /// Gives the decoder a packet; `None` ends the stream, and then the delayed pictures come out.
    ///
    /// # Errors
    /// The packet is broken. The next one may be good.
    pub fn push(&mut self, packet: Option<&Packet>) -> Result<()> {
        self.decoder.send(packet.map(|packet| &packet.av))
    }

    /// Which pictures are deinterlaced.
    #[must_use]
    pub fn deinterlaced(mut self, which: Deinterlace) -> Self {
        self.deinterlace = which;
        self
    }

    /// The next picture as full-range I420, upright, with square pixels, and not interlaced, and when to display it in µs; `None` when
    /// the decoder needs the next packet.
    ///
    /// # Errors
    /// A packet was broken, or the picture is over the size limit.
    pub fn pull(&mut self) -> Result<Option<(Picture, Option<i64>)>> {
        loop {
            if let Some(picture) = self.deinterlaced_picture()? {
                return Ok(Some(picture));
            }
            let frame = match self.decoder.receive()? {
                Decoded::Frame(frame) => frame,
                Decoded::NeedsInput => return Ok(None),
                Decoded::End => {
                    let Some(chain) = &mut self.deinterlacer else { return Ok(None) };
                    chain.send(None)?;
                    return self.deinterlaced_picture();
                }
            };
            let shown = frame.fields().best_effort_timestamp;
            if self.deinterlacer.is_none() && self.deinterlace == Deinterlace::Flagged && !frame.is_interlaced() {
                let picture = self.import.import(frame, self.raw, self.presentation)?;
                return Ok(Some((picture, micros(shown, self.time_base))));
            }
            frame.set_pts(shown);
            let chain = match self.deinterlacer.take().filter(|chain| chain.fits(frame)) {
                Some(chain) => chain,
                // The picture that the old chain holds back is lost where the size changes.
                None => Deinterlacer::open(self.deinterlace, frame, self.time_base)?,
            };
            self.deinterlacer.insert(chain).send(Some(frame))?;
        }
    }

    fn deinterlaced_picture(&mut self) -> Result<Option<(Picture, Option<i64>)>> {
        let Some(chain) = &mut self.deinterlacer else { return Ok(None) };
        let time_base = chain.time_base();
        let Some(frame) = chain.receive()? else { return Ok(None) };
        let shown = micros(frame.fields().pts, time_base);
        Ok(Some((self.import.import(frame, self.raw, self.presentation)?, shown)))
    }
}

fn is_interlaced(order: ffi::AVFieldOrder) -> bool {
    use ffi::AVFieldOrder as Order;
    [Order::TT, Order::BB, Order::TB, Order::BT].contains(&order)
}

fn find_format(name: &str) -> Result<*const ffi::AVInputFormat> {
    let text = CString::new(name).context("the format's name contains a zero byte")?;
    // SAFETY: reads a constant table.
    let format = unsafe { ffi::av_find_input_format(text.as_ptr()) };
    ensure!(!format.is_null(), Unsupported, "this FFmpeg was built without {name}");
    Ok(format)
}

/// Options for FFmpeg.
struct Dictionary(*mut ffi::AVDictionary);

impl Dictionary {
    fn new(options: &[(&str, &str)]) -> Result<Self> {
        let mut this = Self(ptr::null_mut());
        for (key, value) in options {
            let (key, value) = (CString::new(*key)?, CString::new(*value)?);
            // SAFETY: the dictionary is null or ours. Key and value are copied.
            let code = unsafe { ffi::av_dict_set(&raw mut this.0, key.as_ptr(), value.as_ptr(), 0) };
            av::check(code, "no memory for an option")?;
        }
        Ok(this)
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: the dictionary is null or ours.
        unsafe { ffi::av_dict_free(&raw mut self.0) }
    }
}

/// The descriptor of a device that this process has just opened.
#[cfg(target_os = "linux")]
fn descriptor(device: &Path) -> Option<RawFd> {
    let device = fs::canonicalize(device).ok()?;
    let open = fs::read_dir("/proc/self/fd").ok()?.flatten();
    let same = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == device));
    same.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}

#[cfg(not(target_os = "linux"))]
fn descriptor(_: &Path) -> Option<RawFd> {
    None
}
