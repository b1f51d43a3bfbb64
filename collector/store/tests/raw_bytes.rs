//! Raw bytes, letter b, by every way into a store and out of it.

mod support;

use dotter_dot::ROW_BYTES_MAX;
use support::{failed, printed, told};

const ROWS: &str = "\
a\t1\tb\t0x
a\t2\tb\t0x00ff80
a\t3\tb\t0x20222c0a5c
a\t4\ts\t0x00
row\t1\tbsUb\t0xfe x\\ y 7 0x
row\t2\tbsUb\t0xff 0x 8 0x0a
";

#[test]
fn raw_bytes_come_back_as_they_went_in_by_lines_and_by_commas() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], &ROWS.replace("0xfe", "0xFE"));
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), ROWS);
    told(dir.path(), &["compact", "--major"], "");
    assert_eq!(printed(dir.path(), &["read", "%", "--timestamp-nanos"]), ROWS);
    let csv = printed(dir.path(), &["export", "--csv"]);
    assert!(csv.contains(",b,0x20222c0a5c\n") && csv.contains(",bsUb,0xff,0x,8,0x0a\n"), "{csv}");
    let other = tempfile::tempdir().unwrap();
    told(other.path(), &["import", "--csv"], &csv);
    assert_eq!(printed(other.path(), &["read", "%", "--timestamp-nanos"]), ROWS);
    // Through a command, too, which gets lines and gives some back.
    told(other.path(), &["compact", "--filter", "grep -v 0xff"], "");
    let kept: Vec<&str> = ROWS.lines().filter(|line| !line.contains("0xff")).collect();
    assert_eq!(printed(other.path(), &["read", "%", "--timestamp-nanos"]), kept.join("\n") + "\n");
    let json = printed(dir.path(), &["export", "--json"]);
    assert!(json.contains("[[0.000000001,\"\"],[0.000000002,\"AP+A\"],[0.000000003,\"ICIsClw=\"]"), "{json}");
}

#[test]
fn the_longest_bytes_go_through_every_way_to_write_them() {
    let dir = tempfile::tempdir().unwrap();
    // The varint of its length takes three bytes.
    let longest = format!("a\t1\tb\t0x{}\n", "fe".repeat(ROW_BYTES_MAX - 3));
    told(dir.path(), &["add"], &longest);
    assert!(printed(dir.path(), &["read", "a", "--timestamp-nanos"]) == longest);
    let other = tempfile::tempdir().unwrap();
    told(other.path(), &["import", "--csv"], &printed(dir.path(), &["export", "--csv"]));
    assert!(printed(other.path(), &["read", "a", "--timestamp-nanos"]) == longest);
    let (code, said) = failed(dir.path(), &["add"], &format!("a 1 b 0x{}\n", "fe".repeat(ROW_BYTES_MAX - 2)));
    assert!(code == 1 && said.contains("at most 1048576 are kept"), "{said}");
}

#[test]
fn what_is_no_bytes_is_refused_with_what_was_found_and_expected() {
    let dir = tempfile::tempdir().unwrap();
    let expected = "is not bytes, expected 0x and two hex digits for each; nothing was stored";
    for (args, input) in [
        (&["add"][..], "a 1 b 00ff\n"),
        (&["add"], "a 1 bs 0x0 x\n"),
        (&["add", "--format", "b"], "a 1 AP+A\n"),
        (&["import", "--csv"], "time,series,format,value\n1,a,b,0xzz\n"),
        (&["import", "--sonnerie"], "a\t1\tb\t\\\\x00\n"),
    ] {
        let (code, said) = failed(dir.path(), args, input);
        assert!(code == 1 && said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn an_expression_asks_raw_bytes_and_says_where_it_takes_them_for_something_else() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], ROWS);
    let check = |test: &str, lines: &[usize]| {
        let found = printed(dir.path(), &["read", "%", "--timestamp-nanos", "--where", test]);
        let expected: String =
            lines.iter().map(|line| ROWS.lines().nth(*line).unwrap().to_owned() + "\n").collect();
        assert_eq!(found, expected, "{test}");
    };
    check("value = 0x00ff80", &[1]);
    check("value starts 0xFE or value ends with 0x5c", &[2, 4]);
    check("value >= 0x20 and key = 'a'", &[2]);
    check("c4 contains 0x0a", &[5]);
    check("c1 > c4", &[4, 5]);
    check("value = '0x00'", &[3]);
    for (series, test, told) in [
        ("%", "value = 0x0", "expected bytes: 0x and two hex digits for each"),
        ("%", "value =~ 0x00", "regular expressions look at texts alone"),
        ("row", "value = 'x'", "column 'value' holds raw bytes, expected hex digits such as 0x00ff"),
        ("row", "c4 matches '.'", "column 'c4' holds raw bytes"),
        ("row", "c4 > 5", "column 'c4' holds raw bytes"),
        ("row", "c3 = 0x07", "column 'c3' holds no raw bytes, expected a decimal number or a text in quotes"),
    ] {
        for command in ["read", "export"] {
            let series = if command == "read" { &["read", series][..] } else { &["export", series, "--csv"] };
            let (code, said) = failed(dir.path(), &[series, &["--where", test]].concat(), "");
            assert!(code == 2 && said.contains(told), "{command} {test}: {said}");
        }
    }
}
