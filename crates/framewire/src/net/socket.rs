//! One connection as tasks use it: what it carries, how far that has arrived, and how long a write may wait.
//!
//! The bytes that go in and out are the wire's own, in plain text, and so are all counts of bytes. A transport that
//! encrypts lives inside: see [`net`](super).

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context as Task, Poll, ready},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use framewire_proto::Micros;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::TcpKeepalive;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    NO_PROGRESS, abandon,
    dial::dial,
    no_progress,
    shared_page::SharedPage,
    tcp_info::{self, Acknowledged},
    tune,
};
use crate::{
    clock,
    error::{Context as _, Error, Result, bail, ensure, error},
    stop::StopOnDrop,
};

/// How often the kernel asks a silent one of the other end whether it is there, at which the answer carries its receive window.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// The kernel gives up after so many: later than [`NO_PROGRESS`], whose error says more.
#[cfg(any(target_os = "linux", target_os = "android"))]
const KEEPALIVE_RETRIES: u32 = 20;

/// How long, and for how many bytes, a connection is read on after its last words.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 << 20;
/// Bytes that are read at once meanwhile.
const LINGER_READ: usize = 64 << 10;

/// A connection's bytes. One task may read while another writes.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    /// Bytes that the kernel has taken.
    written: AtomicU64,
    /// The kernel had no room for the last write by polling.
    blocked: AtomicBool,
    /// A program that reads nothing is waited for.
    waits: AtomicBool,
    /// Since when the other end's kernel owes an answer, in µs; zero while it owes none.
    unanswered_since: AtomicU64,
}

impl Socket {
    /// A connection that was accepted and tuned.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            unanswered_since: AtomicU64::new(0),
        }
    }

    /// Connects to the first of the host's addresses that answers. Cancelling the wait ends that.
    ///
    /// # Errors
    /// No such host, nobody listens there, or no answer in time; with what to try.
    pub async fn connect(host: &str, port: u16) -> Result<Self> {
        let (tell, connected) = oneshot::channel();
        let (host, cancelled) = (host.to_owned(), StopOnDrop::default());
        let stop = cancelled.0.clone();
        let dialling = move || {
            // Nobody listens any more where the wait was cancelled.
            let _ = tell.send(dial(&host, port, &stop));
        };
        thread::Builder::new().name("dial".into()).spawn(dialling).context("cannot connect")?;
        let stream = connected.await?.map_err(|error| match error {
            Error::Refused(_) => error.context("cannot connect: nobody listens there yet"),
            Error::Timeout(_) => error.context("it does not answer; check the address and the network"),
            Error::ConnectionLost(_) => error.context("cannot connect"),
            other => other,
        })?;
        stream.set_nonblocking(true)?;
        tune(&stream)?;
        let peer = stream.peer_addr()?;
        Ok(Self::new(TcpStream::from_std(stream)?, peer))
    }

    /// The address of the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the other end is on this machine, so that no link lies between.
    pub fn local(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }

    /// Appends what arrives to `into`, waiting for it; returns how much, 0 when the other end has closed. Cancelling the wait
    /// loses nothing.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(&self, into: &mut BytesMut) -> Result<usize> {
        loop {
            self.readable().await?;
            if let Some(read) = self.try_read(into)? {
                return Ok(read);
            }
        }
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn readable(&self) -> Result<()> {
        self.stream.readable().await.context("the connection broke")
    }

    /// Appends what has arrived to `into`; `None` when there is nothing now.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_read(&self, into: &mut BytesMut) -> Result<Option<usize>> {
        match self.stream.try_read_buf(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some).context("the connection broke"),
        }
    }

    /// Writes these parts one after the other, whole, in as few segments as they need.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`NO_PROGRESS`]; with [`Socket::wait_for_reader`], its machine is gone.
    pub async fn write<const PARTS: usize>(&self, parts: [&[u8]; PARTS]) -> Result<()> {
        let mut slices = parts.map(IoSlice::new);
        let mut rest = &mut slices[..];
        // Empty parts are skipped.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let wrote = self.write_some(|| self.stream.try_write_vectored(rest)).await?;
            IoSlice::advance_slices(&mut rest, wrote);
        }
        Ok(())
    }

    /// Whether [`Socket::write_page`] saves a copy: the kernel sends a shared page as it is.
    #[allow(clippy::unused_self, reason = "of an encrypted connection it will be untrue")]
    pub fn sends_pages(&self) -> bool {
        cfg!(target_os = "linux")
    }

    /// Writes a shared page, whole.
    ///
    /// # Errors
    /// As [`Socket::write`].
    pub async fn write_page(&self, page: &SharedPage) -> Result<()> {
        let mut sent = 0;
        while sent < page.length() {
            let send = || self.stream.try_io(Interest::WRITABLE, || page.send(sent, &self.stream));
            sent += self.write_some(send).await?;
        }
        Ok(())
    }

    /// Writes once, as soon as there is room; returns how much was written.
    async fn write_some(&self, write: impl Fn() -> io::Result<usize>) -> Result<usize> {
        loop {
            match write() {
                Ok(0) => bail!(ConnectionLost, "the connection takes nothing more"),
                Ok(wrote) => {
                    self.written.fetch_add(wrote as u64, Ordering::Relaxed);
                    return Ok(wrote);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.while_there(self.stream.writable()).await??;
                }
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
    }

    /// From now on a program that reads nothing, because a model loads or a breakpoint holds it, is waited for while its machine
    /// answers. The kernel asks it once a second when nothing else is sent (keepalive).
    pub fn wait_for_reader(&self) {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
        // Where the system refuses, nobody is waited for longer than before.
        let asks = socket2::SockRef::from(&self.stream).set_tcp_keepalive(&keepalive).is_ok();
        self.waits.store(asks && cfg!(target_os = "linux"), Ordering::Relaxed);
    }

    /// Waits for this future while the other end is there.
    ///
    /// # Errors
    /// Its machine is gone, or, without [`Socket::wait_for_reader`], [`NO_PROGRESS`] has passed.
    pub async fn while_there<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            done = wait => Ok(done),
            gone = self.gone() => Err(gone),
        }
    }

    async fn gone(&self) -> Error {
        if !self.waits.load(Ordering::Relaxed) {
            sleep(NO_PROGRESS).await;
            return error!(Timeout, "{}", no_progress("the other end took nothing"));
        }
        loop {
            sleep(KEEPALIVE).await;
            if let Err(error) = self.check_there(clock::now()) {
                return error;
            }
        }
    }

    /// To be called about once a second while the other end takes or reads nothing.
    ///
    /// # Errors
    /// Its kernel has answered nothing for [`NO_PROGRESS`], though it was asked.
    pub fn check_there(&self, now: Micros) -> Result<()> {
        let contact = tcp_info::contact(&self.stream).context("the connection cannot be asked about")?;
        let Some(contact) = contact.filter(|contact| contact.owes_answer) else {
            self.unanswered_since.store(0, Ordering::Relaxed);
            return Ok(());
        };
        let since = self.unanswered_since.load(Ordering::Relaxed);
        if since == 0 || now.saturating_sub(contact.answered_ago) > since {
            self.unanswered_since.store(now, Ordering::Relaxed);
            return Ok(());
        }
        let silent = u128::from(now.saturating_sub(since));
        ensure!(
            silent < NO_PROGRESS.as_micros(),
            Timeout,
            "{}",
            no_progress("the other end's machine has answered nothing")
        );
        Ok(())
    }

    /// Takes what has come, or lets `task` be woken when something does.
    pub(super) fn poll_read(&self, task: &mut Task<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(task))?;
            match self.stream.try_read_buf(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }

    /// Writes what the kernel takes, or lets `task` be woken when it takes something.
    pub(super) fn poll_write(&self, task: &mut Task<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.blocked.store(true, Ordering::Relaxed);
        loop {
            ready!(self.stream.poll_write_ready(task))?;
            match self.stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    self.blocked.store(false, Ordering::Relaxed);
                    self.written.fetch_add(*outcome.as_ref().unwrap_or(&0) as u64, Ordering::Relaxed);
                    return Poll::Ready(outcome);
                }
            }
        }
    }

    /// Whether the last write by polling was refused for want of room, so that its writer still holds those bytes.
    pub fn blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// How many bytes the kernel has taken so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many of them the other end's kernel has; `None` where the system does not report it.
    ///
    /// # Errors
    /// The system refuses to report it.
    pub fn acknowledged(&self) -> Result<Option<Acknowledged>> {
        tcp_info::of(&self.stream).context("the connection cannot be asked about")
    }

    /// Nothing more will be written.
    pub(super) fn finish(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }

    /// Nothing more will be written, and what arrives is dropped until the other end has closed, within bounds. A connection that is
    /// closed with unread bytes is reset, and then the other end may never read what was written last.
    pub async fn linger(&self) {
        if self.finish().is_err() {
            return;
        }
        let drop_rest = async {
            let (mut left, mut dropped) = (LINGER_BYTES, BytesMut::with_capacity(LINGER_READ));
            while left > 0 {
                dropped.clear();
                match self.read(&mut dropped).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        // Whoever takes longer has had time to read what was written.
        let _ = timeout(LINGER, drop_rest).await;
    }

    /// From now on nothing that waits to be sent is: once dropped, the connection is gone at once.
    pub fn abandon(&self) {
        abandon(&self.stream);
    }

    /// Waits until the kernel holds so little unsent that what is written now leaves soon.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn writable(&self) -> Result<()> {
        loop {
            self.stream.writable().await?;
            // What was writable may not be so any more, which only a write that is refused would tell.
            match self.stream.try_io(Interest::WRITABLE, || writable_now(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome.context("the connection broke"),
            }
        }
    }
}

fn writable_now(stream: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default()))?;
    if asked[0].revents().is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}
