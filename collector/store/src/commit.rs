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

use dotter_dot::{Cell, Dots};
use dotter_intake::row_text::{RowWriter, TimeWriter, Times};
use dotter_store::{Added, Addition, Row, Sorted, Transaction, Writer};

use crate::error::Error;

/// The collector's socket file, below the store's directory.
const SOCKET: &str = "collector.sock";

/// Rows of a transaction that goes into the log.
const SMALL_ROWS: u64 = 100_000;

/// Bytes of a transaction that goes into the log.
const SMALL_BYTES: usize = 4 << 20;

/// Bytes of a row besides those of its texts and columns.
const ENTRY_BYTES: usize = 16;

/// How long the collector may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// WAL files after which whoever adds seals them, since no collector does.
const UNSEALED_FILES: u64 = 32;

/// Stores what `addition` holds, all of it or nothing.
pub(crate) fn commit(dir: &Path, addition: Addition) -> Result<Added, Error> {
    if addition.is_empty() {
        return Ok(Added::default());
    }
    if addition.len() < SMALL_ROWS
        && let Some(sorted) = addition.sorted()
        && is_small(&sorted)
        && (send(dir, &sorted)? || log(dir, &sorted)?)
    {
        return Ok(sorted.added());
    }
    Ok(addition.commit()?)
}

fn is_small(sorted: &Sorted) -> bool {
    let bytes = |row: Row<'_>| ENTRY_BYTES + row.row_bytes().len();
    sorted.rows().map(|(_, row)| bytes(row)).sum::<usize>() < SMALL_BYTES
}

/// Hands it to the collector; `false` where none is there, or it cannot take it now.
///
/// # Errors
///
/// [`Error::Refused`] where the collector will not have it at all.
fn send(dir: &Path, sorted: &Sorted) -> Result<bool, Error> {
    // Row text says neither units nor kinds nor names of columns.
    if !sorted.rows().all(|(_, row)| row.shape().is_format_alone()) {
        return Ok(false);
    }
    let Ok(mut socket) = UnixStream::connect(dir.join(SOCKET)) else { return Ok(false) };
    let mut writer = RowWriter::new(TimeWriter::new(Times::Nanos, None), true);
    let mut body = Vec::new();
    for (name, row) in sorted.rows() {
        writer.write(name.as_str(), row.time(), row.shape().format().as_str(), row.cells(), &mut body);
        if body.len() > SMALL_BYTES {
            return Ok(false);
        }
    }
    match exchange(&mut socket, &body) {
        Ok((201, _)) => Ok(true),
        // It could not be kept now, or nobody knows what came of it: the next way is as good.
        Ok((408 | 411 | 413 | 429 | 500..=599, _)) | Err(_) => Ok(false),
        Ok((status, text)) => Err(Error::Refused { status, text }),
    }
}

/// Puts it into the log; `false` where another process is the log's writer, or it is too much for a frame.
fn log(dir: &Path, sorted: &Sorted) -> Result<bool, Error> {
    let mut writer = match Writer::open(dir) {
        Err(dotter_store::Error::Locked(_)) => return Ok(false),
        other => other?,
    };
    let mut dots = Dots::default();
    for (name, row) in sorted.rows() {
        let key = writer.series(name, row.shape());
        let cell = row.word().map_or(Cell::Row(row.row_bytes()), Cell::Word);
        dots.push(key, false, row.time(), cell);
    }
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
