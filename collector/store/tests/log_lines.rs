//! Lines of a log with a stamp a second, through `dotter-store`.

mod support;

use support::{printed, told};

/// Lines as `add` takes them, of which the last ones are like the first.
fn lines(count: u64) -> String {
    (0..count).map(|n| format!("shop.log 1764504000000000000 s line\\ {}\n", n % (count - 5))).collect()
}

fn log(dir: &std::path::Path) -> String {
    printed(dir, &["read", "shop.log", "--timestamp-nanos", "--print-format"]).replace('\t', " ")
}

#[test]
fn a_file_comes_back_line_for_line_however_often_it_is_added() {
    // Few rows go into the log, many become a segment.
    for count in [10_000, 120_000] {
        let dir = tempfile::tempdir().unwrap();
        let all = lines(count);
        for times in 1..=3 {
            let said = told(dir.path(), &["add", "--format", "s"], &all);
            assert!(said.contains(&format!("stored {count} dots of 1 series, 0 replaced")), "{said}");
            assert!(log(dir.path()).lines().count() as u64 == count, "added {times} times");
            assert!(log(dir.path()) == all, "added {times} times");
        }
        told(dir.path(), &["compact", "--major"], "");
        assert!(log(dir.path()) == all, "merged");
        // What is read out can be added elsewhere.
        let other = tempfile::tempdir().unwrap();
        told(other.path(), &["add"], &printed(dir.path(), &["read", "%"]));
        assert!(log(other.path()) == log(dir.path()));
        told(other.path(), &["compact", "--filter", "cat"], "");
        assert!(log(other.path()) == log(dir.path()));
    }
}

#[test]
fn files_that_share_half_of_their_lines_give_each_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let all = lines(9_000);
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    told(dir.path(), &["add"], &lines[..6_000].concat());
    told(dir.path(), &["add"], &lines[3_000..8_995].concat());
    assert!(log(dir.path()) == lines[..8_995].concat());
    told(dir.path(), &["delete", "shop.log"], "");
    assert_eq!(log(dir.path()), "");
    told(dir.path(), &["add"], &lines[..10].concat());
    assert!(log(dir.path()) == lines[..10].concat());
}

#[test]
fn a_table_that_is_imported_twice_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], &lines(500));
    let table = printed(dir.path(), &["export", "--csv", "shop.log"]);
    let other = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        told(other.path(), &["import", "--csv"], &table);
        assert!(log(other.path()) == lines(500));
    }
}
