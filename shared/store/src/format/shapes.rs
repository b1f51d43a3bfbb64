//! Shapes as they stand in files, and each of them once in memory.

use std::collections::HashMap;

use dotter_dot::{Format, Shape, put_varint};

use crate::format::bytes::{Fields, put_text};

/// Appends format, unit and names of the columns.
pub(crate) fn put_shape(out: &mut Vec<u8>, shape: &Shape) {
    put_text(out, shape.format().as_str());
    put_text(out, shape.unit());
    put_varint(out, shape.columns().len() as u64);
    shape.columns().iter().for_each(|name| put_text(out, name));
}

/// Reads what [`put_shape`] wrote; `None` where it is no shape.
pub(crate) fn take_shape(fields: &mut Fields<'_>) -> Option<Shape> {
    let (format, unit) = (fields.text()?, fields.text()?);
    let count = fields.count(1)?;
    if count == 0 && unit.is_empty() && format == "F" {
        // What nearly every series has is made once.
        return Some(Shape::number());
    }
    let columns = (0..count).map(|_| fields.text()).collect::<Option<Vec<_>>>()?;
    Shape::new(Format::new(format).ok()?, unit, &columns).ok()
}

/// Shapes by number, in the order they were met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    shapes: Vec<Shape>,
    numbers: HashMap<Shape, u32>,
}

impl Shapes {
    /// The number of a shape, which it gets where it has none yet.
    pub(crate) fn number(&mut self, shape: &Shape) -> u32 {
        if let Some(number) = self.numbers.get(shape) {
            return *number;
        }
        let number = self.shapes.len() as u32;
        self.shapes.push(shape.clone());
        self.numbers.insert(shape.clone(), number);
        number
    }

    /// The one in memory that is equal.
    pub(crate) fn intern(&mut self, shape: Shape) -> Shape {
        if shape.is(&Shape::number()) {
            return shape;
        }
        let number = self.number(&shape);
        self.shapes[number as usize].clone()
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[Shape] {
        &self.shapes
    }
}
