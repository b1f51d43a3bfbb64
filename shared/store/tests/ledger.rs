//! Rings that are over: they count in the sum of their application and are known by 16 bytes in a file, and whoever looks,
//! however long he has been there, sees the same.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{Dots, Kind, Reason, SeriesName, Shape, Timestamp};
use dotter_store::{
    COUNTERS_BYTES_MAX, Error, LaneRecords, Ledger, Machine, Reader, RingPart, Transaction, Writer, seal_all,
    verify,
};
use support::rings::{
    DAY, a_total, accounts, counts, finish, finished, ledger_files, part, publish, read, ring, seal, start,
    store, tidy,
};
use support::{copy, machine};

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
fn finished_rings_move_out_of_the_list_and_nobody_sees_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    let look = |ledger: &Ledger| (accounts(ledger), counts(ledger));
    let before = look(reader.snapshot().ledger());
    assert!(ledger_files(dir.path()).is_empty());

    assert!(tidy(dir.path(), start()).unwrap());
    assert_eq!(ledger_files(dir.path()).len(), 1);
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    assert_eq!(look(reader.snapshot().ledger()), before);
    assert_eq!(look(writer.as_ref().unwrap().ledger()), before);
    assert_eq!(look(&read(dir.path())), before);
    assert_eq!(finished(&read(dir.path())), Vec::from_iter(0..40));

    // There is nothing left to do.
    assert!(!tidy(dir.path(), start()).unwrap());
    assert!(verify(dir.path()).unwrap().damage.is_empty());

    // More rings end: one is a small file, and with more of them that file is written anew.
    for (number, files) in [(45, 2), (46, 2), (47, 3), (48, 2)] {
        finish(writer.as_mut().unwrap(), number, start());
        seal(dir.path(), &mut writer);
        let before = look(&read(dir.path()));
        while tidy(dir.path(), start()).unwrap() {}
        assert_eq!(ledger_files(dir.path()).len(), files);
        assert_eq!(look(&read(dir.path())), before);
    }
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

#[test]
fn thirty_days_after_it_finished_a_ring_is_not_known_and_its_dots_count_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = old_store(dir.path());
    let mut reader = Reader::open(dir.path()).unwrap();
    let before = counts(&read(dir.path()));
    assert_eq!(before.2, Vec::from_iter(0..40));
    let later = start().saturating_add(DAY * 31);
    while tidy(dir.path(), later).unwrap() {}
    assert_eq!(ledger_files(dir.path()).len(), 1);
    reader.refresh(None).unwrap();
    writer.as_mut().unwrap().unsealed();
    let ledgers =
        [read(dir.path()), reader.snapshot().ledger().clone(), writer.as_ref().unwrap().ledger().clone()];
    for ledger in &ledgers {
        assert_eq!(finished(ledger), Vec::from_iter(20..40));
        assert_eq!((&counts(ledger).0, &counts(ledger).1), (&before.0, &before.1));
        for (name, application) in ledger.applications() {
            assert!(name == "even" || name == "odd");
            assert_eq!((application.rings, application.stored, application.lost()), (20, 200, 40));
            assert_eq!((application.published(), application.refused()), (260, 20));
            assert_eq!(application.lost[&Reason::LAPPED], 40);
            assert_eq!(application.finished, start());
        }
    }
    // Whoever comes with one of them is asked for all it has, and it is another ring.
    writer.as_mut().unwrap().append(&a_total(3)).unwrap();
    writer.as_mut().unwrap().sync().unwrap();
    let account = read(dir.path()).account(ring(3)).cloned().unwrap();
    assert_eq!((account.published(), account.finished, account.unsure), (1, None, false));
}

/// Shows P10.
#[test]
fn of_a_finished_ring_nothing_more_is_booked_wherever_it_is_known_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    publish(writer.as_mut().unwrap(), 3);
    finish(writer.as_mut().unwrap(), 3, start());
    for place in ["log", "list", "file", "file, after a restart"] {
        match place {
            "list" => seal(dir.path(), &mut writer),
            "file" => {
                while tidy(dir.path(), start()).unwrap() {}
                writer.as_mut().unwrap().unsealed();
            }
            "log" => {}
            _ => {
                drop(writer.take());
                writer = Some(Writer::open(dir.path()).unwrap());
            }
        }
        let of = writer.as_mut().unwrap();
        let again = [of.append(&a_total(3)), of.finish(&part(3, &[]), &[(0, 12)], start())];
        for outcome in again {
            assert!(
                matches!(outcome, Err(Error::Finished { incarnation }) if incarnation == ring(3)),
                "{place}"
            );
        }
        of.sync().unwrap();
        let ledger = read(dir.path());
        assert_eq!((of.ledger(), of.ledger().is_finished(ring(3))), (&ledger, true), "{place}");
        let sums: Vec<_> = ledger.applications().map(|(name, sum)| (name, sum.rings, sum.stored)).collect();
        assert_eq!(sums, [("odd", 1, 10)], "{place}");
    }
}

/// Shows P21.
#[test]
fn a_thousand_finished_rings_are_told_one_by_one_and_all_are_in_the_sums() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Some(Writer::open(dir.path()).unwrap());
    for number in 0..1300 {
        let of = writer.as_mut().unwrap();
        of.append(&a_total(number)).unwrap();
        of.finish(&part(number, &[]), &[], start()).unwrap();
        if number % 500 == 499 {
            of.sync().unwrap();
            seal(dir.path(), &mut writer);
            while tidy(dir.path(), start()).unwrap() {}
        }
    }
    writer.as_mut().unwrap().sync().unwrap();
    for ledger in [writer.as_ref().unwrap().ledger(), &read(dir.path())] {
        assert!(ledger.iter().map(|(of, _)| of).eq((300..1300).map(ring)));
        assert_eq!(ledger.applications().map(|(_, sum)| sum.rings).collect::<Vec<_>>(), [650, 650]);
        assert!((0..1300).all(|number| ledger.is_finished(ring(number))));
        assert!(!ledger.is_finished(ring(1300)));
    }
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
        assert_eq!(finished(&read(dir.path())).len(), 40);
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
    for (known, machine) in [
        (40, at(29, 0)),
        (40, at(29, u64::MAX)),
        // Another machine, which has been on for two months, has the store from the eleventh day on.
        (40, Machine { boot: [2; 16], ..at(60, right(11)) }),
        (20, at(30, 0)),
    ] {
        while dotter_store::tidy(dir.path(), &machine).unwrap() {}
        assert_eq!(finished(&read(dir.path())).len(), known, "{machine:?}");
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
            assert_eq!(sums, [(23, 230), (22, 220)]);
            assert_eq!(finished(&ledger), Vec::from_iter(20..45));
            assert_eq!(ledger.open_rings().count(), 5);
            assert_eq!(ledger.account(ring(49)).unwrap().stored(), 20);
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
        assert_eq!((ledger.open_rings().count(), ledger.is_finished(ring(45))), (9, true));
        assert_eq!(ledger.applications().map(|(_, sum)| sum.rings).sum::<u64>(), 41);
    }
}
