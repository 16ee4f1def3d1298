use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::*;
use crate::{error::Error, media::Picture, media::jpeg::JpegEncoder};

/// A JPEG of one grey level.
fn jpeg(level: u8) -> Vec<u8> {
    let picture = Picture::new(Codec::I420, 16, 16, vec![level; 16 * 16 * 3 / 2].into()).unwrap();
    JpegEncoder::new(80).encode(&picture).unwrap().to_vec()
}

/// A camera: answers each request, whose head it tells, with what `answer` gives for its number; `None` hangs up.
fn camera(answer: impl Fn(usize, &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (heads, told)) = (listener.local_addr().unwrap(), channel());
    thread::spawn(move || {
        let mut number = 0;
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            while let Some(head) = request(&mut connection) {
                let answer = answer(number, &head);
                number += 1;
                // The test may be over.
                let _ = heads.send(head);
                let Some(answer) = answer else { break };
                if connection.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    (address, told)
}

fn request(connection: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        (connection.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    String::from_utf8(head).ok()
}

/// An answer of this type and with this body, which is as long as it says.
fn answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn open_at(address: SocketAddr, options: &str) -> Result<Box<dyn Source>> {
    super::open(&format!("http://{address}/video{options}").parse().unwrap(), &Stop::default())
}

/// The next frames, and the error in which they end.
fn frames(source: &mut dyn Source, most: usize) -> (Vec<Bytes>, Option<Error>) {
    let mut frames = Vec::new();
    while frames.len() < most {
        match source.next() {
            Ok(Some(Item::Frame(frame))) => frames.push(frame.data),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

#[test]
fn a_stream_of_parts_is_read_and_its_end_is_an_error() {
    let pictures = [jpeg(50), jpeg(90)];
    let parts: Vec<u8> = pictures
        .iter()
        .flat_map(|picture| [b"--x\nContent-Type: image/jpeg\n\n", picture.as_slice(), b"\n"].concat())
        .collect();
    for content_type in ["multipart/x-mixed-replace;boundary=x", "application/octet-stream", ""] {
        let body = parts.clone();
        let content_type = content_type.to_owned();
        let (address, _) = camera(move |_, _| Some(answer(&content_type, &body)));
        let mut source = open_at(address, "").unwrap();
        let (frames, end) = frames(&mut *source, 3);
        assert_eq!(frames, pictures);
        let end = end.unwrap();
        assert!(
            matches!(&end, Error::ConnectionLost(_)) && end.to_string().contains("/video: the camera has closed"),
            "{end}"
        );
    }
}

#[test]
fn a_still_picture_is_asked_for_again_over_the_same_connection() {
    let (address, heads) = camera(|number, _| Some(answer("image/jpeg", &jpeg(50 + number as u8))));
    let mut source = open_at(address, "#fps=20").unwrap();
    let started = Instant::now();
    let (frames, end) = frames(&mut *source, 4);
    assert_eq!(frames, [jpeg(50), jpeg(51), jpeg(52), jpeg(53)]);
    assert!(end.is_none() && started.elapsed() >= Duration::from_millis(140), "{:?}", started.elapsed());
    assert_eq!(heads.try_iter().count(), 4);
}

#[test]
fn the_password_is_sent_as_the_camera_wants_it() {
    for offer in [
        "Basic realm=\"r\"",
        "Digest realm=\"r\", nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256",
    ] {
        let challenge = format!("HTTP/1.1 401 No\r\nWWW-Authenticate: {offer}\r\nContent-Length: 0\r\n\r\n");
        let (address, heads) = camera(move |_, head| {
            let known = head.to_lowercase().contains("\r\nauthorization: ");
            Some(if known { answer("image/jpeg", &jpeg(9)) } else { challenge.clone().into() })
        });
        let spec = format!("http://me:a%20b@{address}/video?x=1").parse().unwrap();
        let mut source = super::open(&spec, &Stop::default()).unwrap();
        assert_eq!(frames(&mut *source, 1).0, [jpeg(9)]);
        let head = heads.try_iter().last().unwrap();
        let sent = head.lines().find(|line| line.to_lowercase().starts_with("authorization: ")).unwrap();
        if offer.starts_with("Basic") {
            // "me:a b" in base64.
            assert!(sent.ends_with(" Basic bWU6YSBi"), "{sent}");
        } else {
            // The hash itself is digest_auth's.
            assert!(sent.contains("username=\"me\"") && sent.contains("uri=\"/video?x=1\""), "{sent}");
            assert_eq!(sent.contains("SHA-256"), offer.contains("SHA-256"), "{sent}");
        }
        assert!(!head.contains("me:a") && !format!("{spec:?} {}", source.describe()).contains("a%20b"));
    }
}

/// Whether an error is of a kind.
type IsKind = fn(&Error) -> bool;

#[test]
fn what_a_camera_refuses_is_told_by_kind_and_without_the_password() {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let cases: [(&str, IsKind, &str); 4] = [
        (
            "401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
            |error| matches!(error, Error::PermissionDenied(_)),
            "refuses the user or password (it wants Digest)",
        ),
        ("403 No", |error| matches!(error, Error::PermissionDenied(_)), "forbids"),
        ("404 No", |error| matches!(error, Error::NotFound(_)), "no such address"),
        ("503 No", |error| matches!(error, Error::Refused(_)), "503"),
    ];
    for (answered, is_kind, words) in cases {
        let (address, _) = camera(move |_, _| Some(status(answered)));
        let spec = format!("http://me:secret@{address}/video").parse().unwrap();
        let error = super::open(&spec, &Stop::default()).err().unwrap();
        assert!(is_kind(&error) && error.to_string().contains(words), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open_at(closed, "").err().unwrap();
    assert!(matches!(&error, Error::Refused(_)) && error.to_string().contains("nothing listens"), "{error:?}");
}

#[test]
fn a_stop_ends_the_wait_for_a_silent_camera() {
    let (address, heads) = camera(|_, _| Some(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n".to_vec()));
    let stop = Stop::default();
    let mut source = super::open(&format!("http://{address}/").parse().unwrap(), &stop).unwrap();
    heads.recv_timeout(Duration::from_secs(5)).unwrap();
    let (raised, started) = (stop.clone(), Instant::now());
    let waiter = thread::spawn(move || source.next().unwrap().is_none());
    raised.stop();
    assert!(waiter.join().unwrap() && started.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_damaged_picture_leaves_a_gap() {
    let mut damaged = jpeg(60);
    let frame = damaged.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    // Arithmetic coding, which is not decoded.
    damaged[frame + 1] = 0xC9;
    let body = [jpeg(50), damaged, jpeg(70)].concat();
    let (address, _) = camera(move |_, _| Some(answer("multipart/mixed", &body)));
    let mut source = open_at(address, "").unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        if let Some(Item::Frame(frame)) = source.next().unwrap() {
            numbers.push(frame.sequence);
        }
    }
    assert_eq!(numbers, [0, 2]);
}
