//! What is live never just ends: a source that closes or fails is opened again, under the same name.

use std::time::{Duration, Instant};

use framewire_proto::wire::native::State;
use tracing::info;

use super::{Item, Source, Spec};
use crate::{
    error::{Error, Result, error},
    net::retry::{self, Retry},
    stop::Stop,
};

/// From one opening to the next at least: a camera that answers at once and ends at once is not asked more often.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Opens a source of one kind.
pub type Open = fn(&Spec, &Stop) -> Result<Box<dyn Source>>;

/// A source that is opened again after its end or a fault, unless its end is the end of a film.
pub struct Reopening {
    spec: Spec,
    open: Open,
    stop: Stop,
    source: Option<Box<dyn Source>>,
    description: String,
    /// Why there is no source.
    failure: Option<Error>,
    /// It was lost, and has given no frame since.
    lost: bool,
    /// When it was opened last.
    opened: Instant,
    retry: Retry,
    /// An item that comes after the one that was just returned.
    queued: Option<Item>,
    /// The number of the open source's first frame: it goes on where the one before has ended.
    first: u64,
    /// The number of the next frame.
    next: u64,
}

impl Reopening {
    /// Opens the source. With the option `wait`, it need not be there yet.
    ///
    /// # Errors
    /// As the source's own opening, without `wait`.
    pub fn open(spec: &Spec, stop: &Stop, open: Open) -> Result<Box<dyn Source>> {
        let mut this = Self {
            spec: spec.clone(),
            open,
            stop: stop.clone(),
            source: None,
            description: spec.source.to_string(),
            failure: None,
            lost: false,
            opened: Instant::now(),
            retry: Retry::default(),
            queued: None,
            first: 0,
            next: 0,
        };
        match open(spec, stop) {
            Ok(source) if source.is_finite() => return Ok(source),
            Ok(source) => this.begin(source),
            Err(error) if spec.options.wait && !stop.stopped() => {
                this.lose(error);
            }
            Err(error) => return Err(error),
        }
        Ok(Box::new(this))
    }

    fn begin(&mut self, source: Box<dyn Source>) {
        self.description = source.describe();
        self.source = Some(source);
        self.first = self.next;
    }

    fn lose(&mut self, error: Error) -> Item {
        self.source = None;
        self.lost = true;
        self.failure = Some(error.clone());
        Item::Fault(error)
    }

    /// Waits until the next opening is due, and tries it.
    fn reopen(&mut self, failure: &Error) -> Result<()> {
        let least = LEAST_INTERVAL.saturating_sub(self.opened.elapsed()).max(retry::least_wait(failure));
        self.retry.wait_at_least(least, failure, &self.stop);
        if !self.stop.stopped() {
            self.opened = Instant::now();
            self.begin((self.open)(&self.spec, &self.stop)?);
        }
        Ok(())
    }

    /// An item of the open source, as one of the whole.
    fn pass(&mut self, mut item: Item) -> Item {
        let Item::Frame(frame) = &mut item else { return item };
        frame.sequence += self.first;
        self.next = frame.sequence + 1;
        self.retry.reset();
        if !self.lost {
            return item;
        }
        self.lost = false;
        info!("{}: is back", self.description);
        self.queued = Some(item);
        Item::State(State::Live)
    }
}

impl Source for Reopening {
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(item) = self.queued.take() {
            return Ok(Some(item));
        }
        while !self.stop.stopped() {
            let reopened = self.failure.take().map_or(Ok(()), |failure| self.reopen(&failure));
            let fault = match (reopened, &mut self.source) {
                (Err(error), _) => error,
                (Ok(()), None) => continue,
                (Ok(()), Some(source)) => match source.next() {
                    Ok(Some(item)) => return Ok(Some(self.pass(item))),
                    Ok(None) => error!(ConnectionLost, "{}: the other end has closed the stream", self.spec.source),
                    Err(error) => error,
                },
            };
            if !self.stop.stopped() {
                return Ok(Some(self.lose(fault)));
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use framewire_proto::{Frame, Times};

    use super::*;

    /// A camera that gives three frames and then ends or fails, by turns; its second opening fails.
    struct Short(u64, bool);

    static OPENED: AtomicU32 = AtomicU32::new(0);

    fn open_short(_: &Spec, _: &Stop) -> Result<Box<dyn Source>> {
        match OPENED.fetch_add(1, Ordering::Relaxed) {
            1 => Err(error!(Refused, "it reboots")),
            opened => Ok(Box::new(Short(0, opened % 2 == 0))),
        }
    }

    impl Source for Short {
        fn next(&mut self) -> Result<Option<Item>> {
            self.0 += 1;
            match self.0 {
                1..=3 => Ok(Some(Item::Frame(Frame {
                    sequence: self.0 - 1,
                    keyframe: true,
                    times: Times::default(),
                    data: Bytes::new(),
                }))),
                _ if self.1 => Ok(None),
                _ => Err(error!(Timeout, "silence")),
            }
        }

        fn describe(&self) -> String {
            "short".into()
        }
    }

    #[test]
    fn an_end_or_a_fault_is_told_and_the_numbers_go_on() {
        let started = Instant::now();
        let mut source = Reopening::open(&"x".parse().unwrap(), &Stop::default(), open_short).unwrap();
        let told: Vec<_> = (0..13)
            .map(|_| match source.next().unwrap().unwrap() {
                Item::Frame(frame) => frame.sequence.to_string(),
                Item::Fault(error) => error.to_string(),
                Item::State(state) => format!("{state:?}"),
                other => panic!("{other:?}"),
            })
            .collect();
        let closed = "x: the other end has closed the stream";
        let expected = ["0", "1", "2", closed, "it reboots", "Live", "3", "4", "5", closed, "Live", "6", "7"];
        assert_eq!(told, expected);
        assert!(started.elapsed() >= 2 * LEAST_INTERVAL, "{:?}", started.elapsed());
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let stop = Stop::default();
        let spec = "x#wait".parse().unwrap();
        let mut source = Reopening::open(&spec, &stop, |_, _| Err(error!(PermissionDenied, "a password"))).unwrap();
        let raised = stop.clone();
        // Else it would take a minute.
        let waiter = std::thread::spawn(move || source.next().unwrap().is_none());
        raised.stop();
        assert!(waiter.join().unwrap());
    }
}
