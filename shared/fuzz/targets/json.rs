//! A body of POST /data that is JSON, or should be: every row of what is taken is one of its series, and there are no
//! more rows than its bytes can tell.
#![no_main]

use dotter_dot::SeriesName;
use dotter_intake::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let data = SeriesName::new("data").expect("a name");
    let Ok(rows) = json::read(body, Some(&data)) else { return };
    assert!(rows.len() <= body.len() / 4, "a pair takes five bytes and a comma");
    let mut count = 0;
    for (_, shape, _, cell) in rows.iter() {
        assert_eq!(cell.values(shape.format()).count(), shape.format().len());
        count += 1;
    }
    assert_eq!(count, rows.len());
});
