//! What framewire's own end-to-end tests use besides the public API. No promise is made about any of it.

/// The rooms under their own names: a private module cannot be re-exported itself, but all that is public in it can.
macro_rules! open {
    ($($room:ident),*) => {$(
        pub mod $room {
            pub use crate::$room::*;
        }
    )*};
}

open!(clock, hub, latency, media, net, sink, source, stop);
