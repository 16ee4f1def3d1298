//! The viewer: decodes, notes which frame each picture is and when it was there, and tells all of it at the end.

use anyhow::Result;
use framewire::{
    clock,
    media::{
        Picture, decode,
        stamp::{self, Stamp},
    },
    proto::{Codec, Micros},
    source::{self, Item},
    stop::Stop,
};

/// Views a stream until the stop is raised.
pub(crate) fn view(hub: &str, passed: bool, stop: &Stop) -> Result<()> {
    tell(&format!("\"connecting\": {}", clock::now()));
    let mut source = source::open(&hub.parse()?, stop)?;
    let mut screen = Screen::default();
    let mut decoder = decode::Decoder::new();
    let mut config = None;
    while let Some(item) = source.next()? {
        match item {
            Item::Frame(_) if passed => screen.received(),
            Item::Frame(frame) => {
                let Some(config) = &config else { continue };
                if let Some(picture) = decoder.decode(config, &frame, Codec::I420)? {
                    screen.show(&picture);
                }
            }
            Item::Config(new) => config = Some(new),
            Item::State(_) => {}
        }
    }
    screen.tell();
    Ok(())
}

#[derive(Default)]
struct Screen {
    seen: Vec<Seen>,
    unreadable: u64,
}

struct Seen {
    stamp: Stamp,
    decoded: Micros,
}

impl Screen {
    /// A picture is decoded.
    fn show(&mut self, picture: &Picture) {
        let decoded = clock::now();
        match stamp::read(picture.data(), picture.width(), picture.width() as usize) {
            Some(stamp) => self.note(Seen { stamp, decoded }),
            None => self.unreadable += 1,
        }
    }

    /// A frame that is not looked at.
    fn received(&mut self) {
        self.note(Seen { stamp: Stamp { number: 0, captured: 0 }, decoded: clock::now() });
    }

    fn note(&mut self, seen: Seen) {
        if self.seen.is_empty() {
            tell(&format!("\"first\": {}", seen.decoded));
        }
        self.seen.push(seen);
    }

    fn tell(&self) {
        let frames: Vec<_> = self.seen.iter().map(Seen::to_json).collect();
        tell(&format!("\"frames\": [{}], \"unreadable\": {}", frames.join(", "), self.unreadable));
    }
}

impl Seen {
    fn to_json(&self) -> String {
        let Stamp { number, captured } = self.stamp;
        format!("[{number}, {captured}, {}]", self.decoded)
    }
}

/// One line of JSON for `bench/run`.
fn tell(facts: &str) {
    println!("{{{facts}}}");
}
