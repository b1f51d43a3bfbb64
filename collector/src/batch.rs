//! From a message of a broker to one transaction: what is new in it, decided against the ledger.
//!
//! Always true of what is appended: per lane it begins at the record wanted next, and every record of
//! `[first, next)` is a dot, lost or refused; dots, ranges and watermarks are one frame.

use dotter_dot::{
    Cell, Dots, Format, Incarnation, Letter, NameError, Reason, SeriesKey, SeriesName, Shape, Timestamp,
    check_row,
};
use dotter_store::{Account, Error, LaneRecords, Lost, Refused, RingPart, Transaction, Writer};
use dotter_wire::{Answer, Batch, Finish, LaneBatch, Message, RefusalTotals, SeriesEntry};

use crate::series_limit::SeriesLimit;
use crate::tally::Tally;

/// Lanes a ring may have; who names others is no broker of ours, and what the ledger holds is kept for long.
const LANES_LIMIT: u32 = 4096;
/// Refused ranges in one answer. With as many lanes as there may be the answer stays below the 256 KiB that a broker
/// reads; the ledger counts those left out all the same.
const REFUSED_SHOWN_MAX: usize = 2000;

/// What the writer has done with a message.
pub(crate) struct Decision {
    /// By the ledger as it is now: true once all that was appended so far is synced.
    pub(crate) answer: Answer,
    /// Whether nothing was done because records before these are missing.
    pub(crate) conflict: bool,
    /// Records that came after their ring had finished, and are not kept.
    pub(crate) after_finish: u64,
    /// What it adds to the counters.
    pub(crate) tally: Tally,
}

/// Space that is used again for every batch.
#[derive(Default)]
pub(crate) struct Columns {
    dots: Dots,
    lanes: Vec<LaneRecords>,
    keys: Vec<Key>,
}

/// What the dots of one series of a batch come to.
#[derive(Clone)]
enum Key {
    Unused,
    Used,
    /// Numbers for which every word will do.
    Plain(SeriesKey),
    /// Of this format, which not every value is of.
    Checked(SeriesKey, Format),
    Refused(Reason),
}

/// Checks what the wire format leaves open, before anything is queued.
///
/// # Errors
///
/// A sentence for whoever sent it.
pub(crate) fn check(message: &Message) -> Result<(), String> {
    let greatest = match message {
        Message::Batch(batch) => batch.lanes.iter().map(|lane| lane.lane).max(),
        Message::Finish(finish) => finish.lanes.iter().map(|(lane, _)| *lane).max(),
        Message::Question(_) => None,
    };
    match greatest.filter(|lane| *lane >= LANES_LIMIT) {
        Some(lane) => Err(format!("message names lane {lane}, a ring has at most {LANES_LIMIT}")),
        None => Ok(()),
    }
}

/// The names of a batch's series, valid or not; nothing for other messages.
pub(crate) fn names(message: &Message) -> Vec<Result<SeriesName, NameError>> {
    match message {
        Message::Batch(batch) => {
            batch.series.iter().map(|series| SeriesName::from_bytes(&series.name)).collect()
        }
        Message::Finish(_) | Message::Question(_) => Vec::new(),
    }
}

/// Decides about a message and appends what is new in it.
///
/// - `names`: as [`names`] gives them for this message
/// - `limit`: of the series that may be made
///
/// # Errors
///
/// What the store says; nothing of the message is to be answered then.
pub(crate) fn decide(
    writer: &mut Writer,
    message: Message,
    names: &[Result<SeriesName, NameError>],
    limit: &mut SeriesLimit,
    columns: &mut Columns,
    now: Timestamp,
) -> Result<Decision, Error> {
    let incarnation = message.sender().incarnation;
    if writer.ledger().is_finished(incarnation) {
        let answer = Answer { finished: true, ..answer(writer, incarnation, &[]) };
        let after_finish = after_finish(writer, &message);
        return Ok(Decision { answer, conflict: false, after_finish, tally: Tally::default() });
    }
    match message {
        Message::Batch(batch) => decide_batch(writer, batch, names, limit, columns, now),
        Message::Finish(finish) => decide_finish(writer, &finish, now),
        Message::Question(_) => {
            let known = writer.ledger().account(incarnation);
            let lanes =
                known.iter().flat_map(|account| &account.lanes).map(|(lane, of)| (*lane, of.next)).collect();
            let answer = Answer { lanes, ..answer(writer, incarnation, &[]) };
            Ok(Decision { answer, conflict: false, after_finish: 0, tally: Tally::default() })
        }
    }
}

fn decide_batch(
    writer: &mut Writer,
    mut batch: Batch,
    names: &[Result<SeriesName, NameError>],
    limit: &mut SeriesLimit,
    columns: &mut Columns,
    now: Timestamp,
) -> Result<Decision, Error> {
    let incarnation = batch.sender.incarnation;
    let lanes: Vec<u32> = batch.lanes.iter().map(|lane| lane.lane).collect();
    if batch.lanes.iter().any(|lane| lane.first > writer.ledger().next(incarnation, lane.lane)) {
        return Ok(conflict(writer, incarnation, &lanes));
    }
    for lane in &mut batch.lanes {
        lane.trim_below(writer.ledger().next(incarnation, lane.lane));
    }
    batch.lanes.retain(|lane| lane.first < lane.next);
    columns.find_keys(writer, &batch, names, limit);
    let refused = columns.fill(&batch.lanes);
    let mut tally = Tally::default();
    let known = writer.ledger().account(incarnation);
    let is_new = known.is_none();
    if !batch.lanes.is_empty() || has_news(known, &batch.refusals) {
        let ring = RingPart {
            incarnation,
            application: &batch.sender.application,
            // Rings tell neither their owner nor which of their series are counters yet.
            owner: None,
            counters: &[],
            refusals: &batch.refusals.0,
            now,
        };
        writer.append(&Transaction { ring: Some(ring), lanes: &columns.lanes, dots: &columns.dots })?;
        tally.batches = 1;
        tally.dots = columns.dots.len() as u64;
        tally.unsure = u64::from(is_new && is_unsure(writer, incarnation));
        for lane in &columns.lanes {
            for lost in &lane.losses {
                *tally.lost.entry(lost.reason).or_default() += lost.next - lost.first;
            }
            for refused in &lane.refused {
                *tally.refused.entry(refused.reason).or_default() += refused.next - refused.first;
            }
        }
    }
    let answer = Answer { refused, ..answer(writer, incarnation, &lanes) };
    Ok(Decision { answer, conflict: false, after_finish: 0, tally })
}

fn decide_finish(writer: &mut Writer, finish: &Finish, now: Timestamp) -> Result<Decision, Error> {
    let incarnation = finish.sender.incarnation;
    let lanes: Vec<u32> = finish.lanes.iter().map(|(lane, _)| *lane).collect();
    if finish.lanes.iter().any(|(lane, next)| *next > writer.ledger().next(incarnation, *lane)) {
        return Ok(conflict(writer, incarnation, &lanes));
    }
    let is_new = writer.ledger().account(incarnation).is_none();
    let answer = Answer { finished: true, ..answer(writer, incarnation, &lanes) };
    let ring = RingPart {
        incarnation,
        application: &finish.sender.application,
        // Rings tell neither their owner nor which of their series are counters yet.
        owner: None,
        counters: &[],
        refusals: &finish.refusals.0,
        now,
    };
    writer.finish(&ring, &finish.lanes, now)?;
    let unsure = u64::from(is_new && is_unsure(writer, incarnation));
    Ok(Decision { answer, conflict: false, after_finish: 0, tally: Tally { unsure, ..Tally::default() } })
}

/// Whether a ring that is new to the ledger may have been there before.
fn is_unsure(writer: &Writer, incarnation: Incarnation) -> bool {
    writer.ledger().account(incarnation).is_some_and(|account| account.unsure)
}

/// How many records a batch of a finished ring has that the ring had not when it finished, where that is still known.
fn after_finish(writer: &Writer, message: &Message) -> u64 {
    let Message::Batch(batch) = message else { return 0 };
    let Some(account) = writer.ledger().account(batch.sender.incarnation) else { return 0 };
    let next = |lane: u32| account.lanes.get(&lane).map_or(0, |lane| lane.next);
    let beyond = batch.lanes.iter().map(|lane| lane.next.saturating_sub(next(lane.lane).max(lane.first)));
    beyond.fold(0, u64::saturating_add)
}

/// Whether totals of the ring's own refusals go beyond those booked.
fn has_news(account: Option<&Account>, totals: &RefusalTotals) -> bool {
    let booked =
        |reason| account.and_then(|account| account.refused_in_ring.get(&reason)).copied().unwrap_or(0);
    totals.0.iter().any(|(reason, total)| *total > booked(*reason))
}

fn conflict(writer: &Writer, incarnation: Incarnation, lanes: &[u32]) -> Decision {
    Decision {
        answer: answer(writer, incarnation, lanes),
        conflict: true,
        after_finish: 0,
        tally: Tally::default(),
    }
}

/// What is wanted next of each of `lanes`, by the ledger as it stands.
fn answer(writer: &Writer, incarnation: Incarnation, lanes: &[u32]) -> Answer {
    let next = |lane: &u32| (*lane, writer.ledger().next(incarnation, *lane));
    Answer {
        store: writer.store().to_string(),
        durable: true,
        incarnation,
        finished: false,
        lanes: lanes.iter().map(next).collect(),
        refused: Vec::new(),
    }
}

impl Columns {
    /// Finds or makes the series of every dot that is left, and of no other: a batch that comes again must not make
    /// any.
    fn find_keys(
        &mut self,
        writer: &mut Writer,
        batch: &Batch,
        names: &[Result<SeriesName, NameError>],
        limit: &mut SeriesLimit,
    ) {
        self.keys.clear();
        self.keys.resize(batch.series.len(), Key::Unused);
        for series in batch.lanes.iter().flat_map(|lane| &lane.series) {
            self.keys[*series as usize] = Key::Used;
        }
        for ((key, name), entry) in self.keys.iter_mut().zip(names).zip(&batch.series) {
            if matches!(key, Key::Used) {
                *key = find_key(writer, name, entry, limit);
            }
        }
    }

    /// Fills dots and lanes. Returns what the collector refuses: (lane, first, next, reason), neighbours put together,
    /// no more than an answer shows.
    fn fill(&mut self, lanes: &[LaneBatch]) -> Vec<(u32, u64, u64, Reason)> {
        self.dots.clear();
        self.lanes.clear();
        let mut shown = Vec::new();
        for lane in lanes {
            let mut refused = Vec::new();
            if lane.series.iter().all(|series| matches!(self.keys[*series as usize], Key::Plain(_))) {
                self.push_all(lane);
            } else {
                self.push_some(lane, &mut refused);
            }
            let room = REFUSED_SHOWN_MAX - shown.len();
            shown.extend(refused.iter().take(room).map(|r: &Refused| (lane.lane, r.first, r.next, r.reason)));
            let mut losses = Vec::new();
            for loss in &lane.losses {
                let (first, next, reason, times) = (loss.first, loss.next, loss.reason, loss.times);
                if reason.is_refusal() {
                    refused.push(Refused { first, next, reason });
                } else {
                    losses.push(Lost { first, next, reason, times });
                }
            }
            refused.sort_unstable_by_key(|refused| refused.first);
            self.lanes.push(LaneRecords {
                lane: lane.lane,
                first: lane.first,
                next: lane.next,
                losses,
                refused,
                // Brokers do not shard yet.
                elsewhere: 0,
            });
        }
        shown
    }

    /// Every dot of a lane whose series are all plain numbers that are kept: the way of nearly every batch.
    fn push_all(&mut self, lane: &LaneBatch) {
        let mut at = 0;
        for run in &lane.runs {
            let span = at..at + run.dots as usize;
            at = span.end;
            let dots = lane.series[span.clone()].iter().zip(&lane.times[span.clone()]).zip(&lane.words[span]);
            for ((series, time), word) in dots {
                if let Key::Plain(key) = self.keys[*series as usize] {
                    self.dots.push(key, run.clock, Timestamp::from_nanos(*time), Cell::Word(*word));
                }
            }
        }
    }

    /// The dots of a lane that are kept; the records of the others go to `refused`.
    fn push_some(&mut self, lane: &LaneBatch, refused: &mut Vec<Refused>) {
        let mut clocks = lane.runs.iter().flat_map(|run| std::iter::repeat_n(run.clock, run.dots as usize));
        let mut losses = lane.losses.iter().peekable();
        let mut record = lane.first;
        for ((series, time), word) in lane.series.iter().zip(&lane.times).zip(&lane.words) {
            while let Some(loss) = losses.next_if(|loss| loss.first == record) {
                record = loss.next;
            }
            let clock = clocks.next().expect("runs hold as many dots as there are");
            let (time, word) = (Timestamp::from_nanos(*time), *word);
            let reason = match &self.keys[*series as usize] {
                Key::Plain(key) => {
                    self.dots.push(*key, clock, time, Cell::Word(word));
                    None
                }
                Key::Checked(key, format) => match format.word() {
                    Some(letter) if letter.holds(word) => {
                        self.dots.push(*key, clock, time, Cell::Word(word));
                        None
                    }
                    None if check_row(format, lane.rows.get(word)).is_ok() => {
                        self.dots.push(*key, clock, time, Cell::Row(lane.rows.get(word)));
                        None
                    }
                    _ => Some(Reason::OTHER),
                },
                Key::Refused(reason) => Some(*reason),
                Key::Unused | Key::Used => unreachable!("the series of every dot was looked for"),
            };
            match (reason, refused.last_mut()) {
                (None, _) => {}
                (Some(reason), Some(last)) if last.next == record && last.reason == reason => last.next += 1,
                (Some(reason), _) => refused.push(Refused { first: record, next: record + 1, reason }),
            }
            record += 1;
        }
    }
}

fn find_key(
    writer: &mut Writer,
    name: &Result<SeriesName, NameError>,
    entry: &SeriesEntry,
    limit: &mut SeriesLimit,
) -> Key {
    let Ok(name) = name else { return Key::Refused(Reason::NAME) };
    // What a format that is none means by its bytes is not ours to guess.
    let shape = Format::new(&entry.format)
        .ok()
        .and_then(|format| Shape::new(format, &entry.unit, &entry.columns).ok());
    let Some(shape) = shape else { return Key::Refused(Reason::OTHER) };
    let Some(key) = limit.key(writer, name, &shape) else { return Key::Refused(Reason::SERIES_LIMIT) };
    match shape.word() {
        Some(Letter::F64 | Letter::I64 | Letter::U64) => Key::Plain(key),
        _ => Key::Checked(key, shape.format().clone()),
    }
}
