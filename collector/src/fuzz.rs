//! What the fuzz targets reach: bodies and lines as strangers send them.
#![allow(missing_docs, reason = "only the fuzz targets see it")]

use dotter_dot::{SeriesName, Timestamp};

use crate::{json, line};

/// A JSON body: every row of what is taken has a name, and there are no more rows than its bytes can tell.
pub fn json(body: &[u8]) {
    let data = SeriesName::new("data").expect("a name");
    if let Ok(rows) = json::read(body, Some(&data)) {
        assert!(rows.len() <= body.len() / 4, "a pair takes five bytes and a comma");
        let count = rows.len() as u64;
        assert_eq!(rows.into_bulk().len(), count, "every row is one of its series");
    }
}

/// A Graphite line: what is taken has a name and a number.
pub fn line(bytes: &[u8]) {
    if let Ok(Some(line)) = line::read_line(bytes, Timestamp::MIN) {
        assert!(!line.value.is_nan());
        let _ = line::read_name(line.name);
    }
}
