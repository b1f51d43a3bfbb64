//! The three messages a broker posts, and the columns of a batch.

use dotter_dot::{Incarnation, Reason, Rows, TimeRange};

/// What a broker posts.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Dots of one ring.
    Batch(Batch),
    /// The ring has ended; its final counts.
    Finish(Finish),
    /// What does the collector know of this ring?
    Question(Question),
}

/// Which ring a message is about, and who says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The ring's life.
    pub incarnation: Incarnation,
    /// The name in the ring's header.
    pub application: String,
    /// Who posts.
    pub broker: String,
}

/// Dots of one ring, with every series they use and every record number they account for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Whose dots.
    pub sender: Sender,
    /// What `LaneBatch::series` points into.
    pub series: Vec<SeriesEntry>,
    /// The lanes, distinct.
    pub lanes: Vec<LaneBatch>,
    /// Totals of the whole ring, not of this batch.
    pub refusals: RefusalTotals,
}

/// One series as the ring has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// As it stands in the ring, valid or not.
    pub name: Vec<u8>,
    /// A letter per column.
    pub format: String,
    /// Unit of the values; empty where none was given.
    pub unit: String,
    /// Names of the columns; may be none.
    pub columns: Vec<String>,
}

/// The records `[first, next)` of one lane: dots, and the ranges that are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneBatch {
    /// Number of the lane.
    pub lane: u32,
    /// Number of the first record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// What is missing, in record order, disjoint.
    pub losses: Vec<LossRange>,
    /// Consecutive runs of dots in record order.
    pub runs: Vec<Run>,
    /// Per dot: index into [`Batch::series`].
    pub series: Vec<u32>,
    /// Per dot: nanoseconds since 1970.
    pub times: Vec<u64>,
    /// Per dot: its value, see [`Batch::is_word`]. A number as a word; else where in `rows` its row stands.
    pub words: Vec<u64>,
    /// The rows of those dots whose series hold more than a number. Nothing is checked here: a row may be anything.
    pub rows: Rows,
}

/// Records that are missing, `[first, next)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossRange {
    /// The first missing record.
    pub first: u64,
    /// One past the last missing record.
    pub next: u64,
    /// Why.
    pub reason: Reason,
    /// When their dots were, where that is known.
    pub times: Option<TimeRange>,
}

/// Dots in a row that share the clock flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many, at least one.
    pub dots: u32,
    /// Whether their times were stamped by the clock, not chosen.
    pub clock: bool,
}

/// Dots a ring has refused since it was made, by reason, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalTotals(pub Vec<(Reason, u64)>);

/// The ring has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Which ring.
    pub sender: Sender,
    /// Per lane its final next record number: how many records were ever committed to it.
    pub lanes: Vec<(u32, u64)>,
    /// Final totals.
    pub refusals: RefusalTotals,
}

/// What does the collector know of this ring?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Which ring.
    pub sender: Sender,
}

impl Message {
    /// Which ring, and who says so.
    pub fn sender(&self) -> &Sender {
        match self {
            Message::Batch(batch) => &batch.sender,
            Message::Finish(finish) => &finish.sender,
            Message::Question(question) => &question.sender,
        }
    }
}

impl Batch {
    /// Whether the dots of a series are one number each, a word: all but texts, raw bytes and rows of several columns.
    pub fn is_word(&self, series: u32) -> bool {
        self.series.get(series as usize).is_some_and(SeriesEntry::is_word)
    }

    /// Dots over all lanes.
    pub fn dots_len(&self) -> usize {
        self.lanes.iter().map(LaneBatch::dots_len).sum()
    }
}

impl SeriesEntry {
    /// Whether its dots are one number each: the format is one letter, and that is neither text's nor that of raw bytes.
    pub fn is_word(&self) -> bool {
        matches!(self.format.as_bytes(), [letter] if !matches!(letter, b's' | b'b'))
    }
}

impl LossRange {
    /// Records missing.
    pub fn records(&self) -> u64 {
        self.next - self.first
    }
}

impl LaneBatch {
    /// Dots in it.
    pub fn dots_len(&self) -> usize {
        self.words.len()
    }

    /// Records in it that are missing.
    pub fn lost(&self) -> u64 {
        self.losses.iter().map(LossRange::records).sum()
    }

    /// Cuts off every record below `watermark`, dots and losses alike.
    ///
    /// A watermark at or below `first` changes nothing; one at or above `next` leaves an empty lane whose `first`
    /// is its `next`. A loss that straddles the watermark keeps its time span.
    pub fn trim_below(&mut self, watermark: u64) {
        if watermark <= self.first {
            return;
        }
        let first = watermark.min(self.next);
        let mut lost_below = 0;
        self.losses.retain_mut(|loss| {
            lost_below += loss.next.min(first).saturating_sub(loss.first);
            loss.first = loss.first.max(first);
            loss.first < loss.next
        });
        // Fits: no more than the dots there are, and those are in memory.
        let cut = (first - self.first - lost_below) as usize;
        self.first = first;
        self.series.drain(..cut);
        self.times.drain(..cut);
        self.words.drain(..cut);
        let mut left = cut;
        self.runs.retain_mut(|run| {
            let below = left.min(run.dots as usize);
            left -= below;
            run.dots -= below as u32;
            run.dots > 0
        });
    }
}
