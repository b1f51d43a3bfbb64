//! What the tests of this crate share: a random source with a seed, and a copy of a store as a crash leaves it.
#![allow(dead_code, unreachable_pub)]

pub mod made;
pub mod replica;
pub mod rings;

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotter_dot::{
    Cell, Dots, Format, Incarnation, Kind, NamedDots, SeriesKey, SeriesName, Shape, TimeRange, Timestamp,
    Value, put_row,
};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Error, Machine, Scan, Transaction, Writer, add};

/// Random numbers from a seed that is printed and can be given back as DOTTER_SEED.
pub struct Random(u64);

impl Random {
    pub fn from_env() -> Random {
        let seed = match std::env::var("DOTTER_SEED") {
            Ok(seed) => seed.parse().expect("DOTTER_SEED is a number"),
            Err(_) => {
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
            }
        };
        println!("DOTTER_SEED={seed}");
        Random(seed)
    }

    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
}

pub fn incarnation(number: u8) -> Incarnation {
    Incarnation([number; 16])
}

/// A machine whose wall clock has always been right.
pub fn machine(now: Timestamp) -> Machine {
    Machine { wall: now, boot: [1; 16], since_boot: Duration::from_nanos(now.nanos()) }
}

/// Copies a store file by file: what another process would find if its writer died now.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Files under names of the store's that its list does not name: what a process leaves that dies, and one that gives up
/// must not.
pub fn unlisted(dir: &Path) -> Vec<PathBuf> {
    let list = fs::read(dir.join("MANIFEST")).unwrap();
    let is_listed = |name: &str| list.windows(name.len()).any(|part| part == name.as_bytes());
    let is_number = |digits: &str| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found = Vec::new();
    for folder in ["", "wal", "seg", "ledger"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.rsplit_once('-').is_some_and(|(_, digits)| is_number(digits)) && !is_listed(name) {
                found.push(path);
            }
        }
    }
    found
}

/// How far the list is published, in bytes of MANIFEST.
pub fn published(dir: &Path) -> usize {
    u64::from_le_bytes(fs::read(dir.join("MANIFEST")).unwrap()[512..520].try_into().unwrap()) as usize
}

/// Changes a bit of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, &bytes).unwrap();
}

/// How many shapes [`shape`] knows.
pub const SHAPES: u64 = 11;

/// Words of every letter, a unit, kinds, texts, raw bytes and rows.
pub fn shape(number: u64) -> Shape {
    let format = |letters: &str| Format::new(letters).unwrap();
    match number % SHAPES {
        0 => Shape::number(),
        1 => Shape::from(format("s")),
        2 => Shape::new(format("F"), "ms", &["took"]).unwrap().with_kind(Kind::Histogram),
        3 => Shape::new(format("suF"), "", &["path", "code", "took"]).unwrap(),
        4 => Shape::from(format("U")).with_kind(Kind::Counter),
        5 => Shape::from(format("i")),
        6 => Shape::from(format("f")).with_kind(Kind::Gauge),
        7 => Shape::from(format("uIssf")).with_kind(Kind::State),
        8 => Shape::from(format("I")),
        9 => Shape::from(format("b")),
        _ => Shape::new(format("bsbU"), "", &["id", "path", "body", "code"]).unwrap(),
    }
}

/// The row bytes of a value of that shape made from `bits`; of a single number its word as bytes.
pub fn row(number: u64, bits: u64) -> Vec<u8> {
    let mut row = Vec::new();
    let text = format!("{bits:x}é");
    let short = &"abcde"[..bits as usize % 5];
    let float = f32::from_bits(bits as u32);
    // Never UTF-8.
    let raw: Vec<u8> = bits.to_be_bytes().into_iter().chain([0xff]).collect();
    match number % SHAPES {
        0 | 2 => put_row([Value::F64(f64::from_bits(bits))], &mut row),
        1 => put_row([Value::Text(&text)], &mut row),
        3 => {
            put_row([Value::Text(short), Value::U32(bits as u32), Value::F64(f64::from_bits(bits))], &mut row)
        }
        4 => put_row([Value::U64(bits)], &mut row),
        5 => put_row([Value::I32(bits as i32)], &mut row),
        6 => put_row([Value::F32(float)], &mut row),
        7 => {
            let cells =
                [Value::U32(bits as u32), Value::I64(bits as i64), Value::Text(short), Value::Text(&text)];
            put_row(cells.into_iter().chain([Value::F32(float)]), &mut row);
        }
        8 => put_row([Value::I64(bits as i64)], &mut row),
        9 => put_row([Value::Bytes(&raw[bits as usize % 9..])], &mut row),
        _ => {
            let cells = [Value::Bytes(&raw), Value::Text(&text), Value::Bytes(&raw[8..]), Value::U64(bits)];
            put_row(cells, &mut row);
        }
    }
    row
}

/// Its number as numeric readers see it, by its bits.
pub fn number(shape: u64, bits: u64) -> Option<u64> {
    let number = match shape % SHAPES {
        0 | 2 => f64::from_bits(bits),
        1 | 9 => return None,
        3 | 7 => bits as u32 as f64,
        4 | 10 => bits as f64,
        5 => bits as i32 as f64,
        6 => f32::from_bits(bits as u32) as f64,
        _ => bits as i64 as f64,
    };
    Some(number.to_bits())
}

/// Adds such a value to what is to be committed.
pub fn push(dots: &mut Dots, key: SeriesKey, number: u64, clock: bool, time: u64, bits: u64) {
    let (time, row) = (Timestamp::from_nanos(time), row(number, bits));
    if shape(number).word().is_some() {
        dots.push(key, clock, time, Cell::Word(u64::from_le_bytes(row.try_into().unwrap())));
    } else {
        dots.push(key, clock, time, Cell::Row(&row));
    }
}

/// Every dot of a series: time, whether the clock stamped it, shape, row bytes.
pub fn rows(scan: &mut Scan, name: &str, range: TimeRange) -> Vec<(u64, bool, Shape, Vec<u8>)> {
    let mut rows = Vec::new();
    scan.rows(name, range, |row| {
        let mut bytes = Vec::new();
        put_row(row.cells(), &mut bytes);
        rows.push((row.time().nanos(), row.is_clock(), row.shape().clone(), bytes));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

/// A disk on which something happens right after the first piece of a segment was written.
struct Hook(Mutex<Option<Happens>>);

type Happens = Box<dyn FnOnce(&Path) + Send>;

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Disk for Hook {
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        System.write(file, path, bytes, at)?;
        let is_segment = path.file_name().unwrap().to_str().unwrap().starts_with("L0-");
        // What happens may write a segment too.
        let happens = if is_segment { self.0.lock().unwrap().take() } else { None };
        if let Some(happens) = happens {
            happens(path);
        }
        Ok(())
    }
}

/// Does something in the middle of some work: right after the first piece of a segment of level 0 was written.
pub fn amid<T>(happens: impl FnOnce() + Send + 'static, work: impl FnOnce() -> T) -> T {
    disk::on(Arc::new(Hook(Mutex::new(Some(Box::new(|_| happens()))))), work)
}

/// Adds rows of a series, with something that happens in the middle.
pub fn add_with(
    dir: &Path,
    name: &str,
    rows: u64,
    happens: impl FnOnce(&Path) + Send + 'static,
) -> Result<u64, Error> {
    let name = SeriesName::new(name).unwrap();
    let mut dots = NamedDots::default();
    for time in 0..rows {
        // Bits that no codec makes fewer.
        let word = time.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        dots.push(&name, &Shape::number(), Timestamp::from_nanos(time), Cell::Word(word));
    }
    disk::on(Arc::new(Hook(Mutex::new(Some(Box::new(happens))))), || add(dir, dots))
}

/// The shape of a log: one text.
pub fn text() -> Shape {
    Shape::from(Format::new("s").unwrap())
}

/// A line as the bytes of a row.
pub fn text_row(line: &str) -> Vec<u8> {
    let mut row = Vec::new();
    put_row([Value::Text(line)], &mut row);
    row
}

/// Commits a dot of each of some numbered series.
pub fn commit_each(writer: &mut Writer, series: impl Iterator<Item = (u64, SeriesName)>, time: u64) {
    let mut dots = Dots::default();
    for (number, name) in series {
        let key = writer.series(&name, &Shape::number());
        dots.push_number(key, false, Timestamp::from_nanos(time), (number * 1000 + time) as f64);
    }
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}
