//! The bytes of version 3, pinned: from an empty store with a fixed name, fixed commits give the very files that
//! are kept in `golden/v3`, and fixed rules and passes those in `golden/v3-kept`; and those files read back as what was
//! committed.
//!
//! `DOTTER_GOLDEN=write` writes them anew.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dotter_dot::{
    Cell, Dots, Incarnation, Kind, Reason, SeriesName, Shape, TimeRange, Timestamp, Value, put_row,
};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, LaneRecords, Limits, Lost, Machine, Pattern, Reader, Refused, RingPart, Transaction,
    Writer,
};
use support::{copy, machine, push, row, rows, shape};

/// A disk whose random numbers are 1, 2, 3, ...
#[derive(Debug, Default)]
struct Numbered(AtomicU64);

impl Disk for Numbered {
    fn number(&self) -> std::io::Result<u64> {
        // Relaxed: one thread.
        Ok(self.0.fetch_add(1, Relaxed) + 1)
    }

    fn now(&self) -> Timestamp {
        at(777)
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_710_504_000 + seconds).unwrap()
}

fn counter() -> Shape {
    Shape::number().with_kind(Kind::Counter)
}

enum Row {
    Word(f64),
    Text(String),
    /// Of that shape of `support`, from these bits.
    Of(u64, u64),
}

const OPEN: Incarnation = Incarnation([6; 16]);

/// One dot of a counter of a ring that stays open, of six records of which the others are kept elsewhere.
fn count(writer: &mut Writer, total: u64) {
    let calls = writer.series(&name("app.calls;instance=worker-3"), &counter());
    let mut dots = Dots::default();
    dots.push_number(calls, true, at(500 + total), total as f64);
    let first = writer.ledger().next(OPEN, 1);
    let lanes = [LaneRecords { lane: 1, first, next: first + 6, elsewhere: 5, ..LaneRecords::default() }];
    let counters = [(calls, (total as f64).to_bits())];
    let ring = RingPart {
        incarnation: OPEN,
        application: "open",
        owner: Some(33),
        refusals: &[],
        counters: &counters,
        now: at(8),
    };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
}

/// One WAL file that is sealed, one commit of another process, one live WAL file closed in good order.
fn write(dir: &Path) {
    let over = |number| RingPart {
        incarnation: Incarnation([number; 16]),
        application: "over",
        owner: (number == 8).then_some(0),
        counters: &[],
        refusals: &[(Reason::SIGNAL_HANDLER, 4)],
        now: at(9),
    };
    let incarnation = Incarnation([7; 16]);
    for round in 0..2 {
        let mut writer = Writer::open_with(dir, 4096).unwrap();
        let load = writer.series(&name("host.load"), &Shape::number());
        let calls = writer.series(&name("app.calls;instance=worker-3"), &counter());
        let mut dots = Dots::default();
        let walk = writer.series(&name("walk"), &Shape::number());
        let log = writer.series(&name("log"), &shape(1));
        let request = writer.series(&name("request"), &shape(3 + round * 4));
        let (mut level, mut rest) = (0.0, Vec::new());
        for n in 0..300_u64 {
            level += (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / 7.0;
            rest.push((walk, false, at(round * 300 + n), Row::Word(level)));
            if n % 10 == 0 {
                let line = format!("10.0.0.{} GET /api/items/{n} 200", n % 7);
                rest.push((log, false, at(round * 300 + n), Row::Text(line)));
                rest.push((request, true, at(n), Row::Of(3 + round * 4, n)));
            }
        }
        for n in 0..20 {
            dots.push_number(load, true, at(round * 20 + n / 2), 0.25 * n as f64);
            dots.push_number(calls, false, at(round * 20 + n), (n * n) as f64);
        }
        let first = round * 57;
        let times = Some(TimeRange::new(at(1), at(2)));
        let lost = Lost { first: first + 40, next: first + 48, reason: Reason::LAPPED, times };
        let refused = Refused { first: first + 48, next: first + 50, reason: Reason::NAME };
        let (losses, refused) = (vec![lost], vec![refused]);
        let lanes = [LaneRecords { lane: 2, first, next: first + 57, losses, refused, elsewhere: 7 }];
        let refusals = [(Reason::SIGNAL_HANDLER, 3 + round)];
        let ring = RingPart {
            incarnation,
            application: "golden",
            owner: Some(1000),
            counters: &[],
            refusals: &refusals,
            now: at(9),
        };
        writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
        count(&mut writer, 10 + round);
        dots.clear();
        for (key, clock, time, row) in rest {
            match row {
                Row::Word(value) => dots.push_number(key, clock, time, value),
                Row::Text(line) => {
                    let mut bytes = Vec::new();
                    put_row([Value::Text(&line)], &mut bytes);
                    dots.push(key, clock, time, Cell::Row(&bytes));
                }
                Row::Of(shape, bits) => push(&mut dots, key, shape, clock, time.nanos(), bits),
            }
        }
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        if round == 1 {
            // Rings that are over.
            writer.finish(&ring, &[(2, 114)], at(99)).unwrap();
            writer.finish(&over(8), &[(0, 0)], at(5)).unwrap();
            writer.finish(&over(9), &[(0, 0)], at(5)).unwrap();
        }
        writer.sync().unwrap();
    }
    dotter_store::seal_all(dir, &|| false).unwrap();
    dotter_store::tidy(dir, &machine(at(50))).unwrap();
    // Somebody has not been told of what comes now.
    let follow = dotter_store::Follow::held(dir, "golden").unwrap();
    // The file with the name of the counter is sealed, the one behind it lives and uses the name's id: so there is a
    // names file.
    let mut writer = Writer::open_with(dir, 1).unwrap();
    count(&mut writer, 20);
    writer.sync().unwrap();
    dotter_store::seal_all(dir, &|| false).unwrap();
    // One finishes in the live log; of one that has finished nothing is taken any more.
    writer.finish(&over(5), &[], at(100)).unwrap();
    let again = writer.finish(&over(8), &[], at(100));
    assert!(matches!(again, Err(dotter_store::Error::Finished { .. })), "{again:?}");
    count(&mut writer, 21);
    writer.sync().unwrap();
    drop(writer);
    let weeks = Duration::from_secs(28 * 24 * 3600);
    dotter_store::tidy(dir, &machine(at(50).saturating_add(weeks))).unwrap();
    dotter_store::add(dir, vec![(name("before"), at(1), 1.5)]).unwrap();
    dotter_store::rename(dir, &name("before"), &name("renamed"), &|| false, &|| ()).unwrap();
    dotter_store::add(dir, vec![(name("host.load"), at(1000), -0.0), (name("host.load"), at(3), 7.5)])
        .unwrap();
    // When it was written is another time each time.
    drop(follow);
    fs::remove_dir_all(dir.join("hold")).unwrap();
}

/// Dots under rules, some of which change, until some have become steps and some of those coarser ones.
fn keep(dir: &Path) {
    let rules = |minutes: &str| {
        let text = format!(
            "[[rule]]\npattern = \"web.%\"\nkeep = \"10s:2h, {minutes}, 1h:5y\"\naggregation = \"max\"\n\
             condense = \"10s\"\n[[rule]]\nregex = \"^odd(\"\nkeep = \"raw:1d\"\n"
        );
        fs::write(dir.join("retention.toml"), text).unwrap();
        let files = "[all]\npattern = ^app\\.\nretentions = 60:1d\n";
        fs::write(dir.join("storage-schemas.conf"), files).unwrap();
        let aggregation = "[sums]\npattern = \\.count$\nxFilesFactor = 0\naggregationMethod = sum\n";
        fs::write(dir.join("storage-aggregation.conf"), aggregation).unwrap();
        assert!(dotter_store::take_rules(dir).unwrap().changed);
    };
    fs::create_dir_all(dir.join("wal")).unwrap();
    rules("1m:1d");
    const HALF: u64 = 1800;
    for half in 0..120 {
        if half % 8 == 0 {
            let row = |n: u64| {
                let name = name(["web.took", "web.count", "app.load", "for.ever"][n as usize % 4]);
                (name, at(half * HALF + n * 36), (n % 23) as f64 / 4.0)
            };
            dotter_store::add(dir, (0..400).map(row).collect::<Vec<_>>()).unwrap();
            dotter_store::compact_major(dir, &|| false, &|_, _| ()).unwrap();
        }
        if half == 116 {
            rules("1m:2d");
        }
        let since_boot = Duration::from_secs(half * HALF);
        let machine = Machine { wall: at((half + 1) * HALF), boot: [0xb0; 16], since_boot };
        dotter_store::retain(dir, &machine, &Limits::default(), &|| false).unwrap();
    }
    // Of the last dots, as many as half an hour has.
    let range = TimeRange::new(at(112 * HALF), at(113 * HALF));
    let (first_key, last_key) = (Some("web.".to_owned()), None);
    let pattern = Pattern::new("%.count");
    dotter_store::delete(dir, &Deletion { pattern, first_key, last_key, range }).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("MANIFEST"), PathBuf::from("MANIFEST.2")];
    for folder in ["wal", "seg", "ledger", "kept"].into_iter().filter(|folder| dir.join(folder).exists()) {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            files.push(Path::new(folder).join(entry.unwrap().file_name()));
        }
    }
    files.sort();
    files
}

/// The bytes of a file; of MANIFEST up to what is published, without the room that is set aside behind it.
fn bytes(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    if path.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
        let published = u64::from_le_bytes(bytes[512..520].try_into().unwrap());
        bytes.truncate(published as usize);
    }
    bytes
}

/// Shows what a build of version 3 writes, on a disk with fixed random numbers and in a boot of its own.
#[test]
fn fixed_commits_give_the_same_bytes() {
    gives("v3", &write);
}

/// As [`fixed_commits_give_the_same_bytes`], of what rules say: places, steps, what is held, readings and a delete.
#[test]
fn fixed_rules_and_passes_give_the_same_bytes() {
    gives("v3-kept", &keep);
}

/// Checks that a store that `write` has made has the bytes that are kept under a name.
fn gives(name: &str, write: &dyn Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let (begin, kept) = (golden().join("empty"), golden().join(name));
    let is_written = std::env::var_os("DOTTER_GOLDEN").is_some();
    disk::in_boot([0xb0; 16], || {
        if is_written {
            disk::on(Arc::new(Numbered::default()), || {
                // A list without a log, so that it has nothing but its ids.
                dotter_store::add(dir.path(), Vec::new()).unwrap();
                fs::create_dir_all(&begin).unwrap();
                fs::write(begin.join("MANIFEST"), bytes(&dir.path().join("MANIFEST"))).unwrap();
            });
        }
        for name in ["MANIFEST", "MANIFEST.2"] {
            fs::copy(begin.join("MANIFEST"), dir.path().join(name)).unwrap();
        }
        disk::on(Arc::new(Numbered::default()), || write(dir.path()));
    });
    if is_written {
        let _ = fs::remove_dir_all(&kept);
        for file in files(dir.path()) {
            fs::create_dir_all(kept.join(&file).parent().unwrap()).unwrap();
            fs::write(kept.join(&file), bytes(&dir.path().join(&file))).unwrap();
        }
    }
    assert_eq!(files(dir.path()), files(&kept));
    for file in files(&kept) {
        let (found, expected) = (bytes(&dir.path().join(&file)), bytes(&kept.join(&file)));
        assert!(found == expected, "{} is not what it was", file.display());
    }
}

/// Every file of a directory, with its bytes.
fn everything(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything(&path, found);
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
}

/// Shows P32.
#[test]
fn stores_of_earlier_versions_are_refused_by_everybody_and_not_touched() {
    // Of version 0 the list has a second name; of the others it has a copy.
    for (version, copy) in [(0, "MANIFEST.old"), (1, "MANIFEST.2"), (2, "MANIFEST.2")] {
        is_refused(version, copy);
    }
}

/// - `second`: the name of the other file that has the list
fn is_refused(version: u32, second: &str) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    copy(&golden().join(format!("version-{version}")), &dir);
    let mut before = Vec::new();
    everything(&dir, &mut before);
    type Way<'a> = (&'a str, &'a dyn Fn() -> Option<Error>);
    let all = Deletion { pattern: Pattern::new("%"), first_key: None, last_key: None, range: TimeRange::ALL };
    let ways: [Way<'_>; 9] = [
        ("read", &|| Reader::open(&dir).err()),
        ("write", &|| Writer::open(&dir).err()),
        ("add", &|| dotter_store::add(&dir, vec![(name("a"), at(0), 1.0)]).err()),
        ("delete", &|| dotter_store::delete(&dir, &all).err()),
        ("seal", &|| dotter_store::seal_all(&dir, &|| false).err()),
        ("compact", &|| dotter_store::compact(&dir, &|| false).err()),
        ("verify", &|| dotter_store::verify(&dir).err()),
        ("backup", &|| dotter_store::backup(&dir, &root.path().join("copy"), &|| false).err()),
        ("tidy", &|| dotter_store::tidy(&dir, &machine(at(50))).err()),
    ];
    for damaged in [false, true] {
        if damaged {
            // What is damaged of it is not made again.
            fs::copy(dir.join("MANIFEST"), dir.join(second)).unwrap();
            fs::write(dir.join("MANIFEST"), b"rubbish").unwrap();
            before.clear();
            everything(&dir, &mut before);
        }
        for (way, refused) in ways {
            let error = refused().unwrap_or_else(|| panic!("{way} is refused"));
            let dir = dir.display();
            let expected = format!(
                "{dir}: store format {version}, this build reads 3: with the build that made it 'dotter-store -d {dir} \
                 export', then 'dotter-store -d NEW import'"
            );
            assert_eq!(error.to_string(), expected, "{way}");
        }
        let mut after = Vec::new();
        everything(&dir, &mut after);
        assert!(before == after, "nothing was touched");
    }
}

#[test]
fn the_files_kept_read_as_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden().join("v3"), dir.path());
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    let names: Vec<_> = snapshot.series().collect();
    let expected = ["app.calls;instance=worker-3", "host.load", "log", "renamed", "request", "walk"];
    assert_eq!(names, expected.map(name));
    let load = snapshot.read("host.load", TimeRange::ALL).unwrap();
    assert_eq!(load.len(), 42);
    // Two clock stamps in each second, the second of them a nanosecond later; the explicit dot beside them.
    assert_eq!((load[0].time, load[0].value), (at(0), 0.0));
    assert_eq!((load[1].time.nanos(), load[1].value), (at(0).nanos() + 1, 0.25));
    assert_eq!((load[6].time, load[6].value), (at(3), 7.5));
    assert_eq!(load[41].value.to_bits(), (-0.0_f64).to_bits());
    let calls = snapshot.read("app.calls;instance=worker-3", TimeRange::new(at(30), at(33))).unwrap();
    assert_eq!(calls.iter().map(|dot| dot.value).collect::<Vec<_>>(), [100.0, 121.0, 144.0]);
    let calls = snapshot.read("app.calls;instance=worker-3", TimeRange::new(at(520), at(522))).unwrap();
    assert_eq!(calls.iter().map(|dot| dot.value).collect::<Vec<_>>(), [20.0, 21.0]);
    assert_eq!(snapshot.stat().names_files, 1);
    assert_eq!(snapshot.shape("app.calls;instance=worker-3").unwrap(), Some(counter()));
    let account = snapshot.ledger().account(Incarnation([7; 16])).unwrap();
    assert_eq!(
        (account.application.as_str(), account.first_seen, account.finished),
        ("golden", at(9), Some(at(99)))
    );
    assert_eq!((account.published(), account.stored(), account.elsewhere()), (118, 80, 14));
    assert_eq!((account.lost(), account.refused()), (16, 8));
    assert!(account.is_balanced());
    assert_eq!(account.owner, Some(1000));
    assert_eq!(account.lost[&Reason::LAPPED].spans.len(), 2);
    assert_eq!(snapshot.ledger().totals.stored_other, 3 + 2 * 360);
    let over = snapshot.ledger().account(Incarnation([8; 16])).unwrap();
    assert_eq!((over.refused(), over.finished, over.owner), (4, Some(at(5)), Some(0)));
    let open = snapshot.ledger().account(OPEN).unwrap();
    assert_eq!((open.published(), open.stored(), open.elsewhere(), open.owner), (24, 4, 20, Some(33)));
    let totals: Vec<_> = open.counters.iter().collect();
    assert_eq!(totals, [(&name("app.calls;instance=worker-3"), &counter(), 21.0_f64.to_bits())]);
    let whole = snapshot.ledger().account(Incarnation([9; 16])).unwrap();
    assert_eq!((whole.application.as_str(), whole.refused()), ("over", 4));
    let sums: Vec<_> = snapshot.ledger().applications().collect();
    let of = |name: &str| sums.iter().find(|(of, _)| *of == name).map(|(_, sum)| (sum.rings, sum.refused()));
    assert_eq!((sums.len(), of("over"), of("golden")), (2, Some((3, 12)), Some((1, 8))));
    let walk = snapshot.read("walk", TimeRange::ALL).unwrap();
    assert_eq!(walk.len(), 600);
    let steps = |n: u64| (0..=n).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / 7.0);
    assert_eq!((walk[7].time, walk[7].value), (at(7), steps(7).fold(0.0, |level, step| level + step)));
    let mut scan = snapshot.scan();
    let log = rows(&mut scan, "log", TimeRange::ALL);
    let mut line = Vec::new();
    put_row([Value::Text("10.0.0.6 GET /api/items/20 200")], &mut line);
    assert_eq!((log.len(), &log[2]), (60, &(at(20).nanos(), false, shape(1), line)));
    let requests = rows(&mut scan, "request", TimeRange::ALL);
    assert_eq!(requests[0], (at(0).nanos(), true, shape(3), row(3, 0)));
    assert_eq!(requests[1], (at(0).nanos() + 1, true, shape(7), row(7, 0)));
    assert_eq!(snapshot.shape("request").unwrap(), Some(shape(7)));
    assert!(dotter_store::verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn the_steps_kept_read_as_what_the_dots_came_to() {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden().join("v3-kept"), dir.path());
    fs::create_dir_all(dir.path().join("wal")).unwrap();
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.rules().skipped().len(), 1);
    assert_eq!(
        snapshot.rules().told("web.count"),
        "pattern web.%: 10s:2h, 1m:2d, 1h:1825d; sum, x-files-factor 0; histograms condensed to 10s"
    );
    let steps: Vec<_> =
        snapshot.stat().places.iter().map(|placed| placed.place.tier.step.as_secs()).collect();
    assert!([0, 60, 3600].iter().all(|step| steps.contains(step)), "{steps:?}");
    let hours = |name| snapshot.rollups(name, TimeRange::ALL, Duration::from_secs(3600)).unwrap();
    // All hundred dots of a series of each four hours but those deleted.
    assert_eq!(hours("web.took").iter().map(|step| step.count).sum::<u64>(), 1500);
    assert_eq!(hours("web.count").iter().map(|step| step.count).sum::<u64>(), 1487);
    let first = &hours("web.took")[0];
    // A dot each 144 seconds: too little of each minute is known for a number of its own, where half is wanted.
    assert_eq!((first.time, first.count, first.max, first.value), (at(0), 25, 5.5, None));
    let sums = &hours("web.count")[0];
    assert_eq!((sums.count, sums.value), (25, Some(sums.sum)));
    assert_eq!(snapshot.read("for.ever", TimeRange::ALL).unwrap().len(), 1500);
    assert!(dotter_verify(dir.path()).is_empty());
}

fn dotter_verify(dir: &Path) -> Vec<dotter_store::Damage> {
    dotter_store::verify(dir).unwrap().damage
}
