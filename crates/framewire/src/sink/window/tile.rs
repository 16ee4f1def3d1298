//! What a window shows: each tile with its player, its picture and what is written over it.

use std::time::{Duration, Instant, SystemTime};

use framewire_proto::{Micros, wire::native::Report};

use super::{
    Stats, Tile,
    label::Label,
    layout::{self, Area},
    player::{Bell, Player, Ready},
    screen::{Cell, Placed},
    snapshot, stats,
};
use crate::error::Result;
use crate::{clock, hub::Reporter, latency::Split, media::text::Font};

/// How long a note stays.
const NOTE: Duration = Duration::from_secs(3);
/// Pixels between a label and its cell's edge.
const GAP: u32 = 8;
/// What the keys do, under the overlay.
const KEYS: &str = "i overlay  f full screen  s snapshot\nspace freeze  q close";

/// All that is on a window.
pub(super) struct View {
    tiles: Vec<Shown>,
    mode: Mode,
    size: (u32, u32),
}

/// What the keys have been set to, and whether there is but one tile.
#[derive(Debug, Clone, Copy)]
struct Mode {
    overlay: bool,
    frozen: bool,
    alone: bool,
}

impl View {
    /// Starts a player for each tile.
    pub(super) fn new(tiles: Vec<Tile>, overlay: bool, bell: &Bell) -> Result<Self> {
        let mode = Mode { overlay, frozen: false, alone: tiles.len() == 1 };
        let tiles = tiles.into_iter().map(|tile| Shown::new(tile, bell)).collect::<Result<_>>()?;
        Ok(Self { tiles, mode, size: (0, 0) })
    }

    pub(super) fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Takes the newest pictures; returns whether anything changed that the labels tell at once.
    pub(super) fn collect(&mut self) -> bool {
        let mut news = false;
        for tile in &mut self.tiles {
            if !self.mode.frozen
                && let Some(ready) = tile.player.take()
            {
                tile.ready = Some(ready);
                tile.fresh = true;
                tile.changed = true;
            }
            news |= tile.word() != tile.told;
        }
        news
    }

    /// The size of the first picture, once there is one.
    pub(super) fn first_size(&self) -> Option<(u32, u32)> {
        let ready = self.tiles.iter().find_map(|tile| tile.ready.as_ref())?;
        Some((ready.picture.width(), ready.picture.height()))
    }

    /// Every stream has ended and its last picture was shown.
    pub(super) fn ended(&self) -> bool {
        self.tiles.iter().all(|tile| tile.player.standing().1 && !tile.fresh)
    }

    /// The window must be painted anew.
    pub(super) fn expose(&mut self) {
        for tile in &mut self.tiles {
            tile.changed = true;
        }
    }

    /// Gives each tile its place in a window of this size.
    pub(super) fn arrange(&mut self, size: (u32, u32)) {
        if self.size == size {
            return;
        }
        self.size = size;
        let cells = layout::grid(self.tiles.len(), size.0, size.1);
        for (tile, area) in self.tiles.iter_mut().zip(cells) {
            tile.area = area;
            tile.place_labels();
        }
    }

    /// Writes anew what stands over the pictures, where it says something else than before.
    pub(super) fn relabel(&mut self, now: Micros) {
        for (number, tile) in self.tiles.iter_mut().enumerate() {
            let texts = tile.texts(now, self.mode, number == 0);
            tile.told = tile.word();
            if texts != tile.texts {
                tile.texts = texts;
                tile.place_labels();
            }
        }
    }

    /// Paints when there is anything new, then reports the pictures that came onto the window.
    pub(super) fn paint(&mut self, paint: impl FnOnce(&[Cell]) -> Result<()>) -> Result<()> {
        if !self.tiles.iter().any(|tile| tile.changed) {
            return Ok(());
        }
        let cells: Vec<Cell> = self.tiles.iter().map(Shown::cell).collect();
        paint(&cells)?;
        let now = clock::now();
        for tile in &mut self.tiles {
            tile.painted(now);
        }
        Ok(())
    }

    pub(super) fn toggle_overlay(&mut self) {
        self.mode.overlay = !self.mode.overlay;
        self.relabel(clock::now());
    }

    pub(super) fn toggle_freeze(&mut self) {
        self.mode.frozen = !self.mode.frozen;
        for tile in &self.tiles {
            tile.player.freeze(self.mode.frozen);
        }
        self.relabel(clock::now());
    }

    /// Writes each picture on the window to a file and says where.
    pub(super) fn snapshot(&mut self) {
        for tile in &mut self.tiles {
            let Some(ready) = &tile.ready else { continue };
            let note = match snapshot::save(&tile.name, ready, SystemTime::now()) {
                Ok(file) => format!("saved {}", file.display()),
                Err(error) => format!("not saved: {error}"),
            };
            eprintln!("{note}");
            tile.note = Some((note, Instant::now()));
        }
        self.relabel(clock::now());
    }

    /// Asks the players to end.
    pub(super) fn stop(&self) {
        for tile in &self.tiles {
            tile.player.stop();
        }
    }

    /// Ends the players and waits for them.
    pub(super) fn join(&mut self) {
        for tile in &mut self.tiles {
            tile.player.join();
        }
    }

    /// The players have ended, and their subscribers are gone.
    pub(super) fn finished(&self) -> bool {
        self.tiles.iter().all(|tile| tile.player.finished())
    }

    /// What is known of each tile.
    pub(super) fn stats(&self, now: Micros) -> Vec<Stats> {
        self.tiles.iter().map(|tile| tile.stats(now)).collect()
    }
}

/// One tile on the window.
struct Shown {
    name: String,
    reporter: Reporter,
    player: Player,
    ready: Option<Ready>,
    /// The word for its state when its labels were written.
    told: &'static str,
    count: u64,
    split: Split,
    note: Option<(String, Instant)>,
    area: Area,
    texts: Vec<(Place, String)>,
    font: Font,
    labels: Vec<Placed>,
    /// The picture has not been painted yet.
    fresh: bool,
    /// Something about the tile has not been painted yet.
    changed: bool,
}

/// Where in its cell a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Corner,
    Middle,
    Bottom,
}

impl Shown {
    fn new(tile: Tile, bell: &Bell) -> Result<Self> {
        let reporter = tile.subscriber.reporter();
        let player = Player::start(tile.subscriber, tile.bound, bell.clone())?;
        Ok(Self {
            name: tile.name,
            reporter,
            player,
            ready: None,
            told: "",
            count: 0,
            split: Split::default(),
            note: None,
            area: Area::default(),
            texts: Vec::new(),
            font: Font::new(16),
            labels: Vec::new(),
            fresh: false,
            changed: true,
        })
    }

    fn word(&self) -> &'static str {
        let (state, ended) = self.player.standing();
        stats::word(self.ready.is_some(), state, ended)
    }

    fn stats(&self, now: Micros) -> Stats {
        Stats::new(&self.name, self.player.condition(), self.ready.as_ref(), self.count, self.split.clone(), now)
    }

    fn texts(&mut self, now: Micros, mode: Mode, keys: bool) -> Vec<(Place, String)> {
        let stats = self.stats(now);
        let since = self.ready.as_ref().map(|ready| now.saturating_sub(ready.received) as f64 / 1000.0);
        let sign = stats.sign(since);
        let mut texts = Vec::new();
        if mode.overlay {
            let keys = if keys { KEYS } else { "" };
            texts.push((Place::Corner, format!("{}{keys}", stats.overlay(sign.as_deref()))));
        } else {
            texts.extend((!mode.alone).then(|| (Place::Corner, format!("{}  {}", self.name, stats.state))));
            texts.extend(sign.map(|sign| (Place::Middle, sign)));
        }
        self.note.take_if(|(_, at)| at.elapsed() > NOTE);
        if let Some((note, _)) = &self.note {
            texts.push((Place::Bottom, note.clone()));
        } else if mode.frozen {
            texts.push((Place::Bottom, "frozen: space goes on".into()));
        }
        texts
    }

    fn place_labels(&mut self) {
        // Large enough to be read, small enough that the overlay fits.
        let (across, down) = (self.area.width, self.area.height);
        let side = (across / 80).max(12.min(across / 34)).min(down / 18).clamp(8, 24);
        if self.font.height() != side as i32 {
            self.font = Font::new(side);
        }
        let (width, height) = (self.area.width.saturating_sub(2 * GAP), self.area.height.saturating_sub(2 * GAP));
        let place = |(place, text): &(Place, String)| {
            let label = Label::new(text, &self.font, width, height);
            let middle = self.area.middle(label.width, label.height);
            let area = match place {
                Place::Middle => middle,
                Place::Corner => Area { x: self.area.x + GAP, y: self.area.y + GAP, ..middle },
                Place::Bottom => {
                    let y = (self.area.y + self.area.height).saturating_sub(GAP + label.height);
                    Area { x: self.area.x + GAP, y, ..middle }
                }
            };
            Placed { label, area }
        };
        self.labels = self.texts.iter().map(place).filter(|placed| !placed.area.empty()).collect();
        self.changed = true;
    }

    fn cell(&self) -> Cell<'_> {
        Cell {
            area: self.area,
            picture: self.ready.as_ref().map(|ready| &ready.picture),
            dimmed: matches!(self.told, "stalled" | "idle"),
            labels: &self.labels,
            fresh: self.fresh,
            changed: self.changed,
        }
    }

    fn painted(&mut self, now: Micros) {
        self.changed = false;
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        let Some(Ready { frame, received, decoded, led_up, .. }) = &self.ready else { return };
        let report = Report { sequence: frame.sequence, received: *received, decoded: *decoded, shown: now };
        self.count += 1;
        // The age of what was there before is not the latency of its way.
        if !led_up {
            self.split.take_arrival(&frame.times);
            self.split.take_delivery(&frame.times, &report);
            self.split.take_showing(&frame.times, &report);
        }
        self.reporter.report(&frame.times, &report, true);
    }
}
