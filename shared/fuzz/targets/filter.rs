//! Expressions of `read --where`, and rows they are asked of.
#![no_main]

use dotter_dot::{Format, Shape};
use dotter_store::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (text, name, row) = input;
    let Ok(filter) = Filter::new(text) else { return };
    let format = Format::new("sUbs").expect("a format");
    let shape = Shape::new(format, "", &["path", "code", "id", "agent"]).expect("a shape");
    let matcher = filter.matcher(name, &shape);
    let matches = matcher.matches_row(5, row);
    assert!(!matches || filter.may_match(name) && !matcher.is_never());
    assert!(!matches || filter.range().contains(dotter_dot::Timestamp::from_nanos(5)));
});
