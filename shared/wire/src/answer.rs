//! What the collector says back.

use dotter_dot::{Incarnation, Reason};
use serde_json::{Value, json};

use crate::DecodeError;

/// The answer to a batch, a finish or a question.
///
/// With status 200 it is the ack, with 409 it says what is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The store's id, as text; another one means another store.
    pub store: String,
    /// Whether what is acked has been synced to disk.
    pub durable: bool,
    /// The ring it is about.
    pub incarnation: Incarnation,
    /// Whether the ring has finished. With status 200 and without lanes it says that all of the ring is kept, or was
    /// counted as lost or refused, and nothing more of it is wanted.
    pub finished: bool,
    /// Per lane the next record number wanted.
    pub lanes: Vec<(u32, u64)>,
    /// Records that were refused for good: lane, first, next, reason.
    pub refused: Vec<(u32, u64, u64, Reason)>,
}

impl Answer {
    /// The next record number wanted of `lane`; `None` where the answer does not name it.
    pub fn next(&self, lane: u32) -> Option<u64> {
        self.lanes.iter().find(|(of, _)| *of == lane).map(|(_, next)| *next)
    }

    /// Whether it says, with status 200, that the ring had finished before: all of it is kept, and nothing is wanted.
    pub fn is_kept(&self) -> bool {
        self.finished && self.lanes.is_empty()
    }

    /// The body of the HTTP answer.
    pub fn to_json(&self) -> String {
        let refused: Vec<_> =
            self.refused.iter().map(|(l, f, n, reason)| json!([l, f, n, reason.0])).collect();
        json!({
            "store": self.store,
            "durable": self.durable,
            "incarnation": self.incarnation.to_string(),
            "finished": self.finished,
            "lanes": self.lanes,
            "refused": refused,
        })
        .to_string()
    }

    /// Reads the body of an HTTP answer. Fields it does not know are skipped.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Json`] where it is not JSON at all, [`DecodeError::Field`] where one of the six is missing,
    /// of another type, or out of range; `finished` alone may be missing, and is false then.
    pub fn from_json(text: &str) -> Result<Answer, DecodeError> {
        let value: Value = serde_json::from_str(text).map_err(DecodeError::Json)?;
        let missing = |field, expected| DecodeError::Field { field, expected };
        let store = value["store"].as_str().ok_or(missing("store", "a text"))?;
        let durable = value["durable"].as_bool().ok_or(missing("durable", "true or false"))?;
        let incarnation = value["incarnation"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or(missing("incarnation", "32 lower-case hex digits"))?;
        let finished = match &value["finished"] {
            Value::Null => false,
            other => other.as_bool().ok_or(missing("finished", "true or false"))?,
        };
        let lanes = rows(&value["lanes"], |row: [u64; 2]| Some((u32::try_from(row[0]).ok()?, row[1])))
            .ok_or(missing("lanes", "a list of [lane, next]"))?;
        let refused = rows(&value["refused"], |[lane, first, next, reason]: [u64; 4]| {
            let in_order = first <= next;
            in_order.then_some((u32::try_from(lane).ok()?, first, next, Reason(u8::try_from(reason).ok()?)))
        })
        .ok_or(missing("refused", "a list of [lane, first, next, reason]"))?;
        Ok(Answer { store: store.to_owned(), durable, incarnation, finished, lanes, refused })
    }
}

/// A list of rows of `N` whole numbers each.
fn rows<const N: usize, T>(value: &Value, take: impl Fn([u64; N]) -> Option<T>) -> Option<Vec<T>> {
    let row = |row: &Value| {
        let row: &[Value; N] = row.as_array()?.as_slice().try_into().ok()?;
        let mut numbers = [0; N];
        for (number, value) in numbers.iter_mut().zip(row) {
            *number = value.as_u64()?;
        }
        take(numbers)
    };
    value.as_array()?.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            store: "6f1c9a1e-0000-4000-8000-000000000001".into(),
            durable: true,
            incarnation: Incarnation([7; 16]),
            finished: true,
            lanes: vec![(0, 42), (3, u64::MAX)],
            refused: vec![(3, 5, 9, Reason::NAME)],
        }
    }

    #[test]
    fn an_answer_round_trips() {
        let text = answer().to_json();
        assert_eq!(Answer::from_json(&text).unwrap(), answer());
        assert_eq!(answer().next(3), Some(u64::MAX));
        assert_eq!(answer().next(4), None);
    }

    #[test]
    fn an_answer_that_lacks_something_is_refused() {
        let whole: Value = serde_json::from_str(&answer().to_json()).unwrap();
        let check = |field: &str, value: Value| {
            let mut changed = whole.clone();
            changed[field] = value;
            let error = Answer::from_json(&changed.to_string()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        check("store", json!(7));
        check("durable", Value::Null);
        check("incarnation", json!("00"));
        check("finished", json!(1));
        for lanes in
            [json!({}), json!([[1]]), json!([[1, 2, 3]]), json!([[1, -2]]), json!([[4_294_967_296_u64, 0]])]
        {
            check("lanes", lanes);
        }
        for refused in [json!(null), json!([[1, 2, 1, 33]]), json!([[1, 2, 3, 256]]), json!([[1, 2, 3, 1.5]])]
        {
            check("refused", refused);
        }
        for text in ["", "<html>", "[]", "null", "{}", "{\"store\":"] {
            assert!(Answer::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_that_does_not_say_so_is_not_about_a_finished_ring() {
        let mut value: Value = serde_json::from_str(&answer().to_json()).unwrap();
        value.as_object_mut().unwrap().remove("finished");
        assert!(!Answer::from_json(&value.to_string()).unwrap().finished);
    }

    #[test]
    fn fields_of_later_versions_are_skipped() {
        let mut value: Value = serde_json::from_str(&answer().to_json()).unwrap();
        value["later"] = json!({"a": 1});
        assert_eq!(Answer::from_json(&value.to_string()).unwrap(), answer());
    }
}
