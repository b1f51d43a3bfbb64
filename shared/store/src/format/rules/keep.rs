//! Retentions as text: `10s:1d, 1m:30d, 1h:5y`, each a step and how long it is kept.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::format::rules::ArchiveRule;

/// The most archives of a rule.
const ARCHIVES_MAX: usize = 16;

/// What a text of retentions says.
#[derive(Debug)]
pub(super) struct Kept {
    /// The step of the first retention; `None` for `raw`.
    pub(super) interval: Option<Duration>,
    /// How long dots are kept as they came.
    pub(super) raw: Duration,
    /// The other retentions.
    pub(super) archives: Vec<ArchiveRule>,
}

/// Reads `10s:1d, 1m:30d, 1h:5y`: the first is how long dots are kept as they came, and may say `raw`.
///
/// Source: Graphite's `storage-schemas.conf`, with Whisper's demands on neighbouring archives: each step a multiple
/// of the one before, and kept for longer. A bare number before the colon is seconds, behind it steps.
pub(super) fn retentions(text: &str) -> Result<Kept, String> {
    let mut found: Vec<ArchiveRule> = Vec::new();
    let mut interval = None;
    for part in text.split(',') {
        let part = part.trim();
        let (step_text, keep_text) = part
            .split_once(':')
            .ok_or_else(|| format!("'{part}' is no retention, expected as in '1m:30d'"))?;
        let step = match step_text.trim() {
            // Dots have no step of their own.
            "raw" if found.is_empty() => Duration::from_nanos(1),
            step => duration(step)?,
        };
        let keep = match keep_text.trim() {
            steps if steps.bytes().all(|byte| byte.is_ascii_digit()) => {
                let steps = steps.parse().map_err(|_| format!("'{steps}' steps are too many"))?;
                step.checked_mul(steps).ok_or_else(|| format!("'{steps}' steps are too many"))?
            }
            keep => duration(keep)?,
        };
        if step.is_zero() || keep < step || keep > LONGEST {
            return Err(format!("'{part}' keeps less than one step or more than 584 years"));
        }
        if let Some(before) = found.last() {
            if !step.as_nanos().is_multiple_of(before.step.as_nanos()) || step == before.step {
                return Err(format!("the step of '{part}' is no multiple of the one before it"));
            }
            if keep <= before.keep {
                return Err(format!("'{part}' is not kept longer than the one before it"));
            }
        }
        if found.is_empty() && step_text.trim() != "raw" {
            interval = Some(step);
        }
        found.push(ArchiveRule { step, keep });
    }
    if found.len() > ARCHIVES_MAX {
        return Err(format!("{} archives, at most {ARCHIVES_MAX} are kept", found.len()));
    }
    let first = found.remove(0);
    Ok(Kept { interval, raw: first.keep, archives: found })
}

/// The steps in which observations of histograms may be put together.
pub(super) const CONDENSE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Reads the step of `condense`.
pub(super) fn condense(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no step to condense by, which lies between 1s and 1h");
    Some(duration(text)?).filter(|step| CONDENSE.contains(step)).ok_or_else(wrong)
}

/// Whether these could have been read from a text by [`retentions`].
pub(super) fn is_sound(kept: &Kept) -> bool {
    let Kept { interval, raw, archives } = kept;
    let step = interval.unwrap_or(Duration::from_nanos(1));
    let mut before = ArchiveRule { step, keep: *raw };
    let is_first_sound = !step.is_zero() && *raw >= step && *raw <= LONGEST;
    is_first_sound
        && archives.len() < ARCHIVES_MAX
        && archives.iter().all(|archive| {
            let finer = std::mem::replace(&mut before, *archive);
            archive.step > finer.step
                && archive.step.as_nanos().is_multiple_of(finer.step.as_nanos())
                && archive.keep > finer.keep
                && archive.keep >= archive.step
                && archive.keep <= LONGEST
        })
}

/// The longest time that can be kept.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// A whole number and a unit: s, m, h, d, w, y, or the beginning of the word for it; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no length of time, expected as in 10s, 5m, 1h, 30d, 2w or 5y");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let units = [
        ("seconds", 1),
        ("minutes", 60),
        ("hours", 3_600),
        ("days", 86_400),
        ("weeks", 7 * 86_400),
        ("years", 365 * 86_400),
    ];
    let seconds = match unit {
        "" => 1,
        unit => units.iter().find(|(word, _)| word.starts_with(unit)).ok_or_else(wrong)?.1,
    };
    number.checked_mul(seconds).map(Duration::from_secs).filter(|length| *length <= LONGEST).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retentions_are_read_as_graphite_reads_them() {
        let read = |text| {
            let Kept { raw, archives, .. } = retentions(text)?;
            let seconds = |archive: &ArchiveRule| (archive.step.as_secs(), archive.keep.as_secs());
            Ok::<_, String>((raw.as_secs(), archives.iter().map(seconds).collect::<Vec<_>>()))
        };
        assert_eq!(read("10s:1d,1m:30d, 1h:5y"), Ok((86_400, vec![(60, 2_592_000), (3_600, 157_680_000)])));
        assert_eq!(read("60:1440"), Ok((86_400, vec![])));
        assert_eq!(read("raw:2weeks,5min:1years"), Ok((1_209_600, vec![(300, 31_536_000)])));
        assert_eq!(read("1m:60,15m:96"), Ok((3_600, vec![(900, 86_400)])));
        let interval = |text| retentions(text).unwrap().interval.map(|interval| interval.as_secs());
        assert_eq!((interval("10s:1d,1m:30d"), interval("raw:1d,1m:30d")), (Some(10), None));
        for (text, told) in [
            ("", "no retention"),
            ("10s", "no retention"),
            ("10q:1d", "'10q' is no length of time"),
            ("x:1d", "'x' is no length"),
            ("0s:1d", "less than one step"),
            ("1h:1m", "less than one step"),
            ("10s:1d,15s:2d", "no multiple"),
            ("10s:1d,10s:2d", "no multiple"),
            ("10s:1d,1m:1d", "not kept longer"),
            ("10s:1d,raw:2d", "'raw' is no length"),
            ("1s:999999999999999999999", "too many"),
            ("1y:999y", "'999y' is no length of time"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_keeps_whispers_demands(parts in prop::collection::vec((0..5_000_u64, 0..100_000_u64), 1..6)) {
            let text: Vec<String> = parts.iter().map(|(step, keep)| format!("{step}s:{keep}s")).collect();
            if let Ok(kept) = retentions(&text.join(",")) {
                prop_assert!(is_sound(&kept));
                let Kept { raw, archives, .. } = kept;
                let mut kept = raw;
                for archive in archives {
                    prop_assert!(archive.keep > kept && !archive.step.is_zero());
                    kept = archive.keep;
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[:a-z0-9, ]{0,80}") {
            let _ = retentions(&text);
        }
    }
}
