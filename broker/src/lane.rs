//! One lane of a ring: where it is read, and what the collector has of it.

use dotter_dot::Reason;
use dotter_ring::{LaneCursor, RingReader};

/// Where a lane stands.
pub(crate) struct Lane {
    pub(crate) number: u32,
    /// The next record to read.
    pub(crate) cursor: LaneCursor,
    /// The next record number the collector wants.
    pub(crate) acked: u64,
    /// The greatest `acked` there ever was, of records that the ring has had.
    pub(crate) acked_once: u64,
    /// Why records below that are lost when they are wanted again and gone.
    pub(crate) gone_reason: Reason,
    /// The record that was too large for the collector, all by itself or nearly so.
    pub(crate) suspect: Option<Suspect>,
}

/// A record that goes in a batch of its own, and is refused where that is too large again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) record: u64,
    /// Answers of 413 in a row.
    tries: u32,
}

/// Answers that are believed: between collector and broker others may say 413 once in a while.
const TRIES_BELIEVED: u32 = 4;

impl Suspect {
    /// Whether it never fits.
    pub(crate) fn is_too_big(self) -> bool {
        self.tries >= TRIES_BELIEVED
    }
}

impl Lane {
    /// A lane of which the collector wants the record `acked`.
    pub(crate) fn new(reader: &RingReader, number: u32, acked: u64) -> Lane {
        let cursor = LaneCursor::resume(reader, number, acked);
        let acked_once = acked.min(reader.next_record(number));
        Lane { number, cursor, acked, acked_once, gone_reason: Reason::STORE_WENT_BACK, suspect: None }
    }

    /// Notes what the collector wants; returns how many records of that it had acknowledged before. Records that the
    /// ring never had were never acknowledged, whatever was answered.
    pub(crate) fn want(&mut self, reader: &RingReader, wanted: u64, reason: Reason) -> u64 {
        let had = self.acked_once.max(reader.next_record(self.number));
        let again = self.acked.min(had).saturating_sub(wanted);
        if again > 0 {
            self.gone_reason = reason;
        }
        self.acked = wanted;
        self.acked_once = self.acked_once.max(wanted.min(had));
        again
    }

    /// Whether the collector wanted more than the ring had, when that was looked at last.
    pub(crate) fn is_beyond(&self) -> bool {
        self.acked > self.acked_once
    }

    /// Notes that the only dot of a batch was too large; whether that is believed now.
    pub(crate) fn suspect(&mut self, record: u64) -> bool {
        let before = self.suspect.filter(|suspect| suspect.record == record);
        let suspect = Suspect { record, tries: before.map_or(0, |suspect| suspect.tries) + 1 };
        self.suspect = Some(suspect);
        suspect.is_too_big()
    }

    /// Sets the cursor to what the collector wants; says whether it stood elsewhere.
    pub(crate) fn go_to_acked(&mut self, reader: &RingReader) -> bool {
        let elsewhere = self.cursor.expected() != self.acked;
        if elsewhere {
            self.cursor = LaneCursor::resume(reader, self.number, self.acked);
        }
        elsewhere
    }
}

/// How far a broker that wants to leave has come with a ring.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It does not want to leave.
    #[default]
    None,
    /// Per lane the next record number when it wanted to: all below is to be acknowledged.
    Until(Vec<u64>),
    /// That is done.
    Met,
}

impl Goal {
    /// All that is in the ring now.
    pub(crate) fn of(reader: &RingReader) -> Goal {
        Goal::Until((0..reader.lanes_used()).map(|lane| reader.next_record(lane)).collect())
    }

    pub(crate) fn is_met(&self, lanes: &[Lane]) -> bool {
        match self {
            Goal::None => false,
            Goal::Until(nexts) => {
                let acked = |lane: usize| lanes.get(lane).map_or(0, |lane| lane.acked);
                nexts.iter().enumerate().all(|(lane, next)| acked(lane) >= *next)
            }
            Goal::Met => true,
        }
    }
}
