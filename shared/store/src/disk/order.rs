//! The order of commits: the place of a foreign commit, which is one that does not come through the log, and the
//! settling of a log that has no writer.
//!
//! To *settle* the log is to fix for ever how many bytes of its last file count.
//!
//! Always true: LOCK is taken only while MANIFEST.lock is held, and MANIFEST.lock is then held until the log is
//! settled. So a process that holds MANIFEST.lock and finds LOCK free sees everything that earlier writers have left.
//! A process that finds LOCK held knows that the writer lives; it takes its place behind the last whole frame, since the
//! published words may be older than the last acknowledged frame.

use crate::disk::layout::Layout;
use crate::disk::log::this_boot;
use crate::disk::wal::{self, LogFile, LogStart};
use crate::error::Error;
use crate::format::listing::Order;
use crate::format::manifest::Manifest;

impl Manifest {
    /// Where the live log begins.
    pub(crate) fn log_start(&self) -> LogStart {
        LogStart { store: self.store, first: self.wal_first, fixed: self.fixed }
    }

    /// The place of the commit in hand in the order of commits: behind every frame that counts.
    ///
    /// The caller holds MANIFEST.lock. Where no WAL file can be made, the edit itself fixes the length of the last
    /// one.
    pub(crate) fn next_order(&mut self, layout: &Layout) -> Result<Order, Error> {
        let listed = self.last_sequence();
        let sequence = match layout.try_lock("LOCK") {
            Ok(_lock) => self.settle(layout)?,
            Err(Error::Locked(path)) => {
                let files = wal::files(layout, self.log_start())?;
                if let Some(boot) = boot(&files)?
                    && boot != this_boot()
                {
                    return Err(Error::OtherKernel(path));
                }
                match files.last() {
                    Some(last) => last.last_sequence()?.max(last_sequence(&files)?),
                    None => 0,
                }
            }
            Err(error) => return Err(error),
        };
        Ok(Order { sequence: sequence.max(listed), generation: self.generation })
    }

    /// Fixes how much of the last file of the log counts: every whole frame up to a torn write. Returns the last sequence.
    ///
    /// The caller holds LOCK and MANIFEST.lock.
    fn settle(&mut self, layout: &Layout) -> Result<u64, Error> {
        let files = wal::files(layout, self.log_start())?;
        let sequence = last_sequence(&files)?.max(self.last_sequence());
        let Some(last) = files.last().filter(|last| last.measured.is_none()) else { return Ok(sequence) };
        let bytes = last.read_all()?;
        let is_empty = !last.has_frames(&bytes);
        let counts = last.roll_forward(&*layout.disk, &bytes)?;
        if last.header.is_some() && is_empty {
            // The last file has no frame, and its header measures the file before: no new file is needed.
            return Ok(sequence);
        }
        let sequence = sequence.max(counts.sequence);
        let begun = wal::create(
            layout,
            (self.store, self.lineage),
            (last.id, counts.bytes),
            last.id + 1,
            sequence + 1,
            None,
            None,
        );
        if begun.is_err() {
            self.fixed = Some((last.id, counts.bytes));
        }
        Ok(sequence)
    }

    /// The first sequence that the live log may hold. A segment sealed later may get a place from there on in the
    /// order.
    ///
    /// The caller holds MANIFEST.lock: a seal moves the start of the live log.
    pub(crate) fn first_live(&self, layout: &Layout) -> Result<u64, Error> {
        let files = wal::files(layout, self.log_start())?;
        Ok(match files.first() {
            // The log has no file yet: its frames will come behind all commits that are there.
            None => u64::MAX,
            // A damaged header tells nothing.
            Some(file) => file.header.map_or(0, |header| header.first_sequence),
        })
    }
}

/// Which boot of which machine wrote to the log last; `None` where the words that say so are damaged.
fn boot(files: &[LogFile]) -> Result<Option<[u8; 16]>, Error> {
    for file in files.iter().rev() {
        match file.boot()? {
            // Its writer is beginning it, and has written to the one before.
            Some(boot) if boot == [0; 16] => {}
            other => return Ok(other),
        }
    }
    Ok(None)
}

/// The last sequence that counts, as far as the log's files say; 0 where they say nothing.
fn last_sequence(files: &[LogFile]) -> Result<u64, Error> {
    for file in files.iter().rev() {
        let last = file.counts()?.sequence;
        if last > 0 {
            return Ok(last);
        }
    }
    Ok(0)
}
