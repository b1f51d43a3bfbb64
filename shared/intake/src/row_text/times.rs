//! Times as text, both ways.

use std::io::Write as _;
use std::time::Duration;

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveDateTime};
use dotter_dot::Timestamp;

/// How times are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// 2026-03-15T12:00:00.25Z
    Rfc3339,
    /// Whole nanoseconds since 1970
    Nanos,
    /// Seconds since 1970 with a fraction
    Seconds,
}

/// What a time that is a bare number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

/// A form of times as strftime(3) describes it, such as `%FT%T`; in UTC unless `%z` says another zone.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
    /// As they are read; or why times of this form can only be written.
    reading: Result<Vec<Item<'static>>, String>,
}

/// Reads times of one form.
#[derive(Clone, Debug)]
pub enum TimeReader {
    /// A bare number in that unit, else RFC 3339 or the front of it.
    Plain(TimeUnit),
    /// That form and no other.
    Format(TimeFormat),
}

/// Writes times of one form.
#[derive(Clone, Debug)]
pub struct TimeWriter {
    form: Form,
    /// The second written last, and its text without a fraction: rows of one second are many.
    second: Option<u64>,
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Form {
    Named(Times),
    Format(TimeFormat),
}

/// Reads a time: whole nanoseconds since 1970, RFC 3339, or the front of it.
///
/// # Errors
///
/// A sentence that says what was found.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| {
        format!("'{}' is neither whole nanoseconds since 1970 nor RFC 3339: {error}", clip(text))
    })
}

impl TimeFormat {
    /// A form in which times are to be read, too.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it, or which part of it cannot be read.
    pub fn for_reading(text: &str) -> Result<TimeFormat, String> {
        let format = TimeFormat::new(text)?;
        match format.reading {
            Ok(_) => Ok(format),
            Err(what) => Err(what),
        }
    }

    /// A form in which times are to be written.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn new(text: &str) -> Result<TimeFormat, String> {
        let items = StrftimeItems::new(text).parse_to_owned();
        match items {
            Ok(items) if !items.is_empty() => {
                let reading = reading(text, &items);
                Ok(TimeFormat { text: text.to_owned(), items, reading })
            }
            _ => Err(format!("'{}' is not a form of times such as %FT%T", clip(text))),
        }
    }

    fn read(&self, text: &str) -> Result<Timestamp, String> {
        let wrong = || format!("'{}' is not a time of the form {}", clip(text), self.text);
        let items = self.reading.as_ref().map_err(String::clone)?;
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, items.iter()).map_err(|_| wrong())?;
        let offset = parsed.offset().unwrap_or(0);
        let time = match parsed.timestamp() {
            // `%s` stands for itself.
            Some(_) => parsed.to_naive_datetime_with_offset(0).map_err(|_| wrong())?,
            None => self.naive(&mut parsed, offset).ok_or_else(wrong)?,
        };
        let time = time.and_utc();
        let nanos = time.timestamp() as i128 * 1_000_000_000 + time.timestamp_subsec_nanos() as i128;
        u64::try_from(nanos)
            .map(Timestamp::from_nanos)
            .map_err(|_| format!("'{}' lies outside 1970 to 2554", clip(text)))
    }

    /// What the form leaves out is zero: the hour of a date, the seconds of a minute.
    fn naive(&self, parsed: &mut Parsed, offset: i32) -> Option<NaiveDateTime> {
        let date = parsed.to_naive_date().ok()?;
        if parsed.hour_mod_12().is_none() {
            parsed.set_hour(0).ok()?;
        }
        if parsed.minute().is_none() {
            parsed.set_minute(0).ok()?;
        }
        let time = date.and_time(parsed.to_naive_time().ok()?);
        time.checked_sub_signed(chrono::TimeDelta::seconds(offset as i64))
    }

    fn write(&self, time: Timestamp, out: &mut Vec<u8>) {
        let seconds = (time.nanos() / 1_000_000_000) as i64;
        let moment = DateTime::from_timestamp(seconds, (time.nanos() % 1_000_000_000) as u32)
            .expect("every timestamp lies before the year 2555");
        // Writing to a vector cannot fail, and the form was checked when it was read.
        let _ = write!(out, "{}", moment.format_with_items(self.items.iter()));
    }
}

/// What chrono reads as something else than it means, or not at all, is replaced or refused.
fn reading(text: &str, items: &[Item<'static>]) -> Result<Vec<Item<'static>>, String> {
    let mut reading: Vec<Item<'static>> = Vec::with_capacity(items.len());
    for item in items {
        match item {
            // It would be passed over, and every time be taken for UTC.
            Item::Fixed(Fixed::TimezoneName) => {
                return Err(format!(
                    "'{}' has %Z in it, and the name of a zone such as EST is not read: use %z for +0100, or write the \
                     name UTC itself where all times are in UTC",
                    clip(text)
                ));
            }
            // A count of nanoseconds, so that `.5` would be 5 of them.
            Item::Numeric(Numeric::Nanosecond, _) => {
                let before = match reading.last() {
                    Some(Item::Literal(literal)) => literal.strip_suffix('.'),
                    Some(Item::OwnedLiteral(literal)) => literal.strip_suffix('.'),
                    _ => None,
                };
                let Some(before) = before.map(Box::<str>::from) else {
                    return Err(format!(
                        "'{}' has %f in it without a point before it: use %3f, %6f or %9f for so many digits of a second",
                        clip(text)
                    ));
                };
                reading.pop();
                reading.extend([Item::OwnedLiteral(before), Item::Fixed(Fixed::Nanosecond)]);
            }
            item => reading.push(item.clone()),
        }
    }
    Ok(reading)
}

impl TimeUnit {
    fn nanos(self) -> u64 {
        match self {
            TimeUnit::S => 1_000_000_000,
            TimeUnit::Ms => 1_000_000,
            TimeUnit::Us => 1_000,
            TimeUnit::Ns => 1,
        }
    }

    /// Reads a number of this unit, with a fraction or without.
    ///
    /// # Errors
    ///
    /// A sentence that says what was found.
    pub fn read(self, text: &str) -> Result<Timestamp, String> {
        let wrong = || format!("'{}' is not a number that says a time", clip(text));
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let nanos = text.parse::<u64>().ok().and_then(|number| number.checked_mul(self.nanos()));
            let beyond = || format!("'{}' lies beyond the year 2554", clip(text));
            return nanos.map(Timestamp::from_nanos).ok_or_else(beyond);
        }
        // The same digits, in seconds: the point moves to the left.
        let exponent = match self {
            TimeUnit::S => 0,
            TimeUnit::Ms => -3,
            TimeUnit::Us => -6,
            TimeUnit::Ns => -9,
        };
        let (digits, own) = match text.split_once(['e', 'E']) {
            Some((digits, own)) => (digits, own.parse::<i32>().map_err(|_| wrong())?),
            None => (text, 0),
        };
        Timestamp::parse_seconds(&format!("{digits}e{}", own.saturating_add(exponent))).map_err(|_| wrong())
    }
}

impl TimeReader {
    /// - `format`: what to read instead of numbers of `unit` and RFC 3339
    pub fn new(format: Option<&TimeFormat>, unit: TimeUnit) -> TimeReader {
        match format {
            Some(format) => TimeReader::Format(format.clone()),
            None => TimeReader::Plain(unit),
        }
    }

    /// Reads a time.
    ///
    /// # Errors
    ///
    /// A sentence that says what was found.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        match self {
            TimeReader::Format(format) => format.read(text),
            TimeReader::Plain(TimeUnit::Ns) => parse_time(text),
            TimeReader::Plain(unit) if text.contains('-') && !text.contains(['e', 'E']) => {
                parse_time(text).or_else(|_| unit.read(text))
            }
            TimeReader::Plain(unit) => unit.read(text),
        }
    }
}

impl TimeWriter {
    /// - `format`: what to write instead of `times`
    pub fn new(times: Times, format: Option<&TimeFormat>) -> TimeWriter {
        let form = match format {
            Some(format) => Form::Format(format.clone()),
            None => Form::Named(times),
        };
        TimeWriter { form, second: None, text: Vec::new() }
    }

    /// Appends a time.
    pub fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let (second, fraction) = (time.nanos() / 1_000_000_000, time.nanos() % 1_000_000_000);
        match &self.form {
            Form::Format(format) => format.write(time, out),
            Form::Named(Times::Nanos) => put_number(time.nanos(), out),
            Form::Named(Times::Seconds) => {
                put_number(second, out);
                put_fraction(fraction, out);
            }
            Form::Named(Times::Rfc3339) => {
                if self.second != Some(second) {
                    self.second = Some(second);
                    self.text.clear();
                    let whole = time.saturating_sub(Duration::from_nanos(fraction));
                    let _ = write!(self.text, "{whole}");
                    // The `Z` comes behind the fraction.
                    self.text.pop();
                }
                out.extend_from_slice(&self.text);
                put_fraction(fraction, out);
                out.push(b'Z');
            }
        }
    }
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

/// A point and as many digits as it takes; nothing where it is zero.
fn put_fraction(nanos: u64, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    let mut rest = nanos;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let length = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..length]);
}

/// At most 64 characters of what was found, so that an error stays a line.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_reads_and_writes_the_same_moments() {
        let check = |form: &str, text: &str, seconds: &str| {
            let format = TimeFormat::new(form).unwrap();
            let time = format.read(text).unwrap();
            assert_eq!(time.seconds_text(), seconds, "{form} {text}");
            let mut out = Vec::new();
            TimeWriter::new(Times::Nanos, Some(&format)).write(time, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{form}");
        };
        check("%FT%T", "2024-03-15T12:00:00", "1710504000");
        check("%F %T", "2024-03-15 12:00:00", "1710504000");
        check("%FT%T%.f", "2024-03-15T12:00:00.250", "1710504000.25");
        check("%FT%T%.9f", "2024-03-15T12:00:00.000000001", "1710504000.000000001");
        check("%F", "2024-03-15", "1710460800");
        check("%d/%b/%Y:%H:%M", "15/Mar/2024:12:30", "1710505800");
        check("%s", "1710504000", "1710504000");
        check("%F %T", "2554-07-21 23:34:33", "18446744073");
        let zoned = TimeFormat::new("%d/%b/%Y:%H:%M:%S %z").unwrap();
        assert_eq!(zoned.read("15/Mar/2024:13:00:00 +0100").unwrap().seconds_text(), "1710504000");
        for (form, text) in
            [("%FT%T", "2024-03-15"), ("%F", "2024-02-30"), ("%F", "1969-12-31"), ("%F", "3000-01-01")]
        {
            assert!(TimeFormat::new(form).unwrap().read(text).is_err(), "{form} {text}");
        }
        assert!(TimeFormat::new("%Q").is_err());
        assert!(TimeFormat::new("").is_err());
    }

    #[test]
    fn the_name_of_a_zone_is_written_and_not_read_as_utc() {
        for form in ["%FT%T%Z", "%a %b %e %T %Z %Y"] {
            let told = TimeFormat::for_reading(form).unwrap_err();
            assert!(told.contains(form) && told.contains("use %z"), "{told}");
            let format = TimeFormat::new(form).unwrap();
            assert_eq!(format.read("2024-03-15T12:00:00EST"), Err(told));
        }
        let mut out = Vec::new();
        let zoned = TimeFormat::new("%FT%T%Z").unwrap();
        TimeWriter::new(Times::Nanos, Some(&zoned)).write(Timestamp::from_nanos(0), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "1970-01-01T00:00:00UTC");
        let check = |form: &str, text: &str, seconds: &str| {
            let format = TimeFormat::for_reading(form).unwrap();
            assert_eq!(format.read(text).unwrap().seconds_text(), seconds, "{form} {text}");
        };
        check("%a %b %e %T UTC %Y", "Fri Mar 15 12:00:00 UTC 2024", "1710504000");
        check("%F %T%:z", "2024-03-15 12:00:00-05:00", "1710522000");
        check("%F %T%#z", "2024-03-15 12:00:00+05", "1710486000");
        check("%+", "2024-03-15T12:00:00+01:00", "1710500400");
    }

    #[test]
    fn digits_behind_a_point_are_a_fraction_however_many_there_are() {
        let check = |form: &str, text: &str, seconds: &str| {
            let format = TimeFormat::for_reading(form).unwrap();
            assert_eq!(format.read(text).unwrap().seconds_text(), seconds, "{form} {text}");
        };
        check("%F %T.%f", "2024-03-15 12:00:00.5", "1710504000.5");
        check("%F %T.%f", "2024-03-15 12:00:00.000005", "1710504000.000005");
        check("%F %T.%fZ", "2024-03-15 12:00:00.000000005Z", "1710504000.000000005");
        check("%F %T%.f", "2024-03-15 12:00:00.5", "1710504000.5");
        check("%F %T,%3f", "2024-03-15 12:00:00,005", "1710504000.005");
        check("%s.%f", "1710504000.25", "1710504000.25");
        let told = TimeFormat::for_reading("%F %T,%f").unwrap_err();
        assert!(told.contains("%3f, %6f or %9f"), "{told}");
    }

    #[test]
    fn parts_of_a_time_that_say_different_things_are_refused() {
        for (form, text) in [
            ("%a %F", "Mon 2024-03-15"),
            ("%F %j", "2024-03-15 076"),
            ("%F %q", "2024-03-15 2"),
            ("%F w%V", "2024-03-15 w12"),
            ("%F w%U", "2024-03-15 w11"),
            ("%C %F", "19 2024-03-15"),
            ("%y %F", "23 2024-03-15"),
            ("%F %p %H", "2024-03-15 PM 01"),
            ("%F %I:%M", "2024-03-15 01:30"),
            ("%F %z %:z", "2024-03-15 +0100 +02:00"),
            ("%s %F", "1710504000 2024-03-16"),
        ] {
            assert!(TimeFormat::for_reading(form).unwrap().read(text).is_err(), "{form} {text}");
        }
    }

    #[test]
    fn bare_numbers_count_what_they_are_said_to() {
        let check = |unit: TimeUnit, text: &str, nanos: u64| {
            assert_eq!(
                TimeReader::Plain(unit).read(text).map(Timestamp::nanos),
                Ok(nanos),
                "{unit:?} {text}"
            );
        };
        check(TimeUnit::Ns, "5", 5);
        check(TimeUnit::S, "5", 5_000_000_000);
        check(TimeUnit::S, "5.25", 5_250_000_000);
        check(TimeUnit::Ms, "1.5", 1_500_000);
        check(TimeUnit::Us, "1e3", 1_000_000);
        check(TimeUnit::S, "1970-01-01T00:00:01Z", 1_000_000_000);
        check(TimeUnit::S, "1e-3", 1_000_000);
        for text in ["", "x", "-1", "1e", "99999999999999999999"] {
            assert!(TimeReader::Plain(TimeUnit::S).read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_form_is_written_with_as_many_digits_as_it_takes() {
        let written = |times: Times, nanos: &[u64]| {
            let (mut writer, mut out) = (TimeWriter::new(times, None), Vec::new());
            nanos.iter().for_each(|nanos| {
                writer.write(Timestamp::from_nanos(*nanos), &mut out);
                out.push(b' ');
            });
            String::from_utf8(out).unwrap()
        };
        let nanos = [0, 250_000_000, 1_000_000_001, u64::MAX];
        let expected: String = nanos.iter().map(|n| format!("{} ", Timestamp::from_nanos(*n))).collect();
        assert_eq!(written(Times::Rfc3339, &nanos), expected);
        assert_eq!(written(Times::Seconds, &nanos), "0 0.25 1.000000001 18446744073.709551615 ");
        assert_eq!(written(Times::Nanos, &nanos), "0 250000000 1000000001 18446744073709551615 ");
    }
}
