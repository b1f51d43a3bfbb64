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

/// Reads a count of bytes: bare (`4096`), or with `K`, `M`, `G`, `T` behind the number, with or without a `B` behind
/// that, for thousands, millions and so on, or with `KiB`, `MiB`, `GiB`, `TiB` for powers of 1024.
///
/// Returns `None` for any other text, and for more than a `u64` holds.
///
/// ```
/// # use dotter_daemon::bytes_arg;
/// assert_eq!(bytes_arg("20G"), Some(20_000_000_000));
/// assert_eq!(bytes_arg("512KiB"), Some(524_288));
/// assert_eq!(bytes_arg("1.5G"), None);
/// ```
pub fn bytes_arg(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KB" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    let digits = digits.trim_end();
    // The standard library would take a sign too.
    let count: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    count.checked_mul(unit)
}

/// Reads how many bytes a store may have: a size as [`bytes_arg`] reads it, from a megabyte on, since the log alone takes
/// some.
///
/// # Errors
///
/// What is wrong, for the user.
pub fn store_bytes_arg(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "'{text}' is no size from 1M on, such as 500M, 20G or 1TiB; without the option there is no limit"
        )
    };
    bytes_arg(text).filter(|bytes| *bytes >= 1_000_000).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("1000", 1000),
            ("7B", 7),
            ("4MB", 4_000_000),
            ("4MiB", 4 << 20),
            ("512KiB", 512 << 10),
            ("2 M", 2_000_000),
            ("500M", 500_000_000),
            ("20G", 20_000_000_000),
            ("3T", 3_000_000_000_000),
            ("0", 0),
        ] {
            assert_eq!(bytes_arg(text), Some(bytes), "{text}");
        }
        for text in ["", "G", "1.5G", "-1", "+1", "1e9", "20g", "20GG", "20 G B", "ä", "1ä", "99999999T"] {
            assert_eq!(bytes_arg(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_none(text in "\\PC*") {
            let _ = bytes_arg(&text);
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(count: u64, unit in 0..9_usize) {
            let (name, bytes) = [
                ("", 1), ("kB", 1000), ("M", 1_000_000), ("GB", 1_000_000_000), ("T", 1_000_000_000_000_u64),
                ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
            ][unit];
            prop_assert_eq!(bytes_arg(&format!("{count}{name}")), count.checked_mul(bytes));
            let small = count >> 44;
            prop_assert_eq!(bytes_arg(&format!("{small}{name}")), small.checked_mul(bytes));
        }
    }

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
