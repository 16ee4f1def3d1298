//! What can go wrong, by kind: a program decides by the kind, a person reads the sentence.

use std::{borrow::Cow, fmt, io};

use framewire_proto::WireError;

use crate::secret;

/// The result of what this crate does.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by kind. Its text is one line that says what failed, on what, why, and what to try.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream, device, file or host does not exist.
    #[error("{0}")]
    NotFound(Report),
    /// The other end is there and refuses: nobody listens on the port, the name is taken, a limit is reached.
    #[error("{0}")]
    Refused(Report),
    /// This user or program may not do that.
    #[error("{0}")]
    PermissionDenied(Report),
    /// Another program uses the device, port or file.
    #[error("{0}")]
    Busy(Report),
    /// Nothing happened within the time allowed.
    #[error("{0}")]
    Timeout(Report),
    /// The connection, device or process at the other end went away.
    #[error("{0}")]
    ConnectionLost(Report),
    /// An argument, address or option is wrong.
    #[error("{0}")]
    InvalidInput(Report),
    /// A frame, file or message is damaged or lies about itself.
    #[error("{0}")]
    InvalidData(Report),
    /// The peer does not follow the protocol that its connection speaks.
    #[error("{0}")]
    Protocol(Report),
    /// This build, system or device cannot do that.
    #[error("{0}")]
    Unsupported(Report),
    /// The system failed: a disk is full, memory or threads are short.
    #[error("{0}")]
    System(Report),
    /// The operation was stopped on request.
    #[error("{0}")]
    Stopped(Report),
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller: other arguments help.
    Caller,
    /// The other end of a connection, a file or a device.
    Peer,
    /// The network, or the state of things now: trying again later may help.
    Circumstances,
    /// This machine.
    System,
}

/// The sentence of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    text: String,
    /// A connection has sent what is not its wire.
    wire: Option<Box<WireError>>,
}

/// The report of an error of any kind, shared or mutable as the error is.
macro_rules! report_of {
    ($error:expr) => {
        match $error {
            Error::NotFound(report)
            | Error::Refused(report)
            | Error::PermissionDenied(report)
            | Error::Busy(report)
            | Error::Timeout(report)
            | Error::ConnectionLost(report)
            | Error::InvalidInput(report)
            | Error::InvalidData(report)
            | Error::Protocol(report)
            | Error::Unsupported(report)
            | Error::System(report)
            | Error::Stopped(report) => report,
        }
    };
}

/// Makes an [`Error`] of a variant from a sentence.
pub(crate) type Kind = fn(Report) -> Error;

impl Error {
    /// An error of this kind. Secrets of addresses in its text are masked: it may quote what a user wrote, or what FFmpeg says.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        kind(Report { text: masked(text.into()), wire: None })
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotFound(_) | Self::PermissionDenied(_) | Self::InvalidInput(_) | Self::Unsupported(_) => {
                Fault::Caller
            }
            Self::InvalidData(_) | Self::Protocol(_) => Fault::Peer,
            Self::Refused(_) | Self::Busy(_) | Self::Timeout(_) | Self::ConnectionLost(_) | Self::Stopped(_) => {
                Fault::Circumstances
            }
            Self::System(_) => Fault::System,
        }
    }

    /// The peer's violation of its wire, where that is what went wrong.
    pub(crate) fn wire(&self) -> Option<&WireError> {
        self.report().wire.as_deref()
    }

    /// The same error with a sentence before its own.
    #[must_use]
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        let report = self.report_mut();
        let context = masked(context.to_string());
        report.text = match report.text.as_str() {
            "" => context,
            text => format!("{context}: {text}"),
        };
        self
    }

    fn report(&self) -> &Report {
        report_of!(self)
    }

    fn report_mut(&mut self) -> &mut Report {
        report_of!(self)
    }
}

fn masked(text: String) -> String {
    match secret::mask(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => masked,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match error.kind() {
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Self::ConnectionLost,
            Io::NotFound => Self::NotFound,
            Io::ConnectionRefused => Self::Refused,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::PermissionDenied,
            Io::AddrInUse | Io::ResourceBusy => Self::Busy,
            Io::TimedOut | Io::WouldBlock => Self::Timeout,
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::BrokenPipe
            | Io::NotConnected
            | Io::UnexpectedEof
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown => Self::ConnectionLost,
            Io::InvalidInput | Io::AddrNotAvailable | Io::AlreadyExists | Io::IsADirectory => Self::InvalidInput,
            Io::InvalidData => Self::InvalidData,
            Io::Unsupported => Self::Unsupported,
            _ => Self::System,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        Self::Protocol(Report { text: error.to_string(), wire: Some(Box::new(error)) })
    }
}

/// An [`Error`] of a kind: `error!(NotFound, "{path}: no such file")`.
macro_rules! error {
    ($kind:ident, $($text:tt)*) => { $crate::error::Error::new($crate::error::Error::$kind, format!($($text)*)) };
}

/// Returns an [`error!`].
macro_rules! bail {
    ($($error:tt)*) => { return Err($crate::error::error!($($error)*)) };
}

/// Returns an [`error!`] unless the condition holds: `ensure!(fits, InvalidInput, "{width}x{height} is too large")`.
macro_rules! ensure {
    ($condition:expr, $($error:tt)*) => { if !$condition { $crate::error::bail!($($error)*) } };
}

pub(crate) use {bail, ensure, error};

/// Other crates' errors, by what they mean here.
macro_rules! from {
    ($($other:ty => $kind:ident),* $(,)?) => {$(
        impl From<$other> for Error {
            fn from(error: $other) -> Self {
                Self::new(Self::$kind, error.to_string())
            }
        }
    )*};
}

from! {
    std::ffi::NulError => InvalidInput,
    tokio::sync::oneshot::error::RecvError => System,
    tokio::task::JoinError => System,
    turbojpeg::Error => InvalidData,
    yuv::YuvError => InvalidData,
    framewire_proto::name::InvalidName => InvalidInput,
    framewire_proto::jpeg::HeaderError => InvalidData,
    std::num::TryFromIntError => InvalidData,
    std::str::Utf8Error => InvalidData,
    crate::hub::Replaced => Refused,
}

#[cfg(feature = "server")]
from! {
    axum::Error => ConnectionLost,
    hyper::Error => ConnectionLost,
}

#[cfg(feature = "window")]
from! {
    sdl2::render::TextureValueError => System,
    sdl2::render::UpdateTextureError => System,
    sdl2::render::UpdateTextureYUVError => System,
}

impl From<crate::hub::PublishError> for Error {
    fn from(error: crate::hub::PublishError) -> Self {
        use crate::hub::PublishError;
        let kind = match error {
            PublishError::NoConfig => Self::Protocol,
            PublishError::Replaced(_) => Self::Refused,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl From<tokio::time::error::Elapsed> for Error {
    /// The sentence before it says what was waited for, and for how long.
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::new(Self::Timeout, "")
    }
}

impl From<crate::hub::Refused> for Error {
    fn from(refused: crate::hub::Refused) -> Self {
        use crate::hub::Refused;
        let kind = match refused {
            Refused::NoSuchStream { .. } => Self::NotFound,
            Refused::NameTaken(_) | Refused::OwnSource(_) | Refused::TooMany => Self::Refused,
        };
        Self::new(kind, refused.to_string())
    }
}

/// Adds to an error what was being done, on what.
pub(crate) trait Context<T> {
    /// The error with this sentence before its own.
    fn context(self, context: impl fmt::Display) -> Result<T>;

    /// The same with a sentence that is only made when it is needed.
    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(context))
    }

    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(context()))
    }
}

/// Turns `None` into an error of a kind.
pub(crate) trait OrError<T> {
    /// The value, or an error of this kind with this sentence.
    fn or_error<D: fmt::Display>(self, kind: Kind, text: impl FnOnce() -> D) -> Result<T>;
}

impl<T> OrError<T> for Option<T> {
    fn or_error<D: fmt::Display>(self, kind: Kind, text: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::new(kind, text().to_string()))
    }
}
