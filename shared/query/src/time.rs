//! Moments as Graphite's clients write them.
//!
//! Case, blanks, commas and underscores do not count. A moment is
//!
//! - seconds since 1970 (`1710504000`, with a fraction if need be), but eight digits that make a date are one
//! - a reference: nothing or `now`; or a time of day (`13:45`, `1:45pm`, `9am`, `midnight`, `noon`,
//!   `teatime`), a day (`today`, `yesterday`, `tomorrow`, `20240315`, `03/15/24`, `mar15`, `friday`), or both
//! - then an offset, `+` or `-` and lengths of `s`, `min`, `h`, `d`, `w`, `mon` (30 days) and `y` (365 days)
//!
//! so `-1h`, `now-30min`, `noon_yesterday`, `14:00_20240315`, `midnight+6h30min`. RFC 3339 is taken too. Days
//! begin at midnight of the request's [`Zone`].
//!
//! Source: `graphite.render.attime` of graphite-web 1.1.8.

use std::fmt;

use dotter_dot::Timestamp;

use crate::Error;
use crate::error::clip;

const NANOS: i128 = 1_000_000_000;
const DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// 1970 began on a Thursday.
const WEEKDAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

/// What `now` means, and where a day begins.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The moment `now` stands for.
    pub now: Timestamp,
    /// Whose midnight.
    pub zone: Zone,
}

/// Where a day begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// So many seconds east of UTC.
    Offset(i64),
    /// A name this version has no rules for. Only a time that needs them is refused.
    Unknown(String),
}

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormError {
    /// The text, clipped.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// `from < t <= until`, as Graphite counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The moment just before the first one inside.
    pub from: Timestamp,
    /// The last moment inside.
    pub until: Timestamp,
}

impl Zone {
    /// Reads `UTC`, `Z`, `GMT` or an offset such as `+02:00`, `-0530`, `+2`.
    pub fn new(text: &str) -> Zone {
        let unknown = || Zone::Unknown(clip(text));
        let trimmed = text.trim();
        if ["", "utc", "etc/utc", "gmt", "z"].contains(&trimmed.to_ascii_lowercase().as_str()) {
            return Zone::Offset(0);
        }
        let (sign, digits) = match trimmed.split_at_checked(1) {
            Some(("+", rest)) => (1, rest.replacen(':', "", 1)),
            Some(("-", rest)) => (-1, rest.replacen(':', "", 1)),
            _ => return unknown(),
        };
        if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return unknown();
        }
        let split = if digits.len() > 2 { digits.len() - 2 } else { digits.len() };
        let part = |text: &str| text.parse::<i64>().unwrap_or(0);
        let (hours, minutes) = (part(&digits[..split]), part(&digits[split..]));
        if hours > 14 || minutes > 59 {
            unknown()
        } else {
            Zone::Offset(sign * (hours * 3600 + minutes * 60))
        }
    }
}

impl Window {
    /// From the texts of a request; a day ago and now where there are none.
    ///
    /// The two may be swapped; `until` is cut to now.
    ///
    /// # Errors
    ///
    /// Where one cannot be read, and where both are the same moment.
    pub fn parse(from: Option<&str>, until: Option<&str>, clock: &Clock) -> Result<Window, Error> {
        let read = |parameter, text: Option<&str>, default| {
            parse_time(text.filter(|text| !text.trim().is_empty()).unwrap_or(default), clock)
                .map_err(|cause| Error::Time { parameter, cause })
        };
        let from = read("from", from, "-1d")?;
        let until = read("until", until, "now")?;
        if from == until {
            return Err(Error::EmptyWindow);
        }
        Ok(Window { from: from.min(until), until: from.max(until).min(clock.now) })
    }

    /// Whether all of it lies in the future.
    pub fn is_ahead(&self) -> bool {
        self.until < self.from
    }
}

/// Reads a moment; one before 1970 is 1970.
///
/// # Errors
///
/// [`TimeFormError`] says what is wrong with it.
pub fn parse_time(text: &str, clock: &Clock) -> Result<Timestamp, TimeFormError> {
    let fail = |reason: String| TimeFormError { text: clip(text.trim()), reason };
    if let Ok(time) = Timestamp::parse_rfc3339(text.trim()) {
        return Ok(time);
    }
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !"_,".contains(*c))
        .flat_map(char::to_lowercase)
        .collect();
    if plain.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !plain.is_empty() && !is_date(&plain) {
        return Timestamp::parse_seconds(&plain).map_err(|error| fail(error.to_string()));
    }
    let sign = plain.find(['+', '-']).unwrap_or(plain.len());
    let (reference, offset) = plain.split_at(sign);
    let moment = parse_reference(reference, clock).map_err(fail)? + parse_offset(offset).map_err(fail)?;
    let nanos = u64::try_from(moment.max(0)).map_err(|_| fail("it lies after the year 2554".to_owned()))?;
    Ok(Timestamp::from_nanos(nanos))
}

/// Eight digits that Graphite takes for a date.
fn is_date(text: &str) -> bool {
    let number = |from: usize, until: usize| text.get(from..until).and_then(|part| part.parse::<u32>().ok());
    text.len() == 8
        && number(0, 4).is_some_and(|year| year > 1900)
        && number(4, 6).is_some_and(|month| month < 13)
        && number(6, 8).is_some_and(|day| day < 32)
}

/// Nanoseconds since 1970.
fn parse_reference(text: &str, clock: &Clock) -> Result<i128, String> {
    if text.is_empty() || text == "now" {
        return Ok(clock.now.nanos() as i128);
    }
    let offset = match &clock.zone {
        Zone::Offset(seconds) => *seconds,
        Zone::Unknown(name) => {
            return Err(format!(
                "it counts from a day in time zone '{name}', this version knows UTC and offsets such as +02:00"
            ));
        }
    };
    let (second_of_day, day) = parse_time_of_day(text)?;
    let local_now = (clock.now.nanos() as i128 / NANOS) as i64 + offset;
    let today = local_now.div_euclid(DAY);
    let days = parse_day(day, today)?;
    Ok((days * DAY + second_of_day - offset) as i128 * NANOS)
}

/// The second of the day a reference begins with, zero if with none, and what is left of it.
fn parse_time_of_day(text: &str) -> Result<(i64, &str), String> {
    let number = |text: &str| match text.parse::<i64>() {
        Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(format!("found '{text}', expected digits")),
    };
    let (mut hour, mut minute, mut rest) = (0, 0, text);
    let near = |text: &str, what: &str| text.find(what).filter(|at| (1..3).contains(at));
    if let Some(at) = near(rest, ":") {
        hour = number(&rest[..at])?;
        let end = (at + 3).min(rest.len());
        minute = number(rest.get(at + 1..end).unwrap_or_default())?;
        rest = rest.get(end..).unwrap_or_default();
        if let Some(left) = rest.strip_prefix("am") {
            rest = left;
        } else if let Some(left) = rest.strip_prefix("pm") {
            hour = (hour + 12) % 24;
            rest = left;
        }
    } else if let Some(at) = near(rest, "am") {
        hour = number(&rest[..at])?;
        rest = &rest[at + 2..];
    } else if let Some(at) = near(rest, "pm") {
        hour = (number(&rest[..at])? + 12) % 24;
        rest = &rest[at + 2..];
    }
    for (word, at) in [("noon", 12), ("midnight", 0), ("teatime", 16)] {
        if let Some(left) = rest.strip_prefix(word) {
            (hour, minute, rest) = (at, 0, left);
            break;
        }
    }
    if hour > 23 || minute > 59 {
        return Err(format!("found {hour}:{minute:02}, expected a time of day up to 23:59"));
    }
    Ok((hour * 3600 + minute * 60, rest))
}

/// Days since 1970.
fn parse_day(text: &str, today: i64) -> Result<i64, String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let unknown = || {
        format!(
            "found '{}', expected a day such as today, yesterday, 20240315, 03/15/24 or friday",
            clip(text)
        )
    };
    match text {
        "" | "today" => return Ok(today),
        "yesterday" => return Ok(today - 1),
        "tomorrow" => return Ok(today + 1),
        _ => {}
    }
    if text.len() == 8 && number(text).is_some() {
        return date(&text[..4], &text[4..6], &text[6..]);
    }
    let parts: Vec<&str> = text.split('/').collect();
    if let [month, day, year] = parts[..] {
        let (Some(month), Some(day), Some(mut year)) = (number(month), number(day), number(year)) else {
            return Err(unknown());
        };
        if year < 1900 {
            year += 1900;
        }
        if year < 1970 {
            year += 100;
        }
        return date(&year.to_string(), &month.to_string(), &day.to_string());
    }
    let word = text.get(..3).unwrap_or_default();
    if let Some(month) = MONTHS.iter().position(|name| *name == word) {
        let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        if digits.is_empty() || digits.len() > 2 || number(digits).is_none() {
            return Err(format!("found '{}', expected a day behind the month, such as mar15", clip(text)));
        }
        let shown = Timestamp::from_secs((today * DAY).max(0) as u64).unwrap_or(Timestamp::MAX).to_string();
        return date(&shown[..4], &(month + 1).to_string(), digits);
    }
    if let Some(weekday) = WEEKDAYS.iter().position(|name| *name == word) {
        return Ok(today - (today - weekday as i64).rem_euclid(7));
    }
    Err(unknown())
}

/// Days since 1970 of a date in digits.
fn date(year: &str, month: &str, day: &str) -> Result<i64, String> {
    match Timestamp::parse_rfc3339(&format!("{year:0>4}-{month:0>2}-{day:0>2}T00:00:00Z")) {
        Ok(midnight) => Ok((midnight.nanos() as i128 / NANOS) as i64 / DAY),
        Err(_) => Err(format!("{year}-{month:0>2}-{day:0>2} is no date from 1970 to 2554")),
    }
}

/// Nanoseconds: a sign and then numbers with units, or nothing.
fn parse_offset(text: &str) -> Result<i128, String> {
    let mut rest = text;
    let mut seconds: i128 = 0;
    let sign = match rest.split_at_checked(1) {
        Some(("-", behind)) => {
            rest = behind;
            -1
        }
        Some(("+", behind)) => {
            rest = behind;
            1
        }
        _ => 1,
    };
    if !text.is_empty() && rest.is_empty() {
        return Err("found a sign, expected a length of time behind it, such as 1h".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.len() - behind.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, behind) = behind.split_at(letters);
        let number: u32 = number.parse().map_err(|_| match digits {
            0 => format!("found '{}', expected a number", clip(rest)),
            _ => format!("found the number {}, which is too large", clip(number)),
        })?;
        let worth = match unit {
            u if u.starts_with("mon") => 30 * DAY,
            u if u.starts_with("min") => 60,
            u if u.starts_with('s') => 1,
            u if u.starts_with('h') => 3600,
            u if u.starts_with('d') => DAY,
            u if u.starts_with('w') => 7 * DAY,
            u if u.starts_with('y') => 365 * DAY,
            _ => {
                return Err(format!(
                    "found '{number}{}', expected a unit behind the number: s, min, h, d, w, mon or y",
                    clip(unit)
                ));
            }
        };
        seconds += number as i128 * worth as i128;
        rest = behind;
    }
    Ok(sign * seconds * NANOS)
}

impl fmt::Display for TimeFormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no time: {}", self.text, self.reason)
    }
}

impl std::error::Error for TimeFormError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Random;

    /// 2024-03-15, a Friday, 12:34:56 UTC.
    const NOW: u64 = 1_710_506_096;

    fn clock(zone: &str) -> Clock {
        Clock { now: Timestamp::from_secs(NOW).unwrap(), zone: Zone::new(zone) }
    }

    fn check(text: &str, zone: &str, expected: &str) {
        match parse_time(text, &clock(zone)) {
            Ok(time) => assert_eq!(time.to_string(), expected, "{text} {zone}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("now", "2024-03-15T12:34:56Z"),
            ("", "2024-03-15T12:34:56Z"),
            ("-1h", "2024-03-15T11:34:56Z"),
            ("-1hours", "2024-03-15T11:34:56Z"),
            ("-30min", "2024-03-15T12:04:56Z"),
            ("-1_min", "2024-03-15T12:33:56Z"),
            ("+1min", "2024-03-15T12:35:56Z"),
            ("now-1d", "2024-03-14T12:34:56Z"),
            ("-1h30min", "2024-03-15T11:04:56Z"),
            ("-1mon", "2024-02-14T12:34:56Z"),
            ("-2w", "2024-03-01T12:34:56Z"),
            ("-1y", "2023-03-16T12:34:56Z"),
            ("-100y", "1970-01-01T00:00:00Z"),
            ("1710504000", "2024-03-15T12:00:00Z"),
            ("1710504000.25", "2024-03-15T12:00:00.25Z"),
            ("2024-03-15T12:00:00+01:00", "2024-03-15T11:00:00Z"),
            ("20240229", "2024-02-29T00:00:00Z"),
            ("20241301", "1970-08-23T06:35:01Z"),
            ("13:45_20240229", "2024-02-29T13:45:00Z"),
            ("11:58_03/15/2024", "2024-03-15T11:58:00Z"),
            ("03/15/24", "2024-03-15T00:00:00Z"),
            ("03/15/99", "1999-03-15T00:00:00Z"),
            ("today", "2024-03-15T00:00:00Z"),
            ("midnight", "2024-03-15T00:00:00Z"),
            ("midnight+6h", "2024-03-15T06:00:00Z"),
            ("noon_yesterday", "2024-03-14T12:00:00Z"),
            ("yesterday", "2024-03-14T00:00:00Z"),
            ("6pm tomorrow", "2024-03-16T18:00:00Z"),
            ("teatime-5h", "2024-03-15T11:00:00Z"),
            ("1:05am", "2024-03-15T01:05:00Z"),
            ("12:00pm", "2024-03-15T00:00:00Z"),
            ("12pm", "2024-03-15T00:00:00Z"),
            ("Feb 29", "2024-02-29T00:00:00Z"),
            ("february9", "2024-02-09T00:00:00Z"),
            ("friday", "2024-03-15T00:00:00Z"),
            ("saturday", "2024-03-09T00:00:00Z"),
            ("noon monday", "2024-03-11T12:00:00Z"),
        ] {
            check(text, "UTC", expected);
        }
    }

    #[test]
    fn days_begin_at_midnight_of_the_zone() {
        check("midnight", "+02:00", "2024-03-14T22:00:00Z");
        check("midnight", "-0530", "2024-03-15T05:30:00Z");
        check("tomorrow", "+14", "2024-03-16T10:00:00Z");
        check("-1h", "Mars/Olympus", "2024-03-15T11:34:56Z");
        let error = parse_time("midnight", &clock("Mars/Olympus")).unwrap_err();
        assert!(error.to_string().contains("time zone 'Mars/Olympus'"), "{error}");
    }

    #[test]
    fn what_is_no_time_says_why() {
        for text in [
            "-1",
            "-90",
            "-1x",
            "25:00_20240315",
            "13:75",
            "-2min+1min",
            "now-1d+1min",
            "bogus",
            "20240230",
            "02/30/2024",
            "mar",
            "mar123",
            "-",
            "+",
            "-99999999999y",
            "+4294967295y",
            "1.2.3",
            "99999999999999",
            "1:",
            "ü:00",
            "a:00",
        ] {
            let error = parse_time(text, &clock("UTC")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("'{text}' is no time: ")), "{error}");
        }
    }

    #[test]
    fn a_window_is_ordered_cut_to_now_and_never_empty() {
        let window = |from, until| Window::parse(from, until, &clock("UTC"));
        let at = |offset: i64| Timestamp::from_secs(NOW.checked_add_signed(offset).unwrap()).unwrap();
        let day = window(None, None).unwrap();
        assert_eq!(day, Window { from: at(-86_400), until: at(0) });
        assert_eq!(window(Some("now"), Some("-1h")).unwrap(), Window { from: at(-3600), until: at(0) });
        assert_eq!(window(Some("-1h"), Some("+1h")).unwrap(), Window { from: at(-3600), until: at(0) });
        assert!(window(Some("+1h"), Some("+2h")).unwrap().is_ahead());
        assert!(matches!(window(Some("-1h"), Some("-60min")), Err(Error::EmptyWindow)));
        assert!(matches!(window(Some("x"), None), Err(Error::Time { parameter: "from", .. })));
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let mut random = Random::seeded();
        let alphabet = "0123456789:/+-._ nowdayhmisteüap";
        for _ in 0..50_000 {
            let text = random.text(alphabet, 12);
            for zone in ["", "+5:30", "x"] {
                let _ = parse_time(&text, &clock(zone));
            }
            let _ = Zone::new(&text);
        }
    }
}
