//! Reading the log again behind a sequence, for somebody who follows a store and did not look for a while: about a WAL file
//! at a time, from the files that are kept and then from the live ones.

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::names::{NamesFiles, Wants};
use crate::disk::wal::{self, LogFile};
use crate::error::Error;
use crate::format::ledger::Ledger;
use crate::format::manifest::Manifest;
use crate::format::wal::{HEADER_BYTES, Items, Names};
use crate::read::late::Late;
use crate::read::news::News;
use crate::read::reader::Intake;
use crate::read::series::SeriesNames;

/// How often the list is read again because a file that it names has just been unlinked.
const TRIES_MAX: u32 = 20;

/// What series ids mean in the file that was read last.
#[derive(Default)]
pub(crate) struct CatchUp {
    names: Names,
    names_files: NamesFiles,
    /// The id of that file.
    read: u64,
}

/// What came of reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything up to this sequence has been read.
    Read(u64),
    /// What stands behind the sequence that was asked for and up to this one is not there any more.
    Missing(u64),
}

/// A file to read.
struct Part {
    file: LogFile,
    /// The sequence of the last frame before it, where its header or the list says it.
    before: Option<u64>,
    /// The sequence of its last frame, where the list says it.
    last: Option<u64>,
    is_kept: bool,
}

impl CatchUp {
    /// Reads the next file that has frames behind a sequence, and appends what they say.
    ///
    /// - `from`: the last sequence that was read
    /// - `until`: the last sequence to read
    ///
    /// # Errors
    ///
    /// The system's; then nothing is appended.
    pub(crate) fn next(
        &mut self,
        layout: &Layout,
        (from, until): (u64, u64),
        with_rows: bool,
        news: &mut Vec<News>,
    ) -> Result<Step, Error> {
        for tries in 1.. {
            let told = news.len();
            match self.try_next(layout, (from, until), with_rows, news) {
                // What was listed has been sealed, or let go of; the list that says so is there.
                Err(error) if error.is_not_found() && tries < TRIES_MAX => news.truncate(told),
                Err(error) => {
                    news.truncate(told);
                    return Err(error);
                }
                Ok(step) => return Ok(step),
            }
        }
        unreachable!("the last try returns")
    }

    fn try_next(
        &mut self,
        layout: &Layout,
        (from, until): (u64, u64),
        with_rows: bool,
        news: &mut Vec<News>,
    ) -> Result<Step, Error> {
        let stamp = manifest::stamp(layout)?;
        let list = manifest::read(layout)?;
        let is_current = || manifest::stamp(layout).is_ok_and(|now| now == stamp);
        let parts = match parts(layout, &list) {
            // A kept file is lost: what was kept is told only behind the last of them.
            Err((Some(last), error)) if error.is_not_found() && is_current() => {
                return Ok(Step::Missing(last.min(until)));
            }
            other => other.map_err(|(_, error)| error)?,
        };
        let mut came_to = from;
        for (at, part) in parts.iter().enumerate() {
            let next = parts.get(at + 1).and_then(|next| next.before);
            if part.last.or(next).is_some_and(|last| last <= from) {
                continue;
            }
            // Between files that stand one behind the other there is nothing: a number that no frame has was one of a
            // frame that is void.
            let is_next = at > 0 && parts[at - 1].file.id + 1 == part.file.id;
            if let Some(before) = part.before.filter(|before| *before > came_to && !is_next) {
                return Ok(Step::Missing(before.min(until)));
            }
            self.begin(layout, &list, &parts, at)?;
            let mut bytes = Vec::new();
            part.file.read_into(HEADER_BYTES as u64, part.file.bytes_that_count()?, &mut bytes)?;
            self.names.begin_file(part.file.epoch(&bytes));
            let mut items = Items::new(&bytes, HEADER_BYTES as u64, part.file.id);
            let (mut frames, is_whole) = self.names_files.frames(
                (layout, &list),
                &mut items,
                &mut self.names,
                Wants::All,
                is_current,
            )?;
            self.names.declared.clear();
            self.read = part.file.id;
            // Where its header does not say what stands before it, its frames do.
            let first = frames.first().map_or(0, |frame| frame.sequence);
            if part.before.is_none() && !is_next && first > came_to + 1 {
                return Ok(Step::Missing((first - 1).min(until)));
            }
            frames.retain(|frame| (from + 1..=until).contains(&frame.sequence));
            let Some(last) = frames.last().map(|frame| frame.sequence) else {
                came_to = came_to.max(next.unwrap_or(came_to));
                continue;
            };
            if !is_whole {
                // Dots of series without a name would be left out.
                return Ok(Step::Missing(last));
            }
            let mut sequence = from;
            Intake {
                head: &mut Vec::new(),
                ledger: &mut Ledger::default(),
                names: &mut SeriesNames::default(),
                late: &mut Late::new(),
                splits: &[],
                sequence: &mut sequence,
                known: from,
                news: Some(news),
                with_rows,
            }
            .take(&frames, &self.names);
            return Ok(Step::Read(if at + 1 == parts.len() { until } else { last }));
        }
        Ok(Step::Read(until))
    }

    /// Makes known what ids mean that live files before a file have declared, unless the one before it was read last.
    fn begin(&mut self, layout: &Layout, list: &Manifest, parts: &[Part], at: usize) -> Result<(), Error> {
        let earlier = &parts[..at];
        if earlier.last().is_none_or(|before| before.is_kept || before.file.id == self.read) {
            return Ok(());
        }
        self.names = Names::default();
        let mut bytes = Vec::new();
        for part in earlier.iter().filter(|part| !part.is_kept) {
            part.file.read_into(HEADER_BYTES as u64, part.file.bytes_that_count()?, &mut bytes)?;
            self.names.begin_file(part.file.epoch(&bytes));
            let mut items = Items::new(&bytes, HEADER_BYTES as u64, part.file.id);
            let list = (layout, list);
            self.names_files.frames(list, &mut items, &mut self.names, Wants::Counters, || false)?;
            self.names.declared.clear();
        }
        Ok(())
    }
}

/// The files that are kept, and the live ones behind them. An error of a kept file comes with the sequence of the last frame
/// that is kept.
fn parts(layout: &Layout, list: &Manifest) -> Result<Vec<Part>, (Option<u64>, Error)> {
    let mut parts = Vec::new();
    let last = list.kept.logs.last().map(|log| log.last);
    for log in &list.kept.logs {
        let file = wal::kept_file(layout, list.store, log).map_err(|error| (last, error))?;
        parts.push(Part { file, before: Some(log.before), last: Some(log.last), is_kept: true });
    }
    let (files, are_there) = wal::files_there(layout, list.log_start()).map_err(|error| (None, error))?;
    let begins = files.first().is_some_and(|file| file.id == list.wal_first);
    if !(begins && are_there) {
        // A seal that has come since the list was read has moved or unlinked them; its list says where they are.
        let now = manifest::read(layout).map_err(|error| (None, error))?;
        if now.wal_first != list.wal_first {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err((None, Error::io("open WAL file", &layout.wal(list.wal_first))(gone)));
        }
    }
    for file in files {
        let before = file.header.map(|header| header.first_sequence.saturating_sub(1));
        parts.push(Part { file, before, last: None, is_kept: false });
    }
    Ok(parts)
}
