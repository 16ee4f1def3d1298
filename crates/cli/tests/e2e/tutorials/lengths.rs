//! The many scripts that push a length and then a picture.

use std::{io::Write as _, net::TcpStream};

use super::{
    ends::{At, By, Camera, Display, LENGTH, LHH_32, NUMPY_1, NUMPY_2, Wire},
    new_stream, on,
    scene::{ALIKE, SAME, Scene},
    sees,
};
use crate::harness::{Hub, Running, framewire};

/// Pictures that are enough to be sure of a layout.
const ENOUGH: usize = 60;

/// Arguments of the camera's script, what is recognised, and how close its pictures are in dB.
type Layout = (&'static [&'static str], &'static str, f64);

/// The layouts of the scripts that are copied most, and of some that are not.
const LAYOUTS: [Layout; 14] = [
    (&[">L", "column", "0"], "4-byte big-endian length, then a pickled JPEG", ALIKE),
    (&["L", "array", "4"], "8-byte little-endian length, then a pickled array", SAME),
    (&["Q", "array", "5"], "8-byte little-endian length, then a pickled array", SAME),
    (&["!I", "array", "0"], "4-byte big-endian length, then a pickled array", SAME),
    (&["<L", "jpeg"], "4-byte little-endian length, then a JPEG", ALIKE),
    (&["!I", "jpeg"], "4-byte big-endian length, then a JPEG", ALIKE),
    (&[">q", "flat", "2"], "8-byte big-endian length, then a pickled JPEG", ALIKE),
    (&["i", "bytes", "1"], "4-byte little-endian length, then a pickled JPEG", ALIKE),
    (&["ljust16", "jpeg"], "length in 16 characters of text, then a JPEG", ALIKE),
    (&["rjust16", "base64"], "length in 16 characters of text, then a JPEG in base64", ALIKE),
    (&["zfill10", "lines"], "length in 10 characters of text, then a JPEG in base64", ALIKE),
    (&["ljust16", "bytes", "3"], "length in 16 characters of text, then a pickled JPEG", ALIKE),
    (&["netstring", "jpeg"], "netstring with a JPEG", ALIKE),
    (&["none", "jpeg"], "JPEGs one after another without a length", ALIKE),
];

/// The wires of these layouts, every second in the environment of NumPy 1.
fn wires() -> Vec<Wire> {
    let pythons = [NUMPY_2, NUMPY_1].into_iter().cycle();
    LAYOUTS.iter().zip(pythons).map(|((camera, ..), python)| LENGTH.in_python(python).with_camera(camera)).collect()
}

fn layout(wire: &Wire) -> Layout {
    *LAYOUTS.iter().find(|(camera, ..)| wire.has_camera(camera)).expect("a layout")
}

#[test]
fn cameras_of_every_layout_arrive_on_a_port_of_their_own() {
    for some in wires().chunks(5) {
        on(some, |wire| {
            let (_camera, mut display) = wire.meet(By::Script, By::Framewire);
            let (_, words, least) = layout(wire);
            sees(&mut display, Scene::Day, ENOUGH, least);
            display.running.has_printed(&format!("recognised: {words}"));
        });
    }
}

#[test]
fn cameras_of_every_layout_arrive_at_a_hub() {
    let mut hub = Hub::start(&[]);
    for wire in wires() {
        let camera = Camera::script(&wire, Scene::Night, At::Connect(hub.address), 30);
        let (_, words, least) = layout(&wire);
        hub.running.wait_for(&format!("recognised: {words}"));
        let name = new_stream(&mut hub.running, &wire);
        let mut display = Display::of(&hub.fw(&name), wire.size);
        sees(&mut display, Scene::Night, 5, least.min(ALIKE));
        camera.running.signal("KILL");
    }
}

#[test]
fn a_length_of_zero_ends_the_stream_before_the_connection_ends() {
    let mut hub = Hub::start(&[]);
    let jpeg = crate::harness::jpeg(64);
    let mut camera = TcpStream::connect(hub.address).expect("the hub's port");
    let picture = [&(jpeg.len() as u32).to_be_bytes()[..], &jpeg].concat();
    camera.write_all(&picture).expect("a picture");
    hub.running.wait_for("sends pictures");
    camera.write_all(&[0; 4]).expect("the end");
    hub.running.wait_for("has ended after 1 pictures");
    camera.write_all(&picture).expect("another camera, maybe");
    hub.running.wait_for("sends pictures");
}

#[test]
fn a_script_that_reads_a_length_gets_jpegs() {
    let eight = LENGTH.with_display(&[">Q"], "?long=8");
    on(&[LENGTH, eight], |wire| {
        let (_camera, mut display) = wire.meet(By::Framewire, By::Script);
        sees(&mut display, Scene::Day, ENOUGH, ALIKE);
    });
}

#[test]
fn what_is_no_picture_is_refused_with_the_reason_and_the_port_goes_on() {
    let address = "127.0.0.1:0";
    let mut display = Running::start(framewire(["record", &LENGTH.url(address), "-", "--format", "mjpeg"]));
    let address = super::listening(&mut display, "length: listens on ");
    for (bytes, words) in [
        (&b"\0\0\x10\0\x89PNG\r\n\x1a\n"[..], "this port takes length, which does not begin with"),
        (
            b"\0\0\0\x2a\x80\x03cos\nsystem\nX\x02\0\0\0id\x85R.0123456789012345678901234567",
            "the global 'system' of 'os' is no part",
        ),
        (b"\x10\0\0\0\x80\x02\xe0\x01\xff\xd8\xff", "begins lhh"),
    ] {
        let mut camera = TcpStream::connect(address).expect("the port");
        camera.write_all(bytes).expect("first bytes");
        display.wait_for(words);
    }
    let _camera = Camera::start(By::Script, &LENGTH, Scene::Day, At::Connect(address));
    display.wait_for("recognised: 4-byte big-endian length, then a pickled JPEG");
    let mut lhh = Running::start(framewire(["record", &LHH_32.url("127.0.0.1:0"), "-", "--format", "mjpeg"]));
    let address = super::listening(&mut lhh, "lhh: listens on ");
    let _camera = Camera::start(By::Script, &LENGTH, Scene::Day, At::Connect(address));
    lhh.wait_for("begins length");
}
