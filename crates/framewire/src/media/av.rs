//! FFmpeg's frames, packets, decoders, filters and encoders as owned types.
#![allow(unsafe_code, reason = "FFmpeg's frames, packets, decoders and encoders behind owned types")]

use std::{
    ffi::{CStr, c_int},
    ptr,
    sync::Once,
};

use crate::error::{Context as _, Result, bail, ensure};
use ffmpeg_sys_the_third as ffi;
use framewire_proto::wire::y4m::Scan;
use framewire_proto::{Orientation, PixelAspect, Presentation};

/// The code that FFmpeg returns when it needs more input first.
pub(super) const AGAIN: c_int = ffi::AVERROR(rustix::io::Errno::AGAIN.raw_os_error());

/// Silences FFmpeg's own log, unless debug logs are on, and registers its devices. Done once.
pub(super) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the first sets a number, the second fills libavdevice's tables.
        unsafe {
            ffi::av_log_set_level(ffi::AV_LOG_QUIET);
            ffi::avdevice_register_all();
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            log::begin();
        }
    });
}

/// FFmpeg's log as debug lines of ours, so that passwords in its addresses are masked.
#[cfg(target_arch = "x86_64")]
mod log {
    use std::ffi::{CStr, c_char, c_int, c_void};

    use ffmpeg_sys_the_third as ffi;

    use crate::secret;

    /// The longest line that is logged whole.
    const LINE: usize = 1024;

    pub(super) fn begin() {
        // SAFETY: both set a number or a pointer; the callback is a constant.
        unsafe {
            ffi::av_log_set_callback(Some(take));
            ffi::av_log_set_level(ffi::AV_LOG_WARNING);
        }
    }

    unsafe extern "C" fn take(from: *mut c_void, level: c_int, format: *const c_char, values: *mut ffi::__va_list_tag) {
        let (mut line, mut with_prefix) = ([0; LINE], 1);
        // SAFETY: FFmpeg passes what belongs together, and writes at most so many bytes, with a zero at their end.
        let text = unsafe {
            if level > ffi::av_log_get_level() {
                return;
            }
            let length = LINE as c_int;
            ffi::av_log_format_line2(from, level, format, values, line.as_mut_ptr(), length, &raw mut with_prefix);
            CStr::from_ptr(line.as_ptr()).to_string_lossy()
        };
        tracing::debug!("{}", secret::mask(text.trim_end()));
    }
}

/// Elsewhere C passes a message's values in a way that Rust cannot name: the log stays silent, because it could not be masked.
#[cfg(not(target_arch = "x86_64"))]
mod log {
    pub(super) fn begin() {}
}

/// FFmpeg's message for an error code.
pub(super) fn message(code: c_int) -> String {
    let mut text = [0; 128];
    // SAFETY: writes a string of at most this length, always with a terminating zero.
    unsafe {
        ffi::av_strerror(code, text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    }
}

/// Turns a negative code into an error: `what` failed.
pub(super) fn check(code: c_int, what: &str) -> Result<c_int> {
    ensure!(code >= 0, System, "{what}: {}", message(code));
    Ok(code)
}

/// The orientation in FFmpeg's display matrix: nine numbers, of which the first two say where a step to the right goes, and the fourth
/// and fifth where a step down goes.
///
/// # Safety
/// `data` points to this many bytes, or is null.
pub(super) unsafe fn display_matrix(data: *const u8, size: usize) -> Option<Orientation> {
    const BYTES: usize = 9 * size_of::<i32>();
    if data.is_null() || size < BYTES {
        return None;
    }
    // SAFETY: the caller guarantees it.
    let bytes = unsafe { std::slice::from_raw_parts(data, BYTES) };
    let number = |index: usize| bytes[4 * index..].first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    Some(Orientation::from_matrix([number(0), number(1)], [number(3), number(4)]))
}

/// The shape of pixels; square where it is not stated.
pub(super) fn pixel_aspect(ratio: ffi::AVRational) -> PixelAspect {
    let side = |side: c_int| u64::try_from(side).unwrap_or(0);
    PixelAspect::new(side(ratio.num), side(ratio.den))
}

/// A raw frame: a decoder's output or an encoder's input.
pub(super) struct AvFrame(*mut ffi::AVFrame);

// SAFETY: the buffers of a frame are counted atomically and bound to no thread.
unsafe impl Send for AvFrame {}

impl AvFrame {
    pub(super) fn new() -> Self {
        // SAFETY: has no arguments, and returns null only without memory.
        let frame = unsafe { ffi::av_frame_alloc() };
        assert!(!frame.is_null(), "no memory for a frame");
        Self(frame)
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVFrame {
        self.0
    }

    /// The fields of the frame.
    pub(super) fn fields(&self) -> &ffi::AVFrame {
        // SAFETY: the frame is ours and live.
        unsafe { &*self.0 }
    }

    /// How the picture is to be shown, as its own data state it: EXIF, H.264's SEI and VUI.
    pub(super) fn presentation(&self) -> Presentation {
        // SAFETY: the frame is ours and live. Its side data live as long, and have this length.
        let matrix = unsafe {
            let data = ffi::av_frame_get_side_data(self.0, ffi::AVFrameSideDataType::DISPLAYMATRIX);
            data.as_ref().and_then(|data| display_matrix(data.data, data.size))
        };
        let orientation = matrix.unwrap_or_default();
        Presentation { pixel_aspect: pixel_aspect(self.fields().sample_aspect_ratio), orientation }
    }

    /// Whether the picture consists of two fields, captured one after the other.
    pub(super) fn is_interlaced(&self) -> bool {
        #[cfg(ffmpeg_6_1)]
        return self.fields().flags & ffi::AV_FRAME_FLAG_INTERLACED as c_int != 0;
        #[cfg(not(ffmpeg_6_1))]
        return self.fields().interlaced_frame != 0;
    }

    /// How the picture was captured.
    pub(super) fn scan(&self) -> Scan {
        #[cfg(ffmpeg_6_1)]
        let top_first = self.fields().flags & ffi::AV_FRAME_FLAG_TOP_FIELD_FIRST as c_int != 0;
        #[cfg(not(ffmpeg_6_1))]
        let top_first = self.fields().top_field_first != 0;
        match (self.is_interlaced(), top_first) {
            (false, _) => Scan::Progressive,
            (true, true) => Scan::TopFirst,
            (true, false) => Scan::BottomFirst,
        }
    }

    /// Sets the time stamp.
    pub(super) fn set_pts(&mut self, pts: i64) {
        // SAFETY: the frame is ours and live.
        unsafe { (*self.0).pts = pts }
    }

    /// Whether the decoder had to guess parts of the picture.
    pub(super) fn is_damaged(&self) -> bool {
        let fields = self.fields();
        fields.decode_error_flags != 0 || fields.flags & ffi::AV_FRAME_FLAG_CORRUPT != 0
    }
}

impl Drop for AvFrame {
    fn drop(&mut self) {
        // SAFETY: the frame is ours and live.
        unsafe { ffi::av_frame_free(&raw mut self.0) }
    }
}

/// Encoded data: the output of a demuxer or an encoder, or a decoder's input.
pub(super) struct AvPacket(*mut ffi::AVPacket);

// SAFETY: the buffers of a packet are counted atomically and bound to no thread.
unsafe impl Send for AvPacket {}

impl AsRef<[u8]> for AvPacket {
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl AvPacket {
    pub(super) fn new() -> Self {
        // SAFETY: has no arguments, and returns null only without memory.
        let packet = unsafe { ffi::av_packet_alloc() };
        assert!(!packet.is_null(), "no memory for a packet");
        Self(packet)
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVPacket {
        self.0
    }

    /// The fields of the packet.
    pub(super) fn fields(&self) -> &ffi::AVPacket {
        // SAFETY: the packet is ours and live.
        unsafe { &*self.0 }
    }

    /// The packet's bytes.
    pub(super) fn data(&self) -> &[u8] {
        let fields = self.fields();
        if fields.data.is_null() || fields.size <= 0 {
            return &[];
        }
        // SAFETY: the packet's data has this length, and does not change while it is borrowed.
        unsafe { std::slice::from_raw_parts(fields.data, fields.size as usize) }
    }

    /// Copies these bytes into the packet, with the padding that decoders need.
    pub(super) fn fill(&mut self, data: &[u8]) -> Result<()> {
        self.clear();
        let length = c_int::try_from(data.len()).context("a frame is too long")?;
        // SAFETY: the packet is empty; on success it owns `length` bytes, which we fill.
        unsafe {
            check(ffi::av_new_packet(self.0, length), "no memory for a packet")?;
            ptr::copy_nonoverlapping(data.as_ptr(), (*self.0).data, data.len());
        }
        Ok(())
    }

    /// Sets the time stamp, which the decoded frame gets too.
    pub(super) fn set_pts(&mut self, pts: i64) {
        // SAFETY: the packet is ours and live.
        unsafe { (*self.0).pts = pts }
    }

    pub(super) fn clear(&mut self) {
        // SAFETY: the packet is ours and live.
        unsafe { ffi::av_packet_unref(self.0) }
    }
}

impl Drop for AvPacket {
    fn drop(&mut self) {
        // SAFETY: the packet is ours and live.
        unsafe { ffi::av_packet_free(&raw mut self.0) }
    }
}

/// An open decoder.
pub(super) struct AvDecoder {
    context: *mut ffi::AVCodecContext,
    frame: AvFrame,
}

// SAFETY: a decoder is bound to no thread, and only its owner uses it.
unsafe impl Send for AvDecoder {}

/// A decoder's output.
pub(super) enum Decoded<'a> {
    Frame(&'a mut AvFrame),
    /// The decoder needs the next packet.
    NeedsInput,
    /// The decoder has no more frames.
    End,
}

/// How a decoder uses threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One thread. Each frame comes out as soon as its packet went in.
    LowDelay,
    /// Several threads decode frames in parallel. Frames come out a few packets later.
    Frames,
}

impl AvDecoder {
    /// Opens FFmpeg's decoder of this codec. `parameters` are those of a stream, or null.
    ///
    /// # Errors
    /// FFmpeg was built without the decoder, or refuses the parameters.
    pub(super) fn open(
        codec: ffi::AVCodecID,
        parameters: *const ffi::AVCodecParameters,
        threads: Threads,
    ) -> Result<Self> {
        quiet();
        // SAFETY: reads a constant table; the name is a constant string.
        let (decoder, name) = unsafe {
            (ffi::avcodec_find_decoder(codec), CStr::from_ptr(ffi::avcodec_get_name(codec)).to_string_lossy())
        };
        ensure!(!decoder.is_null(), Unsupported, "this FFmpeg has no decoder for {name}");
        // SAFETY: the decoder is a constant. The result is null only without memory.
        let context = unsafe { ffi::avcodec_alloc_context3(decoder) };
        assert!(!context.is_null(), "no memory for a decoder");
        let this = Self { context, frame: AvFrame::new() };
        // SAFETY: the context is ours and not yet open. The parameters are live or null, as the caller guarantees.
        unsafe {
            if !parameters.is_null() {
                let code = ffi::avcodec_parameters_to_context(context, parameters);
                check(code, &format!("the decoder for {name} refuses the stream's parameters"))?;
            }
            (*context).max_pixels = framewire_proto::limits::PIXELS as i64;
            if threads == Threads::LowDelay {
                (*context).flags |= ffi::AV_CODEC_FLAG_LOW_DELAY as c_int;
                (*context).thread_count = 1;
            } else {
                (*context).thread_count = 0;
                (*context).thread_type = ffi::FF_THREAD_FRAME as c_int | ffi::FF_THREAD_SLICE as c_int;
            }
            let code = ffi::avcodec_open2(context, decoder, ptr::null_mut());
            check(code, &format!("the decoder for {name} cannot be opened"))?;
        }
        Ok(this)
    }

    /// Discards all packets and frames inside the decoder. Decoding starts again at the next packet.
    pub(super) fn flush(&mut self) {
        // SAFETY: the context is ours and open.
        unsafe { ffi::avcodec_flush_buffers(self.context) }
    }

    /// How many frames the decoder delays to output them in display order, as far as the stream states.
    pub(super) fn reorder_depth(&self) -> usize {
        // SAFETY: the context is ours and live.
        usize::try_from(unsafe { (*self.context).has_b_frames }).unwrap_or(0)
    }

    /// The size of the pictures, once a packet has stated it.
    pub(super) fn size(&self) -> (u32, u32) {
        // SAFETY: the context is ours and live.
        let (width, height) = unsafe { ((*self.context).width, (*self.context).height) };
        (width.try_into().unwrap_or(0), height.try_into().unwrap_or(0))
    }

    /// Gives the decoder a packet; `None` ends the stream. Then receive frames until it needs more input.
    ///
    /// # Errors
    /// The packet is broken.
    pub(super) fn send(&mut self, packet: Option<&AvPacket>) -> Result<()> {
        let packet = packet.map_or(ptr::null_mut(), AvPacket::as_ptr);
        // SAFETY: both are live, or the packet is null, which ends the stream.
        let code = unsafe { ffi::avcodec_send_packet(self.context, packet) };
        if code == ffi::AVERROR_EOF && packet.is_null() {
            return Ok(());
        }
        check(code, "a frame is broken").map(drop)
    }

    /// The next decoded frame.
    ///
    /// # Errors
    /// A packet is broken.
    pub(super) fn receive(&mut self) -> Result<Decoded<'_>> {
        // SAFETY: both are live. FFmpeg empties the frame first.
        match unsafe { ffi::avcodec_receive_frame(self.context, self.frame.as_ptr()) } {
            AGAIN => Ok(Decoded::NeedsInput),
            ffi::AVERROR_EOF => Ok(Decoded::End),
            code => {
                check(code, "a frame is broken")?;
                Ok(Decoded::Frame(&mut self.frame))
            }
        }
    }
}

impl Drop for AvDecoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours and live.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) }
    }
}

/// An open bitstream filter, which converts packets.
pub(super) struct Filter(*mut ffi::AVBSFContext);

// SAFETY: a filter is bound to no thread, and only its owner uses it.
unsafe impl Send for Filter {}

impl Filter {
    /// Opens FFmpeg's filter of this name for a stream with these parameters.
    ///
    /// # Errors
    /// FFmpeg was built without the filter, or refuses the parameters.
    pub(super) fn open(name: &CStr, parameters: &ffi::AVCodecParameters, time_base: ffi::AVRational) -> Result<Self> {
        quiet();
        // SAFETY: reads a constant table. The string lives through the call.
        let filter = unsafe { ffi::av_bsf_get_by_name(name.as_ptr()) };
        ensure!(!filter.is_null(), Unsupported, "this FFmpeg was built without {}", name.to_string_lossy());
        let mut this = Self(ptr::null_mut());
        // SAFETY: the filter is a constant. `this` owns what is allocated, and frees it. The parameters are copied.
        unsafe {
            check(ffi::av_bsf_alloc(filter, &raw mut this.0), "no memory for a filter")?;
            check(ffi::avcodec_parameters_copy((*this.0).par_in, parameters), "no memory for a filter")?;
            (*this.0).time_base_in = time_base;
            check(ffi::av_bsf_init(this.0), "the parameter sets before the first frame are broken")?;
        }
        Ok(this)
    }

    /// The converted extra data: what the stream states before its first packet.
    pub(super) fn extra(&self) -> &[u8] {
        // SAFETY: an open filter has parameters, and their extra data has this length.
        unsafe {
            let parameters = &*(*self.0).par_out;
            match (parameters.extradata, usize::try_from(parameters.extradata_size)) {
                (data, Ok(length)) if !data.is_null() => std::slice::from_raw_parts(data, length),
                _ => &[],
            }
        }
    }

    /// Moves a packet's data into the filter. Then receive packets until there are no more.
    ///
    /// # Errors
    /// The packet is broken.
    pub(super) fn send(&mut self, packet: &mut AvPacket) -> Result<()> {
        // SAFETY: both are live. The filter takes over the packet's data.
        check(unsafe { ffi::av_bsf_send_packet(self.0, packet.as_ptr()) }, "a frame is broken").map(drop)
    }

    /// The next converted packet; `None` when the filter needs more input.
    ///
    /// # Errors
    /// A packet is broken.
    pub(super) fn receive(&mut self) -> Result<Option<AvPacket>> {
        let packet = AvPacket::new();
        // SAFETY: both are live, and the packet is empty.
        match unsafe { ffi::av_bsf_receive_packet(self.0, packet.as_ptr()) } {
            AGAIN | ffi::AVERROR_EOF => Ok(None),
            code => check(code, "a frame is broken").map(|_| Some(packet)),
        }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: the filter is ours and live, or null.
        unsafe { ffi::av_bsf_free(&raw mut self.0) }
    }
}

/// An open encoder of full-range BT.601 4:2:0 video with one packet for each frame.
pub(super) struct AvEncoder {
    context: *mut ffi::AVCodecContext,
    frame: AvFrame,
    layout: PlaneLayout,
    rate_control: RateControl,
}

// SAFETY: an encoder is bound to no thread, and only its owner uses it.
unsafe impl Send for AvEncoder {}

/// The limit on frame sizes (video buffering verifier): a buffer that is filled at a constant rate and emptied by each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vbv {
    /// Bits per second that fill the buffer.
    pub(super) rate: i64,
    /// The buffer's size in bits.
    pub(super) buffer: c_int,
}

/// How an encoder takes the planes of a 4:2:0 picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaneLayout {
    /// Three planes.
    Planar,
    /// Two planes: Y, and U and V interleaved.
    Nv12,
}

/// How an encoder uses the rate of its [`Vbv`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateControl {
    /// As an upper limit. The encoder's options decide how many bits a frame takes below it.
    Capped,
    /// As a constant bitrate.
    Constant,
}

/// The configuration of an [`AvEncoder`].
pub(super) struct AvEncoderConfig<'a> {
    /// FFmpeg's name of the encoder.
    pub(super) name: &'a CStr,
    /// FFmpeg's names of options, and their values.
    pub(super) options: &'a [(&'a CStr, &'a CStr)],
    pub(super) layout: PlaneLayout,
    pub(super) rate_control: RateControl,
    pub(super) threads: u8,
    pub(super) size: (u32, u32),
    /// Frames per second in thousandths, at least 1.
    pub(super) millifps: u32,
    pub(super) vbv: Vbv,
}

impl AvEncoder {
    /// Opens an encoder that makes keyframes only on request, each with parameter sets.
    ///
    /// # Errors
    /// FFmpeg was built without the encoder, or the encoder refuses its configuration.
    pub(super) fn open(config: &AvEncoderConfig<'_>) -> Result<Self> {
        quiet();
        let name = config.name.to_string_lossy();
        // SAFETY: reads a constant table. The string lives through the call.
        let encoder = unsafe { ffi::avcodec_find_encoder_by_name(config.name.as_ptr()) };
        ensure!(
            !encoder.is_null(),
            Unsupported,
            "this FFmpeg was built without {name}: install a build with {name} (Fedora: ffmpeg from RPM Fusion; Debian and \
             Homebrew include it), or send JPEG"
        );
        // SAFETY: the encoder is a constant. The result is null only without memory.
        let context = unsafe { ffi::avcodec_alloc_context3(encoder) };
        assert!(!context.is_null(), "no memory for an encoder");
        let mut this =
            Self { context, frame: AvFrame::new(), layout: config.layout, rate_control: config.rate_control };
        this.describe(config)?;
        let refused = format!("{name} cannot be opened for {}x{}", config.size.0, config.size.1);
        // SAFETY: the context is ours and not yet open. The strings live through the calls, which copy them.
        unsafe {
            for (option, value) in config.options {
                let code = ffi::av_opt_set(
                    context.cast(),
                    option.as_ptr(),
                    value.as_ptr(),
                    ffi::AV_OPT_SEARCH_CHILDREN as c_int,
                );
                check(code, &format!("{name} refuses its option {}", option.to_string_lossy()))?;
            }
            check(ffi::avcodec_open2(context, encoder, ptr::null_mut()), &refused)?;
            check(ffi::av_frame_get_buffer(this.frame.as_ptr(), 0), "no memory for a frame")?;
        }
        Ok(this)
    }

    /// Sets the fields of the encoder and its frame that must be set before opening.
    fn describe(&mut self, config: &AvEncoderConfig<'_>) -> Result<()> {
        let (width, height) = (c_int::try_from(config.size.0)?, c_int::try_from(config.size.1)?);
        let millifps = c_int::try_from(config.millifps)?;
        // SAFETY: both are ours and live, and nothing else refers to them.
        let (context, frame) = unsafe { (&mut *self.context, &mut *self.frame.as_ptr()) };
        (context.width, context.height) = (width, height);
        context.pix_fmt = match config.layout {
            PlaneLayout::Planar => ffi::AVPixelFormat::YUV420P,
            PlaneLayout::Nv12 => ffi::AVPixelFormat::NV12,
        };
        // The colours of JFIF, so that H.264 and JPEG look the same.
        context.color_range = ffi::AVColorRange::JPEG;
        context.colorspace = ffi::AVColorSpace::SMPTE170M;
        context.color_primaries = ffi::AVColorPrimaries::BT709;
        context.color_trc = ffi::AVColorTransferCharacteristic::IEC61966_2_1;
        context.time_base = ffi::AVRational { num: 1000, den: millifps };
        context.framerate = ffi::AVRational { num: millifps, den: 1000 };
        context.gop_size = c_int::MAX;
        context.max_b_frames = 0;
        context.thread_count = config.threads.into();
        frame.format = context.pix_fmt.0;
        (frame.width, frame.height) = (width, height);
        (frame.color_range, frame.colorspace) = (context.color_range, context.colorspace);
        frame.pts = 0;
        self.set_vbv(config.vbv);
        Ok(())
    }

    /// Changes the limit on frame sizes, from the next frame on.
    pub(super) fn set_vbv(&mut self, vbv: Vbv) {
        // SAFETY: the context is ours and live. Encoders read these fields again for each frame.
        let context = unsafe { &mut *self.context };
        (context.rc_max_rate, context.rc_buffer_size) = (vbv.rate, vbv.buffer);
        if self.rate_control == RateControl::Constant {
            context.bit_rate = vbv.rate;
        }
    }

    /// Encodes one picture, given as planes without padding and of the size that the encoder was opened for.
    ///
    /// # Errors
    /// The encoder failed, or gave no frame for this picture yet.
    pub(super) fn encode(&mut self, planes: [&[u8]; 3], keyframe: bool) -> Result<AvPacket> {
        let frame = self.frame.as_ptr();
        // SAFETY: the frame is ours and has buffers. FFmpeg copies them first if the encoder still uses them.
        check(unsafe { ffi::av_frame_make_writable(frame) }, "no memory for a frame")?;
        // SAFETY: the frame is ours and live, and nothing else refers to it.
        let fields = unsafe { &mut *frame };
        fill(fields, self.layout, planes);
        fields.pts += 1;
        fields.pict_type = if keyframe { ffi::AVPictureType::I } else { ffi::AVPictureType::NONE };
        let packet = AvPacket::new();
        // SAFETY: all are ours and live.
        unsafe {
            check(ffi::avcodec_send_frame(self.context, frame), "a picture cannot be encoded")?;
            match ffi::avcodec_receive_packet(self.context, packet.as_ptr()) {
                AGAIN => bail!(Unsupported, "the encoder gave no frame for a picture at once"),
                code => check(code, "a picture cannot be encoded")?,
            };
        }
        Ok(packet)
    }
}

/// Copies planes without padding into the buffers of a frame of the same size.
fn fill(frame: &mut ffi::AVFrame, layout: PlaneLayout, [luma, blue, red]: [&[u8]; 3]) {
    let (width, height) = (frame.width.unsigned_abs() as usize, frame.height.unsigned_abs() as usize);
    let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
    for (number, from) in luma.chunks_exact(width).take(height).enumerate() {
        row(frame, 0, number, width).copy_from_slice(from);
    }
    for (number, (blue, red)) in blue.chunks_exact(half).zip(red.chunks_exact(half)).take(rows).enumerate() {
        match layout {
            PlaneLayout::Planar => {
                row(frame, 1, number, half).copy_from_slice(blue);
                row(frame, 2, number, half).copy_from_slice(red);
            }
            PlaneLayout::Nv12 => {
                let pairs = row(frame, 1, number, 2 * half).chunks_exact_mut(2);
                for (pair, (blue, red)) in pairs.zip(blue.iter().zip(red)) {
                    pair.copy_from_slice(&[*blue, *red]);
                }
            }
        }
    }
}

/// The first `length` bytes of a row of a plane. The frame must have them.
fn row(frame: &mut ffi::AVFrame, plane: usize, row: usize, length: usize) -> &mut [u8] {
    // SAFETY: the planes of a frame with buffers have rows of `linesize` bytes. `fill` asks for no more, and nothing else refers to
    // them while the frame is borrowed.
    unsafe { std::slice::from_raw_parts_mut(frame.data[plane].add(row * frame.linesize[plane] as usize), length) }
}

impl Drop for AvEncoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours and live.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) }
    }
}
