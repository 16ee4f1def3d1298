//! Bytes that many connections get: the kernel has them once and sends them from there, where a write would have it make a copy
//! for each.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
};

use bytes::Bytes;

/// What stands before and behind what was found in place may be compared byte by byte up to this length.
const SMALL: usize = 64;

/// Such bytes.
#[derive(Debug)]
pub struct SharedPage {
    bytes: Bytes,
    #[cfg(target_os = "linux")]
    file: std::fs::File,
}

impl SharedPage {
    /// Hands them to the kernel, in a file without a name (memfd_create(2)).
    ///
    /// # Errors
    /// It takes no more, or is not asked, as on other systems than Linux.
    #[cfg(target_os = "linux")]
    pub fn new(bytes: Bytes) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let mut file: std::fs::File = memfd_create("frame", MemfdFlags::CLOEXEC)?.into();
        io::Write::write_all(&mut file, &bytes)?;
        Ok(Self { bytes, file })
    }

    /// Other systems are not asked.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn new(_: Bytes) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Sends as much of what is from there to the end as the connection takes (sendfile(2)).
    ///
    /// # Errors
    /// It takes nothing now, or the connection broke.
    #[cfg(target_os = "linux")]
    pub(super) fn send(&self, from: usize, connection: &impl AsFd) -> io::Result<usize> {
        let (length, mut from) = (self.bytes.len() - from, from as u64);
        Ok(rustix::fs::sendfile(connection, &self.file, Some(&mut from), length)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn send(&self, _: usize, _: &impl AsFd) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where in these bytes what the slices hold begins: it is the same to the end, and most of it the very memory.
    pub(super) fn place(&self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let start = self.bytes.len().checked_sub(slices.iter().map(|slice| slice.len()).sum())?;
        let (mut rest, mut in_place) = (&self.bytes[start..], false);
        for slice in slices {
            let (here, behind) = rest.split_at(slice.len());
            if here.as_ptr() == slice.as_ptr() {
                in_place = true;
            } else if slice.len() > SMALL || here != &slice[..] {
                return None;
            }
            rest = behind;
        }
        in_place.then_some(start)
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
    fn what_is_the_same_to_its_end_is_found() {
        let page = SharedPage::new(Bytes::from_static(b"6\r\nabcdef\r\n")).unwrap();
        let part = &page.bytes()[3..9];
        let copy = part.to_vec();
        let place = |slices: &[&[u8]]| page.place(&slices.iter().map(|slice| IoSlice::new(slice)).collect::<Vec<_>>());
        assert_eq!(place(&[b"6\r\n", part, b"\r\n"]), Some(0));
        assert_eq!(place(&[b"\n", part, b"\r\n"]), Some(2));
        assert_eq!(place(&[&part[4..], b"\r\n"]), Some(7));
        // Other bytes around it, more or less of them, none of its own, and its own in another place.
        let wrong: [&[&[u8]]; 8] = [
            &[b"7\r\n", part, b"\r\n"],
            &[b"6\r\n", part, b"\r\r"],
            &[b"6\r\n", part],
            &[b"6\r\n", part, b"\r\n", b"6\r\n"],
            &[b"6\r\n", &copy, b"\r\n"],
            &[b"\r\n"],
            &[&part[1..], &part[..1], b"\r\n"],
            &[],
        ];
        for slices in wrong {
            assert_eq!(place(slices), None, "{slices:?}");
        }
    }

    #[test]
    fn it_is_sent_as_far_as_there_is_room_and_from_there_on() {
        let bytes: Bytes = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
        let page = SharedPage::new(bytes.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let (mut sent, mut came, mut refused) = (0, Vec::new(), 0);
        while sent < bytes.len() {
            match page.send(sent, &near) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    refused += 1;
                    let mut some = vec![0; sent - came.len()];
                    far.read_exact(&mut some).unwrap();
                    came.append(&mut some);
                }
                Err(error) => panic!("{error}"),
            }
        }
        drop(near);
        far.read_to_end(&mut came).unwrap();
        assert!(came == bytes && refused > 0, "{} {refused}", came.len());
    }

    #[test]
    fn who_has_left_is_noticed() {
        let page = SharedPage::new(Bytes::from_static(b"abc")).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(page.send(0, &near).is_err());
    }
}
