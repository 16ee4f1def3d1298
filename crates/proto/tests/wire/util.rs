//! Shared by the tests: random messages, and two ends on a simulated link with a virtual clock.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use framewire_proto::{
    Codec, Config, Frame, Limits, Micros, Name, Orientation, PixelAspect, Presentation, Rendition, Times, WireError,
    clock::Offset,
    wire::native::{Decoder, Message, PREAMBLE, Report, Service, Session, State, Token},
};
use proptest::prelude::*;

/// Decodes every message in one direction of a connection.
pub(crate) fn decode(connection: &[u8], chunk: usize) -> Result<Vec<Message>, WireError> {
    let mut decoder = Decoder::new(Limits::default());
    let mut messages = Vec::new();
    for bytes in connection.chunks(chunk.max(1)) {
        decoder.push(bytes);
        while let Some(message) = decoder.pull()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// Encodes a preamble and these messages.
pub(crate) fn encode(messages: &[Message]) -> Vec<u8> {
    let mut out = PREAMBLE.to_vec();
    for message in messages {
        message.encode(&mut out);
    }
    out
}

/// Encodes a preamble and one message from its parts.
pub(crate) fn raw(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = PREAMBLE.to_vec();
    out.extend([kind, flags, 0, 0]);
    out.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend(body);
    out
}

/// A frame of this many bytes.
pub(crate) fn frame(sequence: u64, length: usize) -> Frame {
    let times = Times { captured: 1 + sequence, ..Times::default() };
    Frame { sequence, keyframe: true, times, data: Bytes::from(vec![0xa5; length]) }
}

/// Any valid message.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let text = || "[^\\p{Cc}]{0,40}";
    prop_oneof![
        text().prop_map(|software| Message::Hello { software }),
        any::<([u8; 16], u64)>().prop_map(|(token, turn)| Message::Session(Session { token: Token(token), turn })),
        (name(), any::<bool>()).prop_map(|(name, passthrough)| Message::Publish { name, passthrough }),
        (name(), any::<[bool; 3]>()).prop_map(|(name, [wait, every, jpegs])| Message::Subscribe {
            name,
            wait,
            every,
            jpegs
        }),
        name().prop_map(|name| Message::Accepted { name }),
        config().prop_map(Message::Config),
        any_frame().prop_map(Message::Frame),
        any::<[u64; 4]>().prop_map(|[sequence, received, decoded, shown]| {
            Message::Report(Report { sequence, received, decoded, shown })
        }),
        any::<u64>().prop_map(|sent| Message::Ping { sent }),
        any::<[u64; 3]>().prop_map(|[pinged, received, sent]| Message::Pong { pinged, received, sent }),
        any::<u32>().prop_map(|viewers| Message::Demand { viewers }),
        Just(Message::Keyframe),
        (0..4_u64, any::<[u64; 5]>()).prop_map(|(rendition, [capacity, delivered, superseded, undecodable, full])| {
            let rendition = Rendition::from_number(rendition).expect("one of the four");
            Message::Service(Service { rendition, capacity, delivered, superseded, undecodable, full })
        }),
        prop_oneof![Just(State::Live), Just(State::Stalled), Just(State::Idle)].prop_map(Message::State),
        (any::<u16>(), text()).prop_map(|(code, text)| Message::Error { code, text }),
        text().prop_map(|text| Message::Fault { text }),
        text().prop_map(|text| Message::Bye { text }),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    "\\PC{0,70}".prop_map(|text| Name::from_lossy(&text))
}

fn config() -> impl Strategy<Value = Config> {
    let codec = prop::sample::select(Codec::ALL.as_slice());
    let coded = (codec, 1..=8192_u16, 1..=4880_u16, any::<u32>(), bytes(300));
    (coded, 1..=8_u16, (any::<u8>(), any::<u8>())).prop_map(
        |((codec, width, height, millifps, extra), orientation, (across, down))| {
            let orientation = Orientation::from_exif(orientation).unwrap();
            let presentation = Presentation { pixel_aspect: PixelAspect::new(across.into(), down.into()), orientation };
            Config { codec, width, height, millifps, extra, presentation }
        },
    )
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (any::<[u64; 6]>(), any::<bool>(), bytes(9_000)).prop_map(|(numbers, keyframe, data)| {
        let [sequence, captured, encoded, sent, received, forwarded] = numbers;
        Frame {
            sequence,
            keyframe,
            times: Times { captured, encoded, sent, received, forwarded, ..Times::default() },
            data,
        }
    })
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

/// One direction of a connection: a delay, a rate, and an unbounded queue.
pub(crate) struct Link {
    /// One-way delays in µs, used in turn.
    pub delays: Vec<Micros>,
    /// The link's rate.
    pub bytes_per_second: u64,
    sent: usize,
    free_at: Micros,
    arrives_at: Micros,
    under_way: VecDeque<(Micros, Bytes)>,
}

/// The most bytes that arrive at once.
const SEGMENT: usize = 1_448;

impl Link {
    /// A link of these delays and this rate.
    pub(crate) fn new(delays: &[Micros], bytes_per_second: u64) -> Self {
        let delays = delays.to_vec();
        Self { delays, bytes_per_second, sent: 0, free_at: 0, arrives_at: 0, under_way: VecDeque::new() }
    }

    fn send(&mut self, now: Micros, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let segment = bytes.split_to(bytes.len().min(SEGMENT));
            self.free_at = self.free_at.max(now) + segment.len() as u64 * 1_000_000 / self.bytes_per_second;
            let delay = self.delays[self.sent % self.delays.len()];
            self.sent += 1;
            // TCP delivers bytes in order.
            self.arrives_at = self.arrives_at.max(self.free_at + delay);
            self.under_way.push_back((self.arrives_at, segment));
        }
    }

    fn take(&mut self, now: Micros) -> Option<Bytes> {
        let (at, _) = self.under_way.front()?;
        if *at > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, bytes)| bytes)
    }
}

/// One end of a connection. It pings and answers pings.
pub(crate) struct End {
    /// Its clock at the start of the simulation.
    pub clock_at_start: Micros,
    /// Its estimate of the other end's clock.
    pub offset: Offset,
    /// Received messages except Ping and Pong, with the time of arrival on its own clock.
    pub received: Vec<(Micros, Message)>,
    /// When the last answered ping was sent.
    pub answered: Option<Micros>,
    decoder: Decoder,
    out: BytesMut,
    ping_at: Micros,
}

impl End {
    fn new(clock_at_start: Micros) -> Self {
        let mut out = BytesMut::from(PREAMBLE.as_slice());
        Message::Hello { software: "test".into() }.encode(&mut out);
        let decoder = Decoder::new(Limits::default());
        Self {
            clock_at_start,
            offset: Offset::default(),
            received: Vec::new(),
            answered: None,
            decoder,
            out,
            ping_at: clock_at_start,
        }
    }

    /// Sends this at the next step.
    pub(crate) fn send_message(&mut self, message: &Message) {
        message.encode(&mut self.out);
    }

    fn read(&mut self, now: Micros, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Some(message) = self.decoder.pull().expect("the other end follows the wire") {
            match message {
                Message::Ping { sent } => self.send_message(&Message::Pong { pinged: sent, received: now, sent: now }),
                Message::Pong { pinged, received, sent } => {
                    self.offset.push(pinged, received, sent, now);
                    self.answered = Some(pinged);
                }
                other => self.received.push((now, other)),
            }
        }
    }

    fn tick(&mut self, now: Micros) {
        if self.ping_at <= now {
            self.send_message(&Message::Ping { sent: now });
            self.ping_at = now + self.offset.ping_interval();
        }
    }
}

/// Two ends, the links between them and the simulation's clock.
pub(crate) struct Pair {
    /// Virtual time since the start, in µs.
    pub now: Micros,
    /// The client and the hub.
    pub ends: [End; 2],
    links: [Link; 2],
}

impl Pair {
    /// A client and a hub with these clocks at the start, and the links from the client and to it.
    pub(crate) fn new(clocks: [Micros; 2], links: [Link; 2]) -> Self {
        Self { now: 0, ends: clocks.map(End::new), links }
    }

    /// This end's clock.
    pub(crate) fn time(&self, end: usize) -> Micros {
        self.ends[end].clock_at_start + self.now
    }

    /// Runs the simulation for this time in steps of 100 µs.
    pub(crate) fn pass(&mut self, time: Micros) {
        let until = self.now + time;
        while self.now < until {
            self.now += 100;
            for end in 0..2 {
                let now = self.time(end);
                while let Some(bytes) = self.links[1 - end].take(self.now) {
                    self.ends[end].read(now, &bytes);
                }
                self.ends[end].tick(now);
                let out = self.ends[end].out.split().freeze();
                self.links[end].send(self.now, out);
            }
        }
    }
}
