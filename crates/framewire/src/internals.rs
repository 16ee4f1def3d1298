//! What framewire's own end-to-end tests use besides the public API. No promise is made about any of it.

pub use crate::{clock, hub, latency, media, net, sink, source, stop};
