//! The contents of a window: each tile with its player, its picture and its labels.

use std::time::{Duration, Instant, SystemTime};

use framewire_proto::{Micros, wire::native::Report};

use super::{
    label::Label,
    layout::{self, Area},
    options::Tile,
    player::{DecodedPicture, Player, Waker},
    screen::{Cell, PlacedLabel},
    snapshot,
    stats::{self, Stats},
};
use crate::error::Result;
use crate::{clock, hub::Reporter, latency::Split, media::text::Font};

/// How long a note is shown.
const NOTE_TIME: Duration = Duration::from_secs(3);
/// Pixels between a label and its cell's edge.
const MARGIN: u32 = 8;
/// The keys, at the end of the overlay.
const KEYS: &str = "i overlay  f full screen  s snapshot\nspace freeze  q close";

/// The contents of a window.
pub(super) struct View {
    tiles: Vec<TileView>,
    mode: Mode,
    size: (u32, u32),
}

/// The settings that keys change, and whether there is only one tile.
#[derive(Debug, Clone, Copy)]
struct Mode {
    overlay: bool,
    frozen: bool,
    alone: bool,
}

impl View {
    /// Starts a player for each tile.
    pub(super) fn new(tiles: Vec<Tile>, overlay: bool, waker: &Waker) -> Result<Self> {
        let mode = Mode { overlay, frozen: false, alone: tiles.len() == 1 };
        let tiles = tiles.into_iter().map(|tile| TileView::new(tile, waker)).collect::<Result<_>>()?;
        Ok(Self { tiles, mode, size: (0, 0) })
    }

    pub(super) fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Takes the newest pictures. Returns whether a state has changed, which the labels must show at once.
    pub(super) fn collect(&mut self) -> bool {
        let mut state_changed = false;
        for tile in &mut self.tiles {
            if !self.mode.frozen
                && let Some(picture) = tile.player.take()
            {
                tile.picture = Some(picture);
                tile.fresh = true;
                tile.changed = true;
            }
            state_changed |= tile.state_name() != tile.labelled_state;
        }
        state_changed
    }

    /// The size of the first picture, once there is one.
    pub(super) fn first_size(&self) -> Option<(u32, u32)> {
        let picture = self.tiles.iter().find_map(|tile| tile.picture.as_ref())?;
        Some((picture.picture.width(), picture.picture.height()))
    }

    /// Whether every stream has ended and its last picture was shown.
    pub(super) fn ended(&self) -> bool {
        self.tiles.iter().all(|tile| tile.player.state_and_end().1 && !tile.fresh)
    }

    /// Notes that the whole window must be painted again.
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

    /// Updates the labels where their text has changed.
    pub(super) fn relabel(&mut self, now: Micros) {
        for (number, tile) in self.tiles.iter_mut().enumerate() {
            let texts = tile.texts(now, self.mode, number == 0);
            tile.labelled_state = tile.state_name();
            if texts != tile.texts {
                tile.texts = texts;
                tile.place_labels();
            }
        }
    }

    /// Paints if anything has changed, then reports the pictures that were shown.
    pub(super) fn paint(&mut self, paint: impl FnOnce(&[Cell]) -> Result<()>) -> Result<()> {
        if !self.tiles.iter().any(|tile| tile.changed) {
            return Ok(());
        }
        let cells: Vec<Cell> = self.tiles.iter().map(TileView::cell).collect();
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

    /// Saves each picture in the window to a file, and shows the file's name.
    pub(super) fn snapshot(&mut self) {
        for tile in &mut self.tiles {
            let Some(picture) = &tile.picture else { continue };
            let note = match snapshot::save(&tile.name, picture, SystemTime::now()) {
                Ok(file) => format!("saved {}", file.display()),
                Err(error) => format!("not saved: {error}"),
            };
            eprintln!("{note}");
            tile.note = Some((note, Instant::now()));
        }
        self.relabel(clock::now());
    }

    /// Tells the players to end.
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

    /// Whether the players have ended and their subscribers were dropped.
    pub(super) fn finished(&self) -> bool {
        self.tiles.iter().all(|tile| tile.player.finished())
    }

    /// The figures of each tile.
    pub(super) fn stats(&self, now: Micros) -> Vec<Stats> {
        self.tiles.iter().map(|tile| tile.stats(now)).collect()
    }
}

/// One tile in the window.
struct TileView {
    name: String,
    reporter: Reporter,
    player: Player,
    picture: Option<DecodedPicture>,
    /// The state that the labels show.
    labelled_state: &'static str,
    count: u64,
    split: Split,
    note: Option<(String, Instant)>,
    area: Area,
    texts: Vec<(LabelPosition, String)>,
    font: Font,
    labels: Vec<PlacedLabel>,
    /// The picture was not painted yet.
    fresh: bool,
    /// Something in the tile was not painted yet.
    changed: bool,
}

/// The place of a label in its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelPosition {
    Corner,
    Middle,
    Bottom,
}

impl TileView {
    fn new(tile: Tile, waker: &Waker) -> Result<Self> {
        let reporter = tile.subscriber.reporter();
        let player = Player::start(tile.subscriber, tile.stale_filter, waker.clone())?;
        Ok(Self {
            name: tile.name,
            reporter,
            player,
            picture: None,
            labelled_state: "",
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

    fn state_name(&self) -> &'static str {
        let (state, ended) = self.player.state_and_end();
        stats::state_name(self.picture.is_some(), state, ended)
    }

    fn stats(&self, now: Micros) -> Stats {
        Stats::new(&self.name, self.player.status(), self.picture.as_ref(), self.count, self.split.clone(), now)
    }

    fn texts(&mut self, now: Micros, mode: Mode, keys: bool) -> Vec<(LabelPosition, String)> {
        let stats = self.stats(now);
        let since = self.picture.as_ref().map(|picture| now.saturating_sub(picture.received) as f64 / 1000.0);
        let banner = stats.banner(since);
        let mut texts = Vec::new();
        if mode.overlay {
            let keys = if keys { KEYS } else { "" };
            texts.push((LabelPosition::Corner, format!("{}{keys}", stats.overlay(banner.as_deref()))));
        } else {
            texts.extend((!mode.alone).then(|| (LabelPosition::Corner, format!("{}  {}", self.name, stats.state))));
            texts.extend(banner.map(|banner| (LabelPosition::Middle, banner)));
        }
        self.note.take_if(|(_, at)| at.elapsed() > NOTE_TIME);
        if let Some((note, _)) = &self.note {
            texts.push((LabelPosition::Bottom, note.clone()));
        } else if mode.frozen {
            texts.push((LabelPosition::Bottom, "frozen: press space to continue".into()));
        }
        texts
    }

    fn place_labels(&mut self) {
        // Large enough to read, and small enough for the overlay to fit.
        let (across, down) = (self.area.width, self.area.height);
        let side = (across / 80).max(12.min(across / 34)).min(down / 18).clamp(8, 24);
        if self.font.height() != side as i32 {
            self.font = Font::new(side);
        }
        let (width, height) = (self.area.width.saturating_sub(2 * MARGIN), self.area.height.saturating_sub(2 * MARGIN));
        let place = |(place, text): &(LabelPosition, String)| {
            let label = Label::new(text, &self.font, width, height);
            let middle = self.area.middle(label.width, label.height);
            let area = match place {
                LabelPosition::Middle => middle,
                LabelPosition::Corner => Area { x: self.area.x + MARGIN, y: self.area.y + MARGIN, ..middle },
                LabelPosition::Bottom => {
                    let y = (self.area.y + self.area.height).saturating_sub(MARGIN + label.height);
                    Area { x: self.area.x + MARGIN, y, ..middle }
                }
            };
            PlacedLabel { label, area }
        };
        self.labels = self.texts.iter().map(place).filter(|placed| !placed.area.empty()).collect();
        self.changed = true;
    }

    fn cell(&self) -> Cell<'_> {
        Cell {
            area: self.area,
            picture: self.picture.as_ref().map(|picture| &picture.picture),
            dimmed: matches!(self.labelled_state, "stalled" | "idle"),
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
        let Some(DecodedPicture { frame, received, decoded, catching_up, .. }) = &self.picture else { return };
        let report = Report { sequence: frame.sequence, received: *received, decoded: *decoded, shown: now };
        self.count += 1;
        // A frame that catches up was stored in the hub, so its age is not a latency.
        if !catching_up {
            self.split.take_arrival(&frame.times);
            self.split.take_delivery(&frame.times, &report);
            self.split.take_showing(&frame.times, &report);
        }
        self.reporter.report(&frame.times, &report, true);
    }
}
