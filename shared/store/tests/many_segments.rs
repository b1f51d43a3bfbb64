//! A store of more segments than a process maps: those beyond are read piece by piece.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Reader, allow_many_files, survive_truncation};

/// More than a process maps, and more than it guards.
const SEGMENTS: u64 = 1_100;

/// What [`a_file_cut_short_ends_no_reader_however_many_there_are`] runs in a process of its own.
const CUT: &str = "DOTTER_TEST_CUT_STORE";

#[test]
fn a_file_cut_short_ends_no_reader_however_many_there_are() {
    if let Some(dir) = std::env::var_os(CUT) {
        return read_what_is_cut(std::path::Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    for n in 0..SEGMENTS {
        let row = (SeriesName::new(&format!("s{}", n % 10)).unwrap(), Timestamp::from_nanos(n), n as f64);
        dotter_store::add(dir.path(), vec![row]).unwrap();
    }
    // In a process of its own: a fault that nobody survives would end all tests of this file.
    let own = std::env::current_exe().unwrap();
    let ran = Command::new(own).env(CUT, dir.path()).arg("--nocapture").status().unwrap();
    assert!(ran.success(), "{ran}");
}

fn read_what_is_cut(dir: &std::path::Path) {
    survive_truncation().unwrap();
    allow_many_files();
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let dots = || {
        (0..10).map(|n| snapshot.read(&format!("s{n}"), TimeRange::ALL).unwrap().len()).collect::<Vec<_>>()
    };
    assert_eq!(dots(), [SEGMENTS as usize / 10; 10]);
    for entry in fs::read_dir(dir.join("seg")).unwrap() {
        let path = entry.unwrap().path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    }
    // Files that were cut short are damage, never wrong values and never the end of the process.
    for n in 0..10 {
        let read = snapshot.read(&format!("s{n}"), TimeRange::ALL);
        assert!(read.is_err() || read.is_ok_and(|dots| dots.len() <= SEGMENTS as usize / 10), "s{n}");
    }
}
