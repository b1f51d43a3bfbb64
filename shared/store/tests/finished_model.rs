//! Random rings that begin and finish, seals, tidy passes, restarts, lost lists, and days that pass on a made-up machine,
//! beside a plain map: every ring counts once, a finished one is known for 30 days of running time and not much longer,
//! and there are few files.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use dotter_dot::{Dots, Incarnation, Reason, SeriesName, Shape};
use dotter_store::{Error, Ledger, Reader, RingPart, Transaction, Writer, seal_all, tidy};
use support::Random;
use support::made::{DAY, HOUR, Made, rule};

const KNOWN: u64 = 30 * DAY;
/// Rings that came within this time of each other may stand in one file, which goes as a whole; and for the last pass.
const LONGER: u64 = 3 * DAY + 3 * HOUR;

/// A ring of the map.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    refused: u64,
    /// Running time at which it finished, and at which a tidy pass had surely moved it; both in seconds.
    finished: Option<u64>,
    moved: Option<u64>,
}

struct Run {
    random: Random,
    made: Made,
    writer: Option<Writer>,
    reader: Reader,
    rings: BTreeMap<u32, Ring>,
    open: BTreeSet<u32>,
    /// Of sealed rings that wait for a pass.
    sealed: BTreeSet<u32>,
    next: u32,
    /// Running time in seconds.
    running: u64,
    files_most: usize,
}

fn ring(number: u32) -> Incarnation {
    // Spread as random ones are, and not in the order in which they come.
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (number.wrapping_add(at as u32).wrapping_mul(0x9E37_79B1) >> 11) as u8;
    }
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Incarnation(bytes)
}

fn application(number: u32) -> &'static str {
    ["one", "two", "three"][number as usize % 3]
}

impl Run {
    fn part<'a>(&self, number: u32, refusals: &'a [(Reason, u64)]) -> RingPart<'a> {
        let now = self.made.machine().wall;
        let (incarnation, application) = (ring(number), application(number));
        RingPart { incarnation, application, refusals, now, ..RingPart::default() }
    }

    fn begin(&mut self, count: u64) {
        for _ in 0..count {
            let refused = 1 + self.random.below(5);
            let refusals = [(Reason::TOO_BIG, refused)];
            let part = self.part(self.next, &refusals);
            let dots = Dots::default();
            let transaction = Transaction { ring: Some(part), lanes: &[], dots: &dots };
            self.writer.as_mut().unwrap().append(&transaction).unwrap();
            self.rings.insert(self.next, Ring { refused, ..Ring::default() });
            self.open.insert(self.next);
            self.next += 1;
        }
    }

    fn finish(&mut self, count: u64) {
        for _ in 0..count.min(self.open.len() as u64) {
            let at = self.random.below(self.open.len() as u64) as usize;
            let number = *self.open.iter().nth(at).unwrap();
            self.open.remove(&number);
            let part = self.part(number, &[]);
            self.writer.as_mut().unwrap().finish(&part, &[], self.made.machine().wall).unwrap();
            self.rings.get_mut(&number).unwrap().finished = Some(self.running);
        }
        self.writer.as_mut().unwrap().sync().unwrap();
    }

    /// Whatever has finished and is still known takes nothing more.
    fn tell_again(&mut self) {
        let number = self.random.below(self.next.into()) as u32;
        let part = self.part(number, &[]);
        let writer = self.writer.as_mut().unwrap();
        writer.unsealed();
        if writer.ledger().is_finished(ring(number)) {
            let outcome = writer.finish(&part, &[], self.made.machine().wall);
            assert!(matches!(outcome, Err(Error::Finished { .. })));
        }
    }

    fn restart(&mut self) {
        self.writer = None;
        self.writer = Some(Writer::open(self.made.dir()).unwrap());
    }

    fn seal(&mut self) {
        self.restart();
        seal_all(self.made.dir(), &|| false).unwrap();
        self.writer.as_mut().unwrap().unsealed();
        let is_over = |(number, ring): (&u32, &Ring)| {
            (ring.finished.is_some() && ring.moved.is_none()).then_some(*number)
        };
        self.sealed.extend(self.rings.iter().filter_map(is_over));
    }

    fn tidy(&mut self) {
        tidy(self.made.dir(), &self.made.machine()).unwrap();
        for number in std::mem::take(&mut self.sealed) {
            self.rings.get_mut(&number).unwrap().moved = Some(self.running);
        }
        let list = fs::read_dir(self.made.dir().join("ledger")).unwrap().count();
        self.files_most = self.files_most.max(list);
    }

    fn pass(&mut self) {
        if self.random.below(4) == 0 {
            self.made.off(self.random.below(5 * DAY));
        }
        let seconds = self.random.below(2 * DAY);
        self.made.run(seconds);
        self.running += seconds;
        // The collector looks at the clock each half hour; this is once at the end of each stretch.
        self.made.retain();
    }

    /// Both copies of the list are gone, as it stands right after a seal that made a segment, whose tail tells of open rings,
    /// and a pass.
    fn lose_the_list(&mut self) {
        let writer = self.writer.as_mut().unwrap();
        let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
        let mut dots = Dots::default();
        dots.push_number(key, true, self.made.machine().wall, 1.0);
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        self.seal();
        self.tidy();
        self.tidy();
        self.writer = None;
        for name in ["MANIFEST", "MANIFEST.2"] {
            fs::write(self.made.dir().join(name), b"rubbish").unwrap();
        }
        self.restart();
        dotter_store::repair(self.made.dir(), false).unwrap();
        self.writer.as_mut().unwrap().unsealed();
        self.reader = Reader::open(self.made.dir()).unwrap();
        // The clock was in the list: the 30 days of all begin anew.
        let moved = self.rings.values_mut().filter_map(|ring| ring.moved.as_mut());
        moved.for_each(|moved| *moved = self.running);
    }

    fn check(&mut self) {
        self.reader.refresh(None).unwrap();
        self.writer.as_mut().unwrap().unsealed();
        let fresh = Reader::open(self.made.dir()).unwrap().snapshot();
        let mine = self.reader.snapshot();
        for ledger in [fresh.ledger(), mine.ledger(), self.writer.as_ref().unwrap().ledger()] {
            self.check_ledger(ledger);
        }
        let verified = dotter_store::verify(self.made.dir()).unwrap();
        assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    }

    fn check_ledger(&self, ledger: &Ledger) {
        assert!(
            ledger.open_rings().map(|(of, _)| of).collect::<BTreeSet<_>>()
                == self.open.iter().map(|n| ring(*n)).collect()
        );
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (number, of) in &self.rings {
            let is_finished = ledger.is_finished(ring(*number));
            let Some(finished) = of.finished else {
                assert!(!is_finished, "{number} is open");
                continue;
            };
            let sum = sums.entry(application(*number)).or_default();
            (sum.0, sum.1) = (sum.0 + 1, sum.1 + of.refused);
            assert!(
                is_finished || finished + KNOWN <= self.running,
                "{number} is known no more: {of:?} at {}",
                self.running
            );
        }
        let found: BTreeMap<_, _> =
            ledger.applications().map(|(name, sum)| (name, (sum.rings, sum.refused()))).collect();
        assert_eq!(found, sums);
        assert!(ledger.applications().all(|(_, sum)| sum.unsure == 0));
    }

    /// After a pass nobody is known for much longer than 30 days.
    fn check_old(&mut self) {
        self.tidy();
        let snapshot = Reader::open(self.made.dir()).unwrap().snapshot();
        for (number, of) in &self.rings {
            if of.moved.is_some_and(|moved| moved + KNOWN + LONGER < self.running) {
                assert!(
                    !snapshot.ledger().is_finished(ring(*number)),
                    "{number} is known still: {of:?} at {}",
                    self.running
                );
            }
        }
    }
}

#[test]
fn every_ring_counts_once_and_is_known_for_thirty_days() {
    let random = Random::from_env();
    let made = Made::new(&rule("%", "raw:10y"));
    let writer = Some(Writer::open(made.dir()).unwrap());
    let reader = Reader::open(made.dir()).unwrap();
    let mut run = Run {
        random,
        made,
        writer,
        reader,
        rings: BTreeMap::new(),
        open: BTreeSet::new(),
        sealed: BTreeSet::new(),
        next: 0,
        running: 0,
        files_most: 0,
    };
    for _ in 0..900 {
        match run.random.below(100) {
            0..25 => {
                let most = if run.random.below(20) == 0 { 600 } else { 12 };
                let count = run.random.below(most);
                run.begin(count);
            }
            25..50 => {
                let most = if run.random.below(20) == 0 { 600 } else { 12 };
                let count = run.random.below(most);
                run.finish(count);
            }
            50..62 => run.seal(),
            62..75 => run.tidy(),
            75..85 => run.pass(),
            85..89 => run.tell_again(),
            89..92 => run.restart(),
            92..99 => {
                run.writer.as_mut().unwrap().sync().unwrap();
                run.check();
                run.check_old();
            }
            _ => run.lose_the_list(),
        }
    }
    println!("{} rings in {} days, at most {} files", run.next, run.running / DAY, run.files_most);
    assert!(run.running > 60 * DAY && run.next > 1000, "the run is long enough");
    // Those of the list, and those that wait for the next commit.
    assert!(run.files_most <= 60, "{} files", run.files_most);
}
