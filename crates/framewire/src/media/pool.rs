//! Memory for pictures, used again and again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Spare buffers kept; a pipeline holds one picture at each of its few stations.
const SPARE: usize = 4;

/// Buffers for pictures that return here when the last [`Bytes`] made of them is dropped, so that a stream in its stride
/// takes no memory from the system. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer on loan from a [`Pool`].
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Pool,
}

impl Pool {
    /// A buffer of this many bytes, of any content.
    pub fn take(&self, length: usize) -> Buffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(length, 0);
        Buffer { bytes, home: self.clone() }
    }
}

impl Buffer {
    /// The bytes to be shared; the buffer goes home when the last share is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_home_with_its_last_share() {
        let pool = Pool::default();
        let mut buffer = pool.take(1000);
        buffer[0] = 42;
        let place = buffer.as_ptr();
        let shares = [buffer.freeze(), Bytes::new()];
        let clone = shares[0].clone();
        drop(shares);
        assert_eq!(clone[0], 42);
        drop(clone);
        assert_eq!(pool.take(1000).as_ptr(), place);
    }
}
