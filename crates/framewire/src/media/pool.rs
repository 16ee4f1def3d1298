//! Reusable buffers for pictures.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The most free buffers that are kept. A pipeline holds one picture at each of its few stages.
const MAX_FREE: usize = 4;

/// Buffers that return here when the last [`Bytes`] made of them is dropped, so that a running stream allocates no memory.
/// Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer on loan from a [`Pool`].
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A buffer of this many bytes with undefined contents.
    pub fn take(&self, length: usize) -> PooledBuffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(length, 0);
        PooledBuffer { bytes, pool: self.clone() }
    }
}

impl PooledBuffer {
    /// The buffer as shared bytes. It returns to its pool when the last clone is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_FREE {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_when_its_last_clone_is_dropped() {
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
