//! Buffers of pixels that are used again: without them each picture would cost the kernel a few hundred page faults.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// Free buffers that are kept: what a program holds at once between two pictures.
const MAX_FREE: usize = 4;

/// Clones are the same pool.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that returns to its pool when it is dropped.
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A buffer of this many bytes with undefined contents.
    pub(crate) fn take(&self, length: usize) -> Buffer {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(length, 0);
        Buffer { bytes, pool: self.clone() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_FREE {
            free.push(mem::take(&mut self.bytes));
        }
    }
}
