//! Frames in another codec, size or bitrate than they came in.

pub mod encode;
mod rate_target;
pub mod renditions;
pub mod transcoded;
