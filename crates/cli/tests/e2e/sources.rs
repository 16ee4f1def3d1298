//! Real sources: files and screens.

use std::fs;

use crate::{
    harness::{Display, Hub, Running, Scratch, deps, eventually, ffmpeg, framewire, output, run, tool},
    picture::Rgb,
};

#[test]
fn a_files_jpegs_pass_through_byte_for_byte() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("own-jpegs"));
    let file = scratch.file("film.avi");
    output(ffmpeg(&[
        "-i",
        &deps("media/bikes.mp4"),
        "-frames:v",
        "25",
        "-an",
        "-c:v",
        "mjpeg",
        "-q:v",
        "4",
        "-vf",
        "scale=320:240,setsar=1",
        &file,
    ]));
    let packets = output(ffmpeg(&["-i", &file, "-c", "copy", "-f", "mjpeg", "-"]));
    assert_eq!(output(framewire(["record", &file, "-", "--format", "mjpeg", "--fps", "0"])), packets);
    // Through a hub, too.
    let _sender = Running::start(framewire(["send", &file, &hub.fw("film"), "--loop"]));
    hub.wait_until("film", "has a frame", |info| info["published"].as_u64() > Some(0));
    let (_, snapshot) = hub.get("/streams/film/snapshot.jpg");
    assert!(packets.windows(snapshot.len()).any(|packet| packet == snapshot));
}

#[test]
fn the_screen_is_sent_in_its_colours() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("screen"));
    let (screen, truth) = (Display::start("320x240"), Rgb::quadrants(320, 240));
    let picture = scratch.file("picture.ppm");
    fs::write(&picture, [b"P6 320 240 255\n".as_slice(), &truth.pixels].concat()).unwrap();
    let mut paint = screen.on(tool("display"));
    paint.args(["-window", "root", &picture]);
    // Its exit status is 1 even on success; the screen is checked below.
    run(paint);
    let _sender = Running::start(screen.on(framewire(["send", "screen", &hub.fw("screen")])));
    hub.wait_until("screen", "has a frame", |info| info["published"].as_u64() > Some(0));
    let psnr = eventually("a picture of the screen", || {
        let picture = Rgb::of_jpeg(&hub.get("/streams/screen/snapshot.jpg").1);
        Some(picture.psnr(&truth)).filter(|psnr| *psnr > 25.0)
    });
    assert!(psnr > 30.0, "{psnr:.1} dB");
}
