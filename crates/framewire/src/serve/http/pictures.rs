//! Pictures of streams as JPEGs: one of now, or one after another as an `<img>` and `cv2.VideoCapture` take them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use framewire_proto::{Codec, Frame, Micros, wire::multipart, wire::native};
use futures_util::stream;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use super::{Refusal, Site, access::Caller, address::Origin, exposure::Exposure, page, subscribe};
use crate::{
    clock,
    hub::{Accepts, Event, Subscriber},
    media::jpeg::JpegDecoder,
    serve::{
        mjpeg::Stream,
        renditions::{Rate, Rendition},
        wanted::Wanted,
    },
};

/// How long a snapshot waits for a picture: a sleeping camera has to be opened first.
const SNAPSHOT: Duration = Duration::from_secs(10);
/// A snapshot's picture is at most this old, in µs.
const SNAPSHOT_MAX_AGE: Micros = 1_000_000;
/// nginx passes on a response that says `no` as it comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// What other sites' pages may read of a picture's head besides the usual.
const TIMING: &str = "X-Timestamp, X-Sequence";

/// What pictures are asked for as.
#[derive(Clone, Copy)]
enum Kind {
    /// One after another.
    Mjpeg,
    /// One of now.
    Snapshot,
}

/// `/streams/NAME/mjpeg`
pub(super) async fn mjpeg(State(site): State<Arc<Site>>, Path(name): Path<String>, parts: Parts) -> Answer {
    show(&site, &parts, Kind::Mjpeg, &name).await
}

/// `/streams/NAME/snapshot.jpg`
pub(super) async fn snapshot(State(site): State<Arc<Site>>, Path(name): Path<String>, parts: Parts) -> Answer {
    show(&site, &parts, Kind::Snapshot, &name).await
}

/// `/stream`, as uStreamer has it.
pub(super) async fn any_mjpeg(State(site): State<Arc<Site>>, parts: Parts) -> Answer {
    show_any(&site, &parts, Kind::Mjpeg).await
}

/// `/snapshot`, as uStreamer has it.
pub(super) async fn any_snapshot(State(site): State<Arc<Site>>, parts: Parts) -> Answer {
    show_any(&site, &parts, Kind::Snapshot).await
}

/// `/`: the page, or with an `action` what mjpg-streamer has there.
pub(super) async fn root(State(site): State<Arc<Site>>, parts: Parts) -> Answer {
    match parameter(&parts, "action").as_deref() {
        Some("stream") => show_any(&site, &parts, Kind::Mjpeg).await,
        Some("snapshot") => show_any(&site, &parts, Kind::Snapshot).await,
        _ => Ok(page::answer(&site.access)),
    }
}

type Answer = Result<Response, Refusal>;

/// Shows the stream that `?name=` names, or else the first.
async fn show_any(site: &Site, parts: &Parts, kind: Kind) -> Answer {
    let first = || site.hub.streams(clock::now()).into_iter().next().map(|info| info.name);
    let none = || Refusal(StatusCode::NOT_FOUND, "this hub has no stream yet".into());
    let name = parameter(parts, "name").or_else(first).ok_or_else(none)?;
    show(site, parts, kind, &name).await
}

/// Who may not see the stream wakes no camera, and who asks for the head only does not either.
async fn show(site: &Site, parts: &Parts, kind: Kind, name: &str) -> Answer {
    let page = site.access.admit_picture(&parts.headers, &*Caller::of(parts)?)?;
    let wanted = Wanted::parse(parts.uri.query().unwrap_or_default());
    let wanted = wanted.map_err(|sentence| Refusal(StatusCode::BAD_REQUEST, sentence))?;
    site.hub.stream(name, clock::now())?;
    let mut response = match (kind, parts.method == Method::HEAD) {
        (Kind::Mjpeg, true) => head_only(multipart::CONTENT_TYPE),
        (Kind::Snapshot, true) => head_only("image/jpeg"),
        (Kind::Mjpeg, false) => {
            let (viewer, rendition) = watch(site, name, wanted)?;
            // A rendition keeps the rate by itself.
            let rate = Rate::new(if rendition.is_some() { Wanted::default() } else { wanted });
            let broadcast = site.broadcasts.join(&format!("{name}?{wanted}"));
            Stream::new(viewer, broadcast, rate, rendition).into_response()
        }
        (Kind::Snapshot, false) => one_picture(site, name, wanted).await?,
    };
    if matches!(kind, Kind::Mjpeg) {
        response.headers_mut().insert(BUFFERING, HeaderValue::from_static("no"));
    }
    if let Some(page) = page {
        open_to(&mut response, &page);
    }
    Ok(response)
}

/// A response whose length is not known, for a request that takes its head only.
fn head_only(kind: &'static str) -> Response {
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Begins to watch a stream's JPEGs, as they are or in a rendition, which is to be held meanwhile.
fn watch(site: &Site, name: &str, wanted: Wanted) -> Result<(Subscriber, Option<Arc<Rendition>>), Refusal> {
    let mut viewer = subscribe(&site.hub, name)?;
    if !wanted.reencodes() {
        viewer.set_accepts(Accepts::Jpegs);
        return Ok((viewer, None));
    }
    let rendition = site.renditions.subscribe(viewer, wanted);
    let (viewer, rendition) = rendition.map_err(|sentence| Refusal(StatusCode::SERVICE_UNAVAILABLE, sentence))?;
    Ok((viewer, Some(rendition)))
}

/// One picture of now. A camera that was asleep is given the time until its exposure has settled, or what was asked for.
async fn one_picture(site: &Site, name: &str, wanted: Wanted) -> Answer {
    let asleep = site.hub.stream(name, clock::now())?.state == native::State::Idle.name();
    let (mut viewer, _rendition) = watch(site, name, Wanted { interval: None, wait: None, ..wanted })?;
    if let Ok(mut frame) = timeout(SNAPSHOT, fresh(&mut viewer)).await {
        let mut exposure = None;
        if let Some(wait) = wanted.wait {
            frame = last_within(&mut viewer, frame, wait).await;
        } else if asleep {
            let settled;
            (frame, settled) = settle(&mut viewer, frame).await?;
            exposure = Some(("x-exposure", if settled { "settled" } else { "not settled" }.to_owned()));
        }
        let headers = [
            ("content-type", "image/jpeg".to_owned()),
            ("x-timestamp", multipart::timestamp(clock::calendar(frame.times.captured))),
            ("x-sequence", frame.sequence.to_string()),
        ];
        let headers = headers.into_iter().chain(exposure).map(|(name, value)| {
            let value = HeaderValue::from_str(&value).expect("the value of a header is ASCII");
            (HeaderName::from_static(name), value)
        });
        return Ok((headers.collect::<HeaderMap>(), frame.data).into_response());
    }
    let info = site.hub.stream(name, clock::now())?;
    let age = info.age_ms.map_or("it has none yet".into(), |age| format!("its last one is {:.0} s old", age / 1e3));
    let why = info.fault.map_or_else(String::new, |fault| format!(": {fault}"));
    let sentence = format!("'{name}' is {}: no fresh picture, {age}{why}", info.state);
    Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, sentence))
}

/// The last frame that comes within this time, or else this one.
async fn last_within(viewer: &mut Subscriber, mut frame: Frame, wait: Duration) -> Frame {
    let until = Instant::now() + wait;
    while let Ok(next) = timeout_at(until, fresh(viewer)).await {
        frame = next;
    }
    frame
}

/// The first frame whose brightness is steady, and true; or the last one of the time that is waited for it.
async fn settle(viewer: &mut Subscriber, mut frame: Frame) -> Result<(Frame, bool), Refusal> {
    let mut exposure = Exposure::default();
    loop {
        let now = clock::now();
        if exposure.is_due(now) {
            let looked = frame.data.clone();
            let brightness = spawn_blocking(move || brightness(&looked)).await;
            let failed = |_| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "a picture could not be looked at".into());
            // A damaged picture is not worth a snapshot, but those after it may be.
            if let Ok(brightness) = brightness.map_err(failed)? {
                exposure.look(brightness, now);
            }
        }
        if exposure.has_settled() {
            return Ok((frame, true));
        }
        let left = Duration::from_micros(exposure.left(clock::now()));
        match timeout(left, fresh(viewer)).await {
            Ok(next) => frame = next,
            Err(_) => return Ok((frame, false)),
        }
    }
}

/// The mean brightness of a JPEG, 0 to 255.
fn brightness(jpeg: &Bytes) -> Result<f64, crate::error::Error> {
    let picture = JpegDecoder::new().decode(jpeg, Codec::I420)?;
    let luma = &picture.data()[..(picture.width() * picture.height()) as usize];
    Ok(luma.iter().map(|value| u64::from(*value)).sum::<u64>() as f64 / luma.len().max(1) as f64)
}

/// The first frame that is not older than a moment.
async fn fresh(viewer: &mut Subscriber) -> Frame {
    let since = clock::now();
    loop {
        let Event::Frame(frame) = viewer.next(clock::now).await else { continue };
        let captured = match frame.times.captured_or_received() {
            0 => since,
            captured => captured,
        };
        if captured.saturating_add(SNAPSHOT_MAX_AGE) > clock::now() {
            return frame;
        }
    }
}

/// Lets pages of this origin, and no others, show and read the response.
fn open_to(response: &mut Response, page: &Origin) {
    let value = |text: &str| HeaderValue::from_str(text).expect("an origin is ASCII");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value(&page.to_string()));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(TIMING));
    headers.insert(header::VARY, HeaderValue::from_static("Origin, Referer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    headers.insert(header::CONTENT_SECURITY_POLICY, value(&format!("frame-ancestors {page}")));
}

/// A parameter of the address.
fn parameter(parts: &Parts, wanted: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}
