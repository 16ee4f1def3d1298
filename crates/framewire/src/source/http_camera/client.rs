//! Requests to a camera, with its password.

use std::{error::Error as _, fmt::Write as _, future::Future, io, time::Duration};

use bytes::Bytes;
use digest_auth::{AuthContext, WwwAuthenticateHeader};
use framewire_proto::jpeg::MAGIC;
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE},
    redirect,
};
use tokio::time::timeout;
use url::Position;

use crate::{
    error::{Error, OrError as _, Result, bail, error},
    source::{Location, background_runtime::BackgroundRuntime},
    stop::Stop,
};

/// A camera that sends nothing for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How many redirects are followed.
const REDIRECTS: usize = 3;
/// How many bytes tell what a response of an unknown type holds.
const PEEKED: usize = 64;

/// Asks one address, over one connection where the camera keeps it.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: BackgroundRuntime,
    stop: Stop,
    url: Url,
    password: Option<Password>,
    /// How the camera wants the password.
    scheme: Option<Scheme>,
}

struct Password {
    user: String,
    password: String,
}

enum Scheme {
    Basic,
    Digest(WwwAuthenticateHeader),
}

/// A response whose body is read piece by piece.
pub(super) struct Response {
    answer: reqwest::Response,
    content_type: String,
    /// The first bytes of the body, which were read to see what it holds.
    peeked: Option<Bytes>,
}

impl Client {
    pub(super) fn new(source: &Location, stop: &Stop) -> Result<Self> {
        let mut url = Url::parse(source.expose())
            .map_err(|why| error!(InvalidInput, "{source}: {why}: write it like http://HOST:PORT/PATH"))?;
        let password = (!url.username().is_empty() || url.password().is_some())
            .then(|| Password { user: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) });
        // They travel in a header only. An `http` address may have none, so this cannot fail.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let http = reqwest::Client::builder()
            .user_agent(concat!("framewire/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::limited(REDIRECTS))
            .tcp_nodelay(true)
            .http1_only()
            // Small cameras write HTTP as they like.
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http09_responses()
            .build();
        let http = http.map_err(|error| error!(System, "HTTP cannot be set up: {error}"))?;
        Ok(Self { http, runtime: BackgroundRuntime::new()?, stop: stop.clone(), url, password, scheme: None })
    }

    /// Asks for the address, with the password in the way that the camera wants.
    ///
    /// # Errors
    /// The camera does not answer, does not have this address, or refuses the password.
    pub(super) fn get(&mut self) -> Result<Response> {
        let mut response = self.request()?;
        if response.status() == StatusCode::UNAUTHORIZED && self.password.is_some() {
            // The camera may want another way than before, or a new number with it.
            self.scheme = scheme(response.headers());
            if self.scheme.is_some() {
                response = self.request()?;
            }
        }
        check(&response, self.password.is_some())?;
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Response { content_type: content_type.to_owned(), answer: response, peeked: None })
    }

    fn request(&mut self) -> Result<reqwest::Response> {
        let mut request = self.http.get(self.url.clone());
        request = match (&self.password, &mut self.scheme) {
            (Some(Password { user, password }), Some(Scheme::Basic)) => request.basic_auth(user, Some(password)),
            (Some(Password { user, password }), Some(Scheme::Digest(challenge))) => {
                let place = &self.url[Position::BeforePath..Position::AfterQuery];
                let answer = challenge.respond(&AuthContext::new(&**user, &**password, place));
                let answer =
                    answer.map_err(|why| error!(Unsupported, "the camera's digest cannot be answered: {why}"))?;
                request.header(AUTHORIZATION, answer.to_header_string())
            }
            _ => request,
        };
        self.wait(request.send())?.or_error(Error::Stopped, || "stopped while it was being opened")
    }

    /// Waits within bounds; `None` when the stop was raised.
    fn wait<T>(&self, request: impl Future<Output = reqwest::Result<T>>) -> Result<Option<T>> {
        self.runtime.block_on(async {
            tokio::select! {
                outcome = timeout(TIMEOUT, request) => match outcome {
                    Ok(outcome) => outcome.map(Some).map_err(explain),
                    Err(_) => bail!(Timeout, "timeout: no data for {} s", TIMEOUT.as_secs()),
                },
                () = self.stop.raised() => Ok(None),
            }
        })
    }
}

impl Response {
    pub(super) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Whether the body holds JPEGs. Where the type does not tell, its first bytes do.
    pub(super) fn is_jpegs(&mut self, client: &Client) -> Result<bool> {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "image/jpeg" | "image/jpg" | "image/pjpeg" => return Ok(true),
            _ if kind.starts_with("multipart/") => return Ok(true),
            _ if kind.starts_with("video/") || kind.starts_with("audio/") || kind.contains("mpegurl") => {
                return Ok(false);
            }
            _ => {}
        }
        let mut first = Vec::new();
        while first.len() < PEEKED
            && let Some(bytes) = self.chunk(client)?
        {
            first.extend_from_slice(&bytes);
        }
        let begins = first.trim_ascii_start();
        let jpegs = begins.starts_with(&MAGIC) || begins.starts_with(b"--");
        self.peeked = Some(first.into());
        Ok(jpegs)
    }

    /// The next bytes of the body; `None` at its end, and when the stop was raised.
    ///
    /// # Errors
    /// The connection was lost, or nothing came within the time.
    pub(super) fn chunk(&mut self, client: &Client) -> Result<Option<Bytes>> {
        if let Some(first) = self.peeked.take() {
            return Ok(Some(first));
        }
        client.wait(self.answer.chunk()).map(Option::flatten)
    }
}

/// The way in which a camera wants the password: the strongest that it offers.
fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    let offers = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let digests = offers().filter_map(|offer| digest_auth::parse(offer).ok());
    let strongest = digests.max_by_key(|digest| digest.algorithm.to_string() != "MD5");
    let basic = offers().any(|offer| offer.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("basic")));
    strongest.map(Scheme::Digest).or(basic.then_some(Scheme::Basic))
}

/// # Errors
/// The camera refuses the request: why, and what to try.
fn check(response: &reqwest::Response, password: bool) -> Result<()> {
    let status = response.status();
    let wants = || {
        let offers = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let names: Vec<_> = offers.filter_map(|offer| offer.split([' ', ',']).next()).collect();
        if names.is_empty() { String::new() } else { format!(" (it wants {})", names.join(" or ")) }
    };
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED if !password => {
            bail!(PermissionDenied, "the camera asks for a password{}: write http://USER:PASSWORD@HOST/…", wants())
        }
        StatusCode::UNAUTHORIZED => bail!(PermissionDenied, "the camera refuses the user or password{}", wants()),
        StatusCode::FORBIDDEN => bail!(PermissionDenied, "the camera forbids this address to this user ({status})"),
        StatusCode::NOT_FOUND | StatusCode::GONE => bail!(NotFound, "the camera has no such address ({status})"),
        _ => bail!(Refused, "the camera answers {status}"),
    }
}

/// What went wrong, without the address, which the caller adds.
fn explain(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut kind: crate::error::Kind = Error::ConnectionLost;
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return match Error::from(io::Error::new(cause.kind(), cause.to_string())) {
                refused @ Error::Refused(_) => refused.context("nothing listens at this address: check the port"),
                Error::System(_) if text.contains("dns") => error!(NotFound, "the host is unknown: check its name"),
                Error::System(_) => error!(ConnectionLost, "{cause}"),
                other => other,
            };
        }
        source = cause.source();
    }
    if text.contains("dns") {
        kind = Error::NotFound;
    }
    Error::new(kind, text)
}

/// Percent-decoded, as user and password stand in an address (RFC 3986, section 2.1).
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
