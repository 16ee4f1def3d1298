//! What was wrong with bytes that came, and where.

/// Bytes that do not follow their wire: always the fault of who sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wire}: {kind} (at byte {offset} of the connection)")]
pub struct WireError {
    /// The wire that was spoken, as [`crate::wire::Wire::name`] has it.
    pub wire: &'static str,
    /// Where the message that was wrong begins, counted from the first byte of the connection.
    pub offset: u64,
    /// What was wrong.
    pub kind: Kind,
}

/// What was wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The first bytes are not this wire's.
    #[error("the connection does not begin with this wire's first bytes")]
    NotThisWire,
    /// The peer speaks a version that this program does not know.
    #[error("version {theirs} is spoken by the peer, version {ours} here: update the older of the two")]
    Version {
        /// The peer's version.
        theirs: u8,
        /// The version of this program.
        ours: u8,
    },
    /// A length over its limit was announced.
    #[error("{what} of {length} bytes was announced, the limit is {limit}")]
    TooLong {
        /// What the length belongs to.
        what: &'static str,
        /// The length announced.
        length: u64,
        /// The limit, see [`crate::Limits`].
        limit: u64,
    },
    /// A message ends before its last field.
    #[error("{message} of {length} bytes is too short for its fields")]
    TooShort {
        /// The message.
        message: &'static str,
        /// The length announced.
        length: usize,
    },
    /// A field holds what it may not hold.
    #[error("{what}: {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A message that is a program of its own holds what it may not hold.
    #[error("{why}, at byte {at} of {what}")]
    Inside {
        /// The message.
        what: &'static str,
        /// Where in it, counted from its first byte.
        at: usize,
        /// What is wrong there.
        why: String,
    },
}
