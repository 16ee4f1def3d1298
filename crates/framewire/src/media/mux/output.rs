//! FFmpeg's libavformat as a muxer of one video track.
#![allow(unsafe_code, reason = "FFmpeg's muxers behind an owned type")]

use std::{ffi::CString, io, path::Path, ptr};

use bytes::Bytes;
use ffmpeg_sys_the_third as ffi;
use framewire_proto::{Codec, Micros, Orientation, Presentation};

use crate::media::av;

// Where `avio_seek` counts from, as lseek(2) does.
const FROM_START: i32 = 0;
const FROM_HERE: i32 = 1;

/// The file's only track.
pub(super) struct Track {
    pub(super) codec: Codec,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) presentation: Presentation,
    pub(super) pixels: PixelLayout,
    /// H.264's parameter sets.
    pub(super) extra: Bytes,
    pub(super) time_base: TimeBase,
    /// 0 when unknown.
    pub(super) millifps: u32,
}

/// The subsampling of a track's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelLayout {
    Grey,
    C420,
    C422,
    C440,
    C444,
}

/// A unit of time: `seconds` divided into `ticks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeBase {
    pub(super) seconds: u32,
    pub(super) ticks: u32,
}

impl TimeBase {
    /// A time in ticks, rounded to the nearest one.
    pub(super) fn ticks(self, time: Micros) -> i64 {
        let unit = u128::from(self.seconds.max(1)) * 1_000_000;
        let ticks = (u128::from(time) * u128::from(self.ticks) + unit / 2) / unit;
        i64::try_from(ticks).unwrap_or(i64::MAX / 2)
    }
}

/// When to decode (DTS) and when to display (PTS) a frame, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamps {
    pub(super) decoded: i64,
    pub(super) shown: i64,
}

/// An open file.
pub(super) struct FileWriter {
    /// Null once the file is finished.
    context: *mut ffi::AVFormatContext,
    packet: *mut ffi::AVPacket,
    started: bool,
}

// SAFETY: only this value uses the context and the packet, and FFmpeg binds neither to a thread.
unsafe impl Send for FileWriter {}

impl FileWriter {
    /// Creates the file.
    pub(super) fn create(format: &str, path: &Path) -> io::Result<Self> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidInput, "the name contains a zero byte");
        // Without `file:`, FFmpeg would read a path up to its first colon as a protocol's name.
        let url = CString::new([b"file:", path.as_os_str().as_encoded_bytes()].concat()).map_err(invalid)?;
        let format = CString::new(format).map_err(invalid)?;
        let mut output = Self { context: ptr::null_mut(), packet: ptr::null_mut(), started: false };
        // SAFETY: the strings live through the calls. `output` owns what the calls allocate, and frees it.
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
    pub(super) fn begin(&mut self, track: &Track, options: &[(&str, &str)]) -> io::Result<()> {
        let mut dictionary = ptr::null_mut();
        // SAFETY: the context is open; the new track and its parameters belong to it. The dictionary is freed on every path.
        unsafe {
            let made = ffi::avformat_new_stream(self.open()?, ptr::null());
            if made.is_null() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            (*made).time_base = rational(track.time_base.seconds, track.time_base.ticks);
            if track.millifps > 0 {
                (*made).avg_frame_rate = rational(track.millifps, 1000);
            }
            describe(&mut *(*made).codecpar, track)?;
            present(&mut *made, track.presentation)?;
            let started = set(&mut dictionary, options)
                .and_then(|()| check(ffi::avformat_write_header(self.context, &raw mut dictionary)));
            ffi::av_dict_free(&raw mut dictionary);
            started?;
        }
        self.started = true;
        self.check_file()
    }

    /// The track's real unit of time, which is known after the header was written.
    pub(super) fn time_base(&self) -> TimeBase {
        // SAFETY: after the header was written, the context has the track that `begin` created.
        let time_base = unsafe {
            if self.started && !self.context.is_null() {
                (*(*(*self.context).streams)).time_base
            } else {
                rational(1, 1000)
            }
        };
        TimeBase { seconds: time_base.num.unsigned_abs(), ticks: time_base.den.unsigned_abs() }
    }

    /// How many bytes were written.
    pub(super) fn position(&self) -> u64 {
        // SAFETY: an open context has a file.
        let position = unsafe { self.context.as_ref().map_or(0, |context| ffi::avio_seek(context.pb, 0, FROM_HERE)) };
        position.try_into().unwrap_or(0)
    }

    /// Whether bytes can be written again: it is a file, not a pipe.
    pub(super) fn is_seekable(&self) -> bool {
        // SAFETY: an open context has a file.
        let file = unsafe { self.context.as_ref().and_then(|context| context.pb.as_ref()) };
        file.is_some_and(|file| file.seekable & ffi::AVIO_SEEKABLE_NORMAL != 0)
    }

    /// Writes these bytes as they are.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = i32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // SAFETY: an open context has a file, which copies the bytes.
        unsafe { ffi::avio_write((*self.open()?).pb, bytes.as_ptr(), size) };
        self.check_file()
    }

    /// Writes the frames that the muxer holds back to write them together.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        // SAFETY: the context is open and its header was written. Without a packet the muxer writes what it holds.
        check(unsafe { ffi::av_write_frame(self.open()?, ptr::null_mut()) })
    }

    /// Writes one frame. It must be decoded later than the last one, and displayed no earlier than decoded; `duration` is in
    /// ticks.
    pub(super) fn write(&mut self, data: &[u8], times: Timestamps, duration: i64, keyframe: bool) -> io::Result<()> {
        let size = i32::try_from(data.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let context = self.open()?;
        // SAFETY: the packet only borrows the data, which outlives the call. `av_write_frame` copies what it keeps, and never
        // writes to the data.
        unsafe {
            let packet = &mut *self.packet;
            packet.data = data.as_ptr().cast_mut();
            packet.size = size;
            (packet.pts, packet.dts, packet.duration) = (times.shown, times.decoded, duration);
            packet.flags = if keyframe { ffi::AV_PKT_FLAG_KEY } else { 0 };
            packet.stream_index = 0;
            let written = check(ffi::av_write_frame(context, packet));
            (packet.data, packet.size) = (ptr::null_mut(), 0);
            written
        }
    }

    /// Writes the file's end, then its beginning anew if that is given, and closes the file. Does nothing the second time.
    pub(super) fn finish(&mut self, beginning: Option<&[u8]>) -> io::Result<()> {
        if self.context.is_null() {
            return Ok(());
        }
        // SAFETY: the context is open and not used after this. A trailer is written only after a header.
        unsafe {
            let failed = (*self.context).pb.as_ref().is_some_and(|file| file.error < 0);
            let ended = if self.started { check(ffi::av_write_trailer(self.context)) } else { Ok(()) };
            let ended = ended.and_then(|()| beginning.map_or(Ok(()), |bytes| self.begin_anew(bytes)));
            let closed = check(ffi::avio_closep(&raw mut (*self.context).pb));
            ffi::avformat_free_context(self.context);
            self.context = ptr::null_mut();
            // An error of an earlier write was reported then.
            if failed { Ok(()) } else { ended.and(closed) }
        }
    }

    /// Replaces the file's first bytes.
    fn begin_anew(&mut self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: an open context has a file.
        let at = unsafe { ffi::avio_seek((*self.open()?).pb, 0, FROM_START) };
        check(i32::try_from(at).unwrap_or(-1))?;
        self.append(bytes)
    }

    fn open(&self) -> io::Result<*mut ffi::AVFormatContext> {
        if self.context.is_null() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(self.context) }
    }

    /// Writes out the buffered bytes, and returns an error of any write so far.
    fn check_file(&mut self) -> io::Result<()> {
        // SAFETY: an open context has a file.
        unsafe {
            ffi::avio_flush((*self.context).pb);
            check((*(*self.context).pb).error)
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // To see errors, call `finish`.
        let _ = self.finish(None);
        // SAFETY: only this value uses the packet, which borrows nothing between calls.
        unsafe { ffi::av_packet_free(&raw mut self.packet) };
    }
}

/// Sets a track's parameters.
fn describe(parameters: &mut ffi::AVCodecParameters, track: &Track) -> io::Result<()> {
    use ffi::{AVCodecID as Id, AVPixelFormat as Format};
    parameters.codec_type = ffi::AVMediaType::VIDEO;
    (parameters.width, parameters.height) = (track.width.into(), track.height.into());
    let jpeg = track.codec == Codec::Jpeg;
    parameters.codec_id = if jpeg { Id::MJPEG } else { Id::H264 };
    let format = match track.pixels {
        PixelLayout::Grey => Format::GRAY8,
        PixelLayout::C420 if jpeg => Format::YUVJ420P,
        PixelLayout::C420 => Format::YUV420P,
        PixelLayout::C422 => Format::YUVJ422P,
        PixelLayout::C440 => Format::YUVJ440P,
        PixelLayout::C444 => Format::YUVJ444P,
    };
    parameters.format = format.0;
    if jpeg {
        parameters.color_range = ffi::AVColorRange::JPEG;
    }
    if !track.extra.is_empty() {
        let length = track.extra.len();
        let size = i32::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the copy has room for the data and for the zeros that FFmpeg's parsers need after it. The context frees it.
        unsafe {
            let copy = ffi::av_mallocz(length + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
            if copy.is_null() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            ptr::copy_nonoverlapping(track.extra.as_ptr(), copy, length);
            (parameters.extradata, parameters.extradata_size) = (copy, size);
        }
    }
    Ok(())
}

/// States how the track's pictures are shown, where that is not as they are.
fn present(stream: &mut ffi::AVStream, presentation: Presentation) -> io::Result<()> {
    let (width, height) = presentation.pixel_aspect.parts();
    stream.sample_aspect_ratio = rational(width.into(), height.into());
    // SAFETY: a stream has parameters.
    let parameters = unsafe { &mut *stream.codecpar };
    parameters.sample_aspect_ratio = stream.sample_aspect_ratio;
    if presentation.orientation == Orientation::UPRIGHT {
        return Ok(());
    }
    // FFmpeg's display matrix has numbers of 16.16 bits, the last column 2.30.
    let [[a, b], [c, d]] = presentation.orientation.matrix().map(|step| step.map(|part| part << 16));
    let matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30];
    let kind = ffi::AVPacketSideDataType::DISPLAYMATRIX;
    // SAFETY: the stream owns the new data, which have the size of the matrix.
    unsafe {
        #[cfg(ffmpeg_6_1)]
        let data = ffi::av_packet_side_data_new(
            &raw mut parameters.coded_side_data,
            &raw mut parameters.nb_coded_side_data,
            kind,
            size_of_val(&matrix),
            0,
        )
        .as_ref()
        .map_or(ptr::null_mut(), |data| data.data);
        #[cfg(not(ffmpeg_6_1))]
        let data = ffi::av_stream_new_side_data(stream, kind, size_of_val(&matrix));
        if data.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        ptr::copy_nonoverlapping(matrix.as_ptr().cast(), data, size_of_val(&matrix));
    }
    Ok(())
}

fn set(dictionary: &mut *mut ffi::AVDictionary, options: &[(&str, &str)]) -> io::Result<()> {
    for (key, value) in options {
        let (key, value) = (CString::new(*key)?, CString::new(*value)?);
        // SAFETY: FFmpeg copies both strings. The caller frees the dictionary.
        check(unsafe { ffi::av_dict_set(dictionary, key.as_ptr(), value.as_ptr(), 0) })?;
    }
    Ok(())
}

fn rational(over: u32, under: u32) -> ffi::AVRational {
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    ffi::AVRational { num: part(over), den: part(under) }
}

/// Turns FFmpeg's negative codes into errors.
fn check(code: i32) -> io::Result<()> {
    if code >= 0 {
        return Ok(());
    }
    // FFmpeg's own codes are four letters as a number; the system's are small.
    let own = code < -(1 << 16);
    Err(if own { io::Error::other(av::message(code)) } else { io::Error::from_raw_os_error(ffi::AVUNERROR(code)) })
}
