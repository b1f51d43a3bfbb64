//! A reader of a ring that `dotter-publisher load` writes. It believes nothing: a value says which record of which
//! lane it is, so each one is checked against the place where it was found.

use std::collections::HashMap;
use std::path::Path;

use dotter_dot::{Reason, Timestamp};
use dotter_ring::{BLOCK_BYTES, BLOCK_DOTS, Drained, Kind, LaneCursor, RingReader};

/// What a test lets a lane hold: as little as can be, so that it is lapped at once.
pub(crate) const LANE_DOTS: u64 = 4_032;
/// The wall clock may be set a little meanwhile.
const CLOCK_NANOS: u64 = 5_000_000_000;
/// Less than a block, so that most passes end within one.
const RECORDS_MAX: usize = 100;

/// What became of the records of a lane so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Given out, each with its own value.
    pub(crate) delivered: u64,
    /// Counted as lapped.
    pub(crate) lost: u64,
}

/// Where a reader stands in each lane of a ring, and what it got.
pub(crate) struct Reading {
    ring: RingReader,
    lanes: Vec<(LaneCursor, Tally)>,
    /// Series in each lane.
    series: u64,
    /// The names of series by number, as lane and series.
    names: HashMap<u32, (u64, u64)>,
    /// From where the given times count.
    start: Option<u64>,
    out: Drained,
}

impl Reading {
    /// From the beginning of a ring whose publisher was told `lanes` and `series`; `None` where there is no file.
    #[track_caller]
    pub(crate) fn open(path: &Path, lanes: u32, series: u32) -> Option<Reading> {
        let ring = match RingReader::open(path) {
            Ok(ring) => ring,
            // Under its name a ring is whole, so nothing else may be wrong with it.
            Err(dotter_ring::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return None;
            }
            Err(error) => panic!("a ring that was given its name can be read: {error}"),
        };
        let lanes = (0..lanes).map(|lane| (LaneCursor::start(lane), Tally::default())).collect();
        let (names, out) = (HashMap::new(), Drained::default());
        Some(Reading { ring, lanes, series: series.into(), names, start: None, out })
    }

    /// The ring.
    pub(crate) fn ring(&self) -> &RingReader {
        &self.ring
    }

    /// Reads once through all lanes, up to where each of them is when its turn comes; how many numbers that took.
    #[track_caller]
    pub(crate) fn drain(&mut self) -> u64 {
        (0..self.lanes.len()).map(|lane| self.drain_lane(lane)).sum()
    }

    #[track_caller]
    fn drain_lane(&mut self, lane: usize) -> u64 {
        let mut all = 0;
        // A writer that is faster than the reader must not keep it here.
        for _ in 0..2 * LANE_DOTS as usize / RECORDS_MAX {
            let from = self.lanes[lane].0.expected();
            let taken = self.lanes[lane].0.drain(&mut self.ring, RECORDS_MAX, &mut self.out) as u64;
            if taken == 0 {
                break;
            }
            all += taken;
            let out = std::mem::take(&mut self.out);
            assert_eq!((out.first, out.next), (from, from + taken), "lane {lane}");
            self.check(lane, &out);
            self.out = out;
            self.out.clear();
        }
        all
    }

    /// Every number from first to next is a dot or in exactly one loss, in order.
    #[track_caller]
    fn check(&mut self, lane: usize, out: &Drained) {
        let mut losses = out.losses.iter();
        let mut number = out.first;
        let mut loss = losses.next();
        let mut dots = out.dots.iter();
        while number < out.next {
            if let Some(gone) = loss.filter(|loss| loss.first == number) {
                assert_eq!(gone.reason, Reason::LAPPED, "lane {lane}: {gone:?}");
                assert!(gone.first < gone.next && gone.next <= out.next, "lane {lane}: {gone:?}");
                self.lanes[lane].1.lost += gone.next - gone.first;
                number = gone.next;
                loss = losses.next();
                continue;
            }
            let dot = dots.next().unwrap_or_else(|| panic!("lane {lane}: record {number} is missing"));
            let expected = ((lane as u64) << 32) + number;
            assert_eq!(dot.value, expected as f64, "lane {lane}: the value of record {number}: {dot:?}");
            assert_eq!(dot.kind, Kind::F64, "lane {lane}: record {number}");
            assert_eq!(
                self.name_of(dot.series),
                (lane as u64, number % self.series),
                "lane {lane}: record {number}"
            );
            assert_eq!(dot.clock, number.is_multiple_of(2), "lane {lane}: record {number}");
            let time = dot.time.nanos();
            if dot.clock {
                let (from, until) = (self.ring.identity().created.nanos(), Timestamp::now().nanos());
                let right = from - CLOCK_NANOS <= time && time <= until + CLOCK_NANOS;
                assert!(right, "lane {lane}: record {number} at {time}, between {from} and {until}");
            } else {
                let start = time - number * 1_000;
                let known = *self.start.get_or_insert(start);
                assert_eq!(start, known, "lane {lane}: the given time of record {number}");
            }
            self.lanes[lane].1.delivered += 1;
            number += 1;
        }
        assert_eq!((loss, dots.next()), (None, None), "lane {lane}: nothing is left over");
    }

    /// Lane and series of a name as `load` makes them: `load.l{lane}.s{series}`.
    #[track_caller]
    fn name_of(&mut self, id: u32) -> (u64, u64) {
        if let Some(known) = self.names.get(&id) {
            return *known;
        }
        let entry =
            self.ring.series(id).unwrap_or_else(|| panic!("series {id} of a committed record is known"));
        let name = entry.name.as_ref().expect("load uses names that are allowed").as_str();
        let parts = name.strip_prefix("load.l").and_then(|rest| rest.split_once(".s"));
        let parts = parts.and_then(|(lane, series)| Some((lane.parse().ok()?, series.parse().ok()?)));
        let parts = parts.unwrap_or_else(|| panic!("load registers no series {name}"));
        *self.names.entry(id).or_insert(parts)
    }

    /// What became of each lane, of which nothing is left to read: delivered and lost are what was committed, by the
    /// count in the ring's blocks and by its heads alike.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Vec<Tally> {
        while self.drain() > 0 {}
        let heads = self.ring.heads();
        let mut tallies = Vec::new();
        for (lane, (cursor, tally)) in self.lanes.iter().enumerate() {
            let committed = self.ring.next_record(lane as u32);
            assert_eq!(tally.delivered + tally.lost, committed, "lane {lane}: {tally:?}");
            assert_eq!(cursor.expected(), committed, "lane {lane}");
            // Each of these records takes one granule, so the head alone says how many there are.
            let head = heads.get(lane).copied().unwrap_or(0);
            let rest = (head % BLOCK_BYTES).saturating_sub(64) / 16;
            assert_eq!(head / BLOCK_BYTES * BLOCK_DOTS + rest, committed, "lane {lane}: head at {head}");
            tallies.push(*tally);
        }
        tallies
    }
}
