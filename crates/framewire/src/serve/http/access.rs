//! Who may ask for what: a request's Host must be ours, and another site's page may show pictures only where it is allowed to.
//!
//! Headers tell who asks. A web page cannot forge `Host`, `Origin`, `Referer` and `Sec-Fetch-*`, which its browser sets. It can
//! send `X-Forwarded-*`, so those count only from the proxies that were named.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header, request::Parts};
use ipnet::IpNet;
use tracing::info;

use super::{
    Refusal,
    address::{Authority, Origin, default_port},
    names::Names,
};
use crate::error::{Error, OrError as _, Result};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Who may ask for what, as it was configured.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Host names by which browsers may call this hub: `NAME` or `NAME:PORT`.
    pub host_names: Vec<String>,
    /// Addresses and networks of proxies: `ADDRESS` or `ADDRESS/BITS`.
    pub proxies: Vec<String>,
    /// Origins of pages that may embed pictures of this hub: `https://HOST` or `http://HOST:PORT`.
    pub embedders: Vec<String>,
}

/// Who may ask for what.
#[derive(Debug)]
pub(super) struct Access {
    names: Names,
    /// The port that this hub listens on.
    port: u16,
    proxies: Vec<IpNet>,
    embedders: Vec<Origin>,
}

/// How the client of a request called this hub.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The browser, or the program, as far as proxies are known.
    client: IpAddr,
    /// `None` where the request names no host.
    called: Option<Authority>,
    /// Whether the page is encrypted; `None` where no proxy says so.
    https: Option<bool>,
}

impl Caller {
    /// Who sent a request that was let in.
    pub(super) fn of(request: &Parts) -> Result<Arc<Self>, Refusal> {
        let unknown = || Refusal(StatusCode::INTERNAL_SERVER_ERROR, "nobody asked who sent the request".into());
        request.extensions.get().cloned().ok_or_else(unknown)
    }

    /// Who it is, for the log, over a connection from `peer`.
    pub(super) fn name(&self, peer: SocketAddr) -> String {
        if self.client == peer.ip().to_canonical() {
            peer.to_string()
        } else {
            format!("{} by way of {peer}", self.client)
        }
    }
}

impl Config {
    /// Checks all of it.
    ///
    /// # Errors
    /// A name, network or origin cannot be read.
    pub fn check(&self) -> Result<()> {
        Access::new(self, 0).map(drop)
    }
}

impl Access {
    /// The rules of this configuration, for a hub that listens on this port.
    ///
    /// # Errors
    /// A name, network or origin cannot be read.
    pub(super) fn new(config: &Config, port: u16) -> Result<Self> {
        let named = |text: &String| {
            let wrong = || format!("'{text}' is no host name: write it like cams.example or cams.example:8443");
            Authority::parse(text).or_error(Error::InvalidInput, wrong)
        };
        let proxy = |text: &String| {
            let network = text.parse().or_else(|_| text.parse().map(IpAddr::into));
            let wrong = || format!("'{text}' is no proxy's address: write it like 10.0.0.2 or 172.16.0.0/12");
            network.ok().or_error(Error::InvalidInput, wrong)
        };
        let embedder = |text: &String| {
            let wrong =
                || format!("'{text}' is no page's origin: write it like https://home.example or http://10.0.0.5:8123");
            Origin::parse(text).or_error(Error::InvalidInput, wrong)
        };
        Ok(Self {
            names: Names::new(config.host_names.iter().map(named).collect::<Result<_>>()?),
            port,
            proxies: config.proxies.iter().map(proxy).collect::<Result<_>>()?,
            embedders: config.embedders.iter().map(embedder).collect::<Result<_>>()?,
        })
    }

    /// The origins of pages that may embed pictures.
    pub(super) fn embedders(&self) -> &[Origin] {
        &self.embedders
    }

    /// Who sent this request over a connection from `peer`.
    ///
    /// # Errors
    /// It calls the hub by a name that is not ours, or by none.
    pub(super) fn caller(&self, request: &Parts, peer: SocketAddr) -> Result<Caller, Refusal> {
        let peer = peer.ip().to_canonical();
        let proxied = self.is_proxy(peer);
        let forwarded = |name| text(&request.headers, &name).and_then(|list| list.rsplit(',').next()).map(str::trim);
        let trusted = |name| proxied.then(|| forwarded(name)).flatten();
        let direct = text(&request.headers, &header::HOST).or_else(|| Some(request.uri.authority()?.as_str()));
        let Some(host) = trusted(FORWARDED_HOST).or(direct) else {
            // No browser sends such a request.
            if request.version == Version::HTTP_10 && peer.is_loopback() {
                return Ok(Caller { client: peer, called: None, https: None });
            }
            return Err(Refusal(StatusCode::BAD_REQUEST, "the request names no Host".into()));
        };
        let wrong = || Refusal(StatusCode::BAD_REQUEST, format!("the Host '{host}' is no host's name or address"));
        let called = Authority::parse(host).ok_or_else(wrong)?;
        if !self.names.include(&called) {
            let name = &called.host;
            let refusal = format!(
                "this hub does not answer to the name '{name}': start it with --host-name {name}, or call it by its IP address"
            );
            return Err(Refusal(StatusCode::FORBIDDEN, refusal));
        }
        let https = trusted(FORWARDED_PROTO).map(|scheme| scheme.eq_ignore_ascii_case("https"));
        Ok(Caller { client: self.client(&request.headers, peer), called: Some(called), https })
    }

    /// The last address on the way here that is no proxy's.
    fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let way =
            text(headers, &FORWARDED_FOR).unwrap_or_default().rsplit(',').map_while(|hop| hop.trim().parse().ok());
        let mut client = peer;
        for before in way {
            if !self.is_proxy(client) {
                break;
            }
            client = before;
        }
        client
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// Whether a page of this origin is this hub's own.
    fn is_own(&self, origin: &Origin, caller: &Caller) -> bool {
        let given = |name: &Authority| {
            name.host == origin.host && name.port.unwrap_or(default_port(origin.https)) == origin.port
        };
        if self.names.given.iter().any(given) {
            return true;
        }
        let Some(called) = caller.called.as_ref().filter(|called| called.host == origin.host) else { return false };
        let port = match (called.port, caller.https) {
            (Some(port), _) => port == origin.port,
            // Browsers leave out port 80 only. Where that is not this hub's port, a proxy left out another.
            (None, _) if self.port != default_port(false) => true,
            (None, https) => origin.port == default_port(https.unwrap_or(false)),
        };
        port && caller.https.is_none_or(|https| https == origin.https)
    }

    /// Whether a WebSocket may be opened by the page that asks. Browsers let any page open one to anywhere.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn admit_socket(&self, origin: Option<&str>, caller: &Caller) -> Result<(), Refusal> {
        let Some(origin) = origin else { return Ok(()) };
        let Some(origin) = Origin::parse(origin) else {
            return Err(Refusal(
                StatusCode::FORBIDDEN,
                format!("a page of another origin ('{origin}') may not watch this hub"),
            ));
        };
        if self.is_own(&origin, caller) {
            return Ok(());
        }
        let called = caller.called.as_ref().map(|called| format!(", which was called '{called}'")).unwrap_or_default();
        let sentence = format!(
            "a page of {origin} may not watch this hub{called}. If that is this hub's page behind a proxy, start the hub with \
             --host-name {}, or let the proxy pass the name on (nginx: proxy_set_header Host $http_host)",
            origin.authority()
        );
        Err(Refusal(StatusCode::FORBIDDEN, sentence))
    }

    /// Whether a picture may be shown to who asks: the origin of another site's page that may embed it, if one asks.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn admit_picture(&self, headers: &HeaderMap, caller: &Caller) -> Result<Option<Origin>, Refusal> {
        let (site, origin) = (text(headers, &FETCH_SITE), text(headers, &header::ORIGIN));
        if let (None, Some("same-origin" | "none")) = (origin, site) {
            return Ok(None);
        }
        let fetch = (text(headers, &FETCH_MODE), text(headers, &FETCH_DEST));
        // A link that was followed: the picture is shown by itself.
        if origin.is_none() && fetch == (Some("navigate"), Some("document")) {
            return Ok(None);
        }
        let page = origin.or_else(|| text(headers, &header::REFERER));
        let sentence = match (page.and_then(Origin::parse), page, site) {
            (Some(page), ..) if self.is_own(&page, caller) => return Ok(None),
            (Some(page), ..) if self.embedders.contains(&page) => return Ok(Some(page)),
            (None, None, None) => return Ok(None),
            (Some(page), ..) => {
                format!("a page of {page} may not show pictures of this hub: start it with --allow-embed {page}")
            }
            (None, ..) => {
                "a page of another site may not show pictures of this hub without telling its origin: start the hub \
                 with --allow-embed ORIGIN, and give the picture in the page referrerpolicy=\"origin\""
                    .into()
            }
        };
        info!("{}: refused: {sentence}", caller.client);
        Err(Refusal(StatusCode::FORBIDDEN, sentence))
    }
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// A hub on port 7070 with a name, a proxy and an embedding page.
    fn access() -> Access {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let config = Config {
            host_names: texts(&["cams.example", "garden.example:8443"]),
            proxies: texts(&["10.0.0.2", "172.16.0.0/12"]),
            embedders: texts(&["http://home.example:8123", "https://dash.example"]),
        };
        Access::new(&config, 7070).unwrap()
    }

    fn request(headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn caller(peer: &str, headers: &[(&str, &str)]) -> Result<Caller, String> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 50_000);
        access().caller(&request(headers), peer).map_err(|Refusal(_, sentence)| sentence)
    }

    fn admits(peer: &str, headers: &[(&str, &str)], origin: &str) -> bool {
        access().admit_socket(Some(origin), &caller(peer, headers).unwrap()).is_ok()
    }

    #[test]
    fn an_origin_is_ours_by_host_and_port() {
        let host = |host, origin| admits("192.168.7.9", &[("host", host)], origin);
        for (called, origin) in [
            ("192.168.7.1:7070", "http://192.168.7.1:7070"),
            ("localhost:7070", "HTTP://LOCALHOST:7070"),
            ("cams.example:443", "https://cams.example"),
            ("cams.example:80", "http://cams.example"),
            // Proxies that leave out the port.
            ("cams.example", "https://cams.example"),
            ("hub", "https://hub:8443"),
            // Proxies that pass their own name for the hub.
            ("127.0.0.1:7070", "https://cams.example"),
            ("127.0.0.1:7070", "http://garden.example:8443"),
        ] {
            assert!(host(called, origin), "{called} {origin}");
        }
        for (called, origin) in [
            ("192.168.7.1:7070", "http://192.168.7.1:9"),
            ("192.168.7.1:7070", "https://192.168.7.1"),
            ("127.0.0.1:7070", "http://localhost:7070"),
            ("127.0.0.1:7070", "http://evil.example"),
            ("127.0.0.1:7070", "https://cams.example:9"),
            ("127.0.0.1:7070", "https://garden.example"),
            ("127.0.0.1:7070", "null"),
            ("127.0.0.1:7070", "http://127.0.0.1:7070@evil.example"),
        ] {
            assert!(!host(called, origin), "{called} {origin}");
        }
    }

    #[test]
    fn on_port_80_a_host_without_a_port_means_port_80() {
        let access = Access { port: 80, ..access() };
        let parts = request(&[("host", "192.168.7.1")]);
        let caller = access.caller(&parts, "192.168.7.9:50000".parse().unwrap()).unwrap();
        assert!(access.admit_socket(Some("http://192.168.7.1"), &caller).is_ok());
        assert!(access.admit_socket(Some("http://192.168.7.1:3000"), &caller).is_err());
    }

    #[test]
    fn only_a_named_proxy_speaks_for_others() {
        let headers = [
            ("host", "10.0.0.1:7070"),
            ("x-forwarded-host", "evil.example, cams.example:8443"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "198.51.100.7, 203.0.113.5, 172.16.3.4"),
        ];
        for proxy in ["10.0.0.2", "172.31.255.1", "::ffff:10.0.0.2"] {
            assert!(admits(proxy, &headers, "https://cams.example:8443"), "{proxy}");
            assert!(!admits(proxy, &headers, "http://cams.example:8443"), "{proxy}: another scheme");
            assert!(!admits(proxy, &headers, "http://10.0.0.1:7070"), "{proxy}");
            assert_eq!(caller(proxy, &headers).unwrap().client, IpAddr::from([203, 0, 113, 5]));
        }
        for stranger in ["10.0.0.3", "127.0.0.1"] {
            assert!(!admits(stranger, &headers, "https://cams.example:8443"), "{stranger}");
            assert_eq!(caller(stranger, &headers).unwrap().client.to_string(), stranger);
        }
        let foreign = caller("10.0.0.2", &[("host", "10.0.0.1"), ("x-forwarded-host", "evil.example")]).unwrap_err();
        assert!(foreign.contains("--host-name evil.example"), "{foreign}");
    }

    #[test]
    fn a_refused_socket_says_what_to_do() {
        let caller = caller("127.0.0.1", &[("host", "hub")]).unwrap();
        let Refusal(_, refusal) = access().admit_socket(Some("https://gate.example:8443"), &caller).unwrap_err();
        for part in ["'hub'", "https://gate.example:8443", "--host-name gate.example:8443", "proxy_set_header Host"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn another_sites_page_shows_pictures_only_where_that_is_allowed() {
        let ask = |headers: &[(&str, &str)]| {
            let caller = caller("192.168.7.9", &[("host", "192.168.7.1:7070")]).unwrap();
            let admitted = access().admit_picture(&request(headers).headers, &caller);
            admitted.map(|page| page.map(|page| page.to_string()).unwrap_or_default()).map_err(|_| ())
        };
        let ours = Ok(String::new());
        // Programs, the hub's own page, an address that was typed, a link that was followed.
        for headers in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "image")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
                ("referer", "https://search.example/"),
            ],
            &[("referer", "http://192.168.7.1:7070/door")],
            &[("origin", "http://192.168.7.1:7070")],
        ] {
            assert_eq!(ask(headers), ours, "{headers:?}");
        }
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
            &[("sec-fetch-site", "same-site"), ("referer", "http://192.168.7.1:3000/")],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://home.example")],
            &[("referer", "http://evil.example/page")],
            &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
            &[("referer", "http://evil.example/"), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")],
        ] {
            assert_eq!(ask(headers), Err(()), "{headers:?}");
        }
        for headers in [
            &[("referer", "http://home.example:8123/lovelace")][..],
            &[("sec-fetch-site", "cross-site"), ("referer", "http://home.example:8123/"), ("sec-fetch-dest", "image")],
            &[("origin", "http://home.example:8123"), ("sec-fetch-site", "cross-site")],
        ] {
            assert_eq!(ask(headers), Ok("http://home.example:8123".into()), "{headers:?}");
        }
    }

    #[test]
    fn only_an_old_request_on_this_machine_needs_no_host() {
        let ask = |peer: &str, version| {
            let mut parts = request(&[]);
            parts.version = version;
            access().caller(&parts, SocketAddr::new(peer.parse().unwrap(), 50_000)).is_ok()
        };
        assert!(ask("127.0.0.1", Version::HTTP_10) && ask("::1", Version::HTTP_10));
        assert!(!ask("127.0.0.1", Version::HTTP_11) && !ask("192.168.7.9", Version::HTTP_10));
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let wrong = |config: Config| config.check().unwrap_err().to_string();
        let texts = |text: &str| vec![text.to_owned()];
        assert!(
            wrong(Config { host_names: texts("https://a.b"), ..Config::default() })
                .contains("'https://a.b' is no host name")
        );
        assert!(
            wrong(Config { proxies: texts("10.0.0.0/33"), ..Config::default() }).contains("'10.0.0.0/33' is no proxy")
        );
        assert!(
            wrong(Config { embedders: texts("home.example"), ..Config::default() })
                .contains("'home.example' is no page")
        );
    }
}
