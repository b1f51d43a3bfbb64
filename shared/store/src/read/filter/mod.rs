//! Filters: a small typed expression over series, time and columns that says which rows are wanted.
//!
//! ```text
//! value > 0.5 and key starts "host."
//! code >= 500 or not (path =~ "^/static/" and took < 20)
//! time >= 2026-03-15T12:00:00Z and value contains "timeout"
//! ```
//!
//! - fields: `key` (the series' name), `time`, `value` (the first column), a column by its name, or by its number
//!   `c1` to `c64`; a name that has other characters than letters, digits and `_ . -` is put in backquotes
//! - `= != < <= > >=` compare: numbers with numbers, texts with texts by their bytes, raw bytes with raw bytes, `time`
//!   with RFC 3339, a date, or whole nanoseconds; two fields with each other where both are columns or `key`
//! - `contains starts ends` look at texts and at raw bytes; `matches` (`=~`; not: `!~`) looks at texts alone and takes
//!   a regular expression
//! - raw bytes are written as `0x00ff`: two hex digits for each
//! - `and or not` and brackets, of which `not` binds closest and `or` least
//!
//! Always true:
//!
//! - whole numbers are compared as whole numbers, however large; a literal that is compared with an `f` column is
//!   rounded to f32 first, so that a printed value matches itself; `nan` equals NaN and nothing else
//! - a comparison with a column that a row does not have, or that has another type, is false, also `!=`
//! - reading an expression takes time and memory in proportion to its length: it has at most [`FILTER_BYTES_MAX`]
//!   bytes, brackets at most [`DEPTH_MAX`] deep, and regular expressions of bounded size that run in linear time

mod condition;
mod matcher;
mod mismatch;
mod number;
mod parser;
mod search;
mod tokens;

#[cfg(test)]
mod lines;

use std::borrow::Cow;
use std::fmt;

use condition::{Comparison, Condition, Field};
use dotter_dot::{Shape, TimeRange};

pub use matcher::Matcher;
pub use mismatch::Mismatch;
pub use search::{Search, Searched};

/// The longest expression, in bytes.
pub const FILTER_BYTES_MAX: usize = 16 << 10;

/// How deep brackets and `not` may be nested.
pub const DEPTH_MAX: usize = 64;

/// An expression that was read. Cheap to share; [`Filter::matcher`] binds it to a series and a shape.
#[derive(Debug)]
pub struct Filter {
    root: Node,
}

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Condition(Condition),
}

/// Why a text is no [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What stands there, cut short where it is long.
    pub found: String,
    /// What was expected there.
    pub expected: Cow<'static, str>,
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`FilterError`] says what is wrong with it, and where.
    ///
    /// ```
    /// # use dotter_store::Filter;
    /// # use dotter_dot::Shape;
    /// let filter = Filter::new("key starts \"host.\" and value > 0.5").unwrap();
    /// let matcher = filter.matcher("host.load", &Shape::number());
    /// assert!(matcher.matches_word(0, 0.75_f64.to_bits()));
    /// assert!(filter.matcher("room.load", &Shape::number()).is_never());
    /// ```
    pub fn new(text: &str) -> Result<Filter, FilterError> {
        parser::parse(text).map(|root| Filter { root })
    }

    /// The expression bound to one series and shape.
    pub fn matcher<'a>(&'a self, name: &str, shape: &Shape) -> Matcher<'a> {
        matcher::bind(&self.root, name, shape)
    }

    /// Whether any row of that series could match, judged by its name alone.
    pub fn may_match(&self, name: &str) -> bool {
        self.root.possible(name, None).0
    }

    /// Whether any row of that series could match that is a text of `shape`, made of `pieces` with one or more digits
    /// between two of them.
    pub(crate) fn may_match_texts(&self, name: &str, shape: &Shape, pieces: &[&[u8]]) -> bool {
        self.root.possible(name, Some(Texts { shape, pieces })).0
    }

    /// A range outside of which nothing matches.
    pub fn range(&self) -> TimeRange {
        self.root.range()
    }
}

/// Texts of one template: its pieces, with one or more digits between two of them.
#[derive(Clone, Copy)]
struct Texts<'a> {
    shape: &'a Shape,
    pieces: &'a [&'a [u8]],
}

impl Node {
    /// Whether it can be true for rows of that series, or for those `texts` of it, and whether it can be false.
    fn possible(&self, name: &str, texts: Option<Texts<'_>>) -> (bool, bool) {
        match self {
            Node::All(nodes) => nodes.iter().fold((true, false), |(yes, no), node| {
                let (can, cannot) = node.possible(name, texts);
                (yes && can, no || cannot)
            }),
            Node::Any(nodes) => nodes.iter().fold((false, true), |(yes, no), node| {
                let (can, cannot) = node.possible(name, texts);
                (yes || can, no && cannot)
            }),
            Node::Not(node) => {
                let (can, cannot) = node.possible(name, texts);
                (cannot, can)
            }
            Node::Condition(Condition::Text(Field::Key, test)) => {
                let matches = test.matches(name.as_bytes());
                (matches, !matches)
            }
            Node::Condition(Condition::Text(Field::Column(column), test)) => match texts {
                Some(texts) if column.place(texts.shape) == Some(0) => test.possible(texts.pieces),
                _ => (true, true),
            },
            Node::Condition(_) => (true, true),
        }
    }

    fn range(&self) -> TimeRange {
        match self {
            Node::All(nodes) => nodes.iter().map(Node::range).fold(TimeRange::ALL, |left, right| {
                TimeRange::new(left.from.max(right.from), left.until.min(right.until))
            }),
            Node::Any(nodes) => nodes
                .iter()
                .map(Node::range)
                .filter(|range| !range.is_empty())
                .reduce(|left, right| TimeRange::new(left.from.min(right.from), left.until.max(right.until)))
                .unwrap_or(TimeRange::new(TimeRange::ALL.from, TimeRange::ALL.from)),
            Node::Condition(Condition::Time(comparison, time)) => {
                let next = time.saturating_add(std::time::Duration::from_nanos(1));
                let TimeRange { from, until } = TimeRange::ALL;
                match comparison {
                    Comparison::Equal => TimeRange::new(*time, next),
                    Comparison::Less => TimeRange::new(from, *time),
                    Comparison::LessOrEqual => TimeRange::new(from, next),
                    Comparison::Greater => TimeRange::new(next, until),
                    Comparison::GreaterOrEqual => TimeRange::new(*time, until),
                    Comparison::Unequal => TimeRange::ALL,
                }
            }
            Node::Not(_) | Node::Condition(_) => TimeRange::ALL,
        }
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        Filter::new(text)
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FilterError { at, found, expected } = self;
        match found.as_str() {
            "" => write!(f, "expression ends at byte {at}, expected {expected}"),
            found => write!(f, "expression has '{found}' at byte {at}, expected {expected}"),
        }
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use dotter_dot::{Format, Timestamp, Value, put_row};
    use proptest::prelude::*;

    use super::*;

    fn shape(letters: &str, columns: &[&str]) -> Shape {
        Shape::new(Format::new(letters).unwrap(), "", columns).unwrap()
    }

    /// A log line as a row: path, status, how long it took.
    fn row(values: &[Value<'_>]) -> Vec<u8> {
        let mut row = Vec::new();
        put_row(values.iter().copied(), &mut row);
        row
    }

    fn holds(text: &str, name: &str, time: u64, shape: &Shape, values: &[Value<'_>]) -> bool {
        let filter = Filter::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let matcher = filter.matcher(name, shape);
        let matches = match shape.word() {
            Some(_) => matcher.matches_word(time, values[0].to_word().unwrap()),
            None => matcher.matches_row(time, &row(values)),
        };
        assert!(!matches || filter.may_match(name), "{text} matches {name}");
        assert!(!matches || filter.range().contains(Timestamp::from_nanos(time)), "{text} matches at {time}");
        assert!(!matches || !matcher.is_never());
        assert!(matches || !matcher.is_always());
        matches
    }

    #[test]
    fn rows_of_several_columns_are_asked_by_name_and_number() {
        let shape = shape("sUFsi", &["path", "code", "took ms", "agent", "value"]);
        let values = [
            Value::Text("/shop/cart?id=7"),
            Value::U64(503),
            Value::F64(12.5),
            Value::Text(""),
            Value::I32(-4),
        ];
        let check = |text: &str, expected: bool| {
            assert_eq!(holds(text, "web.access", 1_000, &shape, &values), expected, "{text}");
        };
        check("code = 503", true);
        check("code == 503 and path contains \"cart\"", true);
        check("503 <= code", true);
        check("503 < code", false);
        check("code > 502.5 && code < 503.5", true);
        check("`took ms` >= 12.5", true);
        check("c3 = 12.5", true);
        check("c6 = 1 or c0 = 1 or c = 1", false);
        check("value = -4", true);
        check("c5 < 0", true);
        check("path starts '/shop/'", true);
        check("path starts with '/shop/' and path ends with \"7\"", true);
        check("path =~ \"^/shop/\\w+\\?id=\\d$\"", true);
        check("path !~ \"^/shop\"", false);
        check("path matches '(?i)CART'", true);
        check("agent = ''", true);
        check("agent < path", true);
        check("code > `took ms`", true);
        check("not code = 503 or not (path ends '8')", true);
        check("!(code = 503) || !(path ends '7')", false);
        check("path = 503 or code = '503' or code contains '5' or nowhere = 1 or nowhere != 1", false);
        check("not nowhere = 1", true);
        check("key = 'web.access'", true);
        check("key starts 'web.' and key != 'web.error'", true);
        check("'web.access' = key", true);
        check("key =~ '^db' or key contains 'x'", false);
        check("path < key", true);
        check("time = 1000 and time > 1970-01-01", true);
        check("time > 1000 or time < 1970-01-01T00:00:00.000001Z", false);
        check("'1970-01-01 00:00' < time", true);
        check("1 = c2 or 1 = c2 or code = 503 and code != 503", false);
    }

    #[test]
    fn raw_bytes_are_asked_by_their_bytes() {
        let shape = shape("Fbsb", &["took", "id", "path", "body"]);
        let values =
            [Value::F64(1.0), Value::Bytes(&[0, 0xff, 7]), Value::Text("\0"), Value::Bytes(&[0, 0xff, 8])];
        let check = |text: &str, expected: bool| {
            assert_eq!(holds(text, "a", 5, &shape, &values), expected, "{text}");
        };
        check("id = 0x00ff07 and 0x00FF07 == c2", true);
        check("id != 0x00ff07 or id = 0x", false);
        check("id > 0x00ff and id >= 0x00ff07 and id < 0x01 and id <= 0x00ff0700", true);
        check("id starts 0x00ff and id ends with 0x07 and id contains 0xff", true);
        check("id contains 0x0f or id starts with 0xff or id ends 0x00", false);
        check("id contains 0x", true);
        check("id < body and body > id and id != body", true);
        check("id = id", true);
        // Other types are never compared.
        check("id = path or id != path or id = '\0' or id != 'a' or id = 1 or id != 1 or id = key", false);
        check("path = 0x00 or path contains 0x00 or took = 0x00 or nowhere = 0x00", false);
        check("id contains 'a' or id =~ '.*' or id !~ 'a' or path < id", false);
    }

    #[test]
    fn one_number_is_compared_as_what_it_is() {
        let check = |letters: &str, value: Value<'_>, text: &str, expected: bool| {
            assert_eq!(holds(text, "a", 5, &shape(letters, &[]), &[value]), expected, "{letters} {text}");
        };
        check("U", Value::U64((1 << 53) + 1), "value = 9007199254740992", false);
        check("U", Value::U64((1 << 53) + 1), "value = 9007199254740993", true);
        check("U", Value::U64(u64::MAX), "value > 18446744073709551614", true);
        check("I", Value::I64(i64::MIN), "value = -9223372036854775808", true);
        check("u", Value::U32(7), "value >= 7.0 and value < 7.1", true);
        check("i", Value::I32(-7), "c1 = -7", true);
        check("F", Value::F64(0.1), "value = 0.1 and value = 1e-1", true);
        check("F", Value::F64(9007199254740992.0), "value < 9007199254740993", true);
        check("f", Value::F32(0.1), "value = 0.1", true);
        check("f", Value::F32(0.1), "value > 0.1", false);
        check("F", Value::F64(f64::NAN), "value = nan", true);
        check("F", Value::F64(f64::NAN), "value > 0 or value <= 0 or value = inf", false);
        check("F", Value::F64(f64::NAN), "value != 0", true);
        check("F", Value::F64(1.0), "value != nan", true);
        check("F", Value::F64(f64::NEG_INFINITY), "value = -inf and value < 0", true);
        check("F", Value::F64(1.0), "value contains '1' or value = '1'", false);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let check = |text: &str, at: usize, told: &str| {
            let error = Filter::new(text).expect_err(text);
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.to_string().contains(told), "{text}: {error}");
        };
        check("", 0, "a field or a value");
        check("value", 5, "a comparison");
        check("value 5", 6, "a comparison");
        check("value >", 7, "a field or a value");
        check("value > x5 5", 11, "'and', 'or', or the end");
        check("value > 5x", 8, "a number");
        check("value = 0x0", 8, "bytes: 0x and two hex digits for each");
        check("value contains 0xg0", 15, "bytes: 0x and two hex digits for each");
        check("value =~ 0x00", 9, "regular expressions look at texts alone");
        check("key = 0x00", 6, "a text in quotes beside 'key'");
        check("key starts 0x00", 11, "a text in quotes beside 'key'");
        check("time = 0x00", 7, "a time beside 'time'");
        check("value > 5 and", 13, "a field or a value");
        check("(value > 5", 10, "')'");
        check("value > 5)", 9, "the end");
        check("value contains 5", 15, "a text in quotes");
        check("time contains '5'", 0, "'key' or a column");
        check("value = 'a", 10, "' at the end of what begins at byte 8");
        check("value =~ '('", 9, "regular expression");
        check("value =~ '(a{1000}){1000}'", 9, "regular expression");
        check("time > 5.5", 7, "a time");
        check("time > yesterday", 7, "a time beside 'time'");
        check("key > 5", 6, "a text in quotes");
        check("5 > 4", 0, "a field on one side");
        check("value = §", 8, "a field, a value");
        check(&format!("{}value > 5", "(".repeat(DEPTH_MAX + 1)), DEPTH_MAX, "at most 64 deep");
        check(&"not ".repeat(2_500), DEPTH_MAX * 4, "at most 64 deep");
        check(&" ".repeat(FILTER_BYTES_MAX + 1), FILTER_BYTES_MAX, "instead of 16385");
    }

    #[test]
    fn series_and_times_that_cannot_match_are_known_beforehand() {
        let range = |text: &str| {
            let range = Filter::new(text).unwrap().range();
            (range.from.nanos(), range.until.nanos())
        };
        let all = (0, u64::MAX);
        assert_eq!(range("value > 1"), all);
        assert_eq!(range("time >= 5 and time < 9 and value > 1"), (5, 9));
        assert_eq!(range("5 < time && time <= 9"), (6, 10));
        assert_eq!(range("time = 5 or time = 9"), (5, 10));
        assert_eq!(range("time = 5 or value = 9"), all);
        assert_eq!(range("not time = 5"), all);
        assert_eq!(range("time > 5 and time < 5"), (6, 5));
        assert_eq!(range("(time > 5 and time < 5) or time = 7"), (7, 8));
        let may = |text: &str, name: &str| Filter::new(text).unwrap().may_match(name);
        assert!(may("key starts 'a' and value > 1", "ab"));
        assert!(!may("key starts 'a' and value > 1", "b"));
        assert!(may("key starts 'a' or value > 1", "b"));
        assert!(!may("not (key starts 'a' or value > 1)", "ab"));
        assert!(may("not (key starts 'a' and value > 1)", "ab"));
    }

    /// An expression as a tree, and how it is written.
    #[derive(Clone, Debug)]
    enum Tree {
        Condition(String),
        Not(Box<Tree>),
        All(Vec<Tree>),
        Any(Vec<Tree>),
        Brackets(Box<Tree>),
    }

    impl Tree {
        /// With no more brackets than the tree needs: `not` binds closest, then `and`, then `or`.
        fn text(&self) -> String {
            let joined = |trees: &[Tree], word: &str, needs: fn(&Tree) -> bool| {
                let parts: Vec<_> = trees.iter().map(|tree| tree.part(needs(tree))).collect();
                parts.join(word)
            };
            match self {
                Tree::Condition(text) => text.clone(),
                Tree::Not(tree) => {
                    format!("not {}", tree.part(matches!(**tree, Tree::All(_) | Tree::Any(_))))
                }
                Tree::All(trees) => {
                    joined(trees, " and ", |tree| matches!(tree, Tree::All(_) | Tree::Any(_)))
                }
                Tree::Any(trees) => joined(trees, " or ", |tree| matches!(tree, Tree::Any(_))),
                Tree::Brackets(tree) => tree.part(true),
            }
        }

        fn part(&self, in_brackets: bool) -> String {
            if in_brackets { format!("({})", self.text()) } else { self.text() }
        }

        /// What it comes to where `condition` tells of each condition by itself.
        fn is_true(&self, condition: &dyn Fn(&str) -> bool) -> bool {
            match self {
                Tree::Condition(text) => condition(text),
                Tree::Not(tree) => !tree.is_true(condition),
                Tree::All(trees) => trees.iter().all(|tree| tree.is_true(condition)),
                Tree::Any(trees) => trees.iter().any(|tree| tree.is_true(condition)),
                Tree::Brackets(tree) => tree.is_true(condition),
            }
        }
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let parts = |left: &[&'static str], sign: &[&'static str], right: &[&'static str]| {
            let select = |of: &[&'static str]| prop::sample::select(of.to_vec());
            (select(left), select(sign), select(right))
                .prop_map(|(left, sign, right)| Tree::Condition(format!("{left} {sign} {right}")))
        };
        let signs = ["=", "!=", "<", "<=", ">", ">="];
        let condition = prop_oneof![
            parts(&["value", "c1", "c2", "`x y`"], &signs, &["5", "-1.5", "nan", "0", "c2"]),
            parts(&["time"], &signs, &["5", "0", "1970-01-01"]),
            parts(
                &["key", "path"],
                &["=", "<", "=~", "!~", "contains", "starts", "ends"],
                &["'a'", "\"b\"", "'ab'"]
            ),
            parts(
                &["value", "c1", "`x y`"],
                &["=", "!=", "<", "contains", "starts", "ends"],
                &["0x", "0x61", "0xff"]
            ),
        ];
        condition.prop_recursive(4, 24, 4, |tree| {
            prop_oneof![
                tree.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
                tree.clone().prop_map(|tree| Tree::Brackets(Box::new(tree))),
                prop::collection::vec(tree.clone(), 2..4).prop_map(Tree::All),
                prop::collection::vec(tree, 2..4).prop_map(Tree::Any),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in ".{0,80}") {
            let _ = Filter::new(&text);
        }

        #[test]
        fn an_expression_means_what_its_conditions_say_and_what_is_known_beforehand_holds(
            tree in trees(), name in "[ab]{1,3}", time in 0..10_u64, number in any::<u64>(), path in "[ab]{0,3}",
        ) {
            let check = |shape: &Shape, values: &[Value<'_>]| {
                let holds = |text: &str| holds(text, &name, time, shape, values);
                assert_eq!(holds(&tree.text()), tree.is_true(&holds), "{}", tree.text());
            };
            check(&Shape::number(), &[Value::F64(f64::from_bits(number))]);
            check(&shape("U", &[]), &[Value::U64(number % 10)]);
            check(&shape("sI", &["path", "x y"]), &[Value::Text(&path), Value::I64(number as i64 % 10)]);
            let raw = [Value::Bytes(path.as_bytes()), Value::Bytes(&[number as u8])];
            check(&shape("bb", &["path", "x y"]), &raw);
        }

        #[test]
        fn bytes_that_are_no_row_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let filter = Filter::new("c4 = 1 or c3 contains 'a' or c2 < c4 or c1 = c3 or not c1 =~ 'a' or c3 > 0xff").unwrap();
            filter.matcher("a", &shape("sFsU", &[])).matches_row(0, &bytes);
            filter.matcher("a", &shape("bFbU", &[])).matches_row(0, &bytes);
        }
    }
}
