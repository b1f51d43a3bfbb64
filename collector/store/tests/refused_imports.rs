//! What does not fit is refused by dotter-store, rather than stored as something else.

mod support;

use support::{failed, printed, told};

#[test]
fn a_number_too_large_for_its_float_is_no_infinity() {
    let dir = tempfile::tempdir().unwrap();
    for (args, input) in [
        (&["add"][..], "a 1 1e400\n"),
        (&["add"], "a 1 f 1e39\n"),
        (&["import", "--csv"], "time,series,value\n1,a,1e400\n"),
        (&["import", "--csv", "--wide"], "time,a\n1,1e400\n"),
        (&["import", "--openmetrics"], "a 1e400 1\n# EOF\n"),
        (&["import", "--prometheus"], "a 1e400 1\n"),
        (&["import", "--sonnerie"], "a\t1\tf\t1e39\n"),
    ] {
        let (code, said) = failed(dir.path(), args, input);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(
            said.contains("does not fit into ") && said.contains("nothing was stored"),
            "{args:?}: {said}"
        );
    }
    told(dir.path(), &["add"], "a 1 inf\na 2 f -inf\na 3 1e-400\n");
    assert_eq!(
        printed(dir.path(), &["read", "%", "--timestamp-nanos"]),
        "a\t1\tinf\na\t2\tf\t-inf\na\t3\t0\n"
    );
}

/// Imports comma-separated text into a store of its own, where lines that do not fit are skipped: what was said, and
/// what is there now.
fn skipping(args: &[&str], input: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["import", "--csv", "--skip-bad"], args].concat();
    let said = told(dir.path(), &args, input);
    (said, printed(dir.path(), &["read", "%", "--timestamp-seconds"]))
}

#[test]
fn a_record_has_as_many_fields_as_its_head_line() {
    let check = |args: &[&str], input: &str, told: &str| {
        let dir = tempfile::tempdir().unwrap();
        let (code, said) = failed(dir.path(), &[&["import", "--csv"], args].concat(), input);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&format!("{told}; nothing was stored")), "{said}");
    };
    let comma = "time,series,value\n1,room.t,20\n2,room.t,21,7\n3,room.t,22\n";
    check(&[], comma, "line 3: 4 fields, expected 3 as in the head line");
    check(
        &["-f", "s"],
        "time,series,value\n1,log,hello, world\n",
        "line 2: 4 fields, expected 3 as in the head line",
    );
    check(&["-f", "s"], "time,series,value\n1,log\n", "line 2: 2 fields, expected 3 as in the head line");
    check(&["--wide"], "time,a\n1,2,3\n", "line 2: 3 fields, expected 2 as in the head line");
    check(&["--wide"], "time,a,b\n1,2\n", "line 2: 2 fields, expected 3 as in the head line");
    let (said, rows) = skipping(&[], comma);
    assert!(said.contains("line 3: 4 fields") && said.contains("1 skipped"), "{said}");
    assert_eq!(rows, "room.t\t1\t20\nroom.t\t3\t22\n");
}

#[test]
fn rows_shorter_than_the_head_line_by_their_format_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "a 1 F 1.5\nb 1 sUs x 2 \"\"\nc 1 s \"\"\nd 1 FF 1 2\n";
    told(dir.path(), &["add"], rows);
    let csv = printed(dir.path(), &["export", "--csv"]);
    assert!(csv.starts_with("series,time,format,value,c2,c3\n") && csv.contains("F,1.5\n"), "{csv}");
    let all = printed(dir.path(), &["read", "%", "--print-format"]);
    // Other programs write all fields of a record.
    let columns = csv.lines().next().unwrap().matches(',').count();
    let padded: String = csv
        .lines()
        .map(|line| line.to_owned() + &",".repeat(columns - line.matches(',').count()) + "\n")
        .collect();
    for csv in [&csv, &padded] {
        let other = tempfile::tempdir().unwrap();
        told(other.path(), &["import", "--csv"], csv);
        assert_eq!(printed(other.path(), &["read", "%", "--print-format"]), all);
    }
    let head = "series,time,format,value,c2\n";
    for (row, told) in [
        ("a,1,FF,1\n", "line 2: 4 fields, expected 'c2' and all others of format FF"),
        ("a,1,s\n", "line 2: 3 fields, expected 'value' and all others of format s"),
        ("a,1\n", "line 2: 2 fields, expected at least 3 as in the head line"),
        ("a,1,F,21,7\n", "line 2: '7' in column 'c2', expected nothing behind format F"),
        ("a,1,F,1,2,3\n", "line 2: 6 fields, expected 5 as in the head line"),
    ] {
        let (code, said) = failed(dir.path(), &["import", "--csv"], &format!("{head}{row}"));
        assert_eq!(code, 1, "{row}: {said}");
        assert!(said.contains(&format!("{told}; nothing was stored")), "{row}: {said}");
    }
}

#[test]
fn a_series_whose_rows_are_of_several_formats_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    for rows in ["a 1 FFs 1 2 x\na 2 F 3\n", "a 3 s x\na 4 FFFF 4 5 6 7\na 5 F 8\n"] {
        told(dir.path(), &["add"], rows);
        let csv = printed(dir.path(), &["export", "--csv"]);
        let other = tempfile::tempdir().unwrap();
        told(other.path(), &["import", "--csv"], &csv);
        let all = |dir| printed(dir, &["read", "%", "--print-format"]);
        assert_eq!(all(other.path()), all(dir.path()));
    }
    let csv = printed(dir.path(), &["export", "--csv", "--before", "3"]);
    assert!(csv.starts_with("series,time,format,value,c2,c3\n"), "{csv}");
}

#[cfg(feature = "parquet")]
#[test]
fn no_row_is_missing_in_parquet_whatever_formats_its_series_has_had() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.parquet");
    told(dir.path(), &["add"], "a 1 FFs 1 2 x\na 2 F 3\n");
    let said = told(dir.path(), &["export", "%", "--parquet", path.to_str().unwrap()], "");
    assert!(said.contains("wrote 2 rows"), "{said}");
}

#[test]
fn a_quote_that_does_not_end_hides_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let texts = "time,series,msg\n1,q1,ok\n2,q2,\"x\n3,q3,lost\n4,q4,lost\n";
    let (code, said) = failed(dir.path(), &["import", "--csv", "-f", "s"], texts);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("line 3: a quote that does not end begins here; the rest of the file, lines 3 to 5"),
        "{said}"
    );
    assert!(said.contains("nothing was stored"), "{said}");
    let numbers = "time,series,value\n1,q1,5\n2,\"q2,6\n3,q3,7\n";
    let (said, rows) = skipping(&[], numbers);
    assert!(said.contains("line 3: a quote that does not end") && said.contains("2 skipped"), "{said}");
    assert_eq!(rows, "q1\t1\t5\n");
}

#[test]
fn open_metrics_that_were_cut_short_are_refused() {
    let whole = "up{job=\"x\"} 1 1710504000\nup{job=\"x\"} 1234567 1710504060\n# EOF\n";
    let import = ["import", "--openmetrics", "--at", "2024-03-15"];
    for end in 1..whole.len() - 1 {
        let dir = tempfile::tempdir().unwrap();
        let (code, said) = failed(dir.path(), &import, &whole[..end]);
        assert_eq!(code, 1, "{:?}: {said}", &whole[..end]);
        let line = 1 + whole[..end].matches('\n').count();
        let how = if whole[..end].ends_with('\n') { "before" } else { "within" };
        let told = format!(
            "line {line}: the file ends {how} this line, expected '# EOF' as its last: it was cut short; nothing was \
             stored"
        );
        assert!(said.contains(&told), "{:?}: {said}", &whole[..end]);
    }
    for text in [whole, &whole[..whole.len() - 1], &format!("{whole}\n \n")] {
        let dir = tempfile::tempdir().unwrap();
        told(dir.path(), &import, text);
        assert_eq!(printed(dir.path(), &["read", "%"]).lines().count(), 2);
    }
    // Who takes what can be had does not take half a number, and is told.
    let dir = tempfile::tempdir().unwrap();
    let said = told(dir.path(), &["import", "--openmetrics", "--skip-bad"], &whole[..50]);
    assert!(said.contains("line 2: the file ends within this line") && said.contains("1 skipped"), "{said}");
    assert_eq!(printed(dir.path(), &["read", "%"]).lines().count(), 1);
    // What stands behind the end would be lost otherwise.
    let (code, said) = failed(dir.path(), &import, &whole.repeat(2));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("line 4: 'up{job=\"x\"} 1 1710504000' behind '# EOF', expected the end of the file"),
        "{said}"
    );
    // Prometheus' own text has no such mark.
    let dir = tempfile::tempdir().unwrap();
    let said = told(dir.path(), &["import", "--prometheus"], "up 1 1500\n# EOF\nup 2 2500");
    assert!(said.contains("stored 2 dots"), "{said}");
}

#[test]
fn the_name_of_a_zone_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let date = "time,series,value\nFri Mar 15 12:00:00 EST 2024,a,1\n";
    for (args, input) in [
        (&["add", "--timestamp-format", "%FT%T%Z"][..], "a 2024-03-15T12:00:00EST 1\n"),
        (&["import", "--csv", "--timestamp-format", "%a %b %e %T %Z %Y"], date),
        (&["compact", "--filter", "cat", "--timestamp-format", "%FT%T%Z"], ""),
    ] {
        let (code, said) = failed(dir.path(), args, input);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains("has %Z in it") && said.contains("use %z"), "{args:?}: {said}");
    }
    told(dir.path(), &["add", "--timestamp-format", "%FT%T%z"], "a 2024-03-15T12:00:00-0500 1\n");
    let read = ["read", "a", "--timestamp-format", "%FT%T%Z"];
    assert_eq!(printed(dir.path(), &read), "a\t2024-03-15T17:00:00UTC\t1\n");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    for (args, input) in [
        (&["add"][..], "a 1000000000 1\n"),
        (&["import", "--csv"], "series,time,value\na,1,1\n"),
        (&["import", "--csv", "--delimiter", ";"], "\"series\";time;value\na;1;1\n"),
        (&["import", "--openmetrics"], "a 1 1\n# EOF\n"),
        (&["import", "--prometheus"], "a 1 1000\n"),
        (&["import", "--sonnerie"], "a\t1000000000\t1\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        told(dir.path(), args, &format!("\u{feff}{input}"));
        assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-seconds"]), "a\t1\t1\n", "{args:?}");
    }
}

#[test]
fn a_label_twice_makes_no_series_of_two() {
    let dir = tempfile::tempdir().unwrap();
    for (form, end) in [("--openmetrics", "# EOF\n"), ("--prometheus", "")] {
        let text = format!("dup{{a=\"2\"}} 1 1\ndup{{a=\"1\",a=\"2\"}} 2 2\n{end}");
        let (code, said) = failed(dir.path(), &["import", form], &text);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("line 2: label 'a' twice, expected each once; nothing was stored"), "{said}");
    }
}
