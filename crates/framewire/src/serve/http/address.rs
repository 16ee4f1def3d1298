//! Hosts and origins as headers and options write them: one parser for all of them.

use std::{fmt, net::IpAddr};

use axum::http::{Uri, uri};

/// `HOST` or `HOST:PORT`, as a Host header and `--host-name` give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// In lower case, without an IPv6 address's brackets and without the dot that ends an absolute name.
    pub(super) host: String,
    /// `None` where none is written.
    pub(super) port: Option<u16>,
}

/// Where a web page comes from (RFC 6454): scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) https: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Authority {
    /// `None` for anything else, such as a user's name before the host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parsed: uri::Authority = text.parse().ok()?;
        let (written, port) = (parsed.host(), parsed.port_u16());
        let rest = text.strip_prefix(written)?;
        if !matches!((rest, port), ("" | ":", _) | (_, Some(_))) {
            return None;
        }
        let bare = written.strip_prefix('[').and_then(|bare| bare.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare.parse::<IpAddr>().ok()?.to_string(),
            None => written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase(),
        };
        (!host.is_empty()).then_some(Self { host, port })
    }

    /// The address, where no name is written.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl Origin {
    /// The origin of a web page by its own name or its address; `None` where that is no page of a web server, such as `null`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let https = uri.scheme_str()?.eq_ignore_ascii_case("https");
        if !https && !uri.scheme_str()?.eq_ignore_ascii_case("http") {
            return None;
        }
        let Authority { host, port } = Authority::parse(uri.authority()?.as_str())?;
        Some(Self { https, host, port: port.unwrap_or(default_port(https)) })
    }

    /// Its host and port as an option takes them: without the scheme's own port.
    pub(super) fn authority(&self) -> Authority {
        let port = (self.port != default_port(self.https)).then_some(self.port);
        Authority { host: self.host.clone(), port }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(out, "[{}]", self.host) } else { out.write_str(&self.host) }?;
        self.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

/// The port of a page's address that names none.
pub(super) fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_is_a_host_and_perhaps_a_port() {
        let parse = |text| Authority::parse(text).map(|authority| (authority.host.clone(), authority.port));
        for (text, host, port) in [
            ("cams.example", "cams.example", None),
            ("CAMS.example.:8443", "cams.example", Some(8443)),
            ("127.0.0.1:7070", "127.0.0.1", Some(7070)),
            ("[::1]:7070", "::1", Some(7070)),
            ("[2001:DB8:0::1]", "2001:db8::1", None),
            ("localhost:", "localhost", None),
        ] {
            assert_eq!(parse(text), Some((host.into(), port)), "{text}");
        }
        for wrong in ["", ":80", ".", "a b", "user@host", "host:99999", "host:-1", "[", "[::1", "[name]:1", "a/b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_a_port_even_where_none_is_written() {
        let shown = |text| Origin::parse(text).map(|origin| (origin.to_string(), origin.port));
        for (text, origin, port) in [
            ("https://cams.example", "https://cams.example", 443),
            ("HTTP://Localhost:80/", "http://localhost", 80),
            ("http://cams.example:443/page?a=b", "http://cams.example:443", 443),
            ("https://[::1]:8443", "https://[::1]:8443", 8443),
        ] {
            assert_eq!(shown(text), Some((origin.into(), port)), "{text}");
        }
        for wrong in ["", "null", "cams.example", "file:///index.html", "ws://cams.example", "https://a@b", "https://"]
        {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
