//! Knows what `dotter-publisher load` publishes, and checks what became of it.
//!
//! Record `n` of lane `l` goes into series `load.l{l}.s{n mod series}` with the value `l * 2^32 + n`. Even records are
//! stamped by the clock. Odd ones carry a time: the start of their process plus `n` microseconds; so the start, which
//! is never the same twice, tells which process published one.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use dotter_dot::{Incarnation, TimeRange};
use dotter_ring::RingReader;
use dotter_store::{Account, Ledger, Snapshot};

/// What one process publishes.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Lanes, each with a thread.
    pub lanes: u32,
    /// Dots in each lane.
    pub dots: u64,
    /// Series in each lane. An odd number puts both kinds of times into every series.
    pub series: u32,
    /// Dots a second in each lane; `None` for as fast as can be.
    pub rate: Option<u32>,
    /// Dots a lane holds.
    pub lane_dots: u64,
    /// Keep the ring open after the last dot.
    pub hold: bool,
}

impl Workload {
    /// What `dotter-publisher load PATH` is told.
    pub fn arguments(&self) -> Vec<String> {
        let numbers = [
            ("--lanes", self.lanes as u64),
            ("--dots", self.dots),
            ("--series", self.series as u64),
            ("--lane-dots", self.lane_dots),
        ];
        let mut arguments: Vec<String> =
            numbers.iter().flat_map(|(flag, number)| [(*flag).to_owned(), number.to_string()]).collect();
        if let Some(rate) = self.rate {
            arguments.extend(["--rate".to_owned(), rate.to_string()]);
        }
        if self.hold {
            arguments.push("--hold".to_owned());
        }
        arguments
    }

    /// The name of a series.
    pub fn series_name(lane: u32, series: u32) -> String {
        format!("load.l{lane}.s{series}")
    }
}

/// What a ring says was published: read from the ring, not from anything that Dotter tells about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The ring.
    pub incarnation: Incarnation,
    /// Records of each lane.
    pub lanes: Vec<u64>,
    /// Dots the ring refused.
    pub refused: u64,
}

impl Published {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.lanes.iter().sum::<u64>() + self.refused
    }

    /// What `dotter-publisher load` prints at its end.
    ///
    /// # Panics
    ///
    /// Where it is something else.
    pub fn parse(said: &str) -> Published {
        let said: serde_json::Value =
            serde_json::from_str(said).unwrap_or_else(|error| panic!("load said '{said}': {error}"));
        let incarnation = said["incarnation"].as_str().and_then(|text| text.parse().ok());
        let lanes = said["published"].as_array().expect("load prints a count for each lane");
        Published {
            incarnation: incarnation.expect("load prints its incarnation"),
            lanes: lanes.iter().map(|lane| lane.as_u64().expect("counts are whole")).collect(),
            refused: said["refused"].as_u64().expect("load prints its refusals"),
        }
    }
}

/// Somebody who keeps every ring of a place mapped, so that what was published is known after the file is gone.
#[derive(Default)]
pub struct Witness {
    rings: Vec<RingReader>,
    lanes: u32,
}

impl Witness {
    /// For rings of this many lanes.
    pub fn new(lanes: u32) -> Witness {
        Witness { rings: Vec::new(), lanes }
    }

    /// Maps the rings among `paths` that are new.
    pub fn look(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let Ok(ring) = RingReader::open(path) else { continue };
            if !self.rings.iter().any(|known| known.incarnation() == ring.incarnation()) {
                self.rings.push(ring);
            }
        }
    }

    /// What the process `id` has published by now, where its ring was seen.
    pub fn published_by(&self, id: u32) -> Option<Published> {
        let ring = self.rings.iter().find(|ring| ring.identity().pid == id)?;
        Some(self.read(ring))
    }

    /// What all rings seen have published by now, in the order in which they were made.
    pub fn published(&self) -> Vec<Published> {
        let mut rings: Vec<&RingReader> = self.rings.iter().collect();
        rings.sort_by_key(|ring| ring.identity().created);
        rings.into_iter().map(|ring| self.read(ring)).collect()
    }

    fn read(&self, ring: &RingReader) -> Published {
        let refused = ring.refusals();
        Published {
            incarnation: ring.incarnation(),
            lanes: (0..self.lanes).map(|lane| ring.next_record(lane)).collect(),
            refused: refused.series + refused.signal_handler + refused.too_big + refused.other,
        }
    }
}

/// Sums over all rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rings.
    pub rings: usize,
    /// Dots for which publish returned.
    pub published: u64,
    /// Dots committed.
    pub stored: u64,
    /// Dots counted as lost.
    pub lost: u64,
    /// Dots counted as refused.
    pub refused: u64,
}

/// The promise: for each ring `published == stored + lost + refused`, with `published` from the ring and the rest from
/// the store's ledger, all of them finished.
///
/// # Panics
///
/// Where it does not hold.
#[track_caller]
pub fn check_ledger(ledger: &Ledger, published: &[Published]) -> Sums {
    let mut sums = Sums::default();
    for ring in published {
        let incarnation = ring.incarnation;
        let account =
            ledger.account(incarnation).unwrap_or_else(|| panic!("{incarnation}: not in the ledger"));
        assert!(account.finished.is_some(), "{incarnation} is not finished: {account:?}");
        assert!(account.is_balanced(), "{incarnation} is not balanced: {account:?}");
        for (lane, next) in ring.lanes.iter().enumerate() {
            let known = account.lanes.get(&(lane as u32)).map_or(0, |lane| lane.next);
            assert_eq!(known, *next, "{incarnation}: records of lane {lane}");
        }
        let (stored, lost, refused) = (account.stored(), account.lost(), account.refused());
        assert_eq!(ring.total(), stored + lost + refused, "{incarnation}: {account:?}");
        sums.rings += 1;
        sums.published += ring.total();
        sums.stored += stored;
        sums.lost += lost;
        sums.refused += refused;
    }
    sums
}

/// Every stored record is there exactly once, with its value, in its series.
///
/// - `published`: every ring the store has heard of, in the order in which their processes started
///
/// Which records of a ring are stored is known where none of its lane is lost: all. Where some are, their number is
/// known.
///
/// Returns how many dots were read back.
///
/// # Panics
///
/// Where it is not so.
#[track_caller]
pub fn check_dots(snapshot: &Snapshot, workload: &Workload, published: &[Published]) -> u64 {
    let ledger = snapshot.ledger();
    let accounts: Vec<&Account> = published
        .iter()
        .map(|ring| ledger.account(ring.incarnation).expect("the ledger was checked before"))
        .collect();
    let mut read = 0;
    // By the start of their process: per lane, how often each odd record was seen.
    let mut processes: BTreeMap<u64, HashMap<u32, Vec<u8>>> = BTreeMap::new();
    for lane in 0..workload.lanes {
        let nexts: Vec<u64> = published.iter().map(|ring| ring.lanes[lane as usize]).collect();
        let end = nexts.iter().copied().max().unwrap_or(0);
        let mut seen = vec![0_u32; end as usize];
        for series in 0..workload.series {
            let name = Workload::series_name(lane, series);
            let dots = snapshot.read(&name, TimeRange::ALL).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut last = (0, None);
            for dot in dots {
                let number = record_of(lane, dot.value)
                    .filter(|number| *number < end && number % workload.series as u64 == series as u64)
                    .unwrap_or_else(|| panic!("{name}: nobody published the value {}", dot.value));
                // Equal times: only a stamp of the clock beside one that was given.
                let (time, given) = (dot.time.nanos(), number % 2 == 1);
                let follows = last.0 < time || last.0 == time && last.1 == Some(!given);
                assert!(follows, "{name}: record {number} at {time} ns comes after one at {} ns", last.0);
                last = (time, Some(given));
                seen[number as usize] += 1;
                read += 1;
                if given {
                    let start = time - number * 1_000;
                    let numbers = processes.entry(start).or_default().entry(lane).or_default();
                    numbers.resize(numbers.len().max(number as usize / 2 + 1), 0);
                    numbers[number as usize / 2] += 1;
                }
            }
        }
        let lost: u64 = published
            .iter()
            .zip(&accounts)
            .filter(|(_, account)| account.lost() + account.refused.values().sum::<u64>() > 0)
            .count() as u64;
        let stored: u64 =
            accounts.iter().filter_map(|account| account.lanes.get(&lane)).map(|lane| lane.stored).sum();
        let total: u64 = seen.iter().map(|count| *count as u64).sum();
        assert_eq!(total, stored, "lane {lane}: dots read back, and stored by the ledger");
        for (number, seen) in seen.iter().enumerate() {
            let published = nexts.iter().filter(|next| **next > number as u64).count() as u64;
            let at_least = published.saturating_sub(lost);
            assert!(
                (at_least..=published).contains(&(*seen as u64)),
                "lane {lane}: record {number} is there {seen} times, {published} processes published it"
            );
        }
    }
    check_processes(&processes, published);
    read
}

/// Odd records tell their process, so each of them is there once for that process.
#[track_caller]
fn check_processes(processes: &BTreeMap<u64, HashMap<u32, Vec<u8>>>, published: &[Published]) {
    let has_odd = |ring: &&Published| ring.lanes.iter().any(|next| *next > 1);
    let mut rings = published.iter().filter(has_odd);
    for (start, lanes) in processes {
        // Without losses the two rows run in step; a ring that lost all of its odd records is passed over.
        let ring = rings.find(|ring| {
            lanes.iter().all(|(lane, numbers)| {
                let most = numbers.iter().rposition(|count| *count > 0).map_or(0, |last| last as u64 * 2 + 1);
                most < ring.lanes[*lane as usize]
            })
        });
        let ring = ring.unwrap_or_else(|| panic!("no ring published what began at {start} ns"));
        for (lane, numbers) in lanes {
            let twice = numbers.iter().position(|count| *count > 1);
            let incarnation = ring.incarnation;
            assert_eq!(
                twice, None,
                "{incarnation}: lane {lane}: half the number of a record that is there twice"
            );
        }
    }
}

/// The record number that a value stands for.
fn record_of(lane: u32, value: f64) -> Option<u64> {
    let number = value - lane as f64 * 4_294_967_296.0;
    ((0.0..4_294_967_296.0).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}
