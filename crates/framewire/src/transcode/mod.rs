//! Re-encodes frames with another codec, size or bitrate.

pub mod encode;
mod rate_target;
pub mod renditions;
pub mod transcoded;
