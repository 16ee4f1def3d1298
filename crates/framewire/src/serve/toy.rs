//! A wire of text in one file and a row, as a program that embeds the library would add it: `TOY NAME` is answered with how many
//! watch the stream of that name.

use framewire_proto::wire::{Verdict, Wire, first_line};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Config, HubPort, ServedWire, run};
use crate::{
    clock,
    error::Result,
    hub::{Hub, Policy},
    net::accept::Accepted,
};

const ROW: ServedWire = ServedWire { wire: &TOY, serve: |accepted, port| Box::pin(serve(accepted, port)) };

const TOY: Wire = Wire { name: "toy", summary: "how many watch a stream", recognise, tutorial: None };

/// Ends like HTTP's and RTSP's request lines, so that the first line decides.
fn recognise(prefix: &[u8]) -> Verdict {
    match first_line(prefix) {
        None => Verdict::More,
        Some(line) if line.ends_with(b" TOY/1.0") => Verdict::Yes,
        Some(_) => Verdict::No,
    }
}

async fn serve(accepted: Accepted, port: &HubPort) -> Result<()> {
    let Accepted { socket, prefix: mut request, .. } = accepted;
    while !request.ends_with(b"\n\n") {
        if socket.read(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&request);
    let name = text.split(' ').nth(1).unwrap_or_default();
    let answer = match port.hub().stream(name, clock::now()) {
        Ok(stream) => format!("{} watch {name}\n", stream.viewers),
        Err(refused) => format!("{refused}\n"),
    };
    socket.write([answer.as_bytes()]).await
}

/// What the port answers to a request that comes in these pieces.
async fn answer(port: &TcpListener, pieces: [&str; 3]) -> Vec<u8> {
    let mut stream = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = Vec::new();
    for piece in pieces {
        // What is no wire is closed before it has come whole.
        if stream.write_all(piece.as_bytes()).await.is_err() {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_wire_is_added_by_one_file_and_one_row() {
    let hub = Hub::default();
    let name = "door".parse().unwrap();
    let _publisher = hub.publish(&name, clock::now()).unwrap();
    let _viewer = hub.subscribe(&name, Policy::Newest, false, clock::now()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let config = Config { extra_wires: vec![ROW], ..Config::default() };
    let asked = async {
        // The method is HTTP's, so the first line has to come whole; the second line is the wire's own.
        let toy = answer(&port, ["GET door", " TOY/1.0\n", "\n"]).await;
        let http =
            answer(&port, ["GET /healthz", " HTTP/1.1\r\nHost: localhost\r\n", "Connection: close\r\n\r\n"]).await;
        let neither = answer(&port, ["GET door", " RTSP/1.0\n", "\n"]).await;
        (toy, http, neither)
    };
    let (toy, http, neither) = tokio::select! {
        answers = asked => answers,
        () = run(listener, hub, config) => unreachable!("the port is served for as long as it is polled"),
    };
    assert_eq!(String::from_utf8_lossy(&toy), "1 watch door\n");
    assert!(http.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", http.escape_ascii());
    assert_eq!(neither, b"", "{}", neither.escape_ascii());
}
