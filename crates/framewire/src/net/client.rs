//! Connecting to a hub: its address, and native messages over one blocking socket.

use std::{
    fmt,
    io::{self, IoSlice, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use framewire_proto::{
    Limits, Name,
    wire::native::{self, Message},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{NO_PROGRESS, abandon, channel, dial::dial, endpoint::host_and_port, tune_blocking};
use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure};
use crate::stop::Stop;

/// The port when none is given.
pub const PORT: u16 = 7070;

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
            .or_error(Error::InvalidInput, || format!("'{text}' is no hub's address: {wanted}"))?;
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority).with_context(|| format!("'{text}': {wanted}"))?;
        let port = port.unwrap_or(PORT);
        ensure!(port != 0, InvalidInput, "'{text}': the port must be 1 to 65535: {wanted}");
        let name = match name {
            "" => None,
            name => Some(name.parse().with_context(|| format!("'{text}'"))?),
        };
        Ok(Self { host, port, name })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(out, "fw://{}{}{}:{}", brackets.0, self.host, brackets.1, self.port)?;
        self.name.iter().try_for_each(|name| write!(out, "/{name}"))
    }
}

/// The sending half of a connection to a hub. Any thread may send.
#[derive(Debug)]
pub struct MessageSender {
    stream: TcpStream,
    /// Held while one message is written.
    writing: Mutex<()>,
    /// Small messages that were posted and not sent yet.
    posted: Mutex<BytesMut>,
}

/// Bytes of posted messages that may wait. A hub that reads none of them is gone.
const MOST_POSTED: usize = 64 << 10;

/// The receiving half of a connection to a hub, for one thread.
#[derive(Debug)]
pub struct MessageReceiver {
    stream: TcpStream,
    decoder: native::Decoder,
    /// The last read took all that had arrived: wait before the next.
    drained: bool,
}

impl MessageSender {
    /// Connects and sends the preamble and these messages without waiting for the hub's. Raising `stop` ends that.
    ///
    /// # Errors
    /// No hub listens there, or the connection is not made in time.
    pub fn connect(address: &Address, messages: &[Message], stop: &Stop) -> Result<(Self, MessageReceiver)> {
        Self::greet(connect(address, stop)?, messages)
    }

    /// Sends the preamble and these messages over a new connection.
    ///
    /// # Errors
    /// The connection has broken already.
    pub(super) fn greet(stream: TcpStream, messages: &[Message]) -> Result<(Self, MessageReceiver)> {
        tune_blocking(&stream)?;
        let (socket, decoder) = (stream.try_clone()?, native::Decoder::new(Limits::default()));
        let receiver = MessageReceiver { stream: socket, decoder, drained: false };
        (&stream).write_all(&channel::greeting(messages))?;
        Ok((Self { stream, writing: Mutex::default(), posted: Mutex::default() }, receiver))
    }

    /// Sends a whole message. A frame's bytes are not copied.
    ///
    /// # Errors
    /// The connection broke, or the hub read nothing for [`NO_PROGRESS`].
    pub fn send(&self, message: &Message) -> Result<()> {
        let turn = lock(&self.writing);
        match message {
            Message::Frame(frame) => self.write(&native::frame_head(frame), &frame.data)?,
            small => self.write(&small.to_bytes(), &[])?,
        }
        drop(turn);
        self.send_posted()
    }

    /// Sends a small message after the one that is being written, as soon as the socket has room. Does not wait for that.
    ///
    /// # Errors
    /// The connection broke, or the hub does not read what was posted before.
    pub fn post(&self, message: &Message) -> Result<()> {
        let mut posted = lock(&self.posted);
        ensure!(posted.len() < MOST_POSTED, Timeout, "the hub does not read what is sent to it");
        message.encode(&mut *posted);
        drop(posted);
        self.send_posted()
    }

    /// Sends what was posted, if the socket has room. Else the next send or post does, or the receiving thread once there is
    /// room.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) fn send_posted(&self) -> Result<()> {
        while !lock(&self.posted).is_empty() {
            // The thread that writes now comes here afterwards.
            let Ok(_turn) = self.writing.try_lock() else { return Ok(()) };
            if !writable(&self.stream) {
                return Ok(());
            }
            let bytes = lock(&self.posted).split();
            self.write(&bytes, &[])?;
        }
        Ok(())
    }

    /// Whether something was posted that nobody is about to send.
    pub(super) fn has_unsent(&self) -> bool {
        !lock(&self.posted).is_empty() && self.writing.try_lock().is_ok()
    }

    /// Whether the hub is on this machine, so that no link lies between.
    pub fn local(&self) -> bool {
        self.stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback())
    }

    /// Ends the connection in both directions. What was written is still delivered.
    pub fn close(&self) {
        // If the connection has ended already, there is nothing to do.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Ends the connection and discards what was written and not sent yet.
    pub fn abandon(&self) {
        abandon(&self.stream);
        self.close();
    }

    /// From now on, what was written is delivered even after the connection is closed. Attempts that may be given up begin
    /// without that.
    pub(super) fn deliver_on_close(&self) {
        // If the system refuses, the last bytes may be lost: no more than a Bye.
        let _ = socket2::SockRef::from(&self.stream).set_linger(None);
    }

    /// The hub's resolved address.
    pub(super) fn peer(&self) -> Result<SocketAddr> {
        self.stream.peer_addr().context("the hub's connection broke")
    }

    /// Writes a whole message. The caller holds `writing`.
    fn write(&self, mut head: &[u8], mut body: &[u8]) -> Result<()> {
        while !head.is_empty() || !body.is_empty() {
            let wrote = match (&self.stream).write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => bail!(ConnectionLost, "the hub's connection takes no more bytes"),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => {
                    bail!(Timeout, "the hub read nothing for {} s", NO_PROGRESS.as_secs())
                }
                Err(error) => return Err(error).context("the hub's connection broke"),
            };
            let of_head = wrote.min(head.len());
            head = &head[of_head..];
            body = &body[wrote - of_head..];
        }
        Ok(())
    }
}

/// What [`MessageReceiver::receive`] returns.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// Bytes that complete no message yet.
    Bytes,
    /// Nothing arrived in time.
    Nothing,
}

impl MessageReceiver {
    /// Sets the bounds on what the hub sends from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
    }

    /// The next message that was read already.
    ///
    /// # Errors
    /// The hub's bytes are not the native wire.
    pub(super) fn pull(&mut self) -> Result<Option<Message>> {
        Ok(self.decoder.pull()?)
    }

    /// The socket, to be waited for.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The socket may have more to read.
    pub(super) fn set_readable(&mut self) {
        self.drained = false;
    }

    /// Waits this long at most for the next message. Without a wait, reads only once per
    /// [`MessageReceiver::set_readable`] what has arrived.
    ///
    /// # Errors
    /// The connection ended or broke, or the hub's bytes are not the native wire.
    pub fn receive(&mut self, wait: Duration) -> Result<Received> {
        if let Some(message) = self.decoder.pull()? {
            return Ok(Received::Message(message));
        }
        if !wait.is_zero() {
            match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&wait.try_into()?)) {
                Ok(_) | Err(Errno::INTR) => self.drained = false,
                Err(error) => return Err(error).context("cannot wait for the hub's connection"),
            }
        }
        if self.drained {
            return Ok(Received::Nothing);
        }
        match self.decoder.read_from(&mut Arrived { stream: &self.stream, drained: &mut self.drained }) {
            Ok(0) => bail!(ConnectionLost, "the hub closed the connection"),
            Ok(_) => Ok(self.decoder.pull()?.map_or(Received::Bytes, Received::Message)),
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => Ok(Received::Nothing),
            Err(error) => Err(error).context("the hub's connection broke"),
        }
    }
}

/// Reads only what has arrived, from a socket whose writes block.
struct Arrived<'a> {
    stream: &'a TcpStream,
    drained: &'a mut bool,
}

impl io::Read for Arrived<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = recv(self.stream, &mut *into, RecvFlags::DONTWAIT).map(|(read, _)| read);
        *self.drained = read.is_err() || read.is_ok_and(|read| read < into.len());
        Ok(read?)
    }
}

/// Connects to the hub; raising `stop` ends that.
///
/// # Errors
/// The host is unknown, no hub listens there, none of its addresses answers in time, or `stop` was raised.
pub fn connect(address: &Address, stop: &Stop) -> Result<TcpStream> {
    let hint = |error: Error| match error {
        Error::Refused(_) => error.context("cannot connect: no hub listens there; start one with `framewire serve`"),
        Error::Timeout(_) => error.context("cannot connect: no answer; check the address and the network"),
        Error::ConnectionLost(_) => error.context("cannot connect"),
        other => other,
    };
    dial(&address.host, address.port, stop).map_err(hint).with_context(|| address.to_string())
}

/// Whether a small message can be written without waiting.
fn writable(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && !fds[0].revents().is_empty()
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
            ("http://x", "no hub's address"),
            ("fw://", "no host"),
            ("fw://h:0", "port"),
            ("fw://h:x", "port"),
            ("fw://h/a/b", "'/'"),
        ] {
            let message = format!("{:#}", text.parse::<Address>().unwrap_err());
            assert!(message.contains(fault), "{text}: {message}");
        }
    }
}
