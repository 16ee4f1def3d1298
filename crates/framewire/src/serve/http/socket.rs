//! A stream on the native wire over a WebSocket.

use std::sync::Arc;

use axum::{
    extract::{
        Extension, Path, Query, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use framewire_proto::wire::native::{Session, Token};
use serde::Deserialize;

use super::{
    Refusal, Site,
    access::{Caller, text},
    subscribe,
};
use crate::{hub::Accepts, net::socket::Socket, serve::websocket};

/// The query of a WebSocket's address.
#[derive(Deserialize)]
pub(super) struct Watch {
    /// `jpeg` where nothing else can be decoded.
    codec: Option<String>,
    /// The client's token, 32 hexadecimal digits, and the number of its connection.
    session: Option<String>,
    turn: Option<u64>,
    /// A page that asks why its WebSocket was refused, by its own origin: browsers do not tell it.
    origin: Option<String>,
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

/// `/streams/NAME/ws`
pub(super) async fn open(
    State(site): State<Arc<Site>>,
    Extension(connection): Extension<Arc<Socket>>,
    Path(name): Path<String>,
    Query(watch): Query<Watch>,
    parts: Parts,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let caller = Caller::of(&parts)?;
    let origin = text(&parts.headers, &header::ORIGIN).or(watch.origin.as_deref());
    site.access.admit_socket(origin, &caller)?;
    let Ok(upgrade) = upgrade else {
        return Err(Refusal(
            StatusCode::UPGRADE_REQUIRED,
            "WebSockets only, and the request asks for none: if one was opened, a proxy in front of this hub does not pass it on \
             (nginx: proxy_http_version 1.1, and proxy_set_header for Upgrade and Connection)"
                .into(),
        ));
    };
    let refused = |sentence| Refusal(StatusCode::BAD_REQUEST, sentence);
    let (accepts, session) = (watch.accepts().map_err(refused)?, watch.session().map_err(refused)?);
    let viewer = subscribe(&site.hub, &name)?;
    let upgrade = upgrade.max_message_size(websocket::MESSAGE).max_frame_size(websocket::MESSAGE);
    let client = session.map(|session| (site.clients.clone(), session));
    let who = caller.name(connection.peer());
    Ok(upgrade.on_upgrade(async move |socket| websocket::run(socket, viewer, accepts, client, &connection, &who).await))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_identifies_itself_in_the_address_or_not_at_all() {
        let watch =
            |session: Option<&str>, turn| Watch { codec: None, session: session.map(Into::into), turn, origin: None };
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
}
