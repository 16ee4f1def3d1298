//! Where frames end.

pub mod kind;
pub mod measure;
pub mod native;
pub mod pickle;
pub mod raw;
pub mod record;
pub mod tutorial;
#[cfg(feature = "window")]
pub mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framewire_proto::{Config, Frame, Micros, Name};
use serde::Serialize;
use tokio::sync::watch;

use self::kind::{Kind, Sink};
use crate::{
    clock,
    error::{Error, OrError as _, Result},
    hub::{Hub, Policy, Publisher, Refused, Subscriber},
    latency::Meter,
    transcode::encode,
};

/// Every kind of sink.
pub const SINKS: &[Kind] =
    &[native::KIND, tutorial::LHH, tutorial::BASE64, tutorial::STOPWAIT, tutorial::LENGTH, pickle::KIND];

/// Reads the address of a sink.
///
/// # Errors
/// It is of no kind, or wrong.
pub fn open(to: &str) -> Result<Box<dyn Sink>> {
    let kind = SINKS.iter().find(|kind| (kind.matches)(to));
    let kind = kind.or_error(Error::InvalidInput, || {
        let known: Vec<&str> = SINKS.iter().map(|kind| kind.usage).collect();
        format!("'{to}' is not an address to send to: write one of {}", known.join(", "))
    })?;
    (kind.open)(to)
}

/// Every kind of sink, for a command's help.
pub fn help() -> String {
    let rows = SINKS.iter().map(|kind| format!("  {:22} {}", kind.usage, kind.summary));
    rows.fold("Sinks:".into(), |text, row| text + "\n" + &row)
}

/// A stream of this process on its way out of it.
pub struct Outlet {
    /// The hub of this process.
    pub hub: Hub,
    /// The stream there.
    pub stream: Name,
    /// How frames are coded.
    pub encode: encode::EncodeOptions,
    /// Frames older than this, in µs, are not sent.
    pub max_age: Option<Micros>,
    /// The most bytes of a frame that is sent to a hub.
    pub max_frame: usize,
    /// How many watch at the other end.
    pub viewers: Arc<watch::Sender<u32>>,
    /// What went out.
    pub sent: Arc<Mutex<Sent>>,
    /// Gets what goes out too, to be shown here.
    pub preview: Option<Publisher>,
}

/// What went out of this process.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// How much.
    pub meter: Meter,
    /// How, and over what.
    pub uplink: Uplink,
}

/// What the link out of this process carries, and what is coded for it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Uplink {
    /// Bits a second that the link is believed to carry; `None` while that is not known.
    pub capacity: Option<u64>,
    /// What the last frame was coded in; `None` before the first.
    pub codec: Option<&'static str>,
    /// Its width in pixels, 0 before the first.
    pub width: u16,
    /// Its height in pixels, 0 before the first.
    pub height: u16,
    /// Its quality, 1 to 100, where it is a JPEG that was made here.
    pub quality: Option<u8>,
    /// Bits a second that it was made for, where it is H.264 that was made here.
    pub bitrate: Option<u64>,
}

impl Outlet {
    /// Watches the stream.
    fn subscribe(&self) -> Result<Subscriber, Refused> {
        let mut subscriber = self.hub.subscribe(&self.stream, Policy::Newest, true, clock::now())?;
        subscriber.skip_stale(clock::now());
        subscriber.set_max_age(self.max_age);
        Ok(subscriber)
    }

    /// Counts a frame that goes out, and shows it.
    fn sent(&self, config: &Config, frame: &Frame) {
        let now = clock::now();
        let mut sent = self.lock();
        sent.meter.count(now, frame.data.len());
        let uplink = &mut sent.uplink;
        (uplink.width, uplink.height) = config.shown_size();
        uplink.codec = Some(config.codec.name());
        drop(sent);
        if let Some(preview) = &self.preview {
            // Nobody takes the preview over, and its configuration comes first.
            let _ = preview.configure(config.clone()).map(|()| preview.publish(frame.clone(), now));
        }
    }

    /// What the link carries, and how good the last frame was made for it.
    fn measured(&self, capacity: Option<u64>, setting: encode::Setting) {
        let uplink = &mut self.lock().uplink;
        (uplink.capacity, uplink.quality, uplink.bitrate) = (capacity, setting.quality, setting.bitrate);
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_opens_its_own_addresses() {
        for (to, name, listens) in [
            ("fw://127.0.0.1:7070/door", Some("door"), false),
            ("fw://hub", None, false),
            ("lhh://127.0.0.1:1234?long=8", None, false),
            ("stopwait://camera", None, false),
            ("length://camera:8485?long=8", None, false),
            ("pickle://0.0.0.0:9999", None, true),
        ] {
            let sink = open(to).unwrap();
            assert_eq!((sink.name().as_ref().map(Name::as_str), sink.listens()), (name, listens), "{to}");
            assert_eq!(sink.tutorial().is_some(), !to.starts_with("fw"), "{to}");
        }
        assert!(matches!(open("door"), Err(Error::InvalidInput(_))));
        assert!(matches!(open("fw://"), Err(Error::InvalidInput(_))));
    }
}
