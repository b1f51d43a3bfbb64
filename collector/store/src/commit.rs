//! Three ways into the store, for transactions of any size, whether or not a collector is running.
//!
//! - a small one goes to the collector through its socket file, which puts it into the log with everybody else's
//! - where there is none, it is put into the log here, as the log's writer for that moment
//! - a large one, and any for which these two are shut, becomes a segment of its own, listed by one swap
//!
//! All times are explicit, so a transaction that is begun one way and ended another is stored once.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{Cell, Dots, SeriesName, Shape, Timestamp};
use dotter_intake::row_text::{RowWriter, TimeWriter, Times};
use dotter_store::{Addition, Transaction, Writer};

use crate::error::Error;
use crate::sort::{Sink, Sorter};

/// The collector's socket file, below the store's directory.
const SOCKET: &str = "collector.sock";

/// Rows of a transaction that goes into the log.
const SMALL_ROWS: u64 = 100_000;

/// Bytes of a transaction that goes into the log.
const SMALL_BYTES: usize = 4 << 20;

/// How long the collector may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// WAL files after which whoever adds seals them, since no collector does.
const UNSEALED_FILES: u64 = 32;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) dots: u64,
    pub(crate) series: u64,
    /// By later rows of the same transaction.
    pub(crate) replaced: u64,
}

/// Stores what `sorter` holds, all of it or nothing.
pub(crate) fn commit(dir: &Path, mut sorter: Sorter) -> Result<Committed, Error> {
    if sorter.count() < SMALL_ROWS && sorter.bytes() < SMALL_BYTES {
        let mut small = Small::default();
        sorter.drain(&mut small)?;
        if small.committed.dots == 0 || small.send(dir)? || small.log(dir)? {
            return Ok(small.committed);
        }
        let mut large = Large::begin(dir)?;
        small.each(|name, shape, time, cell| large.push(name, shape, time, cell))?;
        return large.commit();
    }
    let mut large = Large::begin(dir)?;
    sorter.drain(&mut large)?;
    large.commit()
}

/// Sorted rows on their way into a segment.
struct Large {
    addition: Addition,
    last: Option<SeriesName>,
    series: u64,
}

impl Large {
    fn begin(dir: &Path) -> Result<Large, Error> {
        Ok(Large { addition: Addition::begin(dir)?, last: None, series: 0 })
    }

    fn commit(self) -> Result<Committed, Error> {
        let added = self.addition.commit()?;
        Ok(Committed { dots: added.stored, series: self.series, replaced: added.replaced })
    }
}

impl Sink for Large {
    type Error = Error;

    fn push(
        &mut self,
        name: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        if self.last.as_ref() != Some(name) {
            self.last = Some(name.clone());
            self.series += 1;
        }
        Ok(self.addition.push(name, shape, time, cell)?)
    }
}

/// Sorted rows in memory; of equal series and time the last.
#[derive(Default)]
struct Small {
    entries: Vec<Entry>,
    rows: Vec<u8>,
    committed: Committed,
}

struct Entry {
    name: SeriesName,
    shape: Shape,
    time: Timestamp,
    /// The word of a number; of a row where its bytes begin.
    word: u64,
    bytes: usize,
}

impl Sink for Small {
    type Error = Error;

    fn push(
        &mut self,
        name: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        let (word, bytes) = match cell {
            Cell::Word(word) => (word, 0),
            Cell::Row(row) => {
                self.rows.extend_from_slice(row);
                ((self.rows.len() - row.len()) as u64, row.len())
            }
        };
        let last = self.entries.last();
        if last.is_some_and(|last| last.name == *name && last.time == time) {
            self.entries.pop();
            self.committed.replaced += 1;
        } else {
            self.committed.dots += 1;
            self.committed.series += last.is_none_or(|last| last.name != *name) as u64;
        }
        self.entries.push(Entry { name: name.clone(), shape: shape.clone(), time, word, bytes });
        Ok(())
    }
}

impl Small {
    fn each<E>(
        &self,
        mut each: impl FnMut(&SeriesName, &Shape, Timestamp, Cell<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in &self.entries {
            let cell = match entry.shape.word() {
                Some(_) => Cell::Word(entry.word),
                None => Cell::Row(&self.rows[entry.word as usize..][..entry.bytes]),
            };
            each(&entry.name, &entry.shape, entry.time, cell)?;
        }
        Ok(())
    }

    /// Hands it to the collector; `false` where none is there, or it cannot take it now.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the collector will not have it at all.
    fn send(&self, dir: &Path) -> Result<bool, Error> {
        // Row text says neither units nor names of columns.
        if self
            .entries
            .iter()
            .any(|entry| !entry.shape.unit().is_empty() || !entry.shape.columns().is_empty())
        {
            return Ok(false);
        }
        let Ok(mut socket) = UnixStream::connect(dir.join(SOCKET)) else { return Ok(false) };
        let mut writer = RowWriter::new(TimeWriter::new(Times::Nanos, None), true);
        let mut body = Vec::new();
        let put = self.each(|name, shape, time, cell| {
            let format = shape.format();
            writer.write(name.as_str(), time, format.as_str(), cell.values(format), &mut body);
            if body.len() <= SMALL_BYTES { Ok(()) } else { Err(()) }
        });
        if put.is_err() {
            return Ok(false);
        }
        match exchange(&mut socket, &body) {
            Ok((201, _)) => Ok(true),
            // It could not be kept now, or nobody knows what came of it: the next way is as good.
            Ok((408 | 411 | 413 | 429 | 500..=599, _)) | Err(_) => Ok(false),
            Ok((status, text)) => Err(Error::Refused { status, text }),
        }
    }

    /// Puts it into the log; `false` where another process is the log's writer, or it is too much for a frame.
    fn log(&self, dir: &Path) -> Result<bool, Error> {
        let mut writer = match Writer::open(dir) {
            Err(dotter_store::Error::Locked(_)) => return Ok(false),
            other => other?,
        };
        let mut dots = Dots::default();
        self.each(|name, shape, time, cell| -> Result<(), Error> {
            dots.push(writer.series(name, shape), false, time, cell);
            Ok(())
        })?;
        match writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }) {
            Err(dotter_store::Error::TooBig { .. }) => return Ok(false),
            other => other?,
        }
        writer.sync()?;
        let is_due = writer.unsealed().files >= UNSEALED_FILES;
        drop(writer);
        if is_due {
            // What is stored is stored: whoever comes next tries again.
            let _ = dotter_store::seal(dir, &|| false);
        }
        Ok(true)
    }
}

/// Sends rows and reads the answer: its status and its text.
fn exchange(socket: &mut UnixStream, body: &[u8]) -> io::Result<(u16, String)> {
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.set_write_timeout(Some(ANSWER_WITHIN))?;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // One that refuses early answers before it has read everything.
    let sent = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body));
    let mut answer = Vec::new();
    let read = socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&answer) {
        Ok(httparse::Status::Complete(length)) => {
            let status = response.code.unwrap_or_default();
            let text = String::from_utf8_lossy(&answer[length..]).trim().to_owned();
            Ok((status, text))
        }
        _ => {
            sent?;
            read?;
            Err(io::Error::new(io::ErrorKind::InvalidData, "no answer in HTTP"))
        }
    }
}
