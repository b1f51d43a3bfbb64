//! Frames that a reader has missed: they were sealed, and their WAL files unlinked, before it came to them.

use crate::disk::wal::LogFile;
use crate::format::manifest::Manifest;
use crate::read::snapshot::Inner;

/// The last sequence before the live log. Where its first file does not tell, or there is none, the greatest of any
/// segment: what stands up to there may be sealed.
///
/// - `first`: the first file of the live log
pub(crate) fn sealed(list: &Manifest, first: Option<&LogFile>) -> u64 {
    let listed = || list.segments.iter().map(|entry| entry.order.sequence).max().unwrap_or(0);
    first.and_then(|file| file.header).map_or_else(listed, |header| header.first_sequence.saturating_sub(1))
}

impl Inner {
    /// Tells that the reader comes to another file of the log. Where that does not go on from the last frame that was
    /// read, the frames between are missed.
    pub(crate) fn begin_file(&mut self, file: &LogFile) {
        if let Some(header) = file.header
            && header.first_sequence > self.sequence + 1
        {
            self.sequence = header.first_sequence - 1;
            self.epoch += 1;
            self.late.turn();
        }
    }
}
