//! The payloads of frames in a WAL file: names, records, finish.

use dotter_dot::{Incarnation, Reason, SeriesName, Shape, TimeRange, Timestamp, put_varint, zigzag};

use crate::format::bytes::{Fields, put_owner, put_shared, put_text};
use crate::format::ledger::{LaneRecords, Lost, Refused};
use crate::format::shapes::{Shapes, put_shape, take_shape};
use crate::format::wal::names::{Declared, Names};

pub(crate) fn encode_names<'a>(
    series: impl ExactSizeIterator<Item = (u32, &'a SeriesName, &'a Shape)>,
    incarnations: impl ExactSizeIterator<Item = (u32, &'a Declared)>,
    out: &mut Vec<u8>,
) {
    put_varint(out, series.len() as u64);
    let (mut id_before, mut name_before, mut shapes) = (0, "", Shapes::default());
    for (id, name, shape) in series {
        put_varint(out, zigzag(i64::from(id) - i64::from(id_before)));
        put_shared(out, name_before.as_bytes(), name.as_str().as_bytes());
        let known = shapes.as_slice().len();
        let number = shapes.number(shape) as usize;
        put_varint(out, number as u64);
        if number == known {
            put_shape(out, shape);
        }
        (id_before, name_before) = (id, name.as_str());
    }
    put_varint(out, incarnations.len() as u64);
    for (id, declared) in incarnations {
        put_varint(out, id as u64);
        out.extend_from_slice(&declared.incarnation.0);
        put_text(out, &declared.application);
        put_owner(out, declared.owner);
        put_varint(out, declared.first_seen.nanos());
    }
}

/// Adds what a names frame declares. `None` where a field makes no sense; declarations before it are kept.
pub(crate) fn decode_names(payload: &[u8], names: &mut Names) -> Option<()> {
    let mut fields = Fields(payload);
    let (mut id, mut name, mut shapes) = (0, Vec::new(), Vec::new());
    for _ in 0..fields.count(4)? {
        id = u32::try_from(i64::from(id).checked_add(fields.signed()?)?).ok()?;
        fields.shared(&mut name)?;
        let number = fields.number::<usize>()?;
        if number == shapes.len() {
            shapes.push(take_shape(&mut fields)?);
        }
        names.declare(id, SeriesName::from_bytes(&name).ok()?, shapes.get(number)?.clone());
    }
    for _ in 0..fields.count(20)? {
        let id = fields.number()?;
        let incarnation = Incarnation(fields.array()?);
        let application = fields.text()?.to_owned();
        let (owner, first_seen) = (fields.owner()?, Timestamp::from_nanos(fields.varint()?));
        let declared = Declared { incarnation, application, owner, first_seen };
        names.incarnations.insert(id, declared);
    }
    fields.0.is_empty().then_some(())
}

/// The part of a dots frame before the dots: records of lanes, refusal totals, last totals of counters. Incarnations are ids
/// of the file, series ids of its epoch.
#[derive(Debug, Default)]
pub(crate) struct RecordsFrame {
    pub(crate) lanes: Vec<(u32, LaneRecords)>,
    pub(crate) refusals: Vec<(u32, Reason, u64)>,
    /// For each counter: incarnation id, series id, last total as a word.
    pub(crate) counters: Vec<(u32, u32, u64)>,
}

impl RecordsFrame {
    /// - `counters`: for each, the id of its series and its last total as a word
    pub(crate) fn encode<'a>(
        incarnation: u32,
        lanes: impl ExactSizeIterator<Item = &'a LaneRecords>,
        refusals: &[(Reason, u64)],
        counters: impl ExactSizeIterator<Item = (u32, u64)>,
        out: &mut Vec<u8>,
    ) {
        put_varint(out, lanes.len() as u64);
        for records in lanes {
            for field in
                [incarnation as u64, records.lane as u64, records.first, records.next - records.first]
            {
                put_varint(out, field);
            }
            put_varint(out, records.losses.len() as u64);
            let mut end = records.first;
            for lost in &records.losses {
                put_varint(out, lost.first - end);
                put_varint(out, lost.next - lost.first);
                out.push(lost.reason.0);
                out.push(lost.times.is_some() as u8);
                if let Some(times) = lost.times {
                    put_varint(out, times.from.nanos());
                    put_varint(out, times.until.nanos().saturating_sub(times.from.nanos()));
                }
                end = lost.next;
            }
            put_varint(out, records.refused.len() as u64);
            let mut end = records.first;
            for refused in &records.refused {
                put_varint(out, refused.first - end);
                put_varint(out, refused.next - refused.first);
                out.push(refused.reason.0);
                end = refused.next;
            }
            put_varint(out, records.elsewhere);
        }
        put_varint(out, refusals.len() as u64);
        for (reason, total) in refusals {
            put_varint(out, incarnation as u64);
            out.push(reason.0);
            put_varint(out, *total);
        }
        put_varint(out, counters.len() as u64);
        for (series, total) in counters {
            put_varint(out, incarnation as u64);
            put_varint(out, series as u64);
            out.extend_from_slice(&total.to_le_bytes());
        }
    }

    /// Reads this part of a dots frame; the dots are left in `fields`.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<RecordsFrame> {
        let mut frame = RecordsFrame::default();
        for _ in 0..fields.count(7)? {
            let incarnation = fields.number()?;
            let mut records =
                LaneRecords { lane: fields.number()?, first: fields.varint()?, ..Default::default() };
            records.next = records.first.checked_add(fields.varint()?)?;
            let range = |fields: &mut Fields<'_>, end: &mut u64| {
                let first = end.checked_add(fields.varint()?)?;
                *end = first.checked_add(fields.varint()?)?;
                Some((first, *end))
            };
            let mut end = records.first;
            for _ in 0..fields.count(4)? {
                let (first, next) = range(fields, &mut end)?;
                let reason = Reason(fields.byte()?);
                let times = match fields.byte()? {
                    0 => None,
                    _ => {
                        let from = fields.varint()?;
                        let until = from.checked_add(fields.varint()?)?;
                        Some(TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until)))
                    }
                };
                records.losses.push(Lost { first, next, reason, times });
            }
            let lost_end = end;
            let mut end = records.first;
            for _ in 0..fields.count(3)? {
                let (first, next) = range(fields, &mut end)?;
                records.refused.push(Refused { first, next, reason: Reason(fields.byte()?) });
            }
            records.elsewhere = fields.varint()?;
            let gone =
                records.lost_len().checked_add(records.refused_len())?.checked_add(records.elsewhere)?;
            if lost_end.max(end) > records.next || gone > records.next - records.first {
                return None;
            }
            frame.lanes.push((incarnation, records));
        }
        for _ in 0..fields.count(3)? {
            frame.refusals.push((fields.number()?, Reason(fields.byte()?), fields.varint()?));
        }
        for _ in 0..fields.count(10)? {
            let (incarnation, series) = (fields.number()?, fields.number()?);
            frame.counters.push((incarnation, series, u64::from_le_bytes(fields.array()?)));
        }
        Some(frame)
    }
}

/// The end of an incarnation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FinishFrame {
    pub(crate) incarnation: u32,
    pub(crate) time: Timestamp,
    pub(crate) lanes: Vec<(u32, u64)>,
    pub(crate) refusals: Vec<(Reason, u64)>,
}

impl FinishFrame {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.incarnation as u64);
        put_varint(out, self.time.nanos());
        put_varint(out, self.lanes.len() as u64);
        for (lane, next) in &self.lanes {
            put_varint(out, *lane as u64);
            put_varint(out, *next);
        }
        put_varint(out, self.refusals.len() as u64);
        for (reason, total) in &self.refusals {
            out.push(reason.0);
            put_varint(out, *total);
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<FinishFrame> {
        let mut fields = Fields(payload);
        let mut frame = FinishFrame {
            incarnation: fields.number()?,
            time: Timestamp::from_nanos(fields.varint()?),
            lanes: Vec::new(),
            refusals: Vec::new(),
        };
        for _ in 0..fields.count(2)? {
            frame.lanes.push((fields.number()?, fields.varint()?));
        }
        for _ in 0..fields.count(2)? {
            frame.refusals.push((Reason(fields.byte()?), fields.varint()?));
        }
        fields.0.is_empty().then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn series_are_declared_with_their_shapes() {
        let names = ["a.bé", "a.bè;d=e", "a.b"].map(|name| SeriesName::new(name).unwrap());
        let format = dotter_dot::Format::new("suF").unwrap();
        let shapes = [Shape::number(), Shape::new(format, "ms", &["path", "code", "took"]).unwrap()];
        let of = |id, index: usize| (id, &names[index % 3], &shapes[index % 2]);
        let series = [of(4, 0), of(5, 1), of(u32::MAX, 2), of(0, 3), of(6, 0)];
        let mut out = Vec::new();
        encode_names(series.into_iter(), [].into_iter(), &mut out);
        let mut found = Names::default();
        decode_names(&out, &mut found).unwrap();
        for (id, name, shape) in series {
            assert_eq!(found.series.get(id), Some(&(name.clone(), shape.clone())));
        }
        for cut in 0..out.len() {
            assert!(decode_names(&out[..cut], &mut Names::default()).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn names_alike_take_few_bytes() {
        let name =
            |id: u32| SeriesName::new(&format!("host.rack-17.machine-{id:06}.cpu.user.percent")).unwrap();
        let names: Vec<SeriesName> = (0..1000).map(name).collect();
        let mut out = Vec::new();
        let shape = Shape::number();
        let series = (0..1000).map(|id| (id + 70_000, &names[id as usize], &shape));
        encode_names(series.collect::<Vec<_>>().into_iter(), [].into_iter(), &mut out);
        assert!(out.len() < 1000 * 26, "{} bytes", out.len());
    }

    #[test]
    fn incarnations_are_declared_with_their_owners() {
        let of = |number: u8, owner| Declared {
            incarnation: Incarnation([number; 16]),
            application: format!("app.{number}"),
            owner,
            first_seen: Timestamp::from_nanos(u64::from(number) * 1000),
        };
        let rings = [of(1, None), of(2, Some(0)), of(3, Some(u32::MAX))];
        let mut out = Vec::new();
        encode_names([].into_iter(), (7..10).zip(&rings).collect::<Vec<_>>().into_iter(), &mut out);
        let mut found = Names::default();
        decode_names(&out, &mut found).unwrap();
        assert_eq!((7..10).map(|id| found.incarnations[&id].clone()).collect::<Vec<_>>(), rings);
    }

    /// Records that lie one behind the other: kept ones, then lost and refused ones, a count of each; then, of those
    /// kept, how many are elsewhere.
    fn lane(first: u64, pieces: &[(u8, u8, u8)], elsewhere: u8) -> LaneRecords {
        let mut records = LaneRecords { lane: 3, first, next: first, ..LaneRecords::default() };
        for (kept, lost, refused) in pieces {
            let from = records.next + u64::from(*kept);
            let (between, next) = (from + u64::from(*lost), from + u64::from(*lost) + u64::from(*refused));
            let times = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(next));
            let times = (kept % 2 == 0).then_some(times);
            records.losses.push(Lost { first: from, next: between, reason: Reason::LAPPED, times });
            records.refused.push(Refused { first: between, next, reason: Reason::NAME });
            records.next = next;
        }
        records.elsewhere = u64::from(elsewhere).min(records.stored_len());
        records
    }

    #[test]
    fn more_elsewhere_than_there_are_records_is_no_frame() {
        let records = lane(4, &[(5, 2, 1)], 0);
        let decoded = |elsewhere| {
            let records = LaneRecords { elsewhere, ..records.clone() };
            let mut out = Vec::new();
            RecordsFrame::encode(1, [&records].into_iter(), &[], [].into_iter(), &mut out);
            RecordsFrame::decode(&mut Fields(&out)).map(|frame| frame.lanes[0].1.stored_len())
        };
        assert_eq!((decoded(0), decoded(3), decoded(5)), (Some(5), Some(2), Some(0)));
        assert_eq!((decoded(6), decoded(u64::MAX)), (None, None));
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(
            first in 0..1_u64 << 40,
            pieces in prop::collection::vec(any::<(u8, u8, u8)>(), 0..6),
            elsewhere in any::<u8>(),
            refusals in prop::collection::vec((any::<u8>().prop_map(Reason), any::<u64>()), 0..4),
            counters in prop::collection::vec(any::<(u32, u64)>(), 0..4),
        ) {
            let lanes = [lane(first, &pieces, elsewhere), lane(first + 1, &pieces, 0)];
            let mut out = Vec::new();
            RecordsFrame::encode(7, lanes.iter(), &refusals, counters.iter().copied(), &mut out);
            let mut fields = Fields(&out);
            let frame = RecordsFrame::decode(&mut fields).unwrap();
            prop_assert!(fields.0.is_empty());
            prop_assert_eq!(frame.lanes, lanes.map(|lane| (7, lane)));
            let refusals: Vec<_> = refusals.into_iter().map(|(reason, total)| (7, reason, total)).collect();
            prop_assert_eq!(frame.refusals, refusals);
            let counters: Vec<_> = counters.into_iter().map(|(series, total)| (7, series, total)).collect();
            prop_assert_eq!(frame.counters, counters);
            for cut in 0..out.len() {
                prop_assert!(RecordsFrame::decode(&mut Fields(&out[..cut])).is_none(), "cut at {}", cut);
            }
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_names(&bytes, &mut Names::default());
            let _ = FinishFrame::decode(&bytes);
            let mut fields = Fields(&bytes);
            let _ = RecordsFrame::decode(&mut fields);
        }
    }
}
