//! Where frames end.

pub mod http;
mod talk;
pub mod tcp;
pub mod websocket;
