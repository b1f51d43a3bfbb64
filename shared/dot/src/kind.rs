//! What the numbers of a series mean.

use std::fmt;

/// What the numbers of a series mean: one byte of its shape, beside the unit. Codes are only ever added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Nobody has said.
    #[default]
    Unsaid = 0,
    /// A level that goes up and down.
    Gauge = 1,
    /// A total that only grows.
    Counter = 2,
    /// Every dot is one observation.
    Histogram = 3,
    /// How much was added since the dot before.
    Delta = 4,
    /// Which of several states something is in.
    State = 5,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Kind; 6] =
        [Kind::Unsaid, Kind::Gauge, Kind::Counter, Kind::Histogram, Kind::Delta, Kind::State];

    /// The byte that stands for it in files.
    #[inline]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a byte; `None` where this build knows none.
    pub fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Unsaid => "unsaid",
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Delta => "delta",
            Kind::State => "state",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_code_and_no_other_byte_is_one() {
        let codes: Vec<u8> = (0..=u8::MAX).filter(|code| Kind::from_code(*code).is_some()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
        assert!(codes.iter().all(|code| Kind::from_code(*code).unwrap().code() == *code));
        assert_eq!((Kind::default(), Kind::Counter.code()), (Kind::Unsaid, 2));
    }
}
