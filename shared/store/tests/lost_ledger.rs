//! Rings that are over, where the list or their files are lost or damaged: nothing counts twice without being marked.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Reader, Writer, verify};
use support::rings::{
    DAY, a_total, accounts, counts, finish, finished, ledger_files, publish, read, ring, seal, start, store,
    tidy,
};
use support::{copy, flip, published};

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
        assert_eq!(counts(&read(&lost)), counts(&expected), "step {number}");
        // And goes on from there.
        let mut writer = Some(Writer::open(&lost).unwrap());
        publish(writer.as_mut().unwrap(), 47);
        seal(&lost, &mut writer);
        while tidy(&lost, start()).unwrap() {}
        let (found, expected) = (counts(&read(&lost)), counts(&expected));
        assert_eq!(
            (found.0.len(), found.1, found.2),
            (expected.0.len(), expected.1, expected.2),
            "step {number}"
        );
        // Until somebody has looked, it is told that the list was rebuilt.
        fs::remove_file(lost.join("MANIFEST.damaged")).unwrap();
        assert!(verify(&lost).unwrap().damage.is_empty());
    }
}

#[test]
fn a_damaged_file_costs_what_is_damaged_and_a_ring_that_may_count_twice_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    while tidy(dir.path(), start()).unwrap() {}
    let path = ledger_files(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    // The last byte of ring 3.
    bytes[96 + 3 * 16 + 15] ^= 0x10;
    let before = counts(&read(dir.path()));
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert_eq!(verified.damage.len(), 1);
    assert_eq!((&verified.damage[0].path, verified.damage[0].offset), (&path, 96));
    let ledger = read(dir.path());
    assert_eq!((&counts(&ledger).0, &counts(&ledger).1), (&before.0, &before.1), "the sums are in the list");
    assert_eq!(finished(&ledger), Vec::from_iter((0..40).filter(|number| *number != 3)));
    assert_eq!(ledger.damage().len(), 1);
    // A ring that comes now and would stand in that block may have been there before.
    drop(writer.take());
    writer = Some(Writer::open(dir.path()).unwrap());
    for number in [3, 39] {
        let outcome = writer.as_mut().unwrap().append(&a_total(number));
        assert_eq!(outcome.is_ok(), number == 3, "what can be found is known");
    }
    writer.as_mut().unwrap().sync().unwrap();
    assert!(read(dir.path()).account(ring(3)).unwrap().unsure);
    finish(writer.as_mut().unwrap(), 3, start());
    // The store goes on, and the damaged file is there for whoever can mend it.
    finish(writer.as_mut().unwrap(), 45, start());
    seal(dir.path(), &mut writer);
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let ledger = read(dir.path());
    assert!(ledger.is_finished(ring(45)) && ledger.is_finished(ring(3)));
    assert_eq!(
        ledger.applications().map(|(_, sum)| (sum.rings, sum.unsure)).collect::<Vec<_>>(),
        [(20, 0), (22, 1)]
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, &whole).unwrap();
    assert!(verify(dir.path()).unwrap().damage.is_empty());

    // One that is gone is named as well, until it would have been unlinked.
    fs::remove_file(&path).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert!(verified.damage[0].what.contains("missing"), "{}", verified.damage[0].what);
    drop(writer);
    let mut writer = Writer::open(dir.path()).unwrap();
    writer.append(&a_total(60)).unwrap();
    assert!(writer.ledger().account(ring(60)).unwrap().unsure);
    while tidy(dir.path(), start().saturating_add(DAY * 31)).unwrap() {}
    assert!(verify(dir.path()).unwrap().damage.is_empty());
    assert!(ledger_files(dir.path()).is_empty());
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
    std::thread::spawn(move || tell.send(Box::new(read(&path))));
    let ledger = told.recv_timeout(Duration::from_secs(20)).expect("it comes to an end");
    assert!(ledger.damage()[0].contains("missing"), "{:?}", ledger.damage());
    // No commit takes it for a file that never was.
    while tidy(dir.path(), start()).unwrap() {}
    assert_eq!(read(dir.path()).damage().len(), 1);
    assert!(read(dir.path()).is_finished(ring(45)));
}

#[test]
fn a_list_whose_edit_of_the_move_is_lost_has_the_files_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = store(dir.path());
    tidy(dir.path(), start()).unwrap();
    for number in 40..49 {
        finish(writer.as_mut().unwrap(), number, start());
    }
    seal(dir.path(), &mut writer);
    tidy(dir.path(), start()).unwrap();
    for number in 50..70 {
        publish(writer.as_mut().unwrap(), number);
        finish(writer.as_mut().unwrap(), number, start());
    }
    seal(dir.path(), &mut writer);
    let at = published(dir.path());
    while tidy(dir.path(), start().saturating_add(DAY)).unwrap() {}
    assert_eq!(ledger_files(dir.path()).len(), 1, "those of before are gone");
    let expected = read(dir.path());
    ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| flip(&dir.path().join(name), at + 44));
    let ledger = read(dir.path());
    assert!(counts(&ledger) == counts(&expected), "{:?}", finished(&ledger));
    assert!(ledger.damage().is_empty(), "{:?}", ledger.damage());
}

#[test]
fn a_copy_has_the_rings_that_are_over() {
    let root = tempfile::tempdir().unwrap();
    let (dir, to) = (root.path().join("store"), root.path().join("copy"));
    let _writer = store(&dir);
    tidy(&dir, start()).unwrap();
    dotter_store::backup(&dir, &to, &|| false).unwrap();
    assert_eq!((accounts(&read(&to)), counts(&read(&to))), (accounts(&read(&dir)), counts(&read(&dir))));
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
