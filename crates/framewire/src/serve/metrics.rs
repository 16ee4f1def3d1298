//! A hub's figures in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;

use framewire_proto::Rendition;

use crate::hub::{Info, Reason, RenditionInfo};

/// One figure of every stream.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// The labels besides the stream's name, and the value.
    samples: fn(&Info) -> Vec<(String, f64)>,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "framewire_stream_state",
        kind: "gauge",
        help: "1 for the state that the stream is in.",
        samples: |info| {
            ["live", "stalled", "idle"]
                .map(|state| (format!("state=\"{state}\""), f64::from(u8::from(info.state == state))))
                .into()
        },
    },
    Family {
        name: "framewire_viewers",
        kind: "gauge",
        help: "Viewers of the stream.",
        samples: |info| one(info.viewers as f64),
    },
    Family {
        name: "framewire_rendition_viewers",
        kind: "gauge",
        help: "Viewers of each rendition of the stream.",
        samples: |info| by_rendition(info, |rendition| Some(rendition.map_or(0, |rendition| rendition.viewers) as f64)),
    },
    Family {
        name: "framewire_rendition_bits_per_second",
        kind: "gauge",
        help: "Bitrate of each rendition, where there is one.",
        samples: |info| by_rendition(info, |rendition| Some(rendition?.bitrate)),
    },
    Family {
        name: "framewire_rendition_capacity_bits_per_second",
        kind: "gauge",
        help: "Measured rate of the slowest link among each rendition's viewers.",
        samples: |info| by_rendition(info, |rendition| Some(rendition?.capacity? as f64)),
    },
    Family {
        name: "framewire_frames_per_second",
        kind: "gauge",
        help: "Frame rate of the publisher.",
        samples: |info| one(info.fps),
    },
    Family {
        name: "framewire_bits_per_second",
        kind: "gauge",
        help: "Bitrate of the publisher.",
        samples: |info| one(info.bitrate),
    },
    Family {
        name: "framewire_frames_published_total",
        kind: "counter",
        help: "Frames received from publishers.",
        samples: |info| one(info.published as f64),
    },
    Family {
        name: "framewire_frames_missed_total",
        kind: "counter",
        help: "Frames that publishers numbered but that never arrived.",
        samples: |info| one(info.missed as f64),
    },
    Family {
        name: "framewire_frames_delivered_total",
        kind: "counter",
        help: "Frames that viewers got, over all viewers.",
        samples: |info| one(info.delivered as f64),
    },
    Family {
        name: "framewire_frames_dropped_total",
        kind: "counter",
        help: "Frames that viewers did not get, over all viewers, by reason.",
        samples: |info| {
            let count = |reason: Reason| info.dropped.dropped(reason) as f64;
            Reason::ALL.map(|reason| (format!("reason=\"{}\"", reason.name()), count(reason))).into()
        },
    },
    Family {
        name: "framewire_frame_age_seconds",
        kind: "gauge",
        help: "Time since the newest frame was captured.",
        samples: |info| info.age_ms.map_or(Vec::new(), |age| one(age / 1e3)),
    },
    Family {
        name: "framewire_latency_seconds",
        kind: "gauge",
        help: "The recent frames' latency by stage; quantile 1 is the maximum.",
        samples: |info| {
            let quantiles = info.latency_ms.summaries().flat_map(|(stage, summary)| {
                [("0.5", summary.p50), ("0.95", summary.p95), ("0.99", summary.p99), ("1", summary.max)]
                    .map(|(quantile, ms)| (format!("stage=\"{}\",quantile=\"{quantile}\"", stage.name()), ms / 1e3))
            });
            quantiles.collect()
        },
    },
];

/// These streams' figures. Names of streams need no escaping: see [`framewire_proto::Name`].
pub fn prometheus(streams: &[Info]) -> String {
    let mut out = String::new();
    for Family { name, kind, help, samples } in FAMILIES {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for info in streams {
            for (labels, value) in samples(info) {
                let comma = if labels.is_empty() { "" } else { "," };
                let _ = writeln!(out, "{name}{{stream=\"{}\"{comma}{labels}}} {value}", info.name);
            }
        }
    }
    out
}

/// A figure of each rendition, where it is known; there may be none of a rendition at the moment.
fn by_rendition(info: &Info, figure: impl Fn(Option<&RenditionInfo>) -> Option<f64>) -> Vec<(String, f64)> {
    let all = [Rendition::Source].into_iter().chain(Rendition::TRANSCODED).map(Rendition::name);
    let known = |name: &str| figure(info.renditions.iter().find(|rendition| rendition.name == name));
    all.filter_map(|name| Some((format!("rendition=\"{name}\""), known(name)?))).collect()
}

fn one(value: f64) -> Vec<(String, f64)> {
    vec![(String::new(), value)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Hub, Policy};

    #[test]
    fn figures_follow_the_text_format() {
        let hub = Hub::default();
        let _publisher = hub.publish(&"front-door".parse().unwrap(), 1).unwrap();
        let viewer = hub.subscribe(&"front-door".parse().unwrap(), Policy::Newest, false, 1).unwrap();
        viewer.set_capacity(Some(2_000_000));
        let text = prometheus(&hub.streams(1));
        assert!(text.contains("framewire_viewers{stream=\"front-door\"} 1\n"), "{text}");
        assert!(text.contains("framewire_stream_state{stream=\"front-door\",state=\"stalled\"} 1\n"), "{text}");
        assert!(text.contains("framewire_frames_dropped_total{stream=\"front-door\",reason=\"superseded\"} 0\n"));
        for (rendition, viewers) in [("source", 1), ("high", 0), ("low", 0), ("jpeg", 0)] {
            let line =
                format!("framewire_rendition_viewers{{stream=\"front-door\",rendition=\"{rendition}\"}} {viewers}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
        let capacity =
            "framewire_rendition_capacity_bits_per_second{stream=\"front-door\",rendition=\"source\"} 2000000\n";
        assert!(text.contains(capacity), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
