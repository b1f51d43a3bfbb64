//! External sorting of dots: each file has some of the dots, sorted by series and time. In the end all files are
//! merged, so any number of dots is sorted in bounded memory.
//!
//! A file is a row of blocks. A block has dots of one series and one shape: the length of the block in four bytes,
//! the name, the shape of the dot of the series that was given last, the shape of the block, how many dots, their
//! times in eight bytes each, then their words likewise, or the length and the bytes of each row. A block of no bytes
//! ends the file. The file has no name, no other process reads it, and it ends with the process: so it has no
//! checksums and no version.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use dotter_dot::{Cell, Column, SeriesName, Shape, Timestamp, put_varint};

use crate::disk::layout::Layout;
use crate::disk::spill::{Spill, SpillReader};
use crate::error::Error;
use crate::format::bytes::{Fields, put_text};
use crate::format::shapes::{put_shape, take_shape};

/// The most dots of a block.
const BLOCK_DOTS: usize = 1024;
/// Row bytes at which a block ends, however few dots it has.
const BLOCK_ROW_BYTES: usize = 64 << 10;

/// Writes a file.
pub(crate) struct AsideWriter {
    out: Spill,
    /// The current series, and the shape of its dot that was given last.
    series: Option<(SeriesName, Shape)>,
    /// Dots of the current series that are in no block yet.
    column: Column,
}

impl AsideWriter {
    pub(crate) fn new(layout: &Layout) -> AsideWriter {
        AsideWriter { out: Spill::new(layout), series: None, column: Column::default() }
    }

    /// Appends dots of a series.
    ///
    /// - `name`: names come in ascending order, and the dots of one series in the order of time
    /// - `latest`: the shape of its dot that was given last
    pub(crate) fn take(
        &mut self,
        name: &SeriesName,
        latest: &Shape,
        from: &Column,
        range: Range<usize>,
    ) -> Result<(), Error> {
        if self.series.as_ref().is_none_or(|(before, _)| before != name) {
            self.end_block()?;
            self.series = Some((name.clone(), latest.clone()));
        }
        for (part, shape) in from.parts(range) {
            let is_word = shape.word().is_some();
            let mut rest = part;
            while !rest.is_empty() {
                // Rows one by one: each may be as long as a block.
                let count = if is_word { rest.len().min(BLOCK_DOTS - self.column.len()) } else { 1 };
                self.column.extend(from, rest.start..rest.start + count);
                rest.start += count;
                if self.column.len() >= BLOCK_DOTS || self.column.row_bytes() >= BLOCK_ROW_BYTES {
                    self.end_block()?;
                }
            }
        }
        Ok(())
    }

    /// Ends the file; none of it stays in memory.
    pub(crate) fn finish(mut self) -> Result<Spill, Error> {
        self.end_block()?;
        self.out.append(|out| out.extend_from_slice(&0_u32.to_le_bytes()))?;
        self.out.put_aside()?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let column = std::mem::take(&mut self.column);
        let Some((name, latest)) = &self.series else { return Ok(()) };
        for (part, shape) in column.parts(0..column.len()) {
            self.out.append(|out| put_block(name, latest, &column, part, shape, out))?;
        }
        self.column = column;
        self.column.clear();
        Ok(())
    }
}

fn put_block(
    name: &SeriesName,
    latest: &Shape,
    column: &Column,
    part: Range<usize>,
    shape: &Shape,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_text(out, name.as_str());
    put_shape(out, latest);
    put_shape(out, shape);
    put_varint(out, part.len() as u64);
    column.times()[part.clone()].iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
    for index in part {
        match shape.word() {
            Some(_) => out.extend_from_slice(&column.words()[index].to_le_bytes()),
            None => {
                let row = column.row(index);
                put_varint(out, row.len() as u64);
                out.extend_from_slice(row);
            }
        }
    }
    let length = u32::try_from(out.len() - start - 4).expect("a block is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads a file: it has the current block, or is at the end.
struct AsideReader {
    input: SpillReader,
    bytes: Vec<u8>,
    /// `None` at the end.
    name: Option<SeriesName>,
    latest: Shape,
    column: Column,
    /// Dots of the block that have been taken.
    taken: usize,
}

impl AsideReader {
    fn open(file: Spill) -> Result<AsideReader, Error> {
        let input = file.into_reader()?;
        let (bytes, column, latest) = (Vec::new(), Column::default(), Shape::number());
        Ok(AsideReader { input, bytes, name: None, latest, column, taken: 0 })
    }

    /// Goes on to the next block.
    fn next(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        self.bytes.resize(u32::from_le_bytes(length) as usize, 0);
        self.input.read_exact(&mut self.bytes)?;
        self.column.clear();
        self.taken = 0;
        if self.bytes.is_empty() {
            self.name = None;
            return Ok(());
        }
        let torn = || io::Error::new(io::ErrorKind::InvalidData, "dots put aside come back wrong");
        let bytes = std::mem::take(&mut self.bytes);
        let block = self.take_block(&mut Fields(&bytes));
        self.bytes = bytes;
        block.ok_or_else(torn)
    }

    fn take_block(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let name = fields.text()?;
        if self.name.as_ref().is_none_or(|before| before.as_str() != name) {
            self.name = Some(SeriesName::new(name).ok()?);
        }
        self.latest = take_shape(fields)?;
        let shape = take_shape(fields)?;
        let count = fields.count(8)?;
        let mut times = Fields(fields.bytes(count * 8)?);
        for _ in 0..count {
            let time = Timestamp::from_nanos(u64::from_le_bytes(times.array()?));
            let cell = match shape.word() {
                Some(_) => Cell::Word(u64::from_le_bytes(fields.array()?)),
                None => {
                    let length = fields.number()?;
                    Cell::Row(fields.bytes(length)?)
                }
            };
            self.column.push(&shape, time, cell);
        }
        (count > 0 && fields.0.is_empty()).then_some(())
    }

    /// Time of the next dot.
    fn time(&self) -> u64 {
        self.column.times()[self.taken]
    }
}

/// Merges files: calls `take` with all dots in the order of series and time; of equal ones that of the earlier file
/// comes first.
///
/// - `files`: a file whose dots were given earlier comes first
/// - `take`: called with a name, the shape of its dot that was given last, and some of its dots
pub(crate) fn merge(
    layout: &Layout,
    files: Vec<Spill>,
    mut take: impl FnMut(&SeriesName, &Shape, &Column, Range<usize>) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error| Error::io("read dots put aside in", &layout.dir)(error);
    let mut files: Vec<AsideReader> = files.into_iter().map(AsideReader::open).collect::<Result<_, _>>()?;
    // Names are compared once for each file that has them.
    let mut waiting: BTreeMap<SeriesName, Vec<usize>> = BTreeMap::new();
    for (number, file) in files.iter_mut().enumerate() {
        file.next().map_err(failed)?;
        if let Some(name) = &file.name {
            waiting.entry(name.clone()).or_default().push(number);
        }
    }
    while let Some((name, mut numbers)) = waiting.pop_first() {
        numbers.sort_unstable();
        let latest = numbers.last().map_or_else(Shape::number, |last| files[*last].latest.clone());
        while let Some((place, until)) = turn(&files, &numbers) {
            let number = numbers[place];
            let file = &mut files[number];
            let times = &file.column.times()[file.taken..];
            let count =
                until.map_or(times.len(), |until| times.partition_point(|time| (*time, place) < until));
            take(&name, &latest, &file.column, file.taken..file.taken + count)?;
            file.taken += count;
            if file.taken < file.column.len() {
                continue;
            }
            file.next().map_err(failed)?;
            if file.name.as_ref() != Some(&name) {
                numbers.remove(place);
                if let Some(next) = &files[number].name {
                    waiting.entry(next.clone()).or_default().push(number);
                }
            }
        }
    }
    Ok(())
}

/// Which file has the next dots, and up to where they can be taken: the time and the index of the file that follows.
fn turn(files: &[AsideReader], numbers: &[usize]) -> Option<(usize, Option<(u64, usize)>)> {
    let (mut first, mut second) = (None, None);
    for (place, number) in numbers.iter().enumerate() {
        let next = Some((files[*number].time(), place));
        if first.is_none() || next < first {
            (first, second) = (next, first);
        } else if second.is_none() || next < second {
            second = next;
        }
    }
    first.map(|(_, place)| (place, second))
}
