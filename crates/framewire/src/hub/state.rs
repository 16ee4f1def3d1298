//! The state of one stream. Each method is one change that keeps the parts consistent; what the change causes outside
//! of the state is [collected](Effects) and performed once the stream is unlocked.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use framewire_proto::{
    Codec, Config, Frame, Micros, Name, Rendition, Times,
    rendition::{self, Offer},
    wire::native::{Report, Service, State, Token},
};

use super::{
    effects::{Action, Effects, Feedback, Upstream},
    fault::Fault,
    info::{Info, RenditionInfo, ServiceInfo},
    liveness::{Attendance, Liveness},
    mailbox::{Counts, Policy, Reason},
    numbering::Numbering,
    publisher_slot::{PublishError, PublisherSlot},
    rendition::{RenditionState, TranscodeJob},
    viewer_slot::{Accepts, Event, ViewerSlot, ViewerSlots},
};
use crate::latency::Split;

/// Of a stream that stalled or sleeps, frames that are older than this, in µs, are not of now.
const STALE_AGE: Micros = 1_000_000;

#[derive(Debug)]
pub(super) struct StreamState {
    liveness: Liveness,
    /// Why there is no picture; `None` while frames flow.
    fault: Option<Fault>,
    publisher: PublisherSlot,
    numbering: Numbering,
    /// The source and what is transcoded from it, by [`Rendition`].
    renditions: [RenditionState; 1 + Rendition::TRANSCODED.len()],
    viewers: ViewerSlots,
    split: Split,
    effects: Effects,
}

/// A stream as a whole.
impl StreamState {
    pub(super) fn new(now: Micros) -> Self {
        Self {
            liveness: Liveness::new(now),
            fault: None,
            publisher: PublisherSlot::default(),
            numbering: Numbering::default(),
            renditions: Default::default(),
            viewers: ViewerSlots::default(),
            split: Split::default(),
            effects: Effects::default(),
        }
    }

    /// What the changes since the last call cause outside of this state.
    pub(super) fn take_effects(&mut self) -> Effects {
        if self.rendition_mut(Rendition::Source).take_keyframe_request() {
            self.effects.add(Action::CountKeyframeRequest);
            if let Some(upstream) = self.publisher.upstream() {
                self.effects.add(Action::Send(upstream.clone(), Feedback::Keyframe));
            }
        }
        self.effects.take()
    }

    /// Notices that frames are overdue, or that the stream is deserted.
    pub(super) fn tick(&mut self, now: Micros) {
        let config = self.rendition(Rendition::Source).config();
        let attendance = Attendance {
            publisher: self.publisher.is_taken(),
            viewers: !self.viewers.is_empty(),
            millifps: config.map_or(0, |config| u64::from(config.millifps)),
        };
        let (before, state) = (self.liveness.state(), self.liveness.tick(attendance, now));
        self.set_state(state);
        // A source of the hub itself tells more, once it knows.
        let silent = before != state && state == State::Stalled && !self.publisher.is_reserved();
        if silent && self.publisher.is_taken() && self.fault.is_none() {
            self.set_fault("its publisher is connected and sends no frames", now);
        }
    }

    /// Whether the stream was deserted for long enough to be removed.
    pub(super) fn is_forgotten(&self, now: Micros) -> bool {
        self.liveness.is_forgotten(now)
    }

    /// Whether the stream has ended and its name will not be published again.
    pub(super) fn is_over(&self) -> bool {
        self.liveness.is_retired() && !self.publisher.is_taken()
    }

    pub(super) fn info(&self, name: &Name, now: Micros) -> Info {
        let source = self.rendition(Rendition::Source);
        let RenditionInfo { codec, width, height, fps, bitrate, .. } = source.info(Rendition::Source, 0, None, now);
        let (counts, newest) = (self.viewers.counts(), source.newest_times());
        Info {
            name: name.to_string(),
            state: self.liveness.state().name(),
            fault: self.fault.as_ref().map(|fault| fault.text.to_string()),
            fault_age_ms: self.fault.as_ref().map(|fault| now.saturating_sub(fault.since) as f64 / 1000.0),
            codec,
            width,
            height,
            fps,
            bitrate,
            viewers: self.viewers.len(),
            age_ms: (newest.captured != 0).then(|| now.saturating_sub(newest.captured) as f64 / 1000.0),
            published: self.numbering.published(),
            bytes: source.bytes(),
            missed: self.missed(),
            delivered: counts.delivered,
            dropped: counts,
            renditions: self.rendition_infos(now),
            latency_ms: self.split.clone(),
            service: self.service().map(ServiceInfo::from),
            newest,
            was_published: self.was_published(),
        }
    }

    fn rendition_infos(&self, now: Micros) -> Vec<RenditionInfo> {
        let all = std::iter::once(Rendition::Source).chain(Rendition::TRANSCODED);
        let present =
            all.filter(|rendition| *rendition == Rendition::Source || self.rendition(*rendition).is_transcoded());
        present
            .map(|rendition| {
                let (viewers, capacity) = self.viewers.audience(rendition);
                self.rendition(rendition).info(rendition, viewers, capacity, now)
            })
            .collect()
    }

    /// Frames that publishers numbered but that never arrived.
    pub(super) fn missed(&self) -> u64 {
        self.numbering.missed()
    }

    /// The number of viewers.
    pub(super) fn viewer_count(&self) -> usize {
        self.viewers.len()
    }

    fn is_live(&self) -> bool {
        self.liveness.state() == State::Live
    }

    fn rendition(&self, rendition: Rendition) -> &RenditionState {
        &self.renditions[rendition as usize]
    }

    fn rendition_mut(&mut self, rendition: Rendition) -> &mut RenditionState {
        &mut self.renditions[rendition as usize]
    }
}

/// What the publisher of a stream does.
impl StreamState {
    /// A publisher begins; returns its number. `None`: the stream has a live publisher, and that is another client.
    pub(super) fn join_publisher(&mut self, owner: Option<Token>, now: Micros) -> Option<u64> {
        let publisher = self.publisher.join(owner, now)?;
        self.liveness.start_publisher(now);
        self.numbering.start_publisher();
        self.effects.add(Action::ReportEnd);
        Some(publisher)
    }

    pub(super) fn leave_publisher(&mut self) {
        let ended = self.publisher.has_ended();
        self.publisher.leave();
        self.set_state(State::Stalled);
        if self.fault.is_none() {
            let why = if ended { "its publisher has ended it" } else { "its publisher has gone" };
            self.set_fault(why, self.liveness.last_activity());
        }
    }

    pub(super) fn is_publisher(&self, publisher: u64) -> bool {
        self.publisher.is_current(publisher)
    }

    /// Whether the stream ever had a publisher.
    pub(super) fn was_published(&self) -> bool {
        self.publisher.was_taken()
    }

    pub(super) fn keep_publisher_alive(&mut self, now: Micros) {
        self.publisher.touch(now);
    }

    /// The next frame of a stream without frames gets this number.
    pub(super) fn number_from(&mut self, sequence: u64) {
        self.numbering.start_from(sequence);
    }

    pub(super) fn set_passthrough(&mut self, passthrough: bool) {
        self.publisher.set_passthrough(passthrough);
    }

    pub(super) fn reserve(&mut self) {
        self.publisher.reserve();
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.publisher.is_reserved()
    }

    pub(super) fn set_upstream(&mut self, upstream: Upstream) {
        self.publisher.set_upstream(upstream);
    }

    pub(super) fn set_service(&mut self, service: Service) {
        self.publisher.set_service(service);
    }

    pub(super) fn service(&self) -> Option<Service> {
        self.publisher.service()
    }

    pub(super) fn set_state(&mut self, state: State) {
        if self.liveness.set_state(state) {
            self.viewers.set_state(state, &mut self.effects);
        }
    }

    /// There is no picture, and this is why. No text: there is one again.
    pub(super) fn set_fault(&mut self, text: &str, now: Micros) {
        let fault = (!text.is_empty()).then(|| Fault::new(text, now));
        let text = |fault: &Option<Fault>| fault.as_ref().map(|fault| fault.text.clone());
        if text(&fault) != text(&self.fault) {
            self.viewers.set_fault(&text(&fault).unwrap_or_default(), &mut self.effects);
        }
        self.fault = fault;
    }

    /// The publisher will send no more frames.
    pub(super) fn end(&mut self) {
        self.publisher.end();
        self.viewers.end(&mut self.effects);
        self.effects.add(Action::ReportEnd);
    }

    /// The publisher will send no more frames, nor will another under this name.
    pub(super) fn retire(&mut self) {
        self.liveness.retire();
        self.end();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.publisher.has_ended()
    }

    /// Sets the configuration of the source's frames that follow.
    pub(super) fn configure(&mut self, config: Config) {
        let codec = config.codec;
        if self.rendition_mut(Rendition::Source).set_config(config) {
            self.follow_codec(codec);
            self.start_transcoders();
        }
    }

    /// Delivers a frame of the source to its viewers and to the transcoders.
    ///
    /// # Errors
    /// [`PublishError::NoConfig`].
    pub(super) fn publish(&mut self, mut frame: Frame, now: Micros) -> Result<(), PublishError> {
        let config = self.rendition(Rendition::Source).config().cloned().ok_or(PublishError::NoConfig)?;
        frame.keyframe |= config.codec.independent();
        let first = self.numbering.at_first_frame();
        frame.sequence = self.numbering.assign(frame.sequence);
        if first && !frame.keyframe {
            self.skip_to_keyframe(&config);
        }
        self.publisher.touch(now);
        self.liveness.touch(now);
        self.split.take_arrival(&frame.times);
        self.set_state(State::Live);
        if self.fault.is_some() {
            self.set_fault("", now);
        }
        self.deliver(Rendition::Source, &frame, now);
        self.enqueue(&config, &frame);
        Ok(())
    }

    /// Whether a viewer has room for a frame. If not, the publisher's task is woken when one may have.
    pub(super) fn poll_room(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.viewers.any_drained() {
            return Poll::Ready(());
        }
        self.publisher.wait_for_room(context);
        Poll::Pending
    }

    /// Delivers a frame to the viewers of a rendition, whose configuration is known, and notes it.
    fn deliver(&mut self, rendition: Rendition, frame: &Frame, now: Micros) {
        let is_source = rendition == Rendition::Source;
        let state = &mut self.renditions[rendition as usize];
        let Some(config) = state.config().cloned() else { return };
        // Where a keyframe can be made on request, a new viewer requests one.
        state.record(frame, is_source && self.publisher.is_passthrough(), now);
        let replays = is_source && self.publisher.replays(frame);
        if self.viewers.deliver(rendition, &config, frame, replays, &mut self.effects) {
            state.request_keyframe();
        }
    }

    /// Queues a frame of the source for the transcoders.
    fn enqueue(&mut self, config: &Arc<Config>, frame: &Frame) {
        let replays = self.publisher.replays(frame);
        let mut needs_keyframe = false;
        for state in &mut self.renditions {
            needs_keyframe |= state.enqueue(config, frame, replays, &mut self.effects);
        }
        if needs_keyframe {
            self.rendition_mut(Rendition::Source).request_keyframe();
        }
    }

    /// A new publisher's first frame depends on frames that never arrived here.
    fn skip_to_keyframe(&mut self, config: &Config) {
        self.rendition_mut(Rendition::Source).skip_to_keyframe();
        self.renditions.iter_mut().for_each(|state| state.skip_queue_to_keyframe(config));
        self.viewers.skip_source_to_keyframe(config);
    }

    /// The source has another codec. Viewers that decode JPEGs only take the source if it is JPEG, else the JPEG
    /// rendition.
    fn follow_codec(&mut self, codec: Codec) {
        let to = if codec == Codec::Jpeg { Rendition::Source } else { Rendition::Jpeg };
        for viewer in self.viewers.jpegs_only() {
            self.switch(viewer, to, self.liveness.last_activity());
        }
    }
}

/// What the viewers of a stream do.
impl StreamState {
    /// Adds a viewer; returns its number, and that of the newest frame if the viewer gets frames from before it joined.
    pub(super) fn join_viewer(&mut self, policy: Policy, now: Micros) -> (u64, Option<u64>) {
        if self.viewers.is_empty() {
            self.liveness.touch(now);
        }
        let source = self.rendition(Rendition::Source);
        let (newest, (mailbox, needs_keyframe)) =
            (source.newest_kept(), source.new_mailbox(policy, self.is_live(), now));
        if needs_keyframe {
            self.rendition_mut(Rendition::Source).request_keyframe();
        }
        let fault = self.fault.as_ref().map(|fault| fault.text.clone());
        let viewer = self.viewers.join(mailbox, self.liveness.state(), fault, self.publisher.has_ended());
        self.publisher.wake(&mut self.effects);
        self.effects.add(Action::ReportViewers);
        (viewer, newest)
    }

    pub(super) fn leave_viewer(&mut self, viewer: u64) {
        self.viewers.leave(viewer);
        self.effects.add(Action::ReportViewers);
        self.wake_transcoders();
    }

    /// The next event for a viewer; else its task is woken when there may be one. The frame that it got before was sent
    /// whole. A viewer that has no room for a frame gets states only.
    pub(super) fn poll_viewer(
        &mut self,
        viewer: u64,
        context: &Context<'_>,
        has_room: bool,
        now: Micros,
    ) -> Poll<Event> {
        let Some(slot) = self.viewers.get_mut(viewer) else { return Poll::Pending };
        slot.confirm_delivery();
        if let Some(state) = slot.take_state() {
            return Poll::Ready(Event::State(state));
        }
        if let Some(fault) = slot.take_fault() {
            return Poll::Ready(Event::Fault(fault));
        }
        if !has_room {
            slot.wait(context, false);
            return Poll::Pending;
        }
        if slot.drop_stale(now) {
            self.renditions[slot.rendition() as usize].request_keyframe();
        }
        if let Some(config) = slot.take_config() {
            return Poll::Ready(Event::Config(config));
        }
        if let Some(frame) = slot.pop() {
            self.publisher.wake(&mut self.effects);
            return Poll::Ready(Event::Frame(frame));
        }
        if slot.take_end() {
            return Poll::Ready(Event::Ended);
        }
        slot.wait(context, true);
        self.wake_transcoders();
        Poll::Pending
    }

    /// The frame that a viewer got last is not sent, for this reason.
    pub(super) fn withhold(&mut self, viewer: u64, reason: Reason) {
        let Some(slot) = self.viewers.get_mut(viewer) else { return };
        if slot.withhold(reason) {
            let rendition = slot.rendition();
            self.request_keyframe(rendition);
        }
    }

    pub(super) fn set_accepts(&mut self, viewer: u64, accepts: Accepts) {
        let Some(slot) = self.viewers.get_mut(viewer) else { return };
        slot.set_accepts(accepts);
        let codec = self.rendition(Rendition::Source).codec();
        if accepts == Accepts::Jpegs && codec.is_some_and(|codec| codec != Codec::Jpeg) {
            self.switch(viewer, Rendition::Jpeg, self.liveness.last_activity());
        }
        self.start_transcoders();
    }

    pub(super) fn skip_stale(&mut self, viewer: u64, now: Micros) {
        if !self.is_live() {
            let slot = self.viewers.get_mut(viewer);
            slot.into_iter().for_each(|slot| slot.skip_before(now.saturating_sub(STALE_AGE)));
        }
    }

    pub(super) fn set_max_age(&mut self, viewer: u64, max_age: Option<Micros>) {
        self.viewers.get_mut(viewer).into_iter().for_each(|slot| slot.set_max_age(max_age));
    }

    pub(super) fn set_capacity(&mut self, viewer: u64, capacity: Option<u64>) {
        self.viewers.get_mut(viewer).into_iter().for_each(|slot| slot.set_capacity(capacity));
    }

    /// Sets how many bits a second may be sent to a viewer, and switches it to the rendition that fits.
    pub(super) fn set_target(&mut self, viewer: u64, target: Option<u64>, now: Micros) {
        let Some(slot) = self.viewers.get_mut(viewer) else { return };
        let accepts = slot.accepts();
        if accepts == Accepts::Source {
            return;
        }
        slot.set_target(target);
        let offer = self.offer(accepts, target, now);
        let chosen = self.viewers.get_mut(viewer).and_then(|slot| slot.choose(&offer, now));
        if let Some(to) = chosen {
            self.switch(viewer, to, now);
            self.start_transcoders();
        }
    }

    /// A viewer cannot decode before a keyframe arrives.
    pub(super) fn request_keyframe_for(&mut self, viewer: u64) {
        self.request_keyframe(self.rendition_of(viewer));
    }

    /// The rendition that a viewer takes.
    pub(super) fn rendition_of(&self, viewer: u64) -> Rendition {
        self.viewers.get(viewer).map(ViewerSlot::rendition).unwrap_or_default()
    }

    /// What became of a viewer's frames.
    pub(super) fn counts_of(&self, viewer: u64) -> Counts {
        self.viewers.get(viewer).map(ViewerSlot::counts).unwrap_or_default()
    }

    /// Whether the frame that a viewer got last only replays the GOP.
    pub(super) fn is_catching_up(&self, viewer: u64) -> bool {
        self.viewers.get(viewer).is_some_and(ViewerSlot::catching_up)
    }

    /// Adds a frame's stages up to its arrival at the hub that it was sent on to.
    pub(super) fn report_arrival(&mut self, times: &Times) {
        self.split.take_upload(times);
    }

    /// Adds the stages of a frame that a viewer reports, if they are `measured` from its capture to its display, and
    /// passes the report on to the publisher. The stages up to the viewer are only added at its `first` report.
    pub(super) fn report(&mut self, times: &Times, report: &Report, first: bool, measured: bool) {
        if first && measured {
            self.split.take_delivery(times, report);
        }
        if report.shown == 0 {
            return;
        }
        if measured {
            self.split.take_showing(times, report);
        }
        if let Some(upstream) = self.publisher.upstream()
            && let Some(sequence) = self.numbering.publishers_number(report.sequence)
        {
            let report = Feedback::Report(Report { sequence, ..*report });
            self.effects.add(Action::Send(upstream.clone(), report));
        }
    }

    /// What a viewer can choose from that may be sent this much.
    fn offer(&self, accepts: Accepts, target: Option<u64>, now: Micros) -> Offer {
        let source = self.rendition(Rendition::Source);
        let decodes = accepts != Accepts::Jpegs || source.codec().is_none_or(|codec| codec == Codec::Jpeg);
        let targets = self.viewers.targets(Rendition::High).chain(self.viewers.targets(Rendition::Low));
        Offer {
            source: decodes.then(|| source.bitrate(now) as u64),
            h264: accepts == Accepts::Any,
            fastest: targets.chain(target).max().unwrap_or(0),
        }
    }

    fn switch(&mut self, viewer: u64, to: Rendition, now: Micros) {
        let live = self.is_live();
        let Some(slot) = self.viewers.get_mut(viewer) else { return };
        slot.switch(to, &mut self.renditions[to as usize], live, now, &mut self.effects);
        self.wake_transcoders();
    }
}

/// What the transcoders of a stream do.
impl StreamState {
    /// The next frame to transcode to a rendition; else its transcoder's task is woken when there may be one. `None`:
    /// the rendition has no viewers any more, and its state is gone.
    pub(super) fn poll_transcoder(
        &mut self,
        rendition: Rendition,
        context: &Context<'_>,
    ) -> Poll<Option<TranscodeJob>> {
        if !self.viewers.any_taking(rendition) {
            *self.rendition_mut(rendition) = RenditionState::default();
            return Poll::Ready(None);
        }
        let has_room = self.viewers.any_with_room(rendition);
        let target = rendition::shared_target(self.viewers.targets(rendition));
        let now = self.liveness.last_activity();
        self.rendition_mut(rendition).poll_job(has_room, target, now, context)
    }

    /// Delivers a transcoded frame to the viewers of its rendition.
    pub(super) fn publish_transcoded(&mut self, rendition: Rendition, config: Config, frame: &Frame) {
        self.rendition_mut(rendition).set_config(config);
        self.deliver(rendition, frame, self.liveness.last_activity());
    }

    /// The transcoder of a rendition has failed: its viewers take the source, if they can decode that.
    pub(super) fn fail_transcoder(&mut self, rendition: Rendition) {
        *self.rendition_mut(rendition) = RenditionState::default();
        for viewer in self.viewers.movable_from(rendition) {
            self.switch(viewer, Rendition::Source, self.liveness.last_activity());
        }
    }

    pub(super) fn request_keyframe(&mut self, rendition: Rendition) {
        self.rendition_mut(rendition).request_keyframe();
    }

    /// Starts a transcoder for each rendition that has viewers and no transcoder.
    fn start_transcoders(&mut self) {
        for rendition in Rendition::TRANSCODED {
            if self.rendition(rendition).is_transcoded() || !self.viewers.any_taking(rendition) {
                continue;
            }
            let source = self.rendition(Rendition::Source);
            let now = self.liveness.last_activity();
            let (mailbox, needs_keyframe) = source.new_mailbox(Policy::Newest, self.is_live(), now);
            if needs_keyframe {
                self.rendition_mut(Rendition::Source).request_keyframe();
            }
            self.rendition_mut(rendition).start_queue(mailbox);
            self.effects.add(Action::StartTranscoder(rendition));
        }
    }

    /// A viewer may have room, or has left.
    fn wake_transcoders(&mut self) {
        self.renditions.iter_mut().for_each(|state| state.wake_transcoder(&mut self.effects));
    }
}
