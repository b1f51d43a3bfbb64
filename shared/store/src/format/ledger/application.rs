//! What became of the dots of all finished rings of one application: the place where they count.

use std::collections::{BTreeMap, VecDeque};

use dotter_dot::{Incarnation, Reason, Timestamp, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::ledger::account::{Account, LossSpan, counts, put_counts, total};

/// The most losses that are kept one by one; the oldest go, and stay in the sums.
const LOSSES_MAX: usize = 256;
/// The fewest bytes of a loss.
const LOSS_BYTES_MIN: usize = 16 + 1 + 6;

/// What became of the dots of all rings of an application that have finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Rings.
    pub rings: u64,
    /// Those of the rings that may have finished before, and so be counted twice: what would tell is damaged.
    pub unsure: u64,
    /// When the store first received anything from the first of them.
    pub first_seen: Timestamp,
    /// When the last of them was finished.
    pub finished: Timestamp,
    /// Dots committed.
    pub stored: u64,
    /// Dots that another store of the cluster keeps.
    pub elsewhere: u64,
    /// Dots lost, by reason.
    pub lost: BTreeMap<Reason, u64>,
    /// Dots refused by the collector, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Dots the rings themselves refused, by reason.
    pub refused_in_ring: BTreeMap<Reason, u64>,
    /// The newest losses whose times are known, at most 256, in the order in which their rings finished.
    pub losses: VecDeque<RingLoss>,
}

/// A loss of a finished ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLoss {
    /// The ring.
    pub incarnation: Incarnation,
    /// Why.
    pub reason: Reason,
    /// Which records, and when they would have been.
    pub span: LossSpan,
}

impl Application {
    /// Adds the account of a ring that has finished.
    pub(super) fn add(&mut self, incarnation: Incarnation, account: &Account) {
        if self.rings == 0 || account.first_seen < self.first_seen {
            self.first_seen = account.first_seen;
        }
        self.rings = self.rings.saturating_add(1);
        self.unsure = self.unsure.saturating_add(account.unsure.into());
        self.finished = self.finished.max(account.finished.unwrap_or_default());
        self.stored = self.stored.saturating_add(account.stored());
        self.elsewhere = self.elsewhere.saturating_add(account.elsewhere());
        let lost = account.lost.iter().map(|(reason, tally)| (*reason, tally.count)).collect();
        for (sums, counts) in [
            (&mut self.lost, &lost),
            (&mut self.refused, &account.refused),
            (&mut self.refused_in_ring, &account.refused_in_ring),
        ] {
            for (reason, count) in counts {
                let sum = sums.entry(*reason).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        for (reason, tally) in &account.lost {
            let loss = |span: &LossSpan| RingLoss { incarnation, reason: *reason, span: *span };
            self.losses.extend(tally.spans.iter().map(loss));
        }
        self.losses.drain(..self.losses.len().saturating_sub(LOSSES_MAX));
    }

    /// Dots for which publish returned.
    pub fn published(&self) -> u64 {
        total([self.stored, self.lost(), self.refused(), self.elsewhere])
    }

    /// Dots lost, for whatever reason.
    pub fn lost(&self) -> u64 {
        total(self.lost.values().copied())
    }

    /// Dots refused, in the ring and by the collector.
    pub fn refused(&self) -> u64 {
        total(self.refused.values().chain(self.refused_in_ring.values()).copied())
    }

    pub(super) fn encode(&self, name: &str, out: &mut Vec<u8>) {
        put_text(out, name);
        let (first, last) = (self.first_seen.nanos(), self.finished.nanos());
        for field in [self.rings, self.unsure, first, last, self.stored, self.elsewhere] {
            put_varint(out, field);
        }
        for counts in [&self.lost, &self.refused, &self.refused_in_ring] {
            put_counts(out, counts);
        }
        put_varint(out, self.losses.len() as u64);
        for loss in &self.losses {
            out.extend_from_slice(&loss.incarnation.0);
            out.push(loss.reason.0);
            loss.span.encode(out);
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Application> {
        let mut application = Application {
            rings: fields.varint()?,
            unsure: fields.varint()?,
            first_seen: Timestamp::from_nanos(fields.varint()?),
            finished: Timestamp::from_nanos(fields.varint()?),
            stored: fields.varint()?,
            elsewhere: fields.varint()?,
            lost: counts(fields)?,
            refused: counts(fields)?,
            refused_in_ring: counts(fields)?,
            losses: VecDeque::new(),
        };
        for _ in 0..fields.count(LOSS_BYTES_MIN)? {
            let (incarnation, reason) = (Incarnation(fields.array()?), Reason(fields.byte()?));
            application.losses.push_back(RingLoss { incarnation, reason, span: LossSpan::decode(fields)? });
        }
        (application.losses.len() <= LOSSES_MAX).then_some(application)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dotter_dot::TimeRange;

    use super::*;
    use crate::format::ledger::{LaneAccount, Tally};

    /// The account of a ring of which seven dots are stored, one was lost, and `100 * number` are elsewhere.
    pub(crate) fn account(number: u8) -> Account {
        let elsewhere = u64::from(number) * 100;
        let lane =
            LaneAccount { next: elsewhere + 8, stored: 7, lost: 1, elsewhere, ..LaneAccount::default() };
        let from = Timestamp::from_nanos(number.into());
        let times = TimeRange::new(from, Timestamp::from_nanos(u64::from(number) + 1));
        let span = LossSpan { lane: 3, first: 7, next: 8, times, lost: 1 };
        Account {
            application: format!("app.{}", number % 3),
            first_seen: Timestamp::from_nanos(number.into()),
            finished: Some(Timestamp::from_nanos(1000 + u64::from(number))),
            lanes: [(3, lane)].into(),
            lost: [(Reason::LAPPED, Tally { count: 1, spans: vec![span] })].into(),
            unsure: number == 5,
            ..Account::default()
        }
    }

    #[test]
    fn a_sum_has_all_rings_and_the_newest_losses() {
        let mut sum = Application::default();
        for round in 0..3 {
            for number in 0..200 {
                sum.add(Incarnation([number; 16]), &account(number));
            }
            assert_eq!(sum.rings, (round + 1) * 200);
        }
        assert_eq!((sum.unsure, sum.stored, sum.lost()), (3, 600 * 7, 600));
        assert_eq!(sum.elsewhere, 3 * (0..200).map(|number| number * 100).sum::<u64>());
        assert_eq!(sum.published(), sum.elsewhere + 600 * 8);
        assert_eq!((sum.first_seen.nanos(), sum.finished.nanos()), (0, 1199));
        let rings = sum.losses.iter().map(|loss| loss.incarnation.0[0]);
        assert!(rings.eq((144..200).chain(0..200)));
        let mut bytes = Vec::new();
        sum.encode("app", &mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!((fields.text(), Application::decode(&mut fields)), (Some("app"), Some(sum)));
        assert!(fields.0.is_empty());
        for cut in 4..bytes.len() {
            assert_eq!(Application::decode(&mut Fields(&bytes[4..cut])), None, "cut at {cut}");
        }
    }
}
