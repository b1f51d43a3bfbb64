//! Following a store: whoever asks is told of each commit once, from a position on.
//!
//! A follower reads the log as it grows, and compares the list with the one before. What it has missed while it did not
//! look it catches up with, as far as it is there; a hold keeps it there. What is not there any more is told as
//! [`Missed`], with the times of the dots that may be meant.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange};

use crate::disk::holds::{self, Hold};
use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::listing::{Order, SegmentEntry, StoreId};
use crate::format::manifest::Manifest;
use crate::format::pattern::Pattern;
use crate::format::position::{Missed, Position};
use crate::format::segment::Tail;
use crate::format::tombstone::Tombstone;
use crate::read::catch_up::{CatchUp, Step};
use crate::read::news::News;
use crate::read::reader::Reader;
use crate::read::segment::Segment;
use crate::read::snapshot::{Inner, Snapshot};

const NANOSECOND: Duration = Duration::from_nanos(1);

/// One commit, as a follower is told of it.
pub struct Commit {
    /// Its place in the order of commits.
    pub order: Position,
    /// What it did.
    pub what: What,
}

/// What a commit did. What retention takes away, or makes steps of, and observations that a seal condenses are no commits:
/// nobody is told of them.
pub enum What {
    /// Dots and losses that came through the log.
    Frame(News),
    /// Dots that another process has committed: a store of these alone, as they were committed.
    Segments(Snapshot),
    /// Dots of earlier commits were deleted.
    Delete(Deleted),
    /// The dots of earlier commits of a series have another name. Who goes on from a position between the order of a
    /// rename and its edit is told of it twice: the second time there is nothing left to rename.
    Rename {
        /// The name that they had.
        from: SeriesName,
        /// The name that they have.
        to: SeriesName,
    },
}

/// Which dots of earlier commits a delete means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Which series.
    pub pattern: Pattern,
    /// Only series whose names are not below this one, by bytes; empty for all.
    pub first_key: String,
    /// Only series whose names are not above this one, by bytes.
    pub last_key: Option<String>,
    /// Time of the first dot that it means, in nanoseconds since 1970.
    pub first: u64,
    /// Time of the last dot that it means, in nanoseconds since 1970.
    pub last: u64,
}

impl Deleted {
    /// Whether it means dots of a series.
    pub fn names(&self, name: &str) -> bool {
        *self.first_key <= *name
            && self.last_key.as_ref().is_none_or(|last| name <= last.as_str())
            && self.pattern.matches(name)
    }
}

/// Somebody who follows a store.
pub struct Follow {
    layout: Layout,
    reader: Reader,
    store: StoreId,
    /// Up to where commits have been told.
    position: Position,
    /// Up to where the log was read; what is behind `position` is among the news.
    read: u64,
    /// How often the reader had missed commits when it was last asked.
    epoch: u64,
    /// What the reader has told and nobody was told yet.
    news: Vec<News>,
    /// The list as of which every commit of others was told.
    list: Option<Arc<Manifest>>,
    behind: CatchUp,
    hold: Option<Hold>,
}

impl Follow {
    /// Follows a store from now on.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn now(dir: &Path) -> Result<Follow, Error> {
        let reader = Reader::open(dir)?;
        let position = reader.snapshot().position();
        Ok(Follow::of(dir, reader, position, None))
    }

    /// Follows a store from a position on. What is missing between it and now is told at the first look.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn at(dir: &Path, position: Position) -> Result<Follow, Error> {
        Ok(Follow::of(dir, Reader::open(dir)?, position, None))
    }

    /// Follows a store with a hold: from where the last one with this name had come to, or from now on where there was
    /// none. What it still needs is kept for it: up to 1 GiB, and for an hour after this process has ended.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`]; [`Error::HoldName`]; [`Error::Locked`] where another process has this hold; the system's, as
    /// where the store may only be read.
    pub fn held(dir: &Path, name: &str) -> Result<Follow, Error> {
        let layout = Layout::new(dir);
        let mut reader = Reader::open(dir)?;
        let store = reader.snapshot().store();
        let hold = Hold::take(&layout, store, name, || {
            reader.refresh(None)?;
            Ok(reader.snapshot().position())
        })?;
        let position = hold.position();
        Ok(Follow::of(dir, reader, position, Some(hold)))
    }

    fn of(dir: &Path, reader: Reader, position: Position, hold: Option<Hold>) -> Follow {
        let (store, epoch) = (reader.snapshot().store(), reader.snapshot().epoch());
        Follow {
            store,
            read: position.sequence,
            layout: Layout::new(dir),
            reader,
            position,
            epoch,
            news: Vec::new(),
            list: None,
            behind: CatchUp::default(),
            hold,
        }
    }

    /// From now on [`News::rows`] are told.
    pub fn tell_rows(&mut self) {
        self.reader.tell_rows();
    }

    /// Up to where commits have been told.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The store as of the last look. While it catches up, this has commits that have not been told yet.
    pub fn snapshot(&self) -> Snapshot {
        self.reader.snapshot()
    }

    /// Looks for commits and appends them; returns whether there may be more at once. What the look before has told is not
    /// needed any more: a hold lets go of it.
    ///
    /// Commits come as they become visible, those of one look in their order. One of another process may come behind commits
    /// through the log that stand behind it in the order of commits, and a rename always does. While a follower
    /// catches up, commits through the log come first, about a WAL file at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Missed`], each time until [`Follow::skip`]; the system's, and then nothing is told twice or left out.
    pub fn look(&mut self, commits: &mut Vec<Commit>) -> Result<bool, Error> {
        self.done()?;
        let was_in_step = self.is_in_step();
        if was_in_step {
            let refreshed = self.reader.refresh(Some(&mut self.news));
            let view = self.reader.snapshot();
            if view.epoch() == self.epoch {
                // Also after an error: what the reader has read is among the news.
                self.read = view.sequence();
            } else {
                // Commits before the news are missing.
                (self.epoch, self.read) = (view.epoch(), self.position.sequence);
                self.news.clear();
            }
            refreshed?;
        }
        let view = self.reader.snapshot();
        let until = view.position();
        let is_older = until.sequence < self.position.sequence || until.edit < self.position.edit;
        if is_older || view.store() != self.store {
            return Err(self.missed(until));
        }
        let forgotten = view.inner.manifest.kept.forgotten;
        if forgotten > self.position.edit {
            return Err(self.missed(Position { edit: forgotten, ..self.position }));
        }
        if !self.is_in_step() && self.news.is_empty() {
            let span = (self.read, until.sequence);
            match self.behind.next(&self.layout, span, self.reader.tells_rows(), &mut self.news)? {
                Step::Read(sequence) => self.read = sequence,
                Step::Missing(sequence) => return Err(self.missed(Position { sequence, ..self.position })),
            }
        }
        let is_in_step = self.is_in_step();
        let others = if is_in_step { self.others(&view.inner) } else { Ok(Vec::new()) };
        let others = match others {
            // What the list names is merged by now: the list that says so is there.
            Err(error) if error.is_not_found() => return Ok(true),
            other => other?,
        };
        let from = commits.len();
        commits.extend(self.news.drain(..).map(|news| Commit {
            order: Position { sequence: news.sequence, edit: 0 },
            what: What::Frame(news),
        }));
        commits.extend(others);
        commits[from..].sort_by_key(|commit| commit.order);
        self.position.sequence = self.read;
        if is_in_step {
            self.position.edit = until.edit;
            self.list = Some(view.inner.manifest.clone());
        }
        // Where it has just caught up, the reader has not looked since.
        Ok(!(was_in_step && is_in_step))
    }

    /// Says that what the last look has told is done with: a hold lets go of it. The next look says it too.
    ///
    /// # Errors
    ///
    /// The system's; the hold is where it was then.
    pub fn done(&mut self) -> Result<(), Error> {
        let position = self.position;
        self.hold.as_mut().map_or(Ok(()), |hold| hold.move_to(position))
    }

    /// Goes on behind what is missing, as [`Error::Missed`] has told it.
    pub fn skip(&mut self, missed: &Missed) {
        self.position = missed.until;
        (self.read, self.store) = (missed.until.sequence, self.reader.snapshot().store());
        self.news.clear();
        // The store that is there now may give ids another meaning.
        self.behind = CatchUp::default();
    }

    /// Follows no more, and gives up the hold.
    ///
    /// # Errors
    ///
    /// The system's; then the hold counts for an hour.
    pub fn end(self) -> Result<(), Error> {
        self.hold.map_or(Ok(()), Hold::give_up)
    }

    /// Whether everything was read that the reader has read.
    fn is_in_step(&self) -> bool {
        self.read >= self.reader.snapshot().sequence()
    }

    /// What is missing behind the position.
    fn missed(&self, until: Position) -> Error {
        let from = self.position;
        let list = &self.reader.snapshot().inner.manifest;
        // What others have committed may lie in any segment by now: a merge has the order of the last of its inputs.
        let may_have = |entry: &&SegmentEntry| until.edit > from.edit || entry.order.sequence > from.sequence;
        let end = |entry: &SegmentEntry| {
            let step = entry.place.map_or(Duration::ZERO, |place| place.tier.step);
            entry.last_time.saturating_add(step.saturating_sub(NANOSECOND))
        };
        let times = list.segments.iter().filter(may_have).map(|entry| (entry.first_time, end(entry)));
        let times = times.reduce(|(first, last), entry| (first.min(entry.0), last.max(entry.1)));
        let times = times.map(|(first, last)| TimeRange::new(first, last.saturating_add(NANOSECOND)));
        Error::Missed(Missed { from, until, times })
    }

    /// What others than the log's writer have committed since.
    fn others(&self, inner: &Inner) -> Result<Vec<Commit>, Error> {
        let list = &*inner.manifest;
        if list.generation == self.position.edit {
            return Ok(Vec::new());
        }
        let is_new =
            |delete: &&Tombstone| delete.edit > self.position.edit && delete.pattern.name() != Some("");
        let before = self.list.as_ref().filter(|before| before.generation == self.position.edit);
        let (listed, came): (Vec<Tombstone>, Vec<&SegmentEntry>) = match before {
            Some(before) => {
                let came = before.segments.difference(&list.segments).new;
                (
                    list.tombstones.since(&before.tombstones).1,
                    came.into_iter().map(|entry| &**entry).collect(),
                )
            }
            None => (list.tombstones.each().cloned().collect(), list.segments.iter().collect()),
        };
        let deletes: Vec<&Tombstone> = listed.iter().chain(&list.kept.deletes).filter(is_new).collect();
        let mut commits: Vec<Commit> = deletes.iter().map(|delete| told(delete)).collect();
        // The copies of a rename say nothing that the rename does not say.
        let is_copy = |order: Order| deletes.iter().any(|delete| delete.is_rename() && delete.order == order);
        let is_news = |entry: &SegmentEntry| {
            let order = entry.order;
            entry.level == 0 && order.generation > self.position.edit && !is_copy(order)
        };
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        for entry in came.into_iter().filter(|entry| is_news(entry)) {
            let segment =
                inner.segments.iter().rev().find(|segment| segment.entry().number() == entry.number());
            // One that was written anew without what is deleted stands for one that is kept.
            let tail = self.where_it_is(entry, Tail::read).map_err(|error| self.unreadable(entry, error))?;
            if !tail.meta.replaced.is_empty() {
                continue;
            }
            segments.push(match segment {
                Some(open) => open.clone(),
                None => self.open(entry)?,
            });
        }
        for entry in list.kept.segments.iter().filter(|entry| is_news(entry)) {
            segments.push(self.open(entry)?);
        }
        segments.sort_by_key(|segment| segment.order());
        for together in segments.chunk_by(|a, b| a.order() == b.order()) {
            let order = together[0].order().into();
            let list = Manifest { store: list.store, ..Manifest::default() };
            let inner = Inner::of_segments(list, together.to_vec());
            commits.push(Commit { order, what: What::Segments(Snapshot { inner: Arc::new(inner) }) });
        }
        Ok(commits)
    }

    /// A damaged segment is missing, with all that came before it.
    fn unreadable(&self, entry: &SegmentEntry, error: Error) -> Error {
        match error {
            Error::Damaged { .. } => self.missed(Position { edit: entry.order.generation, ..self.position }),
            other => other,
        }
    }

    fn open(&self, entry: &SegmentEntry) -> Result<Arc<Segment>, Error> {
        let open = self.where_it_is(entry, |path| Segment::open(path, entry));
        open.map(Arc::new).map_err(|error| self.unreadable(entry, error))
    }

    /// Reads a segment: where it was made, or where it was moved to since it is kept. Also one that the list in hand
    /// still names may have been moved by now.
    ///
    /// # Errors
    ///
    /// Of kind `NotFound` where it was let go of meanwhile; [`Error::Damaged`] where it is lost; those of `read`.
    fn where_it_is<T>(
        &self,
        entry: &SegmentEntry,
        read: impl Fn(&Path) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let moved = holds::kept_path(&self.layout, &entry.name);
        let found = read(&self.layout.segment(&entry.name))
            .or_else(|error| if error.is_not_found() { read(&moved) } else { Err(error) });
        match found {
            Err(error) if error.is_not_found() && self.is_listed(entry) => {
                Err(Error::damaged(&self.layout.segment(&entry.name), 0, "it is listed and missing"))
            }
            other => other,
        }
    }

    fn is_listed(&self, entry: &SegmentEntry) -> bool {
        let is_it = |other: &SegmentEntry| other.name == entry.name;
        manifest::read(&self.layout)
            .is_ok_and(|list| list.segments.iter().any(is_it) || list.kept.segments.iter().any(is_it))
    }
}

/// A delete or a rename, as a follower is told of it.
fn told(delete: &Tombstone) -> Commit {
    let order = delete.order.into();
    let names = delete.pattern.name().and_then(|from| SeriesName::new(from).ok());
    let what = match names.zip(SeriesName::new(&delete.renamed).ok()) {
        Some((from, to)) if delete.is_rename() => What::Rename { from, to },
        _ => What::Delete(Deleted {
            pattern: delete.pattern.clone(),
            first_key: delete.first_key.clone(),
            last_key: delete.last_key.clone(),
            first: delete.first,
            last: delete.last,
        }),
    };
    Commit { order, what }
}
