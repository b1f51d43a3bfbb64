//! Reading retention rules from the files that a person writes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::format::rules::Rules;

/// Longer files are refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Longer files of names are refused.
const NAMES_BYTES_MAX: u64 = 64 << 20;

pub(crate) const RULES: &str = "retention.toml";

const SCHEMAS: &str = "storage-schemas.conf";

const AGGREGATION: &str = "storage-aggregation.conf";

impl Rules {
    /// Reads the rules of a store; without files there are none. A rule that cannot be read is skipped.
    pub fn read(dir: &Path) -> Rules {
        let mut rules = Rules::default();
        if let Some(text) = rules.text(dir, RULES, true) {
            rules.take_own_with(Path::new(RULES), &text, &|file| names(dir, file));
        }
        if let Some(text) = rules.text(dir, SCHEMAS, true) {
            rules.take_schemas(Path::new(SCHEMAS), &text);
        }
        if let Some(text) = rules.text(dir, AGGREGATION, false) {
            rules.take_aggregation(Path::new(AGGREGATION), &text);
        }
        rules
    }

    /// The text of a file; `None` where it does not exist or cannot be read.
    ///
    /// - `keeps`: whether the file says how long series are kept; if such a file cannot be read, nothing is removed
    fn text(&mut self, dir: &Path, file: &str, keeps: bool) -> Option<String> {
        match read_text(&dir.join(file), FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(what) => {
                self.skip_file(Path::new(file), what, keeps);
                None
            }
        }
    }
}

/// The text of a file of names, which lies beside the rules.
fn names(dir: &Path, file: &str) -> Result<String, String> {
    if Path::new(file).file_name() != Some(OsStr::new(file)) {
        return Err(format!("'{file}' is no name of a file in the directory of the store"));
    }
    let text = read_text(&dir.join(file), NAMES_BYTES_MAX).map_err(|what| format!("{file}: {what}"))?;
    text.ok_or_else(|| format!("{file}: no such file"))
}

/// Reads a text file; `None` where there is none, an error that says what is wrong where it cannot be read.
fn read_text(path: &Path, bytes_max: u64) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| format!("cannot open it: {error}"))?,
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("more than {bytes_max} bytes"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
    // Some editors put a byte order mark at the start.
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::format::rules::{Aggregation, ArchiveRule, Slot};

    /// The rules of one file.
    fn read(file: &str, text: &str) -> Rules {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        Rules::read(dir.path())
    }

    #[test]
    fn the_first_rule_that_means_a_series_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Rules::read(dir.path()).is_empty());
        let own = "# ours\n[[rule]]\npattern = \"host.%\"\nkeep = \"raw:7d, 1m:90d\"\naggregation = \"max\"\n\n[[rule]]\nregex = \"^tmp\\\\.\"\nkeep = \"1s:1h\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let schemas = "[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n\n; all\n[default]\nPATTERN: .*\nretentions: 10s:6h,1m:6d\n";
        std::fs::write(dir.path().join(SCHEMAS), schemas).unwrap();
        let aggregation =
            "[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n[odd]\npattern=\\.odd$\n";
        std::fs::write(dir.path().join(AGGREGATION), aggregation).unwrap();
        let rules = Rules::read(dir.path());
        let raw = |name| rules.of(name).unwrap().raw.as_secs();
        assert_eq!(
            (raw("host.a"), raw("tmp.a"), raw("carbon.x"), raw("else")),
            (604_800, 3_600, 7_776_000, 21_600)
        );
        assert_eq!(rules.skipped(), []);
        assert_eq!(rules.aggregation("host.a"), (Aggregation::Max, 0.5));
        assert_eq!(rules.aggregation("x.min"), (Aggregation::Min, 0.1));
        assert_eq!(rules.aggregation("host.odd"), (Aggregation::Max, 0.5));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (file, text, told) in [
            (RULES, "x = 1", "line 1: 'x' is not known"),
            (RULES, "\n[[rules]]\npattern = \"a\"", "line 2: 'rules' is not known"),
            (RULES, "[[rule]]\npattern = \"a\"\nkeep = \"1d\"", "line 3: '1d' is no retention"),
            (RULES, "\n[[rule]]\nkeep = \"1s:1d\"", "line 2: a rule has a pattern or a regex"),
            (RULES, "[[rule]]\npattern = \"a\"\nregex = \"b\"\nkeep = \"1s:1d\"", "not several"),
            (RULES, "[[rule]]\nkeep = \"1s:1d\"\nregex = \"(\"", "line 3: '(' is no regular expression"),
            (RULES, "[[rule]]\nkeep = \"1s:1d\"\nregexp = \"a\"", "line 3: 'regexp' is not known"),
            (RULES, "[[rule]]\n\nx = = 1", "line 3: "),
            (RULES, "\n\n[rule]\npattern = \"a\"", "line 3: a rule is a table"),
            (SCHEMAS, "a = b", "line 1: 'a = b': expected a [section] first"),
            (SCHEMAS, "\n[a]\nretentions = 1s:1d", "line 2: [a] has no pattern"),
            (SCHEMAS, "[a]\nrubbish", "line 2: 'rubbish': expected key = value"),
            (SCHEMAS, "[a\npattern = a\nretentions = 1s:1d", "line 1: '[a': a section ends with ]"),
            (SCHEMAS, "[a]\npattern = a\nretention = 1s:1d", "line 3: 'retention' is not known in [a]"),
            (SCHEMAS, "[a]\npattern = a\nretentions = 1s:1d\n, 1m:2d", "line 4: ', 1m' is not known in [a]"),
            (SCHEMAS, "[a]\npattern = a\nretentions =\n", "line 3: '' is no retention"),
            (SCHEMAS, "[a]\nretentions = 1s:1d\npattern = ^(?!carbon\\.)", "line 3: '^(?!carbon"),
            (SCHEMAS, "[a]\npattern = a\n retentions = 1s:1d", "line 2: the pattern of [a] goes on"),
            (
                RULES,
                "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\nslot = \"max\"",
                "line 4: 'max' is no slot: last and",
            ),
            (RULES, "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\nslot = 1", "line 4: slot is a text"),
            (
                RULES,
                "[[rule]]\npattern = \"a\"\ncondense = \"2h\"\nkeep = \"1s:1d\"",
                "line 3: '2h' is no step to condense by, which lies between 1s and 1h",
            ),
            (
                RULES,
                "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\ncondense = \"0s\"",
                "line 4: '0s' is no step to condense by",
            ),
            (
                RULES,
                "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\ncondense = \"soon\"",
                "line 4: 'soon' is no length of time",
            ),
            (
                RULES,
                "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\ncondense = 10",
                "line 4: condense is a text",
            ),
            (
                AGGREGATION,
                "[a]\npattern = .\naggregationMethod = p95",
                "line 3: 'p95' is no aggregation: average, min, max, sum, last, count, avg_zero, absmax and absmin are",
            ),
            (AGGREGATION, "[a]\npattern = .\nxFilesFactor = 2", "line 3: '2' is no x-files-factor"),
            (AGGREGATION, "[a]\npattern = .\naggregationMethod = best", "line 3: 'best' is no aggregation"),
        ] {
            let rules = read(file, text);
            let [skipped] = rules.skipped() else { panic!("{text}: {:?}", rules.skipped()) };
            let said = skipped.to_string();
            assert!(said.contains(told) && said.contains(file), "{text}: {said}");
        }
        let whole = "a".repeat(FILE_BYTES_MAX as usize + 1);
        assert!(read(RULES, &whole).skipped()[0].to_string().contains("more than 1048576 bytes"));
    }

    #[test]
    fn what_an_editor_or_configparser_makes_of_it_is_read_too() {
        for text in [
            "\u{feff}[a]\npattern = .*\nretentions = 10s:6h, 1m:7d\n",
            "[a]\npattern = .*\nretentions = 10s:6h,\n    1m:7d\n",
            "[a]\r\npattern = .*\r\nretentions =\r\n\t10s:6h\r\n\t,1m:7d\r\n",
            "[a]\npriority = 1\npattern = .*\nretentions = 10s:6h\n\n # both\n ,1m:7d\n[b]\npattern = b\nretentions = 1s:1d\n",
            "[a]\n  pattern = .*\n  retentions = 10s:6h, 1m:7d\n",
            "[a] ; the first\npattern = .*\nretentions = 10s:6h, 1m:7d\n",
        ] {
            let rules = read(SCHEMAS, text);
            assert_eq!(rules.skipped(), [], "{text}");
            let rule = rules.of("x").unwrap();
            let archive =
                ArchiveRule { step: Duration::from_secs(60), keep: Duration::from_secs(7 * 86_400) };
            assert_eq!(
                (rule.raw, &rule.archives[..]),
                (Duration::from_secs(6 * 3_600), &[archive][..]),
                "{text}"
            );
        }
        let own = read(RULES, "\u{feff}[[rule]]\npattern = \"%\"\nkeep = \"1s:1d\"\n");
        assert!(own.skipped().is_empty() && own.of("x").is_some());
        let array = read(RULES, "rule = [{ pattern = \"%\", keep = \"1s:1d\" }]\n");
        assert!(array.skipped().is_empty() && array.of("x").is_some());
    }

    #[test]
    fn a_rule_says_what_a_slot_is_and_what_is_condensed() {
        let own = |rest: &str| {
            let rules = read(RULES, &format!("[[rule]]\npattern = \"%\"\nkeep = \"10s:1d\"\n{rest}"));
            assert_eq!(rules.skipped(), []);
            let rule = rules.of("x").unwrap();
            (rule.slot, rule.condense.map(|step| step.as_secs()))
        };
        assert_eq!(own(""), (Slot::Last, None));
        assert_eq!(own("slot = \"last\"\ncondense = \"1s\"\n"), (Slot::Last, Some(1)));
        assert_eq!(own("slot = \"average\"\ncondense = \"1h\"\n"), (Slot::Average, Some(3_600)));
    }

    #[test]
    fn whispers_methods_are_known_and_a_section_with_another_spoils_none_beside_it() {
        let text = "\u{feff}[zero]\npattern = ^zero$\naggregationMethod = avg_zero\n\
            [p]\npattern = ^p$\naggregationMethod = p95\n\
            [ahead]\npattern = ^(?!carbon)\naggregationMethod = sum\n\
            [max]\npattern = ^max$\naggregationMethod = absmax\nxFilesFactor = 0\n\
            [min]\npattern = ^min$\naggregationMethod =\n  absmin\n";
        let rules = read(AGGREGATION, text);
        let lines: Vec<usize> = rules.skipped().iter().map(|skipped| skipped.line).collect();
        assert_eq!(lines, [6, 8]);
        assert_eq!(rules.aggregation("zero"), (Aggregation::AverageZero, 0.5));
        assert_eq!(rules.aggregation("max"), (Aggregation::AbsMax, 0.0));
        assert_eq!(rules.aggregation("min"), (Aggregation::AbsMin, 0.5));
        assert_eq!(rules.aggregation("p"), (Aggregation::Average, 0.5));
        assert!(rules.is_empty(), "nothing is kept because of it");
    }

    #[test]
    fn a_pattern_of_a_rule_says_a_percent_sign() {
        let dir = tempfile::tempdir().unwrap();
        let own = "[[rule]]\npattern = 'disk.used\\%'\nkeep = \"raw:1d\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let rules = Rules::read(dir.path());
        assert!(rules.of("disk.used%").is_some());
        assert!(rules.of("disk.used.total").is_none() && rules.of("disk.used%x").is_none());
    }

    #[test]
    fn a_skipped_rule_leaves_the_others_and_no_later_one_takes_its_series() {
        let dir = tempfile::tempdir().unwrap();
        let own =
            "[[rule]]\npattern = \"a.%\"\nkeep = \"1s:1d\"\n\n[[rule]]\npattern = \"b.%\"\nkeep = \"1d\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let schemas = "[c]\npattern = ^[bc]\\.\nretentions = 1s:2d\n[d]\npattern = ^(?!e\\.)\nretentions = 1s:9y\n[all]\npattern = .*\nretentions = 1s:1h\n";
        std::fs::write(dir.path().join(SCHEMAS), schemas).unwrap();
        let rules = Rules::read(dir.path());
        let days = |name| rules.of(name).map(|rule| rule.raw.as_secs() / 86_400);
        assert_eq!((days("a.x"), days("c.x")), (Some(1), Some(2)));
        assert_eq!(days("b.x"), None, "its own rule was skipped");
        assert_eq!((days("d.x"), days("e.x")), (None, None), "nobody knows whom the skipped one means");
        assert_eq!((rules.skipped().len(), rules.all().count()), (2, 3));
        // Of a whole file that cannot be read nobody knows whom it means.
        std::fs::write(dir.path().join(RULES), b"[[rule]]\npattern = \"\xff\"\n").unwrap();
        let rules = Rules::read(dir.path());
        assert!(rules.of("c.x").is_none() && !rules.is_empty());
        assert!(rules.skipped()[0].to_string().contains("line 1: not UTF-8 from byte 20 on"));
    }

    #[test]
    fn a_rule_means_the_series_of_a_file_of_names_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let rule = |file: &str| {
            let own = format!("[[rule]]\nnames = \"{file}\"\nkeep = \"raw:1d\"\n");
            std::fs::write(dir.path().join(RULES), own + "[[rule]]\npattern = \"%\"\nkeep = \"raw:2d\"\n")
                .unwrap();
            Rules::read(dir.path())
        };
        let days = |rules: &Rules, name| rules.of(name).map(|rule| rule.raw.as_secs() / 86_400);
        std::fs::write(dir.path().join("a.names"), "b;y=1;x=2\n\na%\na%\na.b").unwrap();
        let rules = rule("a.names");
        assert_eq!(rules.skipped(), []);
        for (name, expected) in [("a%", 1), ("a.b", 1), ("b;x=2;y=1", 1), ("a", 2), ("a.b.c", 2), ("axx", 2)]
        {
            assert_eq!(days(&rules, name), Some(expected), "{name}");
        }
        assert!(rules.told("a.b").starts_with("3 names of a.names: raw:1d"), "{}", rules.told("a.b"));
        std::fs::write(dir.path().join("b.names"), "a.b\na%\nb;x=2;y=1\n").unwrap();
        assert_eq!(rule("b.names").mark(), rules.mark(), "the same names");
        std::fs::write(dir.path().join("b.names"), "a.b\n").unwrap();
        assert_ne!(rule("b.names").mark(), rules.mark());
        // What cannot be read may mean any series, so nothing is removed.
        std::fs::write(dir.path().join("bad.names"), "a\n\tb\n").unwrap();
        for (file, told) in [
            ("none.names", "line 2: none.names: no such file"),
            ("../a.names", "line 2: '../a.names' is no name of a file in the directory of the store"),
            ("", "line 2: '' is no name of a file"),
            ("bad.names", "line 2: bad.names line 2: "),
        ] {
            let rules = rule(file);
            assert!(rules.skipped()[0].to_string().contains(told), "{file}: {:?}", rules.skipped());
            assert_eq!(days(&rules, "x"), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]=:a-z0-9\",. \n*(]{0,80}") {
            let (mut rules, path) = (Rules::default(), Path::new("rules"));
            rules.take_own(path, &text);
            rules.take_schemas(path, &text);
            rules.take_aggregation(path, &text);
        }
    }
}
