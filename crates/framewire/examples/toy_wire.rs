//! A protocol of our own on a hub's port. A client sends `TOY NAME` and a newline, and gets how many viewers that stream has:
//! `printf 'TOY scene\n' | nc 127.0.0.1 7070`

use framewire::{Connection, Error, Hub, Server, Verdict, Wire};

/// The row: which connections speak it, and what serves them.
pub const TOY: Wire = Wire {
    name: "toy",
    summary: "how many viewers a stream has",
    recognise: |first| match (first.starts_with(b"TOY "), b"TOY ".starts_with(first)) {
        (true, _) => Verdict::Yes,
        (false, true) => Verdict::More,
        (false, false) => Verdict::No,
    },
    serve: |connection, hub| Box::pin(serve(connection, hub)),
};

async fn serve(mut connection: Connection, hub: Hub) -> Result<(), Error> {
    let mut request = Vec::new();
    while !request.ends_with(b"\n") && request.len() < 100 {
        if connection.read(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&request);
    let name = text.trim_start_matches("TOY ").trim();
    let answer = match hub.streams().iter().find(|stream| stream.name == name) {
        Some(stream) => format!("{} viewers\n", stream.viewers),
        None => format!("no stream '{name}'\n"),
    };
    connection.write(answer.as_bytes()).await
}

fn main() -> Result<(), Error> {
    let server = Server::builder("127.0.0.1:7070").source("scene", "pattern".parse()?).wire(TOY).start()?;
    println!("printf 'TOY scene\\n' | nc {} {}", server.address().ip(), server.address().port());
    server.wait()
}
