//! Where a source is, without ever printing its password.

use std::fmt::{self, Write as _};

use crate::secret;

/// Where a source is: `camera`, a path, a URL. Printed, a password in it is `***`; only [`Location::expose`] tells it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Location(String);

impl Location {
    /// The location with its password, for those who open it. What URLs do not allow in user and password is percent-encoded.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its last part, to name a stream by: without user, password and query.
    pub(crate) fn last_part(&self) -> String {
        let masked = self.to_string();
        let Some((_, address)) = masked.split_once("://") else {
            return last_of_path(&masked).into();
        };
        let host = secret::userinfo(address).map_or(0, |at| at + 1);
        let path = address[host..].split('?').next().unwrap_or_default();
        last_of_path(path).into()
    }

    /// Whether a user or password was written in which an `@` may stand for itself or not.
    pub(crate) fn is_ambiguous(&self) -> bool {
        let Some((_, address)) = self.0.split_once("://") else { return false };
        let Some(at) = secret::userinfo(address) else { return false };
        let path = address[at + 1..].split('?').next().unwrap_or_default();
        path.contains('@')
    }
}

impl From<&str> for Location {
    fn from(text: &str) -> Self {
        let Some((scheme, address)) = text.split_once("://") else { return Self(text.into()) };
        // Schemes are the same in capitals (RFC 3986, section 3.1), but not to FFmpeg.
        let scheme = scheme.to_ascii_lowercase();
        let Some(at) = secret::userinfo(address) else { return Self(format!("{scheme}://{address}")) };
        let (userinfo, host) = address.split_at(at);
        Self(format!("{scheme}://{}{host}", encode(userinfo)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&secret::mask_address(&self.0))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.to_string())
    }
}

fn last_of_path(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Percent-encodes user and password. What is encoded already stays.
fn encode(userinfo: &str) -> String {
    let mut encoded = String::with_capacity(userinfo.len());
    for (place, byte) in userinfo.bytes().enumerate() {
        let is_encoded = || userinfo.as_bytes().get(place + 1..place + 3).is_some_and(is_hex);
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => encoded.push(byte.into()),
            b'%' if is_encoded() => encoded.push('%'),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_exposed_encoded_and_never_printed() {
        for (text, exposed, printed) in [
            ("camera", "camera", "camera"),
            ("rtsp://u:p@h/x", "rtsp://u:p@h/x", "rtsp://u:***@h/x"),
            ("HTTP://h/X", "http://h/X", "http://h/X"),
            ("rtsp://u:p@ss#w/rd@h/x", "rtsp://u:p%40ss%23w%2Frd@h/x", "rtsp://u:***@h/x"),
            ("rtsp://u:p%40ss%23@h/x", "rtsp://u:p%40ss%23@h/x", "rtsp://u:***@h/x"),
            ("rtsp://u:1 %z\u{fc}@h", "rtsp://u:1%20%25z%C3%BC@h", "rtsp://u:***@h"),
            ("rtsp://me@mail.org:p@h", "rtsp://me%40mail.org:p@h", "rtsp://me%40mail.org:***@h"),
        ] {
            let location = Location::from(text);
            assert_eq!((location.expose(), location.to_string().as_str()), (exposed, printed), "{text}");
            assert_eq!(format!("{location:?}"), format!("{printed:?}"));
            assert_eq!(Location::from(exposed), location);
        }
    }

    #[test]
    fn streams_are_named_without_secrets() {
        for (text, name) in [
            ("/videos/film.mp4", "film.mp4"),
            ("rtsp://u:p@h:554/", "h:554"),
            ("rtsp://u:p@h/live/", "live"),
            ("http://h/x.cgi?user=a&pwd=b/c", "x.cgi"),
            ("http://u:p/w@h", "h"),
        ] {
            assert_eq!(Location::from(text).last_part(), name, "{text}");
        }
    }
}
