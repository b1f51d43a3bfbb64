//! A plain file that is appended to, and looking through it: what log lines usually get.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Failure;
use crate::engine::{Engine, LineReading, LineWriting};
use crate::lines::{Found, LINE_BYTES, LineBatch, NEEDLE};

pub(crate) const ENGINE: Engine = Engine {
    word: "file",
    title: "a file, appended to",
    durability: "fdatasync at every commit",
    needs: None,
    dots: None,
    lines: Some((write, read)),
    share: |_| 0.0,
};

const FILE: &str = "web.log";
/// Of the time in nanoseconds, a blank, the line and its end.
const ROW_BYTES: usize = TIME_BYTES + 1 + LINE_BYTES + 1;
const TIME_BYTES: usize = 19;
/// What is looked through at once.
const PIECE_BYTES: usize = ROW_BYTES * 16_384;

struct Appender {
    file: File,
    text: Vec<u8>,
}

fn write(dir: &Path) -> Result<Box<dyn LineWriting>, Failure> {
    Ok(Box::new(Appender { file: File::create(dir.join(FILE))?, text: Vec::new() }))
}

impl LineWriting for Appender {
    fn commit(&mut self, batch: &LineBatch) -> Result<(), Failure> {
        self.text.clear();
        for (time, line) in batch.iter() {
            writeln!(self.text, "{time} {line}")?;
        }
        self.file.write_all(&self.text)?;
        Ok(self.file.sync_data()?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

struct Reader {
    file: File,
    piece: Vec<u8>,
}

fn read(dir: &Path) -> Result<Box<dyn LineReading>, Failure> {
    Ok(Box::new(Reader { file: File::open(dir.join(FILE))?, piece: vec![0; PIECE_BYTES] }))
}

fn time(row: &[u8]) -> Result<u64, Failure> {
    Ok(std::str::from_utf8(&row[..TIME_BYTES])?.parse()?)
}

impl Reader {
    /// The first row that is not before `from`: rows are of one length and in the order of their times.
    fn place(&self, from: u64) -> Result<u64, Failure> {
        let (mut low, mut high) = (0, self.file.metadata()?.len() / ROW_BYTES as u64);
        while low < high {
            let (middle, mut row) = ((low + high) / 2, [0; ROW_BYTES]);
            self.file.read_exact_at(&mut row, middle * ROW_BYTES as u64)?;
            if time(&row)? < from { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

impl LineReading for Reader {
    fn find(&mut self, range: Range<u64>) -> Result<Found, Failure> {
        let (mut at, end) = (self.place(range.start)?, self.place(range.end)?);
        let (mut found, finder) = (Found::default(), memchr::memmem::Finder::new(NEEDLE));
        while at < end {
            let rows = (PIECE_BYTES / ROW_BYTES).min((end - at) as usize);
            let piece = &mut self.piece[..rows * ROW_BYTES];
            self.file.read_exact_at(piece, at * ROW_BYTES as u64)?;
            for place in finder.find_iter(piece) {
                found.add(time(&piece[place / ROW_BYTES * ROW_BYTES..])?);
            }
            at += rows as u64;
        }
        Ok(found)
    }
}
