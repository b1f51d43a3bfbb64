//! Rings that are over: their accounts leave MANIFEST for a file of their own and in the end become a sum, and
//! whoever looks, however long he has been there, sees the same.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotter_dot::{Dots, Incarnation, Kind, Reason, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{
    COUNTERS_BYTES_MAX, Error, LaneRecords, Ledger, Lost, Machine, Reader, RingPart, Transaction, Writer,
    seal_all, verify,
};
use support::{copy, flip, machine, published};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> Timestamp {
    Timestamp::from_secs(1_710_504_000).unwrap()
}

fn tidy(dir: &Path, now: Timestamp) -> Result<bool, Error> {
    dotter_store::tidy(dir, &machine(now))
}

fn ring(number: u32) -> Incarnation {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Incarnation(bytes)
}

fn part(number: u32, refusals: &[(Reason, u64)]) -> RingPart<'_> {
    let application = if number.is_multiple_of(2) { "even" } else { "odd" };
    RingPart { incarnation: ring(number), application, refusals, now: start(), ..RingPart::default() }
}

/// Ten dots and two losses of a new ring.
fn publish(writer: &mut Writer, number: u32) {
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let first = writer.ledger().next(ring(number), 0);
    let mut dots = Dots::default();
    for n in first..first + 10 {
        dots.push_number(key, false, Timestamp::from_nanos(u64::from(number) * 1000 + n), 1.5);
    }
    let lost = Lost { first: first + 10, next: first + 12, reason: Reason::LAPPED, times: None };
    let lanes =
        [LaneRecords { lane: 0, first, next: first + 12, losses: vec![lost], ..LaneRecords::default() }];
    writer.append(&Transaction { ring: Some(part(number, &[])), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn finish(writer: &mut Writer, number: u32, at: Timestamp) {
    let next = writer.ledger().next(ring(number), 0);
    writer.finish(&part(number, &[(Reason::SIGNAL_HANDLER, 1)]), &[(0, next)], at).unwrap();
    writer.sync().unwrap();
}

/// Closes the log's last file and makes segments of all.
fn seal(dir: &Path, writer: &mut Option<Writer>) {
    *writer = None;
    *writer = Some(Writer::open(dir).unwrap());
    seal_all(dir, &|| false).unwrap();
    // As the collector does with each commit.
    writer.as_mut().unwrap().unsealed();
}

fn ledger_files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("ledger")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn read(dir: &Path) -> Ledger {
    Reader::open(dir).unwrap().snapshot().ledger().clone()
}

fn accounts(ledger: &Ledger) -> Vec<(Incarnation, dotter_store::Account)> {
    ledger.iter().map(|(incarnation, account)| (incarnation, account.clone())).collect()
}

/// 50 rings of which 40 are finished, sealed and moved.
fn store(dir: &Path) -> Option<Writer> {
    let mut writer = Some(Writer::open(dir).unwrap());
    for number in 0..50 {
        publish(writer.as_mut().unwrap(), number);
    }
    for number in 0..40 {
        finish(writer.as_mut().unwrap(), number, start().saturating_add(DAY * (number / 4)));
    }
    seal(dir, &mut writer);
    writer
}

#[test]
fn the_last_totals_of_counters_are_there_until_the_ring_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    let orders = SeriesName::new("orders").unwrap();
    let shape = Shape::number().with_kind(Kind::Counter);
    let check = |writer: &Writer, total: Option<f64>| {
        for ledger in [writer.ledger(), &read(dir.path())] {
            let account = ledger.account(ring(4)).unwrap();
            assert_eq!(account.counters.total(&orders, &shape), total.map(f64::to_bits));
            assert_eq!(account.counters.len(), total.iter().count());
        }
    };
    for round in 0..3_u64 {
        let of = writer.as_mut().unwrap();
        let key = of.series(&orders, &shape);
        let mut dots = Dots::default();
        dots.push_number(key, true, start(), 10.0);
        let lanes = [LaneRecords { first: round, next: round + 1, ..LaneRecords::default() }];
        let counters = [(key, (round as f64).to_bits())];
        let part = RingPart { counters: &counters, ..part(4, &[]) };
        of.append(&Transaction { ring: Some(part), lanes: &lanes, dots: &dots }).unwrap();
        // A total by itself: its counter is declared all the same.
        let counters = [(key, (round as f64 + 0.5).to_bits())];
        let part = RingPart { counters: &counters, ..part };
        of.append(&Transaction { ring: Some(part), lanes: &[], dots: &Dots::default() }).unwrap();
        of.sync().unwrap();
        check(of, Some(round as f64 + 0.5));
        seal(dir.path(), &mut writer);
        check(writer.as_ref().unwrap(), Some(round as f64 + 0.5));
    }
    finish(writer.as_mut().unwrap(), 4, start());
    check(writer.as_ref().unwrap(), None);
}

/// Shows P21.
#[test]
fn a_ring_with_more_counters_than_its_account_keeps_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let long = "x".repeat(4000);
    let key = |writer: &mut Writer, number: usize| {
        let name = SeriesName::new(&format!("{long}.{number}")).unwrap();
        writer.series(&name, &Shape::number())
    };
    let append = |writer: &mut Writer, numbers: std::ops::Range<usize>| {
        let counters: Vec<_> = numbers.map(|number| (key(writer, number), 1)).collect();
        let part = RingPart { counters: &counters, ..part(4, &[]) };
        writer.append(&Transaction { ring: Some(part), lanes: &[], dots: &Dots::default() })
    };
    let many = COUNTERS_BYTES_MAX / 4000;
    assert!(matches!(append(&mut writer, 0..many), Err(Error::TooManyCounters { .. })));
    assert!(writer.ledger().account(ring(4)).is_none(), "nothing has happened");
    append(&mut writer, 0..many - 50).unwrap();
    let refused = append(&mut writer, many - 50..many).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("further counters of ring {}", ring(4))), "{refused}");
    append(&mut writer, 0..10).unwrap();
    writer.sync().unwrap();
    for ledger in [writer.ledger(), &read(dir.path())] {
        assert_eq!(ledger.account(ring(4)).unwrap().counters.len(), many - 50);
    }
}

#[test]
fn accounts_move_out_of_the_list_and_nobody_sees_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    let before = accounts(reader.snapshot().ledger());
    assert!(ledger_files(dir.path()).is_empty());

    assert!(tidy(dir.path(), start()).unwrap());
    assert_eq!(ledger_files(dir.path()).len(), 1);
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    assert_eq!(accounts(reader.snapshot().ledger()), before);
    assert_eq!(accounts(writer.as_ref().unwrap().ledger()), before);
    assert_eq!(accounts(&read(dir.path())), before);
    assert_eq!(writer.as_ref().unwrap().ledger().next(ring(3), 0), 12, "it is known where a ring ended");

    // There is nothing left to do.
    assert!(!tidy(dir.path(), start()).unwrap());
    assert_eq!(ledger_files(dir.path()).len(), 1);
    assert!(verify(dir.path()).unwrap().damage.is_empty());

    // More rings end: the file is written anew, and the one before goes.
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    let before = accounts(&read(dir.path()));
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(ledger_files(dir.path()).len(), 1);
    assert_eq!(accounts(&read(dir.path())), before);
}

/// Twenty rings moved at the start, twenty ten days later, ten are open.
fn old_store(dir: &Path) -> Option<Writer> {
    let mut writer = Some(Writer::open(dir).unwrap());
    for number in 0..50 {
        publish(writer.as_mut().unwrap(), number);
    }
    for (numbers, days) in [(0..20, 0), (20..40, 10)] {
        for number in numbers {
            finish(writer.as_mut().unwrap(), number, start());
        }
        seal(dir, &mut writer);
        tidy(dir, start().saturating_add(DAY * days)).unwrap();
        writer.as_mut().unwrap().unsealed();
    }
    writer
}

fn count(ledger: &Ledger) -> (usize, usize) {
    (ledger.iter().count(), ledger.applications().count())
}

#[test]
fn after_thirty_days_a_ring_is_part_of_its_applications_sum() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = old_store(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(count(&read(dir.path())), (50, 0));
    let later = start().saturating_add(DAY * 31);
    tidy(dir.path(), later).unwrap();
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    let ledgers =
        [read(dir.path()), reader.snapshot().ledger().clone(), writer.as_ref().unwrap().ledger().clone()];
    for ledger in &ledgers {
        assert_eq!(count(ledger), (30, 2));
        for (name, application) in ledger.applications() {
            assert!(name == "even" || name == "odd");
            assert_eq!((application.rings, application.stored, application.lost()), (10, 100, 20));
            assert_eq!((application.published(), application.refused()), (130, 10));
            assert_eq!(application.lost[&Reason::LAPPED], 20);
            assert_eq!(application.finished, start());
        }
        assert_eq!(ledger.next(ring(3), 0), 0, "whoever comes with it is asked for all it has");
        assert_eq!(ledger.next(ring(20), 0), 12);
    }
    // Seals and restarts later there are as many.
    publish(writer.as_mut().unwrap(), 90);
    seal(dir.path(), &mut writer);
    while tidy(dir.path(), later).unwrap() {}
    assert_eq!(count(&read(dir.path())), (31, 2));
    let of = |number| read(dir.path()).account(ring(number)).cloned().unwrap();
    assert_eq!((of(90).stored(), of(49).stored(), of(49).finished), (10, 10, None), "open ones stay");
}

#[test]
fn a_wall_clock_that_jumps_makes_no_ring_old() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = old_store(dir.path());
    let mut jumped = machine(start().saturating_add(DAY * 10));
    for minute in 1..5 {
        jumped.wall = start().saturating_add(DAY * 4000);
        jumped.since_boot += Duration::from_secs(60 * minute);
        while dotter_store::tidy(dir.path(), &jumped).unwrap() {}
        assert_eq!(count(&read(dir.path())), (50, 0));
    }
}

#[test]
fn thirty_days_are_running_time_whatever_the_wall_clock_shows() {
    let at = |days: u64, wall: u64| {
        let of = machine(start().saturating_add(DAY * days as u32));
        Machine { wall: Timestamp::from_nanos(wall), ..of }
    };
    let right = |days: u32| start().saturating_add(DAY * days).nanos();
    let dir = tempfile::tempdir().unwrap();
    let _writer = old_store(dir.path());
    for (told_apart, machine) in [
        (50, at(29, 0)),
        (50, at(29, u64::MAX)),
        // Another machine, which has been on for two months, has the store from the eleventh day on.
        (50, Machine { boot: [2; 16], ..at(60, right(11)) }),
        (30, at(30, 0)),
    ] {
        while dotter_store::tidy(dir.path(), &machine).unwrap() {}
        assert_eq!(count(&read(dir.path())).0, told_apart, "{machine:?}");
    }
}

#[test]
fn a_ring_that_the_live_log_tells_of_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = old_store(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    publish(writer.as_mut().unwrap(), 3);
    let mut later = start().saturating_add(DAY * 31);
    for round in 0..3 {
        tidy(dir.path(), later).unwrap();
        reader.refresh(None).unwrap();
        writer.as_mut().unwrap().unsealed();
        let ledgers =
            [read(dir.path()), reader.snapshot().ledger().clone(), writer.as_ref().unwrap().ledger().clone()];
        for ledger in &ledgers {
            assert_eq!(count(ledger), (31, 2), "round {round}");
            let account = ledger.account(ring(3)).unwrap();
            assert_eq!((account.stored(), account.lost(), account.is_balanced()), (20, 4, true));
        }
        if round == 0 {
            seal(dir.path(), &mut writer);
        }
        later = later.saturating_add(DAY);
    }
}

#[test]
fn what_is_told_of_a_ring_after_it_moved_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    tidy(dir.path(), start()).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    writer.as_mut().unwrap().finish(&part(3, &[(Reason::SIGNAL_HANDLER, 9)]), &[(0, 12)], start()).unwrap();
    writer.as_mut().unwrap().sync().unwrap();
    for round in 0..3 {
        reader.refresh(None).unwrap();
        for ledger in [read(dir.path()), reader.snapshot().ledger().clone()] {
            let account = ledger.account(ring(3)).unwrap();
            assert_eq!((account.published(), account.refused()), (21, 9), "round {round}");
            assert_eq!(ledger.iter().count(), 50);
        }
        match round {
            0 => seal(dir.path(), &mut writer),
            _ => _ = tidy(dir.path(), start()).unwrap(),
        }
    }
}

#[test]
fn a_seal_that_began_before_brings_nothing_back() {
    let root = tempfile::tempdir().unwrap();
    let (dir, lost) = (root.path().join("store"), root.path().join("lost"));
    let mut writer = old_store(&dir);
    publish(writer.as_mut().unwrap(), 49);
    for number in 40..45 {
        finish(writer.as_mut().unwrap(), number, start());
    }
    drop(writer.take());
    writer = Some(Writer::open(&dir).unwrap());
    let late = start().saturating_add(DAY * 31);
    let tidied = std::cell::Cell::new(false);
    // Asked in the middle of the seal, after it has read the list.
    let cancel = || {
        if !tidied.replace(true) {
            tidy(&dir, late).unwrap();
        }
        false
    };
    assert_eq!(seal_all(&dir, &cancel).unwrap(), 10);
    assert!(tidied.get());
    drop(writer);
    copy(&dir, &lost);
    fs::write(lost.join("MANIFEST"), b"rubbish").unwrap();
    for dir in [&dir, &lost] {
        for _ in 0..2 {
            let ledger = read(dir);
            let sums: Vec<_> = ledger.applications().map(|(_, sum)| (sum.rings, sum.stored)).collect();
            assert_eq!(sums, [(10, 100), (10, 100)]);
            assert_eq!(count(&ledger), (30, 2));
            assert_eq!(ledger.account(ring(49)).unwrap().stored(), 20);
            assert!(ledger.account(ring(44)).unwrap().finished.is_some());
            tidy(dir, late).unwrap();
        }
    }
}

#[test]
fn a_list_that_goes_back_takes_nobody_s_account_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = old_store(dir.path());
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    tidy(dir.path(), start()).unwrap();
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    fs::write(dir.path().join("MANIFEST"), b"rubbish").unwrap();
    let row = (SeriesName::new("b").unwrap(), Timestamp::from_nanos(1), 1.0);
    dotter_store::add(dir.path(), vec![row]).unwrap();
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    for ledger in [reader.snapshot().ledger(), writer.as_ref().unwrap().ledger(), &read(dir.path())] {
        assert_eq!((count(ledger), ledger.next(ring(45), 0)), ((50, 0), 12));
    }
}

#[test]
fn a_lost_list_is_made_again_with_the_rings_that_had_moved() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = store(&dir);
    tidy(&dir, start()).unwrap();
    finish(writer.as_mut().unwrap(), 45, start());
    type Step<'a> = &'a dyn Fn(&Path, &mut Option<Writer>);
    let steps: [Step<'_>; 4] = [
        &|dir, writer| seal(dir, writer),
        &|dir, _| _ = tidy(dir, start()).unwrap(),
        &|dir, writer| {
            publish(writer.as_mut().unwrap(), 46);
            seal(dir, writer);
        },
        &|dir, _| while tidy(dir, start()).unwrap() {},
    ];
    for (number, step) in steps.iter().enumerate() {
        step(&dir, &mut writer);
        let expected = read(&dir);
        let lost = root.path().join(number.to_string());
        copy(&dir, &lost);
        for name in ["MANIFEST", "MANIFEST.2"] {
            fs::write(lost.join(name), b"rubbish").unwrap();
        }
        assert_eq!(accounts(&read(&lost)), accounts(&expected), "step {number}");
        // And goes on from there.
        let mut writer = Some(Writer::open(&lost).unwrap());
        publish(writer.as_mut().unwrap(), 47);
        seal(&lost, &mut writer);
        while tidy(&lost, start()).unwrap() {}
        assert_eq!(accounts(&read(&lost)).len(), accounts(&expected).len(), "step {number}");
        // Until somebody has looked, it is told that the list was rebuilt.
        fs::remove_file(lost.join("MANIFEST.damaged")).unwrap();
        assert!(verify(&lost).unwrap().damage.is_empty());
    }
}

#[test]
fn a_damaged_file_costs_what_is_damaged_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    while tidy(dir.path(), start()).unwrap() {}
    let path = ledger_files(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 0x10;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert_eq!(verified.damage.len(), 1);
    assert_eq!(verified.damage[0].path, path);
    let ledger = read(dir.path());
    assert_eq!(ledger.iter().count(), 49, "one of 50");
    assert_eq!(ledger.damage().len(), 1);
    // The store goes on, and the damaged file is there for whoever can mend it.
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(read(dir.path()).account(ring(45)).unwrap().finished, Some(start()));
    fs::write(&path, &whole).unwrap();
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(read(dir.path()).iter().count(), 50);
    assert!(!path.exists());

    // One that is gone is named as well.
    let path = ledger_files(dir.path()).remove(0);
    fs::remove_file(&path).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert!(verified.damage[0].what.contains("missing"), "{}", verified.damage[0].what);
    assert_eq!(read(dir.path()).iter().count(), 9);
    drop(writer);
    Writer::open(dir.path()).unwrap();
}

#[test]
fn a_file_that_is_gone_is_named_where_the_last_edit_is_in_manifest_2_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    while tidy(dir.path(), start()).unwrap() {}
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    flip(&dir.path().join("MANIFEST"), published(dir.path()) - 16);
    fs::remove_file(ledger_files(dir.path()).remove(0)).unwrap();
    let path = dir.path().to_owned();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(read(&path)));
    let ledger = told.recv_timeout(Duration::from_secs(20)).expect("it comes to an end");
    assert!(ledger.damage()[0].contains("missing"), "{:?}", ledger.damage());
    // No commit takes it for a file that never was.
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(read(dir.path()).damage().len(), 1);
    assert_eq!(read(dir.path()).account(ring(45)).unwrap().finished, Some(start()));
}

#[test]
fn a_list_whose_edit_of_the_move_is_lost_has_the_file_that_was_made_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    tidy(dir.path(), start()).unwrap();
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    let at = published(dir.path());
    while tidy(dir.path(), start().saturating_add(DAY)).unwrap() {}
    assert_eq!(ledger_files(dir.path()).len(), 1, "that of before is gone");
    let expected = read(dir.path());
    ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| flip(&dir.path().join(name), at + 44));
    let ledger = read(dir.path());
    assert!(accounts(&ledger) == accounts(&expected), "{} accounts", ledger.iter().count());
    assert!(ledger.damage().is_empty(), "{:?}", ledger.damage());
}

#[test]
fn a_copy_has_the_rings_that_are_over() {
    let root = tempfile::tempdir().unwrap();
    let (dir, to) = (root.path().join("store"), root.path().join("copy"));
    let _writer = store(&dir);
    tidy(&dir, start()).unwrap();
    dotter_store::backup(&dir, &to, &|| false).unwrap();
    assert_eq!(accounts(&read(&to)), accounts(&read(&dir)));
    assert!(verify(&to).unwrap().damage.is_empty());
}

#[test]
fn what_a_swap_replaced_waits_for_the_next_no_longer_than_that() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..16 {
        let row = (SeriesName::new("a").unwrap(), Timestamp::from_nanos(n), 1.0);
        dotter_store::add(dir.path(), vec![row]).unwrap();
    }
    dotter_store::compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    let segments = || fs::read_dir(dir.path().join("seg")).unwrap().count();
    assert_eq!(segments(), 17);
    assert!(tidy(dir.path(), start()).unwrap());
    assert_eq!(segments(), 1);
    assert!(!tidy(dir.path(), start()).unwrap());
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.read("a", TimeRange::ALL).unwrap().len(), 16);
}
