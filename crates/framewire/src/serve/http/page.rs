//! The page and its files.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    Site,
    access::{Access, text},
    plain,
};
use crate::clock;

const INDEX: &str = include_str!("../../../web/index.html");
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page's files: path, type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/app.js", JAVASCRIPT, include_bytes!("../../../web/app.js")),
    ("/details.js", JAVASCRIPT, include_bytes!("../../../web/details.js")),
    ("/format.js", JAVASCRIPT, include_bytes!("../../../web/format.js")),
    ("/hub.js", JAVASCRIPT, include_bytes!("../../../web/hub.js")),
    ("/picture.js", JAVASCRIPT, include_bytes!("../../../web/picture.js")),
    ("/tile.js", JAVASCRIPT, include_bytes!("../../../web/tile.js")),
    ("/wire.js", JAVASCRIPT, include_bytes!("../../../web/wire.js")),
    ("/style.css", "text/css; charset=utf-8", include_bytes!("../../../web/style.css")),
    ("/favicon.svg", "image/svg+xml", include_bytes!("../../../web/favicon.svg")),
];

/// What the page may load and do. The origins of pages that may embed it stand behind it.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; \
    style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ";

/// Adds the page's files to a router.
pub(super) fn add_files(router: Router<Arc<Site>>) -> Router<Arc<Site>> {
    FILES.iter().fold(router, |router, (path, kind, content)| {
        router.route(path, get(move || async move { ([(header::CONTENT_TYPE, *kind)], *content) }))
    })
}

/// The page, open to the pages that may embed it: in a frame it shows one stream only.
pub(super) fn answer(access: &Access) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], INDEX).into_response();
    let origins: Vec<_> = access.embedders().iter().map(ToString::to_string).collect();
    if !origins.is_empty() {
        let policy = HeaderValue::from_str(&format!("{CONTENT_SECURITY_POLICY}{}", origins.join(" ")));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.expect("origins are ASCII"));
    }
    response
}

/// `/NAME`: the page with that stream.
pub(super) async fn of_stream(State(site): State<Arc<Site>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let mut response = answer(&site.access);
    if let Err(refused) = site.hub.stream(&name, clock::now()) {
        // The page tells people how to send the stream, and shows it once it is there.
        if !text(&headers, &header::ACCEPT).is_some_and(|kinds| kinds.contains("text/html")) {
            return plain(StatusCode::NOT_FOUND, &format!("there is nothing at /{name}, and {refused}"));
        }
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
