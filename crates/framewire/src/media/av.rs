//! FFmpeg's frames, packets, decoders and encoders as owned things; what the rest of this module shares of FFmpeg.
#![allow(unsafe_code, reason = "FFmpeg's frames, packets, decoders and encoders behind owned types")]

use std::{
    ffi::{CStr, c_int},
    ptr,
    sync::Once,
};

use crate::error::{Context as _, Result, bail, ensure};
use ffmpeg_the_third::ffi;

/// What FFmpeg says when it must be given something first.
pub(super) const AGAIN: c_int = ffi::AVERROR(rustix::io::Errno::AGAIN.raw_os_error());

/// Makes FFmpeg silent, once, unless somebody debugs: its lines would stand between ours.
pub(super) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = if tracing::enabled!(tracing::Level::DEBUG) { ffi::AV_LOG_WARNING } else { ffi::AV_LOG_QUIET };
        // SAFETY: sets a number; libavdevice only fills its tables.
        unsafe {
            ffi::av_log_set_level(level);
            ffi::avdevice_register_all();
        }
    });
}

/// What FFmpeg calls this error.
pub(super) fn message(code: c_int) -> String {
    let mut text = [0; 128];
    // SAFETY: writes a string of at most this length, always ended by a zero.
    unsafe {
        ffi::av_strerror(code, text.as_mut_ptr(), text.len());
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    }
}

/// A negative code as an error.
pub(super) fn check(code: c_int, what: &str) -> Result<c_int> {
    ensure!(code >= 0, System, "{what}: {}", message(code));
    Ok(code)
}

/// A frame that decoders fill, or that is filled for encoders.
pub(super) struct Frame(*mut ffi::AVFrame);

// SAFETY: the buffers of a frame are counted atomically and bound to no thread.
unsafe impl Send for Frame {}

impl Frame {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing; null only without memory.
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

    /// Whether the decoder had to guess parts of it.
    pub(super) fn torn(&self) -> bool {
        let fields = self.fields();
        fields.decode_error_flags != 0 || fields.flags & ffi::AV_FRAME_FLAG_CORRUPT != 0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the frame is ours and live.
        unsafe { ffi::av_frame_free(&raw mut self.0) }
    }
}

/// A packet that demultiplexers or encoders fill.
pub(super) struct Packet(*mut ffi::AVPacket);

// SAFETY: the buffers of a packet are counted atomically and bound to no thread.
unsafe impl Send for Packet {}

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl Packet {
    pub(super) fn new() -> Self {
        // SAFETY: takes nothing; null only without memory.
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

    /// The bytes it holds.
    pub(super) fn data(&self) -> &[u8] {
        let fields = self.fields();
        if fields.data.is_null() || fields.size <= 0 {
            return &[];
        }
        // SAFETY: a packet's data is that long, and is not changed while it is borrowed.
        unsafe { std::slice::from_raw_parts(fields.data, fields.size as usize) }
    }

    /// Takes a copy of these bytes, padded as decoders need it.
    pub(super) fn fill(&mut self, data: &[u8]) -> Result<()> {
        self.clear();
        let length = c_int::try_from(data.len()).context("a packet is too long")?;
        // SAFETY: the packet is empty; on success it owns `length` bytes, which we fill.
        unsafe {
            check(ffi::av_new_packet(self.0, length), "no memory for a packet")?;
            ptr::copy_nonoverlapping(data.as_ptr(), (*self.0).data, data.len());
        }
        Ok(())
    }

    /// Says what the frame decoded from it shall be known by.
    pub(super) fn set_pts(&mut self, pts: i64) {
        // SAFETY: the packet is ours and live.
        unsafe { (*self.0).pts = pts }
    }

    pub(super) fn clear(&mut self) {
        // SAFETY: the packet is ours and live.
        unsafe { ffi::av_packet_unref(self.0) }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: the packet is ours and live.
        unsafe { ffi::av_packet_free(&raw mut self.0) }
    }
}

/// An open decoder.
pub(super) struct Decoder {
    context: *mut ffi::AVCodecContext,
    frame: Frame,
}

// SAFETY: a decoder is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Decoder {}

/// What a decoder has to say after it was given something.
pub(super) enum Decoded<'a> {
    Frame(&'a Frame),
    /// It wants the next packet.
    More,
    /// All that it held back has been given.
    End,
}

/// How a decoder uses threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One: each frame comes out as soon as it went in.
    LowDelay,
    /// A few frames at once, which come out that much later.
    Frames,
}

impl Decoder {
    /// Opens FFmpeg's decoder of this codec. `parameters` are those of a stream, or null.
    ///
    /// # Errors
    /// FFmpeg was built without it, or refuses the parameters.
    pub(super) fn open(
        codec: ffi::AVCodecID,
        parameters: *const ffi::AVCodecParameters,
        threads: Threads,
    ) -> Result<Self> {
        quiet();
        // SAFETY: looks into a constant table; the name is a constant string.
        let (decoder, name) = unsafe {
            (ffi::avcodec_find_decoder(codec), CStr::from_ptr(ffi::avcodec_get_name(codec)).to_string_lossy())
        };
        ensure!(!decoder.is_null(), Unsupported, "this FFmpeg has no decoder for {name}");
        // SAFETY: the decoder is a constant; null only without memory.
        let context = unsafe { ffi::avcodec_alloc_context3(decoder) };
        assert!(!context.is_null(), "no memory for a decoder");
        let this = Self { context, frame: Frame::new() };
        // SAFETY: the context is ours and not yet open; parameters are live or null, as the caller promises.
        unsafe {
            if !parameters.is_null() {
                check(ffi::avcodec_parameters_to_context(context, parameters), "the video's parameters are refused")?;
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

    /// Forgets what it was given, and begins anew with the next packet.
    pub(super) fn flush(&mut self) {
        // SAFETY: the context is ours and open.
        unsafe { ffi::avcodec_flush_buffers(self.context) }
    }

    /// How many pictures it holds back to give them in the order in which they are shown, as far as the stream says.
    pub(super) fn reorders(&self) -> usize {
        // SAFETY: the context is ours and live.
        usize::try_from(unsafe { (*self.context).has_b_frames }).unwrap_or(0)
    }

    /// Gives the decoder a packet; `None` says that no more will come. What it makes of it is to be received until it wants
    /// more.
    ///
    /// # Errors
    /// The packet is broken.
    pub(super) fn send(&mut self, packet: Option<&Packet>) -> Result<()> {
        let packet = packet.map_or(ptr::null_mut(), Packet::as_ptr);
        // SAFETY: both are live, or the packet is null, which ends the stream.
        let code = unsafe { ffi::avcodec_send_packet(self.context, packet) };
        if code == ffi::AVERROR_EOF && packet.is_null() {
            return Ok(());
        }
        check(code, "a frame is broken").map(drop)
    }

    /// The next frame of what was sent.
    ///
    /// # Errors
    /// What was sent is broken.
    pub(super) fn receive(&mut self) -> Result<Decoded<'_>> {
        // SAFETY: both are live; the frame is emptied first.
        match unsafe { ffi::avcodec_receive_frame(self.context, self.frame.as_ptr()) } {
            AGAIN => Ok(Decoded::More),
            ffi::AVERROR_EOF => Ok(Decoded::End),
            code => {
                check(code, "a frame is broken")?;
                Ok(Decoded::Frame(&self.frame))
            }
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours and live.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) }
    }
}

/// An open bitstream filter: packets in, and out in another form.
pub(super) struct Filter(*mut ffi::AVBSFContext);

// SAFETY: a filter is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Filter {}

impl Filter {
    /// Opens FFmpeg's filter of this name for a stream with these parameters.
    ///
    /// # Errors
    /// FFmpeg was built without it, or refuses the parameters.
    pub(super) fn open(name: &CStr, parameters: &ffi::AVCodecParameters, time_base: ffi::AVRational) -> Result<Self> {
        quiet();
        // SAFETY: looks into a constant table for a string that lives through the call.
        let filter = unsafe { ffi::av_bsf_get_by_name(name.as_ptr()) };
        ensure!(!filter.is_null(), Unsupported, "this FFmpeg was built without {}", name.to_string_lossy());
        let mut this = Self(ptr::null_mut());
        // SAFETY: the filter is a constant; what is allocated belongs to `this`, which frees it. The parameters are copied.
        unsafe {
            check(ffi::av_bsf_alloc(filter, &raw mut this.0), "no memory for a filter")?;
            check(ffi::avcodec_parameters_copy((*this.0).par_in, parameters), "no memory for a filter")?;
            (*this.0).time_base_in = time_base;
            check(ffi::av_bsf_init(this.0), "the parameter sets before its first frame are broken")?;
        }
        Ok(this)
    }

    /// What the stream says before its first packet, in the form that comes out.
    pub(super) fn extra(&self) -> &[u8] {
        // SAFETY: an open filter has parameters, and their extra data is that long.
        unsafe {
            let parameters = &*(*self.0).par_out;
            match (parameters.extradata, usize::try_from(parameters.extradata_size)) {
                (data, Ok(length)) if !data.is_null() => std::slice::from_raw_parts(data, length),
                _ => &[],
            }
        }
    }

    /// Gives it a packet, which is empty then. What becomes of it is to be received until there is no more.
    ///
    /// # Errors
    /// The packet is broken.
    pub(super) fn send(&mut self, packet: &mut Packet) -> Result<()> {
        // SAFETY: both are live; the packet's contents become the filter's.
        check(unsafe { ffi::av_bsf_send_packet(self.0, packet.as_ptr()) }, "a frame is broken").map(drop)
    }

    /// The next packet that came of what was sent; `None` when it wants the next.
    ///
    /// # Errors
    /// What was sent is broken.
    pub(super) fn receive(&mut self) -> Result<Option<Packet>> {
        let packet = Packet::new();
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

/// An open encoder of full-range BT.601 4:2:0 video that gives a packet for each frame.
pub(super) struct Encoder {
    context: *mut ffi::AVCodecContext,
    frame: Frame,
    layout: Layout,
    pace: Pace,
}

// SAFETY: an encoder is bound to no thread; it is used by whoever holds it, one at a time.
unsafe impl Send for Encoder {}

/// How large frames may be: a buffer that so many bits flow into each second, and each frame's are taken out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Bits per second.
    pub(super) rate: i64,
    /// Bits.
    pub(super) buffer: c_int,
}

/// How an encoder takes pictures of 4:2:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Three planes.
    Planar,
    /// Two: the second has blue and red by turns.
    Nv12,
}

/// What an encoder makes of its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The most that frames may take; how much they do take is for its options to say.
    AtMost,
    /// What frames take.
    Constant,
}

/// What an encoder is opened for.
pub(super) struct EncoderConfig<'a> {
    /// FFmpeg's name of the encoder.
    pub(super) name: &'a CStr,
    /// FFmpeg's names of options, and their values.
    pub(super) options: &'a [(&'a CStr, &'a CStr)],
    pub(super) layout: Layout,
    pub(super) pace: Pace,
    pub(super) threads: u8,
    pub(super) size: (u32, u32),
    /// Frames per second in thousandths, at least 1.
    pub(super) millifps: u32,
    pub(super) budget: Budget,
}

impl Encoder {
    /// Opens this encoder, to make keyframes only when asked and to write parameter sets into each.
    ///
    /// # Errors
    /// FFmpeg was built without it, or it refuses what it is to do.
    pub(super) fn open(config: &EncoderConfig<'_>) -> Result<Self> {
        quiet();
        let name = config.name.to_string_lossy();
        // SAFETY: looks into a constant table for a string that lives through the call.
        let encoder = unsafe { ffi::avcodec_find_encoder_by_name(config.name.as_ptr()) };
        ensure!(
            !encoder.is_null(),
            Unsupported,
            "this FFmpeg was built without {name}: install one that has it (Fedora: ffmpeg from RPM Fusion; Debian's and \
             Homebrew's have it), or send JPEG"
        );
        // SAFETY: the encoder is a constant; null only without memory.
        let context = unsafe { ffi::avcodec_alloc_context3(encoder) };
        assert!(!context.is_null(), "no memory for an encoder");
        let mut this = Self { context, frame: Frame::new(), layout: config.layout, pace: config.pace };
        this.describe(config)?;
        let refused = format!("{name} cannot be opened for {}x{}", config.size.0, config.size.1);
        // SAFETY: the context is ours and not yet open; the strings live through the calls, which copy them.
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

    /// Fills in what the encoder and its frame must know before they are made.
    fn describe(&mut self, config: &EncoderConfig<'_>) -> Result<()> {
        let (width, height) = (c_int::try_from(config.size.0)?, c_int::try_from(config.size.1)?);
        let millifps = c_int::try_from(config.millifps)?;
        // SAFETY: both are ours and live, and nobody else has them.
        let (context, frame) = unsafe { (&mut *self.context, &mut *self.frame.as_ptr()) };
        (context.width, context.height) = (width, height);
        context.pix_fmt = match config.layout {
            Layout::Planar => ffi::AVPixelFormat::YUV420P,
            Layout::Nv12 => ffi::AVPixelFormat::NV12,
        };
        // The colours of JFIF, which JPEG decoders and browsers know as such.
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
        self.set_budget(config.budget);
        Ok(())
    }

    /// Changes how large frames may be, from the next one on.
    pub(super) fn set_budget(&mut self, budget: Budget) {
        // SAFETY: the context is ours and live; encoders read these again for each frame.
        let context = unsafe { &mut *self.context };
        (context.rc_max_rate, context.rc_buffer_size) = (budget.rate, budget.buffer);
        if self.pace == Pace::Constant {
            context.bit_rate = budget.rate;
        }
    }

    /// The packet of one picture, whose planes are without padding and of the size that this was opened for.
    ///
    /// # Errors
    /// The encoder failed, or held the picture back.
    pub(super) fn encode(&mut self, planes: [&[u8]; 3], keyframe: bool) -> Result<Packet> {
        let frame = self.frame.as_ptr();
        // SAFETY: the frame is ours and has its buffers; they are copied first should the encoder still hold them.
        check(unsafe { ffi::av_frame_make_writable(frame) }, "no memory for a frame")?;
        // SAFETY: ours and live, and nobody else has it.
        let fields = unsafe { &mut *frame };
        fill(fields, self.layout, planes);
        fields.pts += 1;
        fields.pict_type = if keyframe { ffi::AVPictureType::I } else { ffi::AVPictureType::NONE };
        let packet = Packet::new();
        // SAFETY: all are ours and live.
        unsafe {
            check(ffi::avcodec_send_frame(self.context, frame), "a picture cannot be coded")?;
            match ffi::avcodec_receive_packet(self.context, packet.as_ptr()) {
                AGAIN => bail!(Unsupported, "the encoder held a picture back"),
                code => check(code, "a picture cannot be coded")?,
            };
        }
        Ok(packet)
    }
}

/// Copies planes without padding into the buffers of a frame of their size and this layout.
fn fill(frame: &mut ffi::AVFrame, layout: Layout, [luma, blue, red]: [&[u8]; 3]) {
    let (width, height) = (frame.width.unsigned_abs() as usize, frame.height.unsigned_abs() as usize);
    let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
    for (number, from) in luma.chunks_exact(width).take(height).enumerate() {
        row(frame, 0, number, width).copy_from_slice(from);
    }
    for (number, (blue, red)) in blue.chunks_exact(half).zip(red.chunks_exact(half)).take(rows).enumerate() {
        match layout {
            Layout::Planar => {
                row(frame, 1, number, half).copy_from_slice(blue);
                row(frame, 2, number, half).copy_from_slice(red);
            }
            Layout::Nv12 => {
                let pairs = row(frame, 1, number, 2 * half).chunks_exact_mut(2);
                for (pair, (blue, red)) in pairs.zip(blue.iter().zip(red)) {
                    pair.copy_from_slice(&[*blue, *red]);
                }
            }
        }
    }
}

/// The first bytes of a row of a plane: no more of either than such a frame has.
fn row(frame: &mut ffi::AVFrame, plane: usize, row: usize, length: usize) -> &mut [u8] {
    // SAFETY: the planes of a frame with buffers have rows of `linesize` bytes, at least as many as `fill` asks for, and nobody else
    // has them while the frame is borrowed.
    unsafe { std::slice::from_raw_parts_mut(frame.data[plane].add(row * frame.linesize[plane] as usize), length) }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours and live.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) }
    }
}
