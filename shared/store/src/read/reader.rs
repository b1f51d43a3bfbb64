//! Reading a store from any process, and following what is committed to it.
//!
//! A reader takes no lock and makes no other process wait. It opens the segments that MANIFEST lists, and reads the
//! live log as far as it is published. At each refresh it looks whether list or log has changed.

use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Column, Timestamp};

use crate::disk::layout::Layout;
use crate::disk::manifest::{self, Stamp};
use crate::disk::names::{NamesFiles, Wants};
use crate::disk::wal::{self, LogFile};
use crate::error::Error;
use crate::format::ledger::Ledger;
use crate::format::manifest::Manifest;
use crate::format::wal::{Applied, Frame, HEADER_BYTES, Items, Names, apply};
use crate::read::fold::FrameFold;
use crate::read::head::{self, HeadPart};
use crate::read::late::{Late, Link};
use crate::read::listed::OpenSegments;
use crate::read::missed;
use crate::read::news::{LossNews, News, RowsNews};
use crate::read::series::SeriesNames;
use crate::read::snapshot::{Inner, Snapshot};

/// How often the list is read again because a file that it names has just been unlinked.
const TRIES_MAX: u32 = 20;

/// A view of a store directory that can be brought up to date.
pub struct Reader {
    layout: Layout,
    stamp: Stamp,
    inner: Arc<Inner>,
    tail: Option<Tail>,
    names_files: NamesFiles,
    /// Whether [`News`] carry rows.
    with_rows: bool,
}

/// The reader's position in the log.
struct Tail {
    file: LogFile,
    /// The offset in the file up to which everything has been read.
    place: u64,
    /// What the ids of the file mean, as far as they were used.
    names: Names,
}

/// Reads the live log into a view.
pub(crate) struct Intake<'a> {
    pub(super) head: &'a mut Vec<Arc<HeadPart>>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) names: &'a mut SeriesNames,
    pub(super) late: &'a mut Late,
    /// Sequences of foreign commits; a part of the head must not span one.
    pub(super) splits: &'a [u64],
    /// The last sequence read.
    pub(super) sequence: &'a mut u64,
    /// Commits with a greater sequence are news.
    pub(super) known: u64,
    pub(super) news: Option<&'a mut Vec<News>>,
    pub(super) with_rows: bool,
}

impl Reader {
    /// Opens a store for reading.
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`] where there is none yet; [`Error::OtherStore`] and [`Error::Version`] where another build
    /// has written it.
    pub fn open(dir: &Path) -> Result<Reader, Error> {
        let layout = Layout::new(dir);
        let mut names_files = NamesFiles::default();
        let (stamp, inner, tail) = load(&layout, None, &mut names_files, None, false)?;
        Ok(Reader { layout, stamp, inner: Arc::new(inner), tail, names_files, with_rows: false })
    }

    /// From now on news carry [`News::rows`].
    pub fn tell_rows(&mut self) {
        self.with_rows = true;
    }

    pub(crate) fn tells_rows(&self) -> bool {
        self.with_rows
    }

    /// The store as of the last refresh.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { inner: self.inner.clone() }
    }

    /// Brings the view up to date; `true` where anything has changed.
    ///
    /// - `news`: the commits that became visible through the log since the last refresh are appended, in order.
    ///   Foreign commits are segments and no news. Where the reader has fallen so far behind that the WAL file it was reading
    ///   is unlinked, news are missing and [`Snapshot::epoch`] has grown. Who wants each commit follows: [`crate::Follow`].
    ///
    /// # Errors
    ///
    /// The system's; the view is as it was then.
    pub fn refresh(&mut self, mut news: Option<&mut Vec<News>>) -> Result<bool, Error> {
        let followed = match self.follow(news.as_deref_mut()) {
            // A names file that this list has was replaced; the list that replaced it is there.
            Err(error) if error.is_not_found() => return self.reload(news),
            other => other?,
        };
        let stamp = manifest::stamp(&self.layout)?;
        if stamp == self.stamp {
            return Ok(followed);
        }
        let (manifest, is_followed) = manifest::read_on(&self.layout, &self.stamp, &self.inner.manifest)?;
        let link = if is_followed { Link::Edits } else { link(self.tail.as_ref()) };
        let moved = manifest.wal_first != self.inner.manifest.wal_first;
        // A foreign commit may have its place within frames that were read as one part.
        let splits =
            self.inner.head.first().map_or_else(Vec::new, |part| manifest.splits(part.first_sequence));
        let apart = |part: &Arc<HeadPart>| {
            let at = splits.partition_point(|commit| *commit < part.first_sequence);
            splits.get(at).is_some_and(|commit| *commit < part.last_sequence)
        };
        if moved || self.inner.head.iter().any(apart) {
            return self.reload(news);
        }
        let open = match OpenSegments::of(&self.layout, &manifest, Some(&self.inner), &self.inner.damage) {
            Err(error) if error.is_not_found() => return self.reload(news),
            other => other?,
        };
        let inner = Arc::make_mut(&mut self.inner);
        let mut late = inner.late.clone();
        late.list(&self.layout, inner, &manifest, &open, link);
        inner.late = late;
        let fewer = open.has_other_steps || open.has_mended || has_fewer_dots(&inner.manifest, &manifest);
        if !fewer {
            inner.names.add_segments(&open.new);
        }
        (inner.segments, inner.steps) = (open.dots, open.steps);
        let ledger = Arc::make_mut(&mut inner.ledger);
        let live = ledger.totals.stored_other - inner.manifest.ledger.totals.stored_other;
        ledger.totals = manifest.ledger.totals;
        ledger.totals.stored_other += live;
        ledger.follow(&manifest.ledger);
        let before = std::mem::replace(&mut inner.manifest, Arc::new(manifest));
        if fewer {
            inner.forget_series();
        }
        inner.ask_tombstones(&before.tombstones);
        self.stamp = stamp;
        Ok(true)
    }

    /// Brings up to date what [`Snapshot::contains`] says, without reading the live log further. For the process that
    /// writes the log and so knows the series in it. For dots, open another reader.
    ///
    /// # Errors
    ///
    /// The system's; the view is as it was then.
    pub fn refresh_names(&mut self) -> Result<(), Error> {
        for tries in 1.. {
            let stamp = manifest::stamp(&self.layout)?;
            if stamp == self.stamp {
                break;
            }
            let (manifest, _) = manifest::read_on(&self.layout, &self.stamp, &self.inner.manifest)?;
            let open = OpenSegments::of(&self.layout, &manifest, Some(&self.inner), &self.inner.damage);
            let open = match open {
                // A listed file was replaced and unlinked; the list that no longer names it is there.
                Err(error) if error.is_not_found() && tries < TRIES_MAX => continue,
                other => other?,
            };
            let inner = Arc::make_mut(&mut self.inner);
            (inner.segments, inner.steps, inner.manifest) = (open.dots, open.steps, Arc::new(manifest));
            inner.forget_series();
            inner.late.turn();
            self.stamp = stamp;
            break;
        }
        Ok(())
    }

    /// Reads list, segments and log anew; commits that were news before are not news again.
    fn reload(&mut self, news: Option<&mut Vec<News>>) -> Result<bool, Error> {
        let tail = self.tail.as_ref().filter(|tail| tail.file.is_there());
        let before = Some(Before { stamp: &self.stamp, inner: &self.inner, tail });
        let (stamp, inner, tail) = load(&self.layout, before, &mut self.names_files, news, self.with_rows)?;
        (self.stamp, self.inner, self.tail) = (stamp, Arc::new(inner), tail);
        Ok(true)
    }

    /// Reads what the log's writer has published meanwhile.
    fn follow(&mut self, mut news: Option<&mut Vec<News>>) -> Result<bool, Error> {
        let mut changed = false;
        loop {
            let Some(tail) = &mut self.tail else {
                // The store has no log yet: all commits so far are foreign.
                let list = &self.inner.manifest;
                let files = wal::files(&self.layout, list.log_start())?;
                let Some(file) = files.into_iter().next() else { return Ok(changed) };
                let inner = Arc::make_mut(&mut self.inner);
                // Nothing shows that it is of the store that was read so far.
                inner.late.turn();
                inner.begin_file(&file);
                self.tail = Some(Tail { file, place: HEADER_BYTES as u64, names: Names::default() });
                Arc::make_mut(&mut self.inner).has_another_file();
                continue;
            };
            // Without valid published words a later file may still say how much of this one counts.
            let synced = tail.file.published()?.map_or(0, |published| published.bytes);
            let (until, next) = if synced > tail.place {
                (synced, None)
            } else {
                if tail.place == HEADER_BYTES as u64
                    && let Some(file) = tail.file.successor(self.inner.manifest.store)?
                {
                    Arc::make_mut(&mut self.inner).late.turn();
                    tail.file = file;
                    continue;
                }
                let Some(next) =
                    wal::file_behind(&self.layout, self.inner.manifest.log_start(), tail.file.id)?
                else {
                    return Ok(changed);
                };
                let measured = next.header.filter(|header| header.before_id == tail.file.id);
                (measured.map_or(tail.place, |header| header.before_bytes), Some(next))
            };
            if until > tail.place {
                let bytes = tail.file.read(tail.place, until)?;
                let mut items = Items::new(&bytes, tail.place, tail.file.id);
                if tail.place == HEADER_BYTES as u64 {
                    tail.names.begin_file(tail.file.epoch(&bytes));
                }
                let list = (&self.layout, &*self.inner.manifest);
                let is_current = || manifest::stamp(&self.layout).is_ok_and(|now| now == self.stamp);
                let files = &mut self.names_files;
                let (frames, _) = files.frames(list, &mut items, &mut tail.names, Wants::All, is_current)?;
                tail.names.declared.clear();
                let inner = Arc::make_mut(&mut self.inner);
                let live = inner.head.first().map_or(inner.sequence, |part| part.first_sequence);
                let splits = inner.manifest.splits(live);
                let known = inner.sequence;
                inner.late.begin();
                Intake {
                    head: &mut inner.head,
                    ledger: Arc::make_mut(&mut inner.ledger),
                    names: &mut inner.names,
                    late: &mut inner.late,
                    splits: &splits,
                    sequence: &mut inner.sequence,
                    known,
                    news: news.as_deref_mut(),
                    with_rows: self.with_rows,
                }
                .take(&frames, &tail.names);
                inner.wal_bytes += until - tail.place;
                tail.place = until;
                changed = true;
                // A tombstone in the list may hide dots of the log that are read only now.
                let tombstones = inner.manifest.tombstones.clone();
                inner.ask_tombstones(&tombstones);
            }
            if let Some(file) = next {
                let inner = Arc::make_mut(&mut self.inner);
                inner.has_another_file();
                if !tail.file.is_there() {
                    inner.late.turn();
                }
                inner.begin_file(&file);
                (tail.file, tail.place) = (file, HEADER_BYTES as u64);
            }
        }
    }
}

/// What a reader has already.
#[derive(Clone, Copy)]
struct Before<'a> {
    stamp: &'a Stamp,
    inner: &'a Inner,
    /// Where the file is still there.
    tail: Option<&'a Tail>,
}

/// Reads list, segments and live log.
///
/// - `before`: its open segments and its names are reused, and commits of the log that it has are no news
fn load(
    layout: &Layout,
    before: Option<Before<'_>>,
    names_files: &mut NamesFiles,
    mut news: Option<&mut Vec<News>>,
    with_rows: bool,
) -> Result<(Stamp, Inner, Option<Tail>), Error> {
    for tries in 1.. {
        let told = news.as_ref().map_or(0, |news| news.len());
        let loaded = try_load(layout, before, names_files, news.as_deref_mut(), with_rows);
        if loaded.is_err()
            && let Some(news) = &mut news
        {
            // The view stays as it was, so they come again.
            news.truncate(told);
        }
        match loaded {
            // What was listed has been replaced; the list that replaced it is there.
            Err(error) if error.is_not_found() && tries < TRIES_MAX => {}
            other => return other,
        }
    }
    unreachable!("the last try returns")
}

fn try_load(
    layout: &Layout,
    before: Option<Before<'_>>,
    names_files: &mut NamesFiles,
    news: Option<&mut Vec<News>>,
    with_rows: bool,
) -> Result<(Stamp, Inner, Option<Tail>), Error> {
    let tail = before.and_then(|before| before.tail);
    let mut known_names = tail.map(|tail| tail.names.clone()).unwrap_or_default();
    let stamp = manifest::stamp(layout)?;
    let (manifest, link) = match before {
        Some(before) => {
            let (manifest, is_followed) = manifest::read_on(layout, before.stamp, &before.inner.manifest)?;
            (manifest, if is_followed { Link::Edits } else { link(tail) })
        }
        None => (manifest::read(layout)?, Link::Nothing),
    };
    let before = before.map(|before| before.inner);
    let damage = before.map_or_else(Arc::default, |before| before.damage.clone());
    let open = OpenSegments::of(layout, &manifest, before, &damage)?;
    let mut names = before.map_or_else(SeriesNames::default, |before| before.names.without_head());
    let (files, are_there) = wal::files_there(layout, manifest.log_start())?;
    let begins = files.first().is_some_and(|file| file.id == manifest.wal_first);
    // Only what a seal has unlisted is unlinked; its dots are in a segment that this list does not name.
    if !(begins && are_there) && manifest::read(layout)?.wal_first != manifest.wal_first {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::io("open WAL file", &layout.wal(manifest.wal_first))(gone));
    }
    let mut late = before.map_or_else(Late::new, |before| before.late.clone());
    if let Some(before) = before {
        late.list(layout, before, &manifest, &open, link);
    }
    let OpenSegments { dots: segments, steps, new, has_other_steps, has_mended } = open;
    names.add_segments(&new);
    let known = before.map_or(u64::MAX, |before| before.sequence);
    let sealed = missed::sealed(&manifest, files.first());
    let lost = before.is_some() && sealed > known;
    if lost {
        late.turn();
    }
    let splits = manifest.splits(sealed + 1);
    // Not the sequence of a foreign commit: the frame that this stands behind may not be published yet.
    let mut sequence = sealed;
    let mut head = Vec::new();
    let mut ledger = manifest.ledger.clone();
    let mut wal_bytes = 0;
    let wal_files = files.len() as u64;
    let mut intake = Intake {
        head: &mut head,
        ledger: &mut ledger,
        names: &mut names,
        late: &mut late,
        splits: &splits,
        sequence: &mut sequence,
        known,
        news,
        with_rows,
    };
    let mut last = None;
    let mut bytes = Vec::new();
    for file in files {
        let until = file.bytes_that_count()?;
        file.read_into(HEADER_BYTES as u64, until, &mut bytes)?;
        known_names.begin_file(file.epoch(&bytes));
        let mut items = Items::new(&bytes, HEADER_BYTES as u64, file.id);
        let (list, is_current) =
            ((layout, &manifest), || manifest::stamp(layout).is_ok_and(|now| now == stamp));
        let (frames, _) = names_files.frames(list, &mut items, &mut known_names, Wants::All, is_current)?;
        known_names.declared.clear();
        intake.take(&frames, &known_names);
        wal_bytes += until;
        last = Some((file, until));
    }
    let tail = last.map(|(file, place)| Tail { file, place, names: known_names });
    let fewer = before
        .is_some_and(|before| has_other_steps || has_mended || has_fewer_dots(&before.manifest, &manifest));
    let mut inner = Inner {
        manifest: Arc::new(manifest),
        segments,
        steps,
        head,
        names,
        ledger: Arc::new(ledger),
        sequence,
        epoch: before.map_or(0, |before| before.epoch) + lost as u64,
        late,
        wal_files,
        wal_bytes,
        damage,
    };
    if fewer {
        inner.forget_series();
    }
    if let Some(before) = before {
        inner.ask_tombstones(&before.manifest.tombstones);
    }
    Ok((stamp, inner, tail))
}

/// What the WAL file that a reader follows shows of a list that was just read.
fn link(tail: Option<&Tail>) -> Link {
    if tail.is_some_and(|tail| tail.file.is_there()) { Link::Log } else { Link::Nothing }
}

/// Whether dots, and with them series, may be missing in a list that are in the list before it, and that no tombstone
/// hides. Its segments with steps are not compared.
fn has_fewer_dots(before: &Manifest, after: &Manifest) -> bool {
    let (then, now) = (&before.ledger.totals, &after.ledger.totals);
    // A list that was rebuilt may lack tombstones.
    after.rebuilt.is_some()
        || (then.deleted, then.expired, then.damaged) != (now.deleted, now.expired, now.damaged)
}

impl Intake<'_> {
    /// Reads frames that come one after the other in one file. A part of the head never spans files, so that a seal
    /// removes whole parts.
    pub(super) fn take(&mut self, frames: &[Frame<'_>], names: &Names) {
        let splits = self.splits;
        let together = |before: &Frame<'_>, frame: &Frame<'_>| {
            let at = splits.partition_point(|commit| *commit < before.sequence);
            splits.get(at).is_none_or(|commit| *commit >= frame.sequence)
        };
        for frames in frames.chunk_by(together) {
            let part = self.part(frames, names);
            if part.dots > 0 {
                head::push(self.head, part, splits);
            }
        }
    }

    /// Applies frames that have no foreign commit between them to the ledger, and makes a part of the head of their
    /// dots.
    fn part(&mut self, frames: &[Frame<'_>], names: &Names) -> HeadPart {
        let mut part = HeadPart::default();
        let mut fold = FrameFold::of(frames);
        for frame in frames {
            *self.sequence = frame.sequence;
            let Applied::Dots { lanes, dots, .. } = apply(frame, names, self.ledger) else {
                continue;
            };
            let mut told =
                News { sequence: frame.sequence, dots: Vec::new(), losses: Vec::new(), rows: Vec::new() };
            let is_news = self.news.is_some() && frame.sequence > self.known;
            let mut late = self.late.frame(frame.sequence);
            fold.take(frame.sequence, dots, names, &mut part, |taken| {
                if taken.is_new {
                    self.names.add(taken.name);
                }
                if let Some(late) = &mut late {
                    late.take(&taken);
                }
                if !is_news {
                    return;
                }
                let (run, range) = taken.dots();
                run.numbers(range.clone(), |time, number| {
                    told.dots.push((taken.name.clone(), Timestamp::from_nanos(time), number));
                });
                if self.with_rows {
                    let mut new = Column::default();
                    new.extend(run, range);
                    told.rows.push(RowsNews { series: taken.name.clone(), is_clock: taken.clock, run: new });
                }
            });
            if is_news {
                for (incarnation, lane) in &lanes {
                    let application =
                        self.ledger.account(*incarnation).map(|account| account.application.clone());
                    told.losses.extend(lane.losses.iter().map(|lost| LossNews {
                        application: application.clone().unwrap_or_default(),
                        incarnation: *incarnation,
                        lane: lane.lane,
                        lost: lost.next - lost.first,
                        reason: lost.reason,
                        times: lost.times,
                    }));
                }
                self.news.as_mut().expect("news is wanted").push(told);
            }
        }
        part
    }
}
