//! What became of the dots of one ring.

use std::collections::BTreeMap;

use dotter_dot::{Incarnation, Reason, TimeRange, Timestamp, put_varint};

use crate::format::bytes::{Fields, put_owner, put_text};
use crate::format::ledger::counters::Counters;

/// The most time spans of a reason; a further one widens the last.
const SPANS_MAX: usize = 64;

/// One incarnation's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The application that made the ring.
    pub application: String,
    /// Uid of the ring's owner, where it is known.
    pub owner: Option<u32>,
    /// When the store first received anything from the ring.
    pub first_seen: Timestamp,
    /// What became of the records of each lane.
    pub lanes: BTreeMap<u32, LaneAccount>,
    /// Records lost, by reason.
    pub lost: BTreeMap<Reason, Tally>,
    /// Records refused by the collector, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Dots the ring itself refused, by reason: the greatest total seen.
    pub refused_in_ring: BTreeMap<Reason, u64>,
    /// The last totals of its counters; none once it is finished.
    pub counters: Counters,
    /// When the ring was finished.
    pub finished: Option<Timestamp>,
    /// Whether the ring may have finished before, and so be counted twice: what would tell is damaged.
    pub unsure: bool,
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
    /// Records that another store of the cluster keeps.
    pub elsewhere: u64,
}

/// How many records were lost for one reason, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub count: u64,
    /// The losses whose times are known, in the order in which they were booked.
    pub spans: Vec<LossSpan>,
}

/// One loss whose times are known; the last of an account may stand for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossSpan {
    /// The lane; of several losses that of the newest.
    pub lane: u32,
    /// First record; of several losses in one lane that of the first.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// When the records would have been.
    pub times: TimeRange,
    /// How many records are lost.
    pub lost: u64,
}

impl Tally {
    /// - `span`: the loss, where its times are known
    pub(super) fn add(&mut self, count: u64, span: Option<LossSpan>) {
        self.count = self.count.saturating_add(count);
        let Some(span) = span else { return };
        if self.spans.len() < SPANS_MAX {
            self.spans.push(span);
        } else if let Some(last) = self.spans.last_mut() {
            last.widen(span);
        }
    }
}

impl LossSpan {
    fn widen(&mut self, by: LossSpan) {
        let first = if self.lane == by.lane { self.first.min(by.first) } else { by.first };
        let next = if self.lane == by.lane { self.next.max(by.next) } else { by.next };
        let from = self.times.from.min(by.times.from);
        let times = TimeRange::new(from, self.times.until.max(by.times.until));
        *self = LossSpan { lane: by.lane, first, next, times, lost: self.lost.saturating_add(by.lost) };
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let LossSpan { lane, first, next, times, lost } = *self;
        let length = times.until.nanos().saturating_sub(times.from.nanos());
        for field in [lane.into(), first, next.saturating_sub(first), times.from.nanos(), length, lost] {
            put_varint(out, field);
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<LossSpan> {
        let (lane, first) = (fields.number()?, fields.varint()?);
        let next = first.checked_add(fields.varint()?)?;
        let from = fields.varint()?;
        let until = from.checked_add(fields.varint()?)?;
        let times = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        Some(LossSpan { lane, first, next, times, lost: fields.varint()? })
    }
}

impl Account {
    /// Dots for which publish returned, as far as the store knows.
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

    /// Dots that another store of the cluster keeps.
    pub fn elsewhere(&self) -> u64 {
        total(self.lanes.values().map(|lane| lane.elsewhere))
    }

    /// Whether the promise holds: `published == stored + lost + refused + elsewhere`, lane by lane and over all.
    pub fn is_balanced(&self) -> bool {
        let is_lane_balanced =
            |lane: &LaneAccount| lane.next == total([lane.stored, lane.lost, lane.refused, lane.elsewhere]);
        self.lanes.values().all(is_lane_balanced)
            && self.published() == total([self.stored(), self.lost(), self.refused(), self.elsewhere()])
    }
}

impl Account {
    pub(crate) fn encode(&self, incarnation: Incarnation, out: &mut Vec<u8>) {
        out.extend_from_slice(&incarnation.0);
        put_text(out, &self.application);
        put_owner(out, self.owner);
        put_varint(out, self.first_seen.nanos());
        put_varint(out, self.lanes.len() as u64);
        for (number, lane) in &self.lanes {
            let LaneAccount { next, stored, lost, refused, elsewhere } = *lane;
            for field in [*number as u64, next, stored, lost, refused, elsewhere] {
                put_varint(out, field);
            }
        }
        put_varint(out, self.lost.len() as u64);
        for (reason, tally) in &self.lost {
            out.push(reason.0);
            put_varint(out, tally.count);
            put_varint(out, tally.spans.len() as u64);
            tally.spans.iter().for_each(|span| span.encode(out));
        }
        for counts in [&self.refused, &self.refused_in_ring] {
            put_counts(out, counts);
        }
        self.counters.encode(out);
        out.push(self.finished.is_some() as u8);
        put_varint(out, self.finished.map_or(0, Timestamp::nanos));
        out.push(self.unsure as u8);
    }

    /// How much there is in it: lanes, reasons, spans.
    pub(super) fn parts(&self) -> usize {
        let spans = self.lost.values().map(|tally| 1 + tally.spans.len()).sum::<usize>();
        1 + self.lanes.len() + spans + self.refused.len() + self.refused_in_ring.len()
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Account> {
        let mut account = Account {
            application: fields.text()?.to_owned(),
            owner: fields.owner()?,
            first_seen: Timestamp::from_nanos(fields.varint()?),
            ..Account::default()
        };
        for _ in 0..fields.count(6)? {
            let number = fields.number()?;
            let (next, stored) = (fields.varint()?, fields.varint()?);
            let (lost, refused, elsewhere) = (fields.varint()?, fields.varint()?, fields.varint()?);
            account.lanes.insert(number, LaneAccount { next, stored, lost, refused, elsewhere });
        }
        for _ in 0..fields.count(3)? {
            let reason = Reason(fields.byte()?);
            let mut tally = Tally { count: fields.varint()?, spans: Vec::new() };
            for _ in 0..fields.count(6)? {
                tally.spans.push(LossSpan::decode(fields)?);
            }
            account.lost.insert(reason, tally);
        }
        account.refused = counts(fields)?;
        account.refused_in_ring = counts(fields)?;
        account.counters = Counters::decode(fields)?;
        let is_finished = fields.byte()? == 1;
        let time = Timestamp::from_nanos(fields.varint()?);
        account.finished = is_finished.then_some(time);
        account.unsure = fields.byte()? == 1;
        Some(account)
    }
}

pub(super) fn put_counts(out: &mut Vec<u8>, counts: &BTreeMap<Reason, u64>) {
    put_varint(out, counts.len() as u64);
    for (reason, count) in counts {
        out.push(reason.0);
        put_varint(out, *count);
    }
}

pub(super) fn counts(fields: &mut Fields<'_>) -> Option<BTreeMap<Reason, u64>> {
    (0..fields.count(2)?).map(|_| Some((Reason(fields.byte()?), fields.varint()?))).collect()
}

/// The sum of numbers that come from a ring and may be anything: it saturates instead of wrapping.
pub(super) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use dotter_dot::{SeriesName, Shape};
    use proptest::prelude::*;

    use super::*;

    /// Shows P21.
    #[test]
    fn spans_are_bounded_and_their_records_are_not_forgotten() {
        let mut tally = Tally::default();
        for n in 0..1000 {
            let times = TimeRange::new(Timestamp::from_nanos(n), Timestamp::from_nanos(n + 1));
            tally.add(1, Some(LossSpan { lane: 3, first: n, next: n + 1, times, lost: 1 }));
        }
        assert_eq!(tally.spans.len(), SPANS_MAX);
        assert_eq!(tally.spans.iter().map(|span| span.lost).sum::<u64>(), 1000);
        let last = tally.spans[SPANS_MAX - 1];
        assert_eq!((last.first, last.next), (SPANS_MAX as u64 - 1, 1000));
    }

    proptest! {
        #[test]
        fn accounts_come_back_as_they_were(
            owner in any::<Option<u32>>(),
            lanes in prop::collection::btree_map(any::<u32>(), any::<[u64; 5]>(), 0..4),
            lost in prop::collection::btree_map(any::<u8>(), (any::<u64>(), 0..3_u64), 0..4),
            refused in prop::collection::btree_map(any::<u8>(), any::<u64>(), 0..4),
            counters in prop::collection::btree_map("[a-d]{1,3}", any::<u64>(), 0..4),
            finished in any::<Option<u32>>(),
            unsure in any::<bool>(),
        ) {
            let lane = |[next, stored, lost, refused, elsewhere]: [u64; 5]| {
                LaneAccount { next, stored, lost, refused, elsewhere }
            };
            let tally = |(count, spans): (u64, u64)| {
                let times = |from| TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(from + 7));
                let span = |from| LossSpan { lane: 9, first: from, next: from + 5, times: times(from), lost: count };
                Tally { count, spans: (0..spans).map(span).collect() }
            };
            let refused: BTreeMap<_, _> = refused.into_iter().map(|(code, count)| (Reason(code), count)).collect();
            let mut account = Account {
                application: "app".to_owned(),
                owner,
                first_seen: Timestamp::from_nanos(5),
                lanes: lanes.into_iter().map(|(number, of)| (number, lane(of))).collect(),
                lost: lost.into_iter().map(|(code, of)| (Reason(code), tally(of))).collect(),
                refused_in_ring: refused.clone(),
                refused,
                counters: Counters::default(),
                finished: finished.map(|time| Timestamp::from_nanos(time.into())),
                unsure,
            };
            for (name, total) in counters {
                account.counters.book(&SeriesName::new(&name).unwrap(), &Shape::number(), total);
            }
            let mut bytes = Vec::new();
            account.encode(Incarnation([1; 16]), &mut bytes);
            let mut fields = Fields(&bytes[16..]);
            prop_assert_eq!(Account::decode(&mut fields), Some(account));
            prop_assert!(fields.0.is_empty());
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Account::decode(&mut Fields(&bytes));
        }
    }
}
