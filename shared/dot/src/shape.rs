//! What the values of a series look like and mean: format, unit, kind, names of the columns.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::{Format, Kind, Letter};

/// The longest unit and the longest name of a column, in bytes.
pub const LABEL_BYTES_MAX: usize = 255;

/// The shape of a value. Cheap to clone. Two shapes are equal where format, unit, kind and names of columns are.
///
/// Always true: it names no columns or each of them; unit and names have at most [`LABEL_BYTES_MAX`] bytes and no
/// control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(Arc<Inner>);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    format: Format,
    unit: Box<str>,
    kind: Kind,
    columns: Box<[Box<str>]>,
}

/// Why something is no [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// Neither no names of columns nor one for each.
    Columns {
        /// How many names.
        found: usize,
        /// How many columns.
        expected: usize,
    },
    /// A unit or a name of more than [`LABEL_BYTES_MAX`] bytes; how many.
    TooLong(usize),
    /// A unit or a name with a control character; which.
    Control(char),
}

static NUMBER: LazyLock<Shape> = LazyLock::new(|| Shape::from(Format::number()));

impl Shape {
    /// A shape of a kind that nobody has said; see [`Shape::with_kind`].
    ///
    /// - `unit`: empty where it is not known
    /// - `columns`: names of the columns; none, or one for each
    ///
    /// # Errors
    ///
    /// [`ShapeError`] says what is wrong with it.
    pub fn new<T: AsRef<str>>(format: Format, unit: &str, columns: &[T]) -> Result<Shape, ShapeError> {
        if !columns.is_empty() && columns.len() != format.len() {
            return Err(ShapeError::Columns { found: columns.len(), expected: format.len() });
        }
        for label in columns.iter().map(AsRef::as_ref).chain([unit]) {
            if label.len() > LABEL_BYTES_MAX {
                return Err(ShapeError::TooLong(label.len()));
            }
            if let Some(control) = label.chars().find(|letter| letter.is_control()) {
                return Err(ShapeError::Control(control));
            }
        }
        let columns = columns.iter().map(|name| name.as_ref().into()).collect();
        Ok(Shape(Arc::new(Inner { format, unit: unit.into(), kind: Kind::Unsaid, columns })))
    }

    /// The same shape, of this kind.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Shape {
        if self.0.kind != kind {
            Arc::make_mut(&mut self.0).kind = kind;
        }
        self
    }

    /// One f64 of no unit and of no kind that anybody has said; makes nothing.
    pub fn number() -> Shape {
        NUMBER.clone()
    }

    /// The letters.
    #[inline]
    pub fn format(&self) -> &Format {
        &self.0.format
    }

    /// The letter where a value is one word, as [`Format::word`].
    #[inline]
    pub fn word(&self) -> Option<Letter> {
        self.0.format.word()
    }

    /// Whether a value is a text, as [`Format::is_text`].
    #[inline]
    pub fn is_text(&self) -> bool {
        self.0.format.is_text()
    }

    /// Whether every dot is some observations of one value: rows of a value and how many, `FU`, of a histogram.
    #[inline]
    pub fn is_weighted(&self) -> bool {
        self.kind() == Kind::Histogram && self.0.format.as_str() == "FU"
    }

    /// Unit of the values; empty where it is not known.
    pub fn unit(&self) -> &str {
        &self.0.unit
    }

    /// What the values mean.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Names of the columns: none, or as many as there are letters.
    pub fn columns(&self) -> &[Box<str>] {
        &self.0.columns
    }

    /// Whether it says nothing beside the format: no unit, no kind, no names of columns.
    pub fn is_format_alone(&self) -> bool {
        self.unit().is_empty() && self.kind() == Kind::Unsaid && self.columns().is_empty()
    }

    /// Whether both are the same one in memory, which is a quick way to see that they are equal.
    #[inline]
    pub fn is(&self, other: &Shape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Format> for Shape {
    fn from(format: Format) -> Shape {
        Shape(Arc::new(Inner { format, unit: "".into(), kind: Kind::Unsaid, columns: Box::default() }))
    }
}

impl Default for Shape {
    fn default() -> Shape {
        Shape::number()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {} {:?}", self.0.format, self.0.unit, self.0.kind, self.0.columns)
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeError::Columns { found, expected } => {
                write!(f, "{found} names of columns, expected none or {expected}")
            }
            ShapeError::TooLong(bytes) => {
                write!(f, "a unit or a column's name of {bytes} bytes, at most {LABEL_BYTES_MAX} are kept")
            }
            ShapeError::Control(found) => {
                write!(f, "a unit or a column's name with the control character {found:?}")
            }
        }
    }
}

impl std::error::Error for ShapeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_names_none_of_its_columns_or_all() {
        let format = || Format::new("Fs").unwrap();
        let shape = Shape::new(format(), "ms", &["took", "path"]).unwrap();
        assert_eq!((shape.format().as_str(), shape.unit(), shape.columns().len()), ("Fs", "ms", 2));
        assert_eq!(Shape::new::<&str>(format(), "", &[]), Ok(Shape::from(format())));
        assert_eq!(Shape::new(format(), "", &["took"]), Err(ShapeError::Columns { found: 1, expected: 2 }));
        assert_eq!(Shape::new(format(), "", &["a", &"x".repeat(256)]), Err(ShapeError::TooLong(256)));
        assert_eq!(Shape::new(format(), "m\ns", &["a", "b"]), Err(ShapeError::Control('\n')));
    }

    #[test]
    fn shapes_of_two_kinds_are_two_shapes() {
        let unsaid = Shape::new(Format::number(), "s", &["took"]).unwrap();
        let counter = unsaid.clone().with_kind(Kind::Counter);
        assert_eq!((unsaid.kind(), counter.kind()), (Kind::Unsaid, Kind::Counter));
        assert_eq!((counter.unit(), counter.columns()), (unsaid.unit(), unsaid.columns()));
        assert_ne!(unsaid, counter);
        assert_eq!(std::collections::HashSet::from([unsaid.clone(), counter.clone()]).len(), 2);
        assert_eq!(counter.with_kind(Kind::Unsaid), unsaid);
        assert!(Shape::number().with_kind(Kind::Unsaid).is(&Shape::number()), "nothing is made");
        assert_eq!(Shape::number().with_kind(Kind::Gauge).kind(), Kind::Gauge);
        assert_eq!(Shape::number().kind(), Kind::Unsaid, "the plain number stays what it was");
    }

    #[test]
    fn a_value_and_how_often_of_a_histogram_is_weighted() {
        let check = |letters: &str, kind: Kind| {
            Shape::new(Format::new(letters).unwrap(), "s", &[""; 0]).unwrap().with_kind(kind).is_weighted()
        };
        assert!(check("FU", Kind::Histogram));
        for (letters, kind) in [
            ("FU", Kind::Unsaid),
            ("FU", Kind::Gauge),
            ("F", Kind::Histogram),
            ("fU", Kind::Histogram),
            ("Fu", Kind::Histogram),
            ("FUU", Kind::Histogram),
        ] {
            assert!(!check(letters, kind), "{letters} {kind}");
        }
    }

    #[test]
    fn the_plain_number_is_made_once() {
        assert!(Shape::number().is(&Shape::default()));
        assert_eq!(Shape::number(), Shape::from(Format::number()));
        let named = Shape::new(Format::number(), "", &["took"]).unwrap();
        let unit = Shape::new::<&str>(Format::number(), "ms", &[]).unwrap();
        assert!(Shape::number().is_format_alone());
        assert!(![named, unit, Shape::number().with_kind(Kind::Gauge)].iter().any(Shape::is_format_alone));
    }
}
