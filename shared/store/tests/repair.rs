//! Repair of a list that had to be rebuilt: what counts stays, a killed repair is finished by a second one, and litter goes
//! again.

mod support;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, Pattern, Reader, Transaction, Writer, add, rebuilt, repair, seal_all, verify,
};
use support::{Random, copy, flip, published};
use trial::{Fault, Trial};

fn add_rows(dir: &Path, name: &str) {
    let row = |n: u64| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(n), n as f64);
    add(dir, (0..40).map(row).collect::<NamedDots>()).unwrap();
}

fn log_rows(writer: &mut Writer) {
    let key = writer.series(&SeriesName::new("log").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    (0..20).for_each(|n| dots.push_number(key, true, Timestamp::from_nanos(n), 0.0));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

/// Rows of the series `a`, `log` and `live`.
fn rows(dir: &Path) -> [usize; 3] {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    ["a", "log", "live"].map(|name| snapshot.read(name, TimeRange::ALL).unwrap().len())
}

const ALL: [usize; 3] = [40, 20, 40];

/// A store with segments of each kind, rows in the log, and a file that a killed process has left. Its list has been
/// damaged as told.
fn store(root: &Path, how: How) -> (PathBuf, PathBuf) {
    let dir = root.join("store");
    add_rows(&dir, "a");
    let mut writer = Writer::open(&dir).unwrap();
    log_rows(&mut writer);
    drop(writer);
    drop(Writer::open(&dir).unwrap());
    seal_all(&dir, &|| false).unwrap();
    add_rows(&dir, "live");
    let leftover = dir.join("seg/L0-20261120T14-0123456789abcdef");
    fs::write(&leftover, "cut off").unwrap();
    for name in ["MANIFEST", "MANIFEST.2"] {
        let path = dir.join(name);
        match how {
            How::Missing => fs::remove_file(path).unwrap(),
            How::Header => flip(&path, 20),
            How::Whole => (4096..published(&dir)).step_by(7).for_each(|at| flip(&path, at)),
            How::LastEdit => {}
        }
    }
    if let How::LastEdit = how {
        let at = published(&dir) - 16;
        ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| flip(&dir.join(name), at));
    }
    (dir, leftover)
}

/// How the list is damaged.
#[derive(Clone, Copy, Debug)]
enum How {
    Missing,
    Header,
    Whole,
    LastEdit,
}

const HOW: [How; 4] = [How::Missing, How::Header, How::Whole, How::LastEdit];

#[test]
fn a_rebuilt_list_becomes_the_list_and_litter_goes_again() {
    for (how, is_marked) in HOW.into_iter().flat_map(|how| [(how, false), (how, true)]) {
        let root = tempfile::tempdir().unwrap();
        let (dir, leftover) = store(root.path(), how);
        if is_marked {
            // Some other commit has made it the list.
            add_rows(&dir, "more");
        }
        let before: Vec<_> = fs::read(dir.join("MANIFEST")).into_iter().collect();
        let told = repair(&dir, true).unwrap();
        assert_eq!((told.rebuilt.is_some(), told.is_marked), (!is_marked, is_marked), "{how:?}");
        assert!(told.is_needed() && told.is_guess() && !told.is_written, "{how:?}");
        assert_eq!(told.segments, 3 + u64::from(is_marked), "{how:?}");
        assert!(told.unlisted.iter().any(|(path, bytes)| (path, *bytes) == (&leftover, 7)), "{told:?}");
        assert!(told.left.is_empty(), "{told:?}");
        assert_eq!(fs::read(dir.join("MANIFEST")).into_iter().collect::<Vec<_>>(), before, "a dry run");
        assert!(rebuilt(&dir).unwrap().is_some());
        assert!(repair(&dir, false).unwrap().is_written);
        assert_eq!(rebuilt(&dir).unwrap(), None, "{how:?}");
        assert!(verify(&dir).unwrap().damage.is_empty(), "{how:?}");
        assert_eq!(rows(&dir), ALL, "{how:?}");
        assert!(leftover.exists(), "repair itself removes nothing");
        drop(Writer::open(&dir).unwrap());
        assert!(!leftover.exists());
        assert_eq!(rows(&dir), ALL, "{how:?}");
        let again = repair(&dir, false).unwrap();
        assert!(!again.is_needed() && !again.is_written, "{again:?}");
    }
}

#[test]
fn one_damaged_file_of_the_list_is_made_whole_and_nothing_is_guessed() {
    for name in ["MANIFEST", "MANIFEST.2"] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        add_rows(&dir, "a");
        let deletion = Deletion {
            pattern: Pattern::new("a"),
            first_key: None,
            last_key: None,
            range: TimeRange::new(Timestamp::from_nanos(0), Timestamp::from_nanos(10)),
        };
        dotter_store::delete(&dir, &deletion).unwrap();
        flip(&dir.join(name), published(&dir) - 16);
        let found = repair(&dir, false).unwrap();
        assert!(found.is_written && !found.is_guess() && found.deletes == 1, "{found:?}");
        assert!(found.list.iter().all(|damage| damage.path.ends_with(name)) && !found.list.is_empty());
        assert!(verify(&dir).unwrap().damage.is_empty());
        assert_eq!(rows(&dir)[0], 30);
    }
}

#[test]
fn what_stays_damaged_is_named_and_where_there_is_no_store_none_is_made() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _) = store(root.path(), How::LastEdit);
    let mut segments: Vec<_> =
        fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| !path.ends_with("L0-20261120T14-0123456789abcdef"));
    // The first one added stands in edits that can be read.
    let first = segments.iter().min_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap();
    fs::remove_file(first).unwrap();
    let found = repair(&dir, false).unwrap();
    assert!(found.is_written && found.left.len() == 1, "{found:?}");
    assert_eq!((&found.left[0].path, &*found.left[0].what), (first, "listed in MANIFEST and missing"));
    let none = root.path().join("none");
    fs::create_dir(&none).unwrap();
    assert!(matches!(repair(&none, false), Err(Error::NoStore(_))));
    assert_eq!(fs::read_dir(&none).unwrap().count(), 0);
}

/// A collector may run meanwhile: it goes on, and so do those who add.
#[test]
fn a_writer_goes_on_while_the_list_is_repaired() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _) = store(root.path(), How::LastEdit);
    repair(&dir, false).unwrap();
    let mut writer = Writer::open_with(&dir, 8 << 10).unwrap();
    log_rows(&mut writer);
    add_rows(&dir, "more");
    let at = published(&dir) - 16;
    ["MANIFEST", "MANIFEST.2"].iter().for_each(|name| flip(&dir.join(name), at));
    assert!(rebuilt(&dir).unwrap().unwrap().contains("edit "));
    assert!(repair(&dir, false).unwrap().is_written);
    log_rows(&mut writer);
    drop(writer);
    drop(Writer::open(&dir).unwrap());
    seal_all(&dir, &|| false).unwrap();
    assert_eq!(rows(&dir), [40, 60, 40]);
    assert!(verify(&dir).unwrap().damage.is_empty());
}

#[test]
fn a_repair_that_is_killed_or_meets_a_power_cut_at_any_step_has_lost_nothing_and_the_next_does_the_rest() {
    let mut random = Random::from_env();
    for how in [How::Missing, How::LastEdit] {
        let mut steps = 0;
        loop {
            let root = tempfile::tempdir().unwrap();
            let disk = Arc::new(Trial::new(Fault::Dies(steps)));
            let (dir, _) = store(root.path(), how);
            disk.adopt(&dir);
            let outcome = disk::on(disk.clone() as Arc<dyn Disk>, || repair(&dir, false));
            let (killed, cut) = (root.path().join("killed"), root.path().join("cut"));
            copy(&dir, &killed);
            disk.cut(&dir, &cut, &mut |below| random.below(below));
            for left in [&killed, &cut] {
                let place = format!("{how:?}, step {steps}, {}", left.display());
                assert_eq!(rows(left), ALL, "{place}");
                // No file goes before the list is on disk that names what counts.
                drop(Writer::open(left).unwrap());
                assert_eq!(rows(left), ALL, "{place}");
                repair(left, false).unwrap();
                assert_eq!(rebuilt(left).unwrap(), None, "{place}");
                assert!(verify(left).unwrap().damage.is_empty(), "{place}");
                drop(Writer::open(left).unwrap());
                assert_eq!(rows(left), ALL, "{place}");
            }
            if outcome.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 8, "{how:?}: it takes more steps than {steps}");
    }
}
