//! Random work on a store that grows old: text rows, rings with losses, rules by which series go, purges, writers that end,
//! and followers with holds at very different positions, whose processes end at any moment. Each makes of the commits
//! what readers see.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dotter_dot::{
    Cell, Dots, Format, Incarnation, NamedDots, Reason, SeriesName, Shape, TimeRange, Timestamp, Value,
    put_row,
};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, Follow, LaneRecords, Limits, Lost, Machine, Pattern, Purge, Reader, RingPart,
    Transaction, What, Writer, add, compact, compact_major, delete, rename, retain, seal_all, take_rules,
    tidy, verify,
};
use support::Random;
use support::replica::{Replica, Rows, stored};

const WAL_FILE_BYTES: u64 = 4 << 10;
/// Numbers, which are renamed too.
const NUMBERS: [&str; 4] = ["a", "b", "c.x", "c.y"];
/// A series of which a rule keeps an hour.
const OLD: &str = "old";
/// Texts.
const TEXTS: &str = "texts";
const HOLDS: [&str; 3] = ["often", "seldom", "never"];
const HOUR: u64 = 3600;

fn never() -> bool {
    false
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

/// How long the machine has run, in seconds.
#[derive(Debug, Default)]
struct Running(AtomicU64);

impl Disk for Running {
    fn since_boot(&self) -> std::io::Result<Duration> {
        Ok(Duration::from_secs(self.0.load(SeqCst)))
    }
}

/// A store, who works on it, and who follows it.
struct Work {
    root: tempfile::TempDir,
    clock: Arc<Running>,
    writer: Option<Writer>,
    /// How many dots there were.
    count: u64,
    /// How many records of the ring.
    records: u64,
    followers: Vec<(Follow, Replica)>,
}

impl Work {
    fn new(clock: Arc<Running>) -> Work {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let dir = root.path().join("store");
        let writer = Writer::open_with(&dir, WAL_FILE_BYTES).unwrap();
        std::fs::write(
            dir.join("retention.toml"),
            format!("[[rule]]\npattern = \"{OLD}\"\nkeep = \"raw:1h\"\n"),
        )
        .unwrap();
        take_rules(&dir).unwrap();
        let follow = |hold: &&str| (held(&dir, hold), Replica::default());
        let followers = HOLDS.iter().map(follow).collect();
        Work { root, clock, writer: Some(writer), count: 0, records: 0, followers }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn machine(&self) -> Machine {
        let since_boot = Duration::from_secs(self.clock.0.load(SeqCst));
        let wall = Timestamp::from_secs(19_800 * 24 * HOUR + since_boot.as_secs()).unwrap();
        Machine { wall, boot: [1; 16], since_boot }
    }

    /// Dots with times that nothing else has, or of which later ones take the place of earlier ones.
    fn dots(&mut self, random: &mut Random) -> Dots {
        let of = random.below(6) as usize;
        let writer = self.writer.as_mut().unwrap();
        let text = Shape::from(Format::new("s").unwrap());
        let (series, shape) = match of {
            4 => (OLD, Shape::number()),
            5 => (TEXTS, text),
            of => (NUMBERS[of], Shape::number()),
        };
        let key = writer.series(&name(series), &shape);
        let is_clock = random.below(2) == 0;
        let time = random.below(900);
        let mut dots = Dots::default();
        for _ in 0..1 + random.below(40) {
            self.count += 1;
            let number = self.count;
            let mut row = Vec::new();
            put_row([Value::Text(&format!("line {number} of many"))], &mut row);
            match (series == TEXTS, is_clock) {
                (true, true) => dots.push(key, true, at(number << 20), Cell::Row(&row)),
                (true, false) => dots.push(key, false, at(1_000_000 + number), Cell::Row(&row)),
                (false, true) => dots.push_number(key, true, at(number << 20), number as f64),
                (false, false) => dots.push_number(key, false, at(time + number % 7), number as f64),
            }
        }
        dots
    }

    fn log(&mut self, random: &mut Random) {
        let dots = self.dots(random);
        let writer = self.writer.as_mut().unwrap();
        if random.below(2) == 0 {
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        } else {
            let lost = random.below(3);
            let (first, next) = (self.records, self.records + lost + dots.len() as u64);
            let ring = RingPart {
                incarnation: Incarnation([7; 16]),
                application: "app",
                now: at(5),
                ..RingPart::default()
            };
            let losses = Lost { first, next: first + lost, reason: Reason::LAPPED, times: None };
            let losses = if lost > 0 { vec![losses] } else { Vec::new() };
            let lanes = [LaneRecords { lane: 0, first, next, losses, ..LaneRecords::default() }];
            writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
            self.records = next;
        }
        writer.sync().unwrap();
    }

    fn add(&mut self, random: &mut Random) {
        let of =
            *[NUMBERS[0], NUMBERS[1], NUMBERS[2], NUMBERS[3], OLD].get(random.below(5) as usize).unwrap();
        let (first, time) = (self.count, random.below(900));
        self.count += 1 + random.below(20);
        let row = |number: u64| (name(of), at(time + number % 11), number as f64);
        add(&self.dir(), (first..self.count).map(row).collect::<NamedDots>()).unwrap();
    }

    fn delete(&mut self, random: &mut Random) {
        let pattern = Pattern::new(["a", "c.%", "%", "b"][random.below(4) as usize]);
        let from = random.below(900);
        let range = TimeRange::new(at(from), at(from + 1 + random.below(200)));
        delete(&self.dir(), &Deletion { pattern, first_key: None, last_key: None, range }).unwrap();
    }

    fn rename(&mut self, random: &mut Random) {
        let mut of = || name(NUMBERS[random.below(4) as usize]);
        match rename(&self.dir(), &of(), &of(), &never, &|| ()) {
            Ok(_) | Err(Error::NoSeries(_) | Error::SameName(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Time goes by: less than an hour, so that holds without an owner count on.
    fn age(&mut self) {
        self.clock.0.fetch_add(HOUR / 2, SeqCst);
        retain(&self.dir(), &self.machine(), &Limits::default(), &never).unwrap();
    }

    fn restart(&mut self) {
        self.writer = None;
        self.writer = Some(Writer::open_with(&self.dir(), WAL_FILE_BYTES).unwrap());
    }

    /// Some looks of one follower, or another process that goes on with its hold.
    fn look(&mut self, random: &mut Random) {
        let who = match random.below(20) {
            0 => 1,
            _ => 0,
        };
        let dir = self.dir();
        let (follow, replica) = &mut self.followers[who];
        for _ in 0..random.below(4) {
            follow.look(&mut replica.commits).unwrap();
        }
        if random.below(4) == 0 {
            go_on(&dir, HOLDS[who], follow, replica);
        }
    }

    fn step(&mut self, random: &mut Random) {
        let dir = self.dir();
        match random.below(40) {
            0..12 => self.log(random),
            12..17 => self.add(random),
            17..19 => self.delete(random),
            19 => self.rename(random),
            20..24 => _ = seal_all(&dir, &never).unwrap(),
            24..26 => self.restart(),
            26..29 => _ = compact(&dir, &never).unwrap(),
            29 => _ = compact_major(&dir, &never, &|_, _| ()).unwrap(),
            30 => self.age(),
            31 => _ = tidy(&dir, &self.machine()).unwrap(),
            _ => self.look(random),
        }
        // Who follows lives, and says so.
        self.followers.iter_mut().for_each(|(follow, _)| follow.done().unwrap());
    }
}

fn held(dir: &std::path::Path, hold: &str) -> Follow {
    let mut follow = Follow::held(dir, hold).unwrap();
    follow.tell_rows();
    follow
}

/// The process of a follower ends, and another goes on from what the hold says.
fn go_on(dir: &std::path::Path, hold: &str, follow: &mut Follow, replica: &mut Replica) {
    let aside = Follow::now(dir).unwrap();
    drop(std::mem::replace(follow, aside));
    *follow = held(dir, hold);
    replica.go_back(follow.position());
}

/// Takes out the series that goes, whose dots nobody is told of when they go.
fn apart(mut rows: BTreeMap<String, Rows>) -> (BTreeMap<String, Rows>, Rows) {
    let old = rows.remove(OLD).unwrap_or_default();
    (rows, old)
}

fn run(seed: u64) {
    let clock = Arc::new(Running::default());
    clock.0.store(10, SeqCst);
    let of_store = clock.clone();
    disk::on(clock, move || {
        let mut random = Random::new(seed);
        let mut work = Work::new(of_store);
        for _ in 0..10 + random.below(150) {
            work.step(&mut random);
        }
        let dir = work.dir();
        if random.below(2) == 0 {
            work.followers.iter_mut().zip(HOLDS).for_each(|((follow, replica), hold)| {
                go_on(&dir, hold, follow, replica);
            });
        }
        let (expected, old) = apart(stored(&dir));
        let snapshot = Reader::open(&dir).unwrap().snapshot();
        let lost =
            |account: &dotter_store::Account| account.lost.values().map(|tally| tally.count).sum::<u64>();
        let lost: u64 = snapshot.ledger().iter().map(|(_, account)| lost(account)).sum();
        for ((follow, replica), hold) in work.followers.iter_mut().zip(HOLDS) {
            replica.follow(follow);
            let (told, told_old) = apart(replica.rows());
            assert_eq!(told, expected, "seed {seed}, {hold}");
            let all_told = old.iter().all(|row| told_old.binary_search(row).is_ok());
            assert!(all_told, "seed {seed}, {hold}: {old:?} of {told_old:?}");
            let losses = replica.commits.iter().filter_map(|commit| match &commit.what {
                What::Frame(news) => Some(news.losses.iter().map(|loss| loss.lost).sum::<u64>()),
                _ => None,
            });
            assert_eq!(losses.sum::<u64>(), lost, "seed {seed}, {hold}");
            let mut orders: Vec<_> = replica.commits.iter().map(|commit| commit.order).collect();
            orders.sort_unstable();
            assert!(orders.windows(2).all(|two| two[0] != two[1]), "seed {seed}, {hold}: told twice");
        }
        let verified = verify(&dir).unwrap();
        assert!(verified.damage.is_empty(), "seed {seed}: {:?}", verified.damage);
        // Nothing stays for followers that have ended.
        work.followers.drain(..).for_each(|(follow, _)| follow.end().unwrap());
        let purge = Deletion {
            pattern: Pattern::new("nothing"),
            first_key: None,
            last_key: None,
            range: TimeRange::ALL,
        };
        work.writer = None;
        Purge::begin(&dir, &purge).unwrap().run(&never, &|| ()).unwrap();
        (0..3).for_each(|_| _ = tidy(&dir, &work.machine()).unwrap());
        assert_eq!(std::fs::read_dir(dir.join("kept")).map_or(0, Iterator::count), 0, "seed {seed}");
    });
}

/// DOTTER_SEED says where it begins, DOTTER_CASES how many there are.
#[test]
fn followers_with_holds_make_of_the_commits_what_readers_see_as_the_store_grows_old() {
    let mut random = Random::from_env();
    let cases = std::env::var("DOTTER_CASES").map_or(40, |cases| cases.parse().expect("a number"));
    for _ in 0..cases {
        let seed = random.word();
        run(seed);
    }
}
