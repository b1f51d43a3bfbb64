//! Which columns of a row are wanted: `1,3-5,took`.

use dotter_dot::{COLUMNS_MAX, Shape};

/// In the order they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns(Vec<Column>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Named(String),
    /// From 0, both included.
    Numbers(usize, usize),
}

impl Columns {
    /// Their places in rows of a shape; what a shape does not have is left out.
    pub(crate) fn places(&self, shape: &Shape) -> Vec<usize> {
        let count = shape.format().len();
        let mut places = Vec::new();
        for column in &self.0 {
            match column {
                Column::Named(name) => {
                    places.extend(shape.columns().iter().position(|column| **column == **name));
                }
                Column::Numbers(first, last) => {
                    places.extend((*first..=*last).take_while(|place| *place < count))
                }
            }
        }
        places
    }
}

impl std::str::FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Columns, String> {
        let number = |text: &str| match text.parse::<usize>() {
            Ok(number @ 1..=COLUMNS_MAX) => Ok(number - 1),
            _ => Err(format!("'{text}' is not the number of a column, 1 to {COLUMNS_MAX}")),
        };
        let column = |part: &str| -> Result<Column, String> {
            if part.is_empty() {
                return Err("a column without a name".to_owned());
            }
            if !part.starts_with(|letter: char| letter.is_ascii_digit()) {
                return Ok(Column::Named(part.to_owned()));
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(format!("'{part}' ends before it begins"));
            }
            Ok(Column::Numbers(first, last))
        };
        text.split(',').map(|part| column(part.trim())).collect::<Result<_, _>>().map(Columns)
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Format;

    use super::*;

    #[test]
    fn columns_are_numbers_ranges_and_names() {
        let shape = Shape::new(Format::new("sUFF").unwrap(), "", &["path", "code", "took", "sent"]).unwrap();
        let check = |text: &str, expected: &[usize]| {
            assert_eq!(text.parse::<Columns>().unwrap().places(&shape), expected, "{text}");
        };
        check("1", &[0]);
        check("4,1-2", &[3, 0, 1]);
        check("sent, path", &[3, 0]);
        check("3-64,nothing", &[2, 3]);
        for text in ["", "0", "65", "2-1", "1,,2", "1x", "1-"] {
            assert!(text.parse::<Columns>().is_err(), "{text}");
        }
    }
}
