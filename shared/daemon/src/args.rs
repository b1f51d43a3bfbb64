//! Numbers with units, as they stand on a command line.

use std::time::Duration;

/// Reads a length of time: bare seconds (`0.1`), or with `ms`, `s`, `m`, `h`, `d` behind the number.
///
/// # Errors
///
/// A sentence that says what was found and what is expected.
///
/// ```
/// # use dotter_daemon::duration_arg;
/// # use std::time::Duration;
/// assert_eq!(duration_arg("100ms"), Ok(Duration::from_millis(100)));
/// assert_eq!(duration_arg("0.1"), Ok(Duration::from_millis(100)));
/// assert!(duration_arg("-1").is_err());
/// ```
pub fn duration_arg(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is no length of time: expected seconds such as 0.1, or 100ms, 2m, 1h, 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_with_and_without_a_unit() {
        for (text, millis) in [("1", 1000), ("0.1", 100), ("250ms", 250), ("2m", 120_000), ("1d", 86_400_000)]
        {
            assert_eq!(duration_arg(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1x", "-1", "nan", "inf", "1e300", "ä", "1 s"] {
            assert!(duration_arg(text).is_err(), "{text}");
        }
    }
}
