//! What is kept and read again: the same dots for everyone, made anew from the same seeds each time.
//!
//! A series' values come from its number alone, so whoever reads can say what one of them must hold without having
//! kept the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, node};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// Far enough back that no clock takes it for the future.
const START: u64 = 1_700_000_000 * SECOND;
/// What stands between two dots of a series.
const STEP: u64 = 10 * SECOND;
/// By how many milliseconds a scrape may be late, where scrapes are late.
const LATE_MS: u64 = 40;

/// Which of the workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1,000 series of 10,000 dots, in commits of 10,000.
    Long,
    /// The same in commits of 1,000; only its way in is measured.
    Small,
    /// 100,000 series of 100 dots.
    Wide,
    /// Real series from a file.
    Real,
    /// Two hosts as node_exporter shows them, 5,000 scrapes each; all series of a scrape have one stamp, an even one.
    Node,
    /// The same; a scrape is late by some milliseconds.
    NodeLate,
    /// 1,000,000 series of 20 dots.
    Million,
    /// As many dots as those of `Million`, in 1,000 series.
    Few,
    /// 1,000 series of 1,000,000 dots: how long a pace is kept.
    Sustained,
}

/// The workloads that others are compared by.
pub(crate) const KINDS: [Kind; 7] =
    [Kind::Long, Kind::Small, Kind::Wide, Kind::Real, Kind::Node, Kind::NodeLate, Kind::Million];
/// Those that show how Dotter's store grows.
const GROWTH_KINDS: [Kind; 2] = [Kind::Few, Kind::Sustained];

impl Kind {
    pub(crate) fn find(word: &str) -> Option<Kind> {
        KINDS.into_iter().chain(GROWTH_KINDS).find(|kind| kind.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Long => "long",
            Kind::Small => "small",
            Kind::Wide => "wide",
            Kind::Real => "nab",
            Kind::Node => "node",
            Kind::NodeLate => "node-late",
            Kind::Million => "million",
            Kind::Few => "few",
            Kind::Sustained => "sustained",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Long => "1,000 series x 10,000 dots, tick by tick, 10,000 dots a commit",
            Kind::Small => "1,000 series, tick by tick, 1,000 dots a commit",
            Kind::Wide => "100,000 series x 100 dots, tick by tick, 10,000 dots a commit",
            Kind::Real => "real series, merged by time, 10,000 dots a commit",
            Kind::Node => "2 hosts x 800 series of node_exporter, 5,000 even scrapes, 10,000 dots a commit",
            Kind::NodeLate => "the same, scrapes late by 0 to 40 ms",
            Kind::Million => "1,000,000 series x 20 dots, tick by tick, 10,000 dots a commit",
            Kind::Few => "1,000 series x 20,000 dots, tick by tick, 10,000 dots a commit",
            Kind::Sustained => "1,000 series x 1,000,000 dots, tick by tick, 10,000 dots a commit",
        }
    }
}

/// Dots that are committed together.
#[derive(Default)]
pub(crate) struct Batch {
    /// Numbers of series.
    pub(crate) series: Vec<u32>,
    /// Nanoseconds since 1970; those of a series ascend.
    pub(crate) times: Vec<u64>,
    pub(crate) values: Vec<f64>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn push(&mut self, series: u32, time: u64, value: f64) {
        self.series.push(series);
        self.times.push(time);
        self.values.push(value);
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.times.clear();
        self.values.clear();
    }
}

/// What reading is held to: however many dots, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) dots: u64,
    times: u64,
    bits: u64,
    /// Only where values may come back changed.
    value: f64,
}

impl Sum {
    #[inline]
    pub(crate) fn add(&mut self, time: u64, value: f64) {
        self.dots += 1;
        self.times = self.times.wrapping_add(time);
        self.bits = self.bits.wrapping_add(value.to_bits());
    }

    /// As `add`, for who gives back values that are only nearly those that were given.
    pub(crate) fn add_nearly(&mut self, time: u64, value: f64) {
        self.add(time, value);
        self.value += value;
    }

    pub(crate) fn join(&mut self, other: &Sum) {
        self.dots += other.dots;
        self.times = self.times.wrapping_add(other.times);
        self.bits = self.bits.wrapping_add(other.bits);
        self.value += other.value;
    }

    /// `None` where it is not what was to be read; else whether it is so bit by bit.
    pub(crate) fn is(&self, expected: &Sum) -> Option<bool> {
        if (self.dots, self.times) != (expected.dots, expected.times) {
            return None;
        }
        if self.bits == expected.bits {
            return Some(true);
        }
        let nearly = (self.value - expected.value).abs() <= 1e-9 * expected.value.abs();
        nearly.then_some(false)
    }
}

/// One workload at one size.
pub(crate) struct Work {
    pub(crate) kind: Kind,
    /// By number, sorted by bytes.
    pub(crate) names: Vec<String>,
    pub(crate) commit_dots: usize,
    /// Dots of each series, where they are made.
    pub(crate) ticks: u64,
    /// Series of a host.
    pub(crate) together: u32,
    real: Vec<(u64, u32, f64)>,
    /// How the series of a host move, where they are those of node_exporter.
    motions: Vec<node::Motion>,
}

impl Work {
    /// - `share`: of the series, or of the ticks where commits are small, for who is too slow for all of it
    /// - `file`: where the real series lie
    pub(crate) fn new(kind: Kind, share: f64, file: Option<&Path>) -> Result<Work, Failure> {
        let part = |count: u64| ((count as f64 * share) as u64).max(1);
        let (hosts, together, ticks, commit_dots) = match kind {
            Kind::Long => (part(100), 10, 10_000, 10_000),
            Kind::Small => (100, 10, part(2_000), 1_000),
            Kind::Wide => (part(100), 1_000, 100, 10_000),
            Kind::Real => return Work::real(file.ok_or("there is no file of real series")?),
            Kind::Node | Kind::NodeLate => (2, node::SERIES, part(5_000), 10_000),
            Kind::Million => (part(1_000), 1_000, 20, 10_000),
            Kind::Few => (100, 10, part(20_000), 10_000),
            Kind::Sustained => (100, 10, part(1_000_000), 10_000),
        };
        let (suffixes, motions): (Vec<String>, Vec<node::Motion>) = match kind {
            Kind::Node | Kind::NodeLate => node::host().into_iter().unzip(),
            Kind::Million => {
                ((0..together).map(|of| format!("{MILLION_SUFFIX}{of:03}")).collect(), Vec::new())
            }
            _ => ((0..together).map(|of| format!("metric_{of:03}")).collect(), Vec::new()),
        };
        let names = (0..hosts).flat_map(|host| {
            let prefix = prefix(host as u32);
            suffixes.iter().map(move |suffix| format!("{prefix}{suffix}"))
        });
        Ok(Work { kind, names: names.collect(), commit_dots, ticks, together, real: Vec::new(), motions })
    }

    /// `name time value` a line, gzipped or not, times as `2014-04-01T00:00:00`; later lines win.
    fn real(file: &Path) -> Result<Work, Failure> {
        let mut unpack = Command::new("gzip").arg("-dcf").arg(file).stdout(Stdio::piped()).spawn()?;
        let text = std::io::read_to_string(unpack.stdout.take().ok_or("gzip has an output")?)?;
        if !unpack.wait()?.success() {
            return Err(format!("cannot unpack {}", file.display()).into());
        }
        let mut all: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
        for line in text.lines() {
            let [name, time, value] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("{line:?} is not a name, a time and a value").into());
            };
            all.entry(name).or_default().insert(parse_time(time)?, value.parse()?);
        }
        let mut real: Vec<_> = all
            .values()
            .zip(0..)
            .flat_map(|(dots, number)| dots.iter().map(move |(time, value)| (*time, number, *value)))
            .collect();
        real.sort_by_key(|(time, number, _)| (*time, *number));
        let names = all.keys().map(|name| (*name).to_owned()).collect();
        Ok(Work {
            kind: Kind::Real,
            names,
            commit_dots: 10_000,
            ticks: 0,
            together: 1,
            real,
            motions: Vec::new(),
        })
    }

    pub(crate) fn dots(&self) -> u64 {
        self.names.len() as u64 * self.ticks + self.real.len() as u64
    }

    /// Gives `commit` everything, in the order in which it happens.
    pub(crate) fn arrive(
        &self,
        mut commit: impl FnMut(&Batch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut batch = Batch::default();
        let mut push = |number, time, value| {
            batch.push(number, time, value);
            if batch.len() < self.commit_dots {
                return Ok(());
            }
            commit(&batch)?;
            batch.clear();
            Ok::<(), Failure>(())
        };
        for (time, number, value) in &self.real {
            push(*number, *time, *value)?;
        }
        let mut all: Vec<Made> = (0..self.names.len() as u32).map(|number| self.made(number)).collect();
        for tick in 0..self.ticks {
            for (host, series) in (0..).zip(all.chunks_mut(self.together as usize)) {
                let (first, time) = (host * self.together, self.time(host, tick));
                for (number, series) in (first..).zip(series) {
                    push(number, time, series.next())?;
                }
            }
        }
        if batch.len() > 0 { commit(&batch) } else { Ok(()) }
    }

    /// When a tick is, for all series of a host.
    fn time(&self, host: u32, tick: u64) -> u64 {
        let late = match self.kind {
            Kind::NodeLate => Random(u64::from(host) << 32 | tick).below(LATE_MS + 1) * 1_000_000,
            _ => 0,
        };
        START + tick * STEP + late
    }

    fn made(&self, number: u32) -> Made {
        if self.motions.is_empty() {
            return Made::Plain(Series::new(u64::from(number)));
        }
        let motion = self.motions[(number % self.together) as usize];
        Made::Node(node::Values::new(u64::from(number), motion))
    }

    /// What a series holds within `range`.
    pub(crate) fn expected(&self, number: u32, range: &std::ops::Range<u64>) -> Sum {
        let mut sum = Sum::default();
        let mut take = |time, value| {
            if range.contains(&time) {
                sum.add_nearly(time, value);
            }
        };
        self.real.iter().filter(|dot| dot.1 == number).for_each(|dot| take(dot.0, dot.2));
        let mut series = self.made(number);
        (0..self.ticks).for_each(|tick| take(self.time(number / self.together, tick), series.next()));
        sum
    }

    /// What series hold together.
    pub(crate) fn expected_of(&self, numbers: std::ops::Range<u32>) -> Sum {
        let mut sum = Sum::default();
        for number in numbers {
            sum.join(&self.expected(number, &(0..u64::MAX)));
        }
        sum
    }

    /// From the first time to behind the last.
    pub(crate) fn span(&self) -> std::ops::Range<u64> {
        match (self.real.first(), self.real.last()) {
            (Some(first), Some(last)) => first.0..last.0 + SECOND,
            _ => START..START + self.ticks * STEP,
        }
    }

    /// A hundredth of the time there is, in the middle of it.
    pub(crate) fn part(&self) -> std::ops::Range<u64> {
        let from = START + self.ticks / 2 * STEP;
        from..from + self.ticks.div_ceil(100) * STEP
    }

    pub(crate) fn hosts(&self) -> u32 {
        self.names.len() as u32 / self.together
    }
}

/// Names of 42 characters: where there are a million of them, they are long.
const MILLION_SUFFIX: &str = "app.http.requests.endpoint_";

/// The name of a series of [`Kind::Million`].
pub(crate) fn million_name(number: u32) -> String {
    format!("{}{MILLION_SUFFIX}{:03}", prefix(number / 1_000), number % 1_000)
}

/// What the names of a host's series begin with.
pub(crate) fn prefix(host: u32) -> String {
    format!("host.web{host:03}.")
}

/// The values of a series, of one workload or another.
enum Made {
    Plain(Series),
    Node(node::Values),
}

impl Made {
    fn next(&mut self) -> f64 {
        match self {
            Made::Plain(series) => series.next(),
            Made::Node(values) => values.next(),
        }
    }
}

/// Values of one series: counters, gauges of two decimals, walks of full precision, constants, equal shares.
struct Series {
    random: Random,
    shape: u64,
    whole: i64,
    walk: f64,
}

impl Series {
    fn new(number: u64) -> Series {
        let mut random = Random(number);
        let shape = number % 4;
        let whole = match shape {
            0 => random.below(1_000_000) as i64,
            1 => 5_000,
            _ => random.below(1_000) as i64,
        };
        let walk = 50.0 + 50.0 * random.unit();
        Series { random, shape, whole, walk }
    }

    fn next(&mut self) -> f64 {
        match self.shape {
            0 => {
                self.whole += self.random.below(21) as i64;
                self.whole as f64
            }
            1 => {
                self.whole = (self.whole + self.random.below(101) as i64 - 50).clamp(0, 10_000);
                self.whole as f64 / 100.0
            }
            2 => {
                self.walk += 0.1 * self.random.normal();
                self.walk
            }
            _ => self.whole as f64,
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1, nearly.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// `2014-04-01T00:00:00` in UTC, as nanoseconds since 1970.
fn parse_time(text: &str) -> Result<u64, Failure> {
    let part = |from: usize, to: usize| -> Result<u64, Failure> {
        Ok(text.get(from..to).ok_or_else(|| format!("{text:?} is no time"))?.parse()?)
    };
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    // Days of the proleptic Gregorian calendar, in years that start in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Ok((days * 86_400 + part(11, 13)? * 3_600 + part(14, 16)? * 60 + part(17, 19)?) * SECOND)
}
