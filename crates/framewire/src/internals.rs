//! What framewire's own end-to-end tests use besides the public API. No promise is made about any of it.
#![allow(missing_docs, reason = "each item is documented where it is")]

pub mod clock {
    pub use crate::clock::*;
}
pub mod hub {
    pub use crate::hub::*;
}
pub mod latency {
    pub use crate::latency::*;
}
pub mod media {
    pub use crate::media::Picture;
    pub mod decode {
        pub use crate::media::decode::*;
    }
}
pub mod net {
    pub use crate::net::machine_name;
    pub mod client {
        pub use crate::net::client::*;
    }
}
#[cfg(feature = "window")]
pub mod sink {
    pub mod window {
        pub use crate::sink::window::*;
    }
}
pub mod source {
    pub use crate::source::{Item, Source, open};
}
pub mod stop {
    pub use crate::stop::*;
}
