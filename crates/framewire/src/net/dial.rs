//! Dialling: finds a host's addresses and connects to the first that answers ("happy eyeballs", RFC 8305).

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::mpsc,
    thread,
};

use framewire_proto::Micros;
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use socket2::{Domain, Socket, Type};

use super::{abandon, wait};
use crate::{
    clock,
    error::{Context as _, Error, Result, bail, ensure, error},
    stop::{Stop, StopPipe},
};

/// An address that has not answered for so long, in µs, gets company by the next one.
const NEXT_ADDRESS: Micros = 250_000;
/// How long one address may take, in µs.
const CONNECT: Micros = 5_000_000;
/// How long finding the host's addresses may take, in µs.
const FIND: Micros = 5_000_000;
/// The most addresses of a host that are tried.
const ADDRESSES: usize = 16;

/// Connects to the first of the host's addresses that answers, and closes the others.
///
/// # Errors
/// The host is unknown, none of its addresses answers in time, or `stop` was raised. The sentence lacks the host's name, which the
/// caller adds; it names every address that was tried.
pub fn dial(host: &str, port: u16, stop: &Stop) -> Result<TcpStream> {
    let stopped = stop.pipe().context("cannot wait for a connection")?;
    let addresses = alternate(find(host, port, &stopped)?);
    let dialling = Dialling {
        literal: host.parse::<IpAddr>().is_ok(),
        waiting: addresses.into_iter().take(ADDRESSES).collect(),
        ..Dialling::default()
    };
    dialling.run(&stopped)
}

/// Begins to connect and does not wait.
pub(super) fn begin(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // An attempt that is given up leaves nothing behind.
    abandon(&socket);
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

/// The host's addresses. Only a thread of its own can wait for the system's resolver and be left alone when it hangs.
fn find(host: &str, port: u16, stopped: &StopPipe) -> Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (found, done) = io::pipe().context("cannot look for the host")?;
    let (tell, answer) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let resolver = move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Nobody listens any more where it took too long.
        let _ = tell.send(addresses);
        drop(done);
    };
    thread::Builder::new().name("resolve".into()).spawn(resolver).context("cannot look for the host")?;
    let mut fds = [PollFd::new(&found, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
    let until = clock::now() + FIND;
    // A signal may end the wait too early.
    while clock::now() < until && fds.iter().all(|fd| fd.revents().is_empty()) {
        wait(&mut fds, until)?;
    }
    match answer.try_recv() {
        Ok(Ok(addresses)) => {
            ensure!(!addresses.is_empty(), NotFound, "the host has no address");
            Ok(addresses)
        }
        Ok(Err(error)) => bail!(NotFound, "cannot find the host; check its name and the network: {error}"),
        Err(_) if !fds[1].revents().is_empty() => Err(is_stopped()),
        Err(_) => bail!(NotFound, "cannot find the host; check the network: no answer within {} s", FIND / 1_000_000),
    }
}

/// The addresses in the system's order, but alternating between the two families, so that a family without a route costs one wait.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut alternating = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return alternating;
        }
        alternating.extend(pair.into_iter().flatten());
    }
}

fn is_stopped() -> Error {
    error!(Stopped, "stopped before it was connected")
}

/// The attempts at a host's addresses.
#[derive(Default)]
struct Dialling {
    /// The host was written as its address.
    literal: bool,
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<Attempt>,
    failures: Vec<(SocketAddr, io::Error)>,
    /// When the next address is tried though the one before may still answer.
    next: Micros,
}

struct Attempt {
    to: SocketAddr,
    socket: Socket,
    until: Micros,
}

impl Dialling {
    fn run(mut self, stopped: &StopPipe) -> Result<TcpStream> {
        loop {
            self.begin(clock::now());
            if self.attempts.is_empty() {
                return Err(self.failure());
            }
            let ready = self.wait(stopped)?;
            let now = clock::now();
            for (attempt, ready) in std::mem::take(&mut self.attempts).into_iter().zip(ready) {
                match attempt.socket.take_error() {
                    Ok(None) if ready => return connected(attempt.socket),
                    Ok(None) if now < attempt.until => self.attempts.push(attempt),
                    Ok(None) => self.failures.push((attempt.to, io::ErrorKind::TimedOut.into())),
                    Ok(Some(error)) | Err(error) => {
                        self.failures.push((attempt.to, error));
                        self.next = now;
                    }
                }
            }
        }
    }

    /// Begins the attempts that are due: the next address, and further ones while they fail at once.
    fn begin(&mut self, now: Micros) {
        while (now >= self.next || self.attempts.is_empty())
            && let Some(to) = self.waiting.pop_front()
        {
            match begin(to) {
                Ok(socket) => {
                    self.attempts.push(Attempt { to, socket, until: now + CONNECT });
                    self.next = now + NEXT_ADDRESS;
                }
                Err(error) => self.failures.push((to, error)),
            }
        }
    }

    /// Waits until an attempt is ready or something is due; returns which attempts are ready.
    fn wait(&self, stopped: &StopPipe) -> Result<Vec<bool>> {
        let next = if self.waiting.is_empty() { Micros::MAX } else { self.next };
        let until = self.attempts.iter().map(|attempt| attempt.until).fold(next, Micros::min);
        let attempts = self.attempts.iter().map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT));
        let mut fds: Vec<PollFd> = std::iter::once(PollFd::new(stopped, PollFlags::IN)).chain(attempts).collect();
        wait(&mut fds, until)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] { Err(is_stopped()) } else { Ok(ready[1..].to_vec()) }
    }

    /// Why none of the addresses answers.
    fn failure(self) -> Error {
        let is = |kind| self.failures.iter().any(|(_, error)| error.kind() == kind);
        let kind = if is(io::ErrorKind::ConnectionRefused) {
            Error::Refused
        } else if is(io::ErrorKind::TimedOut) {
            Error::Timeout
        } else {
            Error::ConnectionLost
        };
        let reasons: Vec<String> = self.failures.iter().map(|(to, error)| self.reason(*to, error)).collect();
        Error::new(kind, reasons.join(", "))
    }

    fn reason(&self, to: SocketAddr, error: &io::Error) -> String {
        let why = match error.kind() {
            io::ErrorKind::TimedOut => format!("no answer within {} s", CONNECT / 1_000_000),
            _ => error.to_string(),
        };
        if self.literal { why } else { format!("{to}: {why}") }
    }
}

/// A socket that has connected, as others expect it.
fn connected(socket: Socket) -> Result<TcpStream> {
    socket.set_nonblocking(false)?;
    socket.set_linger(None)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn dial_all(all: Vec<SocketAddr>) -> Result<TcpStream> {
        Dialling { waiting: all.into(), ..Dialling::default() }.run(&Stop::default().pipe().unwrap())
    }

    /// A port on which nobody listens.
    fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// A listener that answers no more handshakes: its queue is full.
    fn mute() -> (SocketAddr, Vec<Socket>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let at = listener.local_addr().unwrap().as_socket().unwrap();
        let mut held = vec![listener];
        held.extend((0..4).map(|_| begin(at).unwrap()));
        (at, held)
    }

    #[test]
    fn the_families_alternate() {
        let sorted = alternate(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]));
        assert_eq!(sorted, addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]));
        assert_eq!(alternate(addresses(&["1.1.1.1:1", "1.1.1.2:1"])), addresses(&["1.1.1.1:1", "1.1.1.2:1"]));
    }

    #[test]
    fn a_mute_address_costs_a_quarter_of_a_second_and_a_refusal_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (mute, _held) = mute();
        let started = Instant::now();
        assert_eq!(dial_all(vec![mute, nobody(), good]).unwrap().peer_addr().unwrap(), good);
        let took = started.elapsed().as_micros() as Micros;
        assert!((NEXT_ADDRESS..CONNECT / 2).contains(&took), "{took}");
    }

    #[test]
    fn the_error_names_every_address() {
        let (one, other) = (nobody(), nobody());
        let error = dial_all(vec![one, other]).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert!(
            [one, other].iter().all(|to| error.to_string().contains(&format!("{to}: Connection refused"))),
            "{error}"
        );
    }

    #[test]
    fn a_stop_ends_dialling() {
        let (mute, _held) = mute();
        let stop = Stop::default();
        let dialling = thread::spawn({
            let stop = stop.clone();
            move || dial(&mute.ip().to_string(), mute.port(), &stop)
        });
        stop.stop();
        assert!(matches!(dialling.join().unwrap(), Err(Error::Stopped(_))));
        assert!(matches!(dial("localhost", 1, &stop), Err(Error::Stopped(_))));
    }
}
