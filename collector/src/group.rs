//! One writer at work: decide, append, and one sync for all that wait.
//!
//! Always true:
//!
//! - a post is answered after a sync that covers everything its answer rests on, its own frame or those of others;
//!   where nothing waits to be synced, at once
//! - a sync comes when no post waits, or at [`GROUP_BYTES`], [`GROUP_DOTS`] or [`GROUP_AGE`] after the first append
//! - a claim is taken just before the append of its rows, and rows whose claim is gone are dropped
//! - lines wait at most [`GROUP_AGE`] for company, and are kept until they are synced
//! - while the disk has less free than its reserve no rows are appended but those that were taken before, and at the end
//!   lines that are queued: they were read, and nobody else has them

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{TryRecvError, never, select};
use dotter_daemon::chain;
use dotter_dot::{Dots, NamedDots, Timestamp};
use dotter_store::{ClaimName, Error, Transaction, Writer, take_claim};
use dotter_wire::Message;

use crate::bad_line::BadLine;
use crate::batch::{self, Columns, Decision};
use crate::given::Commit;
use crate::ingest::{NotNow, Outcome, Post, Ticket, Work};
use crate::series_limit::SeriesLimit;
use crate::tally::Tally;

const GROUP_BYTES: usize = 1_000_000;
const GROUP_DOTS: u64 = 10_000;
const GROUP_AGE: Duration = Duration::from_millis(50);

/// Log that waits to be sealed, above which nothing is taken: what a start would have to read again is bounded.
const UNSEALED_BYTES_MAX: u64 = 48 << 20;
const UNSEALED_FILES_MAX: u64 = 256;
/// How long posts wait for the log to be sealed before they are told to come again.
const UNSEALED_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at whether it has been.
const UNSEALED_LOOK: Duration = Duration::from_millis(5);

/// Between two entries of the collector's own series.
const BEAT: Duration = Duration::from_secs(10);
/// The thread shows that it lives at least this often.
const SEEN: Duration = Duration::from_secs(1);

/// What waits for the next sync. It outlives its writer: lines are kept for the next one.
#[derive(Default)]
pub(crate) struct Group {
    waiting: Vec<(Ticket, Outcome)>,
    tally: Tally,
    /// When the oldest of it was appended, or taken where that is lines.
    begun: Option<Instant>,
    lines: Vec<NamedDots>,
    /// What the ledger said when the last writer opened the log, and what has been counted since.
    counted: Option<Tally>,
}

impl Group {
    /// Tells all who wait to come again.
    pub(crate) fn fail(&mut self, trouble: &NotNow) {
        for (ticket, _) in self.waiting.drain(..) {
            ticket.answer(Outcome::NotNow(trouble.clone()));
        }
        self.tally = Tally::default();
        self.begun = None;
    }

    /// Dots of lines that are kept.
    pub(crate) fn lines_len(&self) -> u64 {
        self.lines.iter().map(|rows| rows.len() as u64).sum()
    }
}

/// What to do next.
enum Step {
    Post(Post),
    Lines(NamedDots),
    Sync,
    Nothing,
    Last,
}

/// A writer at work.
pub(crate) struct Serving<'a> {
    with: &'a Commit,
    writer: &'a mut Writer,
    group: &'a mut Group,
    limit: SeriesLimit,
    columns: Columns,
    /// Rows of a post, while they are appended.
    row_dots: Dots,
    /// The lines of the group that are not appended yet.
    line_dots: Dots,
    /// Files that waited to be sealed when the thread that seals was last woken.
    files_seen: u64,
    /// Since when too much waits to be sealed.
    held_back: Option<Instant>,
    next_beat: Instant,
    has_synced: bool,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(with: &'a Commit, writer: &'a mut Writer, group: &'a mut Group) -> Serving<'a> {
        Serving {
            with,
            writer,
            group,
            limit: SeriesLimit::new(with.dir.clone(), with.series_max, with.log.clone()),
            columns: Columns::default(),
            row_dots: Dots::default(),
            line_dots: Dots::default(),
            files_seen: 0,
            held_back: None,
            next_beat: Instant::now() + BEAT,
            has_synced: false,
        }
    }

    /// Whether this writer has ever synced: its failure is not one of opening it.
    pub(crate) fn has_synced(&self) -> bool {
        self.has_synced
    }

    /// Serves until nothing more will be queued, and all that was is synced and answered.
    ///
    /// # Errors
    ///
    /// Where the log fails: then the writer is of no more use.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        self.catch_up();
        self.look();
        for rows in std::mem::take(&mut self.group.lines) {
            self.take_lines(rows);
        }
        loop {
            self.with.metrics.see();
            if self.next_beat <= Instant::now() {
                self.beat();
            }
            match self.next_step() {
                Step::Post(post) => self.post(post)?,
                Step::Lines(rows) => self.take_lines(rows),
                Step::Sync => self.sync()?,
                Step::Nothing => self.limit.begin(),
                Step::Last => return self.end(),
            }
        }
    }

    /// Counts what an earlier writer left in the log when it failed: durable, though nobody was told.
    fn catch_up(&mut self) {
        let booked = Tally::of(self.writer.ledger());
        if let Some(counted) = &self.group.counted {
            self.with.metrics.add(&booked.since(counted));
        }
        self.group.counted = Some(booked);
    }

    fn next_step(&mut self) -> Step {
        if self.is_due() {
            return Step::Sync;
        }
        let jobs = &self.with.jobs;
        if !self.group.waiting.is_empty() {
            return match jobs.posts.try_recv() {
                Ok(post) => Step::Post(post),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => Step::Sync,
            };
        }
        let now = Instant::now();
        let mut until = self.next_beat.min(now + SEEN);
        if let Some(begun) = self.group.begun {
            until = until.min(begun + GROUP_AGE);
        }
        let nothing = never();
        let mut lines = &jobs.lines;
        if self.is_held_back() {
            until = until.min(now + UNSEALED_LOOK);
            lines = &nothing;
        }
        if self.is_short() {
            lines = &nothing;
        }
        select! {
            recv(jobs.posts) -> post => post.map_or(Step::Last, Step::Post),
            recv(lines) -> rows => rows.map_or(Step::Last, Step::Lines),
            recv(self.with.last) -> _ => Step::Last,
            default(until.saturating_duration_since(now)) => Step::Nothing,
        }
    }

    /// Whether what was appended or gathered should wait no longer.
    fn is_due(&self) -> bool {
        let Some(begun) = self.group.begun else { return false };
        let dots = self.group.tally.dots + self.group.tally.rows + self.line_dots.len() as u64;
        dots >= GROUP_DOTS || self.writer.pending_bytes() >= GROUP_BYTES || begun.elapsed() >= GROUP_AGE
    }

    fn post(&mut self, Post { work, ticket }: Post) -> Result<(), Error> {
        if matches!(work, Work::CloseFile) {
            return self.close_file(ticket);
        }
        let adds_rows = matches!(&work, Work::Rows(..) | Work::Message(Message::Batch(_), _));
        if let Some(short) = self.with.reserve.short(Instant::now()).filter(|_| adds_rows) {
            self.with.metrics.disk_refused.fetch_add(1, Relaxed);
            ticket.answer(Outcome::NotNow(NotNow::Reserve(short)));
            return Ok(());
        }
        let writes = !matches!(&work, Work::Message(Message::Question(_), _));
        if writes && !self.wait_for_seal()? {
            self.with.metrics.held_back.fetch_add(1, Relaxed);
            ticket.answer(Outcome::NotNow(NotNow::Unsealed));
            return Ok(());
        }
        match self.append(work) {
            // Nothing was appended.
            Ok(
                outcome @ (Outcome::TooBig(_)
                | Outcome::SeriesLimit(_)
                | Outcome::Closed
                | Outcome::Dropped
                | Outcome::NotNow(_)),
            ) => ticket.answer(outcome),
            // Nothing waits to be synced, so the answer rests on what is.
            Ok(outcome) if self.writer.pending_bytes() == 0 => ticket.answer(outcome),
            Ok(outcome) => {
                self.group.waiting.push((ticket, outcome));
                self.group.begun.get_or_insert_with(Instant::now);
            }
            Err(error) => {
                ticket.answer(Outcome::NotNow(NotNow::of(&error)));
                return Err(error);
            }
        }
        Ok(())
    }

    fn append(&mut self, work: Work) -> Result<Outcome, Error> {
        self.limit.begin();
        match work {
            // It appends nothing: `post` has seen to it.
            Work::CloseFile => Ok(Outcome::Closed),
            Work::Rows(rows, claim) => self.append_rows(rows, claim),
            Work::Message(message, names) => {
                let (limit, columns, now) = (&mut self.limit, &mut self.columns, Timestamp::now());
                let done = batch::decide(self.writer, message, &names, limit, columns, now)?;
                if done.conflict {
                    self.with.metrics.conflicts.fetch_add(1, Relaxed);
                    return Ok(Outcome::Conflict(done.answer));
                }
                if let Some((lane, first, next, reason)) = done.answer.refused.first() {
                    let ring = done.answer.incarnation;
                    let text = format!(
                        "records of ring {ring} refused ({reason}): {first} to {next} of lane {lane}"
                    );
                    self.with.log.warn("refused", &text);
                }
                self.warn_of_finished(&done);
                self.group.tally.add(done.tally);
                Ok(Outcome::Ack(done.answer))
            }
        }
    }

    /// Says what is not kept of a ring that had finished before, and where a ring may count twice.
    fn warn_of_finished(&self, done: &Decision) {
        let ring = done.answer.incarnation;
        if done.after_finish > 0 {
            self.with.metrics.after_finish(done.after_finish);
            let records = done.after_finish;
            let text =
                format!("{records} records of ring {ring} came after it had finished: they are not kept");
            self.with.log.warn("after finish", &text);
        }
        if done.tally.unsure > 0 {
            let text = format!(
                "ring {ring} is taken for a new one, but a file of finished rings is damaged where it would stand: if \
                 it has finished before, its dots count twice; 'dotter-store verify' names the damage"
            );
            self.with.log.warn("unsure ring", &text);
        }
    }

    fn append_rows(&mut self, rows: NamedDots, claim: Option<ClaimName>) -> Result<Outcome, Error> {
        if !self.limit.admit(self.writer, rows.series_list().iter().map(|(name, shape)| (name, shape))) {
            return Ok(Outcome::SeriesLimit(self.limit.max()));
        }
        let count = rows.len() as u64;
        if count == 0 {
            return Ok(Outcome::Stored(0));
        }
        // The last moment: from here on its sender waits for the answer.
        match claim.map(|name| take_claim(&self.with.dir, name)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => {
                self.with.metrics.claims_gone.fetch_add(1, Relaxed);
                return Ok(Outcome::Dropped);
            }
            Some(Err(error)) => return Ok(Outcome::NotNow(NotNow::Claim(chain(&error)))),
        }
        let series = rows.series_list().iter();
        let keys: Vec<_> = series.map(|(name, shape)| Some(self.writer.series(name, shape))).collect();
        self.row_dots.clear();
        rows.copy_to(&keys, &mut self.row_dots);
        match self.writer.append(&Transaction { ring: None, lanes: &[], dots: &self.row_dots }) {
            Ok(()) => {
                self.group.tally.rows += count;
                Ok(Outcome::Stored(count))
            }
            Err(Error::TooBig { .. }) => Ok(Outcome::TooBig(Box::new(rows))),
            Err(error) => Err(error),
        }
    }

    /// Gathers lines for the next sync. Those of a series above the limit are dropped and counted.
    fn take_lines(&mut self, rows: NamedDots) {
        self.limit.begin();
        let series = rows.series_list().iter();
        let keys: Vec<_> = series.map(|(name, shape)| self.limit.key(self.writer, name, shape)).collect();
        let over = rows.copy_to(&keys, &mut self.line_dots);
        if over > 0 {
            self.with.metrics.bad_line(BadLine::SeriesLimit, over);
            let text = format!(
                "{over} graphite lines dropped: {} new series were made already, see --max-series",
                self.limit.max()
            );
            self.with.log.warn("graphite-series-limit", &text);
        }
        self.group.lines.push(rows);
        self.group.begun.get_or_insert_with(Instant::now);
    }

    /// Makes all durable that was appended or gathered, and answers those who waited for it.
    fn sync(&mut self) -> Result<(), Error> {
        // Where posts keep coming, this is when lines have their turn.
        let mut taken = self.line_dots.len() as u64;
        while !self.is_held_back() && !self.is_short() && taken < GROUP_DOTS {
            let Ok(rows) = self.with.jobs.lines.try_recv() else { break };
            // Those that are refused count too: whoever keeps sending them would be all that is heard.
            taken += rows.len() as u64;
            self.take_lines(rows);
        }
        if !self.line_dots.is_empty() {
            self.writer.append(&Transaction { ring: None, lanes: &[], dots: &self.line_dots })?;
            self.group.tally.rows += self.line_dots.len() as u64;
            self.line_dots.clear();
        }
        if self.writer.pending_bytes() > 0 {
            let begun = Instant::now();
            self.writer.sync()?;
            self.with.metrics.synced(begun.elapsed());
            self.has_synced = true;
        }
        let tally = std::mem::take(&mut self.group.tally);
        self.with.metrics.add(&tally);
        if let Some(counted) = &mut self.group.counted {
            counted.add(tally);
        }
        for (ticket, outcome) in self.group.waiting.drain(..) {
            ticket.answer(outcome);
        }
        self.group.lines.clear();
        self.group.begun = None;
        self.look();
        Ok(())
    }

    /// Syncs, and goes on in a new file of the log, also where much waits to be sealed: that becomes no more by it.
    fn close_file(&mut self, ticket: Ticket) -> Result<(), Error> {
        let closed = self.sync().and_then(|()| self.writer.close_file());
        ticket.answer(match &closed {
            Ok(()) => Outcome::Closed,
            Err(error) => Outcome::NotNow(NotNow::of(error)),
        });
        if closed.is_ok() {
            self.look();
        }
        closed
    }

    /// Sees how much waits to be sealed, and wakes who does that where a file has been added.
    fn look(&mut self) {
        let unsealed = self.writer.unsealed();
        let too_much = unsealed.bytes > UNSEALED_BYTES_MAX || unsealed.files > UNSEALED_FILES_MAX;
        self.held_back = if too_much { self.held_back.or_else(|| Some(Instant::now())) } else { None };
        if unsealed.files > self.files_seen || too_much {
            // Full where it has been woken and has not yet looked.
            let _ = self.with.seal.try_send(());
        }
        self.files_seen = unsealed.files;
        self.with.metrics.set_store(self.writer.series_count(), &unsealed);
    }

    fn is_held_back(&mut self) -> bool {
        if self.held_back.is_some() {
            self.look();
        }
        self.held_back.is_some()
    }

    /// Whether the disk has less free than its reserve.
    fn is_short(&self) -> bool {
        self.with.reserve.short(Instant::now()).is_some()
    }

    /// Waits until the log has room, for a while; says whether it has.
    fn wait_for_seal(&mut self) -> Result<bool, Error> {
        if self.is_held_back() && !self.group.waiting.is_empty() {
            self.sync()?;
        }
        while self.is_held_back() {
            if self.held_back.is_some_and(|since| since.elapsed() >= UNSEALED_WAIT) {
                return Ok(false);
            }
            std::thread::sleep(UNSEALED_LOOK);
        }
        Ok(true)
    }

    /// Puts the collector's own numbers among the lines.
    fn beat(&mut self) {
        self.next_beat = Instant::now() + BEAT;
        // They are rows like all others; the gap shows since when none are taken.
        if self.is_short() {
            return;
        }
        let rows = self.with.metrics.rows(self.writer.ledger(), Timestamp::now());
        self.take_lines(rows);
    }

    /// Everything that is queued, and then the last sync.
    fn end(&mut self) -> Result<(), Error> {
        while let Ok(post) = self.with.jobs.posts.try_recv() {
            self.post(post)?;
        }
        while let Ok(rows) = self.with.jobs.lines.try_recv() {
            self.take_lines(rows);
            if self.is_due() {
                self.sync()?;
            }
        }
        self.sync()
    }
}

#[cfg(test)]
mod tests;
