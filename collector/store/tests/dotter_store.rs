//! dotter-store as a user runs it: rows of every kind in and out, other programs' files, deletes, copies, and what
//! it says when something makes no sense.

mod support;

use std::io::{BufRead as _, BufReader};

use dotter_dot::{Dots, Kind, SeriesName, Shape, Timestamp};
use dotter_store::{Reader, Transaction, Writer};
use support::{command, failed, printed, run, told};

const LOG: &str = "\
web.access 3000000000 sUF /shop/cart 503 12.5
web.access 1000000000 sUF /shop\\ old 200 0.5
web.access 2000000000 sUF /static/a.css 200 1.25
web.error 2000000000 s upstream\\ timed\\ out\\n(110)
host.load 2000000000 0.75
host.requests 2000000000 U 9007199254740993
";

#[test]
fn rows_of_every_format_come_back_as_they_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "\
f 1 f 0.1
f 2 f inf
i 1 i -2147483648
i64 1 I -9223372036854775808
mixed 1 F 1.5
mixed 2 s now\\ a\\ text
mixed 3 u 7
row 1 suFs \"\" 4294967295 -0.5 \\\\x
u64 1 U 18446744073709551615
";
    let mut lines: Vec<&str> = rows.lines().collect();
    lines.reverse();
    told(dir.path(), &["add"], &(lines.join("\n") + "\n"));
    let back = printed(dir.path(), &["read", "%", "--timestamp-nanos", "--print-format"]);
    assert_eq!(back.replace('\t', " "), rows);
    // The same once it lies in a segment, and once it was added to another store.
    told(dir.path(), &["compact", "--major"], "");
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos", "--print-format"]), back);
    let other = tempfile::tempdir().unwrap();
    told(other.path(), &["add"], &printed(dir.path(), &["read", "%"]));
    assert_eq!(printed(other.path(), &["read", "%", "--timestamp-nanos", "--print-format"]), back);
}

#[test]
fn sonneries_first_steps_work_as_they_stand_in_its_manual() {
    let dir = tempfile::tempdir().unwrap();
    let rows =
        "fibonacci 2020-01-01T00:00:00 1\nfibonacci 2020-01-02T00:00:00 1\nfibonacci 2020-01-03T00:00:00 2\n";
    told(dir.path(), &["add", "--format", "u", "--timestamp-format=%FT%T"], rows);
    assert_eq!(
        printed(dir.path(), &["read", "fib%", "--timestamp-format", "%F %T"]),
        "fibonacci\t2020-01-01 00:00:00\tu\t1\nfibonacci\t2020-01-02 00:00:00\tu\t1\nfibonacci\t2020-01-03 00:00:00\tu\t2\n"
    );
    assert_eq!(
        printed(
            dir.path(),
            &[
                "read",
                "%",
                "--after-time",
                "2020-01-02",
                "--before-time",
                "2020-01-03",
                "--print-format",
                "--timestamp-seconds"
            ]
        ),
        "fibonacci\t1577923200\tu\t1\n"
    );
    told(dir.path(), &["delete", "--after-time=2020-01-02"], "");
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-nanos"]),
        "fibonacci\t1577836800000000000\tu\t1\n"
    );
    told(dir.path(), &["compact", "--major"], "");
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-nanos"]),
        "fibonacci\t1577836800000000000\tu\t1\n"
    );
}

#[test]
fn an_expression_chooses_rows_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], LOG);
    let check = |expression: &str, expected: &[&str]| {
        let found = printed(dir.path(), &["read", "%", "--times", "seconds", "--where", expression]);
        let found: Vec<String> =
            found.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(found, expected, "{expression}");
    };
    for _ in 0..2 {
        check("c2 >= 500 and c1 starts '/shop'", &["web.access 3"]);
        check("value contains 'shop'", &["web.access 1", "web.access 3"]);
        check("value =~ '\\.css$' or key = 'host.load'", &["host.load 2", "web.access 2"]);
        check("value = 9007199254740993", &["host.requests 2"]);
        check("value = 9007199254740992", &[]);
        check("time > 1970-01-01T00:00:02Z", &["web.access 3"]);
        check(
            "not value contains 'shop' and time = 2000000000",
            &["host.load 2", "host.requests 2", "web.access 2", "web.error 2"],
        );
        told(dir.path(), &["compact", "--major"], "");
    }
    let (code, said) = failed(dir.path(), &["read", "%", "--where", "value >"], "");
    assert_eq!(code, 2);
    assert!(said.contains("expression ends at byte 7, expected a field or a value"), "{said}");
}

#[test]
fn every_way_to_print_is_the_one_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    told(
        dir.path(),
        &["add", "--format", "sU", "--columns", "path,code"],
        "web 1 /a\\ b 200\nweb 2 /c 404\n",
    );
    assert_eq!(
        printed(dir.path(), &["read", "web", "--csv", "--times", "nanos"]),
        "series,time,path,code\nweb,1,/a b,200\nweb,2,/c,404\n"
    );
    assert_eq!(
        printed(dir.path(), &["read", "web", "--plain", "--times", "nanos"]),
        "web\t1\t/a b\t200\nweb\t2\t/c\t404\n"
    );
    assert_eq!(
        printed(dir.path(), &["read", "web", "-C", "code", "--times", "nanos"]),
        "web\t1\tU\t200\nweb\t2\tU\t404\n"
    );
    assert_eq!(
        printed(dir.path(), &["read", "web", "--json"]),
        "{\"series\":\"web\",\"dots\":[[0.000000001,\"/a b\",200],[0.000000002,\"/c\",404]]}\n"
    );
    assert_eq!(
        printed(dir.path(), &["read", "web", "--where", "code = 404", "-C", "1", "--times", "nanos"]),
        "web\t2\ts\t/c\n"
    );
    assert_eq!(printed(dir.path(), &["read", "--first-key", "x"]), "");
    assert_eq!(
        printed(
            dir.path(),
            &["read", "--first-key", "w", "--last-key", "web", "-C", "2", "--timestamp-nanos"]
        )
        .lines()
        .count(),
        2
    );
    let (code, said) = failed(dir.path(), &["read"], "");
    assert_eq!((code, said.contains("no series")), (2, true), "{said}");
}

#[test]
fn a_bad_row_is_told_by_its_line_and_costs_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "a 1 1\na 2 2\na 3 3\na four 4\na 5 5\n";
    let (code, said) = failed(dir.path(), &["add"], rows);
    assert_eq!(code, 1);
    assert!(
        said.starts_with("dotter-store: line 4: 'four' is neither") && said.ends_with("nothing was stored\n"),
        "{said}"
    );
    assert_eq!(run(dir.path(), &["read", "%"], "").status.code(), Some(1));
    let (code, said) = failed(dir.path(), &["add", "--each", "2"], rows);
    assert_eq!(code, 1);
    assert!(said.contains("2 rows before it were stored, nothing after them"), "{said}");
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), "a\t1\t1\na\t2\t2\n");
    let said = told(dir.path(), &["add", "--skip-bad"], rows);
    assert!(
        said.contains("line 4: 'four'")
            && said.contains("stored 4 dots of 1 series, 0 replaced by later lines, 1 skipped"),
        "{said}"
    );
    let (code, said) = failed(dir.path(), &["add", "--unit", "a\tb"], "a 1 1\n");
    assert_eq!((code, said.contains("control character")), (2, true), "{said}");
}

#[test]
fn many_rows_become_a_segment_and_few_go_into_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let stat =
        || -> serde_json::Value { serde_json::from_str(&printed(dir.path(), &["stat", "--json"])).unwrap() };
    told(dir.path(), &["add"], "a 1 1\n");
    assert_eq!((&stat()["wal_dots"], &stat()["segment_dots"]), (&1.into(), &0.into()));
    let rows: String = (0..120_000).rev().map(|n| format!("b{} {n} {}\n", n % 7, n / 2)).collect();
    let said = told(dir.path(), &["add"], &rows);
    assert!(said.contains("stored 120000 dots of 7 series, 0 replaced"), "{said}");
    assert_eq!(stat()["segment_dots"], 120_000);
    assert_eq!(printed(dir.path(), &["read", "b%"]).lines().count(), 120_000);
    let top: serde_json::Value =
        serde_json::from_str(&printed(dir.path(), &["top", "-n", "2", "--by", "dots", "--json"])).unwrap();
    assert_eq!((&top[0]["series"], &top[0]["dots"]), (&"b0".into(), &17_143.into()));
    assert!(top[0]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(top.as_array().unwrap().len(), 2);
    assert!(printed(dir.path(), &["top", "a"]).contains(" a\n"));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..200_000).map(|n| format!("a {n} {n}\n")).collect();
    told(dir.path(), &["add"], &rows);
    let mut child = command(dir.path(), &["read", "%"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "a\t1970-01-01T00:00:00Z\t0\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn what_is_exported_is_what_import_takes() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], LOG);
    let all = printed(dir.path(), &["read", "%", "--print-format"]);
    let csv = printed(dir.path(), &["export", "--csv"]);
    assert_eq!(csv.lines().next(), Some("series,time,format,value,c2,c3"));
    let other = tempfile::tempdir().unwrap();
    told(other.path(), &["import", "--csv"], &csv);
    assert_eq!(printed(other.path(), &["read", "%", "--print-format"]), all);
    let json = printed(dir.path(), &["export", "--json", "web.error"]);
    assert_eq!(json, "{\"series\":\"web.error\",\"dots\":[[2,\"upstream timed out\\n(110)\"]]}\n");
    assert_eq!(printed(dir.path(), &["export", "--csv", "--where", "value > 1"]).lines().count(), 2);
    assert_eq!(failed(dir.path(), &["export"], "").0, 2);
}

#[test]
fn comma_separated_files_are_taken_as_their_head_line_says() {
    let check = |args: &[&str], file: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec!["import", "--csv"];
        all.extend(args);
        told(dir.path(), &all, file);
        assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), expected, "{args:?} {file}");
    };
    check(
        &[],
        "Name,Timestamp,temperature\na b,1.5,20\nb,2026-01-01T00:00:00Z,-1\n",
        "a\\ b\t1500000000\t20\nb\t1767225600000000000\t-1\n",
    );
    check(
        &["--time-unit", "ms", "--prefix", "lab."],
        "time,series,value\n5,a,1\n\n6,a,2\n",
        "lab.a\t5000000\t1\nlab.a\t6000000\t2\n",
    );
    check(
        &["--wide"],
        "time,a,b\n1,10,20\n2,,21\n",
        "a\t1000000000\t10\nb\t1000000000\t20\nb\t2000000000\t21\n",
    );
    check(
        &["--series", "log", "--format", "sU", "--delimiter", ";"],
        "ts;path;code\n1;\"/a;b\nc\";200\n",
        "log\t1000000000\tsU\t/a;b\\nc 200\n",
    );
    check(
        &["--timestamp-format", "%d.%m.%Y %H:%M", "--series-column", "who"],
        "date,who,x\n01.02.2026 12:30,me,1\n",
        "me\t1769949000000000000\t1\n",
    );
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = failed(dir.path(), &["import", "--csv"], "time,series,a,b\n1,x,1,2\n");
    assert_eq!((code, said.contains("2 columns of values")), (2, true), "{said}");
    let (code, said) = failed(dir.path(), &["import", "--csv"], "time,series,a\n1,x,one\n");
    assert_eq!(
        (code, said.contains("line 2: 'one' is not a number; nothing was stored")),
        (1, true),
        "{said}"
    );
    let (code, said) = failed(dir.path(), &["import", "--csv"], "a,b\n1,2\n");
    assert_eq!((code, said.contains("has none of time")), (2, true), "{said}");
}

#[test]
fn the_text_that_prometheus_reads_becomes_series_with_tags() {
    let dir = tempfile::tempdir().unwrap();
    let text = "# TYPE up gauge\nup{job=\"a\",zone=\"x y\"} 1 1500.5\nup{job=\"b\"} 0 1500\n# EOF\n";
    told(dir.path(), &["import", "--openmetrics"], text);
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-seconds"]),
        "up;job=a;zone=x\\ y\t1500.5\t1\nup;job=b\t1500\t0\n"
    );
    let other = tempfile::tempdir().unwrap();
    told(other.path(), &["import", "--prometheus", "--at", "1970-01-01"], "up 1 1500\ndown 2\n");
    assert_eq!(printed(other.path(), &["read", "%", "--timestamp-seconds"]), "down\t0\t2\nup\t1.5\t1\n");
}

#[test]
fn what_sonnerie_reads_out_is_taken_and_its_directory_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let printed_by_it =
        "a\\ b\t2020-01-01 00:00:00\t1.50000000000000000\nlog\t2020-01-01 00:00:01\ts\tx\\ y\n";
    told(dir.path(), &["import", "--sonnerie"], printed_by_it);
    let nanos = "oceanic\t1514764800000000000\tff\t37.5 -122.5\n";
    told(dir.path(), &["import", "--sonnerie"], nanos);
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-seconds"]),
        concat!(
            "a\\ b\t1577836800\t1.5\n",
            "log\t1577836801\ts\tx\\ y\n",
            "oceanic\t1514764800\tff\t37.5 -122.5\n",
        )
    );
    let theirs = tempfile::tempdir().unwrap();
    std::fs::write(theirs.path().join("main"), b"@TSDB_SEGMENT_\x01\x00").unwrap();
    for args in [&["read", "%"][..], &["add"], &["stat"]] {
        let (code, said) = failed(theirs.path(), args, "");
        assert_eq!(code, 1);
        assert!(said.contains("is a Sonnerie database") && said.contains("import --sonnerie"), "{said}");
    }
    assert_eq!(std::fs::read_dir(theirs.path()).unwrap().count(), 1);
}

#[test]
fn a_backup_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    told(&store, &["add"], LOG);
    told(&store, &["compact", "--major"], "");
    told(&store, &["add"], "late 1 1\n");
    let copy = dir.path().join("copy");
    told(&store, &["backup", copy.to_str().unwrap()], "");
    assert_eq!(printed(&copy, &["read", "%"]), printed(&store, &["read", "%"]));
    assert!(printed(&copy, &["verify"]).contains(" 0 damaged places"));
    assert_eq!(failed(&store, &["backup", copy.to_str().unwrap()], "").0, 1);
}

#[test]
fn a_delete_names_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "a 1 1\na 2 2\nb 1 1\nb 2 2\nc 1 1\n";
    told(dir.path(), &["add"], rows);
    assert_eq!(failed(dir.path(), &["delete"], "").0, 2);
    assert_eq!(failed(dir.path(), &["delete", "%", "--after", "5", "--before", "5"], "").0, 2);
    told(dir.path(), &["delete", "--first-key", "b", "--before", "2"], "");
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), "a\t1\t1\na\t2\t2\nb\t2\t2\n");
    // What comes later stays, and what was deleted is counted once it is gone.
    told(dir.path(), &["add"], "c 1 9\n");
    told(dir.path(), &["compact", "--major"], "");
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-nanos"]),
        "a\t1\t1\na\t2\t2\nb\t2\t2\nc\t1\t9\n"
    );
    let ledger: serde_json::Value =
        serde_json::from_str(&printed(dir.path(), &["ledger", "--json"])).unwrap();
    assert_eq!(ledger["totals"]["deleted"], 2);
}

#[test]
fn a_pattern_says_a_percent_sign() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], "disk.used% 1 5\ndisk.used.total 1 6\ndisk.used%x 1 7\n");
    let all = |pattern: &str| printed(dir.path(), &["read", pattern, "--timestamp-nanos"]);
    assert_eq!(all(r"disk.used\%"), "disk.used%\t1\t5\n");
    assert_eq!(printed(dir.path(), &["export", "--csv", r"disk.used\%%"]).lines().count(), 1 + 2);
    told(dir.path(), &["delete", r"disk.used\%"], "");
    assert_eq!(all("%"), "disk.used%x\t1\t7\ndisk.used.total\t1\t6\n");
}

#[test]
fn a_compaction_passes_all_rows_through_a_command() {
    let dir = tempfile::tempdir().unwrap();
    told(
        dir.path(),
        &["add", "--columns", "took", "--unit", "ms"],
        "bad.x 1 1\ngood 1 1.5\ngood 2 2\nold\\ name 1 3\n",
    );
    told(dir.path(), &["add"], "good 3 s text\\ of\\ it\n");
    let said =
        told(dir.path(), &["compact", "--major", "--gegnum", "grep -v ^bad | sed 's/^old/older/'"], "");
    assert!(said.contains("5 rows out, 4 rows in"), "{said}");
    let rows = "good\t1\t1.5\ngood\t2\t2\ngood\t3\ts\ttext\\ of\\ it\nolder\\ name\t1\t3\n";
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), rows);
    // What lines do not say is kept.
    assert_eq!(
        printed(dir.path(), &["read", "good", "--before", "3", "--csv"]).lines().next(),
        Some("series,time,took")
    );
    // One that fails, or mixes things up, changes nothing.
    for (command, what) in [("cat; exit 3", "exit status: 3"), ("tac", "line 2"), ("echo a 1", "line 1")] {
        let (code, said) = failed(dir.path(), &["compact", "--filter", command], "");
        assert_eq!((code, said.contains(what)), (1, true), "{command}: {said}");
        assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), rows, "{command}");
    }
    told(dir.path(), &["compact", "--filter", "sed s/good/better/", "--timestamp-format", "%FT%T%.f"], "");
    assert_eq!(failed(dir.path(), &["compact", "--filter", "cat", "--timestamp-format", "%F %T"], "").0, 2);
    assert_eq!(printed(dir.path(), &["read", "better"]).lines().count(), 3);
}

#[test]
fn a_compaction_through_a_command_keeps_the_kind_of_a_series() {
    let dir = tempfile::tempdir().unwrap();
    let counter = Shape::number().with_kind(Kind::Counter);
    let mut writer = Writer::open(dir.path()).unwrap();
    let key = writer.series(&SeriesName::new("orders").unwrap(), &counter);
    let mut dots = Dots::default();
    (1..4).for_each(|n| dots.push_number(key, false, Timestamp::from_nanos(n), n as f64));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
    drop(writer);
    let said = told(dir.path(), &["compact", "--major", "--filter", "grep -v '2$'"], "");
    assert!(said.contains("3 rows out, 2 rows in"), "{said}");
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.shape("orders").unwrap(), Some(counter));
}

#[test]
fn help_and_wrong_usage_have_their_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    assert!(printed(dir.path(), &["--help"]).contains("Exit status"));
    assert!(printed(dir.path(), &["read", "--help"]).contains("EXPRESSION"));
    for args in
        [&["reed"][..], &["read", "%", "--after", "noon"], &["add", "--format", "x"], &["import", "x"]]
    {
        assert_eq!(failed(dir.path(), args, "").0, 2, "{args:?}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn an_export_replaces_a_regular_file_and_nothing_else() {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    let dir = tempfile::tempdir().unwrap();
    let (store, out) = (dir.path().join("store"), dir.path().join("out"));
    told(&store, &["add"], LOG);
    fs::create_dir(&out).unwrap();
    let at = |name: &str| out.join(name);
    let export =
        |path: &std::path::Path| run(&store, &["export", "%", "--parquet", path.to_str().unwrap()], "");
    assert!(export(&at("plain")).status.success());
    let expected = fs::read(at("plain")).unwrap();
    assert!(expected.starts_with(b"PAR1") && expected.ends_with(b"PAR1"));
    // Standard output by both its names; the second is a symbolic link to what is no regular file.
    std::os::unix::fs::symlink("/dev/stdout", at("stdout")).unwrap();
    for path in [std::path::Path::new("-"), &at("stdout")] {
        let output = export(path);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == expected, "{} bytes", output.stdout.len());
    }
    assert!(fs::symlink_metadata(at("stdout")).unwrap().is_symlink());
    // What stands before in a file that is standard output stays.
    fs::write(at("appended"), "before").unwrap();
    let appended = fs::File::options().append(true).open(at("appended")).unwrap();
    let path = at("stdout");
    let mut child = command(&store, &["export", "%", "--parquet", path.to_str().unwrap()]);
    assert!(child.stdout(appended).spawn().unwrap().wait().unwrap().success());
    assert!(fs::read(at("appended")).unwrap() == [b"before", &expected[..]].concat());
    // A pipe with a name stays one, and whoever reads gets it all.
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let child = command(&store, &["export", "%", "--parquet", at("pipe").to_str().unwrap()]).spawn().unwrap();
    let pipe = at("pipe");
    let reading = std::thread::spawn(move || fs::read(pipe).unwrap());
    assert!(child.wait_with_output().unwrap().status.success());
    let is_pipe = fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo();
    assert!(is_pipe, "the pipe was replaced");
    assert!(reading.join().unwrap() == expected);
    // Links are followed, also to where nothing is yet; what is replaced keeps its permissions.
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/old"), "old").unwrap();
    fs::set_permissions(at("sub/old"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("sub/old", at("first")).unwrap();
    std::os::unix::fs::symlink("first", at("second")).unwrap();
    std::os::unix::fs::symlink("sub/new", at("empty")).unwrap();
    for (link, file) in [("second", "sub/old"), ("empty", "sub/new")] {
        assert!(export(&at(link)).status.success());
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        assert!(fs::read(at(file)).unwrap() == expected, "{file}");
    }
    assert_eq!(fs::metadata(at("sub/old")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(at("sub")).unwrap().count(), 2, "nothing half done is left");
    std::os::unix::fs::symlink("round", at("round")).unwrap();
    assert_eq!(export(&at("round")).status.code(), Some(1));
    assert_eq!(export(&at("sub")).status.code(), Some(1));
}
