//! What a store should hold, in plain maps: dots by series and time, rings with their records, the last totals of counters.

use std::collections::{BTreeMap, HashMap};

use dotter_dot::{Incarnation, Shape, TimeRange, Timestamp};
use dotter_store::{Deletion, Snapshot};

use crate::support::{Random, number, row, rows, shape};

/// A shape by its number, and what the value was made from.
pub(crate) type Value = (u64, u64);

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) explicit: BTreeMap<String, BTreeMap<u64, Value>>,
    /// Of every transaction that came by another way than a ring, in their order, the texts with explicit times.
    pub(crate) texts: BTreeMap<String, Vec<Vec<(u64, Value)>>>,
    /// Clock stamps, and the texts of rings.
    pub(crate) clock: BTreeMap<String, Vec<(u64, Value)>>,
    /// By series, the number of the shape committed last.
    pub(crate) latest: BTreeMap<String, u64>,
    pub(crate) rings: BTreeMap<Incarnation, Ring>,
    pub(crate) counters: BTreeMap<Incarnation, Counters>,
    /// Rings finished before it may have been added to their application.
    pub(crate) known_from: Timestamp,
    pub(crate) stored_other: u64,
    pub(crate) committed: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Ring {
    pub(crate) next: u64,
    pub(crate) stored: u64,
    pub(crate) lost: u64,
    pub(crate) elsewhere: u64,
    pub(crate) refused: u64,
    pub(crate) finished: Option<Timestamp>,
}

/// By name and shape the last total.
pub(crate) type Counters = BTreeMap<(String, Shape), u64>;

/// The owner of a ring; known for every second ring.
pub(crate) fn owner(Incarnation(bytes): Incarnation) -> Option<u32> {
    let number = u32::from(bytes[0]);
    (number % 2 == 0).then_some(number * 500)
}

#[derive(Clone)]
pub(crate) struct Commit {
    pub(crate) dots: Vec<(String, bool, u64, Value)>,
    /// The ring it came from, and what that ring's account gains.
    pub(crate) ring: Option<(Incarnation, Ring)>,
    pub(crate) counters: Counters,
}

impl Model {
    pub(crate) fn commit(&mut self, commit: &Commit) {
        let mut texts: BTreeMap<String, Vec<(u64, Value)>> = BTreeMap::new();
        for (series, clock, time, value) in &commit.dots {
            let is_text = shape(value.0).is_text();
            if *clock || is_text && commit.ring.is_some() {
                self.clock.entry(series.clone()).or_default().push((*time, *value));
            } else if is_text {
                texts.entry(series.clone()).or_default().push((*time, *value));
            } else {
                self.explicit.entry(series.clone()).or_default().insert(*time, *value);
            }
            self.latest.insert(series.clone(), value.0);
        }
        for (series, texts) in texts {
            self.texts.entry(series).or_default().push(texts);
        }
        match commit.ring {
            Some((incarnation, gains)) => {
                let ring = self.rings.entry(incarnation).or_default();
                ring.next += gains.next;
                ring.stored += gains.stored;
                ring.lost += gains.lost;
                ring.elsewhere += gains.elsewhere;
                self.counters.entry(incarnation).or_default().extend(commit.counters.clone());
            }
            None => self.stored_other += commit.dots.len() as u64,
        }
        self.committed += commit.dots.len() as u64;
    }

    pub(crate) fn delete(&mut self, deletion: &Deletion) {
        let names = |name: &str| {
            deletion.pattern.matches(name)
                && deletion.first_key.as_ref().is_none_or(|first| first.as_str() <= name)
                && deletion.last_key.as_ref().is_none_or(|last| name <= last.as_str())
        };
        let kept = |time: u64| !deletion.range.contains(Timestamp::from_nanos(time));
        for (_, dots) in self.explicit.iter_mut().filter(|(name, _)| names(name)) {
            dots.retain(|time, _| kept(*time));
        }
        for (_, transactions) in self.texts.iter_mut().filter(|(name, _)| names(name)) {
            transactions.iter_mut().for_each(|dots| dots.retain(|dot| kept(dot.0)));
            transactions.retain(|dots| !dots.is_empty());
        }
        self.texts.retain(|_, transactions| !transactions.is_empty());
        for (_, dots) in self.clock.iter_mut().filter(|(name, _)| names(name)) {
            dots.retain(|dot| kept(dot.0));
        }
        self.explicit.retain(|_, dots| !dots.is_empty());
        self.clock.retain(|_, dots| !dots.is_empty());
        self.latest.retain(|name, _| !names(name));
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.explicit.keys().chain(self.texts.keys()).chain(self.clock.keys());
        let mut names: Vec<String> = names.cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// The texts with explicit times that are kept: each as often as the transaction has it that has it most often, where
    /// the first transaction has it so often.
    fn texts(&self, name: &str) -> Vec<(u64, Value)> {
        let (mut kept, mut most) = (Vec::new(), HashMap::new());
        for transaction in self.texts.get(name).into_iter().flatten() {
            let mut counts: HashMap<(u64, Value), u32> = HashMap::new();
            for dot in transaction {
                let (count, most) = (counts.entry(*dot).or_default(), most.entry(*dot).or_default());
                *count += 1;
                if *count > *most {
                    *most = *count;
                    kept.push(*dot);
                }
            }
        }
        kept
    }

    pub(crate) fn read(&self, name: &str, range: TimeRange) -> Vec<(u64, bool, Value)> {
        let within = |time: u64| range.contains(Timestamp::from_nanos(time));
        let mut clock: Vec<_> = self.clock.get(name).into_iter().flatten().copied().collect();
        clock.retain(|dot| within(dot.0));
        clock.sort_by_key(|dot| dot.0);
        // Numbers are spread. Texts stay where they are, but never come before what they came behind.
        let (mut before, mut least) = (0, 0);
        for (time, (of, _)) in &mut clock {
            let is_text = shape(*of).is_text();
            *time = (*time).max(if is_text { before } else { least });
            before = before.max(*time);
            least = if is_text { least } else { *time + 1 };
        }
        let numbers = self.explicit.get(name).into_iter().flatten().map(|(time, value)| (*time, *value));
        let explicit = self.texts(name).into_iter().chain(numbers);
        let explicit = explicit.map(|(time, value)| (time, false, value)).filter(|dot| within(dot.0));
        let clock = clock.into_iter().map(|(time, value)| (time, true, value));
        let mut dots: Vec<_> = explicit.chain(clock).collect();
        dots.sort_by_key(|dot| dot.0);
        dots
    }

    /// Time and bits of the numbers.
    pub(crate) fn numbers(&self, name: &str, range: TimeRange) -> Vec<(u64, u64)> {
        let dots = self.read(name, range).into_iter();
        dots.filter_map(|(time, _, (shape, bits))| Some((time, number(shape, bits)?))).collect()
    }

    pub(crate) fn rows(&self, name: &str, range: TimeRange) -> Vec<(u64, bool, dotter_dot::Shape, Vec<u8>)> {
        let dots = self.read(name, range).into_iter();
        dots.map(|(time, clock, (of, bits))| (time, clock, shape(of), row(of, bits))).collect()
    }

    /// Where all dots have numbers: a replaced one that had none counts all the same until a compaction finds it.
    pub(crate) fn check_span(&self, snapshot: &Snapshot, name: &str) {
        let explicit = self.explicit.get(name).into_iter().flatten().map(|(time, value)| (*time, *value));
        let clock = self.clock.get(name).into_iter().flatten().copied();
        if self.texts.contains_key(name) {
            return;
        }
        let mut times = Vec::new();
        for (time, (shape, bits)) in explicit.chain(clock) {
            if number(shape, bits).is_none() {
                return;
            }
            times.push(time);
        }
        let (first, last) = snapshot.span(name).expect("it has dots");
        let (expected_first, expected_last) = (times.iter().min(), times.iter().max());
        assert_eq!((Some(&first.nanos()), Some(&last.nanos())), (expected_first, expected_last), "{name}");
    }

    pub(crate) fn check(&self, snapshot: &Snapshot, random: &mut Random) {
        let names: Vec<String> = snapshot.series().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, self.names());
        let mut scan = snapshot.scan();
        for name in &names {
            let bits = |dots: Vec<dotter_store::Dot>| -> Vec<(u64, u64)> {
                dots.iter().map(|dot| (dot.time.nanos(), dot.value.to_bits())).collect()
            };
            let all = bits(snapshot.read(name, TimeRange::ALL).unwrap());
            assert_eq!(all, self.numbers(name, TimeRange::ALL), "{name}");
            assert!(rows(&mut scan, name, TimeRange::ALL) == self.rows(name, TimeRange::ALL), "{name}");
            // Where dots were deleted, the shape may be that of one of them.
            if let Some(latest) = self.latest.get(name) {
                assert_eq!(snapshot.shape(name).unwrap(), Some(shape(*latest)), "{name}");
            }
            let (a, b) = (random.below(700) * 9_999, random.below(700) * 9_999);
            let range = TimeRange::new(Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b)));
            assert_eq!(
                bits(snapshot.read(name, range).unwrap()),
                self.numbers(name, range),
                "{name} {range:?}"
            );
            assert!(rows(&mut scan, name, range) == self.rows(name, range), "{name} {range:?}");
            self.check_chunks(snapshot, name, range);
            let count = random.below(40) as usize;
            let last = bits(snapshot.last(name, count).unwrap());
            assert_eq!(last, all[all.len().saturating_sub(count)..], "{name} last {count}");
            self.check_span(snapshot, name);
        }
        self.check_rings(snapshot);
        assert_eq!(snapshot.ledger().totals.stored_other, self.stored_other);
        let stat = snapshot.stat();
        let totals = snapshot.ledger().totals;
        assert_eq!(
            stat.dots + totals.replaced + totals.deleted + totals.condensed,
            self.committed,
            "dots are there, replaced, deleted or condensed: {totals:?}"
        );
        if stat.segments == 0 && stat.wal_dots == 0 {
            assert!(names.is_empty());
        }
        assert_eq!((stat.damaged_segments, stat.damaged_chunks), (0, 0));
    }
}

impl Model {
    /// Every open ring has its account, every finished one is in the sum of its application, once, and is known to have
    /// finished as long as it has to be.
    pub(crate) fn check_rings(&self, snapshot: &Snapshot) {
        let ledger = snapshot.ledger();
        let (mut rings, mut sums) = (0, Ring::default());
        for (incarnation, ring) in &self.rings {
            if let Some(time) = ring.finished {
                rings += 1;
                sums.stored += ring.stored;
                sums.lost += ring.lost;
                sums.elsewhere += ring.elsewhere;
                sums.refused += ring.refused;
                assert!(time < self.known_from || ledger.is_finished(*incarnation), "{ring:?} is not known");
            }
            let Some(account) = ledger.account(*incarnation) else {
                panic!("{ring:?} has no account, and there are few");
            };
            assert!(account.is_balanced() && !account.unsure);
            assert_eq!(account.owner, owner(*incarnation));
            let found =
                account.counters.iter().map(|(name, of, total)| ((name.to_string(), of.clone()), total));
            let nothing = Counters::default();
            assert!(found.eq(self.counters.get(incarnation).unwrap_or(&nothing).clone()), "{incarnation}");
            let found = (account.stored(), account.lost(), account.refused(), account.finished);
            assert_eq!(found, (ring.stored, ring.lost, ring.refused, ring.finished));
            assert_eq!(
                (account.published(), account.elsewhere()),
                (ring.next + ring.refused, ring.elsewhere)
            );
        }
        assert_eq!(ledger.iter().count(), self.rings.len());
        assert_eq!(ledger.open_rings().count() + rings as usize, self.rings.len());
        match ledger.applications().next() {
            Some((name, of)) => {
                assert_eq!((name, of.rings, of.stored), ("model", rings, sums.stored));
                assert_eq!(
                    (of.lost(), of.refused(), of.elsewhere),
                    (sums.lost, sums.refused, sums.elsewhere)
                );
            }
            None => assert_eq!(rings, 0),
        }
    }

    /// What chunks say of themselves: those that are alone hold the very dots that are read.
    pub(crate) fn check_chunks(&self, snapshot: &Snapshot, name: &str, range: TimeRange) {
        let chunks = snapshot.chunks(name, range).unwrap();
        assert!(chunks.is_sorted_by_key(|chunk| chunk.first));
        assert!(chunks.iter().all(|chunk| range.meets(chunk.first, chunk.last)));
        for chunk in chunks.iter().filter(|chunk| chunk.is_alone && !chunk.is_clock) {
            let (first, last) = (chunk.first, chunk.last);
            let within = TimeRange::new(first, Timestamp::from_nanos(last.nanos() + 1));
            let dots = self.read(name, within);
            let explicit: Vec<_> = dots.iter().filter(|(_, clock, _)| !clock).collect();
            assert_eq!(explicit.len() as u64, chunk.dots);
            assert!(explicit.iter().all(|(_, _, (of, _))| shape(*of) == chunk.shape));
            assert_eq!((explicit[0].0, explicit.last().unwrap().0), (first.nanos(), last.nanos()));
        }
    }
}
