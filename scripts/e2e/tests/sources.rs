//! Promises about the sources themselves, shown by reading them.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the project that hold sources.
const FOLDERS: [&str; 6] = ["broker", "collector", "displayer", "publisher", "shared", "scripts"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project is there")
}

/// All Rust files of programs and libraries below `folder`, by their path from the project's root: no tests, no builds.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["target", "tests", "node_modules", "compare"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            // Tests stand at the foot of a file.
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            let path = path.strip_prefix(root()).expect("it lies below the root");
            found.push((path.to_string_lossy().into_owned(), code));
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    FOLDERS.iter().for_each(|folder| sources(&root().join(folder), &mut found));
    assert!(found.len() > 200, "{} sources are too few", found.len());
    found
}

/// Lines of code that hold one of `words`, without comments.
fn lines_with(code: &str, words: &[&str]) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let hits = code.lines().filter(is_code).filter(|line| words.iter().any(|word| line.contains(word)));
    hits.map(str::to_owned).collect()
}

/// Shows P24.
#[test]
fn unsafe_code_stands_where_the_architecture_says_and_nowhere_else() {
    let may = |path: &str| {
        path.starts_with("shared/guard/src/")
            || path.starts_with("publisher/c/src/")
            || ["shared/ring/src/map.rs", "shared/ring/src/sys.rs", "shared/store/src/disk/map.rs"]
                .contains(&path)
    };
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("];
    for (path, code) in all_sources() {
        let hits = lines_with(&code, &words);
        assert!(hits.is_empty() || may(&path), "{path}: {hits:#?}");
    }
}

/// Shows P14.
#[test]
fn no_file_of_a_store_changes_but_through_the_disk() {
    let words = [
        "fs::write(",
        "fs::rename(",
        "fs::remove_file(",
        "fs::hard_link(",
        "File::create",
        ".write_all(",
        ".write_all_at(",
        ".set_len(",
        ".sync_all(",
        ".sync_data(",
        "fallocate(",
    ];
    // A backup writes another directory; fuzz.rs is compiled for the fuzz targets alone; rows for a command's standard
    // input are no file of the store, and neither is what spills into a nameless file.
    let may = [
        "disk/steps.rs",
        "write/backup.rs",
        "fuzz.rs",
        "write/compaction/filtered.rs",
        "write/compaction/command.rs",
    ];
    for (path, code) in all_sources() {
        let Some(name) = path.strip_prefix("shared/store/src/") else { continue };
        if name.ends_with("/tests.rs") {
            continue;
        }
        let mut hits = lines_with(&code, &words);
        hits.retain(|line| !line.contains("disk.") && !line.contains("disk()"));
        assert!(hits.is_empty() || may.contains(&name), "{path}: {hits:#?}");
    }
}

#[test]
fn every_promise_has_a_test_that_names_it() {
    let documents = ["shared/docs/ARCHITECTURE.md", "shared/docs/OPERATING.md"]
        .map(|name| fs::read_to_string(root().join(name)).expect("the document is there"));
    let mut promised: Vec<u32> = documents
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter_map(|word| word.strip_prefix('P')?.parse().ok())
        .collect();
    promised.sort_unstable();
    promised.dedup();
    assert!(promised.len() > 24, "{promised:?}");
    let mut tests = String::new();
    FOLDERS.iter().for_each(|folder| read_all(&root().join(folder), &mut tests));
    let named = |number: &u32| {
        let word = format!("P{number}");
        tests
            .lines()
            .filter(|line| line.trim_start().starts_with("/// Shows "))
            .any(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|said| said == word))
    };
    let bare: Vec<u32> = promised.into_iter().filter(|number| !named(number)).collect();
    assert!(bare.is_empty(), "promises without a test: {bare:?}");
}

/// All Rust files, tests too.
fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && name != "node_modules" {
            read_all(&path, into);
        } else if name.ends_with(".rs") {
            into.push_str(&fs::read_to_string(&path).expect("a source is text"));
        }
    }
}
