//! Applications that close descriptors which they did not open, as daemons do, and then use the numbers.
// close_range has no safe form.
#![allow(unsafe_code)]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use dotter_publisher::{Publisher, Series};

use common::{in_child, read};

/// Closes all descriptors but those of input, output and errors.
fn close_descriptors() {
    // SAFETY: takes numbers; nothing in this process uses the descriptors any more but the publisher, which is
    // what is to be shown.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

/// Files of the application's own, at the numbers that the publisher had.
fn open_files(dir: &Path) -> Vec<File> {
    let open = |number: u32| {
        let path = dir.join(format!("own-{number}"));
        let mut file = File::options().read(true).append(true).create(true).open(path).unwrap();
        file.write_all(b"one\n").unwrap();
        file
    };
    (0..8).map(open).collect()
}

/// The application's files take more and hold what was written to them, and nothing else.
fn check_files(dir: &Path, files: Vec<File>) {
    for (number, mut file) in files.into_iter().enumerate() {
        file.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.join(format!("own-{number}"))).unwrap(), "one\ntwo\n");
    }
}

/// A publisher of the child's own, which has published one dot, and its descriptors closed.
fn closed_publisher(rings: &Path) -> (Publisher, Series) {
    let publisher = Publisher::create(rings, 1).unwrap();
    let series = publisher.series("a").unwrap();
    series.dot(1.0);
    close_descriptors();
    (publisher, series)
}

#[test]
fn a_daemonised_child_publishes_and_its_log_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(&dir.path().join("rings/"), 1).unwrap();
    let series = publisher.series("a").unwrap();
    series.dot(1.0);
    in_child(|| {
        close_descriptors();
        let files = open_files(dir.path());
        series.dot(2.0);
        check_files(dir.path(), files);
        assert_eq!(read(&publisher.path()), [("a".to_owned(), 2.0)]);
    });
    series.dot(3.0);
    assert_eq!(read(&publisher.path()), [("a".to_owned(), 1.0), ("a".to_owned(), 3.0)]);
}

#[test]
fn a_thread_that_comes_after_all_descriptors_were_closed_gets_a_lane_and_the_applications_files_stay_as_they_are()
 {
    let dir = tempfile::tempdir().unwrap();
    in_child(|| {
        let (publisher, series) = closed_publisher(&dir.path().join("rings/"));
        let files = open_files(dir.path());
        std::thread::scope(|scope| scope.spawn(|| series.dot(2.0)).join().unwrap());
        assert_eq!(&publisher.published()[..2], [1, 1]);
        drop((publisher, series));
        check_files(dir.path(), files);
    });
}

#[test]
fn a_ring_that_ends_after_all_descriptors_were_closed_closes_none_of_the_applications_files() {
    let dir = tempfile::tempdir().unwrap();
    in_child(|| {
        let publisher = Publisher::create(&dir.path().join("rings/"), 1).unwrap();
        let series = publisher.series("a").unwrap();
        // Not through the thread's own lane, which would keep the ring until the thread ends.
        publisher.lane().unwrap().dot(&series, 1.0);
        close_descriptors();
        let files = open_files(dir.path());
        drop((publisher, series));
        check_files(dir.path(), files);
    });
}

#[test]
fn a_removed_file_is_noticed_by_its_name_where_the_descriptor_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    in_child(|| {
        let (publisher, series) = closed_publisher(&dir.path().join("rings/"));
        let files = open_files(dir.path());
        let first = publisher.path();
        std::fs::remove_file(&first).unwrap();
        while publisher.path() == first {
            series.dot(2.0);
        }
        check_files(dir.path(), files);
    });
}

#[test]
fn a_ring_whose_relative_name_leads_elsewhere_by_now_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    in_child(|| {
        std::env::set_current_dir(dir.path()).unwrap();
        let (publisher, series) = closed_publisher(Path::new("rings/"));
        std::env::set_current_dir("/").unwrap();
        let start = std::time::Instant::now();
        let mut dots = 1;
        // The name is looked at where a block begins, 20 ms after the last look at the soonest.
        while start.elapsed().as_millis() < 100 || dots < 10_000 {
            series.dot(2.0);
            dots += 1;
        }
        assert_eq!(publisher.published().iter().sum::<u64>(), dots);
        assert_eq!(publisher.refused(), Default::default());
    });
}
