//! Connecting to a hub: addresses, deadlines, backoff.

use std::{
    fmt,
    io::{self, IoSlice, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use framewire_proto::{
    Limits, Micros, Name,
    wire::native::{self, Message},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};

use super::{abandon, channel, tune_blocking};
use crate::clock;
use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure};

/// The port when none is given.
pub const PORT: u16 = 7070;
/// How long connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read waits before its thread looks around.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// A hub's address and a stream there, from `fw://host:port/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host, or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The stream, when one is named.
    pub name: Option<Name>,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = "write it like fw://127.0.0.1:7070/door";
        let rest = text
            .strip_prefix("fw://")
            .or_error(Error::InvalidInput, || format!("'{text}' is no address of a hub: {wanted}"))?;
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority).with_context(|| format!("'{text}': {wanted}"))?;
        let port = port.unwrap_or(PORT);
        ensure!(port != 0, InvalidInput, "'{text}': its port is no number from 1 to 65535: {wanted}");
        let name = match name {
            "" => None,
            name => Some(name.parse().with_context(|| format!("'{text}'"))?),
        };
        Ok(Self { host, port, name })
    }
}

/// `HOST:PORT` as host, without brackets, and port; `None` where no port is given.
pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok().or_error(Error::InvalidInput, || "its port is no number from 1 to 65535")?))
        }
        _ => (authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ensure!(!host.is_empty(), InvalidInput, "it names no host");
    Ok((host.into(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(out, "fw://{}{}{}:{}", brackets.0, self.host, brackets.1, self.port)?;
        self.name.iter().try_for_each(|name| write!(out, "/{name}"))
    }
}

/// A connection to a hub: one thread receives, any thread sends.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Held for one message at a time.
    writing: Mutex<()>,
    /// Small messages that were posted and not sent yet.
    posted: Mutex<BytesMut>,
}

/// Bytes of posted messages that may wait: a hub that takes none of them is gone.
const POSTED: usize = 64 << 10;

/// Receives a [`Client`]'s messages.
#[derive(Debug)]
pub struct Receiver {
    stream: TcpStream,
    decoder: native::Decoder,
}

impl Client {
    /// Connects and sends the preamble and these messages without waiting for the hub's.
    ///
    /// # Errors
    /// Nobody listens there, or not in time.
    pub fn connect(address: &Address, messages: &[Message]) -> Result<(Self, Receiver)> {
        Self::greet(connect(address)?, messages)
    }

    /// Sends the preamble and these messages over a connection that was just made.
    ///
    /// # Errors
    /// It has broken already.
    pub(super) fn greet(stream: TcpStream, messages: &[Message]) -> Result<(Self, Receiver)> {
        tune_blocking(&stream)?;
        stream.set_read_timeout(Some(LOOK_AROUND))?;
        let receiver = Receiver { stream: stream.try_clone()?, decoder: native::Decoder::new(Limits::default()) };
        (&stream).write_all(&channel::greeting(messages))?;
        Ok((Self { stream, writing: Mutex::default(), posted: Mutex::default() }, receiver))
    }

    /// Sends a message whole; a frame's picture goes from where it lies.
    ///
    /// # Errors
    /// The connection broke, or the hub took nothing for 10 s.
    pub fn send(&self, message: &Message) -> Result<()> {
        let turn = lock(&self.writing);
        match message {
            Message::Frame(frame) => self.write(&native::frame_head(frame), &frame.data)?,
            small => self.write(&small.to_bytes(), &[])?,
        }
        drop(turn);
        self.send_posted()
    }

    /// Sends a small message as soon as there is room for it, after what is being sent now, and does not wait for that.
    ///
    /// # Errors
    /// The connection broke, or the hub takes nothing of what was posted before.
    pub fn post(&self, message: &Message) -> Result<()> {
        let mut posted = lock(&self.posted);
        ensure!(posted.len() < POSTED, Timeout, "the hub takes nothing of what is sent to it");
        message.encode(&mut *posted);
        drop(posted);
        self.send_posted()
    }

    /// Sends what was posted, unless there is no room: then whoever sends next does, or posts next.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) fn send_posted(&self) -> Result<()> {
        while !lock(&self.posted).is_empty() {
            // Who writes now looks here afterwards.
            let Ok(_turn) = self.writing.try_lock() else { return Ok(()) };
            if !writable(&self.stream) {
                return Ok(());
            }
            let bytes = lock(&self.posted).split();
            self.write(&bytes, &[])?;
        }
        Ok(())
    }

    /// Whether the hub is on this machine, so that no link lies between.
    pub fn local(&self) -> bool {
        self.stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback())
    }

    /// Ends the connection in both directions, which wakes the thread that receives.
    pub fn close(&self) {
        // It may have ended already: that is as good.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// The same, and nothing that still waits to be sent ever is.
    pub fn abandon(&self) {
        abandon(&self.stream);
        self.close();
    }

    /// What waits to be sent is, also after its end: not so for an attempt that may be given up.
    pub(super) fn keep(&self) {
        // Where the system refuses, the last bytes may be lost: no more than a word of goodbye.
        let _ = socket2::SockRef::from(&self.stream).set_linger(None);
    }

    /// The hub's own address, which needs not be asked for again.
    pub(super) fn peer(&self) -> Result<SocketAddr> {
        self.stream.peer_addr().context("the connection broke")
    }

    /// Writes a whole message. To be called by who holds the turn.
    fn write(&self, mut head: &[u8], mut body: &[u8]) -> Result<()> {
        while !head.is_empty() || !body.is_empty() {
            let wrote = match (&self.stream).write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => bail!(InvalidInput, "the connection takes nothing more"),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => bail!(Timeout, "the hub took nothing for 10 s"),
                Err(error) => return Err(error).context("the connection broke"),
            };
            let of_head = wrote.min(head.len());
            head = &head[of_head..];
            body = &body[wrote - of_head..];
        }
        Ok(())
    }
}

/// What [`Receiver::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// Bytes that complete no message yet.
    Bytes,
    /// Nothing for 100 ms: time to look around.
    Nothing,
}

impl Receiver {
    /// A message that has come already.
    ///
    /// # Errors
    /// What the hub says is not the native wire.
    pub(super) fn pull(&mut self) -> Result<Option<Message>> {
        Ok(self.decoder.pull()?)
    }

    /// What is read, to be waited for.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits up to 100 ms for the next message.
    ///
    /// # Errors
    /// The connection ended or broke, or what it says is not the native wire.
    pub fn receive(&mut self) -> Result<Received> {
        if let Some(message) = self.decoder.pull()? {
            return Ok(Received::Message(message));
        }
        let read = self.decoder.read_from(&mut self.stream);
        match read {
            Ok(0) => bail!(InvalidInput, "the hub closed the connection"),
            Ok(_) => Ok(self.decoder.pull()?.map_or(Received::Bytes, Received::Message)),
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => Ok(Received::Nothing),
            Err(error) => Err(error).context("the connection broke"),
        }
    }
}

/// How long to wait before the next try: doubles from 0.2 s to 10 s, less a random half so that many don't come at once.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let longest = (200_u64 << self.tries.min(6)).min(10_000);
        self.tries += 1;
        // Nothing depends on how random this is: the clock's last digits serve.
        let noise = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs() / 1_000;
        Duration::from_millis(longest / 2 + noise % (longest / 2 + 1))
    }

    /// It worked: the next failure begins anew.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// The first messages of every client.
pub fn first_messages(wish: Message) -> [Message; 3] {
    let sent: Micros = clock::now();
    [channel::hello(), Message::Ping { sent }, wish]
}

/// Connects to the first of the host's addresses that answers.
pub fn connect(address: &Address) -> Result<TcpStream> {
    let Address { host, port, .. } = address;
    let found = (host.as_str(), *port).to_socket_addrs().with_context(|| format!("{address}: no such host"))?;
    let mut last = None;
    for socket in found {
        match TcpStream::connect_timeout(&socket, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.or_error(Error::NotFound, || format!("{address}: the host has no address"))?;
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => ": no hub listens there; start one with `framewire serve`",
        _ if is_timeout(&error) => ": it does not answer; check the address and the network",
        _ => "",
    };
    Err(error).with_context(|| format!("{address}: cannot connect{hint}"))
}

/// Whether a small message can be written without waiting.
fn writable(stream: &TcpStream) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default())).is_ok() && !asked[0].revents().is_empty()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let full: Address = "fw://10.0.0.7:8000/door".parse().unwrap();
        assert_eq!(
            (full.host.as_str(), full.port, full.name.as_ref().map(Name::as_str)),
            ("10.0.0.7", 8000, Some("door"))
        );
        let short: Address = "fw://hub".parse().unwrap();
        assert_eq!((short.port, short.name), (PORT, None));
        let six: Address = "fw://[::1]:9/x".parse().unwrap();
        assert_eq!((six.host.as_str(), six.to_string().as_str()), ("::1", "fw://[::1]:9/x"));
        for (text, fault) in [
            ("http://x", "no address"),
            ("fw://", "no host"),
            ("fw://h:0", "port"),
            ("fw://h:x", "port"),
            ("fw://h/a/b", "'/'"),
        ] {
            let message = format!("{:#}", text.parse::<Address>().unwrap_err());
            assert!(message.contains(fault), "{text}: {message}");
        }
    }

    #[test]
    fn the_backoff_grows_to_ten_seconds_and_starts_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next_wait().as_millis()).collect();
        assert!((100..=200).contains(&waits[0]), "{waits:?}");
        assert!((5_000..=10_000).contains(&waits[9]), "{waits:?}");
        backoff.reset();
        assert!(backoff.next_wait().as_millis() <= 200);
    }
}
