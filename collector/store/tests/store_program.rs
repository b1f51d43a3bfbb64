//! dotter-store as a user runs it: rows in, rows out, the ledger, damage named by its exit status.

mod support;

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Output;
use std::time::Duration;

use dotter_dot::{Dots, Incarnation, Kind, Reason, SeriesName, Shape, Timestamp};
use dotter_store::{LaneRecords, Lost, Machine, RingPart, Transaction, Writer};
use support::{printed, run};

#[test]
fn rows_come_back_in_the_order_of_series_and_times() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "b 2 2.5\na\\ x 1970-01-01T00:00:01Z -1e300\nb 1 1\nb 2 7\n\na 5 NaN\n";
    let output = run(dir.path(), &["add"], rows);
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, "stored 4 dots of 3 series, 1 replaced by later lines, 0 skipped\n");
    let all = printed(dir.path(), &["read", "%", "--times", "nanos"]);
    assert_eq!(all, format!("a\t5\tNaN\na\\ x\t1000000000\t{}\nb\t1\t1\nb\t2\t7\n", -1e300_f64));
    assert_eq!(
        printed(dir.path(), &["read", "b", "--after", "2", "--times", "seconds"]),
        "b\t0.000000002\t7\n"
    );
    let json = printed(dir.path(), &["read", "a%", "--json"]);
    assert_eq!(
        json,
        format!("{}\n{}\n", r#"{"series":"a","dots":[[0.000000005,null]]}"#, {
            r#"{"series":"a x","dots":[[1,-1e+300]]}"#
        })
    );
    // What was printed can be added.
    let other = tempfile::tempdir().unwrap();
    let printed_rows = printed(dir.path(), &["read", "%"]);
    assert!(run(other.path(), &["add"], &printed_rows).status.success());
    assert_eq!(printed(other.path(), &["read", "%", "--times", "nanos"]), all);
}

/// Shows P28.
#[test]
fn a_bad_line_stores_nothing_unless_it_may_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "a 1 1\na two 2\na 3 3\n";
    let output = run(dir.path(), &["add"], rows);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("dotter-store: line 2: 'two' is neither whole nanoseconds"), "{told}");
    assert!(told.ends_with("nothing was stored\n"), "{told}");
    assert_eq!(run(dir.path(), &["read", "%"], "").status.code(), Some(1));
    assert!(run(dir.path(), &["add", "--skip-bad"], rows).status.success());
    assert_eq!(printed(dir.path(), &["read", "%", "--times", "nanos"]), "a\t1\t1\na\t3\t3\n");
}

/// Shows P22.
#[test]
fn the_ledger_tells_what_another_store_keeps_and_whose_a_ring_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(1), 1.0);
    let lanes = [LaneRecords { next: 4, elsewhere: 3, ..LaneRecords::default() }];
    let (incarnation, now) = (Incarnation([9; 16]), Timestamp::from_nanos(5));
    let ring = RingPart { incarnation, application: "app", owner: Some(1000), now, ..RingPart::default() };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
    let ledger = printed(dir.path(), &["ledger"]);
    assert!(ledger.starts_with(&format!("app {incarnation}, owner uid 1000, first seen 1970")), "{ledger}");
    assert!(ledger.contains("published 4 = stored 1 + lost 0 + refused 0 + elsewhere 3\n"), "{ledger}");
    let json: serde_json::Value = serde_json::from_str(&printed(dir.path(), &["ledger", "--json"])).unwrap();
    let ring = &json["rings"][0];
    assert_eq!((&ring["elsewhere"], &ring["lanes"][0]["elsewhere"]), (&3.into(), &3.into()));
    assert_eq!((&ring["balanced"], &ring["owner_uid"]), (&true.into(), &1000.into()));
}

#[test]
fn the_ledger_tells_how_many_observations_were_condensed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let rule = "[[rule]]\npattern = \"took\"\nkeep = \"raw:400y\"\ncondense = \"10s\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let shape = Shape::number().with_kind(Kind::Histogram);
    let key = writer.series(&SeriesName::new("took").unwrap(), &shape);
    let mut dots = Dots::default();
    (0..70).for_each(|n| dots.push_number(key, true, Timestamp::from_nanos(n), 64.5));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
    drop(writer);
    assert!(run(dir.path(), &["compact"], "").status.success());
    assert_eq!(printed(dir.path(), &["read", "took", "--times", "nanos"]), "took\t0\tFU\t64.5 70\n");
    let ledger = printed(dir.path(), &["ledger"]);
    assert!(ledger.ends_with("0 damaged, 69 condensed into rows that stand for several\n"), "{ledger}");
    let json: serde_json::Value = serde_json::from_str(&printed(dir.path(), &["ledger", "--json"])).unwrap();
    assert_eq!((&json["totals"]["condensed"], &json["totals"]["stored_other"]), (&69.into(), &70.into()));
}

/// Shows P18.
#[test]
fn it_works_beside_a_writer_and_the_ledger_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(1), 1.0);
    dots.push_number(key, false, Timestamp::from_nanos(2), 1.0);
    let lost = Lost { first: 2, next: 7, reason: Reason::LAPPED, times: None };
    let lanes = [LaneRecords { next: 7, losses: vec![lost], ..LaneRecords::default() }];
    let refusals = [(Reason::SIGNAL_HANDLER, 4)];
    let ring = RingPart {
        incarnation: Incarnation([9; 16]),
        application: "app",
        refusals: &refusals,
        now: Timestamp::from_nanos(5),
        ..RingPart::default()
    };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
    assert!(run(dir.path(), &["add"], "a 2 2\na 3 3\n").status.success());
    assert_eq!(printed(dir.path(), &["read", "a", "--times", "nanos"]), "a\t1\t1\na\t2\t2\na\t3\t3\n");
    let ledger = printed(dir.path(), &["ledger"]);
    assert!(
        ledger.contains("published 11 = stored 2 + lost 5 (lapped 5) + refused 4 (signal-handler 4)"),
        "{ledger}"
    );
    let json: serde_json::Value = serde_json::from_str(&printed(dir.path(), &["ledger", "--json"])).unwrap();
    assert_eq!(json["rings"][0]["published"], 11);
    assert_eq!(json["rings"][0]["balanced"], true);
    assert_eq!(json["totals"]["stored_other"], 2);
    let stat: serde_json::Value = serde_json::from_str(&printed(dir.path(), &["stat", "--json"])).unwrap();
    assert_eq!(
        (&stat["series"], &stat["segment_dots"], &stat["wal_dots"]),
        (&1.into(), &2.into(), &2.into())
    );

    // The ring ends, and its account moves, to be part of its application's sum in the end.
    writer.finish(&ring, &[(0, 7)], Timestamp::from_nanos(6)).unwrap();
    drop(writer);
    // A child that another test has just started holds the lock until its program begins.
    while matches!(Writer::open(dir.path()), Err(dotter_store::Error::Locked(_))) {
        std::thread::yield_now();
    }
    assert!(run(dir.path(), &["compact"], "").status.success());
    let ledger = printed(dir.path(), &["ledger"]);
    assert!(ledger.contains(", finished 1970-01-01"), "{ledger}");
    let mut machine = Machine::now().unwrap();
    let months = Duration::from_secs(90 * 24 * 3600);
    machine.wall = machine.wall.saturating_add(months);
    machine.since_boot += months;
    dotter_store::tidy(dir.path(), &machine).unwrap();
    let ledger = printed(dir.path(), &["ledger"]);
    assert!(ledger.contains("app: all finished rings: 1"), "{ledger}");
    assert!(
        ledger.contains("published 11 = stored 2 + lost 5 (lapped 5) + refused 4 (signal-handler 4)"),
        "{ledger}"
    );
    let json: serde_json::Value = serde_json::from_str(&printed(dir.path(), &["ledger", "--json"])).unwrap();
    // Its whole account is shown as one of the last, and is part of the sum.
    assert_eq!(json["rings"].as_array().unwrap().len(), 1);
    assert!(json["rings"][0]["finished"].is_string());
    assert_eq!(
        (&json["applications"][0]["published"], &json["applications"][0]["lost"]),
        (&11.into(), &5.into())
    );
}

#[test]
fn damage_is_named_and_told_by_the_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(dir.path(), &["add"], "a 1 1\na 2 5\n").status.success());
    // What is small goes into the log: it is made a segment here.
    assert!(run(dir.path(), &["compact", "--major"], "").status.success());
    assert_eq!(run(dir.path(), &["verify"], "").status.code(), Some(0));
    let segment = std::fs::read_dir(dir.path().join("seg")).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&segment, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::OpenOptions::new().write(true).open(&segment).unwrap().write_all_at(&[0xFF], 20).unwrap();
    let output = run(dir.path(), &["verify"], "");
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("at byte 16: checksum") && told.contains("dots of a and of its neighbours"),
        "{told}"
    );
    let output = run(dir.path(), &["read", "%"], "");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("0 segments and 1 chunks are damaged and left out"), "{told}");
}

#[test]
fn a_list_that_had_to_be_rebuilt_is_told_by_the_exit_status_until_somebody_has_looked() {
    let dir = tempfile::tempdir().unwrap();
    for row in ["a 1 1\n", "a 2 5\n"] {
        assert!(run(dir.path(), &["add"], row).status.success());
        assert!(run(dir.path(), &["compact", "--major"], "").status.success());
    }
    // One of the two files is enough for everything but verify.
    let spoil = |name: &str| {
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap();
        file.write_all_at(b"no", 60).unwrap();
    };
    spoil("MANIFEST");
    assert_eq!(run(dir.path(), &["read", "a"], "").status.code(), Some(0));
    assert_eq!(run(dir.path(), &["verify"], "").status.code(), Some(3));
    spoil("MANIFEST.2");
    let told = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    let rows = "a\t1\t1\na\t2\t5\n";
    for has_gone_on in [false, true] {
        for command in [&["read", "a", "--times", "nanos"][..], &["export", "--csv", "a"], &["verify"]] {
            let output = run(dir.path(), command, "");
            assert_eq!(output.status.code(), Some(3), "{command:?}");
            assert!(told(&output).contains("was rebuilt: "), "{}", told(&output));
            assert!(told(&output).contains("MANIFEST.damaged"), "{}", told(&output));
            let said = String::from_utf8(output.stdout).unwrap();
            match command[0] {
                "verify" => assert!(said.contains("/MANIFEST"), "{said}"),
                "export" => assert_eq!(said.lines().count(), 3, "{said}"),
                _ => assert_eq!(said, rows),
            }
        }
        // The next commit makes the rebuilt list the list.
        let output = run(dir.path(), &["delete", "a", "--after", "100"], "");
        assert!(output.status.success() && told(&output).contains("was rebuilt"), "{has_gone_on}");
    }
    let dry = run(dir.path(), &["repair", "--dry-run"], "");
    let said = String::from_utf8(dry.stdout).unwrap();
    assert_eq!(dry.status.code(), Some(3), "{said}");
    assert!(said.contains("was rebuilt before\n") && said.ends_with("nothing was changed\n"), "{said}");
    assert!(dir.path().join("MANIFEST.damaged").exists());
    let said = printed(dir.path(), &["repair"]);
    assert!(said.contains("it names 1 segments with 2 dots"), "{said}");
    assert!(said.contains("the last deletes may be missing"), "{said}");
    assert!(said.ends_with("it is the list now, and MANIFEST.damaged is removed\n"), "{said}");
    assert_eq!(printed(dir.path(), &["repair"]), "nothing to repair: the list of what counts is whole\n");
    assert_eq!(printed(dir.path(), &["read", "a", "--times", "nanos"]), rows);
    assert_eq!(run(dir.path(), &["verify"], "").status.code(), Some(0));
}

#[test]
fn a_series_gets_another_name_and_the_ledger_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["add", "--unit", "B"], "a 1 1\na 2 2\n100% 1 1\nb 2 7\n").status.success());
    let renamed = run(dir, &["rename", "a", "b"], "");
    let told = String::from_utf8(renamed.stderr).unwrap();
    assert_eq!(
        told,
        "2 rows have the name b now, in 1 segments; whoever publishes a goes on under that name\n"
    );
    assert!(run(dir, &["rename", "100%", "all of it"], "").status.success());
    let all = printed(dir, &["read", "%", "--times", "nanos"]);
    assert_eq!(all, "all\\ of\\ it\t1\t1\nb\t1\t1\nb\t2\t2\n");
    assert!(
        printed(dir, &["ledger"])
            .contains("4 stored over other ways than rings, 3 once more under a new name;")
    );
    let json: serde_json::Value = serde_json::from_str(&printed(dir, &["ledger", "--json"])).unwrap();
    assert_eq!(json["totals"]["renamed"], 3);
    let long = "x".repeat(dotter_dot::NAME_BYTES_MAX + 1);
    for (arguments, code, says) in [
        (["rename", "b", "b"], 2, "series b has this name already"),
        (["rename", "a", "c"], 1, "there is no row of series a"),
        (["rename", "", "c"], 2, "series name is empty"),
        (["rename", "b", &long], 2, "invalid value"),
    ] {
        let output = run(dir, &arguments, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(printed(dir, &["read", "%", "--times", "nanos"]), all);
}
