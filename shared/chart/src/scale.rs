//! The value axis: round numbers at even distances, written with SI prefixes.

/// An axis from one round number to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueScale {
    /// The lowest value drawn.
    pub low: f64,
    /// The highest value drawn.
    pub high: f64,
    /// From tick to tick: 1, 2 or 5 times a power of ten.
    pub step: f64,
}

impl ValueScale {
    /// An axis that holds every finite value, with about `ticks` ticks; 0 to 1 where there is none.
    ///
    /// Zero is on it where that costs less than a third of the height.
    pub fn new(values: impl IntoIterator<Item = f64>, ticks: u32) -> ValueScale {
        // Halved so that no sum or difference below can overflow; a chart has no use for the last bits.
        let bounded = values.into_iter().filter(|value| value.is_finite()).map(|v| v.clamp(-1e300, 1e300));
        let (mut low, mut high) =
            bounded.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && (low < high / 3.0 || low == high) {
            low = 0.0;
        } else if high < 0.0 && (high > low / 3.0 || low == high) {
            high = 0.0;
        } else if low == high {
            high = 1.0;
        }
        let step = round_step((high - low) / f64::from(ticks.max(1)));
        ValueScale { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// The ticks, lowest first, each with its text.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let count = ((self.high - self.low) / self.step).round().clamp(0.0, 100.0) as u32;
        let unit = Unit::of(self.low.abs().max(self.high.abs()));
        let digits = unit.digits(self.step);
        (0..=count)
            .map(|index| {
                // From whole steps, so that no error adds up and zero is zero.
                let value = ((self.low / self.step).round() + f64::from(index)) * self.step;
                (value, unit.write(value, digits))
            })
            .collect()
    }
}

/// A number as a reader takes it in: four digits at most and an SI prefix, `1.234k`, `56.7M`, `0.002`.
pub fn si(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "–".into()
        } else if value > 0.0 {
            "∞".into()
        } else {
            "−∞".into()
        };
    }
    let unit = Unit::of(value);
    let scaled = (value / unit.worth).abs();
    if scaled >= 1e6 {
        return format!("{:.2e}{}", value / unit.worth, unit.prefix).replace('-', "−");
    }
    let whole = if scaled >= 1.0 { scaled.log10().floor() as usize + 1 } else { 1 };
    let digits = if scaled > 0.0 && scaled < 1.0 {
        // Leading zeros of the fraction are not digits of the number.
        (3.0 - scaled.log10().floor() - 1.0).clamp(0.0, 6.0) as usize
    } else {
        4_usize.saturating_sub(whole)
    };
    let text = format!("{:.digits$}", value / unit.worth);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{}", text.replace('-', "−"), unit.prefix)
}

/// A power of a thousand and the letter for it.
#[derive(Clone, Copy)]
struct Unit {
    worth: f64,
    prefix: &'static str,
}

/// Thousandths are written out: `0.25` reads better than `250m`.
const UNITS: [Unit; 9] = [
    Unit { worth: 1e18, prefix: "E" },
    Unit { worth: 1e15, prefix: "P" },
    Unit { worth: 1e12, prefix: "T" },
    Unit { worth: 1e9, prefix: "G" },
    Unit { worth: 1e6, prefix: "M" },
    Unit { worth: 1e3, prefix: "k" },
    Unit { worth: 1.0, prefix: "" },
    Unit { worth: 1e-6, prefix: "µ" },
    Unit { worth: 1e-9, prefix: "n" },
];

impl Unit {
    fn of(value: f64) -> Unit {
        let value = value.abs();
        let plain = Unit { worth: 1.0, prefix: "" };
        if value == 0.0 || (0.001..999.95).contains(&value) {
            return plain;
        }
        UNITS.into_iter().find(|unit| value >= unit.worth * 0.9995).unwrap_or(plain)
    }

    /// Digits behind the point that tell neighbouring ticks apart.
    fn digits(self, step: f64) -> usize {
        (-(step / self.worth).log10().floor()).clamp(0.0, 9.0) as usize
    }

    fn write(self, value: f64, digits: usize) -> String {
        if value == 0.0 {
            return "0".into();
        }
        let scaled = value / self.worth;
        if scaled.abs() >= 1e6 || digits >= 9 {
            return format!("{scaled:.1e}{}", self.prefix);
        }
        format!("{scaled:.digits$}{}", self.prefix).replace('-', "−")
    }
}

/// The least of 1, 2, 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-300).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    step.into_iter().find(|step| *step >= least * 0.999_999).unwrap_or(step[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        let check = |values: &[f64], ticks: u32, expected: &[&str]| {
            let scale = ValueScale::new(values.iter().copied(), ticks);
            let texts: Vec<String> = scale.ticks().into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts, expected, "{values:?}");
        };
        check(&[0.0, 1.0], 5, &["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&[3.0, 97.0], 4, &["0", "50", "100"]);
        check(&[90.0, 97.0], 4, &["90", "92", "94", "96", "98"]);
        check(&[1200.0, 4200.0], 3, &["0", "2k", "4k", "6k"]);
        check(&[-0.5, 0.5], 4, &["−0.5", "0", "0.5"]);
        check(&[5.0], 2, &["0", "5"]);
        check(&[0.0], 2, &["0", "0.5", "1.0"]);
        check(&[f64::NAN, f64::INFINITY], 2, &["0", "0.5", "1.0"]);
        check(&[2.0e9, 2.1e9], 2, &["2.00G", "2.05G", "2.10G"]);
        check(&[1e-8, 2e-8], 2, &["10n", "15n", "20n"]);
    }

    #[test]
    fn extremes_make_an_axis_too() {
        for values in
            [[f64::MAX, f64::MIN], [f64::MIN_POSITIVE, 0.0], [1e300, 1e300 * 1.000_001], [1.0, 1.0 + 1e-15]]
        {
            let scale = ValueScale::new(values, 5);
            assert!(
                scale.low.is_finite() && scale.high > scale.low && scale.step > 0.0,
                "{values:?} {scale:?}"
            );
            assert!(scale.ticks().len() <= 101);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-12.5, "−12.5"),
            (1234.0, "1.234k"),
            (56_700_000.0, "56.7M"),
            (999.96, "1k"),
            (0.25, "0.25"),
            (0.001_234, "0.00123"),
            (0.000_001_5, "1.5µ"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "−∞"),
            (-1e300, "−1.00e282E"),
        ] {
            assert_eq!(si(value), expected);
        }
    }
}
