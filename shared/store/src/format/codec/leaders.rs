//! Leaders: the value before each group, where a number is the distance to the value before. With it decoding may begin
//! at any group.
//!
//! A column has a leader for each group but the first, before which the first value stands. A group is decoded from its
//! leader alone: what the group before comes to is not compared with it. Bytes: FORMAT.md, "Leaders".

use dotter_dot::{put_varint, zigzag};

use crate::format::bytes::Fields;
use crate::format::codec::{DOTS_MAX, GROUP, Part};

const GROUPS_MAX: usize = DOTS_MAX / GROUP;

/// Appends the leaders of a column: of `values`, which are those before each number, the ones before a group.
pub(super) fn put(values: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
    let mut before = 0_i64;
    for value in values.step_by(GROUP).skip(1) {
        put_varint(out, zigzag(value.wrapping_sub(before)));
        before = value;
    }
}

/// The values before groups.
pub(super) struct Leaders {
    values: [u64; GROUPS_MAX],
    count: usize,
}

impl Leaders {
    /// Those of a column of `count` numbers; the first is 0, the others are what [`put`] was given.
    pub(super) fn get(fields: &mut Fields<'_>, count: usize) -> Option<Leaders> {
        let mut leaders = Leaders { values: [0; GROUPS_MAX], count: count.div_ceil(GROUP).max(1) };
        let mut before = 0_i64;
        for value in leaders.values.get_mut(1..leaders.count)? {
            before = before.wrapping_add(fields.signed()?);
            *value = before as u64;
        }
        Some(leaders)
    }

    pub(super) fn values(&self) -> &[u64] {
        &self.values[..self.count]
    }

    pub(super) fn values_mut(&mut self) -> &mut [u64] {
        &mut self.values[..self.count]
    }
}

/// Appends the values behind the numbers of `part`: each is the one before plus `unit` times its number.
///
/// - `leaders`: the values themselves
/// - `numbers`: appends the numbers of a part
pub(super) fn sum(
    leaders: &Leaders,
    unit: u64,
    part: Part,
    out: &mut Vec<u64>,
    numbers: impl FnOnce(Part, &mut Vec<u64>) -> Option<()>,
) -> Option<()> {
    let (start, group) = (out.len(), part.from / GROUP);
    let skipped = part.from - group * GROUP;
    numbers(Part { from: part.from - skipped, ..part }, out)?;
    for (numbers, leader) in out[start..].chunks_mut(GROUP).zip(&leaders.values()[group..]) {
        let mut before = *leader;
        for number in numbers {
            before = before.wrapping_add(number.wrapping_mul(unit));
            *number = before;
        }
    }
    out.drain(start..start + skipped);
    Some(())
}
