//! FFmpeg and libjpeg-turbo behind small safe types.
//!
//! What is raw here is [`Codec::I420`] (full-range BT.601, as JPEG has it) or [`Codec::Bgr24`]: pixels as the [`Bytes`] of a
//! [`Frame`](framewire_proto::Frame), without padding.
//!
//! [`Bytes`]: bytes::Bytes
//! [`Codec::I420`]: framewire_proto::Codec::I420
//! [`Codec::Bgr24`]: framewire_proto::Codec::Bgr24

pub mod canvas;
pub mod planes;
pub mod pool;
pub mod stamp;
pub mod text;
