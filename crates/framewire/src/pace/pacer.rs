//! A viewer whose wire has no reports: what its kernel acknowledges stands for them, and the room that it has left for what its
//! program left unread.

use std::{collections::VecDeque, convert::Infallible, future::pending, time::Duration};

use framewire_proto::{Config, Micros, flow::Flow};
use tokio::time::{sleep, timeout};

use super::reader_backlog::ReaderBacklog;
use crate::error::{Context as _, Result, ensure};
use crate::{
    clock,
    net::{NO_PROGRESS, no_progress, socket::Socket, tcp_info::Acknowledged},
};

/// How soon it is asked again what was acknowledged, while anything is not: nothing wakes anybody when it is.
const LOOK: Duration = Duration::from_millis(2);
/// How long after a few bytes more, which its kernel answers with the room that there is, a program that seems to be behind is
/// waited for until it gets the next few: at first, and at most.
const ASK: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(100)];
/// So late, in µs, a kernel may acknowledge what its program has not read (RFC 1122, section 4.2.3.2; Linux's own bound is this).
const LATE: Micros = 200_000;
/// What waited longer, in µs, for room in its kernel, waited for its program.
const HELD: Micros = 20_000;
/// A program that was behind is thought slow for so many pictures.
const SLOW: u32 = 8;

/// A frame on its way.
#[derive(Debug, Clone, Copy)]
struct Begun {
    sequence: u64,
    bytes: usize,
    /// What [`Pacer::taken`] and [`Pacer::held`] were then.
    taken: u64,
    held: Micros,
}

/// Says when the next frame may be begun, and what the link carries.
#[derive(Debug, Default)]
pub struct Pacer {
    /// Within one machine a late acknowledgement tells of a busy processor, which coding would keep busier.
    local: bool,
    flow: Flow,
    /// The frame that is being written.
    begun: Option<Begun>,
    /// Frames that were written, and how many bytes of the connection up to their ends.
    written: VecDeque<(Begun, u64)>,
    /// How many bytes of the connection its kernel said last that it takes; zero where that is not told.
    taken: u64,
    /// How long something waited for its room, in µs.
    held: Micros,
    unread: ReaderBacklog,
    /// How often it was asked since it seems to be behind.
    asked: u32,
    /// For how many pictures more it is thought slow.
    slow: u32,
}

impl Pacer {
    /// What goes over this socket is to be paced.
    pub fn new(socket: &Socket) -> Self {
        Self { local: socket.local(), ..Self::default() }
    }

    /// Whether the kernel's room is all that there is to go by, because the viewer is on this machine.
    pub fn local(&self) -> bool {
        self.local
    }

    /// Frames are such, from now on.
    pub fn paced(&mut self, config: &Config) {
        self.flow.paced(config);
    }

    /// A frame of so many bytes is about to be written.
    pub fn begun(&mut self, sequence: u64, bytes: usize) {
        self.unread.sent(bytes);
        self.slow = self.slow.saturating_sub(1);
        if self.local {
            return;
        }
        self.flow.sent(sequence, bytes, clock::now());
        self.begun = Some(Begun { sequence, bytes, taken: self.taken, held: self.held });
    }

    /// Bits a second to be sent, so that the link keeps up; `None` while that is not known.
    pub fn target(&self) -> Option<u64> {
        self.flow.target()
    }

    /// Bits a second that the link is believed to carry; `None` while that is not known.
    pub fn capacity(&self) -> Option<u64> {
        self.flow.capacity()
    }

    /// Waits until the next frame may be begun.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`NO_PROGRESS`].
    pub async fn room(&mut self, socket: &Socket) -> Result<()> {
        let room = timeout(NO_PROGRESS, async {
            socket.writable().await?;
            if self.local {
                return Ok(());
            }
            self.written.extend(self.begun.take().map(|begun| (begun, socket.written())));
            loop {
                let now = clock::now();
                self.look(socket, now)?;
                match self.flow.opens(now) {
                    Some(at) if at <= now => return Ok(()),
                    at => sleep(at.map_or(LOOK, |at| LOOK.min(Duration::from_micros(at - now)))).await,
                }
            }
        });
        room.await.with_context(|| no_progress("the other end took nothing"))?
    }

    /// Whether its program has read so much that it may have another frame. If not, it is to be sent a few bytes that mean nothing,
    /// and this to be asked again: kernels tell what room they have when something comes.
    ///
    /// # Errors
    /// It has read nothing for [`NO_PROGRESS`], or the system does not tell.
    pub async fn reads(&mut self, socket: &Socket) -> Result<bool> {
        let wait = self.asked.checked_sub(1).map_or(Duration::ZERO, |before| (ASK[0] * (1 << before)).min(ASK[1]));
        let began = clock::now();
        let until = began + wait.as_micros() as Micros;
        let mut pause = LOOK;
        loop {
            let now = clock::now();
            let told = if self.local { socket.acknowledged()? } else { self.look(socket, now)? };
            let Some(Acknowledged { bytes, window: Some(window), .. }) = told else {
                return Ok(true);
            };
            let under_way = socket.written().saturating_sub(bytes);
            // The flow lets another frame be under way when there is a link between.
            if self.unread.few(window, if self.local { under_way } else { 0 }, now) {
                // Not to a program that is slow: it will be unread too.
                if self.slow > 0 && now < began + LATE && self.unread.many(window, under_way) {
                    sleep(LOOK).await;
                    continue;
                }
                self.asked = 0;
                return Ok(true);
            }
            ensure!(
                u128::from(now - self.unread.read()) < NO_PROGRESS.as_micros(),
                Timeout,
                "{}",
                no_progress("the other end has read nothing")
            );
            if now >= until {
                self.asked = (self.asked + 1).min(4);
                self.slow = SLOW;
                return Ok(false);
            }
            sleep(pause.min(Duration::from_micros(until - now))).await;
            pause *= 2;
        }
    }

    /// Whether its program was behind a short while ago.
    pub fn slow(&self) -> bool {
        self.slow > 0
    }

    /// Waits for what is next, and sees meanwhile when what is under way arrives.
    pub async fn meanwhile<T>(&mut self, socket: &Socket, next: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            next = next => next,
            never = self.watch(socket) => match never {},
        }
    }

    async fn watch(&mut self, socket: &Socket) -> Infallible {
        // Where the connection is broken, whoever writes next notices.
        while !self.written.is_empty() && self.look(socket, clock::now()).is_ok() {
            sleep(LOOK).await;
        }
        pending().await
    }

    /// Takes what was acknowledged for reports, and tells it.
    fn look(&mut self, socket: &Socket, now: Micros) -> Result<Option<Acknowledged>> {
        let Some(told) = socket.acknowledged()? else {
            // Where nothing is known, the kernel's room is all there is to go by.
            self.written.clear();
            self.flow.anew();
            return Ok(None);
        };
        let Acknowledged { bytes, round_trip, segment, window, held } = told;
        self.flow.round_trip(round_trip);
        // A last segment by itself is acknowledged late, in case that another comes (RFC 9293, section 3.8.6.3).
        let arrived = self.written.iter().take_while(|(_, end)| *end <= bytes + segment).count();
        let newest = self.written.drain(..arrived).next_back();
        self.taken = window.map_or(0, |window| bytes + window);
        self.held = held;
        let Some((frame, end)) = newest else { return Ok(Some(told)) };
        // What its program has not read is acknowledged late, and what its buffer has no room for comes late. Of a slow one all may be.
        let unread = window.is_some() && self.taken < frame.taken + frame.bytes as u64 / 2;
        if self.slow > 0 || unread || held.saturating_sub(frame.held) > HELD.max(2 * round_trip) {
            self.flow.reported_late(frame.sequence, now);
        } else {
            self.flow.reported_but(frame.sequence, end.saturating_sub(bytes) as usize, now);
        }
        Ok(Some(told))
    }
}
