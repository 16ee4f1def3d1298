//! Where frames end.

pub mod fw;
pub mod http;
mod jpegs;
pub mod metrics;
pub mod raw;
pub mod record;
mod talk;
pub mod tcp;
pub mod websocket;
pub mod window;
