//! Ctrl-C and SIGTERM end every command at once, whatever it waits for.

use std::{
    io::Write,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use framewire_proto::wire::native::{self, Message};

use crate::harness::{Hub, Running, Scratch, framewire};

/// Half a second is promised; a busy machine may need as much again to start the end.
const LIMIT: Duration = Duration::from_secs(1);

/// A program that accepts connections, says this much and reads nothing; its port.
fn mute(greeting: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            stream.write_all(&greeting).unwrap();
            held.push(stream);
        }
    });
    port
}

/// What a hub answers that grants every wish for the stream `x`.
fn granted() -> Vec<u8> {
    let mut bytes = native::PREAMBLE.to_vec();
    Message::Accepted { name: "x".parse().unwrap() }.encode(&mut bytes);
    Message::Demand { viewers: 1 }.encode(&mut bytes);
    bytes
}

#[test]
fn a_signal_ends_a_command_while_it_waits_for_others() {
    let (silent, blocked, scratch) = (mute(Vec::new()), mute(granted()), Scratch::new("interrupts"));
    let (file, program) = (scratch.file("o.mkv"), scratch.file("o.mp4"));
    let hub = Hub::start(&[]);
    let fw = |port: u16| format!("fw://127.0.0.1:{port}/x");
    for (signal, arguments, begun) in [
        ("INT", &["-v", "send", "pattern#size=1920x1080#codec=jpeg#fps=60", &fw(blocked)][..], "publishing"),
        ("TERM", &["-v", "send", "pattern#size=1280x720", &format!("lhh://127.0.0.1:{silent}")], "connected"),
        ("INT", &["-v", "send", "pattern", &format!("stopwait://127.0.0.1:{silent}")], "connected"),
        ("TERM", &["-v", "send", "pattern", &fw(silent)], "pattern: "),
        ("INT", &["-v", "record", &hub.fw("none"), &file, "--wait"], "none"),
        ("TERM", &["-v", "record", "pattern#codec=h264", &program], "pattern: "),
        ("INT", &["-v", "serve", "--listen", "127.0.0.1:0"], "listens"),
    ] {
        let mut running = Running::start(framewire(arguments));
        running.wait_for(begun);
        ends_at_once(running, signal, arguments);
    }
}

fn ends_at_once(running: Running, signal: &str, arguments: &[&str]) {
    let signalled = Instant::now();
    running.signal(signal);
    let (_, printed) = running.ended();
    let took = signalled.elapsed();
    assert!(took < LIMIT, "{arguments:?} ended {took:?} after SIG{signal}: {printed}");
}

#[test]
fn a_signal_ends_a_command_whose_reader_does_not_read() {
    let (running, _stdin, _unread) =
        Running::start_piped(framewire(["-v", "record", "pattern#size=1280x720", "-", "--format", "bgr24"]));
    let mut running = running;
    running.wait_for("pattern: ");
    ends_at_once(running, "INT", &["record", "-"]);
}

#[test]
fn a_signal_ends_a_command_while_it_dials_and_asks() {
    let silent = mute(Vec::new());
    for arguments in [
        &["list", &format!("127.0.0.1:{silent}")][..],
        &["doctor", &format!("fw://127.0.0.1:{silent}/x")],
        &["doctor", &format!("http://127.0.0.1:{silent}/x")],
        &["record", &format!("rtsp://127.0.0.1:{silent}/x"), "never.mkv"],
        &["view", &format!("fw://127.0.0.1:{silent}/x")],
    ] {
        let running = Running::start(framewire(arguments));
        // Until it is connected, and so past the set-up of its signals, its parent may be faster than the program.
        let connected = format!("/proc/{}/net/tcp", running.id());
        crate::harness::eventually("a connection", || {
            let table = std::fs::read_to_string(&connected).unwrap();
            // Established connections to the port, in hexadecimal.
            table.lines().any(|line| line.contains(&format!(":{silent:04X} 01 "))).then_some(())
        });
        ends_at_once(running, "INT", arguments);
    }
}
