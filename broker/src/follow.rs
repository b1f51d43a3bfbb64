//! One ring, from the first question to the finish.
//!
//! Always true:
//!
//! - nothing of the ring is posted before the collector has said what it wants of it
//! - at most one post is under way
//! - per lane, the cursor stands at `acked` unless a batch is under way: whatever fails, what was not acknowledged
//!   is read from the ring again, or counted as lost where it is gone
//! - *finish* is posted only when the ring has ended and every record of it is acknowledged
//!
//! All of this is memory. The truth about what is stored is with the collector, the truth about what was published
//! is in the ring, and a broker that starts anew learns both.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dotter_dot::Reason;
use dotter_ring::{Owner, RingReader};
use dotter_wire::{Answer, BATCH_DOTS_MAX, Finish, Message, Question, RefusalTotals, Sender};

use crate::after::After;
use crate::backoff::{Backoff, Cause};
use crate::fill::{Filled, Filler};
use crate::lane::{Goal, Lane};
use crate::post::{Failure, Size};
use crate::posted::Post;
use crate::totals::Totals;

/// How long the heads of a ring must be still before its owner's death is believed.
const STILL: Duration = Duration::from_secs(2);
/// How often the owner of a ring that is still is looked at, and refusal totals alone are posted.
const SELDOM: Duration = Duration::from_secs(1);
/// How long a collector is believed that it has more than the ring ever had.
const BEYOND: Duration = Duration::from_secs(5);
/// Broken posts in a row after which a batch is suspected to be too large.
const SUSPICION: u32 = 2;
/// Acknowledged batches in a row after which a larger one is tried again.
const CONFIDENCE: u32 = 64;

/// What is remembered of a ring that was closed to make room: enough to go on without a question.
pub(crate) struct Memory {
    acked: Vec<u64>,
    store: String,
    refusals_acked: RefusalTotals,
    heads: Vec<u64>,
    heads_changed: Instant,
}

/// A ring that is open.
pub(crate) struct Follow {
    pub(crate) reader: RingReader,
    /// Whether its name was there at the last scan.
    pub(crate) present: bool,
    opened: Instant,
    sender: Sender,
    step: Step,
    lanes: Vec<Lane>,
    /// What the answer to the question wants of lanes the ring has not used yet.
    wanted: HashMap<u32, u64>,
    under_way: Option<Post>,
    pause: Backoff,
    /// Something may be there that was not drained.
    news: bool,
    ended: bool,
    heads: Vec<u64>,
    heads_changed: Instant,
    looked_seldom: Instant,
    /// When the last question was answered.
    asked: Instant,
    refusals_acked: RefusalTotals,
    refusals_posted: RefusalTotals,
    /// The heads when the collector first said that the ring had finished before.
    kept: Option<Vec<u64>>,
    /// The store that answered last.
    store: Option<String>,
    dots_max: usize,
    /// Acknowledged batches since `dots_max` changed.
    acks: u32,
    turn: usize,
    names_held: usize,
    goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask,
    Read,
    /// The collector says that the ring had finished before. Nothing is sent, and the file goes when its owner has ended.
    Kept,
    Finished,
}

impl Follow {
    pub(crate) fn new(reader: RingReader, broker: &str, now: Instant) -> Follow {
        let sender = Sender {
            incarnation: reader.incarnation(),
            application: reader.application().to_owned(),
            broker: broker.to_owned(),
        };
        Follow {
            reader,
            present: true,
            opened: now,
            sender,
            step: Step::Ask,
            lanes: Vec::new(),
            wanted: HashMap::new(),
            under_way: None,
            pause: Backoff::default(),
            news: true,
            ended: false,
            heads: Vec::new(),
            heads_changed: now,
            // The first look is a thorough one.
            looked_seldom: now.checked_sub(SELDOM).unwrap_or(now),
            asked: now,
            refusals_acked: RefusalTotals::default(),
            refusals_posted: RefusalTotals::default(),
            kept: None,
            store: None,
            dots_max: BATCH_DOTS_MAX,
            acks: 0,
            turn: 0,
            names_held: 0,
            goal: Goal::default(),
        }
    }

    /// Goes on where a ring that was closed to make room had come to.
    pub(crate) fn recall(&mut self, memory: Memory) {
        self.heads_changed = memory.heads_changed;
        self.heads = memory.heads;
        self.store = Some(memory.store);
        self.refusals_acked = memory.refusals_acked;
        self.wanted = (0..).zip(memory.acked).collect();
        self.step = Step::Read;
        self.take_new_lanes();
    }

    /// What to remember of it; `None` where the collector would have to be asked anyway.
    pub(crate) fn memory(self) -> Option<Memory> {
        if self.step != Step::Read {
            return None;
        }
        Some(Memory {
            acked: self.lanes.iter().map(|lane| lane.acked).collect(),
            store: self.store?,
            refusals_acked: self.refusals_acked,
            heads: self.heads,
            heads_changed: self.heads_changed,
        })
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// When the next try is due, where a failure holds it back.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        if self.is_under_way() { None } else { self.pause.until() }
    }

    /// Whether nothing is known to be left to post, or posting fails: another ring may have the place.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let resting = !self.ended && (self.step == Step::Read && !self.news || self.step == Step::Kept);
        !self.is_under_way() && (resting || !self.pause.is_over(now))
    }

    /// When it was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Since when nothing was written to it.
    pub(crate) fn quiet_since(&self) -> Instant {
        self.heads_changed
    }

    /// Series whose names the reader holds in memory.
    pub(crate) fn names_held(&self) -> usize {
        self.names_held
    }

    /// Lets go of the names: opens the file anew. A ring whose name is gone keeps them.
    pub(crate) fn let_names_go(&mut self) {
        let path = self.reader.path();
        let Ok(reader) = RingReader::open(path) else { return };
        if reader.file_id() == self.reader.file_id() && reader.incarnation() == self.sender.incarnation {
            self.reader = reader;
            self.names_held = 0;
            if self.ended {
                // What is asked is remembered: a dead owner's last block is read differently.
                let _ = self.reader.owner();
            }
        }
    }

    /// Looks at what the ring's process has done. Returns the largest part of a lane that was written since the
    /// last look.
    pub(crate) fn look(&mut self, now: Instant) -> f64 {
        let heads = self.reader.heads();
        let mut filled = 0.0_f64;
        if heads != self.heads {
            let capacity = self.reader.lane_capacity_bytes() as f64;
            // The first look at a lane says nothing about speed.
            for (head, before) in heads.iter().zip(&self.heads) {
                filled = filled.max(head.saturating_sub(*before) as f64 / capacity);
            }
            self.heads = heads;
            self.heads_changed = now;
            self.news = true;
        }
        if !self.ended && self.reader.is_closed() {
            self.end();
        }
        if now.duration_since(self.looked_seldom) >= SELDOM {
            self.looked_seldom = now;
            let still = now.duration_since(self.heads_changed) >= STILL;
            if still && !self.ended && self.reader.owner() == Owner::Dead {
                self.end();
            }
            if refusals(&self.reader) != self.refusals_acked {
                self.news = true;
            }
            // Such a lane is sent nothing of, and one wrong answer is not to be the end of it.
            let beyond = self.lanes.iter().any(|lane| lane.is_beyond());
            let goes_on = self.step == Step::Kept && self.kept.as_ref() != Some(&self.heads);
            if (beyond || goes_on) && now.duration_since(self.asked) >= BEYOND && !self.is_under_way() {
                self.ask_again();
            }
        }
        filled
    }

    /// Nobody writes to it any more: what is there now is all there will be.
    fn end(&mut self) {
        self.ended = true;
        // Dots may have come between the last drain and the end.
        self.news = true;
    }

    /// From now on [`is_drained`](Self::is_drained) asks about the records that are there now.
    pub(crate) fn set_goal(&mut self) {
        if self.goal == Goal::None {
            self.goal = Goal::of(&self.reader);
            self.news = true;
        }
    }

    /// Whether all records that were there at [`set_goal`](Self::set_goal) are acknowledged, and the ring's finish
    /// where it has ended.
    pub(crate) fn is_drained(&self) -> bool {
        let met = self.step == Step::Read && self.goal.is_met(&self.lanes);
        let met = met || self.step == Step::Kept;
        self.step == Step::Finished || (met && !self.ended && !self.is_under_way())
    }

    /// Whether the file was cut short: what was in it is gone, and how much that was cannot be known.
    pub(crate) fn is_broken(&self) -> bool {
        !self.is_under_way() && !self.reader.is_intact()
    }

    /// Puts the next message for this ring into `out`; `None` where there is none, or now is not the time.
    pub(crate) fn next_post(
        &mut self,
        now: Instant,
        filler: &mut Filler,
        out: &mut Vec<u8>,
    ) -> Option<Vec<u32>> {
        if self.is_under_way() || !self.pause.is_over(now) {
            return None;
        }
        let post = match self.step {
            Step::Ask => {
                Message::Question(Question { sender: self.sender.clone() }).encode(out);
                Post::Question
            }
            Step::Read => self.batch(filler, out).or_else(|| self.finish(out))?,
            Step::Kept if self.ended => {
                Message::Question(Question { sender: self.sender.clone() }).encode(out);
                Post::Question
            }
            Step::Kept | Step::Finished => return None,
        };
        let lanes = match &post {
            Post::Question => Vec::new(),
            Post::Batch { lanes, .. } => lanes.iter().map(|(lane, _)| *lane).collect(),
            // A lane without records may be unknown to the collector.
            Post::Finish { lanes } => {
                lanes.iter().filter(|(_, next)| *next > 0).map(|(lane, _)| *lane).collect()
            }
        };
        self.under_way = Some(post);
        Some(lanes)
    }

    fn batch(&mut self, filler: &mut Filler, out: &mut Vec<u8>) -> Option<Post> {
        if !self.news {
            return None;
        }
        self.take_new_lanes();
        let refusals = refusals(&self.reader);
        let filled = filler.fill(
            &mut self.reader,
            &mut self.lanes,
            &mut self.turn,
            self.dots_max,
            &self.sender,
            refusals.clone(),
        );
        self.news = filled == Filled::Full;
        self.names_held = self.names_held.max(filler.names_held());
        let only_dot = filler.only_dot();
        let batch = filler.batch();
        // Heads of a damaged ring may promise more than ever comes.
        let to_heads = filled == Filled::All && self.goal != Goal::None;
        if batch.lanes.is_empty() && refusals == self.refusals_acked {
            if to_heads {
                self.goal = Goal::Met;
            }
            return None;
        }
        batch.encode(out);
        self.refusals_posted = refusals;
        Some(Post::Batch {
            lanes: batch.lanes.iter().map(|lane| (lane.lane, lane.next)).collect(),
            dots: batch.dots_len() as u64,
            only_dot,
            losses: batch.lanes.iter().flat_map(|lane| &lane.losses).copied().collect(),
            to_heads,
        })
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Option<Post> {
        if !self.ended || self.news {
            return None;
        }
        let lanes: Vec<_> = self.lanes.iter().map(|lane| (lane.number, lane.acked)).collect();
        let refusals = refusals(&self.reader);
        let finish = Finish { sender: self.sender.clone(), lanes: lanes.clone(), refusals };
        finish.encode(out);
        Some(Post::Finish { lanes })
    }

    fn take_new_lanes(&mut self) {
        for number in self.lanes.len() as u32..self.reader.lanes_used() {
            let acked = self.wanted.remove(&number).unwrap_or(0);
            self.lanes.push(Lane::new(&self.reader, number, acked));
        }
    }

    /// Takes the answer to what is under way.
    pub(crate) fn answered(
        &mut self,
        answer: &Answer,
        conflict: bool,
        now: Instant,
        totals: &mut Totals,
    ) -> After {
        let Some(post) = self.under_way.take() else { return After::GoOn };
        let other_store = self.store.as_ref().is_some_and(|store| *store != answer.store);
        if other_store && !matches!(post, Post::Question) {
            // Its answer is about another ledger than the one this post was made for.
            self.ask_again();
            self.pause.fail(now, Cause::Refused, None);
            return After::OtherStore;
        }
        if answer.is_kept() && !conflict {
            return self.is_kept(answer, now, totals);
        }
        if let Some(after) = post.not_believed(answer, &self.reader) {
            totals.failures += 1;
            self.go_back();
            self.ask_again();
            self.pause.fail(now, Cause::Refused, None);
            return after;
        }
        match post {
            Post::Question if conflict => {
                // A question cannot be in conflict with anything.
                totals.conflicts += 1;
                self.pause.fail(now, Cause::Refused, None);
                After::GoOn
            }
            Post::Question => {
                let went_back = self.resume_at(answer, other_store);
                self.store = Some(answer.store.clone());
                self.step = Step::Read;
                self.asked = now;
                self.pause.succeed();
                count(&mut totals.wanted_again, went_back);
                self.beyond().unwrap_or(match went_back {
                    0 => After::GoOn,
                    records => After::WentBack(records),
                })
            }
            Post::Batch { lanes, dots, losses, to_heads, .. } => {
                let reached = !conflict && lanes.iter().all(|(lane, next)| answer.next(*lane) >= Some(*next));
                let sent_all = lanes.iter().all(|(lane, next)| answer.next(*lane) == Some(*next));
                let went_back = self.settle(answer, lanes.iter().map(|(lane, _)| *lane));
                count(&mut totals.wanted_again, went_back);
                if reached {
                    if to_heads {
                        self.goal = Goal::Met;
                    }
                    totals.batches += 1;
                    totals.dots += dots;
                    for loss in losses {
                        let refused = loss.reason.is_refusal();
                        let tally = if refused { &mut totals.refused } else { &mut totals.lost };
                        count(tally.entry(loss.reason).or_default(), loss.records());
                    }
                    for (_, first, next, reason) in &answer.refused {
                        count(totals.refused.entry(*reason).or_default(), next - first);
                    }
                    self.refusals_acked = std::mem::take(&mut self.refusals_posted);
                    self.pause.succeed();
                    self.acks += 1;
                    if self.acks >= CONFIDENCE {
                        self.acks = 0;
                        self.dots_max = (self.dots_max * 2).min(BATCH_DOTS_MAX);
                    }
                } else {
                    totals.conflicts += 1;
                    self.pause.fail(now, Cause::Refused, None);
                }
                match went_back {
                    0 if sent_all => After::GoOn,
                    0 => self.beyond().unwrap_or(After::GoOn),
                    records => After::WentBack(records),
                }
            }
            Post::Finish { lanes } => {
                let reached = |(lane, next): &(u32, u64)| answer.next(*lane).unwrap_or(0) >= *next;
                if !conflict && lanes.iter().all(reached) {
                    self.step = Step::Finished;
                    totals.rings_finished += 1;
                    return After::Finished;
                }
                totals.conflicts += 1;
                self.pause.fail(now, Cause::Refused, None);
                let named = |lane: &u32| answer.next(*lane).is_some();
                let went_back = self.settle(answer, lanes.iter().map(|(lane, _)| *lane).filter(named));
                count(&mut totals.wanted_again, went_back);
                if went_back > 0 { After::WentBack(went_back) } else { After::GoOn }
            }
        }
    }

    /// Takes note that the ring had finished before: all of it is kept.
    fn is_kept(&mut self, answer: &Answer, now: Instant, totals: &mut Totals) -> After {
        self.store = Some(answer.store.clone());
        self.asked = now;
        self.pause.succeed();
        if self.ended {
            self.step = Step::Finished;
            totals.rings_finished += 1;
            return After::Finished;
        }
        self.step = Step::Kept;
        match &self.kept {
            Some(heads) if *heads != self.heads => {
                self.kept = Some(self.heads.clone());
                After::NotKept
            }
            _ => {
                self.kept.get_or_insert_with(|| self.heads.clone());
                After::GoOn
            }
        }
    }

    /// Takes note that what is under way was not answered, for a reason that concerns all rings or this one alone.
    /// Returns the pause before its next try, where it is this ring's own.
    pub(crate) fn failed(&mut self, failure: &Failure, now: Instant) -> Option<Duration> {
        let post = self.under_way.take();
        self.go_back();
        if failure.concerns_all() {
            return None;
        }
        let halve = match failure.may_be_size() {
            Some(Size::Named) => true,
            Some(Size::Suspected) => self.pause.failures() + 1 >= SUSPICION,
            None => false,
        };
        self.acks = 0;
        if let (Failure::TooLarge { .. }, Some(Post::Batch { only_dot: Some((lane, record)), .. })) =
            (failure, &post)
        {
            // No smaller batch has it: once that is believed it is counted as refused, and the ring goes on.
            if self.lanes.get_mut(*lane as usize).is_some_and(|lane| lane.suspect(*record)) {
                self.pause.succeed();
            }
        } else if halve && self.dots_max > 1 {
            self.dots_max /= 2;
            // The next try is another one: no need to wait longer for it than for this.
            self.pause.succeed();
        }
        Some(self.pause.fail(now, failure.cause(), None))
    }

    /// Another store answers now: unless it is the one this ring knows, ask it what it wants.
    pub(crate) fn ask_store(&mut self, store: &str) {
        if self.store.as_ref().is_some_and(|known| known != store) {
            self.ask_again();
        }
    }

    fn ask_again(&mut self) {
        if self.step != Step::Finished {
            self.step = Step::Ask;
        }
    }

    /// Whether the collector has more of a lane than the ring ever had: its pages were lost with the power, or
    /// somebody is lying.
    fn beyond(&self) -> Option<After> {
        let next = |lane: &Lane| self.reader.next_record(lane.number);
        self.lanes
            .iter()
            .map(|lane| After::Beyond { lane: lane.number, wanted: lane.acked, next: next(lane) })
            .find(|after| matches!(after, After::Beyond { wanted, next, .. } if wanted > next))
    }

    /// Sets every cursor to what is acknowledged.
    fn go_back(&mut self) {
        for lane in &mut self.lanes {
            lane.go_to_acked(&self.reader);
        }
        self.news = true;
    }

    /// Sets the cursors of `lanes` to what the collector wants; returns how many records it wants again.
    fn settle(&mut self, answer: &Answer, lanes: impl Iterator<Item = u32>) -> u64 {
        let mut again = 0;
        for number in lanes {
            let (Some(lane), Some(wanted)) = (self.lanes.get_mut(number as usize), answer.next(number))
            else {
                continue;
            };
            count(&mut again, lane.want(&self.reader, wanted, Reason::STORE_WENT_BACK));
            self.news |= lane.go_to_acked(&self.reader);
        }
        again
    }

    /// As [`settle`](Self::settle), for every lane: one the answer does not name starts at 0.
    fn resume_at(&mut self, answer: &Answer, other_store: bool) -> u64 {
        let reason = if other_store { Reason::BEFORE_STORE } else { Reason::STORE_WENT_BACK };
        self.wanted = answer.lanes.iter().copied().collect();
        let mut again = 0;
        for lane in &mut self.lanes {
            let wanted = self.wanted.remove(&lane.number).unwrap_or(0);
            count(&mut again, lane.want(&self.reader, wanted, reason));
        }
        self.refusals_acked = RefusalTotals::default();
        self.go_back();
        again
    }
}

/// Adds to a count that is shown: where a peer makes it absurd it stands still at its end.
fn count(total: &mut u64, more: u64) {
    *total = total.saturating_add(more);
}

/// The ring's refusal counters, by reason, ascending.
fn refusals(reader: &RingReader) -> RefusalTotals {
    let counts = reader.refusals();
    let mut totals = vec![
        (Reason::TOO_BIG, counts.too_big),
        (Reason::SIGNAL_HANDLER, counts.signal_handler),
        (Reason::REGISTRY_FULL, counts.series),
        (Reason::OTHER, counts.other),
    ];
    totals.retain(|(_, count)| *count > 0);
    RefusalTotals(totals)
}
