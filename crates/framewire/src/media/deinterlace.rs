//! Interlaced frames to whole ones, by FFmpeg's filter bwdif.
#![allow(unsafe_code, reason = "FFmpeg's filters behind an owned type")]

use std::{
    ffi::{CStr, CString, c_int},
    ptr,
};

use ffmpeg_sys_the_third as ffi;

use super::av::{self, AvFrame};
use crate::error::{Result, ensure};

/// Which frames are deinterlaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deinterlace {
    /// Those that are flagged as interlaced.
    #[default]
    Flagged,
    /// All: some cameras and files do not flag theirs.
    All,
}

/// A chain of filters for frames of one size and pixel format. Each frame comes out once the next one went in, because a frame is
/// made of its neighbours' fields too.
pub(super) struct Deinterlacer {
    graph: *mut ffi::AVFilterGraph,
    input: *mut ffi::AVFilterContext,
    output: *mut ffi::AVFilterContext,
    frame: AvFrame,
    shape: (c_int, c_int, c_int),
}

// SAFETY: a graph is bound to no thread, and only its owner uses it.
unsafe impl Send for Deinterlacer {}

impl Deinterlacer {
    /// A chain for frames like this one, with times in this unit.
    ///
    /// # Errors
    /// FFmpeg was built without the filter, or the filter refuses the pixel format.
    pub(super) fn open(which: Deinterlace, frame: &AvFrame, time_base: ffi::AVRational) -> Result<Self> {
        // SAFETY: has no arguments, and returns null only without memory.
        let graph = unsafe { ffi::avfilter_graph_alloc() };
        assert!(!graph.is_null(), "no memory for a filter");
        let mut this =
            Self { graph, input: ptr::null_mut(), output: ptr::null_mut(), frame: AvFrame::new(), shape: shape(frame) };
        let (width, height, format) = this.shape;
        let ffi::AVRational { num, den } = time_base;
        let input = format!("video_size={width}x{height}:pix_fmt={format}:time_base={num}/{den}");
        let which = if which == Deinterlace::All { "all" } else { "interlaced" };
        this.input = this.add(c"buffer", Some(input))?;
        let filter = this.add(c"bwdif", Some(format!("mode=send_frame:parity=auto:deint={which}")))?;
        this.output = this.add(c"buffersink", None)?;
        let failed = "a picture cannot be deinterlaced";
        // SAFETY: the filters are the graph's own, and each has one input and one output as used here.
        unsafe {
            av::check(ffi::avfilter_link(this.input, 0, filter, 0), failed)?;
            av::check(ffi::avfilter_link(filter, 0, this.output, 0), failed)?;
            av::check(ffi::avfilter_graph_config(graph, ptr::null_mut()), failed)?;
        }
        Ok(this)
    }

    fn add(&mut self, name: &CStr, options: Option<String>) -> Result<*mut ffi::AVFilterContext> {
        // SAFETY: reads a constant table. The string lives through the call.
        let filter = unsafe { ffi::avfilter_get_by_name(name.as_ptr()) };
        ensure!(!filter.is_null(), Unsupported, "this FFmpeg was built without its filter {}", name.to_string_lossy());
        let options = options.map(CString::new).transpose()?;
        let options = options.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let mut context = ptr::null_mut();
        // SAFETY: the graph is ours, and owns the new filter. The strings live through the call.
        let code = unsafe {
            ffi::avfilter_graph_create_filter(
                &raw mut context,
                filter,
                name.as_ptr(),
                options,
                ptr::null_mut(),
                self.graph,
            )
        };
        av::check(code, "a filter cannot be made")?;
        Ok(context)
    }

    /// Whether the chain takes frames like this one.
    pub(super) fn fits(&self, frame: &AvFrame) -> bool {
        self.shape == shape(frame)
    }

    /// Gives the chain a frame; `None` ends the stream, and then the last one comes out.
    pub(super) fn send(&mut self, frame: Option<&AvFrame>) -> Result<()> {
        let flags = ffi::AV_BUFFERSRC_FLAG_KEEP_REF.0 as c_int;
        let frame = frame.map_or(ptr::null_mut(), AvFrame::as_ptr);
        // SAFETY: the filter is live, and the frame is too, or null. The filter takes a reference of its own.
        let code = unsafe { ffi::av_buffersrc_add_frame_flags(self.input, frame, flags) };
        av::check(code, "a picture cannot be deinterlaced").map(drop)
    }

    /// The next frame; `None` when the chain needs another.
    pub(super) fn receive(&mut self) -> Result<Option<&AvFrame>> {
        // SAFETY: both are live. The frame is emptied first, since the filter expects that.
        let code = unsafe {
            ffi::av_frame_unref(self.frame.as_ptr());
            ffi::av_buffersink_get_frame(self.output, self.frame.as_ptr())
        };
        if code == av::AGAIN || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        av::check(code, "a picture cannot be deinterlaced")?;
        Ok(Some(&self.frame))
    }

    /// The unit of the times of the frames that come out.
    pub(super) fn time_base(&self) -> ffi::AVRational {
        // SAFETY: the filter is live and configured.
        unsafe { ffi::av_buffersink_get_time_base(self.output) }
    }
}

impl Drop for Deinterlacer {
    fn drop(&mut self) {
        // SAFETY: the graph is ours and live. It frees its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut self.graph) }
    }
}

fn shape(frame: &AvFrame) -> (c_int, c_int, c_int) {
    let fields = frame.fields();
    (fields.width, fields.height, fields.format)
}
