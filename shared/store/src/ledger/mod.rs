//! What became of every dot of every incarnation.
//!
//! Always true of an account, by arithmetic and not by hope:
//!
//! - per lane `next == stored + lost + refused`
//! - `published == stored + lost + refused` over the whole account, where published are the next record numbers
//!   of all lanes plus the ring's refusal totals
//!
//! The ledger is what a fold over the log gives: the same frames in the same order, the same ledger. Accounts of
//! finished rings move to a file of their own ([`tidy`]), and 30 days later into the sum of their application; an
//! account that stands in MANIFEST or came through the log since counts before the one in that file.

mod finished;
mod tidy;

use std::collections::BTreeMap;
use std::sync::Arc;

use dotter_dot::{Incarnation, Reason, TimeRange, Timestamp, put_varint};

pub use self::finished::Application;
pub(crate) use self::finished::Finished;
pub use self::tidy::tidy;
use crate::bytes::{Fields, put_text};

/// Time spans kept per reason; further ones widen the last.
const SPANS_MAX: usize = 64;

/// All accounts, and what happened to dots of the store as a whole.
///
/// Two are equal where they say the same, wherever the accounts stand.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Those that stand in MANIFEST, and what the log has made of them and of others since.
    accounts: BTreeMap<Incarnation, Account>,
    finished: Arc<Finished>,
    /// Counts that belong to no incarnation.
    pub totals: Totals,
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Ledger) -> bool {
        self.totals == other.totals
            && self.iter().eq(other.iter())
            && self.applications().eq(other.applications())
            && self.finished.damage() == other.finished.damage()
    }
}

impl Eq for Ledger {}

/// Counts over the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Dots committed that came some other way than through a ring.
    pub stored_other: u64,
    /// Dots replaced by a later commit at the same series and explicit time.
    pub replaced: u64,
    /// Dots deleted.
    pub deleted: u64,
    /// Dots that retention removed.
    pub expired: u64,
    /// Dots that were stored and whose bytes no longer match their checksum.
    pub damaged: u64,
}

impl Totals {
    /// Adds what became of further dots.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.stored_other = self.stored_other.saturating_add(other.stored_other);
        self.replaced = self.replaced.saturating_add(other.replaced);
        self.deleted = self.deleted.saturating_add(other.deleted);
        self.expired = self.expired.saturating_add(other.expired);
        self.damaged = self.damaged.saturating_add(other.damaged);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Totals { stored_other, replaced, deleted, expired, damaged } = *self;
        [stored_other, replaced, deleted, expired, damaged]
            .into_iter()
            .for_each(|total| put_varint(out, total));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Totals> {
        Some(Totals {
            stored_other: fields.varint()?,
            replaced: fields.varint()?,
            deleted: fields.varint()?,
            expired: fields.varint()?,
            damaged: fields.varint()?,
        })
    }
}

/// One incarnation's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The application that made the ring.
    pub application: String,
    /// When the store first heard of it.
    pub first_seen: Timestamp,
    /// Per lane, what became of its records.
    pub lanes: BTreeMap<u32, LaneAccount>,
    /// Records lost, by reason.
    pub lost: BTreeMap<Reason, Tally>,
    /// Records refused by the collector, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Dots the ring itself refused, by reason: the greatest total seen.
    pub refused_in_ring: BTreeMap<Reason, u64>,
    /// When the ring was finished.
    pub finished: Option<Timestamp>,
}

/// One lane's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneAccount {
    /// The next record wanted: the watermark.
    pub next: u64,
    /// Records committed.
    pub stored: u64,
    /// Records lost.
    pub lost: u64,
    /// Records refused by the collector.
    pub refused: u64,
}

/// How many, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub count: u64,
    /// When they would have been, where that is known, oldest news first; with the records in each.
    pub spans: Vec<(TimeRange, u64)>,
}

/// Records of a lane, `first <= r < next`, and what became of some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneRecords {
    /// The lane.
    pub lane: u32,
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Lost ones: sorted, disjoint, inside.
    pub losses: Vec<Lost>,
    /// Refused ones: sorted, disjoint, inside, apart from the losses.
    pub refused: Vec<Refused>,
}

/// Records that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Why.
    pub reason: Reason,
    /// When they would have been, where that is known.
    pub times: Option<TimeRange>,
}

/// Records that the collector refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Why.
    pub reason: Reason,
}

/// A sum of numbers that a ring may have made up: it ends at the greatest number instead of wrapping.
fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

impl LaneRecords {
    /// Records that are lost.
    pub fn lost_len(&self) -> u64 {
        total(self.losses.iter().map(|lost| lost.next - lost.first))
    }

    /// Records that are refused.
    pub fn refused_len(&self) -> u64 {
        total(self.refused.iter().map(|refused| refused.next - refused.first))
    }

    /// Records that are dots of this transaction.
    pub fn stored_len(&self) -> u64 {
        (self.next - self.first).saturating_sub(self.lost_len()).saturating_sub(self.refused_len())
    }
}

impl Tally {
    fn add(&mut self, count: u64, times: Option<TimeRange>) {
        self.count = self.count.saturating_add(count);
        let Some(times) = times else { return };
        if self.spans.len() < SPANS_MAX {
            self.spans.push((times, count));
        } else if let Some((span, records)) = self.spans.last_mut() {
            span.from = span.from.min(times.from);
            span.until = span.until.max(times.until);
            *records = records.saturating_add(count);
        }
    }
}

impl Account {
    /// Dots for which publish returned, as far as the store has heard.
    pub fn published(&self) -> u64 {
        total(self.lanes.values().map(|lane| lane.next).chain(self.refused_in_ring.values().copied()))
    }

    /// Dots committed.
    pub fn stored(&self) -> u64 {
        total(self.lanes.values().map(|lane| lane.stored))
    }

    /// Dots lost, for whatever reason.
    pub fn lost(&self) -> u64 {
        total(self.lost.values().map(|tally| tally.count))
    }

    /// Dots refused, in the ring and by the collector.
    pub fn refused(&self) -> u64 {
        total(self.refused.values().chain(self.refused_in_ring.values()).copied())
    }

    /// Whether the promise holds: `published == stored + lost + refused`, lane by lane and over all.
    pub fn is_balanced(&self) -> bool {
        let lanes =
            self.lanes.values().all(|lane| lane.next == total([lane.stored, lane.lost, lane.refused]));
        lanes && self.published() == total([self.stored(), self.lost(), self.refused()])
    }
}

impl Ledger {
    /// Accounts in the order of their incarnations; without those in [`Ledger::applications`].
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, &Account)> {
        let mut all: BTreeMap<_, _> = self.finished.records().accounts.iter().collect();
        all.extend(&self.accounts);
        all.into_iter().map(|(incarnation, account)| (*incarnation, account))
    }

    /// What became of the dots of rings that finished more than 30 days ago, by application.
    pub fn applications(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.finished.records().applications.iter().map(|(name, application)| (name.as_str(), application))
    }

    /// Why accounts of finished rings may be missing; nothing is as it should be.
    pub fn damage(&self) -> Vec<String> {
        self.finished.damage().into_iter().map(|(at, what)| format!("at byte {at}: {what}")).collect()
    }

    /// The account of one incarnation, where it is known.
    pub fn account(&self, incarnation: Incarnation) -> Option<&Account> {
        self.accounts.get(&incarnation).or_else(|| self.finished.records().accounts.get(&incarnation))
    }

    /// The account of one incarnation, to be changed: it is of those that stand in MANIFEST from now on.
    fn account_mut(&mut self, incarnation: Incarnation) -> &mut Account {
        let Ledger { accounts, finished, .. } = self;
        let known = || finished.records().accounts.get(&incarnation).cloned().unwrap_or_default();
        accounts.entry(incarnation).or_insert_with(known)
    }

    /// The next record wanted of a lane; 0 for one never heard of.
    pub fn next(&self, incarnation: Incarnation, lane: u32) -> u64 {
        self.account(incarnation).and_then(|account| account.lanes.get(&lane)).map_or(0, |lane| lane.next)
    }

    /// Opens an account where there is none.
    pub(crate) fn open(
        &mut self,
        incarnation: Incarnation,
        application: &str,
        now: Timestamp,
    ) -> &mut Account {
        let is_new = self.account(incarnation).is_none();
        let account = self.account_mut(incarnation);
        if is_new {
            account.application = application.to_owned();
            account.first_seen = now;
        }
        account
    }

    /// Books a range of records of an open account.
    ///
    /// A range that starts above the next record wanted leaves a hole: at replay, a damaged frame. The hole is
    /// booked as lost, reason damage. What lies below the next record wanted must have been cut off before.
    ///
    /// Returns how many records the hole has.
    pub(crate) fn book(&mut self, incarnation: Incarnation, records: &LaneRecords) -> u64 {
        let account = self.account_mut(incarnation);
        let lane = account.lanes.entry(records.lane).or_default();
        let hole = records.first.saturating_sub(lane.next);
        if hole > 0 {
            lane.lost = lane.lost.saturating_add(hole);
            account.lost.entry(Reason::DAMAGE).or_default().add(hole, None);
        }
        for lost in &records.losses {
            let count = lost.next - lost.first;
            lane.lost = lane.lost.saturating_add(count);
            account.lost.entry(lost.reason).or_default().add(count, lost.times);
        }
        for refused in &records.refused {
            let count = refused.next - refused.first;
            lane.refused = lane.refused.saturating_add(count);
            let refused = account.refused.entry(refused.reason).or_default();
            *refused = refused.saturating_add(count);
        }
        lane.stored = lane.stored.saturating_add(records.stored_len());
        lane.next = records.next;
        hole
    }

    /// Books the ring's own refusals: totals, of which the greatest seen counts.
    pub(crate) fn book_refusal_total(&mut self, incarnation: Incarnation, reason: Reason, total: u64) {
        let account = self.account_mut(incarnation);
        let seen = account.refused_in_ring.entry(reason).or_default();
        *seen = total.max(*seen);
    }

    /// Closes an account: no more records will come.
    pub(crate) fn finish(&mut self, incarnation: Incarnation, lanes: &[(u32, u64)], now: Timestamp) {
        let account = self.account_mut(incarnation);
        for (lane, _) in lanes {
            account.lanes.entry(*lane).or_default();
        }
        account.finished.get_or_insert(now);
    }

    /// Takes over what a part of the log made of `base`.
    ///
    /// What has become of accounts meanwhile stays: one that was `base`'s and is gone has been added to its
    /// application.
    pub(crate) fn take_over(&mut self, base: &Ledger, outcome: &Ledger) {
        for (incarnation, account) in &outcome.accounts {
            let before = base.account(*incarnation);
            if before == Some(account) || (before.is_some() && self.account(*incarnation).is_none()) {
                continue;
            }
            self.accounts.insert(*incarnation, account.clone());
        }
    }

    /// Puts other accounts in the place of those that stand in MANIFEST.
    pub(crate) fn replace_accounts(&mut self, other: &Ledger) {
        self.accounts.clone_from(&other.accounts);
    }

    /// Lets go what has moved out of MANIFEST since it said `before`, now that it says `now`.
    ///
    /// Whoever calls it does so at least once between the seal of a ring's end and the day it is told apart no more,
    /// else he keeps its account.
    pub(crate) fn follow(&mut self, before: &Ledger, now: &Ledger) {
        let is_same = Arc::ptr_eq(&self.finished, &now.finished) || self.finished == now.finished;
        // Of a damaged file nobody knows what is missing.
        if is_same || !now.finished.damage().is_empty() {
            return;
        }
        self.finished = now.finished.clone();
        let moved = |incarnation: &Incarnation, account: &mut Account| {
            !now.accounts.contains_key(incarnation)
                && match now.account(*incarnation) {
                    Some(finished) => finished == account,
                    // Of its application now, where it was not opened since.
                    None => before.account(*incarnation).is_some(),
                }
        };
        self.accounts.extract_if(.., moved).for_each(drop);
    }

    /// The file that belongs to the accounts in MANIFEST.
    pub(crate) fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Puts such a file beside them.
    pub(crate) fn set_finished(&mut self, finished: Finished) {
        self.finished = Arc::new(finished);
    }

    /// Of the accounts that stand in MANIFEST.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.totals.encode(out);
        put_varint(out, self.accounts.len() as u64);
        for (incarnation, account) in &self.accounts {
            account.encode(*incarnation, out);
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Ledger> {
        let totals = Totals::decode(fields)?;
        let mut ledger = Ledger { totals, ..Ledger::default() };
        for _ in 0..fields.count(16)? {
            let incarnation = Incarnation(fields.array()?);
            ledger.accounts.insert(incarnation, Account::decode(fields)?);
        }
        Some(ledger)
    }
}

impl Account {
    fn encode(&self, incarnation: Incarnation, out: &mut Vec<u8>) {
        out.extend_from_slice(&incarnation.0);
        put_text(out, &self.application);
        put_varint(out, self.first_seen.nanos());
        put_varint(out, self.lanes.len() as u64);
        for (number, lane) in &self.lanes {
            for field in [*number as u64, lane.next, lane.stored, lane.lost, lane.refused] {
                put_varint(out, field);
            }
        }
        put_varint(out, self.lost.len() as u64);
        for (reason, tally) in &self.lost {
            out.push(reason.0);
            put_varint(out, tally.count);
            put_varint(out, tally.spans.len() as u64);
            for (span, count) in &tally.spans {
                put_varint(out, span.from.nanos());
                put_varint(out, span.until.nanos().saturating_sub(span.from.nanos()));
                put_varint(out, *count);
            }
        }
        for counts in [&self.refused, &self.refused_in_ring] {
            put_counts(out, counts);
        }
        out.push(self.finished.is_some() as u8);
        put_varint(out, self.finished.map_or(0, Timestamp::nanos));
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Account> {
        let mut account = Account {
            application: fields.text()?.to_owned(),
            first_seen: Timestamp::from_nanos(fields.varint()?),
            ..Account::default()
        };
        for _ in 0..fields.count(5)? {
            let number = fields.number()?;
            let (next, stored) = (fields.varint()?, fields.varint()?);
            let (lost, refused) = (fields.varint()?, fields.varint()?);
            account.lanes.insert(number, LaneAccount { next, stored, lost, refused });
        }
        for _ in 0..fields.count(3)? {
            let reason = Reason(fields.byte()?);
            let mut tally = Tally { count: fields.varint()?, spans: Vec::new() };
            for _ in 0..fields.count(3)? {
                let from = fields.varint()?;
                let until = from.checked_add(fields.varint()?)?;
                let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
                tally.spans.push((range, fields.varint()?));
            }
            account.lost.insert(reason, tally);
        }
        account.refused = counts(fields)?;
        account.refused_in_ring = counts(fields)?;
        let is_finished = fields.byte()? == 1;
        let time = Timestamp::from_nanos(fields.varint()?);
        account.finished = is_finished.then_some(time);
        Some(account)
    }
}

fn put_counts(out: &mut Vec<u8>, counts: &BTreeMap<Reason, u64>) {
    put_varint(out, counts.len() as u64);
    for (reason, count) in counts {
        out.push(reason.0);
        put_varint(out, *count);
    }
}

fn counts(fields: &mut Fields<'_>) -> Option<BTreeMap<Reason, u64>> {
    (0..fields.count(2)?).map(|_| Some((Reason(fields.byte()?), fields.varint()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked() -> Ledger {
        let incarnation = Incarnation([7; 16]);
        let times = TimeRange::new(Timestamp::from_nanos(5), Timestamp::from_nanos(9));
        let mut ledger = Ledger::default();
        ledger.open(incarnation, "app", Timestamp::from_nanos(3));
        let lost = Lost { first: 2, next: 5, reason: Reason::LAPPED, times: Some(times) };
        let refused = Refused { first: 6, next: 7, reason: Reason::NAME };
        let records = LaneRecords { lane: 1, first: 0, next: 10, losses: vec![lost], refused: vec![refused] };
        assert_eq!(ledger.book(incarnation, &records), 0);
        ledger.book_refusal_total(incarnation, Reason::SIGNAL_HANDLER, 4);
        ledger.book_refusal_total(incarnation, Reason::SIGNAL_HANDLER, 2);
        ledger
    }

    #[test]
    fn what_is_published_is_stored_lost_or_refused() {
        let ledger = booked();
        let (_, account) = ledger.iter().next().unwrap();
        assert_eq!((account.published(), account.stored(), account.lost(), account.refused()), (14, 6, 3, 5));
        assert!(account.is_balanced());
    }

    #[test]
    fn a_hole_in_the_records_is_lost_to_damage() {
        let mut ledger = booked();
        let incarnation = Incarnation([7; 16]);
        let records = LaneRecords { lane: 1, first: 15, next: 20, ..LaneRecords::default() };
        assert_eq!(ledger.book(incarnation, &records), 5);
        let account = ledger.account(incarnation).unwrap();
        assert_eq!(account.lost[&Reason::DAMAGE].count, 5);
        assert!(account.is_balanced());
    }

    #[test]
    fn a_ledger_round_trips_and_every_cut_is_noticed() {
        let mut ledger = booked();
        ledger.finish(Incarnation([7; 16]), &[(1, 10), (2, 0)], Timestamp::from_nanos(77));
        ledger.totals.replaced = 300;
        let mut bytes = Vec::new();
        ledger.encode(&mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!(Ledger::decode(&mut fields), Some(ledger));
        assert!(fields.0.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(Ledger::decode(&mut Fields(&bytes[..cut])), None, "cut at {cut}");
        }
    }

    #[test]
    fn spans_are_bounded_and_their_records_are_not_forgotten() {
        let mut tally = Tally::default();
        for n in 0..1000 {
            let from = Timestamp::from_nanos(n);
            tally.add(1, Some(TimeRange::new(from, Timestamp::from_nanos(n + 1))));
        }
        assert_eq!(tally.spans.len(), SPANS_MAX);
        assert_eq!(tally.spans.iter().map(|(_, count)| count).sum::<u64>(), 1000);
    }
}
