//! The Python package: its own tests, and that its files are those of Rust and of C.

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Read, here, library, read, rings, run, start};
use dotter_publisher::{Error, Publisher, Timestamp};
use dotter_ring::{Drained, LaneCursor, Owner, RingReader};

/// Python with the package in reach, writing through the library or by itself.
fn python(with_library: bool) -> Command {
    let mut command = Command::new("python3");
    let library = if with_library { library("libdotter.so") } else { PathBuf::new() };
    command.env("DOTTER_LIBRARY", library).env("PYTHONPATH", here("../python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1");
    command
}

#[test]
fn the_unit_tests_of_the_package_pass() {
    let mut command = python(false);
    command.args(["-W", "error", "-X", "dev", "-m", "unittest", "discover", "-t", ".", "-s", "tests"]);
    command.env("DOTTER_TEST_LIBRARY", library("libdotter.so")).current_dir(here("../python"));
    let text = run(&mut command);
    assert!(text.contains("OK") && !text.contains("skipped"), "{text}");
}

/// Dots of all sorts, as the programs read them.
struct Input {
    dots: Vec<(String, String, Option<u64>, f64)>,
    lines: String,
}

impl Input {
    /// More than a block of them, from a seed that is printed and taken back as DOTTER_SEED.
    fn new() -> Input {
        let seed =
            std::env::var("DOTTER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
            });
        println!("DOTTER_SEED={seed}");
        let mut state = seed | 1;
        // Source: Marsaglia, Xorshift RNGs (2003), with a multiplication behind it.
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
        };
        let names =
            [("plain", ""), ("latency;host=a;path=größe", "ms"), ("b;x=1;y=2", "°C"), ("plain.seconds", "s")];
        let start = 1_700_000_000_000_000_000_u64;
        let (mut dots, mut lines) = (Vec::new(), String::new());
        for index in 0..1000 {
            let (name, unit) = names[random() as usize % names.len()];
            let time = match random() % 8 {
                0..=2 => None,
                3..=5 => Some(start + index * 1_000_000),
                6 => Some(start - (1 << 59) + (random() << 12)),
                _ => Some([0, 1, u64::MAX, 1 << 63][random() as usize % 4]),
            };
            let value = match random() % 8 {
                0 => [f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 5e-324][random() as usize % 5],
                1 => index as f64,
                _ => random() as f64 / 7.0 - 1e13,
            };
            let stamp = time.map_or("now".to_owned(), |time| time.to_string());
            writeln!(lines, "{name}\t{unit}\t{stamp}\t{value:?}").unwrap();
            dots.push((name.to_owned(), unit.to_owned(), time, value));
        }
        Input { dots, lines }
    }

    fn feed(&self, command: &mut Command) {
        let mut child = start(command.stdin(Stdio::piped()));
        child.stdin.take().expect("it is a pipe").write_all(self.lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Looks for exactly these dots in the one ring of a directory, published since `before`.
    fn check(&self, dir: &Path, before: Timestamp) {
        let [path] = &rings(dir)[..] else { panic!("{dir:?} holds {:?}", rings(dir)) };
        let (ring, dots) = read(path);
        assert_eq!((ring.application(), ring.is_closed(), ring.owner()), ("same", true, Owner::Dead));
        assert_eq!(dots.len(), self.dots.len());
        let (before, after) = (before.nanos() - 20_000, Timestamp::now().nanos() + 20_000);
        for (index, (dot, (name, unit, time, value))) in dots.into_iter().zip(&self.dots).enumerate() {
            assert_eq!(dot.value.to_bits(), value.to_bits(), "dot {index}");
            assert!(time.is_some() || (before..=after).contains(&dot.nanos), "dot {index}: {}", dot.nanos);
            let (clock, nanos) = (time.is_none(), time.unwrap_or(dot.nanos));
            let expected = Read { name: name.clone(), unit: unit.clone(), clock, nanos, value: *value };
            assert_eq!(dot, expected, "dot {index}");
        }
    }
}

#[test]
fn rust_c_and_python_write_the_same_dots() {
    let dir = tempfile::tempdir().unwrap();
    let input = Input::new();
    let place = |name: &str| {
        let place = dir.path().join(name);
        std::fs::create_dir(&place).unwrap();
        (place, Timestamp::now())
    };

    let (rust, before) = place("rust");
    let publisher = Publisher::options().application("same").path(&rust).open().unwrap();
    for (name, unit, time, value) in &input.dots {
        let series = publisher.series(name).unwrap().unit(unit);
        match time {
            Some(nanos) => series.dot_at(Timestamp::from_nanos(*nanos), *value),
            None => series.dot(*value),
        }
    }
    drop(publisher);
    input.check(&rust, before);

    let program = dir.path().join("same");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]).arg("-I").arg(here("include"));
    compiler.arg("-o").arg(&program).args([here("tests/same.c"), library("libdotter.a")]);
    run(compiler.args(["-lpthread", "-ldl", "-lm"]));
    let (c, before) = place("c");
    input.feed(Command::new(&program).arg(&c));
    input.check(&c, before);

    for (with_library, writer) in [(true, "library"), (false, "python")] {
        let (place, before) = place(writer);
        input.feed(python(with_library).arg(here("tests/same.py")).arg(&place).arg(writer));
        input.check(&place, before);
    }
}

/// A Python process that has a ring.
#[derive(Debug)]
struct OtherOwner {
    process: Child,
}

impl OtherOwner {
    fn start(with_library: bool, script: &str, path: &Path) -> OtherOwner {
        let mut command = python(with_library);
        command.arg(here(script)).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = start(&mut command);
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is a pipe")).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        OtherOwner { process }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for OtherOwner {
    fn drop(&mut self) {
        // Where a test fails on the way, nobody is left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn rust_and_python_respect_each_others_rings_and_move_dead_ones_aside() {
    for with_library in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let other = OtherOwner::start(with_library, "tests/owner.py", &path);
        let pid = other.process.id();
        let (ring, dots) = read(&path);
        assert_eq!((ring.owner(), ring.identity().pid, dots[0].value), (Owner::Alive, pid, 1.0));
        match Publisher::create(&path, 1) {
            Err(Error::Owned { pid: found, .. }) => assert_eq!(found, pid),
            other => panic!("{other:?}"),
        }
        other.kill();
        // What was published is there, however it ended.
        assert_eq!((ring.owner(), ring.is_closed(), ring.next_record(0)), (Owner::Dead, false, 1));

        let ours = Publisher::create(&path, 1).unwrap();
        let mut refused = python(with_library);
        let out = refused.arg(here("tests/owner.py")).arg(&path).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(text.contains(&format!("process {} publishes there", std::process::id())), "{text}");
        drop(ours);

        let third = OtherOwner::start(with_library, "tests/owner.py", &path);
        let (ring, dots) = read(&path);
        assert_eq!((ring.owner(), ring.identity().pid, dots.len()), (Owner::Alive, third.process.id(), 1));
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = names.filter(|name| name.to_string_lossy().starts_with("ring.")).count();
        assert_eq!(aside, 2);
    }
}

#[test]
fn a_reader_beside_a_python_writer_sees_whole_records_until_it_is_killed() {
    for with_library in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let writer = OtherOwner::start(with_library, "tests/stream.py", &path);
        let mut ring = RingReader::open(&path).unwrap();
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        let (mut delivered, mut lost) = (0, 0);
        let mut drain = |ring: &mut RingReader| {
            let moved = cursor.drain(ring, usize::MAX, &mut out);
            // Losses and dots together are all numbers from the first to the next; a dot's value is its number.
            let gone = |number: &u64| out.losses.iter().any(|loss| (loss.first..loss.next).contains(number));
            let numbers: Vec<u64> = (out.first..out.next).filter(|number| !gone(number)).collect();
            assert_eq!(numbers.len(), out.dots.len());
            for (number, dot) in numbers.iter().zip(&out.dots) {
                let time = if number % 50 == 0 { number + (1 << 60) } else { *number };
                assert_eq!((dot.value, dot.time.nanos()), (*number as f64, time));
            }
            delivered += out.dots.len() as u64;
            lost += out.losses.iter().map(|loss| loss.next - loss.first).sum::<u64>();
            out.clear();
            moved
        };
        // Many laps of its 4032 dots, with a reader that is at the newest block most of the time.
        while ring.next_record(0) < 100_000 {
            drain(&mut ring);
        }
        writer.kill();
        assert_eq!(ring.owner(), Owner::Dead);
        while drain(&mut ring) > 0 {}
        assert_eq!(delivered + lost, ring.next_record(0));
        assert!(delivered > 4000, "{delivered} delivered, {lost} lost");
    }
}
