//! How an RTSP camera wants its password, where FFmpeg only says that it was refused.

use std::time::Duration;

use bytes::BytesMut;
use digest_auth::AlgorithmType;
use tokio::time::timeout;
use url::{Position, Url};

use crate::{
    error::{Context as _, Error, OrError as _, Result, error},
    net::socket::Socket,
    source::background_runtime::BackgroundRuntime,
    stop::Stop,
};

/// The camera has answered a moment ago, so it answers within this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer's head.
const HEAD: usize = 8 << 10;
/// RTSP's own port (RFC 2326, section 1.4).
const PORT: u16 = 554;

/// The error of a refused password with what the camera wants. It is asked without one, for it tells then.
pub(super) fn explain(refused: Error, url: &str, stop: &Stop) -> Error {
    match ask(url, stop) {
        Ok(head) => error!(PermissionDenied, "{}", sentence(&head, url.contains('@'))),
        Err(_) => refused,
    }
}

fn ask(url: &str, stop: &Stop) -> Result<String> {
    let url = Url::parse(url).map_err(|why| error!(InvalidInput, "{why}"))?;
    let host = url.host_str().or_error(Error::InvalidInput, || "the address names no host")?;
    let (port, place) = (url.port().unwrap_or(PORT), &url[Position::BeforeHost..]);
    let request = format!("DESCRIBE rtsp://{place} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n");
    let answer = async {
        let socket = Socket::connect(host, port).await?;
        socket.write([request.as_bytes()]).await?;
        let mut head = BytesMut::new();
        while head.len() < HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if socket.read(&mut head).await? == 0 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    BackgroundRuntime::new()?.block_on(async {
        tokio::select! {
            answer = timeout(PATIENCE, answer) => answer.context("the camera does not answer")?,
            () = stop.raised() => Err(error!(Stopped, "stopped while it was being opened")),
        }
    })
}

/// What the head of the camera's answer means.
fn sentence(head: &str, password: bool) -> String {
    let offers = head.lines().filter_map(|line| {
        let (name, offer) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("www-authenticate").then(|| offer.trim())
    });
    let offers: Vec<_> = offers.collect();
    let is_known = |offer: &&str| match digest_auth::parse(offer) {
        Ok(digest) => digest.algorithm.algo == AlgorithmType::MD5,
        Err(_) => offer.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("basic")),
    };
    let names: Vec<_> = offers.iter().map(|offer| name(offer)).collect();
    let wants = if names.is_empty() { String::new() } else { format!(" (it wants {})", names.join(" or ")) };
    if !offers.is_empty() && !offers.iter().any(is_known) {
        return format!(
            "the camera wants its password as {}, which FFmpeg cannot send over RTSP: allow Digest with MD5, or Basic, in the camera's settings",
            names.join(" or ")
        );
    }
    if password {
        format!("the camera refuses the user or password{wants}")
    } else {
        format!("the camera asks for a password{wants}: write rtsp://USER:PASSWORD@HOST/…")
    }
}

/// The name of an offer, with its algorithm where it is a digest.
fn name(offer: &str) -> String {
    match digest_auth::parse(offer) {
        Ok(digest) => format!("Digest with {}", digest.algorithm),
        Err(_) => offer.split([' ', ',']).next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_camera_wants_is_told() {
        let head = |offers: &[&str]| {
            let lines: Vec<_> = offers.iter().map(|offer| format!("WWW-Authenticate: {offer}\r\n")).collect();
            format!("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n{}\r\n", lines.concat())
        };
        let (md5, sha256) =
            ("Digest realm=\"r\", nonce=\"n\"", "Digest realm=\"r\", nonce=\"n\", algorithm=\"SHA-256\"");
        let told = sentence(&head(&[sha256]), true);
        assert!(told.contains("as Digest with SHA-256, which FFmpeg cannot send"), "{told}");
        let told = sentence(&head(&[sha256, md5]), true);
        assert_eq!(told, "the camera refuses the user or password (it wants Digest with SHA-256 or Digest with MD5)");
        let told = sentence(&head(&["Basic realm=\"r\""]), false);
        assert_eq!(told, "the camera asks for a password (it wants Basic): write rtsp://USER:PASSWORD@HOST/…");
        assert_eq!(sentence("", true), "the camera refuses the user or password");
    }
}
