//! A disk without room: what needs none goes on, so that there is some again.

mod support;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Limits, Reader, Snapshot, Writer, retain, take_rules};
use support::made::{HOUR, MINUTE, Made, START, rule};

/// A disk that has no room for another segment, large or small.
#[derive(Debug)]
struct Full;

fn is_segment(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("seg"))
}

impl Disk for Full {
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        if is_segment(path) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            System.write(file, path, bytes, at)
        }
    }

    fn allocate(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        if is_segment(path) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            System.allocate(file, path, bytes)
        }
    }
}

/// A disk that sets no more room aside than this.
#[derive(Debug)]
struct Narrow(u64);

impl Disk for Narrow {
    fn allocate(&self, _: &File, path: &Path, bytes: u64) -> io::Result<()> {
        let is_room = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("room-"));
        if is_room && bytes > self.0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A dot a minute of some series, for an hour.
fn fill(dir: &Path, names: &[&str], of: u64, value: f64) {
    let time = |minute: u64| Timestamp::from_secs(of * 3600 + minute * 60).unwrap();
    let name = |name: &&str| SeriesName::new(name).unwrap();
    let dots = names.iter().flat_map(|of| (0..60).map(move |minute| (name(of), time(minute), value)));
    dotter_store::add(dir, dots.collect::<Vec<_>>()).unwrap();
}

fn snapshot(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

fn read(dir: &Path, name: &str) -> Vec<(Timestamp, f64)> {
    let dots = snapshot(dir).read(name, TimeRange::ALL).unwrap();
    dots.iter().map(|dot| (dot.time, dot.value)).collect()
}

#[test]
fn on_a_full_disk_what_leaves_nothing_behind_goes_though_no_step_can_be_written() {
    let mut made = Made::new(&(rule("brief", "raw:2h") + &rule("archived", "raw:2h, 10m:30d")));
    let fill = |made: &Made, series: &str, of: u64, value: f64| {
        made.add(series, (0..60).map(|minute| (START + of * HOUR + minute * MINUTE, value)));
    };
    // The oldest file has a series that stays.
    fill(&made, "kept", 0, 1.0);
    (0..12).for_each(|of| ["brief", "archived"].into_iter().for_each(|series| fill(&made, series, of, 4.0)));
    fill(&made, "brief", 0, 2.0);
    made.compact();
    made.run(6 * HOUR);
    made.retain();
    made.run(8 * HOUR);
    let pass = || retain(made.dir(), &made.machine(), &Limits::default(), &|| false);
    let refused = disk::on(Arc::new(Full), pass).map(drop).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    // The clock reads back to six hours after the start: windows that ended two hours before that.
    assert_eq!(made.times("brief")[0], START + 4 * HOUR);
    assert_eq!((made.times("archived").len(), made.times("kept").len()), (12 * 60, 60));
    made.check();
    // With room again the rest goes too.
    pass().unwrap();
    assert_eq!((made.times("archived")[0], made.times("brief")[0]), (START + 4 * HOUR, START + 4 * HOUR));
    let steps = made.steps("archived", TimeRange::ALL, HOUR);
    assert!(steps.len() == 12 && steps.iter().all(|step| step.count == 60), "{steps:?}");
    made.check();
}

#[test]
fn a_segment_that_there_is_no_room_to_put_into_another_tier_holds_up_no_merge() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rule = |keep: &str| {
        let text = format!("[[rule]]\npattern = \"%\"\nkeep = \"raw:{keep}\"\n");
        std::fs::write(dir.join("retention.toml"), text).unwrap();
        take_rules(dir).unwrap();
    };
    let compact = || dotter_store::compact(dir, &|| false);
    let places = || snapshot(dir).stat().places;
    drop(Writer::open(dir).unwrap());
    rule("600d");
    // Values that no codec makes small.
    (0..40).for_each(|of| fill(dir, &["large"], of, 1.0 / (of as f64 + 0.1)));
    dotter_store::compact_major(dir, &|| false, &|_, _| ()).unwrap();
    assert_eq!(places().len(), 1);
    rule("60d");
    for minute in 0..8 {
        let time = Timestamp::from_secs(41 * 3600 + minute).unwrap();
        dotter_store::add(dir, vec![(SeriesName::new("new").unwrap(), time, 1.0)]).unwrap();
    }
    let large =
        std::fs::read_dir(dir.join("seg")).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    let narrow = Arc::new(Narrow(large.max().unwrap() - 1));
    assert!(disk::on(narrow.clone(), compact).unwrap(), "level 0 is merged");
    assert_eq!(places().len(), 2);
    let refused = disk::on(narrow, compact).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    while compact().unwrap() {}
    assert!(places().iter().all(|placed| placed.place.tier.keep.as_secs() == 60 * 86_400));
    assert_eq!((read(dir, "large").len(), read(dir, "new").len()), (2400, 8));
}
