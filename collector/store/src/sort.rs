//! Rows of any order and any number, given back by series and time, in bounded memory.
//!
//! Rows are gathered up to [`GATHER_BYTES`], sorted and put aside as a *run* in a file without a name, which
//! goes with the process. Whenever [`RUNS_MAX`] runs of a level have come together they are merged into one of the
//! next, so that at the end no more than a few levels of runs are open: memory is bounded by what is gathered, its
//! sorting, and [`READ_BYTES`] for each open run, whatever the number of rows, series or shapes.
//!
//! Rows of equal series and time keep the order in which they were given.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use dotter_dot::{Cell, Format, ROW_BYTES_MAX, SeriesName, Shape, Timestamp};

/// What is gathered before it is put aside, in bytes as they lie in memory.
const GATHER_BYTES: usize = 64 << 20;

/// Runs of one level before they are merged.
const RUNS_MAX: usize = 64;

/// What is read of a run at once.
const READ_BYTES: usize = 128 << 10;

/// Bytes of an entry, and of what sorting takes besides.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2;

/// Rows being gathered.
pub(crate) struct Sorter {
    /// Where files are made: the disk that has room for what is being stored.
    dir: PathBuf,
    gather_bytes: usize,
    series: HashMap<SeriesName, u32>,
    shapes: HashMap<Shape, u32>,
    entries: Vec<Entry>,
    rows: Vec<u8>,
    /// Bytes of the names gathered.
    name_bytes: usize,
    /// The series of the row given last.
    last: Option<(SeriesName, u32)>,
    /// Its shape.
    last_shape: Option<(Shape, u32)>,
    /// By level; the later a run, the later its rows were given.
    runs: Vec<Vec<File>>,
    count: u64,
}

struct Entry {
    series: u32,
    shape: u32,
    time: u64,
    /// The word of a number; of a row where its bytes begin.
    word: u64,
    /// Of a row how many bytes it has.
    bytes: u32,
}

/// Takes sorted rows.
pub(crate) trait Sink {
    /// What can go wrong.
    type Error: From<io::Error>;

    /// Takes the next row.
    fn push(
        &mut self,
        name: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Self::Error>;
}

impl Sorter {
    /// - `dir`: where the store is or will be
    pub(crate) fn new(dir: &Path) -> Sorter {
        Sorter::with_bytes(dir, GATHER_BYTES)
    }

    fn with_bytes(dir: &Path, gather_bytes: usize) -> Sorter {
        // A store that is yet to be made has a directory above it.
        let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
        Sorter {
            dir: there.to_owned(),
            gather_bytes,
            series: HashMap::new(),
            shapes: HashMap::new(),
            entries: Vec::new(),
            rows: Vec::new(),
            name_bytes: 0,
            last: None,
            last_shape: None,
            runs: Vec::new(),
            count: 0,
        }
    }

    /// How many rows were given.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes of rows and numbers are gathered; more than any bound where some were put aside.
    pub(crate) fn bytes(&self) -> usize {
        if self.runs.is_empty() { self.entries.len() * 16 + self.rows.len() } else { usize::MAX }
    }

    /// Takes a row.
    ///
    /// - `name`: the error where it is none is the outer one's
    pub(crate) fn push(
        &mut self,
        name: &str,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> io::Result<Result<(), String>> {
        let series = match self.series_of(name) {
            Ok(series) => series,
            Err(what) => return Ok(Err(what)),
        };
        let shape = self.shape_of(shape);
        let (word, bytes) = match cell {
            Cell::Word(word) => (word, 0),
            Cell::Row(row) => {
                let at = self.rows.len() as u64;
                self.rows.extend_from_slice(row);
                (at, row.len() as u32)
            }
        };
        self.entries.push(Entry { series, shape, time: time.nanos(), word, bytes });
        self.count += 1;
        // A shape takes as much as a name; both are counted roughly.
        let tables = self.name_bytes + (self.series.len() + self.shapes.len()) * 160;
        if self.entries.len() * ENTRY_BYTES + self.rows.len() + tables > self.gather_bytes {
            self.put_aside()?;
        }
        Ok(Ok(()))
    }

    fn shape_of(&mut self, shape: &Shape) -> u32 {
        if let Some((last, number)) = &self.last_shape
            && last.is(shape)
        {
            return *number;
        }
        let next = self.shapes.len() as u32;
        let number = *self.shapes.entry(shape.clone()).or_insert(next);
        self.last_shape = Some((shape.clone(), number));
        number
    }

    fn series_of(&mut self, text: &str) -> Result<u32, String> {
        if let Some((last, series)) = &self.last
            && last.as_str() == text
        {
            return Ok(*series);
        }
        let (name, series) = match self.series.get_key_value(text) {
            Some((name, series)) => (name.clone(), *series),
            None => {
                let name = SeriesName::new(text).map_err(|error| {
                    format!("series '{}': {error}", text.chars().take(64).collect::<String>())
                })?;
                let next = self.series.len() as u32;
                // One that was not canonical may be known under its canonical name.
                let series = *self.series.entry(name.clone()).or_insert(next);
                self.name_bytes += name.as_str().len();
                (name, series)
            }
        };
        self.last = Some((name, series));
        Ok(series)
    }

    /// Gives every row to `sink`, by series and time, and is empty then.
    pub(crate) fn drain<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        if self.runs.is_empty() {
            let sorted = self.take_sorted();
            return sorted.each(|name, shape, time, cell| sink.push(name, shape, time, cell));
        }
        self.put_aside()?;
        // Higher levels hold what was given earlier.
        let runs: Vec<File> = std::mem::take(&mut self.runs).into_iter().rev().flatten().collect();
        merge(runs, |name, shape, time, cell| sink.push(name, shape, time, cell))
    }

    fn take_sorted(&mut self) -> Sorted {
        let mut names: Vec<(SeriesName, u32)> = self.series.drain().collect();
        names.sort_unstable();
        let mut ranks = vec![0; names.len()];
        for (rank, (_, series)) in names.iter().enumerate() {
            ranks[*series as usize] = rank as u32;
        }
        let mut shapes: Vec<Option<Shape>> = vec![None; self.shapes.len()];
        self.shapes.drain().for_each(|(shape, number)| shapes[number as usize] = Some(shape));
        let mut entries = std::mem::take(&mut self.entries);
        entries.iter_mut().for_each(|entry| entry.series = ranks[entry.series as usize]);
        // Stable, so that of equal times the last stays last; quick where rows came in order.
        entries.sort_by_key(|entry| (entry.series, entry.time));
        self.name_bytes = 0;
        (self.last, self.last_shape) = (None, None);
        Sorted {
            names: names.into_iter().map(|(name, _)| name).collect(),
            shapes: shapes.into_iter().flatten().collect(),
            entries,
            rows: std::mem::take(&mut self.rows),
        }
    }

    fn put_aside(&mut self) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut run = RunWriter::create(&self.dir)?;
        self.take_sorted().each(|name, shape, time, cell| run.push(name, shape, time, cell))?;
        let mut file = run.finish()?;
        for level in 0.. {
            if self.runs.len() == level {
                self.runs.push(Vec::new());
            }
            self.runs[level].push(file);
            if self.runs[level].len() < RUNS_MAX {
                break;
            }
            let mut merged = RunWriter::create(&self.dir)?;
            merge(std::mem::take(&mut self.runs[level]), |name, shape, time, cell| {
                merged.push(name, shape, time, cell)
            })?;
            file = merged.finish()?;
        }
        Ok(())
    }
}

/// What was gathered, in order.
struct Sorted {
    names: Vec<SeriesName>,
    shapes: Vec<Shape>,
    entries: Vec<Entry>,
    rows: Vec<u8>,
}

impl Sorted {
    fn each<E>(
        &self,
        mut sink: impl FnMut(&SeriesName, &Shape, Timestamp, Cell<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in &self.entries {
            let shape = &self.shapes[entry.shape as usize];
            let cell = match shape.word() {
                Some(_) => Cell::Word(entry.word),
                None => Cell::Row(&self.rows[entry.word as usize..][..entry.bytes as usize]),
            };
            sink(&self.names[entry.series as usize], shape, Timestamp::from_nanos(entry.time), cell)?;
        }
        Ok(())
    }
}

/// Sorted rows in a file: where series or shape change, their names; then time, length and bytes of each row.
///
/// The file is nobody else's and is never read by another process, so it carries no checksums and no version.
struct RunWriter {
    out: BufWriter<File>,
    name: Option<SeriesName>,
    shape: Option<Shape>,
}

/// What comes next in a run.
const END: u8 = 0;
const SERIES: u8 = 1;
const SHAPE: u8 = 2;
const WORD: u8 = 3;
const ROW: u8 = 4;

impl RunWriter {
    fn create(dir: &Path) -> io::Result<RunWriter> {
        let out = BufWriter::with_capacity(READ_BYTES, tempfile::tempfile_in(dir)?);
        Ok(RunWriter { out, name: None, shape: None })
    }

    fn push(&mut self, name: &SeriesName, shape: &Shape, time: Timestamp, cell: Cell<'_>) -> io::Result<()> {
        if self.name.as_ref() != Some(name) {
            self.name = Some(name.clone());
            self.out.write_all(&[SERIES])?;
            put_text(&mut self.out, name.as_str())?;
        }
        if !self.shape.as_ref().is_some_and(|last| last.is(shape) || last == shape) {
            self.shape = Some(shape.clone());
            self.out.write_all(&[SHAPE])?;
            put_text(&mut self.out, shape.format().as_str())?;
            put_text(&mut self.out, shape.unit())?;
            self.out.write_all(&[shape.columns().len() as u8])?;
            shape.columns().iter().try_for_each(|column| put_text(&mut self.out, column))?;
        }
        match cell {
            Cell::Word(word) => {
                self.out.write_all(&[WORD])?;
                self.out.write_all(&time.nanos().to_le_bytes())?;
                self.out.write_all(&word.to_le_bytes())
            }
            Cell::Row(row) => {
                self.out.write_all(&[ROW])?;
                self.out.write_all(&time.nanos().to_le_bytes())?;
                self.out.write_all(&(row.len() as u32).to_le_bytes())?;
                self.out.write_all(row)
            }
        }
    }

    fn finish(mut self) -> io::Result<File> {
        self.out.write_all(&[END])?;
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

fn put_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(&(text.len() as u16).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// A run being read; stands on a row, or at its end.
struct RunReader {
    input: BufReader<File>,
    name: Option<SeriesName>,
    shape: Shape,
    time: u64,
    /// `None` where the row is in `row`.
    word: Option<u64>,
    row: Vec<u8>,
}

impl RunReader {
    fn open(file: File) -> io::Result<RunReader> {
        let input = BufReader::with_capacity(READ_BYTES, file);
        let mut run =
            RunReader { input, name: None, shape: Shape::number(), time: 0, word: None, row: Vec::new() };
        run.next()?;
        Ok(run)
    }

    /// Goes on to the next row; `name` is `None` at the end.
    fn next(&mut self) -> io::Result<()> {
        loop {
            match self.array::<1>()?[0] {
                END => {
                    self.name = None;
                    return Ok(());
                }
                SERIES => self.name = Some(SeriesName::new(&self.text()?).map_err(torn)?),
                SHAPE => {
                    let format = Format::new(&self.text()?).map_err(torn)?;
                    let unit = self.text()?;
                    let columns = self.array::<1>()?[0];
                    let columns: Vec<String> =
                        (0..columns).map(|_| self.text()).collect::<io::Result<_>>()?;
                    self.shape = Shape::new(format, &unit, &columns).map_err(torn)?;
                }
                WORD => {
                    self.time = u64::from_le_bytes(self.array()?);
                    self.word = Some(u64::from_le_bytes(self.array()?));
                    return Ok(());
                }
                ROW => {
                    self.time = u64::from_le_bytes(self.array()?);
                    let bytes = u32::from_le_bytes(self.array()?) as usize;
                    if bytes > ROW_BYTES_MAX {
                        return Err(torn("a row too long"));
                    }
                    self.row.resize(bytes, 0);
                    self.input.read_exact(&mut self.row)?;
                    self.word = None;
                    return Ok(());
                }
                _ => return Err(torn("an unknown mark")),
            }
        }
    }

    fn cell(&self) -> Cell<'_> {
        match self.word {
            Some(word) => Cell::Word(word),
            None => Cell::Row(&self.row),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self) -> io::Result<String> {
        let mut bytes = vec![0; u16::from_le_bytes(self.array()?) as usize];
        self.input.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(torn)
    }
}

fn torn(what: impl ToString) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("rows put aside come back wrong: {}", what.to_string()),
    )
}

/// One order out of runs that are each sorted; of equal series and time the row of the earlier run comes first.
fn merge<E: From<io::Error>>(
    runs: Vec<File>,
    mut sink: impl FnMut(&SeriesName, &Shape, Timestamp, Cell<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut runs: Vec<RunReader> = runs.into_iter().map(RunReader::open).collect::<io::Result<_>>()?;
    // Names are compared once for each run that has them, times within a name for each row.
    let mut waiting: BTreeMap<SeriesName, Vec<usize>> = BTreeMap::new();
    for (number, run) in runs.iter().enumerate() {
        if let Some(name) = &run.name {
            waiting.entry(name.clone()).or_default().push(number);
        }
    }
    while let Some((name, mut numbers)) = waiting.pop_first() {
        numbers.sort_unstable();
        while !numbers.is_empty() {
            let least = (0..numbers.len()).min_by_key(|place| (runs[numbers[*place]].time, *place));
            let place = least.expect("there are some");
            let run = &mut runs[numbers[place]];
            sink(&name, &run.shape, Timestamp::from_nanos(run.time), run.cell())?;
            run.next()?;
            if run.name.as_ref() != Some(&name) {
                let number = numbers.remove(place);
                if let Some(next) = &runs[number].name {
                    waiting.entry(next.clone()).or_default().push(number);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Value, put_row};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Kept(Vec<(String, u64, String, u64)>);

    impl Sink for Kept {
        type Error = io::Error;

        fn push(
            &mut self,
            name: &SeriesName,
            shape: &Shape,
            time: Timestamp,
            cell: Cell<'_>,
        ) -> io::Result<()> {
            let number = match cell {
                Cell::Word(word) => word,
                Cell::Row(_) => cell.values(shape.format()).find_map(Value::to_word).unwrap(),
            };
            self.0.push((name.to_string(), time.nanos(), format!("{shape:?}"), number));
            Ok(())
        }
    }

    fn shapes() -> [Shape; 3] {
        let format = |letters| Format::new(letters).unwrap();
        [
            Shape::number(),
            Shape::new(format("U"), "ms", &["took"]).unwrap(),
            Shape::new(format("sU"), "", &["text", "number"]).unwrap(),
        ]
    }

    fn sorted(dir: &Path, gather_bytes: usize, rows: &[(u8, u64, u8)]) -> Vec<(String, u64, String, u64)> {
        let mut sorter = Sorter::with_bytes(dir, gather_bytes);
        let shapes = shapes();
        for (number, (series, time, shape)) in rows.iter().enumerate() {
            let name = format!("s{series}");
            let shape = &shapes[*shape as usize];
            let mut row = Vec::new();
            put_row([Value::Text(&"x".repeat(number % 7)), Value::U64(number as u64)], &mut row);
            let cell = if shape.word().is_some() { Cell::Word(number as u64) } else { Cell::Row(&row) };
            sorter.push(&name, shape, Timestamp::from_nanos(*time), cell).unwrap().unwrap();
        }
        let mut kept = Kept::default();
        sorter.drain(&mut kept).unwrap();
        kept.0
    }

    proptest! {
        #[test]
        fn rows_come_back_in_order_however_little_is_gathered(
            rows in prop::collection::vec((0..5_u8, 0..9_u64, 0..3_u8), 0..300), bytes in 1..5_000_usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut expected: Vec<(String, u64, String, u64)> = rows
                .iter()
                .enumerate()
                .map(|(number, (series, time, shape))| {
                    (format!("s{series}"), *time, format!("{:?}", shapes()[*shape as usize]), number as u64)
                })
                .collect();
            expected.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            prop_assert_eq!(&sorted(dir.path(), bytes, &rows), &expected);
            prop_assert_eq!(&sorted(dir.path(), 1 << 20, &rows), &expected);
            // Nothing is left behind.
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_bad_name_is_told_and_costs_nothing() {
        let mut sorter = Sorter::new(Path::new("/nowhere/at/all"));
        let mut push = |name: &str| {
            sorter
                .push(name, &Shape::number(), Timestamp::MIN, Cell::Word(0))
                .unwrap()
                .map_err(|what| what.to_string())
        };
        assert!(push("a\nb").unwrap_err().contains("control character"));
        push("a;z=1;b=2").unwrap();
        push("a;b=2;z=1").unwrap();
        assert_eq!((sorter.count(), sorter.series.len()), (2, 1));
    }
}
