//! Where frames end.

mod coded;
pub mod fw;
pub mod http;
pub mod metrics;
mod paced;
pub mod pickle;
pub mod raw;
pub mod record;
pub mod renditions;
mod talk;
pub mod tcp;
pub mod tutorial;
pub mod websocket;
pub mod window;

use std::sync::{Arc, Mutex, PoisonError};

use framewire_proto::{Config, Frame, Micros, Name};

use crate::{
    clock,
    hub::{Hub, Policy, Publisher, Refused, Subscriber},
    latency::Meter,
    media::encode,
};

/// A stream of this process on its way out of it.
pub struct Outlet {
    /// The hub of this process.
    pub hub: Hub,
    /// The stream there.
    pub stream: Name,
    /// How frames are coded.
    pub encode: encode::Config,
    /// Frames older than this, in µs, are not sent.
    pub max_age: Option<Micros>,
    /// How much went out.
    pub meter: Arc<Mutex<Meter>>,
    /// Gets what goes out too, to be shown here.
    pub preview: Option<Publisher>,
}

impl Outlet {
    /// Watches the stream.
    fn subscribe(&self) -> Result<Subscriber, Refused> {
        let mut subscriber = self.hub.subscribe(&self.stream, Policy::Newest, true, clock::now())?;
        subscriber.max_age(self.max_age);
        Ok(subscriber)
    }

    /// Counts a frame that goes out, and shows it.
    fn sent(&self, config: &Config, frame: &Frame) {
        let now = clock::now();
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).count(now, frame.data.len());
        if let Some(preview) = &self.preview {
            // Nobody takes the preview over, and its configuration comes first.
            let _ = preview.configure(config.clone()).map(|()| preview.publish(frame.clone(), now));
        }
    }
}
