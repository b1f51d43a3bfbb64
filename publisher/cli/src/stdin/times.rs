//! The times that stand in lines.

use dotter_publisher::Timestamp;

/// Reads seconds since 1970 with an optional fraction, RFC 3339, or the time of an access log.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    // Only a date has a colon; a number may have a minus in its exponent.
    if text.contains(':') { parse_date(text) } else { Timestamp::parse_seconds(text).ok() }
}

/// Reads RFC 3339 or the time of an access log.
pub(super) fn parse_date(text: &str) -> Option<Timestamp> {
    if text.as_bytes().get(2) == Some(&b'/') {
        parse_log_time(text)
    } else {
        Timestamp::parse_rfc3339(text).ok()
    }
}

/// Reads `20/Nov/2026:13:55:36 +0100`.
///
/// Source: nginx's `$time_local`, Apache's `%t` without its brackets.
fn parse_log_time(text: &str) -> Option<Timestamp> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let text: &[u8; 26] = text.as_bytes().try_into().ok()?;
    for (place, mark) in [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')] {
        if text[place] != mark {
            return None;
        }
    }
    let month = MONTHS.iter().position(|month| *month == &text[3..6])? as u8 + 1;
    // The same fields in the order of RFC 3339, whose reader knows calendars, leap seconds and offsets.
    let mut other = *b"yyyy-mm-ddThh:mm:ss+hh:mm";
    other[..4].copy_from_slice(&text[7..11]);
    other[5..7].copy_from_slice(&[b'0' + month / 10, b'0' + month % 10]);
    other[8..10].copy_from_slice(&text[..2]);
    other[11..19].copy_from_slice(&text[12..20]);
    other[19..22].copy_from_slice(&text[21..24]);
    other[23..].copy_from_slice(&text[24..]);
    Timestamp::parse_rfc3339(std::str::from_utf8(&other).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As an access log in a zone `minutes` east of Greenwich shows it: by moving the moment, not the fields.
    fn shown(seconds: u64, minutes: i64) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let local = Timestamp::from_secs(seconds.checked_add_signed(minutes * 60).unwrap()).unwrap();
        let local = local.to_string();
        let month: usize = local[5..7].parse().unwrap();
        let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        format!(
            "{}/{}/{}:{} {sign}{:02}{:02}",
            &local[8..10],
            MONTHS[month - 1],
            &local[..4],
            &local[11..19],
            minutes / 60,
            minutes % 60
        )
    }

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse_time(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn each_of_the_three_shapes_is_read() {
        check("20/Nov/2026:13:55:36 +0100", Some("2026-11-20T12:55:36Z"));
        check("01/Jan/1970:00:00:00 +0000", Some("1970-01-01T00:00:00Z"));
        check("31/Dec/1969:23:00:00 -0130", Some("1970-01-01T00:30:00Z"));
        check("29/Feb/2024:23:59:60 +0000", Some("2024-03-01T00:00:00Z"));
        check("2026-11-20T13:55:36.25+01:00", Some("2026-11-20T12:55:36.25Z"));
        check("1710504000.25", Some("2024-03-15T12:00:00.25Z"));
        check("1.7105040e9", Some("2024-03-15T12:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "-",
            "yesterday",
            "20/Nov/2026:13:55:36",
            "20/Nov/2026:13:55:36 0100",
            "20/Nov/2026:13:55:36 +01:00",
            "20/Nov/2026:13:55:36 +0100 ",
            "20/nov/2026:13:55:36 +0100",
            "20/Now/2026:13:55:36 +0100",
            "20/Nov/2026 13:55:36 +0100",
            "20/Nov/2026:24:55:36 +0100",
            "20/Nov/2026:13:60:36 +0100",
            "20/Nov/2026:13:55:36 +2400",
            "20/Nov/2026:13:55:36 +0160",
            "31/Nov/2026:13:55:36 +0100",
            "29/Feb/2026:13:55:36 +0100",
            "1/Nov/2026:13:55:36 +01000",
            "+1/Nov/2026:13:55:36 +0100",
            "20/Nov/-026:13:55:36 +0100",
            "31/Dec/1969:23:59:59 +0000",
            "20/Növ/2026:13:55:36 +010",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn any_second_in_any_zone_is_read_back(
            seconds in 86_400_u64..18_446_744_073 - 86_400,
            minutes in -1439_i64..=1439,
        ) {
            let expected = Timestamp::from_secs(seconds);
            prop_assert_eq!(parse_time(&shown(seconds, minutes)), expected);
        }

        #[test]
        fn one_changed_byte_is_another_time_or_none(
            seconds in 86_400_u64..18_446_744_073 - 86_400,
            minutes in -1439_i64..=1439,
            place in 0_usize..26,
            byte in 0_u8..128,
        ) {
            let text = shown(seconds, minutes);
            let mut bytes = text.clone().into_bytes();
            bytes[place] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            // -0000 and +0000 are one zone.
            if changed != text && !(minutes == 0 && place == 21) {
                prop_assert_ne!(parse_time(&changed), Timestamp::from_secs(seconds));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let _ = parse_time(&text);
            let _ = parse_date(&text);
        }
    }
}
