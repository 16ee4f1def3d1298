//! Windows on a screen.

use std::{
    env, fs,
    io::{self, Write as _},
    process::{ChildStdin, ChildStdout, Command},
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use framewire_proto::{Codec, Config, Frame, Times};

use crate::{
    harness::{Display, Hub, Peer, Running, Scratch, eventually, fails, ffmpeg, framewire, output, run, tool},
    internals::{
        clock,
        hub::{self, Policy},
        latency::StaleFilter,
        sink::window::{self, Pane, Tile},
        stop::Stop,
    },
    picture::{Part, Rgb},
};

const SIZE: (usize, usize) = (320, 180);
/// Pictures at least this close, in dB, look the same.
const SAME: f64 = 30.0;

/// A publisher that sends a picture 20 times a second.
struct Camera {
    picture: Arc<Mutex<Bytes>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn start(hub: &Hub, name: &str, picture: &Rgb) -> Self {
        let (picture, stop) = (Arc::new(Mutex::new(Bytes::from(picture.jpeg()))), Stop::default());
        let (shown, ended, peer) = (picture.clone(), stop.clone(), Peer::publish(hub, name));
        let publish = move || {
            for sequence in 0.. {
                let jpeg = shown.lock().unwrap().clone();
                peer.send_jpeg(sequence, &jpeg);
                if ended.wait(Duration::from_millis(50)) {
                    break;
                }
            }
        };
        Self { picture, stop, thread: Some(thread::spawn(publish)) }
    }

    fn show(&self, picture: &Rgb) {
        *self.picture.lock().unwrap() = picture.jpeg().into();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A window on a screen.
pub(crate) struct Window {
    screen: Rc<Display>,
    pub(crate) id: String,
}

impl Window {
    /// The only window of a program that has a screen for itself.
    fn open(command: Command) -> (Running, Self) {
        let screen = Rc::new(Display::start("640x480"));
        let running = Running::start(screen.on(command));
        (running, Self::find(&screen, "framewire"))
    }

    /// The window with this in its title.
    pub(crate) fn find(screen: &Rc<Display>, title: &str) -> Self {
        let id = eventually("a window", || Self::titled(screen, title).into_iter().next());
        Self { screen: screen.clone(), id }
    }

    fn titled(screen: &Display, title: &str) -> Vec<String> {
        let mut search = screen.on(tool("xdotool"));
        search.args(["search", "--onlyvisible", "--name", title]);
        String::from_utf8(run(search).stdout).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn xdotool(&self, arguments: &[&str]) -> String {
        let mut command = self.screen.on(tool("xdotool"));
        command.args(arguments);
        String::from_utf8(output(command)).unwrap()
    }

    pub(crate) fn press(&self, key: &str) {
        self.xdotool(&["windowfocus", "--sync", &self.id, "key", key]);
    }

    /// Clicks into its upper left corner.
    fn click(&self) {
        self.xdotool(&["mousemove", "--window", &self.id, "2", "2", "click", "1"]);
    }

    /// Moves the window to the screen's corner and makes it this large.
    fn resize(&self, (width, height): (usize, usize)) {
        self.xdotool(&["windowmove", &self.id, "0", "0"]);
        self.xdotool(&["windowsize", &self.id, &width.to_string(), &height.to_string()]);
    }

    /// Waits until it is closed.
    pub(crate) fn is_gone(&self) {
        eventually("the window is gone", || (!Self::titled(&self.screen, "").contains(&self.id)).then_some(()));
    }

    /// A screenshot of the window; `None` while it has another size.
    pub(crate) fn shot(&self, (width, height): (usize, usize)) -> Option<Rgb> {
        let mut import = self.screen.on(tool("import"));
        import.args(["-window", &self.id, "-depth", "8", "rgb:-"]);
        let pixels = run(import).stdout;
        (pixels.len() == width * height * 3).then_some(Rgb { width, height, pixels })
    }

    /// Waits until the window looks like this.
    fn shows(&self, what: &str, picture: &Rgb) {
        eventually(what, || {
            let shot = self.shot((picture.width, picture.height))?;
            (shot.psnr(picture) > SAME).then_some(())
        });
    }

    /// Waits until it looks different, and returns a screenshot.
    fn changes(&self, what: &str, picture: &Rgb) -> Rgb {
        eventually(what, || {
            let shot = self.shot((picture.width, picture.height))?;
            (shot.psnr(picture) < SAME).then_some(shot)
        })
    }
}

/// The parts of a screenshot well inside of the quadrants, which scaling does not blur.
fn insides(picture: &Rgb) -> [Rgb; 4] {
    let (width, height) = (picture.width / 2 - 16, picture.height / 2 - 16);
    [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(column, row)| {
        let (x, y) = (8 + column * picture.width / 2, 8 + row * picture.height / 2);
        picture.part(Part { x, y, width, height })
    })
}

#[test]
fn a_picture_appears_on_the_screen_as_it_was_sent() {
    let (hub, truth) = (Hub::start(&[]), Rgb::quadrants(SIZE.0, SIZE.1));
    let _camera = Camera::start(&hub, "still", &truth);
    let (_running, window) = Window::open(framewire(["view", &hub.fw("still")]));
    window.shows("the picture in its own size", &truth);
    window.resize((640, 480));
    let shot = eventually("the picture between bars", || {
        let shot = window.shot((640, 480))?;
        let area = shot.part(Part { x: 0, y: 60, width: 640, height: 360 });
        let inside = insides(&area).into_iter().zip(insides(&truth.scaled(640, 360)));
        inside.map(|(one, two)| one.psnr(&two)).all(|psnr| psnr > SAME).then_some(shot)
    });
    for (bar, y) in [("upper", 0), ("lower", 420)] {
        let bar_there = shot.part(Part { x: 0, y, width: 640, height: 60 });
        assert!(bar_there.pixels.iter().all(|value| *value < 8), "the {bar} bar is black");
    }
}

#[test]
fn keys_do_what_the_help_says() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("keys"));
    let truth = Rgb::quadrants(SIZE.0, SIZE.1);
    let camera = Camera::start(&hub, "still", &truth);
    let mut view = framewire(["view", &hub.fw("still")]);
    view.current_dir(scratch.path());
    let (mut running, window) = Window::open(view);
    window.shows("the picture", &truth);

    window.press("i");
    window.changes("the overlay", &truth);
    window.press("i");
    window.shows("the picture alone again", &truth);

    window.press("s");
    let saved = running.wait_for("saved ");
    let file = scratch.path().join(saved.trim_start_matches("saved "));
    assert_eq!(fs::read(&file).unwrap(), truth.jpeg(), "a snapshot is the JPEG as it was received");

    let mut other = truth.clone();
    other.pixels.reverse();
    window.press("space");
    // The label is at the bottom.
    let bottom = Part { x: 0, y: SIZE.1 - 40, width: SIZE.0, height: 40 };
    let top = Part { x: 0, y: 0, width: SIZE.0, height: SIZE.1 / 2 };
    eventually("the label for frozen", || {
        let shot = window.shot(SIZE)?;
        (shot.part(bottom).psnr(&truth.part(bottom)) < SAME).then_some(())
    });
    camera.show(&other);
    let before = hub.stream("still").unwrap()["delivered"].as_u64();
    hub.wait_until("still", "goes on", |info| info["delivered"].as_u64() > before.map(|count| count + 5));
    eventually("the picture as it was frozen", || {
        let shot = window.shot(SIZE)?;
        (shot.part(top).psnr(&truth.part(top)) > SAME).then_some(())
    });
    window.press("space");
    window.shows("the newest picture", &other);

    window.press("q");
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
fn a_stalled_stream_is_dimmed_and_recovers() {
    let (hub, truth) = (Hub::start(&[]), Rgb::quadrants(SIZE.0, SIZE.1));
    let send = || Running::start_fed(framewire(["send", "-", &hub.fw("still"), "--fps", "20"]), truth.jpeg());
    let sender = send();
    hub.wait_until("still", "has a frame", |info| info["published"].as_u64() > Some(0));
    let (_running, window) = Window::open(framewire(["view", &hub.fw("still")]));
    window.shows("the picture", &truth);
    sender.signal("KILL");
    let stalled = window.changes("the label for stalled", &truth);
    // The whole picture is dimmed, not only the label.
    let corner = Part { x: 0, y: 0, width: 32, height: 32 };
    let light = |picture: &Rgb| picture.part(corner).pixels.iter().map(|value| u64::from(*value)).sum::<u64>();
    assert!(light(&stalled) < light(&truth) * 9 / 10, "{} of {}", light(&stalled), light(&truth));
    let _again = send();
    window.shows("the picture again", &truth);
}

/// Two pictures that cannot be mistaken for each other.
fn two() -> [Rgb; 2] {
    let one = Rgb::quadrants(320, 240);
    [Rgb { pixels: one.pixels.iter().rev().copied().collect(), ..one.clone() }, one]
}

#[test]
fn several_streams_make_a_grid() {
    let (hub, [left, right]) = (Hub::start(&[]), two());
    let _cameras = [Camera::start(&hub, "left", &left), Camera::start(&hub, "right", &right)];
    let (_running, window) = Window::open(framewire(["view", &hub.fw("left"), &hub.fw("right")]));
    // Skip the name in the corner of each.
    let below = |x: usize| Part { x, y: 60, width: 320, height: 180 };
    eventually("both side by side", || {
        let shot = window.shot((640, 240))?;
        let alike = |x: usize, picture: &Rgb| shot.part(below(x)).psnr(&picture.part(below(0))) > SAME;
        (alike(0, &left) && alike(320, &right)).then_some(())
    });
}

#[test]
fn several_streams_have_a_window_each_that_closes_on_its_own() {
    let (hub, [one, other]) = (Hub::start(&[]), two());
    let cameras = [Camera::start(&hub, "left", &one), Camera::start(&hub, "right", &other)];
    let screen = Rc::new(Display::start("640x480"));
    let view = framewire(["view", "--windows", &hub.fw("left"), &hub.fw("right")]);
    let running = Running::start(screen.on(view));
    let [left, right] = ["^left ", "^right "].map(|title| Window::find(&screen, title));
    // They must not overlap: the server has no pixels of a covered window.
    left.xdotool(&["windowmove", &left.id, "0", "0"]);
    right.xdotool(&["windowmove", &right.id, "320", "240"]);
    left.shows("its own picture", &one);
    right.shows("its own picture", &other);

    left.press("Escape");
    left.is_gone();
    hub.wait_until("left", "has no viewer", |info| info["viewers"] == 0);
    cameras[1].show(&one);
    right.shows("the new picture", &one);
    // Without a window manager it must be clicked to get the keyboard.
    right.click();
    right.xdotool(&["key", "i"]);
    right.changes("the overlay", &one);

    right.press("q");
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
fn sigterm_closes_the_window() {
    let hub = Hub::start(&["--source", "scene=pattern#size=320x180"]);
    let (running, _window) = Window::open(framewire(["view", &hub.fw("scene")]));
    running.signal("TERM");
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

/// A film of three seconds.
fn film(scratch: &Scratch) -> String {
    let film = scratch.file("film.mkv");
    output(ffmpeg(&["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25", "-frames:v", "75", "-c:v", "libx264", &film]));
    film
}

#[test]
fn the_window_of_a_film_closes_at_its_end_and_the_others_stay() {
    let (hub, scratch) = (Hub::start(&["--source", "scene=pattern#size=320x180"]), Scratch::new("stay"));
    let screen = Rc::new(Display::start("640x480"));
    let running = Running::start(screen.on(framewire(["view", "--windows", &film(&scratch), &hub.fw("scene")])));
    let [film, scene] = ["^film.mkv ", "^scene "].map(|title| Window::find(&screen, title));
    film.is_gone();
    let before = hub.stream("scene").unwrap()["delivered"].as_u64();
    hub.wait_until("scene", "goes on", |info| info["delivered"].as_u64() > before.map(|count| count + 5));
    scene.press("q");
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
fn the_window_closes_after_a_film_and_counts_what_it_showed() {
    let scratch = Scratch::new("closes");
    let film = film(&scratch);
    for (codec, decoded) in [("auto", "i420"), ("copy", "h264")] {
        let (running, _window) = Window::open(framewire(["view", &film, "--codec", codec, "--stats", "json"]));
        let (status, printed) = running.ended();
        assert_eq!(status.code(), Some(0), "{printed}");
        let figures: Vec<serde_json::Value> =
            printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last = figures.last().unwrap_or_else(|| panic!("no figures, which are due once a second: {printed}"));
        assert!((10..=75).contains(&last["shown"].as_u64().unwrap()), "{last}");
        assert_eq!((last["codec"].as_str(), last["dropped"]["bad"].as_u64()), (Some(decoded), Some(0)), "{last}");
        // The delay of B-frames is part of it.
        let total = last["latency_ms"]["total"]["p50"].as_f64().unwrap();
        assert!(if codec == "copy" { (40.0..900.0).contains(&total) } else { total > 0.0 }, "{last}");
    }
}

#[test]
fn a_missing_display_is_reported_in_one_line() {
    let mut view = framewire(["view", "pattern"]);
    view.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("SDL_VIDEODRIVER");
    let error = fails(view);
    assert!(error.contains("DISPLAY") && error.contains("framewire record"), "{error}");
}

/// Starts [`opens_windows_on_request`] on this screen. It reads requests from its input and reports on standard error.
fn start_opener(screen: &Display) -> (Running, ChildStdin, ChildStdout) {
    let mut opener = Command::new(env::current_exe().unwrap());
    opener.args(["window::opens_windows_on_request", "--exact", "--ignored", "--nocapture"]);
    Running::start_piped(screen.on(opener))
}

#[test]
fn windows_open_and_close_while_the_program_runs() {
    let (screen, picture) = (Rc::new(Display::start("640x480")), Rgb::quadrants(SIZE.0, SIZE.1));
    let (mut running, mut told, _stdout) = start_opener(&screen);
    let mut open = |name: &str| {
        writeln!(told, "{name}").unwrap();
        Window::find(&screen, name)
    };
    let first = open("first");
    first.shows("its picture", &picture);
    let second = open("second");
    second.shows("its picture", &picture);

    first.press("Escape");
    running.wait_for("nobody watches first");
    first.is_gone();
    second.press("i");
    second.changes("the overlay", &picture);
    second.press("q");
    running.wait_for("nobody watches second");
    running.wait_for("0 tiles");

    let third = open("third");
    // No more requests.
    drop(told);
    third.shows("its picture", &picture);
    third.press("q");
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
fn waiting_for_a_first_window_ends_with_the_stop() {
    let screen = Display::start("640x480");
    let (mut running, mut told, _stdout) = start_opener(&screen);
    running.wait_for("0 tiles");
    writeln!(told, "stop").unwrap();
    let (status, printed) = running.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
}

#[test]
#[ignore = "a program that other tests start"]
fn opens_windows_on_request() {
    let (hub, stop, (hand_over, more)) = (hub::Hub::default(), Stop::default(), mpsc::channel());
    let stopped = stop.clone();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match line.as_str() {
                "stop" => stopped.stop(),
                name => hand_over.send(pane(&hub, name)).unwrap(),
            }
        }
    });
    let on_second: window::OnSecond = Box::new(|tiles| eprintln!("{} tiles", tiles.len()));
    let config = window::WindowOptions { on_second: Some(on_second), ..window::WindowOptions::default() };
    window::run(vec![], Some(more), config, &stop).unwrap();
}

/// A window for a stream of this name, and a publisher that ends with its last viewer.
fn pane(hub: &hub::Hub, name: &str) -> Pane {
    let publisher = hub.publish(&name.parse().unwrap(), clock::now()).unwrap();
    let subscriber = hub.subscribe(publisher.name(), Policy::Newest, false, clock::now()).unwrap();
    let (data, viewers) = (Bytes::from(Rgb::quadrants(SIZE.0, SIZE.1).jpeg()), publisher.viewers());
    thread::spawn(move || {
        let (width, height) = (SIZE.0 as u16, SIZE.1 as u16);
        let config = Config::new(Codec::Jpeg, width, height, 0);
        publisher.configure(config).unwrap();
        let rate = Stop::default();
        for sequence in 0.. {
            let frame = Frame { sequence, keyframe: true, times: Times::default(), data: data.clone() };
            publisher.publish(frame, clock::now()).unwrap();
            if rate.wait(Duration::from_millis(50)) || *viewers.borrow() == 0 {
                break;
            }
        }
        eprintln!("nobody watches {}", publisher.name());
    });
    Pane {
        title: name.into(),
        tiles: vec![Tile { name: name.into(), subscriber, stale_filter: StaleFilter::default() }],
    }
}

#[test]
fn send_shows_a_preview_and_statistics_until_q() {
    let (hub, scratch) = (Hub::start(&[]), Scratch::new("preview"));
    let picture = Rgb::quadrants(320, 240);
    fs::write(scratch.file("still.jpg"), picture.jpeg()).unwrap();
    let still = format!("{}#loop#fps=20", scratch.file("still.jpg"));
    let (mut send, window) =
        Window::open(framewire(["send", &still, &hub.fw("still"), "--preview", "--stats", "text"]));
    let _viewer = Peer::watch(&hub, "still");
    window.shows("what is sent", &picture);
    send.wait_for_line("frames, rate, time and delay", |line| {
        ["still: live, ", " frames, ", " fps, ", " sent ", " delay "].iter().all(|part| line.contains(part))
    });
    window.press("q");
    let (status, printed) = send.ended();
    assert_eq!(status.code(), Some(0), "{printed}");
    let totals = printed.lines().last().unwrap();
    assert!(totals.starts_with("still: in all ") && totals.ends_with(" 0 missed"), "{printed}");
}
