//! Bytes that many connections get: the kernel holds one copy and sends all of them from there, where a write would make a copy
//! for each connection.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::{io, os::fd::AsFd};

/// Bytes in the kernel's memory.
#[derive(Debug)]
pub struct SharedPage {
    length: usize,
    #[cfg(target_os = "linux")]
    file: File,
}

impl SharedPage {
    /// Copies these parts, one after the other, into a file without a name (memfd_create(2)).
    ///
    /// # Errors
    /// Memory or file descriptors are short.
    #[cfg(target_os = "linux")]
    pub fn new(parts: &[&[u8]]) -> io::Result<Self> {
        use std::io::Write;

        use rustix::fs::{MemfdFlags, memfd_create};

        let mut file = File::from(memfd_create("frame", MemfdFlags::CLOEXEC)?);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        Ok(Self { length: parts.iter().map(|part| part.len()).sum(), file })
    }

    /// Other systems have no such files.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn new(_: &[&[u8]]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many bytes it holds.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Sends the bytes from this offset on, as many as the connection takes (sendfile(2)).
    ///
    /// # Errors
    /// The connection has no room now, or it broke.
    #[cfg(target_os = "linux")]
    pub(super) fn send(&self, from: usize, connection: &impl AsFd) -> io::Result<usize> {
        let (length, mut from) = (self.length - from, from as u64);
        Ok(rustix::fs::sendfile(connection, &self.file, Some(&mut from), length)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn send(&self, _: usize, _: &impl AsFd) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_page_is_sent_as_far_as_there_is_room_and_from_there_on() {
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (head, body) = bytes.split_at(100);
        let page = SharedPage::new(&[head, body]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let (mut sent, mut arrived, mut refused) = (0, Vec::new(), 0);
        while sent < bytes.len() {
            match page.send(sent, &near) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    refused += 1;
                    let mut some = vec![0; sent - arrived.len()];
                    far.read_exact(&mut some).unwrap();
                    arrived.append(&mut some);
                }
                Err(error) => panic!("{error}"),
            }
        }
        drop(near);
        far.read_to_end(&mut arrived).unwrap();
        assert!(arrived == bytes && refused > 0, "{} {refused}", arrived.len());
    }

    #[test]
    fn sending_to_a_closed_connection_fails() {
        let page = SharedPage::new(&[b"abc"]).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(page.send(0, &near).is_err());
    }
}
