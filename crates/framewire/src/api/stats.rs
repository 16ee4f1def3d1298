//! Figures of streams: what `/streams` and `--stats` show. All of them serialise to the JSON that the hub serves.

pub use crate::{
    hub::{
        Counts as Drops, Info as Stream, Reason as DropReason, RenditionInfo as Rendition, ServiceInfo as Service,
        drops_in_words,
    },
    latency::{Split as Latency, Stage, StageSummary as Percentiles},
    sink::Uplink,
};

#[cfg(feature = "window")]
pub use crate::sink::window::Stats as Tile;

use std::time::{Duration, SystemTime};

use framewire_proto::Micros;

use crate::clock;

impl Stream {
    /// When the newest frame was sent by its publisher, by this machine's calendar; `None` where that is not known.
    pub fn newest_sent_at(&self) -> Option<SystemTime> {
        calendar(self.newest.sent)
    }

    /// When the newest frame was received, by this machine's calendar; `None` where that is not known.
    pub fn newest_received_at(&self) -> Option<SystemTime> {
        calendar(self.newest.received.max(self.newest.arrived))
    }
}

fn calendar(moment: Micros) -> Option<SystemTime> {
    (moment > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_micros(clock::calendar(moment)))
}
