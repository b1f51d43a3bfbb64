//! C programs, built by the system's own compiler and run: what they publish, a reader of the file finds.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{here, library, read, rings, run};

/// What no file of C here may cause a word about.
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// Builds one program, against the shared library or the static one.
fn build(source: &str, standard: &str, shared: bool, dir: &Path) -> PathBuf {
    let program = dir.join(Path::new(source).file_stem().expect("a source has a name"));
    let mut compiler = Command::new("gcc");
    compiler.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(here("include"));
    compiler.arg("-o").arg(&program).arg(here(source));
    if shared {
        let library = library("libdotter.so");
        let dir = library.parent().expect("a file lies in a directory").to_owned();
        compiler.arg("-L").arg(&dir).arg("-ldotter").arg(format!("-Wl,-rpath,{}", dir.display()));
    } else {
        compiler.arg(library("libdotter.a"));
    }
    run(compiler.args(["-lpthread", "-ldl", "-lm"]));
    program
}

#[test]
fn hello_says_ten_dots_through_either_library() {
    for shared in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let program = build("examples/hello.c", "c11", shared, dir.path());
        let ring = dir.path().join("ring");
        run(Command::new(&program).arg(&ring));
        let (ring, dots) = read(&ring);
        assert_eq!((ring.application(), ring.is_closed()), ("hello", true));
        let expected: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(dots.iter().map(|dot| dot.value).collect::<Vec<_>>(), expected);
        assert!(dots.iter().all(|dot| dot.name == "hello.greeting" && dot.clock));
        assert!(dots.is_sorted_by_key(|dot| dot.nanos));

        // Without a path, where a broker without arguments looks.
        let rings_dir = dir.path().join("rings");
        run(Command::new(&program).env("DOTTER_DIR", &rings_dir));
        assert_eq!(rings(&rings_dir).len(), 1);
    }
}

#[test]
fn hello_says_why_there_is_no_ring() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("examples/hello.c", "c99", true, dir.path());
    let out = Command::new(program).arg("/dev/null").output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text.starts_with("hello: ") && text.contains("/dev/null"), "{text}");
}

#[test]
fn every_function_does_what_the_header_says_and_refuses_what_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("tests/border.c", "c11", true, dir.path());
    let rings_dir = dir.path().join("rings");
    std::fs::create_dir(&rings_dir).unwrap();
    run(Command::new(program).arg(&rings_dir).env("DOTTER_DIR", &rings_dir));

    let found: Vec<_> = rings(&rings_dir).iter().map(|path| read(path)).collect();
    let (parent, child): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, dots)| dots.len() > 2);
    assert_eq!((parent.len(), child.len()), (1, 1));
    for (ring, _) in parent.iter().chain(&child) {
        assert_eq!((ring.application(), ring.is_closed()), ("border", true));
    }
    let mut work = Vec::new();
    let mut given = Vec::new();
    for dot in &parent[0].1 {
        assert_eq!(dot.clock, dot.name != "given");
        match &*dot.name {
            "work;a=2;b=1" => {
                assert_eq!(dot.unit, "ms");
                work.push(dot.value);
            }
            _ => given.push((&*dot.name, &*dot.unit, dot.nanos, dot.value)),
        }
    }
    work.sort_by(f64::total_cmp);
    assert_eq!(work, (-1..4000).map(f64::from).collect::<Vec<_>>());
    let time = 1_700_000_000_123_456_789;
    assert_eq!(given, [("given", "", 0, 0.5), ("given", "", u64::MAX, 1.5), ("given", "", time, 2.5)]);
    let child: Vec<_> = child[0].1.iter().map(|dot| (&*dot.name, dot.nanos, dot.value)).collect();
    assert_eq!(child, [("child", 7, 7.0), ("given", 8, 8.0)]);
}

#[test]
fn the_header_is_c_of_every_standard_and_c_plus_plus() {
    let check = |compiler: &str, language: &str, standard: &str| {
        let mut command = Command::new(compiler);
        command.args(["-fsyntax-only", "-x", language, &format!("-std={standard}")]).args(STRICT);
        run(command.arg(here("include/dotter.h")));
    };
    check("gcc", "c", "c99");
    check("gcc", "c", "c11");
    check("gcc", "c", "c17");
    check("g++", "c++", "c++11");
    check("g++", "c++", "c++20");
}

#[test]
fn the_benchmark_builds_and_measures_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("examples/bench.c", "c99", true, dir.path());
    let text = run(Command::new(program).arg(dir.path().join("ring")).arg("100"));
    assert!(text.contains("dotter_dot ") && text.contains("dotter_dot_at "), "{text}");
}
