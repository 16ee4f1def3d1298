//! The rules of ARCHITECTURE.md, held against the parsed sources.

mod parse;
mod resolve;
mod rules;

use std::path::Path;

use parse::Source;
use resolve::Crate;
use rules::{Ban, Room, arrows, bans, circles, long_files, long_functions, unsafe_code};

/// The rooms of the library, and which others each may name. Small things that all may name are rooms in [`LEAVES`].
const ROOMS: &[Room] = &[
    room("api", &["serve", "source", "sink", "doctor", "transcode", "pace", "hub", "media", "net"]),
    room("internals", &["source", "sink", "hub", "media", "net"]),
    room("serve", &["source", "hub", "transcode", "pace", "media", "net"]),
    room("source", &["hub", "transcode", "media", "net"]),
    room("sink", &["hub", "transcode", "pace", "media", "net"]),
    // For tests only.
    room("simulation", &["serve", "sink", "hub"]),
    room("doctor", &["hub"]),
    room("transcode", &["hub", "media"]),
    room("pace", &["net"]),
    room("hub", &[]),
    room("media", &[]),
    room("net", &[]),
    room("error", &["hub"]),
    room("bad_frames", &[]),
    room("clock", &[]),
    room("stop", &[]),
    room("latency", &[]),
    room("secret", &[]),
];

/// Rooms that all may name.
const LEAVES: &[&str] = &["bad_frames", "clock", "stop", "latency", "error", "secret"];

/// What the library's rooms may not name.
const LIBRARY: &[Ban] = &[
    Ban {
        room: "hub",
        paths: &["std::net", "tokio::net", "socket2", "rustix", "libc"],
        because: "the hub has no sockets",
    },
    Ban { room: "hub", paths: &["std::fs", "tokio::fs"], because: "the hub reads and writes no files" },
    Ban { room: "hub", paths: CLOCKS, because: "the hub is given the time" },
    Ban { room: "hub", paths: &["crate::clock"], because: "the hub is given the time" },
];

/// What reads the time or waits for it.
const CLOCKS: &[&str] = &["std::time::Instant", "std::time::SystemTime", "std::thread::sleep", "tokio::time"];

/// What the protocol may not name.
const PROTOCOL: &[Ban] = &[
    Ban { room: "", paths: &["std::net", "std::fs", "socket2", "rustix", "libc"], because: "the protocol does no I/O" },
    Ban { room: "", paths: &["std::time"], because: "the protocol is given the time" },
    Ban { room: "", paths: &["tokio", "async"], because: "the protocol is driven by its caller" },
    Ban { room: "", paths: &["unsafe"], because: "the protocol reads what strangers send" },
];

/// What programs on top of the library may not name.
const PROGRAMS: &[Ban] =
    &[Ban { room: "", paths: &["framewire::internals"], because: "programs use the public API, as others' do" }];

/// The files of the library that may hold unsafe code: thin wrappers over C. Each allows it itself, with a reason.
const UNSAFE: &[&str] = &[
    "media/av.rs",
    "media/deinterlace.rs",
    "media/input.rs",
    "media/input/packet.rs",
    "media/input/watch.rs",
    "media/jpeg/turbo.rs",
    "media/mux/output.rs",
    "media/scale.rs",
    "media/v4l2.rs",
    "net/tcp_info.rs",
    "sink/window/screen/gpu.rs",
];

/// The same for the Python package.
const UNSAFE_PYTHON: &[&str] = &["memory.rs"];

/// Lines of code that a file holds at most, without its tests.
const LONG_FILE: usize = 600;
/// From this many lines on a function is long.
const LONG_FUNCTION: usize = 45;
/// How many of 100 functions may be long.
const LONG_FUNCTIONS: usize = 10;

const fn room(name: &'static str, may_name: &'static [&'static str]) -> Room {
    Room { name, may_name }
}

/// The sources of a crate, by its folder from this one's on.
fn sources(folder: &str) -> Crate {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
}

fn library() -> Crate {
    sources("../framewire/src")
}

fn protocol() -> Crate {
    sources("../proto/src")
}

fn python() -> Crate {
    sources("../python/src")
}

/// The programs on top of the library.
fn programs() -> [Crate; 3] {
    [sources("src"), sources("../../bench/rust/src"), python()]
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_name_only_what_their_arrows_allow() {
    assert_none(&arrows(&library(), ROOMS, LEAVES));
}

#[test]
fn what_is_banned_from_a_place_is_not_named_there() {
    let programs = programs().iter().flat_map(|program| bans(program, PROGRAMS)).collect();
    assert_none(&[bans(&library(), LIBRARY), bans(&protocol(), PROTOCOL), programs].concat());
}

#[test]
fn no_modules_name_each_other_in_a_circle() {
    let programs = programs().iter().flat_map(circles).collect();
    assert_none(&[circles(&library()), circles(&protocol()), programs].concat());
}

#[test]
fn unsafe_code_is_where_the_table_says() {
    let [cli, bench, python] = programs();
    let others = [protocol(), cli, bench].iter().flat_map(|of| unsafe_code(of, &[])).collect();
    assert_none(&[unsafe_code(&library(), UNSAFE), unsafe_code(&python, UNSAFE_PYTHON), others].concat());
}

#[test]
fn files_and_functions_are_short() {
    for of in [library(), protocol()].iter().chain(&programs()) {
        assert_none(&long_files(of, LONG_FILE));
        assert_none(&long_functions(of, LONG_FUNCTION, LONG_FUNCTIONS));
    }
}

/// A library of these files.
fn made_up(files: &[(&str, &str)]) -> Crate {
    Crate::of(files.iter().map(|(file, text)| Source::parse(file, text)).collect())
}

/// What is wrong with the arrows of a library whose `hub` is this, beside a `sink` and a leaf, `clock`.
fn wrong_in_hub(hub: &str) -> Vec<String> {
    let root = "pub mod clock; pub mod hub; mod sink; pub use clock::Time; pub use sink::*;";
    let files = [("lib.rs", root), ("clock.rs", ""), ("sink.rs", "pub struct Window;"), ("hub/mod.rs", hub)];
    arrows(&made_up(&files), &[room("hub", &[]), room("sink", &["hub"]), room("clock", &[])], &["clock"])
}

#[test]
fn arrows_are_found_wherever_a_path_may_stand() {
    for hub in [
        "use crate::sink;",
        "use crate::{clock, sink::Window};",
        "use crate::{clock::{self}, sink as elsewhere};",
        "use super::sink::Window;",
        "use crate::Window;",
        "use crate as all; type Shown = all::sink::Window;",
        "fn open() { use crate::sink::Window; }",
        "fn open() { let window = crate::sink::Window; }",
        "fn open(window: &mut Vec<crate::sink::Window>) {}",
        "impl From<crate::sink::Window> for Hub {}",
        "fn open() { println!(\"{:?}\", crate::sink::Window); }",
        "fn open() { define! { use crate::{clock, sink::{Window}}; } }",
        "macro_rules! open { () => { $crate::sink::Window }; }",
        "#[derive(Debug)] #[serde(with = \"crate::sink\")] struct Hub;",
        "mod deep { mod deeper { use super::super::super::sink; } }",
        "#[cfg(test)] mod tests { use crate::sink::Window; }",
        "use crate::sink::*;",
        "use crate::*;",
        "mod deep { use super::*; type Shown = sink::Window; } use crate::sink;",
    ] {
        let wrong = wrong_in_hub(hub);
        assert!(wrong.len() == 1 && wrong[0].starts_with("hub/mod.rs:1: "), "{hub}: {wrong:?}");
    }
    for hub in [
        "use crate::clock; use crate::hub::mailbox; mod mailbox {}",
        "use crate::Time; use super::clock; use super::Time as Moment;",
        "mod deep { use super::*; type Time = clock::Time; } use crate::clock;",
        "// crate::sink\n/// [`crate::sink`]\nfn open() { let text = \"crate::sink\"; }",
        "mod sink { pub struct Dish; } use sink::Dish; use self::sink as basin;",
        "pub(in crate::hub) struct Hub;",
    ] {
        assert_eq!(wrong_in_hub(hub), [""; 0], "{hub}");
    }
}

#[test]
fn rooms_and_rows_that_are_without_the_other_are_found() {
    let of = made_up(&[("lib.rs", "mod attic;"), ("attic.rs", "use crate::attic;")]);
    let wrong = arrows(&of, &[room("cellar", &[])], &[]);
    assert_eq!(wrong, ["attic.rs: attic has no row in the table of rooms", "cellar: in the table, and not there"]);
}

#[test]
fn banned_paths_are_found_however_they_are_spelled() {
    let wrong = |hub: &str| bans(&made_up(&[("lib.rs", "mod hub;"), ("clock.rs", ""), ("hub.rs", hub)]), LIBRARY);
    for hub in [
        "use std::net::TcpStream;",
        "use std::{fmt, net};",
        "use std::{fmt, net::{self, TcpStream}};",
        "use ::std::net::TcpStream;",
        "use core::net::IpAddr;",
        "use std::net::*;",
        "use std::*;",
        "use std as s; type Peer = s::net::IpAddr;",
        "extern crate std as s; type Peer = s::net::IpAddr;",
        "use std::time; fn now() -> u64 { time::Instant::now() }",
        "use std::time::{Duration, SystemTime as Calendar};",
        "fn read() { let _ = std::fs::read(\"x\"); }",
        "fn read() { log!(std::fs::read(\"x\")); }",
        "use std::net; mod inner { use super::*; fn peer(_: net::IpAddr) {} }",
        "use tokio::{sync, time::sleep};",
        "use crate::clock;",
    ] {
        let wrong = wrong(hub);
        assert!(!wrong.is_empty() && wrong.iter().all(|wrong| wrong.starts_with("hub.rs:1: ")), "{hub}: {wrong:?}");
    }
    for hub in ["use std::time::Duration; use tokio::sync;", "mod net {} use net::x;", "// std::net\nfn net() {}"] {
        assert_eq!(wrong(hub), [""; 0], "{hub}");
    }
    for proto in ["use std::time::Duration;", "async fn push() {}", "fn f() { run(async { 1 }); }", "unsafe fn f() {}"]
    {
        assert_eq!(bans(&made_up(&[("lib.rs", proto)]), PROTOCOL).len(), 1, "{proto}");
    }
    for program in ["use framewire::internals::hub;", "use framewire::{internals, Hub};", "use framewire::*;"] {
        assert_eq!(bans(&made_up(&[("main.rs", program)]), PROGRAMS).len(), 1, "{program}");
    }
}

#[test]
fn circles_are_found_and_named() {
    let files = |one: &'static str, three: &'static str| {
        circles(&made_up(&[
            ("lib.rs", "mod hub;"),
            (
                "hub/mod.rs",
                "mod one; mod two; mod three; pub use one::One; use three::Three; pub const MOST: usize = 9;",
            ),
            ("hub/one.rs", one),
            ("hub/two.rs", "use super::three::Three; fn two(most: [u8; super::MOST]) {}"),
            ("hub/three.rs", three),
        ]))
    };
    let one = "pub struct One; use crate::hub::two;";
    let told = "a circle in hub: one names two (hub/one.rs:1), two names three (hub/two.rs:1), three names one (hub/three.rs:1)";
    // The second has it from its parent, which has it from there.
    for three in ["use super::one::One;", "use super::One;", "type Two = crate::hub::One;"] {
        assert_eq!(files(one, three), [told], "{three}");
    }
    assert_eq!(files(one, "use super::MOST; #[cfg(test)] mod tests { use super::super::one::One; }"), [""; 0]);
    assert_eq!(files("mod deep { use super::One; } pub struct One; use deep::x;", ""), [""; 0]);
}

#[test]
fn unsafe_code_without_a_row_and_rows_without_unsafe_code_are_found() {
    let wrong = |text: &str, table: &[&str]| unsafe_code(&made_up(&[("lib.rs", "mod c;"), ("c.rs", text)]), table);
    let allowed = "#![allow(unsafe_code, reason = \"a wrapper\")]";
    let good = &format!("{allowed} fn f() {{ unsafe {{ g() }} }}");
    assert_eq!(wrong(good, &["c.rs"]), [""; 0]);
    assert_eq!(wrong(good, &[]), ["c.rs:1: unsafe code, and not in the table"]);
    assert_eq!(wrong("fn f() { call!(unsafe { g() }) }", &[]), ["c.rs:1: unsafe code, and not in the table"]);
    assert_eq!(wrong(allowed, &["c.rs"]), ["c.rs: in the table, without unsafe code"]);
    assert_eq!(wrong("unsafe fn f() {}", &["c.rs"]), ["c.rs: in the table, without an exception"]);
    let bare = good.replace(", reason = \"a wrapper\"", "");
    assert_eq!(wrong(&bare, &["c.rs"]), ["c.rs:1: an exception without a reason"]);
    assert_eq!(wrong(good, &["c.rs", "gone.rs"]), ["gone.rs: in the table, and not there"]);
}

#[test]
fn long_files_and_functions_are_found() {
    let of = |text: &str| made_up(&[("lib.rs", text)]);
    let lines = "let x = 1;\n".repeat(44);
    let tests = format!("#[cfg(test)]\nmod tests {{\nfn long() {{\n{lines}}}\n}}\n");
    let short = format!("fn short() {{\n{}}}\n// a comment\n\n", &lines[..lines.len() / 44 * 42]);
    assert_eq!(long_files(&of(&format!("{short}{tests}")), 44), [""; 0]);
    assert_eq!(
        long_files(&of(&format!("{short}const X: u8 = 1;\n{tests}")), 44),
        ["lib.rs: 45 lines of code, at most 44"]
    );
    assert_eq!(long_functions(&of(&format!("{short}{tests}")), 45, 0), [""; 0]);
    let long = format!("struct S;\nimpl S {{\n/// Words.\npub fn long(&self) {{\n{lines}}}\n}}\n");
    assert_eq!(long_functions(&of(&format!("{short}{long}")), 45, 49), ["lib.rs:50: long has 46 lines"]);
    assert_eq!(long_functions(&of(&format!("{short}{long}")), 45, 50), [""; 0]);
}
