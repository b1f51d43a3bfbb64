//! Shapes: their bytes in files, and a table that holds each shape once in memory.

use std::collections::HashMap;

use dotter_dot::{Format, Kind, Shape, put_varint};

use crate::format::bytes::{Fields, put_text};

/// Appends format, unit, kind and names of the columns.
pub(crate) fn put_shape(out: &mut Vec<u8>, shape: &Shape) {
    put_text(out, shape.format().as_str());
    put_text(out, shape.unit());
    out.push(shape.kind().code());
    put_varint(out, shape.columns().len() as u64);
    shape.columns().iter().for_each(|name| put_text(out, name));
}

/// Reads what [`put_shape`] wrote; `None` where it is no shape, or has a kind that this build does not know.
pub(crate) fn take_shape(fields: &mut Fields<'_>) -> Option<Shape> {
    let (format, unit) = (fields.text()?, fields.text()?);
    let kind = Kind::from_code(fields.byte()?)?;
    let count = fields.count(1)?;
    if count == 0 && unit.is_empty() && format == "F" && kind == Kind::Unsaid {
        // Nearly every series has the shape of one plain number: it is made once and shared.
        return Some(Shape::number());
    }
    let columns = (0..count).map(|_| fields.text()).collect::<Option<Vec<_>>>()?;
    Some(Shape::new(Format::new(format).ok()?, unit, &columns).ok()?.with_kind(kind))
}

/// Shapes, numbered in the order in which they were first met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    shapes: Vec<Shape>,
    numbers: HashMap<Shape, u32>,
    /// The number that was given last.
    last: u32,
}

impl Shapes {
    /// The number of a shape; a new shape gets the next number.
    pub(crate) fn number(&mut self, shape: &Shape) -> u32 {
        // Most of the time the same shape is asked for again and again.
        if self.shapes.get(self.last as usize).is_some_and(|last| last.is(shape)) {
            return self.last;
        }
        self.last = self.numbers.get(shape).copied().unwrap_or_else(|| {
            let number = self.shapes.len() as u32;
            self.shapes.push(shape.clone());
            self.numbers.insert(shape.clone(), number);
            number
        });
        self.last
    }

    /// The equal shape that is in the table already, so that memory is shared.
    pub(crate) fn intern(&mut self, shape: Shape) -> Shape {
        if shape.is(&Shape::number()) {
            return shape;
        }
        let number = self.number(&shape);
        self.shapes[number as usize].clone()
    }

    /// All shapes by number.
    pub(crate) fn as_slice(&self) -> &[Shape] {
        &self.shapes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(shape: &Shape) -> Vec<u8> {
        let mut out = Vec::new();
        put_shape(&mut out, shape);
        out
    }

    #[test]
    fn a_kind_that_nobody_knows_is_damage() {
        let shape = Shape::new(Format::number(), "ms", &["took"]).unwrap();
        let bytes = encoded(&shape);
        // Behind the text of the format, two bytes, and that of the unit, three.
        let of = |kind: u8| take_shape(&mut Fields(&[&bytes[..5], &[kind], &bytes[6..]].concat()));
        assert_eq!(of(2), Some(shape.with_kind(Kind::Counter)));
        assert_eq!((of(6), of(255)), (None, None));
    }

    proptest! {
        #[test]
        fn shapes_come_back_as_they_were(
            letters in "[fFuUiIsb]{1,9}",
            unit in "[a-z/°]{0,5}",
            kind in 0..Kind::ALL.len(),
            name in "[a-z é]{0,5}",
            is_named in any::<bool>(),
        ) {
            let columns = if is_named { vec![name; letters.len()] } else { Vec::new() };
            let format = Format::new(&letters).unwrap();
            let shape = Shape::new(format, &unit, &columns).unwrap().with_kind(Kind::ALL[kind]);
            let bytes = encoded(&shape);
            let mut fields = Fields(&bytes);
            prop_assert_eq!(take_shape(&mut fields), Some(shape));
            prop_assert!(fields.0.is_empty());
            for cut in 0..bytes.len() {
                prop_assert_eq!(take_shape(&mut Fields(&bytes[..cut])), None, "cut at {}", cut);
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = take_shape(&mut Fields(&bytes));
        }
    }
}
