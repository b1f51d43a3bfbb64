//! Graphite's database files: of each time the value of the finest archive that has it.
//!
//! | offset | size | field, all big-endian |
//! | --- | --- | --- |
//! | 0 | 4 | aggregation method |
//! | 4 | 4 | longest retention, seconds |
//! | 8 | 4 | x-files factor, f32 |
//! | 12 | 4 | count of archives |
//! | 16 | 12 each | archives: offset of its points, seconds a point, count of points |
//! | | 12 each | points: time in seconds, value, f64; time 0 where there is none |
//!
//! An archive is a ring buffer, and each time has one slot in it. A value in another slot is no point. Since a single
//! time may be wrong by years, no single point decides which times the archive keeps:
//!
//! - of all spans as long as the archive's retention, the one with the most points is what the archive keeps
//! - a point before that span is out of date and was not overwritten yet; coarser archives have that time
//! - a point behind that span, also one in the future, is taken
//!
//! Points that are left out are counted. A point of a coarser archive is taken where it is older than all points of
//! finer archives that were taken, or where no finer point lies within it.
//!
//! Source: the layout that whisper.py states.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use dotter_dot::{Cell, Shape, Timestamp};

use super::rules::Said;
use super::{Import, cannot};
use crate::error::Error;

const HEADER_BYTES: u64 = 16;
const ARCHIVE_BYTES: u64 = 12;
const POINT_BYTES: u64 = 12;

/// More archives than anybody has.
const ARCHIVES_MAX: u32 = 256;

/// Points read at once.
const READ_POINTS: u64 = 8192;

struct Archive {
    offset: u64,
    seconds: u64,
    points: u64,
}

impl Archive {
    /// When slot 0 of the ring begins for a point at `slot`, modulo the length of the ring: the same for all points
    /// that stand where they belong.
    fn phase(&self, slot: u64, time: u32) -> u64 {
        let ring = self.seconds * self.points;
        (u64::from(time) + ring - slot * self.seconds) % ring
    }
}

/// Takes the points of one file.
pub(super) fn file(import: &mut Import<'_>, path: &Path, name: &str) -> Result<(), Error> {
    let file = File::open(path).map_err(cannot("open", path))?;
    let (archives, said) = match archives(&file) {
        Ok(found) => found,
        Err(what) => return import.bad(0, what),
    };
    import.archives(name, &said);
    let shape = Shape::number();
    // Times of finer archives that were taken, in order.
    let mut finer: Vec<u32> = Vec::new();
    let (mut misplaced, mut outdated) = (0, 0);
    for archive in archives {
        let ring = Ring::read(&file, &archive).map_err(cannot("read", path))?;
        let covered = finer.first().copied();
        let mut taken = Vec::new();
        let read = points(&file, &archive, |slot, time, value| {
            if archive.phase(slot, time) != ring.phase {
                misplaced += 1;
                return Ok(());
            }
            if time < ring.oldest {
                outdated += 1;
                return Ok(());
            }
            if covered.is_some_and(|covered| time >= covered) {
                let end = u64::from(time) + archive.seconds;
                let within = finer.get(finer.partition_point(|finer| *finer < time));
                if within.is_some_and(|finer| u64::from(*finer) < end) {
                    return Ok(());
                }
            }
            taken.push(time);
            let time = Timestamp::from_secs(time.into()).expect("32 bits of seconds end in 2106");
            import.row(0, name, &shape, time, Cell::Word(value.to_bits()))
        });
        read?.map_err(cannot("read", path))?;
        import.archive(archive.seconds, taken.len());
        finer.append(&mut taken);
        finer.sort_unstable();
    }
    import.left_out(misplaced, "points stand where their times do not belong");
    import.left_out(outdated, "points are older than their archive keeps");
    Ok(())
}

/// What the points of an archive say together.
struct Ring {
    /// The phase of most points; see [`Archive::phase`].
    phase: u64,
    /// Where the span begins that holds the most of them.
    oldest: u32,
}

impl Ring {
    fn read(file: &File, archive: &Archive) -> std::io::Result<Ring> {
        let mut phases: HashMap<u64, u64> = HashMap::new();
        let mut first = None;
        each_point(file, archive, |slot, time, _| {
            let phase = archive.phase(slot, time);
            first.get_or_insert(phase);
            *phases.entry(phase).or_default() += 1;
        })?;
        // Of equal ones that of the first slot, by which Whisper itself goes.
        let most = phases.iter().max_by_key(|(phase, count)| (**count, Some(**phase) == first, **phase));
        let Some((phase, count)) = most else { return Ok(Ring { phase: 0, oldest: 0 }) };
        let mut times = Vec::with_capacity(*count as usize);
        each_point(file, archive, |slot, time, _| {
            if archive.phase(slot, time) == *phase {
                times.push(time);
            }
        })?;
        times.sort_unstable();
        Ok(Ring { phase: *phase, oldest: fullest(&times, archive.seconds * archive.points) })
    }
}

/// The first time of the span of `seconds` that holds the most of `times`, which are in order; of equal ones the
/// last.
fn fullest(times: &[u32], seconds: u64) -> u32 {
    let (mut first, mut most, mut oldest) = (0, 0, 0);
    for (last, time) in times.iter().enumerate() {
        while u64::from(time - times[first]) >= seconds {
            first += 1;
        }
        if last - first >= most {
            (most, oldest) = (last - first, times[first]);
        }
    }
    oldest
}

/// The archives of a file, finest first, and what it says of them; what makes no sense otherwise.
fn archives(file: &File) -> Result<(Vec<Archive>, Said), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let number = |at: u64| -> Result<u32, String> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at)
            .map_err(|_| format!("{length} bytes are too few for a Whisper file"))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let (aggregation, count) = (number(0)?, number(12)?);
    if !(1..=16).contains(&aggregation) || !(1..=ARCHIVES_MAX).contains(&count) {
        return Err(format!("no Whisper file: aggregation {aggregation}, {count} archives"));
    }
    let mut archives = Vec::new();
    for index in 0..count as u64 {
        let at = HEADER_BYTES + index * ARCHIVE_BYTES;
        let archive = Archive {
            offset: number(at)? as u64,
            seconds: number(at + 4)? as u64,
            points: number(at + 8)? as u64,
        };
        let end = archive.offset + archive.points * POINT_BYTES;
        if archive.seconds == 0 || archive.offset < HEADER_BYTES || end > length {
            return Err(format!(
                "archive {index} of {} points at byte {}, {} seconds each, in {length} bytes",
                archive.points, archive.offset, archive.seconds
            ));
        }
        archives.push(archive);
    }
    archives.sort_by_key(|archive| archive.seconds);
    let said = Said {
        archives: archives.iter().map(|archive| (archive.seconds, archive.points)).collect(),
        method: aggregation,
        factor: f32::from_bits(number(8)?),
    };
    Ok((archives, said))
}

/// Every point of an archive that was ever written, with its slot; the outer error is that of `each`.
fn points(
    file: &File,
    archive: &Archive,
    mut each: impl FnMut(u64, u32, f64) -> Result<(), Error>,
) -> Result<std::io::Result<()>, Error> {
    let mut bytes = vec![0; (READ_POINTS.min(archive.points) * POINT_BYTES) as usize];
    let mut done = 0;
    while done < archive.points {
        let count = READ_POINTS.min(archive.points - done);
        let bytes = &mut bytes[..(count * POINT_BYTES) as usize];
        if let Err(error) = file.read_exact_at(bytes, archive.offset + done * POINT_BYTES) {
            return Ok(Err(error));
        }
        for (slot, point) in (done..).zip(bytes.as_chunks::<{ POINT_BYTES as usize }>().0) {
            let (time, value) = point.split_first_chunk::<4>().expect("a point has twelve bytes");
            let time = u32::from_be_bytes(*time);
            let value = f64::from_be_bytes(value.try_into().expect("eight bytes are left"));
            if time != 0 {
                each(slot, time, value)?;
            }
        }
        done += count;
    }
    Ok(Ok(()))
}

/// As [`points`], where nothing can go wrong but the reading.
fn each_point(file: &File, archive: &Archive, mut each: impl FnMut(u64, u32, f64)) -> std::io::Result<()> {
    points(file, archive, |slot, time, value| {
        each(slot, time, value);
        Ok(())
    })
    .unwrap_or(Ok(()))
}
