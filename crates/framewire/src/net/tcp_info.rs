//! What the kernel knows of a connection: how much the other end's kernel has acknowledged, and its receive window.
#![allow(unsafe_code, reason = "getsockopt(TCP_INFO), which no safe crate has whole")]

use std::{io, mem, os::fd::AsRawFd};

use framewire_proto::Micros;

/// What the other end's kernel has acknowledged so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Bytes that it has received, of all that were written.
    pub bytes: u64,
    /// The most bytes that one segment holds.
    pub segment: u64,
    /// The shortest round trip, in µs.
    pub round_trip: Micros,
    /// Its receive window: bytes that it has room for, after those; `None` before Linux 5.4.
    pub window: Option<u64>,
    /// What the window is a multiple of (RFC 7323, section 2).
    pub window_unit: u64,
    /// How long bytes have waited for room in its receive window, over the whole connection, in µs; 0 before Linux 4.10.
    pub window_limited: Micros,
}

/// Whether the other end's kernel is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// It was sent what it has not answered yet: data, or a question whether it is there or has room.
    pub owes_answer: bool,
    /// How long ago it last answered anything, in µs.
    pub answered_ago: Micros,
}

/// Asks Linux (`TCP_INFO`, tcp(7); the fields after RFC 4898).
///
/// # Errors
/// This is no TCP connection.
#[cfg(target_os = "linux")]
pub fn of(socket: &impl AsRawFd) -> io::Result<Option<Acknowledged>> {
    let (info, length) = ask(socket)?;
    let has = |end: usize| length >= end;
    Ok(Some(Acknowledged {
        bytes: info.tcpi_bytes_acked,
        segment: info.tcpi_snd_mss.into(),
        round_trip: info.tcpi_min_rtt.into(),
        window: has(mem::offset_of!(libc::tcp_info, tcpi_snd_wnd) + 4).then(|| info.tcpi_snd_wnd.into()),
        // The lower four bits: what this end's peer shifts by.
        window_unit: 1 << (info.tcpi_snd_rcv_wscale & 15),
        window_limited: info.tcpi_rwnd_limited,
    }))
}

/// When the other end's kernel last answered.
///
/// # Errors
/// This is no TCP connection.
#[cfg(target_os = "linux")]
pub fn contact(socket: &impl AsRawFd) -> io::Result<Option<Contact>> {
    let (info, _) = ask(socket)?;
    Ok(Some(Contact {
        owes_answer: info.tcpi_unacked > 0 || info.tcpi_probes > 0,
        answered_ago: 1000 * Micros::from(info.tcpi_last_ack_recv),
    }))
}

/// The structure, and how many of its bytes the kernel has filled.
#[cfg(target_os = "linux")]
fn ask(socket: &impl AsRawFd) -> io::Result<(libc::tcp_info, usize)> {
    // SAFETY: the structure consists of integers, for which zeros are valid.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&info)).expect("a few hundred bytes");
    // SAFETY: the kernel writes at most `length` bytes into what is ours and that large; an older one writes less.
    let answer = unsafe {
        let to = (&raw mut info).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut length)
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info, length as usize))
}

/// Other systems have no such figures.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn of(_: &impl AsRawFd) -> io::Result<Option<Acknowledged>> {
    Ok(None)
}

/// Other systems have no such figures.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn contact(_: &impl AsRawFd) -> io::Result<Option<Contact>> {
    Ok(None)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn received_bytes_are_acknowledged_and_unread_ones_narrow_the_window() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(&[7; 10_000]).unwrap();
        far.read_exact(&mut [0; 10_000]).unwrap();
        far.write_all(&[7]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        // The answer carries the acknowledgement; the one that opened a connection may count its first packet too.
        let first = of(&near).unwrap().unwrap();
        assert!((10_000..=10_001).contains(&first.bytes) && first.round_trip > 0, "{first:?}");
        // Unread bytes narrow the window, once they are more than it had to spare.
        near.write_all(&vec![7; 60_000]).unwrap();
        let mut all = vec![0; 60_000];
        let deadline = Instant::now() + Duration::from_secs(10);
        while far.peek(&mut all).unwrap() < all.len() {
            assert!(Instant::now() < deadline, "it never arrived whole");
        }
        far.write_all(&[7]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        let then = of(&near).unwrap().unwrap();
        assert!(then.window.unwrap() < first.window.unwrap(), "{first:?} {then:?}");
        assert!(of(&UnixStream::pair().unwrap().0).is_err());
    }
}
