//! C programs, built by the system's own compiler and run: what they publish, a reader of the file finds.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{fenced, here, library, read, rings, rows, run};

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
fn typed_publishes_a_line_a_row_a_counter_and_integers() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("examples/typed.c", "c11", true, dir.path());
    let path = dir.path().join("ring");
    run(Command::new(&program).arg(&path));
    let found = rows(&path);
    let (text, lane) = found.split_at(5);
    assert_eq!(
        text,
        [
            "queue.offset;instance=worker-3 I [bytes] 9007199254740993",
            "shop.orders;instance=worker-3 F [] 2.0",
            "shop.orders;instance=worker-3 F [] 3.0",
            "shop.log;instance=worker-3 s [] \"the first order is through\"",
            "disk.sda;instance=worker-3 FUi(busy, read, errors) [] 0.25 4096 -1",
        ]
    );
    let lines = |number| format!("queue.offset;instance=worker-3 I [bytes] {number}");
    assert_eq!(lane, (0..10).map(lines).collect::<Vec<_>>());
}

#[test]
fn a_writer_over_the_header_of_the_format_alone_gives_the_bytes_of_the_kept_ring() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("tests/own_writer.c", "c11", false, dir.path());
    let path = dir.path().join("golden.dots");
    run(Command::new(&program).arg(&path));
    let golden = here("../../shared/ring/tests/golden/ring-0-kinds.dots");
    let (kept, written) = (std::fs::read(golden).unwrap(), std::fs::read(path).unwrap());
    let differs = kept.iter().zip(&written).position(|(kept, written)| kept != written);
    assert_eq!((differs, kept.len()), (None, written.len()), "the first byte that differs, and the length");
}

/// Says what a package's compiler is to be told; by hand where there is no pkg-config.
fn flags(prefix: &Path, more: &[&str]) -> Vec<String> {
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).args(["--cflags", "--libs"]).args(more);
    match command.arg("dotter").output() {
        Ok(out) => {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
        }
        Err(_) => {
            println!("there is no pkg-config here: its flags are written out");
            let (include, lib) = (format!("-I{}", include.display()), format!("-L{}", lib.display()));
            vec![include, lib, "-ldotter".into(), "-lpthread".into(), "-ldl".into(), "-lm".into()]
        }
    }
}

#[test]
fn what_is_installed_compiles_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    // The second would be taken for something else by sed.
    for prefix in ["plain", "a&b"].map(|name| dir.path().join(name)) {
        let built = library("libdotter.so").parent().expect("a file lies in a directory").to_owned();
        let mut install = Command::new(here("install"));
        install.env("BUILT", built).env("PREFIX", &prefix).env_remove("DESTDIR").env_remove("LIBDIR");
        let text = run(install.env_remove("INCLUDEDIR"));
        assert!(text.contains(concat!("dotter.pc ", env!("CARGO_PKG_VERSION"))), "{text}");
        // Once more, over what is there.
        run(&mut install);
        let mut names: Vec<_> = ["include", "lib", "lib/pkgconfig"]
            .iter()
            .flat_map(|part| std::fs::read_dir(prefix.join(part)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = ["dotter.h", "dotter.pc", "dotter_ring.h", "libdotter.a", "libdotter.so", "pkgconfig"];
        assert_eq!(names, expected);
    }

    let prefix = dir.path().join("plain");
    let program = dir.path().join("program");
    let hello = here("examples/hello.c");
    for more in [&[][..], &["--static"]] {
        let mut compiler = Command::new("gcc");
        let flags = flags(&prefix, more);
        run(compiler.arg("-o").arg(&program).arg(&hello).args(flags));
        let ring = dir.path().join("ring");
        run(Command::new(&program).arg(&ring).env("LD_LIBRARY_PATH", prefix.join("lib")));
        assert_eq!(read(&ring).1.len(), 10);
    }
}

#[test]
fn the_program_on_the_page_compiles_and_publishes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("shop.c"), fenced("README.md", "c")).unwrap();
    let source = dir.path().join("shop.c");
    let program = build(source.to_str().expect("tests run in folders with names"), "c11", true, dir.path());
    let rings_dir = dir.path().join("rings");
    run(Command::new(&program).env("DOTTER_DIR", &rings_dir));
    assert_eq!(rows(&rings(&rings_dir)[0]).len(), 1);
}

#[test]
fn what_is_packaged_lies_below_destdir_and_names_its_place_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let built = library("libdotter.so").parent().expect("a file lies in a directory").to_owned();
    let mut install = Command::new(here("install"));
    install.env("BUILT", &built).env("DESTDIR", dir.path()).env("PREFIX", "/usr").env_remove("INCLUDEDIR");
    run(install.env("LIBDIR", "/usr/lib/some-triplet"));
    let text = std::fs::read_to_string(dir.path().join("usr/lib/some-triplet/pkgconfig/dotter.pc")).unwrap();
    assert!(text.contains("\nlibdir=/usr/lib/some-triplet\n") && !text.contains('@'), "{text}");
    assert!(dir.path().join("usr/lib/some-triplet/libdotter.so").is_file());
    assert!(dir.path().join("usr/include/dotter.h").is_file());

    for (name, value) in [("PREFIX", "relative"), ("BUILT", "/no/such/folder")] {
        let mut install = Command::new(here("install"));
        install.env("BUILT", &built).env("DESTDIR", dir.path().join("none")).env("PREFIX", "/usr");
        let out = install.env_remove("LIBDIR").env(name, value).output().unwrap();
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && text.contains("nothing was installed"), "{text}");
        assert!(!dir.path().join("none").exists());
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
    assert_eq!(work, (-2..4000).map(f64::from).collect::<Vec<_>>());
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
        run(command.args([here("include/dotter.h"), here("include/dotter_ring.h")]));
    };
    check("gcc", "c", "c99");
    check("gcc", "c", "c11");
    check("gcc", "c", "c17");
    check("g++", "c++", "c++11");
    check("g++", "c++", "c++17");
    check("g++", "c++", "c++20");
}

#[test]
fn the_benchmark_builds_and_measures_each_way() {
    let dir = tempfile::tempdir().unwrap();
    let program = build("examples/bench.c", "c99", true, dir.path());
    let text = run(Command::new(program).arg(dir.path().join("ring")).arg("100"));
    for what in ["dotter_dot ", "dotter_dot_at ", "dotter_cells_at,", "dotter_lane_dot_at "] {
        assert!(text.contains(what), "{text}");
    }
}
