//! From what lanes hold to one batch, within the limits of the wire.
//!
//! Always true: a batch accounts for every record from where a lane's cursor stood to where it stands now, as a
//! dot or inside a loss; a record that did not fit is the cursor's next one.
//!
//! A dot is converted here once, from the ring's record to the batch's columns; nothing is allocated per dot, and
//! the memory of one batch serves the next, whichever ring it is for.
//!
//! A number goes as the word it is in the ring, a text or a row of several columns as row bytes. A record that is not
//! what its series says is none of it: it is accounted for as damage.

use dotter_dot::{Reason, Rows, put_varint};
use dotter_ring::{Drained, Kind, LaneCursor, Loss, RingDot, RingReader, Value};
use dotter_wire::{BATCH_BYTES_MAX, Batch, LaneBatch, LossRange, RefusalTotals, Run, Sender, SeriesEntry};

use crate::TimeUnit;
use crate::lane::Lane;

/// Records taken from a lane at a time.
const SLICE_RECORDS: usize = 2048;

// What each part takes on the wire at most; FORMAT.md of the wire is the table these are added up from.
const BATCH_OVERHEAD_BYTES: usize = 28 + 2 * (2 + 255) + 2 + 3 + 3;
const REFUSAL_BYTES: usize = 11;
const LANE_BYTES: usize = 5 + 10 + 10 + 4 + 4;
const DOT_BYTES: usize = 3 + 10 + 8;
const RUN_BYTES: usize = 3;
const LOSS_BYTES: usize = 10 + 10 + 1 + 1 + 10 + 10;
const TEXT_OVERHEAD_BYTES: usize = 4;

/// Builds batches.
#[derive(Default)]
pub(crate) struct Filler {
    batch: Batch,
    /// Lanes of earlier batches, empty, for their memory.
    spare: Vec<LaneBatch>,
    drained: Drained,
    series: SeriesIndex,
    /// Bytes the batch takes at most.
    bytes: usize,
    time_unit: TimeUnit,
}

/// Where the ring's series stand in the batch.
#[derive(Default)]
struct SeriesIndex {
    /// By series id of the ring: index in the batch plus one, 0 where it is not there.
    places: Vec<u32>,
    /// The ids that are there.
    used: Vec<u32>,
    /// By index in the batch: what a record of the series is, and of how many columns.
    kinds: Vec<(Kind, usize)>,
}

/// How filling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Every lane was read to its head.
    All,
    /// The batch is full; there is more.
    Full,
}

impl Filler {
    /// - `time_unit`: how finely the stamps of the clock are kept
    pub(crate) fn new(time_unit: TimeUnit) -> Filler {
        Filler { time_unit, ..Filler::default() }
    }

    /// Takes up to `dots_max` dots out of `lanes`, beginning with lane `turn`, and returns how it ended.
    pub(crate) fn fill(
        &mut self,
        ring: &mut RingReader,
        lanes: &mut [Lane],
        turn: &mut usize,
        dots_max: usize,
        sender: &Sender,
        refusals: RefusalTotals,
    ) -> Filled {
        self.clear();
        self.batch.sender.clone_from(sender);
        self.bytes = BATCH_OVERHEAD_BYTES + refusals.0.len() * REFUSAL_BYTES;
        self.batch.refusals = refusals;
        let mut dots_left = dots_max;
        let count = lanes.len();
        for index in (*turn..count).chain(0..(*turn).min(count)) {
            let before = lanes[index].cursor.expected();
            if self.take_lane(ring, &mut lanes[index], &mut dots_left) == Filled::Full {
                // The next batch begins with the lane that got nothing, or behind the one that filled this batch:
                // none starves another.
                let took = lanes[index].cursor.expected() > before;
                *turn = (index + usize::from(took)) % count;
                return Filled::Full;
            }
        }
        Filled::All
    }

    /// Names the ring's reader holds at least, after filling from it: it reads all up to the last one asked for.
    pub(crate) fn names_held(&self) -> usize {
        self.series.used.iter().max().map_or(0, |id| *id as usize + 1)
    }

    /// Lane and number of the only dot in the batch filled last; `None` where it has none or several.
    pub(crate) fn only_dot(&self) -> Option<(u32, u64)> {
        let lane = self.batch.lanes.iter().find(|lane| lane.dots_len() > 0)?;
        let behind = |record, loss: &LossRange| if loss.first <= record { loss.next } else { record };
        (self.batch.dots_len() == 1).then(|| (lane.lane, lane.losses.iter().fold(lane.first, behind)))
    }

    /// The batch filled last.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    fn clear(&mut self) {
        for mut lane in self.batch.lanes.drain(..) {
            lane.losses.clear();
            lane.runs.clear();
            lane.series.clear();
            lane.times.clear();
            lane.words.clear();
            lane.rows.clear();
            self.spare.push(lane);
        }
        self.batch.series.clear();
        self.series.kinds.clear();
        for id in self.series.used.drain(..) {
            self.series.places[id as usize] = 0;
        }
    }

    fn take_lane(&mut self, ring: &mut RingReader, lane: &mut Lane, dots_left: &mut usize) -> Filled {
        let first = lane.cursor.expected();
        let mut taken =
            LaneBatch { lane: lane.number, first, next: first, ..self.spare.pop().unwrap_or_default() };
        self.bytes += LANE_BYTES;
        let mut filled = Filled::All;
        loop {
            let room = BATCH_BYTES_MAX.saturating_sub(self.bytes) / DOT_BYTES;
            let records_max = SLICE_RECORDS.min(*dots_left).min(room);
            if records_max == 0 {
                filled = Filled::Full;
                break;
            }
            self.drained.clear();
            if lane.cursor.drain(ring, records_max, &mut self.drained) == 0 {
                break;
            }
            let dots_before = taken.dots_len();
            let whole = self.append(ring, lane, &mut taken);
            *dots_left -= taken.dots_len() - dots_before;
            if !whole {
                lane.cursor = LaneCursor::resume(ring, lane.number, taken.next);
                filled = Filled::Full;
                break;
            }
        }
        if taken.next > taken.first {
            self.batch.lanes.push(taken);
        } else {
            self.bytes -= LANE_BYTES;
            self.spare.push(taken);
        }
        filled
    }

    /// Puts what was drained behind what `taken` has; false where the batch had no room for all of it.
    fn append(&mut self, ring: &mut RingReader, lane: &Lane, taken: &mut LaneBatch) -> bool {
        let drained = std::mem::take(&mut self.drained);
        let whole = self.append_drained(ring, lane, taken, &drained);
        self.drained = drained;
        whole
    }

    fn append_drained(
        &mut self,
        ring: &mut RingReader,
        lane: &Lane,
        taken: &mut LaneBatch,
        drained: &Drained,
    ) -> bool {
        let mut losses = drained.losses.iter().peekable();
        for dot in &drained.dots {
            while let Some(loss) = losses.next_if(|loss| loss.first <= taken.next) {
                if !self.lose(lane, taken, loss) {
                    return false;
                }
            }
            let suspect = lane.suspect.filter(|suspect| suspect.record == taken.next);
            if let Some(suspect) = suspect {
                if suspect.is_too_big() {
                    // The batch ends here: what comes next may be too big as well.
                    self.lose_one(lane, taken, Reason::TOO_BIG);
                    return false;
                }
                if !self.batch.lanes.is_empty() || taken.next > taken.first {
                    return false;
                }
            }
            let value = drained.value(dot);
            let place = match self.place(dot, value) {
                Some(place) => place,
                None => match self.enter(ring, dot, value) {
                    Entered::At(place) => place,
                    Entered::NoRoom if self.batch.lanes.is_empty() && taken.next == taken.first => {
                        // Alone in a batch and still too long for it: it never fits.
                        if !self.lose_one(lane, taken, Reason::TOO_BIG) {
                            return false;
                        }
                        continue;
                    }
                    Entered::NoRoom => return false,
                    Entered::Unknown => {
                        if !self.lose_one(lane, taken, Reason::DAMAGE) {
                            return false;
                        }
                        continue;
                    }
                },
            };
            let row_bytes = row_bytes_max(value);
            if self.bytes + DOT_BYTES + RUN_BYTES + row_bytes > BATCH_BYTES_MAX {
                return false;
            }
            match taken.runs.last_mut() {
                Some(run) if run.clock == dot.clock => run.dots += 1,
                _ => {
                    self.bytes += RUN_BYTES;
                    taken.runs.push(Run { dots: 1, clock: dot.clock });
                }
            }
            self.bytes += DOT_BYTES + row_bytes;
            taken.series.push(place);
            taken.times.push(if dot.clock { self.time_unit.floor(dot.time) } else { dot.time.nanos() });
            taken.words.push(word(value, &mut taken.rows));
            taken.next += 1;
            if suspect.is_some() {
                return false;
            }
        }
        losses.all(|loss| self.lose(lane, taken, loss))
    }

    fn lose_one(&mut self, lane: &Lane, taken: &mut LaneBatch, reason: Reason) -> bool {
        self.lose(lane, taken, &Loss { first: taken.next, next: taken.next + 1, reason, times: None })
    }

    /// Puts a loss behind what `taken` has; false where there is no room for it.
    fn lose(&mut self, lane: &Lane, taken: &mut LaneBatch, loss: &Loss) -> bool {
        // Below what was once acknowledged it is not the ring that lost them first.
        let middle = lane.acked_once.clamp(loss.first, loss.next);
        let overwritten = loss.reason == Reason::LAPPED;
        let parts = [
            (loss.first, middle, if overwritten { lane.gone_reason } else { loss.reason }),
            (middle, loss.next, loss.reason),
        ];
        if self.bytes + parts.len() * LOSS_BYTES > BATCH_BYTES_MAX {
            return false;
        }
        for (first, next, reason) in parts.into_iter().filter(|(first, next, _)| first < next) {
            match taken.losses.last_mut() {
                Some(last)
                    if last.next == first
                        && last.reason == reason
                        && loss.times.is_none()
                        && last.times.is_none() =>
                {
                    last.next = next;
                }
                _ => {
                    self.bytes += LOSS_BYTES;
                    taken.losses.push(LossRange { first, next, reason, times: loss.times });
                }
            }
            taken.next = next;
        }
        true
    }

    /// Where the dot's series stands in the batch, if it is there.
    #[inline]
    fn place(&self, dot: &RingDot, value: Value<'_>) -> Option<u32> {
        let place = self.series.places.get(dot.series as usize)?.checked_sub(1)?;
        // A record of another kind than its series is none of it: `enter` says so.
        (self.series.kinds[place as usize] == (dot.kind, columns(value))).then_some(place)
    }

    fn enter(&mut self, ring: &mut RingReader, dot: &RingDot, value: Value<'_>) -> Entered {
        let id = dot.series;
        let Some(series) = ring.series(id) else { return Entered::Unknown };
        if !is_of(series, dot.kind, columns(value)) {
            return Entered::Unknown;
        }
        let entry = SeriesEntry {
            name: series.raw_name.clone(),
            format: series.format.as_str().to_owned(),
            unit: series.unit.clone(),
            columns: series.columns.clone(),
        };
        let bytes = 4 * TEXT_OVERHEAD_BYTES
            + entry.name.len()
            + entry.format.len()
            + entry.unit.len()
            + entry.columns.iter().map(|column| TEXT_OVERHEAD_BYTES + column.len()).sum::<usize>();
        // Room is kept for the dot itself and its run.
        if self.bytes + bytes + DOT_BYTES + RUN_BYTES + row_bytes_max(value) > BATCH_BYTES_MAX {
            return Entered::NoRoom;
        }
        let places = &mut self.series.places;
        if places.len() <= id as usize {
            places.resize(id as usize + 1, 0);
        }
        let place = self.batch.series.len() as u32;
        self.bytes += bytes;
        self.batch.series.push(entry);
        places[id as usize] = place + 1;
        self.series.used.push(id);
        self.series.kinds.push((dot.kind, columns(value)));
        Entered::At(place)
    }
}

/// Columns of a record.
#[inline]
fn columns(value: Value<'_>) -> usize {
    if let Value::Row(cells) = value { cells.len() } else { 1 }
}

/// Whether a record of that kind and so many columns is what the series says its records are.
fn is_of(series: &dotter_ring::SeriesEntry, kind: Kind, columns: usize) -> bool {
    let letters = series.format.as_str();
    let letter = match kind {
        Kind::F64 => "F",
        Kind::F32 => "f",
        Kind::I64 => "I",
        Kind::U64 => "U",
        Kind::Text if letters == "b" => "b",
        Kind::Text => "s",
        // A row of the ring has numbers alone.
        Kind::Row if letters.len() == columns && !letters.contains(['s', 'b']) => letters,
        Kind::Row => return false,
    };
    series.kind == Some(kind) && letters == letter
}

/// What a dot adds to its lane's rows at most.
#[inline]
fn row_bytes_max(value: Value<'_>) -> usize {
    match value {
        Value::Text(text) => TEXT_OVERHEAD_BYTES + text.len(),
        Value::Row(cells) => cells.len() * 8,
        _ => 0,
    }
}

/// A dot's word on the wire.
#[inline]
fn word(value: Value<'_>, rows: &mut Rows) -> u64 {
    match value {
        Value::F64(number) => number.to_bits(),
        Value::I64(number) => number as u64,
        Value::U64(number) => number,
        Value::F32(number) => number.to_bits().into(),
        Value::Text(text) => rows.push_with(|out| {
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        }),
        // A row of one number is that number.
        Value::Row([cell]) => *cell,
        Value::Row(cells) => {
            rows.push_with(|out| out.extend(cells.iter().flat_map(|cell| cell.to_le_bytes())))
        }
    }
}

enum Entered {
    At(u32),
    NoRoom,
    Unknown,
}
