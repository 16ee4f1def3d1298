//! Windows that show streams.

use std::{cell::RefCell, rc::Rc, sync::mpsc, time::Duration};

use super::{
    local::{self, Feeding, From, LocalHub, Opened},
    sender::{PREVIEW, Sender},
    stats,
};
use crate::{
    clock,
    error::Result,
    hub::{Policy, Subscriber},
    latency::StaleFilter,
    sink::window::{self, Pane, Tile},
    source::{Spec as Source, honours::Use},
    stop::Stop,
};

/// Shows streams in windows, each frame as soon as it is decoded.
///
/// ```no_run
/// framewire::Window::builder().stream("fw://127.0.0.1:7070/door".parse()?).show()?;
/// # Ok::<(), framewire::Error>(())
/// ```
pub struct Window;

/// What to show, see [`Window::builder`].
#[must_use]
#[derive(Default)]
pub struct WindowBuilder {
    streams: Vec<Source>,
    previews: Vec<LocalHub>,
    separate: bool,
    overlay: bool,
    max_age: Option<Duration>,
    on_second: Option<OnSecond>,
    stop: Stop,
}

/// Is called once a second with the figures of the streams, and of the tiles that show them.
type OnSecond = Box<dyn FnMut(&[stats::Stream], &[stats::Tile])>;

impl Window {
    /// A window that shows nothing yet.
    pub fn builder() -> WindowBuilder {
        WindowBuilder::default()
    }
}

impl WindowBuilder {
    /// Shows this stream; several make a grid. Where tutorials' cameras connect, each gets a window of its own.
    pub fn stream(mut self, from: Source) -> Self {
        self.streams.push(from);
        self
    }

    /// Shows what a sender sends; it must have been built with [`SenderBuilder::preview`](crate::SenderBuilder::preview).
    pub fn preview(mut self, sender: &Sender) -> Self {
        self.previews.extend(sender.preview.clone());
        self
    }

    /// A window for each stream instead of one grid.
    pub fn separate(mut self, separate: bool) -> Self {
        self.separate = separate;
        self
    }

    /// Starts with the overlay of figures; the key `i` toggles it.
    pub fn overlay(mut self, overlay: bool) -> Self {
        self.overlay = overlay;
        self
    }

    /// Frames older than this are not shown. Without it, only frames that an outage held back are not.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Calls this once a second, and once more at the end, without tiles.
    pub fn on_second(mut self, call: impl FnMut(&[stats::Stream], &[stats::Tile]) + 'static) -> Self {
        self.on_second = Some(Box::new(call));
        self
    }

    /// Raising this flag closes the windows, from any thread.
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Shows the streams until the windows are closed or the streams have ended. To be called by the main thread, as
    /// some systems demand it.
    ///
    /// # Errors
    /// There is no display, or a source cannot be opened or fails.
    pub fn show(self) -> Result<()> {
        let (hub, stop) = (LocalHub::new(), self.stop.child());
        let stale_filter = StaleFilter::new(self.max_age.map(|age| age.as_micros() as u64));
        let mut tiles = Vec::new();
        for preview in &self.previews {
            let subscriber = preview.hub.subscribe(&PREVIEW.parse()?, Policy::Newest, true, clock::now())?;
            tiles.push(tile(subscriber, &stale_filter));
        }
        let (found, cameras) = mpsc::channel();
        let mut feeds: Vec<Feeding> = Vec::new();
        let mut listening = false;
        self.streams.iter().try_for_each(|from| from.check_options(Use::SHOWN))?;
        for from in self.streams {
            match From::new(from)? {
                From::Cameras(spec, at) => {
                    let (found, stale_filter) = (found.clone(), stale_filter.clone());
                    let show = move |subscriber| drop(found.send(pane(vec![tile(subscriber, &stale_filter)])));
                    let limits = spec.options.limits();
                    feeds.push(local::listen_for_each(&at, &hub.hub, Policy::Newest, limits, show, &stop)?);
                    listening = true;
                }
                source @ From::Source(_) => {
                    let Opened { subscriber, feeding } = source.open(&hub.hub, Policy::Newest, &stop)?;
                    tiles.push(tile(subscriber, &stale_filter));
                    feeds.push(feeding);
                }
            }
        }
        drop(found);
        let panes = match tiles {
            tiles if tiles.is_empty() => Vec::new(),
            tiles if self.separate => tiles.into_iter().map(|tile| pane(vec![tile])).collect(),
            tiles => vec![pane(tiles)],
        };
        let on_second = self.on_second.map(|call| Rc::new(RefCell::new(call)));
        let call = on_second.clone().map(|call| {
            let hub = hub.hub.clone();
            let call: window::OnSecond = Box::new(move |tiles| (call.borrow_mut())(&hub.streams(clock::now()), tiles));
            call
        });
        let config = window::WindowOptions { overlay: self.overlay, close_at_end: true, on_second: call };
        let outcome = window::run(panes, listening.then_some(cameras), config, &stop);
        stop.stop();
        on_second.iter().for_each(|call| (call.borrow_mut())(&hub.hub.streams(clock::now()), &[]));
        let fed = feeds.into_iter().map(local::join).collect::<Vec<_>>().into_iter().collect::<Result<()>>();
        fed.and(outcome)
    }
}

fn pane(tiles: Vec<Tile>) -> Pane {
    let names: Vec<&str> = tiles.iter().map(|tile| tile.name.as_str()).collect();
    Pane { title: format!("{} — framewire", names.join(", ")), tiles }
}

fn tile(subscriber: Subscriber, stale_filter: &StaleFilter) -> Tile {
    Tile { name: subscriber.name().to_string(), subscriber, stale_filter: stale_filter.clone() }
}
