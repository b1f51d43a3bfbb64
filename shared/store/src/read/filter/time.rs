//! Times as they are written on a command line.

use dotter_dot::{TimeError, Timestamp};

/// Reads whole nanoseconds since 1970, RFC 3339, or the front of it: `2026-03-15`, `2026-03-15T12:30`,
/// `2026-03-15 12:30:05.25`, which are in UTC.
///
/// # Errors
///
/// [`TimeError::NotRfc3339`] where it is none of these, [`TimeError::OutOfRange`] before 1970 or after 2554.
///
/// ```
/// # use dotter_store::parse_time;
/// assert_eq!(parse_time("1000").unwrap().nanos(), 1000);
/// assert_eq!(parse_time("1970-01-02").unwrap().nanos(), 86_400_000_000_000);
/// ```
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(nanos) => Ok(Timestamp::from_nanos(nanos)),
            Err(_) => Err(TimeError::OutOfRange(text.chars().take(64).collect())),
        };
    }
    let has_zone = text.get(19..).is_some_and(|rest| rest.contains(['Z', 'z', '+', '-']));
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19.. if !has_zone => format!("{text}Z"),
        _ => return Timestamp::parse_rfc3339(text),
    };
    // What was found is what was given, not what was made of it.
    Timestamp::parse_rfc3339(&whole).map_err(|error| match error {
        TimeError::OutOfRange(_) => TimeError::OutOfRange(text.chars().take(64).collect()),
        _ => TimeError::NotRfc3339(text.chars().take(64).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_end_after_its_day_its_minute_or_its_second() {
        let check = |text: &str, shown: &str| {
            assert_eq!(parse_time(text).map(|time| time.to_string()).as_deref(), Ok(shown), "{text}");
        };
        check("0", "1970-01-01T00:00:00Z");
        check("2026-03-15", "2026-03-15T00:00:00Z");
        check("2026-03-15T12:30", "2026-03-15T12:30:00Z");
        check("2026-03-15 12:30:05", "2026-03-15T12:30:05Z");
        check("2026-03-15 12:30:05.25", "2026-03-15T12:30:05.25Z");
        check("2026-03-15T12:30:05+01:00", "2026-03-15T11:30:05Z");
        for text in ["", "x", "2026-13-01", "2026-03-15T", "2026-03-15T12:30:05.", "ä026-03-15"] {
            assert!(matches!(parse_time(text), Err(TimeError::NotRfc3339(found)) if found == text), "{text}");
        }
        assert!(matches!(parse_time("99999999999999999999"), Err(TimeError::OutOfRange(_))));
        assert!(matches!(parse_time("1969-12-31"), Err(TimeError::OutOfRange(_))));
    }
}
