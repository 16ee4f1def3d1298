//! The findings about a stream, and a report of them for a person.

use std::fmt;

use serde::Serialize;

use super::{
    figures::{AtHub, Figures},
    rules::{RULES, Rule, Side, mbit},
};
use crate::{
    hub::{ServiceInfo, drops_in_words},
    latency::{Stage, StageSummary},
};

/// Something that is slow or broken.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The side at fault.
    pub side: Side,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What to try, the most promising first.
    #[serde(rename = "try")]
    pub advice: &'static [&'static str],
    /// By what factor the side is too slow.
    #[serde(skip)]
    pub times: f64,
}

/// What is slow, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// What is slow, or that nothing is, in a sentence.
    pub verdict: String,
    /// The side that is slow; `None` where nothing is.
    pub slow: Option<Side>,
    /// All findings, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be measured, in sentences.
    pub not_known: Vec<String>,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Applies all rules to these figures.
pub fn examine(figures: Figures) -> Diagnosis {
    let finding = |rule: &Rule| {
        let (times, what) = (rule.check)(&figures)?;
        Some(Finding { side: rule.side, what, advice: rule.advice, times })
    };
    let mut findings: Vec<Finding> = RULES.iter().filter_map(finding).collect();
    findings.sort_by(|one, other| other.times.total_cmp(&one.times));
    let worst = findings.first();
    let verdict = worst.map_or_else(|| healthy(&figures), |finding| finding.what.clone());
    Diagnosis { verdict, slow: worst.map(|finding| finding.side), not_known: not_known(&figures), findings, figures }
}

fn healthy(figures: &Figures) -> String {
    format!("Nothing is slow: {:.1} frames per second. {}", figures.fps, latency(figures))
}

/// Where the time goes, in a sentence.
fn latency(figures: &Figures) -> String {
    let Some(total) = figures.latency_ms.summary(Stage::Total) else {
        return "The age of the frames is not known.".into();
    };
    let parts = figures.latency_ms.summaries().filter(|(stage, _)| *stage != Stage::Total);
    let longest = parts.max_by(|(_, one), (_, other)| one.p50.total_cmp(&other.p50));
    let longest = longest.map_or(String::new(), |(stage, part)| {
        format!("; the longest part of that is {}, {:.1} ms", stage.name(), part.p50)
    });
    format!("Half of the frames are at most {:.1} ms old when they are decoded{longest}.", total.p50)
}

fn not_known(figures: &Figures) -> Vec<String> {
    let mut unknown = Vec::new();
    if figures.frames > 0 && figures.p50(Stage::Total).is_none() {
        let what = "How old the frames are: the source does not state capture times, or its clock could not be compared \
                    with this one.";
        unknown.push(what.into());
    }
    if figures.hub.as_ref().is_none_or(|hub| hub.show_ms.is_none()) {
        let what = "How long the screen takes: the doctor displays nothing, and no other viewer has reported it.";
        unknown.push(what.into());
    }
    unknown
}

/// The report for a person: the verdict, the figures, and what to try.
impl fmt::Display for Diagnosis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, findings, not_known, figures, .. } = self;
        writeln!(out, "{verdict}")?;
        if self.slow.is_some() && figures.frames > 0 {
            writeln!(out, "{}", latency(figures))?;
        }
        for finding in findings.iter().skip(1) {
            writeln!(out, "Also: {}", finding.what)?;
        }
        writeln!(out)?;
        self.rates(out)?;
        self.stages(out)?;
        for unknown in not_known {
            writeln!(out, "Not known: {unknown}")?;
        }
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nWhat to try:")?;
        let mut written = Vec::new();
        for advice in findings.iter().flat_map(|finding| finding.advice) {
            if !written.contains(advice) {
                writeln!(out, "- {advice}")?;
                written.push(*advice);
            }
        }
        Ok(())
    }
}

impl Diagnosis {
    fn rates(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { from, seconds, state, codec, width, height, frames, fps, bitrate, .. } = &self.figures;
        let state = state.as_deref().unwrap_or("received");
        if *frames == 0 {
            writeln!(out, "{from}: {state}, no frames in {seconds:.1} s")?;
        } else {
            let codec = codec.unwrap_or("of an unknown codec");
            writeln!(out, "{from}: {state}, {width}x{height} {codec}, {frames} frames in {seconds:.1} s")?;
            let known = |fps: Option<f64>| fps.map_or("not known".into(), |fps| format!("{fps:.1}"));
            let (camera, announced) = (known(self.figures.camera_fps), known(self.figures.announced_fps));
            let rate = mbit(*bitrate);
            writeln!(out, "frames per second: camera {camera} (announced {announced}), here {fps:.1}, {rate}")?;
        }
        if let Some(AtHub { published, missed, bitrate, other_viewers, .. }) = &self.figures.hub {
            let rate = mbit(*bitrate);
            writeln!(
                out,
                "at the hub: {published} frames, {missed} dropped before it, {rate}; {other_viewers} other viewers"
            )?;
        }
        if let Some(ServiceInfo { rendition, capacity, dropped, .. }) = &self.figures.service {
            let least = self.figures.least_capacity.filter(|least| Some(*least) < *capacity);
            let least = least.map_or(String::new(), |least| format!(" (lowest {})", mbit(least as f64)));
            let capacity = capacity.map_or("not known".into(), |capacity| mbit(capacity as f64));
            writeln!(out, "rendition {rendition}, capacity of the downlink {capacity}{least}")?;
            writeln!(out, "dropped by the hub: {}", drops_in_words(dropped.by_reason()))?;
        }
        let here = self.figures.dropped.by_reason().into_iter().chain([("bad", self.figures.bad)]);
        writeln!(out, "dropped here: {}", drops_in_words(here))
    }

    fn stages(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slow = |stage| self.findings.iter().any(|finding| finding.side.stages().contains(&stage));
        for (place, (stage, StageSummary { p50, p95, max, .. })) in self.figures.latency_ms.summaries().enumerate() {
            if place == 0 {
                writeln!(out, "\nlatency, ms      p50     p95     max")?;
            }
            let mark = if stage == Stage::Total { "= " } else { "  " };
            let slow = if slow(stage) { "  slow" } else { "" };
            writeln!(out, "{mark}{:10}{p50:8.1}{p95:8.1}{max:8.1}{slow}", stage.name())?;
        }
        if let Some(StageSummary { p50, p95, max, .. }) = self.figures.hub.as_ref().and_then(|hub| hub.show_ms) {
            writeln!(out, "  show      {p50:8.1}{p95:8.1}{max:8.1}  at the hub's other viewers")?;
        }
        Ok(())
    }
}
