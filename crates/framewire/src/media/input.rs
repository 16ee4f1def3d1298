//! Whatever FFmpeg opens: files, URLs, cameras, screens.
#![allow(unsafe_code, reason = "FFmpeg's demuxers and devices behind an owned type")]

mod units;

use std::{
    ffi::{CStr, CString, c_int, c_void},
    fs, io,
    os::fd::{BorrowedFd, RawFd},
    path::Path,
    ptr,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use ffmpeg_the_third::ffi::{self, AVCodecID, AVMediaType};
use framewire_proto::Micros;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Picture,
    av::{self, Decoded},
    scale::Importer,
};
use crate::error::{Context as _, Error, Result, bail, ensure, error};
use crate::{clock, stop::Stop};

pub use super::av::Threads;
pub use units::{Unit, Units};

/// FFmpeg's word for a time that is not known.
const UNKNOWN: i64 = i64::MIN;
/// How long a wait for a device lasts at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(20);
/// More frames per second than this are not believed: some formats give their time base instead.
const FASTEST: f64 = 1000.0;

/// An open file, URL or device, and the video stream in it.
pub struct Input {
    context: *mut ffi::AVFormatContext,
    watch: Box<Watch>,
    stream: c_int,
    patience: Duration,
    /// A device's own descriptor, to wait for its next frame; `None` for what is no device, or where it is not known.
    device: Option<RawFd>,
}

/// What is known of a video stream before its first frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// FFmpeg's name of the codec: `h264`, `mjpeg`, `rawvideo`.
    pub codec: String,
    /// Width in pixels; 0 when it is not known yet.
    pub width: u32,
    /// Height in pixels; 0 when it is not known yet.
    pub height: u32,
    /// Frames per second, when known.
    pub fps: Option<f64>,
    /// Whether it has a known length, as a film does, and a live stream has not.
    pub finite: bool,
    /// Whether frames come before ones that are to be shown earlier.
    pub reorders: bool,
    /// FFmpeg's name of the format: `mov,mp4,m4a,3gp,3g2,mj2`, `rtsp`, `hls`.
    pub format: String,
}

/// A coded frame of the video stream.
pub struct Packet {
    coded: av::Packet,
    /// When it is to be shown, in µs on the stream's own clock.
    pub shown: Option<i64>,
    /// When it is to be decoded, on the same clock: frames come in this order.
    pub decoded: Option<i64>,
}

/// What there is to be read.
enum Read {
    Packet(Packet),
    /// Nothing yet.
    Nothing,
    End,
}

/// Decodes the packets of an [`Input`]: push one, then pull until there is none.
pub struct VideoDecoder {
    decoder: av::Decoder,
    import: Importer,
    raw: bool,
    time_base: ffi::AVRational,
}

// SAFETY: a context is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Input {}

impl Input {
    /// Opens a URL (`file:` and a path for files) and looks for its best video stream; or, with FFmpeg's name of its kind, a
    /// device. No progress for `patience`, here or in [`Input::read`], is an error.
    ///
    /// # Errors
    /// It cannot be opened (an [`io::Error`] where the system refuses it), does not answer, is no video or holds none. A
    /// sentence without the name of the source.
    pub fn open(
        url: &str,
        format: Option<&str>,
        options: &[(&str, &str)],
        stop: &Stop,
        patience: Duration,
    ) -> Result<Self> {
        av::quiet();
        let name = url;
        let url = CString::new(url).context("a zero byte stands in the name")?;
        let watch = Box::new(Watch::new(stop, patience));
        let format = format.map(find_format).transpose()?.unwrap_or(ptr::null());
        // SAFETY: takes nothing; null only without memory.
        let mut context = unsafe { ffi::avformat_alloc_context() };
        assert!(!context.is_null(), "no memory for a format");
        let mut options = Options::new(options)?;
        // SAFETY: the context is ours; the watch lives in a box until after the context is closed. A failing open frees the
        // context and sets it to null.
        let code = unsafe {
            if !format.is_null() {
                // A device without a frame is to say so: its own waits cannot be interrupted.
                (*context).flags |= ffi::AVFMT_FLAG_NONBLOCK;
            }
            (*context).interrupt_callback =
                ffi::AVIOInterruptCB { callback: Some(interrupted), opaque: (&raw const *watch).cast_mut().cast() };
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), format, &raw mut options.0)
        };
        if code < 0 {
            return Err(watch.explain(code, OPEN));
        }
        let device = if format.is_null() { None } else { descriptor(Path::new(name)) };
        let mut this = Self { context, watch, stream: 0, patience, device };
        if format.is_null() {
            this.find_video()?;
        }
        Ok(this)
    }

    fn find_video(&mut self) -> Result<()> {
        self.watch.extend(self.patience);
        // SAFETY: the context is open.
        let code = unsafe { ffi::avformat_find_stream_info(self.context, ptr::null_mut()) };
        if self.watch.late() || self.watch.stopped() {
            return Err(self.watch.explain(code, "cannot be read"));
        }
        let kind = AVMediaType::VIDEO;
        // SAFETY: the context is open; a decoder is not asked for.
        let best = unsafe { ffi::av_find_best_stream(self.context, kind, -1, -1, ptr::null_mut(), 0) };
        // SAFETY: the context is open, and has that many streams.
        unsafe {
            let streams = match (*self.context).nb_streams {
                0 => &[],
                count => std::slice::from_raw_parts((*self.context).streams, count as usize),
            };
            let cover =
                |index: c_int| (*streams[index as usize]).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC as c_int != 0;
            if streams.is_empty() {
                bail!(InvalidData, "holds nothing that FFmpeg can read: it may be cut short, or no video at all");
            }
            ensure!(best >= 0 && !cover(best), InvalidData, "has no video, only sound or data");
            for (index, stream) in streams.iter().enumerate() {
                if index != best as usize {
                    (**stream).discard = ffi::AVDiscard::ALL;
                }
            }
        }
        self.stream = best;
        Ok(())
    }

    /// What is known of the video.
    pub fn video(&self) -> Video {
        let parameters = self.parameters();
        // SAFETY: the context is open; names are constant strings; a frame is not needed to guess the rate.
        unsafe {
            let rate = ffi::av_guess_frame_rate(self.context, self.stream(), ptr::null_mut());
            // Devices say only an average.
            let rate = if rate.num > 0 { rate } else { (*self.stream()).avg_frame_rate };
            let fps = f64::from(rate.num) / f64::from(rate.den);
            let text = |name| CStr::from_ptr(name).to_string_lossy().into_owned();
            let format = (*self.context).iformat;
            let format = if format.is_null() { String::new() } else { text((*format).name) };
            // JPEGs over HTTP say no rate, and FFmpeg then one of its own.
            let told = fps > 0.0 && fps <= FASTEST && format != "mpjpeg";
            Video {
                codec: text(ffi::avcodec_get_name(parameters.codec_id)),
                width: parameters.width.unsigned_abs(),
                height: parameters.height.unsigned_abs(),
                fps: told.then_some(fps),
                reorders: parameters.video_delay > 0,
                finite: (*self.context).duration > 0,
                format,
            }
        }
    }

    /// The next packet of the video; `None` at the end, or soon after the stop was raised.
    ///
    /// # Errors
    /// It is broken, or nothing came for longer than the patience.
    pub fn read(&mut self) -> Result<Option<Packet>> {
        self.watch.extend(self.patience);
        loop {
            match self.try_read()? {
                Read::Packet(packet) => return Ok(Some(packet)),
                Read::End => return Ok(None),
                Read::Nothing => self.wait()?,
            }
        }
    }

    /// The newest packet of a device, and how many older ones were passed over; `None` as for [`Input::read`].
    ///
    /// # Errors
    /// As for [`Input::read`].
    pub fn read_newest(&mut self) -> Result<Option<(Packet, u64)>> {
        let Some(mut newest) = self.read()? else { return Ok(None) };
        let mut passed = 0;
        while let Read::Packet(packet) = self.try_read()? {
            // What a camera could not transfer whole is empty.
            if !packet.data().is_empty() {
                newest = packet;
            }
            passed += 1;
        }
        Ok(Some((newest, passed)))
    }

    fn try_read(&mut self) -> Result<Read> {
        let mut packet = av::Packet::new();
        loop {
            // SAFETY: both are live.
            let code = unsafe { ffi::av_read_frame(self.context, packet.as_ptr()) };
            if code == ffi::AVERROR_EOF || self.watch.stopped() {
                return self.end();
            }
            if code == av::AGAIN {
                return Ok(Read::Nothing);
            }
            if code < 0 {
                return Err(self.watch.explain(code, "cannot be read further"));
            }
            if packet.fields().stream_index == self.stream {
                break;
            }
            packet.clear();
            self.watch.extend(self.patience);
        }
        let fields = packet.fields();
        let (pts, dts) = (fields.pts, fields.dts);
        let time = if pts == UNKNOWN { dts } else { pts };
        let base = self.time_base();
        Ok(Read::Packet(Packet { coded: packet, shown: micros(time, base), decoded: micros(dts, base) }))
    }

    /// Waits a little for a device's next frame.
    fn wait(&self) -> Result<()> {
        if let Some(device) = self.device {
            // SAFETY: FFmpeg keeps the descriptor open as long as the device, which lives longer than this borrow.
            let device = unsafe { BorrowedFd::borrow_raw(device) };
            let limit = Timespec { tv_sec: 0, tv_nsec: LOOK_AROUND.as_nanos() as i64 };
            // Whatever it says, the next read tells more.
            let _ = poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&limit));
        } else {
            self.watch.stop.wait(Duration::from_millis(1));
        }
        if self.watch.interrupt() == Some(LATE) { Err(self.watch.explain(0, "")) } else { Ok(()) }
    }

    /// An end, unless the connection behind it was lost.
    fn end(&self) -> Result<Read> {
        // SAFETY: the context is open; devices have no byte stream.
        let code = unsafe { (*self.context).pb.as_ref().map_or(0, |bytes| bytes.error) };
        if self.watch.stopped() || code >= 0 || code == ffi::AVERROR_EOF {
            return Ok(Read::End);
        }
        Err(self.watch.explain(code, "breaks off"))
    }

    /// How long to wait for a packet from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A decoder for its packets. What is `raw` is video as a camera or screen gives it, see [`VideoDecoder`].
    ///
    /// # Errors
    /// FFmpeg was built without one for this codec.
    pub fn decoder(&self, threads: Threads) -> Result<VideoDecoder> {
        let parameters = self.parameters();
        let decoder = av::Decoder::open(parameters.codec_id, parameters, threads)?;
        let raw = parameters.codec_id == AVCodecID::RAWVIDEO;
        Ok(VideoDecoder { decoder, import: Importer::default(), raw, time_base: self.time_base() })
    }

    /// What makes access units in Annex B form of its packets, which are H.264.
    ///
    /// # Errors
    /// What the video says of itself before its first frame is broken.
    pub fn units(&self) -> Result<Units> {
        Units::open(self.parameters(), self.time_base())
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
        // SAFETY: every stream has its parameters as long as the context is open.
        unsafe { &*(*self.stream()).codecpar }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.watch.extend(self.patience);
        // SAFETY: the context is ours and open; the watch is dropped after this.
        unsafe { ffi::avformat_close_input(&raw mut self.context) }
    }
}

impl Packet {
    /// The coded frame.
    pub fn data(&self) -> &[u8] {
        self.coded.data()
    }

    /// The coded frame, shared without a copy. Not for devices, whose memory goes with them.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.coded)
    }
}

impl VideoDecoder {
    /// Gives it a packet; `None` at the end, for what it held back.
    ///
    /// # Errors
    /// The packet is broken; the next may be good.
    pub fn push(&mut self, packet: Option<&Packet>) -> Result<()> {
        self.decoder.send(packet.map(|packet| &packet.coded))
    }

    /// The next picture, full-range I420, and when it is to be shown in µs; `None` when it wants the next packet.
    ///
    /// # Errors
    /// A packet was broken, or the picture is over the limit.
    pub fn pull(&mut self) -> Result<Option<(Picture, Option<i64>)>> {
        let Decoded::Frame(frame) = self.decoder.receive()? else { return Ok(None) };
        let shown = micros(frame.fields().best_effort_timestamp, self.time_base);
        Ok(Some((self.import.import(frame, self.raw)?, shown)))
    }
}

fn micros(time: i64, base: ffi::AVRational) -> Option<i64> {
    // SAFETY: a function of its arguments alone.
    (time != UNKNOWN).then(|| unsafe { ffi::av_rescale_q(time, base, ffi::AVRational { num: 1, den: 1_000_000 }) })
}

fn find_format(name: &str) -> Result<*const ffi::AVInputFormat> {
    let text = CString::new(name).context("a zero byte stands in the format's name")?;
    // SAFETY: looks into a constant table.
    let format = unsafe { ffi::av_find_input_format(text.as_ptr()) };
    ensure!(!format.is_null(), Unsupported, "this FFmpeg was built without {name}");
    Ok(format)
}

/// FFmpeg's options.
struct Options(*mut ffi::AVDictionary);

impl Options {
    fn new(options: &[(&str, &str)]) -> Result<Self> {
        let mut this = Self(ptr::null_mut());
        for (key, value) in options {
            let (key, value) = (CString::new(*key)?, CString::new(*value)?);
            // SAFETY: the dictionary is null or ours; key and value are copied.
            let code = unsafe { ffi::av_dict_set(&raw mut this.0, key.as_ptr(), value.as_ptr(), 0) };
            av::check(code, "an option is refused")?;
        }
        Ok(this)
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the dictionary is null or ours.
        unsafe { ffi::av_dict_free(&raw mut self.0) }
    }
}

/// Watches over FFmpeg's waits. FFmpeg itself forgets why it was interrupted, so this remembers.
struct Watch {
    stop: Stop,
    deadline: AtomicU64,
    /// In ms.
    patience: AtomicU64,
    why: AtomicU8,
}

const OPEN: &str = "cannot be opened";
const STOPPED: u8 = 1;
const LATE: u8 = 2;

impl Watch {
    fn new(stop: &Stop, patience: Duration) -> Self {
        let this = Self {
            stop: stop.clone(),
            deadline: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            why: AtomicU8::new(0),
        };
        this.extend(patience);
        this
    }

    fn extend(&self, patience: Duration) {
        self.patience.store(patience.as_millis() as u64, Ordering::Relaxed);
        let deadline: Micros = clock::now().saturating_add(patience.as_micros() as u64);
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.why.load(Ordering::Relaxed) == STOPPED || self.stop.stopped()
    }

    fn late(&self) -> bool {
        self.why.load(Ordering::Relaxed) == LATE
    }

    fn explain(&self, code: c_int, what: &'static str) -> Error {
        match self.why.load(Ordering::Relaxed) {
            STOPPED => error!(Stopped, "was stopped while it was opened"),
            LATE => error!(
                Timeout,
                "gives nothing: waited {} s in vain",
                self.patience.load(Ordering::Relaxed) as f64 / 1000.0
            ),
            _ if code == ffi::AVERROR_INVALIDDATA && what == OPEN => {
                error!(InvalidData, "holds no video that FFmpeg knows, or is cut short at its beginning")
            }
            // FFmpeg's own codes are four letters, far beyond the system's.
            _ if (-4096..0).contains(&code) => Error::from(io::Error::from_raw_os_error(-code)).context(what),
            _ => error!(System, "{what}: {}", av::message(code)),
        }
    }

    /// Whether to give up, and why.
    fn interrupt(&self) -> Option<u8> {
        let why = if self.stop.stopped() {
            STOPPED
        } else if clock::now() > self.deadline.load(Ordering::Relaxed) {
            LATE
        } else {
            return None;
        };
        self.why.store(why, Ordering::Relaxed);
        Some(why)
    }
}

/// What FFmpeg asks while it waits: whether it shall give up.
unsafe extern "C" fn interrupted(watch: *mut c_void) -> c_int {
    // SAFETY: the watch that was handed over with this function; it outlives the context.
    let watch = unsafe { &*watch.cast::<Watch>() };
    c_int::from(watch.interrupt().is_some())
}

/// The descriptor by which this process has just opened a device.
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
