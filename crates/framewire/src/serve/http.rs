//! Browsers and programs that speak HTTP: the page, JSON, MJPEG, snapshots, metrics.
//!
//! ```text
//!   access      who may ask for what; `address` and `names` are what it compares
//!   page        the page and its files
//!   pictures    MJPEG and snapshots; `exposure` says when a camera that was just opened is worth one
//!   socket      the WebSocket's request
//! ```
//!
//! GET changes nothing here, and only GET and HEAD are answered. A web page of another origin can neither call this hub by a name
//! that its own DNS points here (the Host must be one of ours) nor read an answer (no CORS, CORP), unless it was named.

mod access;
mod address;
mod exposure;
mod names;
mod page;
mod pictures;
mod socket;

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use framewire_proto::Name;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::mpsc;

use super::{broadcast::Broadcasts, clients::Clients, metrics, mjpeg, renditions};
use crate::error::Result;
use crate::{
    clock,
    hub::{Hub, Info, Policy, Refused, Subscriber},
    net::{self, accept::Accepted, conn::Conn, socket::Socket},
};
use access::Access;
pub use access::Config;

/// The most bytes of a request's head, and of an answer that waits to be written.
const BUFFER: usize = 32 << 10;

/// Everything that a hub answers over HTTP.
pub struct Pages {
    router: TowerToHyperService<Router>,
}

/// What all requests share.
struct Site {
    hub: Hub,
    clients: Clients,
    access: Access,
    broadcasts: Broadcasts,
    renditions: renditions::Renditions,
}

/// A request that is not answered: the status, and a sentence that says what to do.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Pages {
    /// The pages of this hub, which listens on this port.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn new(hub: Hub, clients: Clients, config: &Config, port: u16) -> Result<Self> {
        let site = Site {
            hub,
            clients,
            access: Access::new(config, port)?,
            broadcasts: Broadcasts::default(),
            renditions: renditions::Renditions::default(),
        };
        let site = Arc::new(site);
        let router = Router::new()
            .route("/", get(pictures::root))
            .route("/stream", get(pictures::any_mjpeg))
            .route("/snapshot", get(pictures::any_snapshot))
            .route("/streams", get(streams))
            .route("/streams/{name}", get(one_stream))
            .route("/streams/{name}/mjpeg", get(pictures::mjpeg))
            .route("/streams/{name}/snapshot.jpg", get(pictures::snapshot))
            .route("/streams/{name}/ws", get(socket::open))
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/{name}", get(page::of_stream));
        let router = page::add_files(router)
            .fallback(|uri: Uri| async move { plain(StatusCode::NOT_FOUND, &format!("there is nothing at {uri}")) })
            .layer(middleware::from_fn_with_state(site.clone(), guard))
            .with_state(site);
        Ok(Self { router: TowerToHyperService::new(router) })
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
        let ended = tokio::select! {
            biased;
            ended = http => ended,
            Some((head, stream)) = handed_over => return stream.send(&socket, &head).await,
        };
        // An answer may be on its way to a client that still sends what nobody read. A WebSocket has the socket for itself.
        if Arc::strong_count(&socket) == 1 {
            socket.linger().await;
        }
        Ok(ended?)
    }
}

/// Refuses requests by a foreign name, and tells browsers to keep answers from other origins.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Arc<Socket>>().map(|socket| socket.peer());
    let unknown = Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request came over no connection".to_owned());
    let mut response = match peer.ok_or(unknown).and_then(|peer| site.access.caller(&parts, peer)) {
        Ok(caller) => {
            parts.extensions.insert(Arc::new(caller));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = format!("{}'none'", page::CONTENT_SECURITY_POLICY);
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("ASCII"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    response
}

async fn streams(State(site): State<Arc<Site>>) -> Json<Vec<Info>> {
    Json(site.hub.streams(clock::now()))
}

async fn one_stream(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Result<Json<Info>, Refusal> {
    Ok(Json(site.hub.stream(&name, clock::now())?))
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let text = metrics::prometheus(&site.hub.streams(clock::now()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn subscribe(hub: &Hub, name: &str) -> Result<Subscriber, Refused> {
    hub.stream(name, clock::now())?;
    let mut viewer = hub.subscribe(&Name::from_lossy(name), Policy::Newest, false, clock::now())?;
    viewer.skip_stale(clock::now());
    Ok(viewer)
}

fn plain(status: StatusCode, sentence: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{sentence}\n")).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        plain(self.0, &self.1)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::NoSuchStream { .. } => StatusCode::NOT_FOUND,
            Refused::NameTaken(_) | Refused::OwnSource(_) => StatusCode::CONFLICT,
            Refused::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, refused.to_string())
    }
}
