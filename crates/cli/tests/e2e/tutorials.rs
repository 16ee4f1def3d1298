//! The tutorials' own scripts at one end and framewire at the other.

mod ends;
mod lengths;
mod scene;

use std::{collections::HashMap, io::Read, iter, net::TcpListener, path::Path, rc::Rc, thread};

use ends::{
    At, BASE64, By, Cable, Camera, Display, LHH_32, LHH_64, NUMPY_1, NUMPY_2, PICKLE, PICKLE_NUMPY_1, STOPWAIT, Wire,
    listening,
};
use scene::{ALIKE, SAME, Scene};
use socket2::SockRef;

use crate::{
    harness::{
        Display as Screen, Hub, PATIENCE, Peer, Running, Scratch, eventually, fails, ffmpeg, framewire, jpeg, output,
        python,
    },
    picture::Rgb,
    window::Window,
};

/// Every wire, with both widths of lhh and the pickles of both NumPys.
const EVERY: [Wire; 6] = [LHH_32, LHH_64, BASE64, STOPWAIT, PICKLE, PICKLE_NUMPY_1];
/// Those whose cameras connect.
const PUSHED: [Wire; 4] = [LHH_32, LHH_64, BASE64, STOPWAIT];
/// Each wire once.
const EACH: [Wire; 4] = [LHH_32, BASE64, STOPWAIT, PICKLE];
/// Frames that are enough to be sure.
const MANY: usize = 200;
/// Frames that are enough to see that it goes on.
const SOME: usize = 20;
/// Frames that may still arrive of those sent before.
const LEFT: usize = 1000;
/// Where a cable is cut, in bytes: after some frames and within one.
const CUT: usize = 250_000;

/// Plays a scenario on each of these wires, at the same time.
fn on(wires: &[Wire], scenario: impl Fn(&Wire) + Sync) {
    thread::scope(|scope| {
        for wire in wires {
            let thread = thread::Builder::new().name(format!("on {wire}"));
            thread.spawn_scoped(scope, || scenario(wire)).expect("a thread");
        }
    });
}

/// Receives this many pictures of a scene, each at least this close to the original in dB and none older than the one
/// before. Returns the number of the last.
fn sees(display: &mut Display, scene: Scene, count: usize, least: f64) -> usize {
    let mut last = None;
    for _ in 0..count {
        let (_, picture) = display.next();
        let number = Scene::number(&picture);
        let psnr = scene.psnr(&picture);
        assert!(psnr > least, "picture {number} of {scene:?} has {psnr:.1} dB");
        // A film that is replayed is no step back.
        let step = (number + Scene::LENGTH - last.unwrap_or(number)) % Scene::LENGTH;
        assert!(last.is_none() || (1..Scene::LENGTH * 9 / 10).contains(&step), "{number} came after {last:?}");
        last = Some(number);
    }
    last.expect("a picture")
}

/// Skips the frames that are left of another scene.
fn changes_to(display: &mut Display, scene: Scene) {
    assert!((0..LEFT).any(|_| scene.is_on(&display.next().1)), "{scene:?} is not to be seen after {LEFT} pictures");
}

/// How close the frames of a script's camera must be at the other end, in dB.
fn of_script(wire: &Wire) -> f64 {
    if wire.camera_listens { SAME } else { ALIKE }
}

#[test]
fn the_scripts_understand_each_other() {
    for python in [NUMPY_1, NUMPY_2] {
        on(&[LHH_32, LHH_64, BASE64, STOPWAIT, PICKLE].map(|wire| wire.in_python(python)), |wire| {
            let (_camera, mut display) = wire.meet(By::Script, By::Script);
            sees(&mut display, Scene::Day, SOME, of_script(wire));
        });
    }
}

#[test]
fn frames_of_a_tutorials_camera_arrive() {
    on(&EVERY, |wire| {
        let (_camera, mut display) = wire.meet(By::Script, By::Framewire);
        sees(&mut display, Scene::Day, MANY, of_script(wire));
    });
}

#[test]
fn frames_reach_a_tutorials_display() {
    on(&EVERY, |wire| {
        let (_camera, mut display) = wire.meet(By::Framewire, By::Script);
        sees(&mut display, Scene::Day, MANY, ALIKE);
    });
}

#[test]
fn a_hub_serves_all_the_tutorials_cameras_at_once() {
    let mut hub = Hub::start(&[]);
    let mut cameras = Vec::new();
    thread::scope(|scope| {
        for (wire, scene) in PUSHED.into_iter().zip([Scene::Day, Scene::Night, Scene::Day, Scene::Night]) {
            cameras.push(Camera::start(By::Script, &wire, scene, At::Connect(hub.address)));
            let name = new_stream(&mut hub.running, &wire);
            let mut display = Display::of(&hub.fw(&name), wire.size);
            scope.spawn(move || sees(&mut display, scene, MANY, ALIKE));
        }
    });
}

#[test]
fn a_hub_feeds_the_tutorials_displays() {
    let source = format!("film={}#loop", Scene::Day.film());
    let mut hub = Hub::start(&["--source", &source, "--pickle", "127.0.0.1:0=film"]);
    let (stream, pickle) = (hub.fw("film"), At::Connect(listening(&mut hub.running, "pickle: listens on ")));
    on(&EVERY, |wire| {
        let (_camera, mut display) = if wire.camera_listens {
            (None, Display::start(By::Script, wire, pickle))
        } else {
            let display = Display::start(By::Script, wire, At::ANY);
            (Some(Camera::framewire(wire, &[&stream], At::Connect(display.address))), display)
        };
        sees(&mut display, Scene::Day, MANY, ALIKE);
    });
}

#[test]
fn pickles_cross_a_hub_bit_for_bit() {
    let mut hub = Hub::start(&["--pickle", "127.0.0.1:0=yard"]);
    let pickle = At::Connect(listening(&mut hub.running, "pickle: listens on "));
    let camera = Camera::start(By::Script, &PICKLE, Scene::Day, At::ANY);
    let _sender = Running::start(framewire(["send", &PICKLE.url(camera.address), &hub.fw("yard"), "--codec", "copy"]));
    let mut display = Display::start(By::Script, &PICKLE_NUMPY_1, pickle);
    sees(&mut display, Scene::Day, MANY, SAME);
}

#[test]
fn sizes_and_qualities_are_the_tutorials_unless_others_are_asked_for() {
    // The first of libjpeg's quantisation steps for luminance: 16 at quality 50, scaled for other qualities.
    on(&[LHH_32, BASE64, STOPWAIT], |wire| {
        let step =
            [(LHH_32.name, 53), (BASE64.name, 3), (STOPWAIT.name, 27)].iter().find(|(name, _)| *name == wire.name);
        let asked = ["--size", "200x160", "--quality", "50"];
        for (flags, size, step) in [(&[][..], wire.size, step.unwrap().1), (&asked, (200, 160), 16)] {
            let jpeg = first_jpeg(wire, flags);
            let table = jpeg.windows(2).position(|two| two == [0xff, 0xdb]).expect("a table of steps") + 5;
            assert_eq!(jpeg[table], step, "{wire} {flags:?}");
            let (width, height) = framewire_proto::jpeg::size(&jpeg).unwrap();
            assert_eq!((width.into(), height.into()), size, "{wire} {flags:?}");
        }
    });
}

/// The first bytes of the first JPEG that framewire sends on this wire with these flags.
fn first_jpeg(wire: &Wire, flags: &[&str]) -> Vec<u8> {
    let record = framewire(["record", &wire.url("127.0.0.1:0"), "-", "--format", "mjpeg", "--duration", "10"]);
    let (mut recorder, _, mut out) = Running::start_piped(record);
    let to = At::Connect(listening(&mut recorder, "listens on "));
    let _camera = Camera::framewire(wire, &[&[Scene::Day.film().as_str()], flags].concat(), to);
    let mut jpeg = vec![0; 1000];
    out.read_exact(&mut jpeg).unwrap();
    jpeg
}

#[test]
fn a_viewer_of_pickles_gets_the_size_that_was_asked_for() {
    let source = format!("film={}#loop", Scene::Day.film());
    let mut hub = Hub::start(&["--source", &source, "--pickle", "127.0.0.1:0=film#size=200x160"]);
    let camera = Camera::framewire(&PICKLE, &[&Scene::Day.film(), "--loop", "--size", "200x160"], At::ANY);
    for address in [listening(&mut hub.running, "pickle: listens on "), camera.address] {
        let mut display = Display::start(By::Script, &PICKLE, At::Connect(address));
        let (_, picture) = display.next();
        assert_eq!((picture.width, picture.height), (200, 160));
        sees(&mut display, Scene::Day, SOME, ALIKE);
    }
}

#[test]
fn a_film_ends_with_its_last_picture() {
    on(&EACH, |wire| {
        let film = Scene::Day.film();
        let (camera, mut display) = if wire.camera_listens {
            let camera = Camera::framewire(wire, &[&film], At::ANY);
            let at = At::Connect(camera.address);
            (camera, Display::start(By::Script, wire, at))
        } else {
            let display = Display::start(By::Script, wire, At::ANY);
            (Camera::framewire(wire, &[&film, "--fps", "0"], At::Connect(display.address)), display)
        };
        while sees(&mut display, Scene::Day, 1, ALIKE) != Scene::LENGTH - 1 {}
        let (status, printed) = camera.running.ended();
        assert_eq!(status.code(), Some(0), "{wire}: {printed}");
        if wire.name == STOPWAIT.name {
            display.running.has_printed("is over");
        }
        if !wire.camera_listens {
            // The display accepts the next camera.
            let at = At::Connect(display.address);
            let _camera = Camera::start(By::Framewire, wire, Scene::Night, at);
            changes_to(&mut display, Scene::Night);
        }
    });
}

#[test]
fn stop_and_wait_never_blocks_forever() {
    // The script hangs silently when it gets two answers at once.
    let mut display = Display::start(By::Framewire, &STOPWAIT, At::ANY);
    for scene in [Scene::Day, Scene::Night] {
        let camera = Camera::script(&STOPWAIT, scene, At::Connect(display.address), 1000);
        let (status, printed) = camera.running.ended();
        assert!(status.success(), "{printed}");
        display.running.wait_for("has ended after 300 pictures");
        changes_to(&mut display, scene);
    }
}

#[test]
fn base64s_camera_replays_its_film() {
    let mut display = Display::start(By::Framewire, &BASE64, At::ANY);
    let mut camera = Camera::script(&BASE64, Scene::Day, At::Connect(display.address), 300);
    let half = |number| number >= Scene::LENGTH / 2;
    while !half(sees(&mut display, Scene::Day, 1, ALIKE)) {}
    while half(sees(&mut display, Scene::Day, 1, ALIKE)) {}
    camera.running.has_printed("starts again");
}

#[test]
fn a_missing_peer_is_reported_at_once_or_waited_for() {
    on(&EACH, |wire| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (url, film) = (wire.url(nobody), Scene::Day.film());
        if wire.camera_listens {
            let error = fails(framewire(["record", &url, "-", "--format", "bgr24"]));
            assert!(error.contains(&url) && error.contains("--wait"), "{error}");
            return;
        }
        let error = fails(framewire(["send", &film, &url]));
        assert!(error.contains(&url) && error.contains("--wait"), "{error}");
        let mut camera = Camera::framewire(wire, &[&film, "--loop", "--wait"], At::Connect(nobody));
        camera.running.wait_for("trying again");
        let mut display = Display::start(By::Script, wire, At::Listen(nobody));
        sees(&mut display, Scene::Day, SOME, ALIKE);
    });
}

#[test]
fn a_camera_killed_within_a_frame_is_replaced_by_the_next() {
    for (camera, display) in [(By::Script, By::Framewire), (By::Framewire, By::Script)] {
        on(&EACH, |wire| {
            let (killed, mut shown, cable) = wire.meet_over(camera, display, Some(CUT));
            let cable = cable.unwrap();
            cable.is_cut();
            killed.running.signal("KILL");
            let place = if wire.camera_listens { At::Listen(killed.address) } else { At::Connect(cable.address) };
            drop(killed);
            if display == By::Framewire && !wire.camera_listens {
                shown.running.wait_for("has ended after");
            }
            let _camera = Camera::start(camera, wire, Scene::Night, place);
            if display == By::Script && wire.camera_listens {
                // The tutorial's viewer connects once.
                shown.running.wait_for("the camera is gone");
                shown = Display::start(display, wire, At::Connect(cable.address));
            }
            changes_to(&mut shown, Scene::Night);
            sees(&mut shown, Scene::Night, SOME, ALIKE);
        });
    }
}

#[test]
fn a_display_killed_within_a_frame_is_replaced_by_the_next() {
    for (camera, display) in [(By::Script, By::Framewire), (By::Framewire, By::Script)] {
        on(&EACH, |wire| {
            let (mut sending, killed, cable) = wire.meet_over(camera, display, Some(CUT));
            let cable = cable.unwrap();
            cable.is_cut();
            killed.running.signal("KILL");
            let place = if wire.camera_listens { At::Connect(cable.address) } else { At::Listen(killed.address) };
            drop(killed);
            let mut shown = Display::start(display, wire, place);
            if camera == By::Script && [LHH_32.name, STOPWAIT.name].contains(&wire.name) {
                // The tutorials' cameras connect once.
                assert!(!sending.running.ended().0.success());
                sending = Camera::start(camera, wire, Scene::Day, At::Connect(cable.address));
            }
            sees(&mut shown, Scene::Day, SOME, ALIKE);
            drop(sending);
        });
    }
}

#[test]
fn a_camera_killed_within_a_frame_is_no_longer_live_in_its_hub() {
    on(&PUSHED, |wire| {
        let mut hub = Hub::start(&[]);
        let cable = Cable::lay(wire, hub.address, CUT);
        let camera = Camera::start(By::Script, wire, Scene::Day, At::Connect(cable.address));
        let name = new_stream(&mut hub.running, wire);
        cable.is_cut();
        camera.running.signal("KILL");
        hub.wait_until(&name, "is live no more", |info| info["state"] != "live");
        let _camera = Camera::start(By::Script, wire, Scene::Night, At::Connect(cable.address));
        let name = new_stream(&mut hub.running, wire);
        let mut display = Display::of(&hub.fw(&name), wire.size);
        sees(&mut display, Scene::Night, SOME, ALIKE);
    });
}

#[test]
fn tutorials_displays_survive_a_restart_of_the_hub() {
    let source = |scene: Scene| format!("film={}#loop", scene.film());
    on(&PUSHED, |wire| {
        let hub = Hub::start(&["--source", &source(Scene::Day)]);
        let mut display = Display::start(By::Script, wire, At::ANY);
        let _camera = Camera::framewire(wire, &[&hub.fw("film")], At::Connect(display.address));
        sees(&mut display, Scene::Day, SOME, ALIKE);
        let address = hub.address.to_string();
        hub.running.signal("KILL");
        drop(hub);
        let _hub = Hub::at(&address, &["--source", &source(Scene::Night)]);
        changes_to(&mut display, Scene::Night);
        sees(&mut display, Scene::Night, SOME, ALIKE);
    });
}

/// The name of the stream that a camera on this wire starts.
fn new_stream(running: &mut Running, wire: &Wire) -> String {
    let begins = format!("'{}-127.0.0.1-", wire.name);
    let line = running.wait_for_line(&begins, |line| line.contains(&begins) && line.contains("sends pictures"));
    line.split('\'').nth(1).expect(&line).into()
}

#[test]
fn a_display_that_hung_gets_the_newest_frame() {
    on(&PUSHED, |wire| {
        let mut display = Display::start(By::Script, wire, At::ANY);
        let film = Scene::Day.film();
        let mut camera = Camera::framewire(wire, &[&film, "--loop", "--stats", "json"], At::Connect(display.address));
        sees(&mut display, Scene::Day, SOME, ALIKE);
        display.running.signal("STOP");
        let before = dropped(&camera.running.wait_for("dropped"));
        camera.running.wait_for_line("that pictures are dropped", |line| dropped(line) >= before + 60);
        display.running.signal("CONT");
        leaps(&mut display, 30);
    });
}

#[test]
fn a_display_that_stops_reading_gets_few_stale_frames() {
    const STOPS: u8 = 20;
    const SENT: u8 = 60;
    let hub = Hub::start(&[]);
    let publisher = Peer::publish(&hub, "scene");
    let display = TcpListener::bind("127.0.0.1:0").expect("a port");
    display.set_nonblocking(true).expect("a display that may be asked");
    // Its receive buffer would hold all of them.
    SockRef::from(&display).set_recv_buffer_size(1 << 20).expect("a large buffer");
    let to = format!("lhh://{}", display.local_addr().expect("its address"));
    let _camera = Running::start(framewire(["send", &hub.fw("scene"), &to, "--quality", "90"]));
    let (mut stream, _) = eventually("the camera connects", || display.accept().ok());
    stream.set_nonblocking(false).expect("a connection that may be waited for");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut next = || {
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("a header");
        let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let mut jpeg = vec![0; length as usize];
        stream.read_exact(&mut jpeg).expect("a JPEG");
        Rgb::of_jpeg(&jpeg).pixels[0]
    };
    for number in 0..SENT {
        publisher.send_jpeg(number.into(), &jpeg(4 * number));
        hub.wait_until("scene", "has the next", |info| info["published"].as_u64() > Some(number.into()));
        while number < STOPS && next() + 1 < 4 * number {}
    }
    let old = iter::repeat_with(next).take_while(|grey| grey + 1 < 4 * (SENT - 1)).count();
    println!("{old} old pictures of {SENT}");
    assert!(old <= 7, "{old} of {SENT}");
}

#[test]
fn a_viewer_of_pickles_that_hangs_delays_no_other() {
    let camera = Camera::start(By::Framewire, &PICKLE, Scene::Day, At::ANY);
    let mut displays =
        [PICKLE, PICKLE_NUMPY_1].map(|wire| Display::start(By::Script, &wire, At::Connect(camera.address)));
    sees(&mut displays[0], Scene::Day, SOME, ALIKE);
    displays[0].running.signal("STOP");
    sees(&mut displays[1], Scene::Day, MANY, ALIKE);
    displays[0].running.signal("CONT");
    leaps(&mut displays[0], 30);
}

/// Checks that at least this many pictures in a row were dropped, after those that the kernel had buffered.
fn leaps(display: &mut Display, least: usize) {
    let mut last = sees(display, Scene::Day, 1, ALIKE);
    let leaps = (0..LEFT).any(|_| {
        let before = std::mem::replace(&mut last, sees(display, Scene::Day, 1, ALIKE));
        (last + Scene::LENGTH - before) % Scene::LENGTH >= least
    });
    assert!(leaps, "no frame was dropped");
}

/// The frames dropped, from a line of `--stats json`.
fn dropped(line: &str) -> u64 {
    let info: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    info["dropped"].as_object().map_or(0, |reasons| reasons.values().filter_map(serde_json::Value::as_u64).sum())
}

#[test]
fn two_cameras_on_one_port_are_two_recordings() {
    on(&[LHH_32, STOPWAIT], |wire| {
        let scratch = Scratch::new(&format!("two-{wire}"));
        let mut recorder = Running::start(framewire(["record", &wire.url("127.0.0.1:0"), &scratch.file("out.mkv")]));
        let to = At::Connect(listening(&mut recorder, "listens on "));
        let cameras = [Scene::Day, Scene::Night].map(|scene| Camera::start(By::Script, wire, scene, to));
        for camera in cameras {
            let (status, printed) = camera.running.ended();
            assert!(status.success(), "{printed}");
        }
        for _ in 0..2 {
            recorder.wait_for("framewire recorded ");
        }
        recorder.signal("INT");
        let (status, printed) = recorder.ended();
        assert_eq!(status.code(), Some(0), "{printed}");
        let scenes = ["out.mkv", "out-2.mkv"].map(|name| scene_of(&scratch.file(name), wire));
        assert_ne!(scenes[0], scenes[1]);
    });
}

/// The only scene of a recording, which must be nearly complete.
fn scene_of(file: &str, wire: &Wire) -> Scene {
    let pixels = output(ffmpeg(&["-i", file, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]));
    let (width, height) = wire.size;
    let pictures = pixels.chunks_exact(width * height * 3).map(|pixels| Rgb { width, height, pixels: pixels.to_vec() });
    let pictures: Vec<Rgb> = pictures.collect();
    assert!(pictures.len() >= MANY, "{file}: {} pictures", pictures.len());
    let all = |scene: Scene| pictures.iter().all(|picture| scene.is_on(picture));
    [Scene::Day, Scene::Night].into_iter().find(|scene| all(*scene)).expect("one scene and no other")
}

#[test]
fn two_senders_on_a_tutorials_port_have_a_window_each() {
    let mut display = Display::start(By::Script, &LHH_32, At::ANY);
    let to = At::Connect(display.address);
    let _cameras = [Scene::Day, Scene::Night].map(|scene| Camera::start(By::Framewire, &LHH_32, scene, to));
    let mut windows: HashMap<String, (Scene, usize)> = HashMap::new();
    while windows.len() < 2 || windows.values().any(|(_, count)| *count < MANY) {
        let (window, picture) = display.next();
        let shows = |scene: &Scene| scene.is_on(&picture);
        let (scene, count) = windows
            .entry(window.clone())
            .or_insert_with(|| ([Scene::Day, Scene::Night].into_iter().find(shows).expect("one of the scenes"), 0));
        assert!(shows(scene), "{window}: {scene:?} no more after {count} pictures");
        *count += 1;
    }
    assert_eq!(windows.len(), 2, "{windows:?}");
}

#[test]
fn a_reader_of_pixels_gets_one_camera_after_the_other() {
    let mut display = Display::start(By::Framewire, &BASE64, At::ANY);
    let first = Camera::start(By::Script, &BASE64, Scene::Day, At::Connect(display.address));
    sees(&mut display, Scene::Day, SOME, ALIKE);
    // It reconnects again and again while the port is taken.
    let mut second = Camera::start(By::Script, &BASE64, Scene::Night, At::Connect(display.address));
    second.running.wait_for("starts again");
    sees(&mut display, Scene::Day, SOME, ALIKE);
    drop(first);
    changes_to(&mut display, Scene::Night);
    sees(&mut display, Scene::Night, SOME, ALIKE);
}

#[test]
fn the_wrong_wire_is_named_and_the_port_keeps_serving() {
    const WIRES: [Wire; 3] = [LHH_64, BASE64, STOPWAIT];
    on(&WIRES, |wire| {
        let mut display = Display::start(By::Framewire, wire, At::ANY);
        for other in WIRES.iter().filter(|other| other.name != wire.name) {
            let _wrong = Camera::start(By::Script, other, Scene::Night, At::Connect(display.address));
            let line = display.running.wait_for(&format!("this port takes {}", wire.name));
            assert!(line.contains(&format!("begins {}", other.name)), "{line}");
        }
        let _camera = Camera::start(By::Script, wire, Scene::Day, At::Connect(display.address));
        sees(&mut display, Scene::Day, SOME, ALIKE);
    });
}

#[test]
fn a_hub_may_refuse_the_tutorials_cameras() {
    let mut hub = Hub::start(&["--no-legacy", "--source", &format!("film={}#loop", Scene::Day.film())]);
    for wire in PUSHED {
        let _camera = Camera::start(By::Script, &wire, Scene::Night, At::Connect(hub.address));
        let line = hub.running.wait_for("--no-legacy");
        assert!(line.contains(wire.name), "{line}");
    }
    let (_, streams) = hub.get("/streams");
    let streams: serde_json::Value = serde_json::from_slice(&streams).unwrap();
    assert_eq!(streams.as_array().map(Vec::len), Some(1), "{streams}");
    sees(&mut Display::of(&hub.fw("film"), Scene::SIZE), Scene::Day, SOME, ALIKE);
}

#[test]
fn cameras_have_a_window_each_titled_with_their_address() {
    on(&[LHH_32, BASE64, STOPWAIT], |wire| {
        let screen = Rc::new(Screen::start("1280x480"));
        let mut view = Running::start(screen.on(framewire(["view", &wire.url("127.0.0.1:0")])));
        let to = At::Connect(listening(&mut view, "listens on "));
        let mut open = |scene| {
            let camera = Camera::script(wire, scene, to, 20);
            (camera, Window::find(&screen, &new_stream(&mut view, wire)))
        };
        let (mut day, left) = open(Scene::Day);
        let (night, right) = open(Scene::Night);
        // They must not overlap.
        left.xdotool(&["windowmove", &left.id, "0", "0"]);
        right.xdotool(&["windowmove", &right.id, "640", "0"]);
        let shows = |window: &Window, scene: Scene| {
            eventually("the scene", || window.shot(wire.size).filter(|shot| scene.is_on(shot)));
        };
        shows(&left, Scene::Day);
        shows(&right, Scene::Night);

        left.press("Escape");
        left.is_gone();
        if wire.name == BASE64.name {
            // It would reconnect and open a window above the others.
            day.running.wait_for("starts again");
            drop(day);
        } else {
            assert!(!day.running.ended().0.success());
        }
        shows(&right, Scene::Night);
        night.running.signal("KILL");
        right.is_gone();
        let (_day, left) = open(Scene::Day);
        shows(&left, Scene::Day);
        view.signal("TERM");
        let (status, printed) = view.ended();
        assert_eq!(status.code(), Some(0), "{printed}");
    });
}

#[test]
fn a_window_shows_pickles() {
    let camera = Camera::start(By::Script, &PICKLE, Scene::Day, At::ANY);
    let screen = Rc::new(Screen::start("640x480"));
    let _view = Running::start(screen.on(framewire(["view", &PICKLE.url(camera.address)])));
    let window = Window::find(&screen, "framewire");
    eventually("the scene", || window.shot(Scene::SIZE).filter(|shot| Scene::Day.is_on(shot)));
}

#[test]
fn a_pickle_is_read_and_never_run() {
    let scratch = Scratch::new("pickle-bomb");
    let proof = scratch.file("proof");
    let program = r#"
import os, pickle, socket, struct, sys
class Bomb:
    def __reduce__(self):
        return os.system, (f"touch {sys.argv[1]}",)
server = socket.create_server(("127.0.0.1", 0))
print("listens on %s:%d" % server.getsockname(), flush=True)
viewer, _ = server.accept()
bomb = pickle.dumps(Bomb())
viewer.sendall(struct.pack("Q", len(bomb)) + bomb)
viewer.recv(1)
"#;
    let mut server = Running::start(python(["-c", program, &proof]));
    let from = PICKLE.url(listening(&mut server, "listens on "));
    let error = fails(framewire(["record", &from, "-", "--format", "bgr24"]));
    assert!(error.contains("system"), "{error}");
    assert!(!Path::new(&proof).exists());
}
