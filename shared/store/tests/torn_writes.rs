//! The power goes while a write to the log is on its way, and of its sectors any are on disk: what nobody acknowledged is
//! there as a whole or can be sent again, and the names that it declares are those of its dots.

mod support;
mod trial;

use std::path::Path;
use std::sync::Arc;

use dotter_dot::{Dots, Incarnation, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{Error, LaneRecords, Reader, RingPart, Transaction, Writer, seal_all, verify};
use support::{Random, incarnation};
use trial::{Fault, Trial};

/// Two rings; each transaction is of one of them.
const RINGS: [u8; 2] = [1, 2];
/// Dots of a transaction, each of its own series: names and dots take many sectors.
const EACH: u64 = 40;
/// So many transactions are acknowledged one by one.
const ACKED: u64 = 3;
/// So many wait for one sync, in which the power goes.
const WAITING: u64 = 4;
const CUTS: u64 = 200;
/// Room for all of it: none of these writes closes a file.
const WAL_FILE_BYTES: u64 = 256 << 10;

fn ring(number: u64) -> Incarnation {
    incarnation(RINGS[number as usize % RINGS.len()])
}

/// Every second transaction has new names, the others those of the one before.
fn series(transaction: u64, number: u64) -> SeriesName {
    SeriesName::new(&format!("{number:03}.{}.of-{}", "x".repeat(60), transaction / 2)).unwrap()
}

/// Which dot it is.
fn value(transaction: u64, number: u64) -> f64 {
    (transaction * 1000 + number) as f64
}

/// Appends a transaction where the watermark of its ring says that it is wanted.
fn append(writer: &mut Writer, transaction: u64) -> Result<(), Error> {
    let incarnation = ring(transaction);
    let first = transaction / 2 * EACH;
    if writer.ledger().next(incarnation, 0) > first {
        return Ok(());
    }
    let mut dots = Dots::default();
    for number in 0..EACH {
        let key = writer.series(&series(transaction, number), &Shape::number());
        dots.push_number(key, true, Timestamp::from_nanos(transaction + 1), value(transaction, number));
    }
    let lanes = [LaneRecords { lane: 0, first, next: first + EACH, ..LaneRecords::default() }];
    let now = Timestamp::from_nanos(1);
    let ring = RingPart { incarnation, application: "torn", now, ..RingPart::default() };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots })
}

/// How many dots of a transaction are there.
fn found(reader: &Reader, transaction: u64) -> u64 {
    let time = Timestamp::from_nanos(transaction + 1);
    let at = TimeRange::new(time, time.saturating_add(std::time::Duration::from_nanos(1)));
    let mut count = 0;
    for number in 0..EACH {
        for dot in reader.snapshot().read(series(transaction, number).as_str(), at).unwrap() {
            assert_eq!(dot.value, value(transaction, number), "the dot of another series");
            count += 1;
        }
    }
    count
}

fn check(dir: &Path, what: &str) {
    let before = Reader::open(dir).unwrap();
    let mut writer = Writer::open_with(dir, WAL_FILE_BYTES).unwrap_or_else(|error| panic!("{what}: {error}"));
    let reader = Reader::open(dir).unwrap();
    for transaction in 0..ACKED + WAITING {
        let there = found(&reader, transaction);
        assert_eq!(
            found(&before, transaction),
            there,
            "{what}: {transaction}, before anybody opened the store"
        );
        assert!(there == EACH || there == 0 && transaction >= ACKED, "{what}: {there} dots of {transaction}");
        let next = writer.ledger().next(ring(transaction), 0);
        assert_eq!(next > transaction / 2 * EACH, there == EACH, "{what}: the watermark is that of the dots");
    }
    // The rings have all that is not there, and send it again.
    for transaction in 0..ACKED + WAITING {
        append(&mut writer, transaction).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    writer.close_file().unwrap();
    for is_sealed in [false, true] {
        if is_sealed {
            seal_all(dir, &|| false).unwrap();
        }
        let reader = Reader::open(dir).unwrap();
        let there: Vec<u64> = (0..ACKED + WAITING).map(|transaction| found(&reader, transaction)).collect();
        assert_eq!(there, [EACH; (ACKED + WAITING) as usize], "{what}");
        let snapshot = reader.snapshot();
        assert_eq!(snapshot.ledger().totals.damaged, 0, "{what}");
        for number in RINGS {
            let account = snapshot.ledger().account(incarnation(number)).unwrap();
            assert!(account.is_balanced() && account.lost() == 0, "{what}: {account:?}");
        }
    }
    assert!(verify(dir).unwrap().damage.is_empty(), "{what}");
}

/// Shows P8 and P9.
#[test]
fn whatever_sectors_of_an_unacknowledged_write_are_on_disk_nothing_is_lost_and_nothing_misnamed() {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = scratch.path().join("store");
    let disk = Arc::new(Trial::new(Fault::Later));
    let mut writer =
        disk::on(disk.clone() as Arc<dyn Disk>, || Writer::open_with(&dir, WAL_FILE_BYTES).unwrap());
    for transaction in 0..ACKED {
        append(&mut writer, transaction).unwrap();
        writer.sync().unwrap();
    }
    for transaction in ACKED..ACKED + WAITING {
        append(&mut writer, transaction).unwrap();
    }
    // The write is done, the sync is not.
    disk.dies_in(1);
    writer.sync().unwrap_err();
    let mut random = Random::from_env();
    for number in 0..CUTS {
        let cut = scratch.path().join(number.to_string());
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        disk::in_boot([7; 16], || check(&cut, &format!("power cut {number}")));
        std::fs::remove_dir_all(&cut).unwrap();
    }
}
