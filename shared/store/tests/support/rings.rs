//! Rings of two applications, finished and open, and what a ledger says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotter_dot::{Dots, Incarnation, Reason, SeriesName, Shape, Timestamp};
use dotter_store::{
    Account, Application, Error, LaneRecords, Ledger, Lost, Reader, RingPart, Transaction, Writer, seal_all,
};

use super::machine;

pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn start() -> Timestamp {
    Timestamp::from_secs(1_710_504_000).unwrap()
}

pub fn tidy(dir: &Path, now: Timestamp) -> Result<bool, Error> {
    dotter_store::tidy(dir, &machine(now))
}

pub fn ring(number: u32) -> Incarnation {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Incarnation(bytes)
}

pub fn part(number: u32, refusals: &[(Reason, u64)]) -> RingPart<'_> {
    let application = if number.is_multiple_of(2) { "even" } else { "odd" };
    RingPart { incarnation: ring(number), application, refusals, now: start(), ..RingPart::default() }
}

/// Ten dots and two losses of a new ring.
pub fn publish(writer: &mut Writer, number: u32) {
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

pub fn finish(writer: &mut Writer, number: u32, at: Timestamp) {
    let next = writer.ledger().next(ring(number), 0);
    writer.finish(&part(number, &[(Reason::SIGNAL_HANDLER, 1)]), &[(0, next)], at).unwrap();
    writer.sync().unwrap();
}

/// Closes the log's last file and makes segments of all.
pub fn seal(dir: &Path, writer: &mut Option<Writer>) {
    *writer = None;
    *writer = Some(Writer::open(dir).unwrap());
    seal_all(dir, &|| false).unwrap();
    // As the collector does with each commit.
    writer.as_mut().unwrap().unsealed();
}

pub fn ledger_files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("ledger")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

pub fn read(dir: &Path) -> Ledger {
    Reader::open(dir).unwrap().snapshot().ledger().clone()
}

pub type Counts = (Vec<(Incarnation, Account)>, Vec<(String, Application)>, Vec<u32>);

/// All that counts: open rings, the sums over finished ones, and which of the rings below 100 are known to have finished.
pub fn counts(ledger: &Ledger) -> Counts {
    let open = ledger.open_rings().map(|(incarnation, account)| (incarnation, account.clone()));
    let sums = ledger.applications().map(|(name, application)| (name.to_owned(), application.clone()));
    (open.collect(), sums.collect(), finished(ledger))
}

pub fn finished(ledger: &Ledger) -> Vec<u32> {
    (0..100).filter(|number| ledger.is_finished(ring(*number))).collect()
}

pub fn accounts(ledger: &Ledger) -> Vec<(Incarnation, Account)> {
    ledger.iter().map(|(incarnation, account)| (incarnation, account.clone())).collect()
}

/// 50 rings of which 40 are finished and sealed.
pub fn store(dir: &Path) -> Option<Writer> {
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

/// A transaction of a ring that has nothing but a refusal total.
pub fn a_total(number: u32) -> Transaction<'static> {
    static NOTHING: std::sync::LazyLock<Dots> = std::sync::LazyLock::new(Dots::default);
    Transaction { ring: Some(part(number, &[(Reason::SIGNAL_HANDLER, 1)])), lanes: &[], dots: &NOTHING }
}
