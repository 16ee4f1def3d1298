//! A viewer whose wire has no reports: what its kernel acknowledges stands for them.
//!
//! That it has the bytes is all that a kernel says: how many its program left unread is not known here.

use std::{collections::VecDeque, convert::Infallible, future::pending, time::Duration};

use anyhow::{Context, Result};
use framewire_proto::{Config, Frame, Micros, flow::Flow};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use crate::{
    clock,
    net::{NO_PROGRESS, acknowledged::Acknowledged, socket::Socket},
};

/// How soon it is asked again what was acknowledged, while anything is not: nothing wakes anybody when it is.
const LOOK: Duration = Duration::from_millis(2);

/// Says when the next frame may be begun, and what the link carries.
#[derive(Debug, Default)]
pub(super) struct Paced {
    /// Within one machine a late acknowledgement tells of a busy processor, which coding would keep busier.
    local: bool,
    flow: Flow,
    /// The frame that is being written.
    begun: Option<u64>,
    /// Frames that were written, and how many bytes of the connection up to their ends.
    written: VecDeque<(u64, u64)>,
}

impl Paced {
    /// What goes over this socket is to be paced.
    pub(super) fn new(socket: &Socket) -> Self {
        Self { local: socket.local(), ..Self::default() }
    }

    /// Whether the kernel's room is all that there is to go by, because the viewer is on this machine.
    pub(super) fn local(&self) -> bool {
        self.local
    }

    /// Frames are such, from now on.
    pub(super) fn paced(&mut self, config: &Config) {
        self.flow.paced(config);
    }

    /// A frame is about to be written.
    pub(super) fn begun(&mut self, frame: &Frame) {
        if self.local {
            return;
        }
        self.flow.sent(frame.sequence, frame.data.len(), clock::now());
        self.begun = Some(frame.sequence);
    }

    /// Bits a second to be sent, so that the link keeps up; `None` while that is not known.
    pub(super) fn budget(&self) -> Option<u64> {
        self.flow.budget()
    }

    /// Bits a second that the link is believed to carry; `None` while that is not known.
    pub(super) fn capacity(&self) -> Option<u64> {
        self.flow.capacity()
    }

    /// Waits until the next frame may be begun.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`NO_PROGRESS`].
    pub(super) async fn room(&mut self, socket: &Socket) -> Result<()> {
        let room = timeout(NO_PROGRESS, async {
            socket.room().await?;
            if self.local {
                return Ok(());
            }
            self.settle(socket).await?;
            loop {
                let now = clock::now();
                self.look(socket, now)?;
                match self.flow.opens(now) {
                    Some(at) if at <= now => return Ok(()),
                    at => sleep(at.map_or(LOOK, |at| LOOK.min(Duration::from_micros(at - now)))).await,
                }
            }
        });
        room.await.context("the other end took nothing for 10 s")?
    }

    /// Waits for what is next, and sees meanwhile when what is under way arrives.
    pub(super) async fn meanwhile<T>(&mut self, socket: &Socket, next: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            next = next => next,
            never = self.watch(socket) => match never {},
        }
    }

    /// Whoever writes for this viewer may hold some of the last frame yet: it is let run until it writes no more.
    async fn settle(&mut self, socket: &Socket) -> Result<()> {
        let mut written = None;
        while written.replace(socket.written()) != Some(socket.written()) {
            yield_now().await;
            socket.room().await?;
        }
        self.written.extend(self.begun.take().zip(written));
        Ok(())
    }

    async fn watch(&mut self, socket: &Socket) -> Infallible {
        // Where the connection is broken, whoever writes next notices.
        while !self.written.is_empty() && self.look(socket, clock::now()).is_ok() {
            sleep(LOOK).await;
        }
        pending().await
    }

    /// Takes what was acknowledged for reports.
    fn look(&mut self, socket: &Socket, now: Micros) -> Result<()> {
        let Some(Acknowledged { bytes, round_trip, segment }) = socket.acknowledged()? else {
            // Where nothing is known, the kernel's room is all there is to go by.
            self.written.clear();
            self.flow.anew();
            return Ok(());
        };
        self.flow.round_trip(round_trip);
        // A last segment by itself is acknowledged late, in case that another comes (RFC 9293, section 3.8.6.3).
        let arrived = self.written.iter().take_while(|(_, end)| *end <= bytes + segment).count();
        let newest = self.written.drain(..arrived).next_back();
        if let Some((sequence, end)) = newest {
            self.flow.reported_but(sequence, end.saturating_sub(bytes) as usize, now);
        }
        Ok(())
    }
}
