//! Answers as Graphite writes them.

use dotter_dot::{SeriesName, Timestamp};

use crate::consolidate::Points;

/// Appends `[{"target", "tags", "datapoints": [[value, seconds], ...]}, ...]`.
///
/// - `no_nulls`: points without a value are left out, and so is a series that has no other
///
/// NaN and infinities are null. Times are whole seconds where the step and the start are, else they have a
/// fraction.
pub fn write_json(series: &[(SeriesName, Points)], no_nulls: bool, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut first = true;
    for (name, points) in series {
        if no_nulls && points.values.iter().all(|value| !value.is_finite()) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"{\"target\": ");
        write_string(name.as_str(), out);
        out.extend_from_slice(b", \"tags\": {");
        for (tag, value) in name.tags().filter(|(tag, _)| *tag != "name") {
            write_string(tag, out);
            out.extend_from_slice(b": ");
            write_string(value, out);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"name\": ");
        write_string(name.path(), out);
        out.extend_from_slice(b"}, \"datapoints\": [");
        write_points(points, no_nulls, out);
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
}

fn write_points(points: &Points, no_nulls: bool, out: &mut Vec<u8>) {
    let step = u64::try_from(points.step.as_nanos()).unwrap_or(u64::MAX);
    let mut first = true;
    for (index, value) in points.values.iter().enumerate() {
        if no_nulls && !value.is_finite() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.extend_from_slice(b", ");
        }
        let nanos = points.start.nanos().saturating_add(step.saturating_mul(index as u64));
        out.push(b'[');
        write_number(*value, out);
        out.extend_from_slice(b", ");
        write_seconds(Timestamp::from_nanos(nanos), out);
        out.push(b']');
    }
}

/// Appends the shortest decimal that reads back as `value`; null where JSON has no word for it.
pub fn write_number(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        serde_json::to_writer(out, &value).expect("a finite number can be written to memory");
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a string in quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string can be written to memory");
}

/// Appends seconds since 1970, exact: whole where the moment is, else with a fraction.
pub fn write_seconds(time: Timestamp, out: &mut Vec<u8>) {
    if time.nanos().is_multiple_of(1_000_000_000) {
        let seconds = time.nanos() / 1_000_000_000;
        serde_json::to_writer(out, &seconds).expect("a number can be written to memory");
    } else {
        let (seconds, nanos) = (time.nanos() / 1_000_000_000, time.nanos() % 1_000_000_000);
        serde_json::to_writer(&mut *out, &seconds).expect("a number can be written to memory");
        // A one in front keeps the zeros that the fraction begins with; the point then takes its place.
        let point = out.len();
        serde_json::to_writer(&mut *out, &(1_000_000_000 + nanos))
            .expect("a number can be written to memory");
        out[point] = b'.';
        let digits = out.iter().rev().take_while(|byte| **byte == b'0').count();
        out.truncate(out.len() - digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(name: &str, step_ms: u64, values: &[f64], no_nulls: bool, expected: &str) {
        let points = Points {
            start: Timestamp::from_secs(60).unwrap(),
            step: Duration::from_millis(step_ms),
            values: values.to_vec(),
        };
        let mut out = Vec::new();
        write_json(&[(SeriesName::new(name).unwrap(), points)], no_nulls, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn seconds_are_exact() {
        for nanos in [0, 1, 60_000_000_000, 1_710_504_000_250_000_000, 1_000_000_001, u64::MAX] {
            let (time, mut out) = (Timestamp::from_nanos(nanos), Vec::new());
            write_seconds(time, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), time.seconds_text());
        }
    }

    #[test]
    fn answers_look_as_graphite_writes_them() {
        check(
            "a.b",
            10_000,
            &[1.0, f64::NAN, 2.5],
            false,
            r#"[{"target": "a.b", "tags": {"name": "a.b"}, "datapoints": [[1.0, 60], [null, 70], [2.5, 80]]}]"#,
        );
        check(
            "d;host=\"x\"",
            250,
            &[f64::INFINITY, 1e300, f64::NAN],
            true,
            r#"[{"target": "d;host=\"x\"", "tags": {"host": "\"x\"", "name": "d"}, "datapoints": [[1e+300, 60.25]]}]"#,
        );
        check("a", 1000, &[f64::NAN], true, "[]");
        check("a", 1000, &[], false, r#"[{"target": "a", "tags": {"name": "a"}, "datapoints": []}]"#);
    }
}
