//! The Python package: its own tests, and that its files are those of Rust and of C.

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Read, fenced, here, library, read, rings, rows, run, start};
use dotter_publisher::{Cell as _, Error, Number, Publisher, Timestamp};
use dotter_ring::directory::{self, Place};
use dotter_ring::{Drained, LaneCursor, Owner, RingReader, Value};

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
    // Python comes without pip where a system packs it apart.
    let pip = python(false).args(["-c", "import pip"]).stderr(Stdio::null()).status().unwrap().success();
    let expected = if pip { "\nOK\n" } else { "\nOK (skipped=1)\n" };
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_program_on_the_page_publishes_through_either_writer() {
    for with_library in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let program = fenced("../python/README.md", "python") + "checkout(7)\n";
        run(python(with_library).args(["-W", "error", "-c", &program]).env("DOTTER_DIR", dir.path()));
        let found = rows(&rings(dir.path())[0]);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.contains(&"shop.log s [] \"order 7 is through\"".to_owned()), "{found:?}");
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    /// From a seed that is printed and taken back as DOTTER_SEED.
    fn new() -> Random {
        let seed =
            std::env::var("DOTTER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
            });
        println!("DOTTER_SEED={seed}");
        Random(seed | 1)
    }

    /// Source: Marsaglia, Xorshift RNGs (2003), with a multiplication behind it.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next() as usize % all.len()]
    }

    /// A time near the last ones, far from them, or at an end of what there is.
    fn time(&mut self, index: u64) -> u64 {
        let start = 1_700_000_000_000_000_000;
        match self.next() % 8 {
            0..=4 => start + index * 1_000_000,
            5 | 6 => start - (1 << 59) + (self.next() << 12),
            _ => self.of(&[0, 1, u64::MAX, 1 << 63]),
        }
    }

    fn f64(&mut self) -> f64 {
        match self.next() % 4 {
            0 => self.of(&[f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 5e-324]),
            _ => self.next() as f64 / 7.0 - 1e13,
        }
    }

    /// A number of a letter, as Rust, C and Python read it, and its word.
    fn number(&mut self, letter: char) -> (String, u64) {
        let word = self.next() << 32 ^ self.next();
        match letter {
            'F' => {
                let value = self.f64();
                (format!("{value:?}"), value.to_word())
            }
            'f' => {
                let value = self.of(&[0.1, -0.0, 3.402_823_5e38, 1e-45, f32::NEG_INFINITY, -7.25]);
                (format!("{value:?}"), value.to_word())
            }
            'I' => (format!("{}", word as i64), word),
            'U' => (format!("{word}"), word),
            'i' => (format!("{}", word as i32), (word as i32).to_word()),
            _ => (format!("{}", word as u32), (word as u32).to_word()),
        }
    }
}

/// One dot, as the programs read it and as Rust publishes it.
struct Sample {
    letters: String,
    name: String,
    unit: &'static str,
    time: Option<u64>,
    value: String,
    words: Vec<u64>,
}

impl Sample {
    /// What the hex digits of a sample of raw bytes stand for.
    fn bytes(&self) -> Vec<u8> {
        let (pairs, _) = self.value.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.iter().map(byte).collect()
    }

    fn publish(&self, publisher: &Publisher) {
        match (&*self.letters, self.words.as_slice(), self.time.map(Timestamp::from_nanos)) {
            ("F", [word], time) => dot(publisher, self, f64::from_bits(*word), time),
            ("f", [word], time) => dot(publisher, self, f32::from_bits(*word as u32), time),
            ("I", [word], time) => dot(publisher, self, *word as i64, time),
            ("U", [word], time) => dot(publisher, self, *word, time),
            ("s", _, None) => publisher.text(&self.name, &self.value).unwrap(),
            ("s", _, Some(time)) => publisher.lines(&self.name).unwrap().line_at(time, &self.value),
            ("b", _, time) => {
                let series = publisher.bytes(&self.name).unwrap();
                let bytes = self.bytes();
                time.map_or_else(|| series.dot(&bytes), |time| series.dot_at(time, &bytes));
            }
            (letters, words, time) => {
                let columns: Vec<String> = (0..words.len()).map(|index| format!("c{index}")).collect();
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                let letters = letters.trim_matches(['(', ')']);
                let row = publisher.any_row(&self.name, letters, &columns).unwrap();
                time.map_or_else(|| row.dot(words), |time| row.dot_at(time, words));
            }
        }
    }
}

fn dot<N: Number>(publisher: &Publisher, sample: &Sample, value: N, time: Option<Timestamp>) {
    let series = publisher.series_of(&sample.name).unwrap();
    let series = if sample.unit.is_empty() { series } else { series.unit(sample.unit) };
    time.map_or_else(|| series.dot(value), |time| series.dot_at(time, value));
}

fn lines(samples: &[Sample]) -> String {
    let mut lines = String::new();
    for Sample { letters, name, unit, time, value, .. } in samples {
        let time = time.map_or("now".to_owned(), |time| time.to_string());
        writeln!(lines, "{letters}\t{name}\t{unit}\t{time}\t{value}").unwrap();
    }
    lines
}

/// Publishes samples in Rust, C, and Python both ways, each into a directory of its own; gives their rings.
fn publish_everywhere(samples: &[Sample], dir: &Path) -> Vec<PathBuf> {
    let place = |name: &str| {
        let place = dir.join(name);
        std::fs::create_dir(&place).unwrap();
        place
    };
    let feed = |command: &mut Command| {
        let mut child = start(command.stdin(Stdio::piped()));
        child.stdin.take().expect("it is a pipe").write_all(lines(samples).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let rust = place("rust");
    let publisher = Publisher::options().application("same").path(&rust).open().unwrap();
    samples.iter().for_each(|sample| sample.publish(&publisher));
    drop(publisher);

    let program = dir.join("same");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]).arg("-I").arg(here("include"));
    compiler.arg("-o").arg(&program).args([here("tests/same.c"), library("libdotter.a")]);
    run(compiler.args(["-lpthread", "-ldl", "-lm"]));
    let c = place("c");
    feed(Command::new(&program).arg(&c));

    let mut places = vec![rust, c];
    for (with_library, writer) in [(true, "library"), (false, "python")] {
        let place = place(writer);
        feed(python(with_library).arg(here("tests/same.py")).arg(&place).arg(writer));
        places.push(place);
    }
    let ring = |place: PathBuf| match &rings(&place)[..] {
        [path] => path.clone(),
        others => panic!("{place:?} holds {others:?}"),
    };
    places.into_iter().map(ring).collect()
}

#[test]
fn rust_c_and_python_write_the_same_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let names =
        [("plain", ""), ("latency;host=a;path=größe", "ms"), ("b;x=1;y=2", "°C"), ("plain.seconds", "s")];
    let samples: Vec<Sample> = (0..1000)
        .map(|index| {
            let (name, unit) = random.of(&names);
            let time = (random.next() % 8 > 2).then(|| random.time(index));
            let value = random.f64();
            let (letters, name, words) = ("F".to_owned(), name.to_owned(), vec![value.to_bits()]);
            Sample { letters, name, unit, time, value: format!("{value:?}"), words }
        })
        .collect();
    let before = Timestamp::now().nanos() - 20_000;
    for path in publish_everywhere(&samples, dir.path()) {
        let after = Timestamp::now().nanos() + 20_000;
        let (ring, dots) = read(&path);
        assert_eq!((ring.application(), ring.is_closed(), ring.owner()), ("same", true, Owner::Dead));
        assert_eq!(dots.len(), samples.len());
        for (index, (dot, sample)) in dots.into_iter().zip(&samples).enumerate() {
            assert_eq!(dot.value.to_bits(), sample.words[0], "dot {index}");
            let clock = sample.time.is_none();
            assert!(!clock || (before..=after).contains(&dot.nanos), "dot {index}: {}", dot.nanos);
            let (nanos, value) = (sample.time.unwrap_or(dot.nanos), dot.value);
            let (name, unit) = (sample.name.clone(), sample.unit.to_owned());
            assert_eq!(dot, Read { name, unit, clock, nanos, value }, "dot {index}");
        }
    }
}

#[test]
fn rust_c_and_python_write_the_same_bytes_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let wide = format!("({})", &"FfIUiu".repeat(11)[..64]);
    let samples: Vec<Sample> = (0..2000)
        .map(|index| {
            let letters =
                random.of(&["F", "f", "I", "U", "s", "b", "(F)", "(FfIUiu)", "(UUI)", &wide]).to_owned();
            let (value, words) = if letters == "s" {
                let text: String = "Grüße an alle, die lesen; ".chars().cycle().take(30).collect();
                (text.repeat(random.next() as usize % 8), Vec::new())
            } else if letters == "b" {
                // Hardly ever UTF-8.
                let count = random.next() % 80;
                ((0..count).map(|_| format!("{:02x}", random.next() as u8)).collect(), Vec::new())
            } else {
                let columns = letters.trim_matches(['(', ')']).chars();
                let (texts, words): (Vec<_>, _) = columns.map(|letter| random.number(letter)).unzip();
                (texts.join(" "), words)
            };
            let (name, time) = (format!("series.{}", letters.len()), Some(random.time(index)));
            // Without a unit, which is another number of a series here than there.
            Sample { letters, name, unit: "", time, value, words }
        })
        .collect();
    let paths = publish_everywhere(&samples, dir.path());
    let expected: Vec<String> = samples
        .iter()
        .map(|sample| {
            let Sample { letters, name, time, value, words, .. } = sample;
            let time = time.expect("each has one");
            let (letters, value) = match letters.strip_prefix('(') {
                Some(letters) => {
                    let names: Vec<String> = (0..words.len()).map(|index| format!("c{index}")).collect();
                    (letters.replace(')', &format!("({})", names.join(", "))), value.clone())
                }
                None if letters == "b" => (letters.clone(), format!("{:02x?}", sample.bytes())),
                None if letters == "s" => (letters.clone(), format!("{value:?}")),
                None => (letters.clone(), value.clone()),
            };
            format!("{name} {letters} [] @{time} {value}")
        })
        .collect();
    let bytes = written(&paths[0]);
    assert!(bytes.1.len() > 20 * 4096, "{} bytes: the samples fill blocks", bytes.1.len());
    for path in &paths {
        assert_eq!(rows(path), expected, "{}", path.display());
        assert!(written(path) == bytes, "{} has other bytes", path.display());
    }
}

/// What a writer has written into registry and first lane, without what belongs to its time and place.
fn written(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let (control, data, registry) = (word(112), word(120), word(128));
    let mut lane = file[data..data + word(control)].to_vec();
    for block in lane.chunks_mut(4096) {
        // `realtime`, `ticks`, `base_ticks` and `incarnation`: `base_realtime` is the first dot's time.
        block[16..40].fill(0);
        block[48..56].fill(0);
    }
    (file[registry..registry + word(registry)].to_vec(), lane)
}

#[test]
fn python_leaves_the_stubs_that_the_library_leaves_whatever_the_rings_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let options = Publisher::options().application("dead").lanes_max(2).registry_bytes(4096);
    let publisher = options.lane_bytes(1 << 16).path(dir.path()).open().unwrap();
    let (numbers, texts) = (publisher.series("a").unwrap(), publisher.lines("b").unwrap());
    let row = publisher.row::<[u64; 5]>("c", &["0", "1", "2", "3", "4"]).unwrap();
    for index in 0..6000 {
        match random.next() % 4 {
            0 => numbers.dot(1.0),
            1 => numbers.dot_at(Timestamp::from_nanos(random.time(index)), 2.0),
            2 => texts.line(&"text".repeat(random.next() as usize % 9)),
            _ => row.dot([index; 5]),
        }
    }
    texts.line(&"x".repeat(5000));
    let path = publisher.path();
    // The thread still holds a lane of it, but its bytes are final once it is closed.
    drop((publisher, numbers, texts, row));
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();

    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap()) as usize;
    let (control, lane) = (word(112), word(120));
    let newest = lane + (word(control) - 1) % (1 << 16) / 4096 * 4096;
    let places = [dir.path().join("rust"), dir.path().join("python")];
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    for number in 0..200 {
        let mut ring = whole.clone();
        // The first is as it was; the others are damaged where their records are counted.
        for _ in 0..number.min(3) {
            let (from, bytes) = random.of(&[(control, 40), (newest, 64), (newest, 4096), (lane, 1 << 16)]);
            ring[from + random.next() as usize % bytes] ^= 1 << (random.next() % 8);
        }
        if number % 10 == 9 {
            ring[lane..].chunks_mut(4096).take(number / 10).for_each(|block| block[..64].fill(0));
        }
        for place in &places {
            std::fs::write(place.join(format!("dead.{number:032x}.dots")), &ring).unwrap();
        }
    }
    directory::make_room(&Place::Directory(places[0].clone()), 0).unwrap();
    let program =
        "import sys, pathlib; from dotter import _room; _room.make_room(pathlib.Path(sys.argv[1]), None, 0)";
    run(python(false).args(["-W", "error", "-c", program]).arg(&places[1]));

    let left = |place: &Path| {
        let names = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
        let mut all: Vec<_> =
            names.map(|name| (name.clone(), std::fs::read(place.join(&name)).unwrap())).collect();
        all.sort();
        all
    };
    let (ours, theirs) = (left(&places[0]), left(&places[1]));
    assert_eq!(ours.len(), 200);
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert!(ours == theirs, "{:?} beside {:?}", ours.0, theirs.0);
        assert!(ours.0.to_string_lossy().ends_with(".gone"), "{:?} was left", ours.0);
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
                assert_eq!(dot.time.nanos(), time);
                match out.value(dot) {
                    Value::F64(value) => assert_eq!(value, *number as f64),
                    Value::Text(line) => {
                        let expected = format!("{number} ").repeat(*number as usize % 20);
                        assert_eq!(line, expected.as_bytes());
                    }
                    value => assert_eq!(value, Value::Row(&[*number; 7])),
                }
            }
            delivered += out.dots.len() as u64;
            lost += out.losses.iter().map(|loss| loss.next - loss.first).sum::<u64>();
            out.clear();
            moved
        };
        // Many laps of its 64 KiB, with a reader that is at the newest block most of the time.
        while ring.next_record(0) < 100_000 {
            drain(&mut ring);
        }
        writer.kill();
        assert_eq!(ring.owner(), Owner::Dead);
        while drain(&mut ring) > 0 {}
        assert_eq!(delivered + lost, ring.next_record(0));
        assert!(delivered > 1000, "{delivered} delivered, {lost} lost");
    }
}
