//! A stream as others see it: plain values for JSON, metrics and people.

use framewire_proto::{Times, wire::native::Service};
use serde::Serialize;

use super::mailbox::Counts;
use crate::latency::Split;

/// A stream as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// `live`, `stalled` or `idle`.
    pub state: &'static str,
    /// Why there is no picture: the last fault of its source; `None` while frames flow, and where nothing has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Milliseconds since that fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_age_ms: Option<f64>,
    /// The codec of its source; `None` before the first frame.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// Frames a second, measured.
    pub fps: f64,
    /// Bits a second, measured.
    pub bitrate: f64,
    /// The number of viewers.
    pub viewers: usize,
    /// Milliseconds since the newest frame was captured; `None` before the first or without an agreed clock.
    pub age_ms: Option<f64>,
    /// Frames that publishers sent.
    pub published: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that publishers numbered but that never arrived.
    pub missed: u64,
    /// Frames that viewers got, over all viewers.
    pub delivered: u64,
    /// Frames that viewers did not get, by reason, over all viewers.
    pub dropped: Counts,
    /// The source, and the renditions transcoded from it.
    pub renditions: Vec<RenditionInfo>,
    /// The latency split in milliseconds.
    pub latency_ms: Split,
    /// How the hub that the stream comes from serves it; `None` where it comes from no other hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceInfo>,
    /// The times of the newest frame.
    #[serde(skip)]
    pub newest: Times,
    /// Whether the stream ever had a publisher: one that viewers only wait for is not listed.
    #[serde(skip)]
    pub(super) was_published: bool,
}

/// A rendition of a stream as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct RenditionInfo {
    /// `source`, `high`, `low` or `jpeg`.
    pub name: &'static str,
    /// Its codec; `None` before the first frame.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// The number of viewers that take it.
    pub viewers: usize,
    /// Frames a second, measured.
    pub fps: f64,
    /// Bits a second, measured.
    pub bitrate: f64,
    /// The lowest capacity among its viewers' links, in bits a second; `None` while no link was measured.
    pub capacity: Option<u64>,
}

/// How another hub serves this process, which is its viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServiceInfo {
    /// `source`, `high`, `low` or `jpeg`.
    pub rendition: &'static str,
    /// The measured capacity of the link from there, in bits a second; `None` while that is not known.
    pub capacity: Option<u64>,
    /// Frames that were sent here.
    pub delivered: u64,
    /// Frames that were not, by reason.
    pub dropped: Counts,
}

impl From<Service> for ServiceInfo {
    fn from(service: Service) -> Self {
        Self {
            rendition: service.rendition.name(),
            capacity: (service.capacity > 0).then_some(service.capacity),
            delivered: service.delivered,
            dropped: service.into(),
        }
    }
}
