//! What the codecs make of the store's workloads: bytes a dot, all in, and dots in and out a second of one core.
//!
//! `cargo run --release -p dotter-store --example codec [RUNS] [ROWS.gz as text: series time value a line]`
//!
//! Then what reading one dot of a hundred takes, from the middle of each series: microseconds a series.
//!
//! Beside them stand the bits that Gorilla's scheme (delta of delta in ms, XOR) needs for the same dots.

/// The store's own codecs, which it does not offer outside.
#[allow(dead_code, unreachable_pub)]
#[path = "../src/format"]
mod format {
    pub(crate) mod bytes;
    pub(crate) mod codec;
}

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use format::codec::{Span, numbers, texts, times};

const CHUNK: usize = 8192;
/// Checksum, count, flags, tags and lengths of a chunk.
const HEAD_BYTES: usize = 10;
const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_790_000_000 * SECOND;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

#[derive(Clone, Copy)]
enum Times {
    Exact,
    /// Late by 0 up to this many of this many nanoseconds.
    Late(u64, u64),
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Counter,
    Gauge,
    Walk,
    Constant,
}

const SHAPES: [Shape; 4] = [Shape::Counter, Shape::Gauge, Shape::Walk, Shape::Constant];

struct Series {
    times: Vec<u64>,
    words: Vec<u64>,
}

fn series(shape: Shape, stamps: Times, dots: usize, seed: u64) -> Series {
    let mut random = Random(seed);
    let start = START + random.below(10) * SECOND;
    let stamp = |index: usize, random: &mut Random| {
        let late = match stamps {
            Times::Exact => 0,
            Times::Late(count, unit) => random.below(count) * unit,
        };
        start + index as u64 * 10 * SECOND + late
    };
    let times = (0..dots).map(|index| stamp(index, &mut random)).collect();
    let (mut total, mut cents, mut walk) = (random.below(1_000_000), 5000_i64, 50.0 + 50.0 * random.unit());
    let constant = random.below(1000) as f64;
    let mut value = || match shape {
        Shape::Counter => {
            total += random.below(21);
            total as f64
        }
        Shape::Gauge => {
            cents = (cents + random.below(101) as i64 - 50).clamp(0, 10_000);
            cents as f64 / 100.0
        }
        Shape::Walk => {
            walk += 0.1 * random.normal();
            walk
        }
        Shape::Constant => constant,
    };
    Series { times, words: (0..dots).map(|_| value().to_bits()).collect() }
}

fn mix(count: u64, dots: usize, stamps: Times, shapes: &[Shape]) -> Vec<Series> {
    (0..count).map(|n| series(shapes[n as usize % shapes.len()], stamps, dots, n)).collect()
}

/// What one host's node_exporter says: all series of a scrape share its stamp, late by up to 40 ms.
///
/// Of ten series three never change, two are counters that rarely move (errors, restarts), two are counters that move
/// with each scrape (seconds of CPUs in hundredths, bytes of a network), one is a gauge that keeps its value for a while
/// (processes, sockets), one a gauge of bytes in pages, one a bucket of a histogram.
fn node(count: u64, dots: usize, jitter: Times) -> Vec<Series> {
    let mut random = Random(99);
    let late = |random: &mut Random| match jitter {
        Times::Exact => 0,
        Times::Late(count, unit) => random.below(count) * unit,
    };
    let stamps: Vec<u64> = (0..dots as u64).map(|n| START + n * 15 * SECOND + late(&mut random)).collect();
    let one = |number: u64| {
        let mut random = Random(number);
        let bits = random.below(20);
        let rate = 1 + random.below(1 << bits);
        let mut total = random.below(1 << 30);
        let value = move || {
            match number % 10 {
                0..=2 => return total as f64,
                3 | 4 => total += u64::from(random.below(100 + rate % 900) == 0) * (1 + random.below(3)),
                5 => {
                    total += random.below(1 + rate % 1500);
                    return total as f64 / 100.0;
                }
                6 => total += rate * 1500 + random.below(rate * 300 + 1),
                7 => {
                    if random.below(12) == 0 {
                        total = (1000 + total % 64 + random.below(21)).saturating_sub(10);
                    }
                }
                8 => {
                    total = (total + random.below(2001)).saturating_sub(1000);
                    return total as f64 * 4096.0;
                }
                _ => total += (0..15).filter(|_| random.below(100) < rate % 100).count() as u64,
            }
            total as f64
        };
        let words = std::iter::repeat_with(value).take(dots).map(f64::to_bits).collect();
        Series { times: stamps.clone(), words }
    };
    (0..count).map(one).collect()
}

/// One chunk: tags and places of its two parts in the bytes.
struct Chunk {
    count: usize,
    tags: [u8; 2],
    ends: [usize; 2],
}

fn encode(all: &[Series], out: &mut Vec<u8>, chunks: &mut Vec<Chunk>) {
    for series in all {
        for (stamps, words) in series.times.chunks(CHUNK).zip(series.words.chunks(CHUNK)) {
            let time_tag = times::encode(stamps, out);
            let time_end = out.len();
            let tag = numbers::encode(b'F', words, out);
            chunks.push(Chunk { count: stamps.len(), tags: [time_tag, tag], ends: [time_end, out.len()] });
        }
    }
}

fn decode(bytes: &[u8], chunks: &[Chunk], mut each: impl FnMut(&[u64], &[u64])) {
    let (mut stamps, mut words, mut start) = (Vec::new(), Vec::new(), 0);
    for chunk in chunks {
        stamps.clear();
        words.clear();
        let [middle, end] = chunk.ends;
        times::decode(chunk.tags[0], &bytes[start..middle], chunk.count, Span::default(), &mut stamps)
            .expect("just encoded");
        numbers::decode(b'F', chunk.tags[1], &bytes[middle..end], chunk.count, &mut words)
            .expect("just encoded");
        each(&stamps, &words);
        start = end;
    }
}

/// Decodes a hundredth of the dots of each series, and gives how many those are.
fn decode_part(all: &[Series], bytes: &[u8], chunks: &[Chunk]) -> usize {
    let (mut stamps, mut words, mut start, mut dots) = (Vec::new(), Vec::new(), 0, 0);
    let mut chunks = chunks.iter();
    for series in all {
        let middle = series.times.len() / 2;
        let until = series.times.get(middle + series.times.len().div_ceil(100));
        let span = Span { from: series.times[middle], until: until.copied() };
        for (part, chunk) in series.times.chunks(CHUNK).zip(&mut chunks) {
            let [middle, end] = chunk.ends;
            let wanted = span.of(part);
            if !wanted.is_empty() {
                stamps.clear();
                words.clear();
                times::decode(chunk.tags[0], &bytes[start..middle], chunk.count, span, &mut stamps)
                    .expect("just encoded");
                numbers::decode_part(
                    b'F',
                    chunk.tags[1],
                    &bytes[middle..end],
                    chunk.count,
                    wanted,
                    &mut words,
                )
                .expect("just encoded");
                dots += words.len();
            }
            start = end;
        }
    }
    dots
}

/// What this thread has run for: others share the machine. Wall time where the system does not say.
fn busy() -> Duration {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let begun = BEGUN.get_or_init(Instant::now);
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

/// Min, median and max.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (min, median, max) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    format!("{min:6.1} {median:6.1} {max:6.1}")
}

fn measure(name: &str, all: &[Series], runs: usize) {
    let dots: usize = all.iter().map(|series| series.times.len()).sum();
    let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
    let (mut ins, mut outs, mut parts_out) = (Vec::new(), Vec::new(), Vec::new());
    // The clock of a thread moves in steps of a few ms.
    let repeats = 5_000_000_usize.div_ceil(dots);
    for _ in 0..runs {
        let begun = busy();
        for _ in 0..repeats {
            bytes.clear();
            chunks.clear();
            encode(all, &mut bytes, &mut chunks);
        }
        ins.push((dots * repeats) as f64 / 1e6 / (busy() - begun).as_secs_f64());
        let begun = busy();
        for _ in 0..4 * repeats {
            decode(&bytes, &chunks, |stamps, words| {
                black_box((stamps, words));
            });
        }
        outs.push((4 * dots * repeats) as f64 / 1e6 / (busy() - begun).as_secs_f64());
        let begun = busy();
        let repeats = 20_000_usize.div_ceil(all.len());
        for _ in 0..repeats {
            black_box(decode_part(all, &bytes, &chunks));
        }
        parts_out.push((busy() - begun).as_secs_f64() * 1e6 / (repeats * all.len()) as f64);
    }
    let mut expected = all.iter().flat_map(|series| series.times.iter().zip(&series.words));
    decode(&bytes, &chunks, |stamps, words| {
        for pair in stamps.iter().zip(words) {
            assert_eq!(Some(pair), expected.next());
        }
    });
    let (mut parts, mut start) = ([0, 0], 0);
    let (mut time_tags, mut tags) = (BTreeMap::new(), BTreeMap::new());
    for chunk in &chunks {
        parts[0] += chunk.ends[0] - start;
        parts[1] += chunk.ends[1] - chunk.ends[0];
        start = chunk.ends[1];
        *time_tags.entry(chunk.tags[0]).or_insert(0) += 1;
        *tags.entry(chunk.tags[1]).or_insert(0) += 1;
    }
    let a_dot = |bytes: usize| bytes as f64 / dots as f64;
    let gorilla: u64 = all.iter().map(|series| gorilla_bits(&series.times, &series.words)).sum();
    println!(
        "{name:<26} {:5.2} {:5.2} {:6.3} | {:5.2} | {} | {} | {} | {time_tags:?} {tags:?}",
        a_dot(parts[0]),
        a_dot(parts[1]),
        a_dot(bytes.len() + HEAD_BYTES * chunks.len()),
        a_dot(gorilla as usize / 8),
        spread(ins),
        spread(outs),
        spread(parts_out),
    );
}

/// Bits of Gorilla's scheme: Pelkonen et al., VLDB 2015, with Prometheus' steps for times in ms, chunks of 120.
fn gorilla_bits(times: &[u64], words: &[u64]) -> u64 {
    let mut bits = 0;
    for (times, words) in times.chunks(120).zip(words.chunks(120)) {
        bits += 128 + 32;
        let mut delta = 0;
        for pair in times.windows(2) {
            let now = pair[1] as i64 / 1_000_000 - pair[0] as i64 / 1_000_000;
            bits += match (now - delta).unsigned_abs() {
                0 => 1,
                1..=8191 => 16,
                8192..=65535 => 20,
                65536..=524_287 => 24,
                _ => 68,
            };
            delta = now;
        }
        let (mut lead, mut trail) = (65, 0);
        for pair in words.windows(2) {
            let xor = pair[0] ^ pair[1];
            if xor == 0 {
                bits += 1;
                continue;
            }
            let (l, t) = (xor.leading_zeros().min(31), xor.trailing_zeros());
            if lead <= l && trail <= t {
                bits += 2 + (64 - lead - trail) as u64;
            } else {
                (lead, trail) = (l, t);
                bits += 13 + (64 - l - t) as u64;
            }
        }
    }
    bits
}

/// `series time value` a line, as `%Y-%m-%dT%H:%M:%S`; later lines win.
fn read_rows(text: &str) -> Vec<Series> {
    let mut all: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    for line in text.lines() {
        let [name, time, value] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let part = |from: usize, to: usize| time[from..to].parse::<u64>().unwrap_or(0);
        let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
        // Days since 1970 of the proleptic Gregorian calendar, years starting in March.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days =
            year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
        let second = days * 86_400 + part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19);
        let value: f64 = value.parse().unwrap_or(f64::NAN);
        all.entry(name).or_default().insert(second * SECOND, value.to_bits());
    }
    let columns = |dots: BTreeMap<u64, u64>| {
        let (times, words) = dots.into_iter().unzip();
        Series { times, words }
    };
    all.into_values().map(columns).collect()
}

fn lines(count: usize) -> (Vec<u64>, Vec<String>) {
    let mut random = Random(7);
    let (mut time, mut request) = (START, 1_000_000);
    let paths = ["/api/users", "/api/order", "/api/items", "/api/login", "/img/logos"];
    let levels = ["INFO ", "INFO ", "INFO ", "INFO ", "INFO ", "INFO ", "WARN ", "ERROR"];
    (0..count)
        .map(|_| {
            time += random.below(12_000) * 1000;
            request += 1 + random.below(3);
            let line = format!(
                "{} web-{:02} GET {} {} {:4} ms req={:07} ok",
                levels[random.below(8) as usize],
                random.below(16),
                paths[random.below(5) as usize],
                [200, 200, 200, 200, 304, 404, 500][random.below(7) as usize],
                random.below(40) * random.below(40),
                request
            );
            (time, line)
        })
        .unzip()
}

fn measure_lines(runs: usize) {
    let (stamps, lines) = lines(300_000);
    let rows: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let (mut ins, mut outs, mut bytes, mut chunks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        bytes.clear();
        chunks.clear();
        let begun = busy();
        for (stamps, rows) in stamps.chunks(CHUNK).zip(rows.chunks(CHUNK)) {
            let time_tag = times::encode(stamps, &mut bytes);
            let middle = bytes.len();
            let tag = texts::encode(rows, &mut bytes);
            chunks.push(Chunk { count: rows.len(), tags: [time_tag, tag], ends: [middle, bytes.len()] });
        }
        ins.push(rows.len() as f64 / 1e6 / (busy() - begun).as_secs_f64());
        let begun = busy();
        let (mut times_out, mut lens, mut heap, mut start) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for chunk in &chunks {
            times_out.clear();
            lens.clear();
            heap.clear();
            let [middle, end] = chunk.ends;
            times::decode(chunk.tags[0], &bytes[start..middle], chunk.count, Span::default(), &mut times_out)
                .expect("just encoded");
            texts::decode(chunk.tags[1], &bytes[middle..end], chunk.count, &mut lens, &mut heap)
                .expect("just encoded");
            black_box((&times_out, &lens, &heap));
            start = end;
        }
        outs.push(rows.len() as f64 / 1e6 / (busy() - begun).as_secs_f64());
    }
    let row = |bytes: usize| bytes as f64 / rows.len() as f64;
    let (mut parts, mut start) = ([0, 0], 0);
    for chunk in &chunks {
        parts[0] += chunk.ends[0] - start;
        parts[1] += chunk.ends[1] - chunk.ends[0];
        start = chunk.ends[1];
    }
    let raw: usize = lines.iter().map(String::len).sum();
    println!(
        "{:<26} {:5.2} {:5.2} {:6.3} | {:5.2} | {} | {} |",
        "log lines",
        row(parts[0]),
        row(parts[1]),
        row(bytes.len() + HEAD_BYTES * chunks.len()),
        row(raw),
        spread(ins),
        spread(outs)
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let runs: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    println!(
        "bytes a dot: times, values, with {HEAD_BYTES} B of head | Gorilla | M dots in, then out, a second of CPU, us a series for a part: min median max | tags"
    );
    let ms = Times::Late(41, 1_000_000);
    measure("a 1000 x 10k exact", &mix(1000, 10_000, Times::Exact, &SHAPES), runs);
    measure("a 1000 x 10k 0..40 ms late", &mix(1000, 10_000, ms, &SHAPES), runs);
    for (name, shape) in
        [("  counter", SHAPES[0]), ("  gauge", SHAPES[1]), ("  walk", SHAPES[2]), ("  constant", SHAPES[3])]
    {
        measure(name, &mix(100, 10_000, ms, &[shape]), runs);
    }
    measure("  late in us", &mix(100, 10_000, Times::Late(40_001, 1000), &SHAPES), runs);
    measure("  late in ns", &mix(100, 10_000, Times::Late(40_000_001, 1), &SHAPES), runs);
    measure("b 100k x 100 exact", &mix(100_000, 100, Times::Exact, &SHAPES), runs);
    measure("b 100k x 100 0..40 ms late", &mix(100_000, 100, ms, &SHAPES), runs);
    for (name, shape) in
        [("  counter", SHAPES[0]), ("  gauge", SHAPES[1]), ("  walk", SHAPES[2]), ("  constant", SHAPES[3])]
    {
        measure(name, &mix(10_000, 100, Times::Exact, &[shape]), runs);
    }
    measure("node_exporter exact", &node(600, 5000, Times::Exact), runs);
    measure("node_exporter ms late", &node(600, 5000, ms), runs);
    for (kind, name) in [
        "  constants",
        "",
        "",
        "  rarely",
        "",
        "  cpu seconds",
        "  bytes",
        "  kept gauge",
        "  pages",
        "  buckets",
    ]
    .into_iter()
    .enumerate()
    .filter(|(_, name)| !name.is_empty())
    {
        let all: Vec<Series> = node(600, 5000, Times::Exact).into_iter().skip(kind).step_by(10).collect();
        measure(name, &all, runs);
    }
    measure_lines(runs);
    if let Some(path) = args.next() {
        let all = read_rows(&std::fs::read_to_string(path)?);
        measure("rows of the file", &all, runs);
    }
    Ok(())
}
