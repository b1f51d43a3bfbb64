//! The order of commits: which place a commit gets that is not the log writer's, and what becomes of a log that nobody
//! writes any more.
//!
//! Always true: LOCK is taken only while MANIFEST.lock is held, and MANIFEST.lock is kept until the log is *settled*: it is
//! fixed for ever how much of its last file counts. So whoever holds MANIFEST.lock and finds LOCK free sees all that any
//! writer has left, and whoever finds LOCK held sees a writer that lives, whose published sequence is the truth.

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

    /// The place in the order of commits that the edit in hand gets: behind every frame that counts.
    ///
    /// To be asked under MANIFEST.lock; what it settles becomes part of the edit where the log's directory takes no file.
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

    /// Fixes how much of the last file of the log counts: every whole frame. Returns the last sequence.
    ///
    /// To be called while both locks are held.
    fn settle(&mut self, layout: &Layout) -> Result<u64, Error> {
        let files = wal::files(layout, self.log_start())?;
        let sequence = last_sequence(&files)?.max(self.last_sequence());
        let Some(last) = files.last().filter(|last| last.measured.is_none()) else { return Ok(sequence) };
        let bytes = last.read_all()?;
        let is_empty = last.whole_frames(&bytes).1.is_none();
        let counts = last.roll_forward(&*layout.disk, &bytes)?;
        if last.header.is_some() && is_empty {
            // It says of the file before how much of that counts, and it is the one that a new file would be.
            return Ok(sequence);
        }
        let sequence = sequence.max(counts.sequence);
        let begun = wal::create(layout, self, (last.id, counts.bytes), last.id + 1, sequence + 1, None);
        if begun.is_err() {
            self.fixed = Some((last.id, counts.bytes));
        }
        Ok(sequence)
    }

    /// The first sequence that the live log may hold, which a seal may still put before what is listed behind it.
    ///
    /// To be asked under MANIFEST.lock: a seal moves it.
    pub(crate) fn first_live(&self, layout: &Layout) -> Result<u64, Error> {
        let files = wal::files(layout, self.log_start())?;
        Ok(match files.first() {
            // Its frames will come behind everything that is there.
            None => u64::MAX,
            // A header that is damaged tells nothing.
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
