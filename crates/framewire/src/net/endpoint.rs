//! The address of a tutorial's script, or of this program where the script connects: `WIRE://HOST:PORT`.

use std::fmt;

use framewire_proto::wire::{
    WIRES, Wire,
    tutorial::{Tutorial, Width},
};

use crate::error::{Context as _, Error, OrError as _, Result, bail, ensure};

/// Where a tutorial's wire is spoken.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The wire.
    pub wire: &'static Wire,
    /// How it is spoken.
    pub tutorial: Tutorial,
    /// Host, or IP address, without brackets.
    pub host: String,
    /// TCP port; the tutorial's own where none is given. 0 lets the system choose one to listen on.
    pub port: u16,
    /// From `?long=8` or `?long=4`: which of the two the other end reads, where the wire has a C `long`.
    pub width: Width,
}

impl Endpoint {
    /// Whether this is written with the scheme of a tutorial's wire.
    pub fn matches(text: &str) -> bool {
        wire(text).is_some()
    }

    /// Reads `lhh://HOST:PORT?long=8` and the like.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((wire, tutorial, rest)) = wire(text) else { bail!(InvalidInput, "'{text}' names no tutorial's wire") };
        let wanted = || format!("'{text}': write it like {}://127.0.0.1:{}", wire.name, tutorial.port);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = host_and_port(rest.trim_end_matches('/')).with_context(wanted)?;
        let width = match query {
            "" => Width::default(),
            "long=4" => Width::Four,
            "long=8" => Width::Eight,
            _ => bail!(InvalidInput, "'{text}': '?{query}' is neither ?long=4 nor ?long=8"),
        };
        Ok(Self { wire, tutorial, host, port: port.unwrap_or(tutorial.port), width })
    }

    /// Host and port, as a socket is asked for them.
    pub fn authority(&self) -> String {
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{}{}{}:{}", brackets.0, self.host, brackets.1, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.wire.name, self.authority())
    }
}

fn wire(text: &str) -> Option<(&'static Wire, Tutorial, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let wire = WIRES.iter().find(|wire| wire.name == scheme)?;
    Some((wire, wire.tutorial?, rest))
}

/// `HOST:PORT` as host, without brackets, and port; `None` where no port is given.
pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok().or_error(Error::InvalidInput, || "the port must be 1 to 65535")?))
        }
        _ => (authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ensure!(!host.is_empty(), InvalidInput, "no host is named");
    Ok((host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        let full = Endpoint::parse("lhh://10.0.0.7:1235?long=8").unwrap();
        assert_eq!((full.wire.name, full.to_string().as_str()), ("lhh", "lhh://10.0.0.7:1235"));
        assert_eq!(full.width, Width::Eight);
        let short = Endpoint::parse("base64://camera/").unwrap();
        assert_eq!((short.port, short.width, short.authority().as_str()), (8080, Width::Four, "camera:8080"));
        assert_eq!(Endpoint::parse("stopwait://[::1]:0").unwrap().authority(), "[::1]:0");
        assert!(!Endpoint::matches("fw://x") && !Endpoint::matches("http://x") && !Endpoint::matches("lhh"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, fault) in [("lhh://", "no host"), ("lhh://h:x", "port"), ("lhh://h?long=2", "'?long=2'")] {
            let message = format!("{:#}", Endpoint::parse(text).unwrap_err());
            assert!(message.contains(fault), "{text}: {message}");
        }
    }
}
