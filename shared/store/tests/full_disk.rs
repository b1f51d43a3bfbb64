//! A disk without room: what needs none goes on, so that there is some again.

mod support;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Reader, Snapshot, retain, verify};
use support::machine;

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

fn hour(number: u64) -> Timestamp {
    Timestamp::from_secs(number * 3600).unwrap()
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
fn on_a_full_disk_whole_segments_go_though_others_cannot_be_written_anew_or_archived() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let pass = |of: u64| retain(dir, &machine(hour(of)), &|| false);
    let rules = "[[rule]]\npattern = \"brief\"\nkeep = \"raw:2h\"\n\
                 [[rule]]\npattern = \"archived\"\nkeep = \"raw:2h, 10m:30d\"\n";
    // The oldest file has a series that stays. Its other dots have to be removed before those that replace them.
    fill(dir, &["brief", "kept"], 0, 1.0);
    fill(dir, &["brief"], 0, 2.0);
    (1..6).for_each(|of| fill(dir, &["brief"], of, 3.0));
    (0..12).for_each(|of| fill(dir, &["archived"], of, 4.0));
    fill(dir, &["brief"], 11, 3.0);
    std::fs::write(dir.join("retention.toml"), rules).unwrap();
    assert!(pass(12).unwrap().only_reported);
    fill(dir, &["archived"], 12, 4.0);
    let refused = disk::on(Arc::new(Full), || pass(14)).map(drop).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    let brief = read(dir, "brief");
    let of =
        |number: u64| brief.iter().filter(move |(time, _)| (hour(number)..hour(number + 1)).contains(time));
    assert!(of(0).all(|(_, value)| *value == 2.0), "what was replaced is not seen again");
    assert_eq!((of(0).count(), of(1).count(), of(5).count(), of(11).count()), (60, 0, 0, 60));
    let archived = read(dir, "archived");
    assert!(hour(9) < archived[0].0 && hour(12) < archived[archived.len() - 1].0, "{:?}", archived[0]);
    assert_eq!(read(dir, "kept").len(), 60);
    // With room again the rest goes too, the dots of the window that could not be made behind it.
    pass(14).unwrap();
    let (brief, kept) = (read(dir, "brief"), read(dir, "kept"));
    assert!(hour(9) <= brief[0].0 && kept.len() == 60, "{:?}", brief[0]);
    let steps =
        snapshot(dir).rollups("archived", TimeRange::ALL, std::time::Duration::from_secs(3600)).unwrap();
    assert!(steps.len() == 13 && steps.iter().all(|step| step.count == 60), "{steps:?}");
    assert!(verify(dir).unwrap().damage.is_empty());
}

#[test]
fn a_segment_that_there_is_no_room_to_put_into_another_tier_holds_up_no_merge() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rule = |keep: &str| {
        let text = format!("[[rule]]\npattern = \"%\"\nkeep = \"raw:{keep}\"\n");
        std::fs::write(dir.join("retention.toml"), text).unwrap();
    };
    let compact = || dotter_store::compact(dir, &|| false);
    let places = || snapshot(dir).stat().places;
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
