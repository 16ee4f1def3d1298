//! Errors in received bytes: what is wrong, and at which byte.

/// Received bytes do not follow their wire. This is always the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wire}: {kind} (at byte {offset} of the connection)")]
pub struct WireError {
    /// The wire's name, see [`crate::wire::Wire::name`].
    pub wire: &'static str,
    /// Where the wrong message starts, counted from the first byte of the connection.
    pub offset: u64,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The connection's first bytes are not those of this wire.
    #[error("the connection does not begin with this wire's first bytes")]
    NotThisWire,
    /// The peer uses a version that this program does not know.
    #[error("the peer uses version {theirs} and this program version {ours}: update the older of the two")]
    Version {
        /// The peer's version.
        theirs: u8,
        /// This program's version.
        ours: u8,
    },
    /// An announced length is over its limit.
    #[error("{what} of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What the length belongs to.
        what: &'static str,
        /// The announced length in bytes.
        length: u64,
        /// The limit in bytes, see [`crate::Limits`].
        limit: u64,
    },
    /// A message ends before its last field.
    #[error("{message} of {length} bytes is too short for its fields")]
    TooShort {
        /// The message.
        message: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A field has a value that is not allowed.
    #[error("{what}: {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Something inside a message is not allowed.
    #[error("{why}, at byte {at} of {what}")]
    InvalidAt {
        /// The message.
        what: &'static str,
        /// The position inside the message, in bytes.
        at: usize,
        /// What is wrong there.
        why: String,
    },
}
