//! Graphite's files on their way into the store.

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime};

use support::{command, failed, printed, told};

/// A Whisper file: per archive the seconds a point and its points.
fn whisper(archives: &[(u32, &[(u32, f64)])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in [1, 3600, 0.5_f32.to_bits(), archives.len() as u32] {
        bytes.extend(field.to_be_bytes());
    }
    let mut offset = 16 + 12 * archives.len() as u32;
    for (seconds, points) in archives {
        [offset, *seconds, points.len() as u32].iter().for_each(|field| bytes.extend(field.to_be_bytes()));
        offset += 12 * points.len() as u32;
    }
    for (time, value) in archives.iter().flat_map(|(_, points)| *points) {
        bytes.extend(time.to_be_bytes());
        bytes.extend(value.to_be_bytes());
    }
    bytes
}

#[test]
fn of_a_whisper_file_the_finest_archive_counts() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("whisper");
    std::fs::create_dir_all(files.join("host/web1")).unwrap();
    // The ring of the finest was written round: what is older than its retention of 40 s does not count.
    let fine: &[(u32, f64)] = &[(1040, 4.0), (1010, 1.0), (1020, 2.0), (1030, 3.0)];
    let stale: &[(u32, f64)] = &[(1040, 4.0), (500, 9.0), (0, 0.0), (1030, 3.0)];
    let coarse: &[(u32, f64)] = &[(900, 0.5), (960, 0.75), (1020, 2.5), (0, 0.0)];
    std::fs::write(files.join("host/web1/cpu.wsp"), whisper(&[(60, coarse), (10, fine)])).unwrap();
    std::fs::write(files.join("host/load.wsp"), whisper(&[(10, stale), (60, coarse)])).unwrap();
    std::fs::write(files.join("readme.txt"), "no archive").unwrap();
    let store = dir.path().join("store");
    told(&store, &["import", "--whisper", files.to_str().unwrap()], "");
    let lines = |name: &str| printed(&store, &["read", name, "--timestamp-seconds", "-C", "1"]);
    assert_eq!(
        lines("host.web1.cpu").replace("host.web1.cpu\t", ""),
        "900\t0.5\n960\t0.75\n1010\t1\n1020\t2\n1030\t3\n1040\t4\n"
    );
    assert_eq!(
        lines("host.load").replace("host.load\t", ""),
        "900\t0.5\n960\t0.75\n1020\t2.5\n1030\t3\n1040\t4\n"
    );
    std::fs::write(files.join("bad.wsp"), [0; 12]).unwrap();
    let (code, said) = failed(&store, &["import", "--whisper", files.to_str().unwrap()], "");
    assert_eq!(
        (code, said.contains("bad.wsp: 12 bytes are too few for a Whisper file")),
        (1, true),
        "{said}"
    );
    std::fs::write(files.join("bad.wsp"), &whisper(&[(10, fine)])[..40]).unwrap();
    let said = told(&store, &["import", "--skip-bad", "--whisper", files.to_str().unwrap()], "");
    assert!(said.contains("archive 0 of 4 points at byte 28") && said.contains("2 skipped"), "{said}");
}

/// An archive's points where carbon puts them: each in the slot of its time, counted from the first one.
fn ring(seconds: u32, count: u32, points: impl IntoIterator<Item = (u32, f64)>) -> Vec<(u32, f64)> {
    let mut slots = vec![(0, 0.0); count as usize];
    let mut base = None;
    for (time, value) in points {
        let time = time / seconds * seconds;
        let base = *base.get_or_insert(time);
        let slot = (i64::from(time) - i64::from(base)) / i64::from(seconds);
        slots[slot.rem_euclid(count.into()) as usize] = (time, value);
    }
    slots
}

/// Imports one file: what was said, and its dots as seconds and values.
fn import(archives: &[(u32, &[(u32, f64)])]) -> (String, Vec<(u32, f64)>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.wsp");
    std::fs::write(&file, whisper(archives)).unwrap();
    let store = dir.path().join("store");
    let said = told(&store, &["import", "--whisper", dir.path().to_str().unwrap()], "");
    let rows = printed(&store, &["read", "a", "--timestamp-seconds"]);
    let dot = |row: &str| {
        let mut fields = row.split('\t').skip(1);
        (fields.next().unwrap().parse().unwrap(), fields.next().unwrap().parse().unwrap())
    };
    (said, rows.lines().map(dot).collect())
}

#[test]
fn one_wild_time_drops_only_itself() {
    const MINUTE: u32 = 60;
    const DAY: u32 = 86_400;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = (now - Duration::from_secs(MINUTE.into())).as_secs() as u32;
    // Also a file whose last point was written years ago.
    for end in [now, 1_300_000_000] {
        let end = end / MINUTE * MINUTE;
        let good: Vec<(u32, f64)> = (0..599).map(|n| (end - (599 - n) * MINUTE, n.into())).collect();
        let check = |wild: u32, is_taken: bool| {
            let wild = wild / MINUTE * MINUTE;
            let points = good.iter().copied().chain([(wild, -1.0)]);
            let archive = ring(MINUTE, 1440, points);
            assert_eq!(archive.iter().filter(|(time, _)| *time != 0).count(), 600, "no slot was taken twice");
            let (said, found) = import(&[(MINUTE, &archive)]);
            let mut expected = good.clone();
            expected.extend(is_taken.then_some((wild, -1.0)));
            assert_eq!(found, expected, "{wild}: {said}");
            let skipped = if is_taken { "0 skipped" } else { "1 skipped" };
            assert!(said.contains(skipped), "{wild}: {said}");
        };
        // Carbon stores times in the future; each stands for itself.
        check(end + 400 * DAY + 60 * MINUTE, true);
        check(end + 60 * MINUTE, true);
        check(end - 400 * DAY - 840 * MINUTE, false);
        // Bytes that were never written by Whisper, at the beginning of the ring and elsewhere.
        for slot in [0, 700] {
            let mut archive = ring(MINUTE, 1440, good.iter().copied());
            let replaced = std::mem::replace(&mut archive[slot], (end + 123_456_789, -1.0));
            let (said, found) = import(&[(MINUTE, &archive)]);
            let expected: Vec<_> = good.iter().copied().filter(|point| *point != replaced).collect();
            assert_eq!(found, expected, "{said}");
            assert!(said.contains("1 points stand where their times do not belong"), "{said}");
            assert!(said.contains("1 skipped"), "{said}");
        }
    }
}

#[test]
fn what_was_not_written_over_is_out_of_date_and_counted() {
    // A ring of one day's minutes, written for two days but for ten minutes of the second; and means of ten minutes.
    let is_written = |minute: &u32| !(3000..3010).contains(minute);
    let fine = |minute: u32| (minute * 60, f64::from(minute));
    let coarse = |ten: u32| (ten * 600, -f64::from(ten));
    let (first, end) = (1000, 1000 + 2 * 1440);
    let minutes = ring(60, 1440, (first..end).filter(is_written).map(fine));
    let tens = ring(600, 1000, (first / 10..end / 10).map(coarse));
    let (said, found) = import(&[(60, &minutes), (600, &tens)]);
    // The first day of tens, the second of minutes, and the ten that has no minutes.
    let mut expected: Vec<(u32, f64)> = (first / 10..(end - 1440) / 10).map(coarse).collect();
    expected.extend((end - 1440..end).filter(is_written).map(fine));
    expected.push(coarse(300));
    expected.sort_by_key(|(time, _)| *time);
    assert_eq!(found, expected, "{said}");
    assert!(said.contains("10 points are older than their archive keeps; skipped"), "{said}");
    assert!(said.contains(" 10 skipped"), "{said}");
}

/// Files of one point each, at the time and with the value that their places in the list say, from 1.
fn tree(dir: &Path, files: &[&str]) {
    for (number, file) in (1..).zip(files) {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, whisper(&[(1, &[(number, number.into())])])).unwrap();
    }
}

/// Imports what is named below `dir`: its exit status, what was said, and the rows that are there then.
fn named(dir: &Path, args: &[&str]) -> (i32, String, Vec<String>) {
    let store = tempfile::tempdir().unwrap();
    let mut command = command(store.path(), &[&["import", "--whisper"], args].concat());
    let output = command.current_dir(dir).stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let rows = match output.status.success() {
        true => printed(store.path(), &["read", "%", "--timestamp-seconds"]),
        false => String::new(),
    };
    let rows = rows.lines().map(|row| row.replace('\t', " ")).collect();
    (output.status.code().unwrap(), said, rows)
}

#[test]
fn names_do_not_depend_on_which_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        "whisper/servers/web1/cpu.wsp",
        "whisper/servers/web2/cpu.wsp",
        "whisper/_tagged/a1b/2c3/disk_DOT_used;dc=fra.wsp",
    ];
    tree(dir.path(), &files);
    let check = |below: &str, args: &[&str]| {
        let (code, said, rows) = named(&dir.path().join(below), args);
        assert_eq!(code, 0, "{args:?}: {said}");
        let tagged = "disk.used;dc=fra 3 3";
        let expected = [tagged, "servers.web1.cpu 1 1", "servers.web2.cpu 2 2"];
        assert_eq!(rows, expected, "{args:?}: {said}");
        assert!(
            said.contains("3 dots of 3 series, 0 replaced by later lines, 0 skipped"),
            "{args:?}: {said}"
        );
    };
    check("", &["whisper"]);
    check("", &["."]);
    check("whisper", &["."]);
    check("whisper", &["servers", "_tagged"]);
    check("whisper", &["servers/web1", "servers/web2", "_tagged/a1b"]);
    check("whisper/servers", &["web1/cpu.wsp", "web2", "../_tagged/a1b/2c3"]);
    check("", &files);
    // The same file twice is no second file.
    check("", &["whisper", "whisper/servers", files[0]]);
    std::fs::rename(dir.path().join("whisper"), dir.path().join("carbon")).unwrap();
    check("", &["carbon"]);
    check("", &["--root", "carbon", "carbon/servers/web1", "carbon/servers/web2", "carbon/_tagged/a1b"]);
    check("carbon/servers", &["--root", "..", "web1/cpu.wsp", "web2", "../_tagged/a1b"]);
    let (code, said, _) = named(dir.path(), &["--root", "carbon/servers/web1", "carbon/servers"]);
    assert!(code == 2 && said.contains("carbon/servers/web2/cpu.wsp does not lie below --root"), "{said}");
}

#[test]
fn two_files_are_never_one_series() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["carbon/web1/cpu.wsp", "carbon/web2/cpu.wsp", "dots/a/b.c.wsp", "dots/a.b/c.wsp"];
    tree(dir.path(), &files);
    for args in [["carbon/web1", "carbon/web2"], ["dots", "dots/a"]] {
        let (code, said, _) = named(dir.path(), &args);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(" is that of ") && said.contains("--root says"), "{said}");
        assert!(said.contains("nothing was stored"), "{said}");
    }
    let (code, said, rows) = named(dir.path(), &["--skip-bad", "carbon/web1", "carbon/web2"]);
    assert_eq!((code, &rows[..]), (0, &["cpu 1 1".to_owned()][..]), "{said}");
    let told = "carbon/web2/cpu.wsp: series cpu is that of carbon/web1/cpu.wsp, too";
    assert!(said.contains(told) && said.contains("1 skipped"), "{said}");
}

#[test]
fn symbolic_links_are_followed_unless_they_lead_back() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path(), &["disk2/db1/cpu.wsp", "whisper/s/db2/cpu.wsp"]);
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
    link("../../disk2/db1", "whisper/s/db1");
    link("db2", "whisper/s/old");
    link("..", "whisper/s/db2/up");
    link("/nowhere/at/all", "whisper/s/gone");
    let (code, said, rows) = named(dir.path(), &["whisper"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(rows, ["s.db1.cpu 1 1", "s.db2.cpu 2 2", "s.old.cpu 2 2"], "{said}");
    for told in [
        "whisper/s/db2/up: 1 symbolic link leads back to a directory that it lies in; skipped",
        "whisper/s/old/up: 1 symbolic link leads back to a directory that it lies in; skipped",
        "whisper/s/gone: 1 symbolic link leads to what is not there; skipped",
        "3 dots of 3 series, 0 replaced by later lines, 3 skipped",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    link("/nowhere/at/all", "whisper/s/mem.wsp");
    let (code, said, _) = named(dir.path(), &["whisper"]);
    assert!(code == 1 && said.contains("mem.wsp: a symbolic link to what is not there"), "{said}");
}

/// A directory of Whisper files, as `a.b` for `a/b.wsp`, each with the same archives.
fn files_of(dir: &Path, names: &[&str], archives: &[(u32, &[(u32, f64)])]) {
    for name in names {
        let file = dir.join(name.replace('.', "/")).with_extension("wsp");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, whisper(archives)).unwrap();
    }
}

#[test]
fn what_whisper_files_say_of_their_archives_becomes_a_rule_of_each_kind() {
    let dir = tempfile::tempdir().unwrap();
    let (files, store) = (dir.path().join("whisper"), dir.path().join("store"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as u32;
    // A whole minute, so that points of both archives have the same time.
    let now = now / 60 * 60;
    // 10s:1h, 1m:1d; a point an hour and a half old is in the coarser one.
    let fine = ring(10, 360, [(now - 60, 1.0)]);
    let coarse = ring(60, 1440, [(now - 5400, 2.0), (now - 60, 1.0)]);
    files_of(&files, &["host.a", "host.b"], &[(10, &fine), (60, &coarse)]);
    // 1m:30m, of points that are years old.
    let old = ring(60, 30, [(100_000_020, 1.0), (100_000_080, 2.0)]);
    files_of(&files, &["old"], &[(60, &old)]);
    // No rule can say it: ten seconds and fifteen.
    files_of(&files, &["odd"], &[(10, &fine), (15, &ring(15, 960, [(now - 60, 1.0)]))]);
    std::fs::create_dir(&store).unwrap();
    let toml = store.join("retention.toml");
    let own = "# ours\n[[rule]]\npattern = \"host.b\"\nkeep = \"raw:2y\"";
    std::fs::write(&toml, own).unwrap();
    let args = |more: &[&'static str]| {
        let mut args = vec!["import", "--whisper"];
        args.extend_from_slice(more);
        args
    };
    let import = |more: &[&'static str]| {
        let (args, files) = (args(more), files.to_str().unwrap());
        let args: Vec<&str> = args.into_iter().chain([files]).collect();
        told(&store, &args, "")
    };
    let announced = [
        "keep = \"10s:1h, 1m:1d\", average, x-files-factor 0.5 for 1 series, such as host.a",
        "keep = \"1m:30m\", average, x-files-factor 0.5 for 1 series, such as old",
        "no rule for 1 series, such as odd, which are kept for ever: the step of '15s:4h' is no multiple",
        "2 dots are older than anything is kept of their series and go, and 1 become steps, in 1d at the earliest",
        "1 points of coarser archives are less of a step than x-files-factor asks for",
    ];
    let said = import(&["--dry-run"]);
    for text in announced {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(said.contains("dots would be stored; nothing has changed"), "{said}");
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), own);
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 1, "nothing else is there");
    let said = import(&["--no-rules"]);
    assert!(!said.contains("rule"), "{said}");
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), own);
    let said = import(&[]);
    for text in announced {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(said.contains("2 rules added to "), "{said}");
    let text = std::fs::read_to_string(&toml).unwrap();
    assert!(text.starts_with(own) && text.matches("[[rule]]").count() == 3, "{text}");
    let outlook = printed(&store, &["retain", "--dry-run"]);
    let of =
        |name: &str| outlook.lines().find(|line| line.starts_with(&format!("{name}\t"))).unwrap().to_owned();
    assert!(of("host.a").contains(".names: 10s:1h, 1m:1d; average, x-files-factor 0.5"), "{outlook}");
    assert!(of("host.b").contains("pattern host.b: raw:730d"), "{outlook}");
    assert!(of("old").contains("1 names of whisper-") && of("odd").contains("kept for ever"), "{outlook}");
    assert!(!outlook.contains("takes these rules"), "the store has them: {outlook}");
    // Every series has a rule now.
    let said = import(&[]);
    assert!(!said.contains("rules added") && !said.contains("to be added"), "{said}");
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), text);
    // A backup has what the rules name.
    let copy = dir.path().join("copy");
    told(&store, &["backup", copy.to_str().unwrap()], "");
    assert_eq!(printed(&copy, &["retain", "--dry-run"]).lines().next(), outlook.lines().next());
    assert!(!told(&copy, &["retain", "--dry-run"], "").contains("skipped"));
}
