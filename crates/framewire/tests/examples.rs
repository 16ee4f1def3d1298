//! The examples, run against a hub.
#![allow(unreachable_pub, reason = "what an example shows is public in it")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use framewire::{Error, Hub, Image, PixelFormat, Recorder, Sender, Server, Stop, Viewer};

#[expect(dead_code, reason = "its main is not called here")]
#[path = "../examples/frame_age.rs"]
mod frame_age;
#[expect(dead_code, reason = "its main is not called here")]
#[path = "../examples/toy_wire.rs"]
mod toy_wire;

fn server_with_scene() -> Server {
    let scene = "pattern#size=320x240".parse().unwrap();
    Server::builder("127.0.0.1:0").source("scene", scene).wire(toy_wire::TOY).start().unwrap()
}

/// What the hub's port answers to these bytes.
fn answer(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn frame_age_prints_the_age_of_a_hubs_frames() {
    let server = server_with_scene();
    frame_age::print_ages(&format!("fw://{}/scene", server.address()), 3).unwrap();
    let missing = frame_age::print_ages(&format!("fw://{}/nothing", server.address()), 1);
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
}

#[test]
fn toy_wire_is_one_file_and_one_row() {
    let server = server_with_scene();
    assert_eq!(answer(&server, "TOY scene\n"), "0 viewers\n");
    assert_eq!(answer(&server, "TOY yard\n"), "no stream 'yard'\n");
    let health = answer(&server, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(health.starts_with("HTTP/1.0 200"), "{health}");
}

#[test]
fn pictures_of_a_program_reach_a_viewer_with_their_age() {
    let server = Server::start("127.0.0.1:0").unwrap();
    let address = format!("fw://{}/made", server.address());
    let mut sender = Sender::open(&address).unwrap();
    let picture = |gray: u8| Image::new(PixelFormat::Gray, 64, 48, vec![gray; 64 * 48]).unwrap();
    sender.send(picture(10)).unwrap();
    let mut viewer = Viewer::builder(address.parse().unwrap()).wait().open().unwrap();
    let frame = loop {
        sender.send(picture(200)).unwrap();
        let frame = viewer.next().unwrap().expect("the stream goes on");
        if frame.image(PixelFormat::Gray).unwrap().data()[0] > 100 {
            break frame;
        }
    };
    assert_eq!((frame.width(), frame.height(), frame.codec()), (64, 48, "jpeg"));
    assert!(frame.age() < Duration::from_secs(5), "{:?}", frame.age());
    assert!(frame.bgr().unwrap().data().iter().all(|value| value.abs_diff(200) < 4));
    sender.finish().unwrap();
}

#[test]
fn a_viewer_without_frames_times_out_and_a_stop_ends_it() {
    let hub = Hub::new();
    let stop = Stop::default();
    let _publisher = hub.publish("silent").unwrap();
    let mut viewer = hub.viewer("silent").timeout(Duration::from_millis(20)).stop(&stop).open().unwrap();
    assert!(matches!(viewer.next(), Err(Error::Timeout(_))));
    stop.stop();
    assert!(viewer.next().unwrap().is_none());
}

#[tokio::test]
async fn async_programs_watch_too() {
    let mut viewer = Viewer::open("pattern#size=320x240").unwrap();
    let first = viewer.next_frame().await.unwrap().expect("a frame");
    let second = viewer.next_frame().await.unwrap().expect("another");
    assert!(second.sequence() > first.sequence());
    assert_eq!(second.missed(), second.sequence() - first.sequence() - 1);
    assert_eq!(second.bgr().unwrap().data().len(), 320 * 240 * 3);
}

#[test]
fn errors_say_their_kind_and_whose_fault_they_are() {
    use framewire::Fault;
    let refused = Viewer::open("fw://127.0.0.1:1/door").err().expect("nobody listens there");
    assert!(matches!(refused, Error::Refused(_)) && refused.fault() == Fault::Circumstances, "{refused:?}");
    assert!(refused.to_string().contains("framewire serve"), "{refused}");
    for (from, kind) in [("fw://127.0.0.1:7070", "InvalidInput"), ("/nowhere/film.mp4", "NotFound")] {
        let error = Viewer::open(from).err().expect(from);
        assert!(format!("{error:?}").starts_with(kind) && error.fault() == Fault::Caller, "{error:?}");
    }
}

#[tokio::test]
async fn a_server_starts_inside_of_an_async_program_and_a_hub_is_served_twice() {
    let hub = Hub::new();
    hub.add_source("scene", "pattern#size=320x240#codec=h264".parse().unwrap()).unwrap();
    for _ in 0..2 {
        let server = Server::builder("127.0.0.1:0").hub(&hub).start().unwrap();
        // JPEGs of an H.264 stream are transcoded.
        let picture = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            stream.write_all(b"GET /streams/scene/snapshot.jpg HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        let picture = picture.await.unwrap();
        assert!(picture.starts_with(b"HTTP/1.0 200"), "{}", picture[..picture.len().min(200)].escape_ascii());
    }
}

#[test]
fn a_sender_that_reaches_nobody_finishes_with_a_timeout() {
    let mut sender = Sender::builder("fw://127.0.0.1:1/door").wait().open().unwrap();
    sender.send(Image::new(PixelFormat::Gray, 64, 48, vec![0; 64 * 48]).unwrap()).unwrap();
    assert!(matches!(sender.finish(), Err(Error::Timeout(_))));
}

#[test]
fn every_viewer_of_a_hubs_h264_source_gets_pictures() {
    let hub = Hub::new();
    hub.add_source("scene", "pattern#size=320x240#codec=h264".parse().unwrap()).unwrap();
    let mut first = hub.view("scene").unwrap();
    // The keyframe that the first viewer began with is so long past that the frames since are not kept.
    let later = first.frames().find(|frame| frame.as_ref().unwrap().sequence() >= 60);
    assert_eq!(later.expect("the stream goes on").unwrap().codec(), "h264");
    let mut second = hub.view("scene").unwrap();
    assert!(second.next().unwrap().expect("a frame").bgr().is_ok());
}

#[test]
fn a_recording_replaces_no_file_unasked_and_never_its_own_source() {
    let folder = std::env::temp_dir().join(format!("framewire-overwrite-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (film, copy) = (folder.join("film.mkv"), folder.join("copy.mkv"));
    let record =
        |from: &str, to: &Path| Recorder::builder(from.parse().unwrap(), to).duration(Duration::from_millis(300));
    record("pattern#size=320x240", &film).start().unwrap().wait().unwrap();
    std::fs::write(&copy, "precious").unwrap();
    let from = film.to_str().unwrap();
    let refused = [
        (record(from, &copy).start().err(), "already"),
        (record(from, &film).overwrite(true).start().err(), "what would be recorded"),
        (record(from, &folder.join("film.txt")).start().err(), ".mkv, .mp4 or .avi"),
        (record(from, &folder.join("no/film.mkv")).start().err(), "no folder"),
    ];
    for (error, text) in refused {
        assert!(error.as_ref().is_some_and(|error| error.to_string().contains(text)), "{text}: {error:?}");
    }
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    record(from, &copy).overwrite(true).start().unwrap().wait().unwrap();
    assert!(std::fs::metadata(&copy).unwrap().len() > 1000);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn settings_out_of_bounds_are_refused_where_they_are_used() {
    let hub = Hub::new();
    let refused = [
        hub.viewer("door").size(9000, 1).open().err(),
        Viewer::builder("pattern".parse().unwrap()).max_age(Duration::ZERO).open().err(),
        Sender::builder("fw://127.0.0.1:1/door").bitrate(1).open().err(),
        Sender::builder("fw://127.0.0.1:1/door").size(0, 0).open().err(),
        Server::builder("127.0.0.1:0").wire(toy_wire::TOY).wire(toy_wire::TOY).start().err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::InvalidInput(_))), "{error:?}");
    }
}

#[test]
fn a_server_that_does_not_start_leaves_no_source_in_its_hub() {
    let hub = Hub::new();
    let pattern = || "pattern#size=320x240".parse().unwrap();
    let builder = Server::builder("127.0.0.1:0").hub(&hub).source("scene", pattern());
    assert!(builder.source("no name", pattern()).start().is_err());
    // Its feed has ended once the name is free again.
    let started = std::time::Instant::now();
    while let Err(error) = hub.publish("scene") {
        assert!(started.elapsed() < Duration::from_secs(10), "{error}");
        std::thread::yield_now();
    }
}

#[test]
fn a_sender_that_has_ended_waits_for_nothing() {
    let stop = Stop::default();
    let mut sender = Sender::builder("fw://127.0.0.1:1/door").wait().stop(&stop).open().unwrap();
    let picture = || Image::new(PixelFormat::Gray, 64, 48, vec![0; 64 * 48]).unwrap();
    sender.send(picture()).unwrap();
    let raises = std::thread::spawn(move || stop.stop());
    assert!(!sender.wait_for_room(Duration::MAX));
    raises.join().unwrap();
    assert!(matches!(sender.wait(), Err(Error::InvalidInput(_))), "only the program ends its own pictures");
}

#[test]
fn a_viewer_stays_at_the_end_of_its_stream() {
    let hub = Hub::new();
    let mut publisher = hub.publish("door").unwrap();
    let picture = || Image::new(PixelFormat::Gray, 64, 48, vec![0; 64 * 48]).unwrap();
    let mut viewer = hub.viewer("door").timeout(Duration::MAX).open().unwrap();
    publisher.send(picture()).unwrap();
    assert!(viewer.next().unwrap().is_some());
    publisher.finish();
    assert!(viewer.next().unwrap().is_none());
    hub.publish("door").unwrap().send(picture()).unwrap();
    assert!(viewer.next().unwrap().is_none());
}
