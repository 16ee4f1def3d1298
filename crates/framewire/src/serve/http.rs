//! Browsers and programs that speak HTTP: the page, JSON, MJPEG, snapshots, metrics.
//!
//! GET changes nothing here, and only GET is answered. A web page of another origin can neither call this hub by a name that
//! its own DNS points here (the Host must be one of ours) nor read an answer (no CORS, CORP).

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    net::IpAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Extension, Path, Query, Request, State, ws::WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use framewire_proto::{
    Frame, Micros, Name,
    wire::native::{Session, Token},
};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Deserialize;
use tokio::{sync::mpsc, time::timeout};

use super::{broadcast::Broadcasts, clients::Clients, metrics, mjpeg, websocket};
use crate::error::Result;
use crate::{
    clock,
    hub::{Accepts, Event, Hub, Info, Policy, Refused, Subscriber},
    net::{self, accept::Accepted, conn::Conn, socket::Socket},
};

/// The most bytes of a request's head, and of an answer that waits to be written.
const BUFFER: usize = 32 << 10;
/// How long a snapshot waits for a picture: a sleeping camera has to be opened first.
const SNAPSHOT: Duration = Duration::from_secs(10);
/// A snapshot's picture is at most this old, in µs.
const SNAPSHOT_MAX_AGE: Micros = 1_000_000;

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; \
    style-src 'self'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page's files: path, type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", "text/html; charset=utf-8", include_bytes!("../../web/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_bytes!("../../web/app.js")),
    ("/details.js", "text/javascript; charset=utf-8", include_bytes!("../../web/details.js")),
    ("/format.js", "text/javascript; charset=utf-8", include_bytes!("../../web/format.js")),
    ("/hub.js", "text/javascript; charset=utf-8", include_bytes!("../../web/hub.js")),
    ("/picture.js", "text/javascript; charset=utf-8", include_bytes!("../../web/picture.js")),
    ("/tile.js", "text/javascript; charset=utf-8", include_bytes!("../../web/tile.js")),
    ("/wire.js", "text/javascript; charset=utf-8", include_bytes!("../../web/wire.js")),
    ("/style.css", "text/css; charset=utf-8", include_bytes!("../../web/style.css")),
    ("/favicon.svg", "image/svg+xml", include_bytes!("../../web/favicon.svg")),
];

/// Everything that a hub answers over HTTP.
pub struct Pages {
    router: TowerToHyperService<Router>,
}

impl Pages {
    /// The pages of this hub, for browsers that call it by an IP address, `localhost`, this machine's name or one of
    /// these names.
    pub fn new(hub: Hub, clients: Clients, host_names: &[String]) -> Self {
        let mut hosts = vec!["localhost".to_owned(), net::machine_name()];
        hosts.extend(host_names.iter().map(|name| name.to_ascii_lowercase()));
        let mut router = Router::new()
            .route("/streams", get(streams))
            .route("/streams/{name}", get(one_stream))
            .route("/streams/{name}/mjpeg", get(mjpeg))
            .route("/streams/{name}/snapshot.jpg", get(snapshot))
            .route("/streams/{name}/ws", get(socket))
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .with_state(hub)
            .layer(Extension(clients))
            .layer(Extension(Arc::new(Broadcasts::default())));
        for (path, kind, content) in FILES {
            router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, *kind)], *content) }));
        }
        let router = router
            .fallback(|uri: Uri| async move { plain(StatusCode::NOT_FOUND, &format!("there is nothing at {uri}")) })
            .layer(middleware::from_fn_with_state(Arc::new(hosts), guard));
        Self { router: TowerToHyperService::new(router) }
    }

    /// Answers one connection's requests until it ends.
    ///
    /// # Errors
    /// The connection broke, spoke no HTTP, or was too slow.
    pub async fn serve(&self, accepted: Accepted) -> Result<()> {
        let (router, socket) = (self.router.clone(), Arc::new(accepted.socket));
        let conn = TokioIo::new(Conn::new(socket.clone(), accepted.prefix));
        let (hand_over, mut streams) = mpsc::channel(1);
        // Not as a layer of the router: each connection would have a router of its own.
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(socket.clone());
            let (method, version) = (request.method().clone(), request.version());
            let (answer, hand_over) = (router.call(request), hand_over.clone());
            async move {
                let mut response = answer.await?;
                if method == Method::GET
                    && let Some(stream) = mjpeg::Stream::of(&mut response)
                {
                    *response.version_mut() = version;
                    // The receiver is dropped with this connection only.
                    let _ = hand_over.send((response.into_parts().0, stream)).await;
                    return pending().await;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(net::HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(conn, service)
            .with_upgrades();
        // hyper may hold bytes of an answer before this one. Room for them wakes this task, too.
        let handed_over = poll_fn(|task| if socket.blocked() { Poll::Pending } else { streams.poll_recv(task) });
        tokio::select! {
            biased;
            ended = http => Ok(ended?),
            Some((head, stream)) = handed_over => stream.send(&socket, &head).await,
        }
    }
}

/// Refuses requests by a foreign name, and tells browsers to keep answers from other origins.
async fn guard(State(hosts): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let host = text(request.headers(), &header::HOST).or_else(|| Some(request.uri().authority()?.as_str()));
    let mut response = match host {
        Some(host) if is_ours(host, &hosts) => next.run(request).await,
        Some(host) => {
            let name = host_of(host);
            plain(
                StatusCode::FORBIDDEN,
                &format!(
                    "this hub does not answer to the name '{name}': start it with --host-name {name}, or call it by its IP address"
                ),
            )
        }
        None => plain(StatusCode::BAD_REQUEST, "the request names no Host"),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a Host header names this hub.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let name = host_of(host);
    name.parse::<IpAddr>().is_ok() || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// A Host header without its port and without an IPv6 address's brackets.
fn host_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

async fn streams(State(hub): State<Hub>) -> Json<Vec<Info>> {
    Json(hub.streams(clock::now()))
}

async fn one_stream(State(hub): State<Hub>, Path(name): Path<String>) -> Result<Json<Info>, Refused> {
    hub.stream(&name, clock::now()).map(Json)
}

async fn metrics(State(hub): State<Hub>) -> Response {
    let text = metrics::prometheus(&hub.streams(clock::now()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The stream as JPEGs one after another, as an `<img>` and `cv2.VideoCapture` take them.
async fn mjpeg(
    State(hub): State<Hub>,
    Extension(broadcasts): Extension<Arc<Broadcasts>>,
    Path(name): Path<String>,
) -> Result<mjpeg::Stream, Refused> {
    Ok(mjpeg::Stream::new(subscribe_to_jpegs(&hub, &name)?, broadcasts.join(&name)))
}

/// The next frame, of whichever publisher it will be.
async fn next(viewer: &mut Subscriber) -> Frame {
    loop {
        if let Event::Frame(frame) = viewer.next(clock::now).await {
            return frame;
        }
    }
}

/// One picture of now.
async fn snapshot(State(hub): State<Hub>, Path(name): Path<String>) -> Result<Response, Refused> {
    let mut viewer = subscribe_to_jpegs(&hub, &name)?;
    let since = clock::now();
    let fresh = timeout(SNAPSHOT, async {
        loop {
            let frame = next(&mut viewer).await;
            let captured = match frame.times.captured_or_received() {
                0 => since,
                captured => captured,
            };
            if captured.saturating_add(SNAPSHOT_MAX_AGE) > clock::now() {
                return frame;
            }
        }
    });
    if let Ok(frame) = fresh.await {
        return Ok(([(header::CONTENT_TYPE, "image/jpeg")], frame.data).into_response());
    }
    let info = hub.stream(&name, clock::now())?;
    let age = info.age_ms.map_or("it has none yet".into(), |age| format!("its last one is {:.0} s old", age / 1e3));
    let sentence = format!("'{name}' is {}: no fresh picture, {age}", info.state);
    Ok(plain(StatusCode::SERVICE_UNAVAILABLE, &sentence))
}

/// The query of a WebSocket's address.
#[derive(Deserialize)]
struct Watch {
    /// `jpeg` where nothing else can be decoded.
    codec: Option<String>,
    /// The client's token, 32 hexadecimal digits, and the number of its connection.
    session: Option<String>,
    turn: Option<u64>,
}

impl Watch {
    fn accepts(&self) -> Result<Accepts, String> {
        match self.codec.as_deref() {
            None => Ok(Accepts::Any),
            Some("jpeg") => Ok(Accepts::Jpegs),
            Some(other) => {
                Err(format!("unknown codec '{other}': ask for jpeg, or for none where H.264 can be decoded too"))
            }
        }
    }

    fn session(&self) -> Result<Option<Session>, String> {
        let Some(digits) = self.session.as_deref() else { return Ok(None) };
        let plain = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| plain);
        let number = number.ok_or("a session is 32 hexadecimal digits, or left out")?;
        Ok(Some(Session { token: Token(number.to_be_bytes()), turn: self.turn.unwrap_or_default() }))
    }
}

/// The stream on the native wire over a WebSocket.
async fn socket(
    State(hub): State<Hub>,
    Extension(connection): Extension<Arc<Socket>>,
    Extension(clients): Extension<Clients>,
    Path(name): Path<String>,
    Query(watch): Query<Watch>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Response> {
    // Browsers let any page open a WebSocket to anywhere, and send that page's address as Origin.
    let origin = text(&headers, &header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    if origin.is_some() && origin != text(&headers, &header::HOST) {
        return Err(plain(StatusCode::FORBIDDEN, "a page of another origin may not watch this hub"));
    }
    let refused = |sentence: String| plain(StatusCode::BAD_REQUEST, &sentence);
    let (accepts, session) = (watch.accepts().map_err(refused)?, watch.session().map_err(refused)?);
    let viewer = subscribe(&hub, &name).map_err(IntoResponse::into_response)?;
    let upgrade = upgrade.max_message_size(websocket::MESSAGE).max_frame_size(websocket::MESSAGE);
    let client = session.map(|session| (clients, session));
    Ok(upgrade.on_upgrade(async move |socket| websocket::run(socket, viewer, accepts, client, &connection).await))
}

fn subscribe(hub: &Hub, name: &str) -> Result<Subscriber, Refused> {
    hub.stream(name, clock::now())?;
    hub.subscribe(&Name::from_lossy(name), Policy::Newest, false, clock::now())
}

fn subscribe_to_jpegs(hub: &Hub, name: &str) -> Result<Subscriber, Refused> {
    let mut viewer = subscribe(hub, name)?;
    viewer.set_accepts(Accepts::Jpegs);
    Ok(viewer)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn plain(status: StatusCode, sentence: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{sentence}\n")).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoSuchStream { .. } => StatusCode::NOT_FOUND,
            Self::NameTaken(_) | Self::OwnSource(_) => StatusCode::CONFLICT,
            Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        };
        plain(status, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_identifies_itself_in_the_address_or_not_at_all() {
        let watch = |session: Option<&str>, turn| Watch { codec: None, session: session.map(Into::into), turn };
        assert_eq!(watch(None, Some(3)).session(), Ok(None));
        let token = Token(std::array::from_fn(|place| place as u8 + 0xf0));
        let digits = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        assert_eq!(watch(Some(digits), Some(3)).session(), Ok(Some(Session { token, turn: 3 })));
        assert_eq!(watch(Some(digits), None).session(), Ok(Some(Session { token, turn: 0 })));
        for wrong in
            ["", "f0", "+0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "ä0f1f2f3f4f5f6f7f8f9fafbfcfdfef", &digits.repeat(2)]
        {
            assert!(watch(Some(wrong), None).session().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hub_answers_to_addresses_and_its_own_names_only() {
        let hosts = ["localhost".to_owned(), "gate.example".to_owned()];
        for ours in ["127.0.0.1:7070", "127.0.0.1", "[::1]:7070", "localhost:1", "LOCALHOST", "gate.example:80"] {
            assert!(is_ours(ours, &hosts), "{ours}");
        }
        for foreign in ["evil.example", "evil.example:7070", "127.0.0.1.evil.example", "", "[", "localhost.evil"] {
            assert!(!is_ours(foreign, &hosts), "{foreign}");
        }
    }
}
