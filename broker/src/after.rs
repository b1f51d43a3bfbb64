//! What an answer about a ring means for the broker.

/// What an answer or a failure means for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Go on.
    GoOn,
    /// Another store answers: every ring must ask again.
    OtherStore,
    /// Records that were acknowledged are wanted again; how many.
    WentBack(u64),
    /// More is acknowledged than the ring ever had.
    Beyond {
        /// In which lane.
        lane: u32,
        /// What the collector wants next.
        wanted: u64,
        /// What the ring would give out next.
        next: u64,
    },
    /// The answer to a batch or a finish speaks of records that the ring never had: no cursor moved, and the ring asks.
    NotBelieved {
        /// In which lane.
        lane: u32,
        /// The record it speaks of.
        found: u64,
        /// The most there can be.
        most: u64,
    },
    /// The ring had finished before and goes on all the same: what it publishes is not kept.
    NotKept,
    /// The finish is acknowledged: the ring can go.
    Finished,
}
