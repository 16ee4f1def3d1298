//! FFmpeg's libavformat as a writer of one video stream.
#![allow(unsafe_code, reason = "FFmpeg's muxers behind an owned type")]

use std::{ffi::CString, io, path::Path, ptr};

use bytes::Bytes;
use ffmpeg_the_third::{Error, ffi};
use framewire_proto::{Codec, Micros};

/// What a file says of its one stream.
pub(super) struct Stream {
    pub(super) codec: Codec,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) pixels: Pixels,
    /// H.264's parameter sets.
    pub(super) extra: Bytes,
    pub(super) base: TimeBase,
    /// 0 when it is not known.
    pub(super) millifps: u32,
}

/// How pixels are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pixels {
    Grey,
    C420,
    C422,
    C440,
    C444,
}

/// A unit of time: so many seconds divided into so many ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeBase {
    pub(super) seconds: u32,
    pub(super) ticks: u32,
}

impl TimeBase {
    /// A time in ticks, rounded to the nearest.
    pub(super) fn ticks(self, time: Micros) -> i64 {
        let unit = u128::from(self.seconds.max(1)) * 1_000_000;
        let ticks = (u128::from(time) * u128::from(self.ticks) + unit / 2) / unit;
        i64::try_from(ticks).unwrap_or(i64::MAX / 2)
    }
}

/// Where a frame goes, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) decoded: i64,
    pub(super) shown: i64,
}

/// An open file.
pub(super) struct Output {
    /// Null once finished.
    context: *mut ffi::AVFormatContext,
    packet: *mut ffi::AVPacket,
    begun: bool,
}

// SAFETY: the context and the packet belong to this value alone, and FFmpeg ties neither to a thread.
unsafe impl Send for Output {}

impl Output {
    /// Creates the file.
    pub(super) fn create(format: &str, path: &Path) -> io::Result<Self> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, "the name holds a zero byte");
        // Without the protocol's name a colon in the path would be taken for one's end.
        let url = CString::new([b"file:", path.as_os_str().as_encoded_bytes()].concat()).map_err(invalid)?;
        let format = CString::new(format).map_err(invalid)?;
        let mut output = Self { context: ptr::null_mut(), packet: ptr::null_mut(), begun: false };
        // SAFETY: the strings live through the calls; what the calls allocate belongs to `output`, which frees it.
        unsafe {
            check(ffi::avformat_alloc_output_context2(
                &raw mut output.context,
                ptr::null(),
                format.as_ptr(),
                url.as_ptr(),
            ))?;
            output.packet = ffi::av_packet_alloc();
            if output.packet.is_null() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            check(ffi::avio_open(&raw mut (*output.context).pb, url.as_ptr(), ffi::AVIO_FLAG_WRITE))?;
            (*output.context).flags |= ffi::AVFMT_FLAG_FLUSH_PACKETS;
        }
        Ok(output)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.context.is_null()
    }

    /// Writes the file's header.
    pub(super) fn begin(&mut self, stream: &Stream, options: &[(&str, &str)]) -> io::Result<()> {
        let mut dictionary = ptr::null_mut();
        // SAFETY: the context is open; the new stream and its parameters belong to it. The dictionary is freed on every path.
        unsafe {
            let made = ffi::avformat_new_stream(self.open()?, ptr::null());
            if made.is_null() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            (*made).time_base = rational(stream.base.seconds, stream.base.ticks);
            if stream.millifps > 0 {
                (*made).avg_frame_rate = rational(stream.millifps, 1000);
            }
            describe(&mut *(*made).codecpar, stream)?;
            let begun = set(&mut dictionary, options)
                .and_then(|()| check(ffi::avformat_write_header(self.context, &raw mut dictionary)));
            ffi::av_dict_free(&raw mut dictionary);
            begun?;
        }
        self.begun = true;
        self.check_file()
    }

    /// The unit of time that the file really has; known once it was begun.
    pub(super) fn time_base(&self) -> TimeBase {
        // SAFETY: a begun context has the one stream that `begin` made.
        let base = unsafe {
            if self.begun && !self.context.is_null() {
                (*(*(*self.context).streams)).time_base
            } else {
                rational(1, 1000)
            }
        };
        TimeBase { seconds: base.num.unsigned_abs(), ticks: base.den.unsigned_abs() }
    }

    /// Writes one frame, to be decoded at this time, which must be later than the last one's, shown then or later, for this
    /// long.
    pub(super) fn write(&mut self, data: &[u8], place: Place, length: i64, keyframe: bool) -> io::Result<()> {
        let size = i32::try_from(data.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let context = self.open()?;
        // SAFETY: the packet only borrows the data, which outlives the call; `av_write_frame` copies what it keeps and never
        // writes to it.
        unsafe {
            let packet = &mut *self.packet;
            packet.data = data.as_ptr().cast_mut();
            packet.size = size;
            (packet.pts, packet.dts, packet.duration) = (place.shown, place.decoded, length);
            packet.flags = if keyframe { ffi::AV_PKT_FLAG_KEY } else { 0 };
            packet.stream_index = 0;
            let written = check(ffi::av_write_frame(context, packet));
            (packet.data, packet.size) = (ptr::null_mut(), 0);
            written
        }
    }

    /// Writes the file's end and closes it; does nothing when that was done.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.context.is_null() {
            return Ok(());
        }
        // SAFETY: the context is open and not used after this; the trailer belongs to a context whose header was written.
        unsafe {
            let failed = (*self.context).pb.as_ref().is_some_and(|file| file.error < 0);
            let ended = if self.begun { check(ffi::av_write_trailer(self.context)) } else { Ok(()) };
            let closed = check(ffi::avio_closep(&raw mut (*self.context).pb));
            ffi::avformat_free_context(self.context);
            self.context = ptr::null_mut();
            // An error that stopped the writing was reported then.
            if failed { Ok(()) } else { ended.and(closed) }
        }
    }

    fn open(&self) -> io::Result<*mut ffi::AVFormatContext> {
        if self.context.is_null() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(self.context) }
    }

    /// What went wrong while buffered bytes were written out.
    fn check_file(&mut self) -> io::Result<()> {
        // SAFETY: an open context has a file.
        unsafe {
            ffi::avio_flush((*self.context).pb);
            check((*(*self.context).pb).error)
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Whoever wants to know of errors calls `finish`.
        let _ = self.finish();
        // SAFETY: the packet is this value's own, and borrows nothing between calls.
        unsafe { ffi::av_packet_free(&raw mut self.packet) };
    }
}

/// Fills in a stream's parameters.
fn describe(parameters: &mut ffi::AVCodecParameters, stream: &Stream) -> io::Result<()> {
    use ffi::{AVCodecID as Id, AVPixelFormat as Format};
    parameters.codec_type = ffi::AVMediaType::VIDEO;
    (parameters.width, parameters.height) = (stream.width.into(), stream.height.into());
    let jpeg = stream.codec == Codec::Jpeg;
    parameters.codec_id = if jpeg { Id::MJPEG } else { Id::H264 };
    let format = match stream.pixels {
        Pixels::Grey => Format::GRAY8,
        Pixels::C420 if jpeg => Format::YUVJ420P,
        Pixels::C420 => Format::YUV420P,
        Pixels::C422 => Format::YUVJ422P,
        Pixels::C440 => Format::YUVJ440P,
        Pixels::C444 => Format::YUVJ444P,
    };
    parameters.format = format.0;
    if jpeg {
        parameters.color_range = ffi::AVColorRange::JPEG;
    }
    if !stream.extra.is_empty() {
        let length = stream.extra.len();
        let size = i32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the copy is as long as what is copied, and zeros follow it as FFmpeg's parsers want; the context frees it.
        unsafe {
            let copy = ffi::av_mallocz(length + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
            if copy.is_null() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            ptr::copy_nonoverlapping(stream.extra.as_ptr(), copy, length);
            (parameters.extradata, parameters.extradata_size) = (copy, size);
        }
    }
    Ok(())
}

fn set(dictionary: &mut *mut ffi::AVDictionary, options: &[(&str, &str)]) -> io::Result<()> {
    for (key, value) in options {
        let (key, value) = (CString::new(*key)?, CString::new(*value)?);
        // SAFETY: FFmpeg copies both strings; the caller frees the dictionary.
        check(unsafe { ffi::av_dict_set(dictionary, key.as_ptr(), value.as_ptr(), 0) })?;
    }
    Ok(())
}

fn rational(over: u32, under: u32) -> ffi::AVRational {
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    ffi::AVRational { num: part(over), den: part(under) }
}

/// FFmpeg's way to tell success from failure, as Rust's.
fn check(code: i32) -> io::Result<()> {
    if code >= 0 {
        return Ok(());
    }
    Err(match Error::from(code) {
        Error::Other { errno } => io::Error::from_raw_os_error(errno),
        error => io::Error::other(error),
    })
}
