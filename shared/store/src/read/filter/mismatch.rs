//! Conditions that nothing can fulfil because of the types of the columns they name.

use std::fmt;

use dotter_dot::{Letter, Shape};

use crate::read::filter::condition::{Column, Condition, Field};
use crate::read::filter::{Filter, Node};

/// What an expression takes a column for, and what that column is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A column that is compared with a number or a text, or searched for one, holds raw bytes wherever it is; its name.
    IsBytes(String),
    /// A column that is compared with raw bytes, or searched for some, holds none wherever it is; its name.
    IsNoBytes(String),
}

impl Filter {
    /// The first condition that is false of every row because it takes raw bytes for something else, or something else
    /// for raw bytes; `None` where one of the shapes goes with each condition, or none has the column.
    ///
    /// - `shapes`: those of the rows that are asked
    pub fn mismatch(&self, shapes: &[Shape]) -> Option<Mismatch> {
        of_node(&self.root, shapes)
    }
}

fn of_node(node: &Node, shapes: &[Shape]) -> Option<Mismatch> {
    match node {
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().find_map(|node| of_node(node, shapes)),
        Node::Not(node) => of_node(node, shapes),
        Node::Condition(Condition::Bytes(column, _)) => (has_column(column, shapes)
            && !has(column, shapes, |letter| letter == Letter::Bytes))
        .then(|| Mismatch::IsNoBytes(column.name().to_owned())),
        Node::Condition(Condition::Text(Field::Column(column), _) | Condition::Number(column, ..)) => {
            (has_column(column, shapes) && !has(column, shapes, |letter| letter != Letter::Bytes))
                .then(|| Mismatch::IsBytes(column.name().to_owned()))
        }
        Node::Condition(_) => None,
    }
}

fn has_column(column: &Column, shapes: &[Shape]) -> bool {
    has(column, shapes, |_| true)
}

/// Whether the column is in one of the shapes and its letter there passes.
fn has(column: &Column, shapes: &[Shape], passes: impl Fn(Letter) -> bool) -> bool {
    shapes.iter().any(|shape| {
        let letter = column.place(shape).and_then(|place| shape.format().letters().nth(place));
        letter.is_some_and(&passes)
    })
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::IsBytes(column) => write!(
                f,
                "column '{column}' holds raw bytes, expected hex digits such as 0x00ff beside it and one of = != < <= \
                 > >= contains starts ends"
            ),
            Mismatch::IsNoBytes(column) => {
                write!(
                    f,
                    "column '{column}' holds no raw bytes, expected a decimal number or a text in quotes beside it"
                )
            }
        }
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use dotter_dot::Format;

    use super::*;

    #[test]
    fn a_condition_that_takes_raw_bytes_for_something_else_is_named() {
        let shape =
            |letters: &str, columns: &[&str]| Shape::new(Format::new(letters).unwrap(), "", columns).unwrap();
        let shapes = [
            shape("b", &[]),
            shape("bsU", &["id", "path", "code"]),
            shape("F", &["took"]),
            shape("s", &["took"]),
        ];
        let check = |text: &str, expected: Option<Mismatch>| {
            assert_eq!(Filter::new(text).unwrap().mismatch(&shapes), expected, "{text}");
        };
        let is_bytes = |column: &str| Some(Mismatch::IsBytes(column.to_owned()));
        let is_no_bytes = |column: &str| Some(Mismatch::IsNoBytes(column.to_owned()));
        check("id = 'a'", is_bytes("id"));
        check("code > 5 and not (id =~ 'a' or id = 0x00)", is_bytes("id"));
        check("id > 5", is_bytes("id"));
        check("code = 0x10", is_no_bytes("code"));
        check("path contains 0x10 or key = 'a'", is_no_bytes("path"));
        check("took = 0x10", is_no_bytes("took"));
        // Somewhere it is of that type; or there is no such column.
        check("id = 0x00 and value = 0x00 and value > 5 and value = 'a' and took > 1 and took = 'a'", None);
        check("nowhere = 0x00 or nowhere = 'a' or id = path or key = 'a' or time > 5", None);
        assert_eq!(Filter::new("value = 0x00").unwrap().mismatch(&[]), None);
    }
}
