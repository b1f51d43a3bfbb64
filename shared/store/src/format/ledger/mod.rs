//! What became of every dot of every incarnation.
//!
//! Always true of an account:
//!
//! - per lane `next == stored + lost + refused + elsewhere`
//! - `published == stored + lost + refused + elsewhere` over the whole account, where published is the sum of the
//!   next record numbers of all lanes and of the ring's refusal totals
//!
//! The ledger is a fold over the frames of the log: the same frames in the same order give the same ledger.
//!
//! Each ring counts in one place. While it is open it has an account; when it finishes, that account is added to the
//! sum of its application, and the ring itself is known by 16 bytes alone: first in the ledger, then, once [`tidy`] has
//! moved them, in a file. The whole accounts of the rings that finished last are there to be looked at; they are part of
//! the sums.
//!
//! [`tidy`]: crate::tidy

pub(crate) mod account;
pub(crate) mod application;
mod change;
pub(crate) mod counters;
pub(crate) mod files;
pub(crate) mod finished;
mod lately;
mod records;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dotter_dot::{Incarnation, Reason, SeriesName, Shape, Timestamp, put_varint};

use crate::format::bytes::Fields;
use crate::format::ledger::account::total;
pub use crate::format::ledger::account::{Account, LaneAccount, LossSpan, Tally};
pub use crate::format::ledger::application::{Application, RingLoss};
pub(crate) use crate::format::ledger::change::LedgerChange;
use crate::format::ledger::change::{put_rings, take_rings};
pub use crate::format::ledger::counters::{COUNTERS_BYTES_MAX, Counters};
use crate::format::ledger::files::{FinishedFiles, LedgerFile};
use crate::format::ledger::finished::{FinishedFile, Found, Sums, decode_sums};
use crate::format::ledger::lately::Lately;
pub use crate::format::ledger::records::{LaneRecords, Lost, Refused};
pub use crate::format::ledger::totals::Totals;

/// What became of all dots: open rings one by one, finished ones as sums, and dots of the store as a whole.
///
/// Two ledgers are equal where all counts are, however it is known which rings have finished.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The accounts of open rings.
    pub(crate) accounts: BTreeMap<Incarnation, Account>,
    /// Of all finished rings.
    sums: Sums,
    lately: Lately,
    /// Finished rings that are in no file yet.
    over: BTreeSet<Incarnation>,
    files: Arc<FinishedFiles>,
    /// Counts that belong to no incarnation.
    pub totals: Totals,
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Ledger) -> bool {
        self.totals == other.totals && self.accounts == other.accounts && self.sums == other.sums
    }
}

impl Eq for Ledger {}

impl Ledger {
    /// The accounts that are there whole: those of open rings in the order of their incarnations, then those of the rings
    /// that finished last, oldest first. For totals use [`Ledger::open_rings`] and [`Ledger::applications`].
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, &Account)> {
        self.open_rings().chain(self.lately.iter())
    }

    /// The accounts of the rings that have not finished, in the order of their incarnations.
    pub fn open_rings(&self) -> impl Iterator<Item = (Incarnation, &Account)> {
        self.accounts.iter().map(|(incarnation, account)| (*incarnation, account))
    }

    /// What became of the dots of all rings that have finished, by application.
    pub fn applications(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.sums.iter().map(|(name, application)| (name.as_str(), &**application))
    }

    /// Why it may not be known of a ring that it has finished: the damage in the files of finished rings, all of which
    /// are read for it; empty where there is none.
    pub fn damage(&self) -> Vec<String> {
        let of = |(file, at, what): (&LedgerFile, u64, String)| {
            format!("ledger/{} at byte {at}: {what}", file.name)
        };
        self.files.damage().map(of).collect()
    }

    /// The account of one incarnation, where it is there whole: it is open, or finished lately.
    pub fn account(&self, incarnation: Incarnation) -> Option<&Account> {
        self.accounts.get(&incarnation).or_else(|| self.lately.get(incarnation))
    }

    /// Whether a ring has finished: nothing of it is booked any more. 30 days of running time later it is not known.
    pub fn is_finished(&self, incarnation: Incarnation) -> bool {
        !self.accounts.contains_key(&incarnation) && self.find_finished(&incarnation) == Found::Yes
    }

    fn find_finished(&self, incarnation: &Incarnation) -> Found {
        if self.over.contains(incarnation) { Found::Yes } else { self.files.find(incarnation) }
    }

    /// The next record wanted of a lane; 0 for an unknown one. Of a finished ring it is known as long as its account is
    /// there whole.
    pub fn next(&self, incarnation: Incarnation, lane: u32) -> u64 {
        self.account(incarnation).and_then(|account| account.lanes.get(&lane)).map_or(0, |lane| lane.next)
    }

    /// Opens an account where there is none, and notes the owner where none was known. A ring that has finished stays
    /// so: what is told of it again is booked already.
    pub(crate) fn open(
        &mut self,
        incarnation: Incarnation,
        application: &str,
        owner: Option<u32>,
        now: Timestamp,
    ) {
        if !self.accounts.contains_key(&incarnation) {
            let found = self.find_finished(&incarnation);
            if found == Found::Yes {
                return;
            }
            let account = Account {
                application: application.to_owned(),
                first_seen: now,
                unsure: found == Found::Unsure,
                ..Account::default()
            };
            self.accounts.insert(incarnation, account);
        }
        if let Some(account) = self.accounts.get_mut(&incarnation) {
            account.owner = account.owner.or(owner);
        }
    }

    /// Books a range of records of an open account.
    ///
    /// A range that starts above the next record wanted leaves a hole, which at replay comes from a damaged frame.
    /// The hole is booked as lost with reason damage. The caller has cut off records below the next record wanted.
    ///
    /// Returns how many records the hole has.
    pub(crate) fn book(&mut self, incarnation: Incarnation, records: &LaneRecords) -> u64 {
        let Some(account) = self.accounts.get_mut(&incarnation) else { return 0 };
        let lane = account.lanes.entry(records.lane).or_default();
        let hole = records.first.saturating_sub(lane.next);
        if hole > 0 {
            lane.lost = lane.lost.saturating_add(hole);
            account.lost.entry(Reason::DAMAGE).or_default().add(hole, None);
        }
        for lost in &records.losses {
            let count = lost.next - lost.first;
            lane.lost = lane.lost.saturating_add(count);
            let (lane, first, next) = (records.lane, lost.first, lost.next);
            let span = lost.times.map(|times| LossSpan { lane, first, next, times, lost: count });
            account.lost.entry(lost.reason).or_default().add(count, span);
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
        let Some(account) = self.accounts.get_mut(&incarnation) else { return };
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
        if let Some(account) = self.accounts.get_mut(&incarnation) {
            account.counters.book(name, shape, total);
        }
    }

    /// Closes an open account: no more records will come. It is added to the sum of its application, and the last totals
    /// of its counters are dropped.
    pub(crate) fn finish(&mut self, incarnation: Incarnation, lanes: &[(u32, u64)], now: Timestamp) {
        let Some(mut account) = self.accounts.remove(&incarnation) else { return };
        for (lane, _) in lanes {
            account.lanes.entry(*lane).or_default();
        }
        account.finished = Some(now);
        account.counters = Counters::default();
        let sum = self.sums.entry(account.application.clone()).or_default();
        Arc::make_mut(sum).add(incarnation, &account);
        self.over.insert(incarnation);
        self.lately.push(incarnation, Arc::new(account));
    }

    /// Takes over what frames of the log have made of `base`, which was this ledger before. Only which finished rings are
    /// in files may have changed here meanwhile.
    pub(crate) fn take_over(&mut self, base: &Ledger, outcome: &Ledger) {
        self.replace_accounts(outcome);
        self.lately = outcome.lately.clone();
        self.forget_filed(&base.over);
    }

    /// Replaces accounts and sums by those of `other`, as the log has them.
    pub(crate) fn replace_accounts(&mut self, other: &Ledger) {
        self.accounts.clone_from(&other.accounts);
        self.sums.clone_from(&other.sums);
        self.over.clone_from(&other.over);
    }

    /// Takes over what tidy passes have done: the files of the list as it is now.
    ///
    /// Every finished ring is looked for in the new files, not only those that the list had when it was last read: a seal
    /// and a tidy pass may both have come since, and then no list that this process has read names the ring.
    pub(crate) fn follow(&mut self, now: &Ledger) {
        let Ledger { over, files, .. } = self;
        let is_new = |file: &&Arc<FinishedFile>| !files.0.iter().any(|known| Arc::ptr_eq(known, file));
        let new: Vec<_> = now.files.0.iter().filter(is_new).collect();
        if !new.is_empty() {
            over.retain(|ring| !new.iter().any(|file| file.find(ring) == Found::Yes));
        }
        self.files = now.files.clone();
    }

    /// Forgets those of `rings` that are in a file by now.
    fn forget_filed(&mut self, rings: &BTreeSet<Incarnation>) {
        let Ledger { over, files, .. } = self;
        rings.iter().filter(|ring| files.find(ring) == Found::Yes).for_each(|ring| _ = over.remove(ring));
    }

    /// Whether both have the same whole accounts, and the same finished rings in no file.
    pub(crate) fn says_what(&self, other: &Ledger) -> bool {
        self == other && self.lately == other.lately && self.over == other.over
    }

    /// The finished rings that are in no file yet.
    pub(crate) fn over(&self) -> &BTreeSet<Incarnation> {
        &self.over
    }

    /// Says that all finished rings are in files, these.
    pub(crate) fn filed(&mut self, files: FinishedFiles) {
        self.over.clear();
        self.set_files(files);
    }

    /// The files of finished rings.
    pub(crate) fn files(&self) -> &FinishedFiles {
        &self.files
    }

    /// Sets the files of finished rings that belong to this ledger.
    pub(crate) fn set_files(&mut self, files: FinishedFiles) {
        self.files = Arc::new(files);
    }

    /// The sums of all applications.
    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// How many rings there are, open and finished.
    pub(crate) fn rings(&self) -> u64 {
        let finished = self.sums.values().map(|application| application.rings);
        total(finished.chain([self.accounts.len() as u64]))
    }

    /// Takes what the files tell of rings that finished where this ledger is older: sums only grow, so of two sums of an
    /// application the one of more rings has the other in it.
    pub(crate) fn catch_up_with_files(&mut self) {
        let Ledger { accounts, sums, over, files, .. } = self;
        for (name, sum) in files.0.iter().filter_map(|file| file.sums()).flatten() {
            let known = sums.entry(name).or_default();
            if sum.rings > known.rings {
                *known = sum;
            }
        }
        accounts.retain(|ring, _| files.find(ring) != Found::Yes);
        over.retain(|ring| files.find(ring) != Found::Yes);
    }

    /// Appends all but the whole accounts of finished rings and the files.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.totals.encode(out);
        put_varint(out, self.accounts.len() as u64);
        for (incarnation, account) in &self.accounts {
            account.encode(*incarnation, out);
        }
        put_varint(out, self.sums.len() as u64);
        self.sums.iter().for_each(|(name, application)| application.encode(name, out));
        put_rings(&self.over, out);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Ledger> {
        let totals = Totals::decode(fields)?;
        let mut ledger = Ledger { totals, ..Ledger::default() };
        for _ in 0..fields.count(16)? {
            let incarnation = Incarnation(fields.array()?);
            ledger.accounts.insert(incarnation, Account::decode(fields)?);
        }
        ledger.sums = decode_sums(fields)?;
        ledger.over = take_rings(fields)?;
        Some(ledger)
    }

    /// Appends the whole accounts of finished rings.
    pub(crate) fn encode_lately(&self, out: &mut Vec<u8>) {
        self.lately.encode(out);
    }

    pub(crate) fn decode_lately(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.lately = Lately::decode(fields)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::TimeRange;

    use super::*;
    use crate::format::listing::StoreId;

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
    fn a_finished_ring_is_in_the_sum_of_its_application_and_nothing_more_is_booked_of_it() {
        let (mut ledger, incarnation) = (booked(), Incarnation([7; 16]));
        ledger.finish(incarnation, &[(1, 10)], Timestamp::from_nanos(77));
        let check = |ledger: &Ledger| {
            let (name, sum) = ledger.applications().next().unwrap();
            assert_eq!((name, sum.rings, sum.published(), sum.stored, sum.lost()), ("app", 1, 14, 4, 3));
            assert_eq!((sum.losses.len(), sum.losses[0].span.first, sum.losses[0].span.next), (1, 2, 5));
            assert_eq!((ledger.open_rings().count(), ledger.iter().count(), ledger.rings()), (0, 1, 1));
            assert!(ledger.is_finished(incarnation));
        };
        check(&ledger);
        // The same once more, as a list that was rebuilt may read it.
        ledger.open(incarnation, "app", None, Timestamp::from_nanos(99));
        let records = LaneRecords { lane: 1, first: 10, next: 20, ..LaneRecords::default() };
        assert_eq!(ledger.book(incarnation, &records), 0);
        ledger.book_refusal_total(incarnation, Reason::SIGNAL_HANDLER, 9);
        ledger.finish(incarnation, &[(1, 20)], Timestamp::from_nanos(99));
        check(&ledger);
    }

    #[test]
    fn rings_that_reach_a_file_between_two_looks_at_the_list_are_kept_no_longer() {
        use crate::format::ledger::finished::tests::{bytes, listing, ring};
        let mut own = Ledger::default();
        let now = Timestamp::from_nanos(3);
        for number in 0..10 {
            own.open(ring(number), "app", None, now);
            own.finish(ring(number), &[], now);
        }
        let (content, mut list) = (bytes(5), Ledger::default());
        let listing = listing(&content, 5);
        let file = FinishedFile::new(listing, StoreId([3; 16]), None, Box::new(content));
        list.set_files(FinishedFiles(vec![Arc::new(file)]));
        let odd: BTreeSet<_> = (1..10).step_by(2).map(ring).collect();
        // The second list has the same file.
        for list in [list.clone(), list] {
            own.follow(&list);
            assert_eq!(own.over, odd);
            assert!((0..10).all(|number| own.is_finished(ring(number))) && !own.is_finished(ring(10)));
        }
        own.follow(&Ledger::default());
        assert_eq!((own.over.len(), own.files.0.len()), (5, 0));
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
        let expected = Ledger { lately: Lately::default(), ..ledger.clone() };
        assert!(Ledger::decode(&mut fields).unwrap().says_what(&expected));
        assert!(fields.0.is_empty());
        // As an edit it is all there.
        let change = ledger.since(&Ledger::default());
        assert!(!change.is_empty() && ledger.since(&ledger).is_empty());
        let mut edit = Vec::new();
        change.encode(&mut edit);
        let mut again = Ledger::default();
        again.apply(&mut Fields(&edit)).unwrap();
        assert!(again.says_what(&ledger));
        for cut in 0..bytes.len() {
            assert_eq!(Ledger::decode(&mut Fields(&bytes[..cut])), None, "cut at {cut}");
        }
    }
}
