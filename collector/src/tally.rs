//! What commits add up to.

use std::collections::BTreeMap;

use dotter_dot::Reason;
use dotter_store::Ledger;

/// What a group of commits adds up to; counted once it is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) batches: u64,
    /// Of rings.
    pub(crate) dots: u64,
    /// From every other way in.
    pub(crate) rows: u64,
    pub(crate) lost: BTreeMap<Reason, u64>,
    pub(crate) refused: BTreeMap<Reason, u64>,
    /// New rings that may have finished before, and so be counted twice: what would tell is damaged.
    pub(crate) unsure: u64,
}

impl Tally {
    /// What a ledger has booked for rings, from the first day on.
    pub(crate) fn of(ledger: &Ledger) -> Tally {
        let mut tally = Tally::default();
        for (_, account) in ledger.open_rings() {
            let lost = account.lost.iter().map(|(reason, tally)| (*reason, tally.count)).collect();
            let refused = account.refused.clone();
            tally.add(Tally { dots: account.stored(), lost, refused, ..Tally::default() });
        }
        for (_, application) in ledger.applications() {
            let (lost, refused) = (application.lost.clone(), application.refused.clone());
            tally.add(Tally { dots: application.stored, lost, refused, ..Tally::default() });
        }
        tally
    }

    /// What this has more than `before`.
    pub(crate) fn since(&self, before: &Tally) -> Tally {
        let more = |counts: &BTreeMap<Reason, u64>, before: &BTreeMap<Reason, u64>| {
            let known = |reason| before.get(reason).copied().unwrap_or(0);
            counts.iter().map(|(reason, count)| (*reason, count.saturating_sub(known(reason)))).collect()
        };
        Tally {
            batches: self.batches.saturating_sub(before.batches),
            dots: self.dots.saturating_sub(before.dots),
            rows: self.rows.saturating_sub(before.rows),
            lost: more(&self.lost, &before.lost),
            refused: more(&self.refused, &before.refused),
            unsure: self.unsure.saturating_sub(before.unsure),
        }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.batches += other.batches;
        self.dots += other.dots;
        self.rows += other.rows;
        self.unsure += other.unsure;
        for (sum, counts) in [(&mut self.lost, other.lost), (&mut self.refused, other.refused)] {
            for (reason, count) in counts {
                *sum.entry(reason).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_what_one_ledger_has_more_than_another() {
        let lost = |count| [(Reason::LAPPED, count)].into();
        let mut before = Tally { dots: 5, lost: lost(2), ..Tally::default() };
        let refused = [(Reason::NAME, 4)].into();
        let after = Tally { batches: 1, dots: 9, rows: 2, lost: lost(3), refused, ..Tally::default() };
        let more = after.since(&before);
        assert_eq!((more.dots, more.rows), (4, 2));
        assert_eq!((more.lost[&Reason::LAPPED], more.refused[&Reason::NAME]), (1, 4));
        before.add(more);
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
}
