//! When the next frame may go to a viewer whose wire has no reports: TCP's acknowledgements stand for reports, and its receive
//! window for how much the viewer's program left unread.
//!
//! Acknowledgements are polled: every [`POLL_INTERVAL`] while a frame is under way to another machine, and not at all otherwise. Linux
//! can wake a task for them by a timestamp on the socket's error queue (`SOF_TIMESTAMPING_TX_ACK`). That was tried and left:
//!
//! - The timestamp is for the last byte of a write. The next frame may start earlier, when all but the last segment has arrived:
//!   at 1 Mbit/s that is 12 ms before, and up to 40 ms where the receiver delays the last acknowledgement (RFC 9293, section
//!   3.8.6.3; 1 to 20 % of frames when measured). To mark that byte, each frame would be two writes with `MSG_EOR` between them, which
//!   costs a segment a frame, and sendfile(2) has no such flag.
//! - A receive window that opens acknowledges no new data, so it gives no timestamp.
//! - The event is `EPOLLERR`. Together with `EPOLLOUT` mio takes it for a closed pipe, and tokio never takes that back: waiting for room
//!   in a full socket then returned at once, 1147 times in 200 ms. Each viewer would need an epoll instance of its own.

use std::{collections::VecDeque, convert::Infallible, future::pending, time::Duration};

use framewire_proto::{Config, Micros, flow::Flow};
use tokio::time::sleep;

use super::reader_backlog::{Look, Next, ReaderBacklog};
use crate::{
    clock,
    error::Result,
    net::{socket::Socket, tcp_info::Acknowledged},
};

/// How often acknowledgements are looked at while a frame is under way: a frame's transmission time is known as exactly as this.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// A program that seems to be behind is sent a probe, a few bytes that its kernel answers with its window, so often: at first, and
/// at most.
const PROBE_INTERVAL: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];
/// So many probes ask for the window of a program that reads nothing. After those the kernel asks once a second (keepalive), without
/// a byte that the program would find.
const PROBES: u32 = 64;
/// A kernel may delay the acknowledgement of what its program has not read so long, in µs (RFC 1122, section 4.2.3.2; Linux's bound).
const DELAYED_ACK: Micros = 200_000;
/// A frame that waited longer than this for the receive window, in µs, waited for the viewer's program and not for the link.
const WINDOW_LIMITED: Micros = 20_000;
/// A program that was behind is held to be slow for so many frames.
const SLOW_FRAMES: u32 = 8;

/// What a viewer's program may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The next frame.
    Frame,
    /// A probe, a few bytes without meaning: a kernel reports its window when something arrives.
    Probe,
    /// So many bytes without meaning: whether they are read tells a program that has stopped from a buffer that has shrunk. Where a
    /// wire has no such bytes, the next frame has to do.
    Test(usize),
}

/// A frame under way.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    sequence: u64,
    bytes: usize,
    /// What [`Pacer::window_end`] and [`Pacer::window_limited`] were when the frame was started.
    window_end: u64,
    window_limited: Micros,
}

/// Decides when the next frame may be started, and measures what the link carries.
#[derive(Debug, Default)]
pub struct Pacer {
    /// The viewer is on this machine. A late acknowledgement is then a sign of a busy processor, and coding would keep it busier.
    local: bool,
    flow: Flow,
    /// The frame that is being written.
    started: Option<UnderWay>,
    /// Frames that were written, and how many bytes of the connection up to their ends.
    written: VecDeque<(UnderWay, u64)>,
    /// How many bytes of the connection the viewer's kernel accepts; zero where that is not known.
    window_end: u64,
    /// How long bytes have waited for the receive window, in µs.
    window_limited: Micros,
    backlog: ReaderBacklog,
    /// How many probes were sent since the program seems to be behind.
    probes: u32,
    /// For how many frames more the program is held to be slow.
    slow_for: u32,
}

impl Pacer {
    /// Paces what is written to this socket. A program that reads nothing is waited for from now on.
    pub fn new(socket: &Socket) -> Self {
        socket.wait_for_reader();
        Self { local: socket.local(), ..Self::default() }
    }

    /// Whether the viewer is on this machine, so that only the kernel's room counts.
    pub fn local(&self) -> bool {
        self.local
    }

    /// The frames that follow have this frame rate.
    pub fn configure(&mut self, config: &Config) {
        self.flow.set_frame_rate(config);
    }

    /// A frame of so many bytes is about to be written.
    pub fn start(&mut self, sequence: u64, bytes: usize) {
        self.backlog.frame_sent(bytes);
        self.slow_for = self.slow_for.saturating_sub(1);
        if self.local {
            return;
        }
        self.flow.on_sent(sequence, bytes, clock::now());
        let (window_end, window_limited) = (self.window_end, self.window_limited);
        self.started = Some(UnderWay { sequence, bytes, window_end, window_limited });
    }

    /// The bitrate to send, in bit/s, so that the link keeps up; `None` while that is not known.
    pub fn target(&self) -> Option<u64> {
        self.flow.target()
    }

    /// The link's measured rate, in bit/s; `None` while that is not known.
    pub fn capacity(&self) -> Option<u64> {
        self.flow.capacity()
    }

    /// Waits until the next frame may be started. The one before was written whole.
    ///
    /// # Errors
    /// The connection broke, or the other end's machine is gone.
    pub async fn ready(&mut self, socket: &Socket) -> Result<()> {
        socket.while_there(self.opens(socket)).await?
    }

    async fn opens(&mut self, socket: &Socket) -> Result<()> {
        socket.writable().await?;
        if self.local {
            return Ok(());
        }
        self.written.extend(self.started.take().map(|frame| (frame, socket.written())));
        loop {
            let now = clock::now();
            self.read_acks(socket, now)?;
            match self.flow.opens_at(now) {
                Some(at) if at <= now => return Ok(()),
                Some(at) => sleep(POLL_INTERVAL.min(Duration::from_micros(at - now))).await,
                None => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Waits until the viewer's program may have something: the next frame once it has read most of what was sent. Send it a probe or a
    /// test, if it is to have one, and ask again.
    ///
    /// # Errors
    /// The other end's machine is gone, or the system does not report it.
    pub async fn room(&mut self, socket: &Socket) -> Result<Room> {
        let before = self.probes.checked_sub(1).map(|before| before.min(4));
        let wait = before.map_or(Duration::ZERO, |before| (PROBE_INTERVAL[0] * (1 << before)).min(PROBE_INTERVAL[1]));
        let began = clock::now();
        let until = began + wait.as_micros() as Micros;
        let mut pause = POLL_INTERVAL;
        loop {
            let now = clock::now();
            let acknowledged = if self.local { socket.acknowledged()? } else { self.read_acks(socket, now)? };
            let Some(Acknowledged { bytes, window: Some(window), window_unit, .. }) = acknowledged else {
                return Ok(Room::Frame);
            };
            let under_way = socket.written().saturating_sub(bytes);
            // Over a link the flow decides how much may be under way.
            let look = Look {
                acknowledged: bytes,
                window,
                window_unit,
                under_way: if self.local { under_way } else { 0 },
                now,
            };
            let next = self.backlog.next(look);
            if next == Next::Frame {
                // A slow program would leave unread what is under way, too.
                if self.slow_for > 0 && now < began + DELAYED_ACK && self.backlog.behind(window, under_way) {
                    sleep(POLL_INTERVAL).await;
                    continue;
                }
                self.probes = 0;
                return Ok(Room::Frame);
            }
            socket.check_there(now)?;
            if let Next::Test(bytes) = next {
                return Ok(Room::Test(bytes as usize));
            }
            let until = if self.probes < PROBES { until } else { now + PROBE_INTERVAL[1].as_micros() as Micros };
            if now >= until {
                self.probes += 1;
                self.slow_for = SLOW_FRAMES;
                return Ok(Room::Probe);
            }
            sleep(pause.min(Duration::from_micros(until - now))).await;
            pause = (2 * pause).min(PROBE_INTERVAL[1]);
        }
    }

    /// Whether the viewer's program was behind a short while ago.
    pub fn reader_slow(&self) -> bool {
        self.slow_for > 0
    }

    /// Waits for this future, and reads acknowledgements meanwhile.
    pub async fn reading_acks<T>(&mut self, socket: &Socket, next: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            next = next => next,
            never = self.follow_acks(socket) => match never {},
        }
    }

    /// Reads acknowledgements until all that was written has arrived.
    async fn follow_acks(&mut self, socket: &Socket) -> Infallible {
        // Where the connection is broken, the next write notices.
        while !self.written.is_empty() && self.read_acks(socket, clock::now()).is_ok() {
            sleep(POLL_INTERVAL).await;
        }
        pending().await
    }

    /// Takes acknowledgements as reports of frames.
    fn read_acks(&mut self, socket: &Socket, now: Micros) -> Result<Option<Acknowledged>> {
        let Some(acknowledged) = socket.acknowledged()? else {
            // Where the system does not report it, the kernel's room is all there is to go by.
            self.written.clear();
            self.flow.reset();
            return Ok(None);
        };
        let Acknowledged { bytes, round_trip, segment, window, window_limited, .. } = acknowledged;
        self.flow.set_round_trip(round_trip);
        // A last segment by itself is acknowledged late, in case that another follows (RFC 9293, section 3.8.6.3).
        let arrived = self.written.iter().take_while(|(_, end)| *end <= bytes + segment).count();
        let newest = self.written.drain(..arrived).next_back();
        self.window_end = window.map_or(0, |window| bytes + window);
        self.window_limited = window_limited;
        let Some((frame, end)) = newest else { return Ok(Some(acknowledged)) };
        // Unread bytes are acknowledged late, and bytes without room in the window are sent late. Neither measures the link.
        let unread = window.is_some() && self.window_end < frame.window_end + frame.bytes as u64 / 2;
        let waited = window_limited.saturating_sub(frame.window_limited);
        if self.slow_for > 0 || unread || waited > WINDOW_LIMITED.max(2 * round_trip) {
            self.flow.on_untimed_report(frame.sequence, now);
        } else {
            self.flow.on_partial_report(frame.sequence, end.saturating_sub(bytes) as usize, now);
        }
        Ok(Some(acknowledged))
    }
}
