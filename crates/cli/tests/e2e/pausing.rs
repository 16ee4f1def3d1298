//! Programs that read MJPEG and pause, because a model loads or a breakpoint holds them, and such whose machine is gone.

use std::{
    io::{BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    cable::{Cable, HUB},
    harness::{Hub, PATIENCE, Running, framewire},
    http::head,
    namespaces::this_test,
    slow_links::{Part, part},
};

/// Longer than anybody is waited for who takes nothing and can be asked for nothing.
const PAUSE: u64 = 13;
/// An older picture is none of the present.
const OLD: Duration = Duration::from_millis(1_500);

fn watch(hub: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(hub).expect("the hub");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    write!(stream, "GET /streams/scene/mjpeg HTTP/1.1\r\nHost: {hub}\r\n\r\n").expect("a request");
    let mut reader = BufReader::new(stream);
    head(&mut reader);
    reader
}

fn read(reader: &mut BufReader<TcpStream>, pictures: usize) -> Vec<Part> {
    (0..pictures).map(|_| part(reader)).collect()
}

#[test]
fn a_reader_that_pauses_finds_few_pictures_and_then_the_present() {
    let hub = Hub::start(&["--source", "scene=pattern#size=640x480#fps=10"]);
    let mut reader = watch(&hub.address.to_string());
    read(&mut reader, 20);
    // Somebody else watches meanwhile, so that the stream goes on.
    let count = |info: &serde_json::Value| info["published"].as_u64().expect("a count");
    let from = count(&hub.stream("scene").expect("the stream"));
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(PAUSE) {
        let seen = count(&hub.stream("scene").expect("the stream"));
        hub.wait_until("scene", "goes on", |info| count(info) > seen);
    }
    assert!(count(&hub.stream("scene").expect("the stream")) > from + 10 * (PAUSE - 3));
    let parts = read(&mut reader, 20);
    let old = parts.iter().take_while(|part| part.age > OLD).count();
    // The window of a young connection still widens, which hides one.
    assert!(old <= 3 && parts[old..].iter().all(|part| part.age < OLD), "{parts:?}");
}

#[test]
fn a_reader_whose_machine_is_gone_is_closed_whether_it_reads_or_pauses() {
    let Some(cable) = Cable::lay(this_test!()) else { return };
    let source = ["--source", "scene=pattern#size=640x480#fps=10"];
    let flags = [&["-v", "serve", "--listen", HUB, "--insecure"][..], &source].concat();
    let mut hub = Running::start(cable.at_near(&framewire(flags)));
    hub.wait_for("the hub listens on");
    let watched = cable.run_at_far(|| {
        let mut readers = [watch(HUB), watch(HUB)];
        readers.iter_mut().for_each(|reader| _ = read(reader, 1));
        readers
    });
    let [mut reading, _pausing] = watched.join().expect("readers");
    let seen = cable.stream("scene").expect("the stream")["delivered"].as_u64().expect("a count");
    // The one has read its last picture; the other has two unread by then.
    while cable.stream("scene").expect("the stream")["delivered"].as_u64() < Some(seen + 10) {
        read(&mut reading, 1);
    }
    cable.plug("down");
    let gone = Instant::now();
    for _ in 0..2 {
        hub.wait_for("the other end's machine has answered nothing for 10 s");
    }
    assert!(gone.elapsed() < Duration::from_secs(16), "after {:?}", gone.elapsed());
}
