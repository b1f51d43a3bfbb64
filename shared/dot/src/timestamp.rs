//! A moment, in nanoseconds since the Unix epoch.
//!
//! Text is read exactly: digits never pass through a float, so `1710504000.000000001` keeps its last one.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Nanoseconds since 1970-01-01T00:00:00Z, up to the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Why a text is no [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// Not a decimal number of seconds; the text as found.
    NotSeconds(String),
    /// Not an RFC 3339 time; the text as found.
    NotRfc3339(String),
    /// Before 1970 or after 2554; the text as found.
    OutOfRange(String),
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z, the first moment there is.
    pub const MIN: Timestamp = Timestamp(0);
    /// The last moment there is, in the year 2554.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// From whole nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Timestamp {
        Timestamp(nanos)
    }

    /// Whole nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// From whole seconds since the epoch; `None` beyond the year 2554.
    pub const fn from_secs(seconds: u64) -> Option<Timestamp> {
        match seconds.checked_mul(NANOS_PER_SECOND) {
            Some(nanos) => Some(Timestamp(nanos)),
            None => None,
        }
    }

    /// The machine's wall clock; [`Timestamp::MIN`] if that stands before 1970.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// Seconds since the epoch as a float: for drawing, where a microsecond more or less is unseen.
    pub fn as_secs_f64(self) -> f64 {
        (self.0 / NANOS_PER_SECOND) as f64 + (self.0 % NANOS_PER_SECOND) as f64 / 1e9
    }

    /// The moment `length` later, at most [`Timestamp::MAX`].
    pub fn saturating_add(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos_of(length)))
    }

    /// The moment `length` earlier, at least [`Timestamp::MIN`].
    pub fn saturating_sub(self, length: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(nanos_of(length)))
    }

    /// Time since `earlier`; zero where `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Reads whole nanoseconds since 1970, RFC 3339, or the front of it: `2026-03-15`, `2026-03-15T12:30`,
    /// `2026-03-15 12:30:05.25`, which are in UTC.
    ///
    /// # Errors
    ///
    /// [`TimeError::NotRfc3339`] where it is none of these, [`TimeError::OutOfRange`] before 1970 or after 2554.
    ///
    /// ```
    /// # use dotter_dot::Timestamp;
    /// assert_eq!(Timestamp::parse("1000").unwrap().nanos(), 1000);
    /// assert_eq!(Timestamp::parse("1970-01-02").unwrap().nanos(), 86_400_000_000_000);
    /// ```
    pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Timestamp).map_err(|_| TimeError::OutOfRange(clip(text)));
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
            TimeError::OutOfRange(_) => TimeError::OutOfRange(clip(text)),
            _ => TimeError::NotRfc3339(clip(text)),
        })
    }

    /// Reads seconds since the epoch with an optional fraction (`1710504000`, `1710504000.25`, `1.7e9`).
    ///
    /// Digits past the ninth of the fraction are cut off, not rounded.
    ///
    /// # Errors
    ///
    /// [`TimeError::NotSeconds`] for anything but a decimal number, [`TimeError::OutOfRange`] for one
    /// before 1970 or after 2554.
    ///
    /// ```
    /// # use dotter_dot::Timestamp;
    /// assert_eq!(Timestamp::parse_seconds("1.000000001").unwrap().nanos(), 1_000_000_001);
    /// assert_eq!(Timestamp::parse_seconds("1.5e3").unwrap().nanos(), 1_500_000_000_000);
    /// assert!(Timestamp::parse_seconds("-1").is_err());
    /// ```
    pub fn parse_seconds(text: &str) -> Result<Timestamp, TimeError> {
        let not_seconds = || TimeError::NotSeconds(clip(text));
        let out_of_range = || TimeError::OutOfRange(clip(text));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| not_seconds())?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
            return Err(not_seconds());
        }
        // The value is `digits * 10^(exponent - fraction.len())` seconds; in nanoseconds, nine more.
        let places = (exponent as i64 - fraction.len() as i64).saturating_add(9);
        let mut digits: Vec<u8> = digits().skip_while(|b| *b == b'0').collect();
        if digits.is_empty() {
            return Ok(Timestamp(0));
        }
        if places < 0 {
            let keep = digits.len().saturating_sub(places.unsigned_abs().min(usize::MAX as u64) as usize);
            digits.truncate(keep);
        } else if places > 20 {
            return Err(out_of_range());
        } else {
            digits.extend(std::iter::repeat_n(b'0', places as usize));
        }
        let mut nanos: u64 = 0;
        for digit in digits {
            nanos = nanos
                .checked_mul(10)
                .and_then(|n| n.checked_add((digit - b'0') as u64))
                .ok_or_else(out_of_range)?;
        }
        if negative && nanos > 0 {
            return Err(out_of_range());
        }
        Ok(Timestamp(nanos))
    }

    /// Reads `2026-11-20T12:34:56[.fraction](Z|+hh:mm|-hh:mm)`; a blank may stand for the `T`.
    ///
    /// A leap second (`:60`) is the first moment of the next minute.
    ///
    /// # Errors
    ///
    /// [`TimeError::NotRfc3339`] for any other shape, [`TimeError::OutOfRange`] before 1970 or after 2554.
    ///
    /// Source: RFC 3339, section 5.6.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimeError> {
        let wrong = || TimeError::NotRfc3339(clip(text));
        let bytes = text.as_bytes();
        let number = |from: usize, until: usize| -> Result<i64, TimeError> {
            let part = bytes.get(from..until).ok_or_else(wrong)?;
            if !part.iter().all(u8::is_ascii_digit) {
                return Err(wrong());
            }
            Ok(part.iter().fold(0, |sum, digit| sum * 10 + (digit - b'0') as i64))
        };
        let sign_at = |place: usize, signs: &[u8]| -> Result<(), TimeError> {
            if bytes.get(place).is_some_and(|b| signs.contains(b)) { Ok(()) } else { Err(wrong()) }
        };
        for (place, signs) in
            [(4, &b"-"[..]), (7, &b"-"[..]), (10, &b"Tt "[..]), (13, &b":"[..]), (16, &b":"[..])]
        {
            sign_at(place, signs)?;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let in_month = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        if !in_month || hour > 23 || minute > 59 || second > 60 {
            return Err(wrong());
        }
        let mut place = 19;
        let mut nanos: i64 = 0;
        if bytes.get(place) == Some(&b'.') {
            place += 1;
            let mut worth = 100_000_000;
            let start = place;
            while let Some(digit) = bytes.get(place).filter(|b| b.is_ascii_digit()) {
                nanos += (digit - b'0') as i64 * worth;
                worth /= 10;
                place += 1;
            }
            if place == start {
                return Err(wrong());
            }
        }
        let offset = match bytes.get(place) {
            Some(b'Z' | b'z') if bytes.len() == place + 1 => 0,
            Some(sign @ (b'+' | b'-')) if bytes.len() == place + 6 => {
                sign_at(place + 3, b":")?;
                let (hours, minutes) = (number(place + 1, place + 3)?, number(place + 4, place + 6)?);
                if hours > 23 || minutes > 59 {
                    return Err(wrong());
                }
                (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return Err(wrong()),
        };
        let seconds =
            days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        let nanos = seconds as i128 * NANOS_PER_SECOND as i128 + nanos as i128;
        u64::try_from(nanos).map(Timestamp).map_err(|_| TimeError::OutOfRange(clip(text)))
    }

    /// Seconds since the epoch as the shortest exact decimal: `1710504000`, `1710504000.25`.
    pub fn seconds_text(self) -> String {
        let (whole, fraction) = (self.0 / NANOS_PER_SECOND, self.0 % NANOS_PER_SECOND);
        if fraction == 0 {
            return whole.to_string();
        }
        let text = format!("{whole}.{fraction:09}");
        text.trim_end_matches('0').to_owned()
    }
}

/// RFC 3339 in UTC with as many digits of a second as it takes: `2024-03-15T12:00:00.25Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 / NANOS_PER_SECOND) as i64;
        let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let fraction = self.0 % NANOS_PER_SECOND;
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        time.duration_since(UNIX_EPOCH).map_or(Timestamp::MIN, |length| Timestamp(nanos_of(length)))
    }
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeError::NotSeconds(text) => {
                write!(f, "time '{text}' is not a number of seconds since 1970")
            }
            TimeError::NotRfc3339(text) => {
                write!(f, "time '{text}' is not of the form 2026-11-20T12:34:56Z")
            }
            TimeError::OutOfRange(text) => write!(f, "time '{text}' lies outside 1970 to 2554"),
        }
    }
}

impl std::error::Error for TimeError {}

fn nanos_of(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// At most 64 characters of what was found, so that an error stays a line.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_end_after_its_day_its_minute_or_its_second() {
        let check = |text: &str, shown: &str| {
            assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), Ok(shown), "{text}");
        };
        check("0", "1970-01-01T00:00:00Z");
        check("2026-03-15", "2026-03-15T00:00:00Z");
        check("2026-03-15T12:30", "2026-03-15T12:30:00Z");
        check("2026-03-15 12:30:05", "2026-03-15T12:30:05Z");
        check("2026-03-15 12:30:05.25", "2026-03-15T12:30:05.25Z");
        check("2026-03-15T12:30:05+01:00", "2026-03-15T11:30:05Z");
        for text in ["", "x", "2026-13-01", "2026-03-15T", "2026-03-15T12:30:05.", "ä026-03-15"] {
            assert!(
                matches!(Timestamp::parse(text), Err(TimeError::NotRfc3339(found)) if found == text),
                "{text}"
            );
        }
        assert!(matches!(Timestamp::parse("99999999999999999999"), Err(TimeError::OutOfRange(_))));
        assert!(matches!(Timestamp::parse("1969-12-31"), Err(TimeError::OutOfRange(_))));
    }

    #[test]
    fn seconds_are_read_digit_by_digit() {
        let check = |text: &str, nanos: u64| {
            assert_eq!(Timestamp::parse_seconds(text), Ok(Timestamp(nanos)), "{text}");
        };
        check("0", 0);
        check("1710504000", 1_710_504_000_000_000_000);
        check("1710504000.25", 1_710_504_000_250_000_000);
        check("1710504000.0000000019", 1_710_504_000_000_000_001);
        check(".5", 500_000_000);
        check("1e-9", 1);
        check("1e-99", 0);
        check("1.7105e9", 1_710_500_000_000_000_000);
        check("18446744073.709551615", u64::MAX);
        check("-0", 0);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", ".", "x", "1x", "1.2.3", "--1", "nan", "inf", "1e", "e5", " 1"] {
            assert!(matches!(Timestamp::parse_seconds(text), Err(TimeError::NotSeconds(_))), "{text}");
        }
        for text in ["-1", "18446744073.709551616", "1e30", "99999999999999999999999", "1e2147483647"] {
            assert!(matches!(Timestamp::parse_seconds(text), Err(TimeError::OutOfRange(_))), "{text}");
        }
    }

    #[test]
    fn rfc3339_goes_both_ways() {
        let check = |text: &str, seconds: &str, shown: &str| {
            let time = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!(time.seconds_text(), seconds, "{text}");
            assert_eq!(time.to_string(), shown, "{text}");
        };
        check("1970-01-01T00:00:00Z", "0", "1970-01-01T00:00:00Z");
        check("2024-03-15T12:00:00.25Z", "1710504000.25", "2024-03-15T12:00:00.25Z");
        check("2024-02-29 23:59:60+01:00", "1709247600", "2024-02-29T23:00:00Z");
        check("2554-07-21T23:34:33.709551615Z", "18446744073.709551615", "2554-07-21T23:34:33.709551615Z");
        for text in
            ["2023-02-29T00:00:00Z", "2024-03-15", "2024-03-15T12:00:00", "2024-03-15T12:00:00.Z", "ä"]
        {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
        assert!(matches!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z"), Err(TimeError::OutOfRange(_))));
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        for days in -146_097..146_097 * 2 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
