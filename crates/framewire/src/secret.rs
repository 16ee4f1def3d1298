//! Passwords in addresses are not printed: `rtsp://user:***@camera/live?token=***`.

use std::borrow::Cow;

/// What stands in place of a secret.
const MASK: &str = "***";
/// A parameter whose name ends like one of these is a secret.
const SECRET: [&str; 17] = [
    "password",
    "passcode",
    "passwd",
    "passwort",
    "passphrase",
    "pass",
    "pas",
    "pwd",
    "pw",
    "pin",
    "psw",
    "token",
    "secret",
    "key",
    "auth",
    "sig",
    "signature",
];

/// A text in which the secrets of all addresses are masked.
pub fn mask(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("://") {
        let end = end(after);
        masked += before;
        masked += "://";
        append_masked(&after[..end], &mut masked);
        rest = &after[end..];
    }
    masked += rest;
    Cow::Owned(masked)
}

/// Where user and password of an address end that begins behind its `://`: at an `@`. `None` where it has none.
///
/// In a password, `/` and `?` should be written `%2F` and `%3F`. They are understood all the same where what stands before them is no
/// host, and so is a `#`, because nothing that follows a `#` in an address has an `@`.
pub fn userinfo(address: &str) -> Option<usize> {
    let authority = |from: usize| address[from..].find(['/', '?', '#']).map_or(address.len(), |length| from + length);
    let last_at = |from: usize| address[from..authority(from)].rfind('@').map(|at| from + at);
    let fragment = address.find('#').filter(|hash| address[*hash..].contains('@'));
    if let Some(hash) = fragment {
        // Behind the last `#` of the password there may be a `/`.
        let last = address.rfind('@').and_then(|at| address[..at].rfind('#')).unwrap_or(hash);
        let first = last + address[last..].find('@')?;
        return last_at(first);
    }
    if let Some(at) = last_at(0) {
        return Some(at);
    }
    let host = &address[..authority(0)];
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|letter| letter.is_ascii_digit());
    let is_host = host.starts_with('[') || host.split_once(':').is_none_or(|(_, port)| is_port(port));
    if is_host { None } else { last_at(address.find('@')?) }
}

/// The end of an address in a text, behind its `://`.
fn end(text: &str) -> usize {
    let next =
        text.find("://").map(|at| text[..at].trim_end_matches(|letter: char| letter.is_ascii_alphanumeric()).len());
    // A password may hold blanks and quotes. Our own sentences go on like this.
    let ends = [": ", "; ", "' ", "', ", "':", "\n"].iter().filter_map(|end| text.find(end)).chain(next).min();
    let ends = ends.unwrap_or(text.len());
    let from = userinfo(&text[..ends]).unwrap_or(0);
    let blank = text[from..ends].find(|letter: char| letter.is_whitespace() || "'\"<>`".contains(letter));
    blank.map_or(ends, |blank| from + blank)
}

/// An address with its secrets masked. A scheme may have been forgotten.
pub fn mask_address(address: &str) -> String {
    let scheme = address.find("://").map_or(0, |at| at + 3);
    let mut masked = address[..scheme].to_owned();
    append_masked(&address[scheme..], &mut masked);
    masked
}

/// Appends an address, from behind its `://`. What may be a password is masked, even if it is none.
fn append_masked(address: &str, out: &mut String) {
    // Any `@` may be one of the password, but not where a host has a domain, a number or brackets of its own.
    let authority = address.find(['/', '?', '#']).unwrap_or(address.len());
    let (host, port) = address[..authority].split_once(':').unwrap_or((&address[..authority], ""));
    let is_port = !port.is_empty() && port.bytes().all(|letter| letter.is_ascii_digit());
    let is_host = host.starts_with('[') || is_port && (host.contains('.') || host == "localhost");
    let end = if is_host && !address[..authority].contains('@') { None } else { address.rfind('@') };
    let end = end.unwrap_or(0);
    match address[..end].split_once(':') {
        Some((user, password)) if !password.is_empty() => {
            *out += user;
            *out += ":";
            *out += MASK;
        }
        _ => *out += &address[..end],
    }
    mask_parameters(&address[end..], out);
}

/// Appends what follows the password. Some cameras have secrets in the path: `/user=admin_password=1234_channel=1.sdp`.
fn mask_parameters(mut rest: &str, out: &mut String) {
    while let Some((before, value)) = rest.split_once('=') {
        *out += before;
        *out += "=";
        let key = before.rsplit(['?', '&', ';', '/', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let end = value.find(['?', '&', ';', '/', '#']).unwrap_or(value.len());
        rest = value;
        if end > 0 && SECRET.iter().any(|secret| key.ends_with(secret)) {
            *out += MASK;
            rest = &value[end..];
        }
    }
    *out += rest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_masked_wherever_they_stand() {
        for (text, masked) in [
            ("no address: a@b", "no address: a@b"),
            ("rtsp://user:pass@10.0.0.7:554/live", "rtsp://user:***@10.0.0.7:554/live"),
            ("rtsp://user@host/x", "rtsp://user@host/x"),
            ("rtsp://user:@host/x", "rtsp://user:@host/x"),
            ("http://:pw@host", "http://:***@host"),
            ("http://me@mail.org:p@ss@host/x", "http://me@mail.org:***@host/x"),
            ("http://user:p/w?x@host/a@b", "http://user:***@b"),
            ("http://user:p@ss#w/rd@host/x#fps=5", "http://user:***@host/x#fps=5"),
            ("http://user:a b'c@host/x", "http://user:***@host/x"),
            ("http://user:12 34@host/x", "http://user:***@host/x"),
            ("http://user:p@ss/rd@host/x?a@b", "http://user:***@b"),
            ("http://user:/word@host/x", "http://user:***@host/x"),
            ("rtsp://user:?word@host/x", "rtsp://user:***@host/x"),
            ("rtsp://user:1234/word@host/x", "rtsp://user:***@host/x"),
            ("http://user:a@b?c@host/x", "http://user:***@host/x"),
            (
                "http://h/x?user=a&loginpas=b&pin=1&pw=c&spawn=d",
                "http://h/x?user=a&loginpas=***&pin=***&pw=***&spawn=d",
            ),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
            ("fw://[user:word@127.0.0.1:80]:7070: no host", "fw://[user:***@127.0.0.1:80]:7070: no host"),
            ("http://host.lan:80/a@b", "http://host.lan:80/a@b"),
            ("http://h/x?user=a&PWD=b%20c&n=1", "http://h/x?user=a&PWD=***&n=1"),
            ("rtsp://h/user=admin_password=x_y_channel=1.sdp?real", "rtsp://h/user=admin_password=***?real"),
            ("srt://h:1?passphrase=a&mode=caller", "srt://h:1?passphrase=***&mode=caller"),
            ("'http://u:p@h/x': refused: http://v:q@i", "'http://u:***@h/x': refused: http://v:***@i"),
            ("Opening 'http://u:p@h/1.ts' for reading", "Opening 'http://u:***@h/1.ts' for reading"),
            ("fw://127.0.0.1:7070: there is no stream 'a@b'", "fw://127.0.0.1:7070: there is no stream 'a@b'"),
            ("fw://h.lan:7070/a@b http://u:p@h", "fw://h.lan:7070/a@b http://u:***@h"),
            ("http://u:p\u{e4}ss@h\u{f6}st/", "http://u:***@h\u{f6}st/"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
            assert_eq!(mask(masked), masked, "{masked}");
        }
    }

    #[test]
    fn a_whole_address_is_masked_with_blanks_in_it_and_without_a_scheme() {
        for (address, masked) in [
            ("http://user:a b@c d/e@host/x", "http://user:***@host/x"),
            ("user:word@10.0.0.7/snap.jpg", "user:***@10.0.0.7/snap.jpg"),
            ("http:/user:word@host/x", "http:***@host/x"),
            ("/films/a@b.mp4", "/films/a@b.mp4"),
            ("camera", "camera"),
        ] {
            assert_eq!(mask_address(address), masked, "{address}");
            assert_eq!(mask_address(masked), masked, "{masked}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let letters = [":", "/", "@", "#", "?", "=", "://", "\u{e4}", " ", "'", "key", "&"];
        for number in 0..letters.len().pow(4) {
            let picked = (0..4).map(|place| letters[number / letters.len().pow(place) % letters.len()]);
            let text = format!("x://{}", picked.collect::<String>());
            mask(&text);
            mask_address(&text);
        }
    }
}
