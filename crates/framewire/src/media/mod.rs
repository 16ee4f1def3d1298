//! FFmpeg and libjpeg-turbo behind small safe types.
//!
//! A raw picture is a [`Picture`]: [`Codec::I420`](framewire_proto::Codec::I420) (full-range BT.601, as in JPEG) or
//! [`Codec::Bgr24`](framewire_proto::Codec::Bgr24). Its pixels are the bytes of a [`Frame`](framewire_proto::Frame), without
//! padding.
//!
//! ```text
//!   picture     a raw picture and its planes
//!   input       whatever FFmpeg opens: demuxed packets, and their decoder
//!   decode      frames to pictures: JPEG, H.264, raw
//!   deinterlace interlaced frames to whole ones
//!   h264        pictures to H.264, each frame within a bitrate that may change at any time
//!   jpeg        libjpeg-turbo; the step that every JPEG takes where it enters
//!   mux         frames to a file: Matroska, MP4, AVI
//!   scale       pictures to another size; FFmpeg's frames to pictures
//!   turn        pictures that lie on their side, or are mirrored
//!   colour      between I420 and BGR, and from video's colour matrices and ranges to full-range BT.601
//!   planes      YUV4MPEG2's planes to pictures
//!   canvas      drawing into pictures; text and stamp use it
//!   v4l2        the cameras of this machine and their formats
//!   strip_pool  threads that work on parts of one picture in parallel
//!   pool        reusable buffers
//!   av          FFmpeg's C types behind owned ones
//! ```

mod av;
pub mod canvas;
pub mod colour;
pub mod decode;
mod deinterlace;
pub mod h264;
pub mod input;
pub mod jpeg;
pub mod mux;
mod picture;
pub mod planes;
pub mod pool;
pub mod scale;
mod strip_pool;
pub mod text;
pub mod turn;
#[cfg(target_os = "linux")]
pub mod v4l2;

pub use picture::Picture;
pub use pool::Pool;
