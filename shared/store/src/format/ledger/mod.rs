//! What became of every dot of every incarnation.
//!
//! Always true of an account:
//!
//! - per lane `next == stored + lost + refused + elsewhere`
//! - `published == stored + lost + refused + elsewhere` over the whole account, where published is the sum of the
//!   next record numbers of all lanes and of the ring's refusal totals
//!
//! The ledger is a fold over the frames of the log: the same frames in the same order give the same ledger. The
//! account of a finished ring moves to a file of its own ([`tidy`]), and 30 days later into the sum of its
//! application. Where an account is both in that file and in MANIFEST or the live log, the one in MANIFEST and log
//! counts.

pub(crate) mod account;
pub(crate) mod counters;
pub(crate) mod finished;

use std::collections::BTreeMap;
use std::sync::Arc;

use dotter_dot::{Incarnation, Reason, SeriesName, Shape, TimeRange, Timestamp, put_varint};

use crate::format::bytes::Fields;
use crate::format::ledger::account::total;
pub use crate::format::ledger::account::{Account, LaneAccount, Tally};
pub use crate::format::ledger::counters::{COUNTERS_BYTES_MAX, Counters};
pub use crate::format::ledger::finished::Application;
pub(crate) use crate::format::ledger::finished::Finished;

/// All accounts, and what happened to dots of the store as a whole.
///
/// Two ledgers are equal where all accounts and totals are, whether an account is in MANIFEST or in the file of
/// finished rings.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The accounts in MANIFEST, with the changes and the new accounts from the live log.
    pub(crate) accounts: BTreeMap<Incarnation, Account>,
    pub(crate) finished: Arc<Finished>,
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
    /// Dots that were stored and whose bytes no longer match their checksum. A step made from dots counts as one, and
    /// those dots are in [`Totals::expired`] too.
    pub damaged: u64,
    /// Observations that went into weighted rows, less these rows.
    pub condensed: u64,
    /// Dots that a rename stored once more, under a new name. Those under the old name are hidden by then, and count as
    /// deleted once they are removed.
    pub renamed: u64,
}

impl Totals {
    /// Adds what became of further dots.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.stored_other = self.stored_other.saturating_add(other.stored_other);
        self.replaced = self.replaced.saturating_add(other.replaced);
        self.deleted = self.deleted.saturating_add(other.deleted);
        self.expired = self.expired.saturating_add(other.expired);
        self.damaged = self.damaged.saturating_add(other.damaged);
        self.condensed = self.condensed.saturating_add(other.condensed);
        self.renamed = self.renamed.saturating_add(other.renamed);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Totals { stored_other, replaced, deleted, expired, damaged, condensed, renamed } = *self;
        [stored_other, replaced, deleted, expired, damaged, condensed, renamed]
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
            condensed: fields.varint()?,
            renamed: fields.varint()?,
        })
    }
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
    /// Lost records: sorted, disjoint, within `first..next`.
    pub losses: Vec<Lost>,
    /// Refused records: sorted, disjoint, within `first..next`, and disjoint from the losses.
    pub refused: Vec<Refused>,
    /// How many of the other records another store of the cluster keeps. Where a lost range has such records in it,
    /// its entry in `losses` has only as many records as are lost.
    pub elsewhere: u64,
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
        let others = total([self.lost_len(), self.refused_len(), self.elsewhere]);
        (self.next - self.first).saturating_sub(others)
    }
}

impl Ledger {
    /// Accounts in the order of their incarnations; without those in [`Ledger::applications`].
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, &Account)> {
        let finished = self.finished.records().accounts.iter();
        let mut all: BTreeMap<_, _> = finished.map(|(of, moved)| (of, &moved.account)).collect();
        all.extend(&self.accounts);
        all.into_iter().map(|(incarnation, account)| (*incarnation, account))
    }

    /// What became of the dots of rings that finished more than 30 days ago, by application.
    pub fn applications(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.finished.records().applications.iter().map(|(name, application)| (name.as_str(), application))
    }

    /// Why accounts of finished rings may be missing; empty where none is.
    pub fn damage(&self) -> Vec<String> {
        self.finished.damage().into_iter().map(|(at, what)| format!("at byte {at}: {what}")).collect()
    }

    /// The account of one incarnation, where it is known.
    pub fn account(&self, incarnation: Incarnation) -> Option<&Account> {
        let finished = || self.finished.records().accounts.get(&incarnation).map(|moved| &moved.account);
        self.accounts.get(&incarnation).or_else(finished)
    }

    /// The account of one incarnation, to be changed. It is one of the accounts in MANIFEST from now on.
    fn account_mut(&mut self, incarnation: Incarnation) -> &mut Account {
        let Ledger { accounts, finished, .. } = self;
        let known = || finished.records().accounts.get(&incarnation).map(|moved| moved.account.clone());
        accounts.entry(incarnation).or_insert_with(|| known().unwrap_or_default())
    }

    /// The next record wanted of a lane; 0 for an unknown one.
    pub fn next(&self, incarnation: Incarnation, lane: u32) -> u64 {
        self.account(incarnation).and_then(|account| account.lanes.get(&lane)).map_or(0, |lane| lane.next)
    }

    /// Opens an account where there is none, and notes the owner where none was known.
    pub(crate) fn open(
        &mut self,
        incarnation: Incarnation,
        application: &str,
        owner: Option<u32>,
        now: Timestamp,
    ) -> &mut Account {
        let is_new = self.account(incarnation).is_none();
        let account = self.account_mut(incarnation);
        if is_new {
            account.application = application.to_owned();
            account.first_seen = now;
        }
        account.owner = account.owner.or(owner);
        account
    }

    /// Books a range of records of an open account.
    ///
    /// A range that starts above the next record wanted leaves a hole, which at replay comes from a damaged frame.
    /// The hole is booked as lost with reason damage. The caller has cut off records below the next record wanted.
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
        lane.elsewhere = lane.elsewhere.saturating_add(records.elsewhere);
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

    /// Books the last total of a counter, as a word; the latest counts. A finished ring has no counters.
    pub(crate) fn book_counter(
        &mut self,
        incarnation: Incarnation,
        name: &SeriesName,
        shape: &Shape,
        total: u64,
    ) {
        let account = self.account_mut(incarnation);
        if account.finished.is_none() {
            account.counters.book(name, shape, total);
        }
    }

    /// Closes an account: no more records will come, and the last totals of its counters are dropped.
    pub(crate) fn finish(&mut self, incarnation: Incarnation, lanes: &[(u32, u64)], now: Timestamp) {
        let account = self.account_mut(incarnation);
        for (lane, _) in lanes {
            account.lanes.entry(*lane).or_default();
        }
        account.finished.get_or_insert(now);
        account.counters = Counters::default();
    }

    /// Takes over the accounts in which `outcome` differs from `base`, which a part of the log has been applied to.
    ///
    /// An account of `base` that is missing here stays out: meanwhile it was added to the sum of its application.
    pub(crate) fn take_over(&mut self, base: &Ledger, outcome: &Ledger) {
        for (incarnation, account) in &outcome.accounts {
            let before = base.account(*incarnation);
            if before == Some(account) || (before.is_some() && self.account(*incarnation).is_none()) {
                continue;
            }
            self.accounts.insert(*incarnation, account.clone());
        }
    }

    /// Replaces the accounts in MANIFEST by those of `other`.
    pub(crate) fn replace_accounts(&mut self, other: &Ledger) {
        self.accounts.clone_from(&other.accounts);
    }

    /// Drops the accounts that have moved from MANIFEST to the file of finished rings between two states of the list.
    ///
    /// A caller that misses the 30 days in which an account is in that file keeps the account.
    ///
    /// - `before`, `now`: the ledger of the list at the last call, and as it is now
    pub(crate) fn follow(&mut self, before: &Ledger, now: &Ledger) {
        let is_same = Arc::ptr_eq(&self.finished, &now.finished) || self.finished == now.finished;
        // Where the file is damaged, it is not known which accounts are missing.
        if is_same || !now.finished.damage().is_empty() {
            return;
        }
        self.finished = now.finished.clone();
        let moved = |incarnation: &Incarnation, account: &mut Account| {
            !now.accounts.contains_key(incarnation)
                && match now.account(*incarnation) {
                    Some(finished) => finished == account,
                    // The account is in the sum of its application by now, unless the log has changed it since.
                    None => account.finished.is_some() && before.account(*incarnation) == Some(account),
                }
        };
        self.accounts.extract_if(.., moved).for_each(drop);
        // A rebuilt list may have put some accounts back.
        for (incarnation, account) in &now.accounts {
            if self.account(*incarnation).is_none() {
                self.accounts.insert(*incarnation, account.clone());
            }
        }
    }

    /// Drops the accounts that are in the file of finished rings too.
    pub(crate) fn prefer_finished(&mut self) {
        let Ledger { accounts, finished, .. } = self;
        accounts.retain(|of, _| !finished.records().accounts.contains_key(of));
    }

    /// The file of finished rings that belongs to the accounts in MANIFEST.
    pub(crate) fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Sets the file of finished rings that belongs to the accounts in MANIFEST.
    pub(crate) fn set_finished(&mut self, finished: Finished) {
        self.finished = Arc::new(finished);
    }

    /// Appends totals and accounts, without those in the file of finished rings.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn booked() -> Ledger {
        let incarnation = Incarnation([7; 16]);
        let times = TimeRange::new(Timestamp::from_nanos(5), Timestamp::from_nanos(9));
        let mut ledger = Ledger::default();
        ledger.open(incarnation, "app", None, Timestamp::from_nanos(3));
        let lost = Lost { first: 2, next: 5, reason: Reason::LAPPED, times: Some(times) };
        let refused = Refused { first: 6, next: 7, reason: Reason::NAME };
        let (losses, refused) = (vec![lost], vec![refused]);
        let records = LaneRecords { lane: 1, first: 0, next: 10, losses, refused, elsewhere: 2 };
        assert_eq!(ledger.book(incarnation, &records), 0);
        ledger.book_refusal_total(incarnation, Reason::SIGNAL_HANDLER, 4);
        ledger.book_refusal_total(incarnation, Reason::SIGNAL_HANDLER, 2);
        ledger
    }

    #[test]
    fn what_is_published_is_stored_lost_refused_or_elsewhere() {
        let ledger = booked();
        let (_, account) = ledger.iter().next().unwrap();
        assert_eq!((account.published(), account.stored(), account.elsewhere()), (14, 4, 2));
        assert_eq!((account.lost(), account.refused()), (3, 5));
        assert!(account.is_balanced());
    }

    #[test]
    fn the_totals_of_counters_go_with_the_ring() {
        let (mut ledger, incarnation) = (booked(), Incarnation([7; 16]));
        let (name, shape) = (SeriesName::new("orders").unwrap(), Shape::number());
        for total in [5.0_f64, 4.0] {
            ledger.book_counter(incarnation, &name, &shape, total.to_bits());
            let counters = &ledger.account(incarnation).unwrap().counters;
            assert_eq!((counters.len(), counters.total(&name, &shape)), (1, Some(total.to_bits())));
        }
        ledger.finish(incarnation, &[], Timestamp::from_nanos(77));
        ledger.book_counter(incarnation, &name, &shape, 6.0_f64.to_bits());
        assert!(ledger.account(incarnation).unwrap().counters.is_empty());
    }

    #[test]
    fn the_first_owner_that_is_known_stays() {
        let (mut ledger, incarnation) = (booked(), Incarnation([7; 16]));
        assert_eq!(ledger.account(incarnation).unwrap().owner, None);
        for owner in [Some(1000), None, Some(0)] {
            ledger.open(incarnation, "app", owner, Timestamp::from_nanos(9));
        }
        let account = ledger.account(incarnation).unwrap();
        assert_eq!((account.owner, account.first_seen.nanos()), (Some(1000), 3));
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
        (ledger.totals.replaced, ledger.totals.condensed) = (300, 99_481);
        let open = Incarnation([8; 16]);
        ledger.open(open, "app", Some(1000), Timestamp::from_nanos(4));
        ledger.book_counter(open, &SeriesName::new("orders").unwrap(), &Shape::number(), 1);
        let mut bytes = Vec::new();
        ledger.encode(&mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!(Ledger::decode(&mut fields), Some(ledger));
        assert!(fields.0.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(Ledger::decode(&mut Fields(&bytes[..cut])), None, "cut at {cut}");
        }
    }
}
