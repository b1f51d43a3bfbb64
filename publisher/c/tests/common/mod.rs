//! What the tests of other languages share: their compilers, the built library, what a ring holds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dotter_ring::directory::{self, Place};
use dotter_ring::{Drained, LaneCursor, RingReader, Value};

/// A file of this package.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Where cargo has put the library: beside this test.
pub(crate) fn library(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let path = test.with_file_name(name);
    assert!(path.is_file(), "{} is missing: cargo builds it with this test", path.display());
    path
}

/// Starts a command.
///
/// # Panics
///
/// Where it cannot be started, naming the packages of the system to install.
pub(crate) fn start(command: &mut Command) -> Child {
    let name = command.get_program().to_string_lossy().into_owned();
    // Cargo names a folder first in which a library from an earlier build may lie.
    if command.get_envs().all(|(name, _)| name != "LD_LIBRARY_PATH") {
        command.env_remove("LD_LIBRARY_PATH");
    }
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "cannot start {name}: {error}; this test needs gcc, g++ and python3: apt-get install g++ python3"
        )
    })
}

/// Runs a command to its end and gives what it wrote.
///
/// # Panics
///
/// As [`start`], and where it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let out = child.wait_with_output().expect("its output can be read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{command:?}: {}\n{stdout}{stderr}", out.status);
    stdout + &stderr
}

/// A dot as text: name, unit, whether the clock stamped it, time, value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) clock: bool,
    pub(crate) nanos: u64,
    pub(crate) value: f64,
}

/// What is in a ring, lane by lane.
pub(crate) fn read(path: &Path) -> (RingReader, Vec<Read>) {
    let mut ring = RingReader::open(path).unwrap();
    let mut all = Vec::new();
    for lane in 0..ring.lanes_used() {
        let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
        while cursor.drain(&mut ring, usize::MAX, &mut out) > 0 {}
        assert_eq!(out.losses, []);
        for dot in out.dots {
            let series = ring.series(dot.series).expect("the writer has named it");
            let name = series.name.as_ref().expect("the writer has looked at it").to_string();
            let (unit, nanos) = (series.unit.clone(), dot.time.nanos());
            all.push(Read { name, unit, clock: dot.clock, nanos, value: dot.value });
        }
    }
    (ring, all)
}

/// The program in a page of documentation: the first piece in that language.
pub(crate) fn fenced(page: &str, language: &str) -> String {
    let text = std::fs::read_to_string(here(page)).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("the page has a program");
    rest.split_once("```").expect("the program ends").0.to_owned()
}

/// What is in a ring, lane by lane, each dot in words: name, letters with the names of columns, unit, value.
pub(crate) fn rows(path: &Path) -> Vec<String> {
    let mut ring = RingReader::open(path).unwrap();
    let mut all = Vec::new();
    for lane in 0..ring.lanes_used() {
        let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
        while cursor.drain(&mut ring, usize::MAX, &mut out) > 0 {}
        assert_eq!(out.losses, []);
        for dot in &out.dots {
            let series = ring.series(dot.series).expect("the writer has named it");
            let mut text = format!("{} {}", series.name.as_ref().unwrap(), series.format);
            if !series.columns.is_empty() {
                text += &format!("({})", series.columns.join(", "));
            }
            text += &format!(" [{}]", series.unit);
            if !dot.clock {
                text += &format!(" @{}", dot.time.nanos());
            }
            match out.value(dot) {
                Value::F64(value) => text += &format!(" {value:?}"),
                Value::F32(value) => text += &format!(" {value:?}"),
                Value::I64(value) => text += &format!(" {value}"),
                Value::U64(value) => text += &format!(" {value}"),
                Value::Text(bytes) if series.format.as_str() == "b" => text += &format!(" {bytes:02x?}"),
                Value::Text(line) => text += &format!(" {:?}", std::str::from_utf8(line).unwrap()),
                Value::Row(words) => {
                    for (letter, word) in series.format.as_str().chars().zip(words) {
                        text += &match letter {
                            'F' => format!(" {:?}", f64::from_bits(*word)),
                            'f' => format!(" {:?}", f32::from_bits(*word as u32)),
                            'I' | 'i' => format!(" {}", *word as i64),
                            _ => format!(" {word}"),
                        };
                    }
                }
            }
            all.push(text);
        }
    }
    all
}

/// Every ring in a directory.
pub(crate) fn rings(dir: &Path) -> Vec<PathBuf> {
    directory::scan(&Place::Directory(dir.to_owned())).unwrap()
}
