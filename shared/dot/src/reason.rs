//! Why a dot that was published is not stored.

use std::fmt;

/// One byte on the wire and in the store; codes are only ever added to.
///
/// Below 32 the dot is *lost*, from 32 on it was *refused*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(pub u8);

impl Reason {
    /// Overwritten in the ring before the broker came by.
    pub const LAPPED: Reason = Reason(1);
    /// Dropped from a full spool.
    pub const SPOOL_FULL: Reason = Reason(2);
    /// In bytes that no longer match their checksum, or that make no sense.
    pub const DAMAGE: Reason = Reason(3);
    /// In a ring file deleted under a running broker.
    pub const FILE_DELETED: Reason = Reason(4);
    /// In a ring file removed because dead rings were over their quota.
    pub const QUOTA: Reason = Reason(5);
    /// In a store that went back to an earlier state, and no longer in the ring.
    pub const STORE_WENT_BACK: Reason = Reason(6);
    /// Published before this store existed, and no longer in the ring.
    pub const BEFORE_STORE: Reason = Reason(7);
    /// Refused: one series more than the limit allows.
    pub const SERIES_LIMIT: Reason = Reason(32);
    /// Refused: the name is not a series name.
    pub const NAME: Reason = Reason(33);
    /// Refused: the record is too big.
    pub const TOO_BIG: Reason = Reason(34);
    /// Refused: published from inside a signal handler that interrupted another dot.
    pub const SIGNAL_HANDLER: Reason = Reason(35);
    /// Refused: the ring's registry had no room for the series.
    pub const REGISTRY_FULL: Reason = Reason(36);
    /// Refused for any other reason.
    pub const OTHER: Reason = Reason(37);

    /// Whether the dot was refused rather than lost.
    pub fn is_refusal(self) -> bool {
        self.0 >= 32
    }
}

/// The word used in the ledger, in JSON and in log lines.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match *self {
            Reason::LAPPED => "lapped",
            Reason::SPOOL_FULL => "spool-full",
            Reason::DAMAGE => "damage",
            Reason::FILE_DELETED => "file-deleted",
            Reason::QUOTA => "quota",
            Reason::STORE_WENT_BACK => "store-went-back",
            Reason::BEFORE_STORE => "before-store",
            Reason::SERIES_LIMIT => "series-limit",
            Reason::NAME => "name",
            Reason::TOO_BIG => "too-big",
            Reason::SIGNAL_HANDLER => "signal-handler",
            Reason::REGISTRY_FULL => "registry-full",
            Reason::OTHER => "other",
            Reason(code) => return write!(f, "reason-{code}"),
        };
        f.write_str(word)
    }
}
