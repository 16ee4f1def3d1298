//! A socket as tasks use it: what it reads goes where it shall stay, what it writes has a deadline.

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as Task, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use super::{
    NO_PROGRESS, abandon,
    shared_page::SharedPage,
    tcp_info::{self, Acknowledged},
    tune,
};
use crate::error::{Context as _, Error, Result, bail};

/// How long connecting may take, over all of a host's addresses.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection's bytes. One task may read while another writes.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Bytes that the kernel has taken.
    written: AtomicU64,
    /// What is written next is to be sent from it, if it is that.
    original: Mutex<Option<Arc<SharedPage>>>,
    /// Who is at the other end.
    pub peer: SocketAddr,
}

impl Socket {
    /// A connection that was accepted and tuned.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, written: AtomicU64::new(0), original: Mutex::default(), peer }
    }

    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// No such host, nobody listens there, or no answer in time; with what to try.
    pub async fn connect(authority: &str) -> Result<Self> {
        let stream = timeout(CONNECT, TcpStream::connect(authority)).await;
        let stream = stream.context("it does not answer; check the address and the network")?;
        let stream = stream.map_err(|error| {
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let hint = if refused { "cannot connect: nobody listens there yet" } else { "cannot connect" };
            Error::from(error).context(hint)
        })?;
        tune(&stream)?;
        let peer = stream.peer_addr()?;
        Ok(Self::new(stream, peer))
    }

    /// Appends what has come to `into`, waiting for it; returns how much, 0 at the other end's end. Nothing is lost when the
    /// wait is given up.
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

    /// Appends what has come to `into`; `None` when there is nothing now.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_read(&self, into: &mut BytesMut) -> Result<Option<usize>> {
        match self.stream.try_read_buf(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some).context("the connection broke"),
        }
    }

    /// Writes one after the other, whole, in as few segments as they need.
    ///
    /// # Errors
    /// The connection broke, or the other end took nothing for [`NO_PROGRESS`].
    pub async fn write(&self, head: &[u8], body: &[u8]) -> Result<()> {
        let (mut head, mut body) = (head, body);
        while !head.is_empty() || !body.is_empty() {
            let wrote = match self.try_write(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => bail!(ConnectionLost, "the connection takes nothing more"),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = timeout(NO_PROGRESS, self.stream.writable()).await;
                    writable.context("the other end took nothing for 10 s")??;
                    continue;
                }
                Err(error) => return Err(error).context("the connection broke"),
            };
            let of_head = wrote.min(head.len());
            head = &head[of_head..];
            body = &body[wrote - of_head..];
        }
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
        loop {
            ready!(self.stream.poll_write_ready(task))?;
            match self.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => return Poll::Ready(wrote),
            }
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let original = self.original.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = original.and_then(|original| Some((original.place(slices)?, original)));
        let wrote = match place {
            Some((from, original)) => self.stream.try_io(Interest::WRITABLE, || original.send(from, &self.stream))?,
            None => self.stream.try_write_vectored(slices)?,
        };
        self.written.fetch_add(wrote as u64, Ordering::Relaxed);
        Ok(wrote)
    }

    /// What is written next is sent from there, so far as it is that; `None`: nothing is.
    pub fn lend(&self, original: Option<Arc<SharedPage>>) {
        *self.original.lock().unwrap_or_else(PoisonError::into_inner) = original;
    }

    /// How many bytes the kernel has taken so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many of them the other end's kernel has; `None` where the system does not tell.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn acknowledged(&self) -> Result<Option<Acknowledged>> {
        tcp_info::of(&self.stream).context("the connection cannot be asked about")
    }

    /// Whether the other end is this machine.
    pub fn local(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }

    /// Nothing more will be written.
    pub(super) fn finish(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }

    /// From now on nothing that waits to be sent is: once dropped, the connection is gone at once.
    pub fn abandon(&self) {
        abandon(&self.stream);
    }

    /// Waits until the kernel holds so little unsent that what is written now leaves soon.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn room(&self) -> Result<()> {
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
