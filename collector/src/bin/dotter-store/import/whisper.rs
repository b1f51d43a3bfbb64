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
//! An archive is a ring: a point whose time lies further behind the archive's newest than its retention is one
//! that was not written over, and does not count.
//!
//! Source: the layout that whisper.py states.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use dotter_collector::row_text::Cell;
use dotter_dot::{Shape, Timestamp};

use super::{Import, cannot};
use crate::error::Error;

const HEADER_BYTES: u64 = 16;
const ARCHIVE_BYTES: u64 = 12;
const POINT_BYTES: u64 = 12;

/// More archives than anybody has.
const ARCHIVES_MAX: u32 = 256;

/// Points read at once.
const READ_POINTS: u64 = 8192;

/// How deep directories may lie in each other.
const DEPTH_MAX: usize = 64;

pub(super) fn run(import: &mut Import<'_>, paths: &[PathBuf]) -> Result<(), Error> {
    if paths.is_empty() {
        return Err(Error::Usage("no path: name .wsp files or directories of them".to_owned()));
    }
    for path in paths {
        if path.is_dir() {
            directory(import, path, path, 0)?;
        } else {
            file(import, path, &below_whisper(path))?;
        }
    }
    Ok(())
}

/// Every `.wsp` file below `dir`, by name. Directories behind symbolic links are left out: they could lead back.
fn directory(import: &mut Import<'_>, root: &Path, dir: &Path, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        import.file = Some(dir.to_owned());
        return import.bad(0, format!("more than {DEPTH_MAX} directories deep"));
    }
    let entries = fs::read_dir(dir).map_err(cannot("list", dir))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(cannot("list", dir))?;
    paths.sort_unstable();
    for path in paths {
        let kind = fs::symlink_metadata(&path).map_err(cannot("look at", &path))?.file_type();
        if kind.is_dir() {
            directory(import, root, &path, depth + 1)?;
        } else if path.extension().is_some_and(|extension| extension == "wsp") {
            file(import, &path, path.strip_prefix(root).unwrap_or(&path))?;
        }
    }
    Ok(())
}

/// What stands behind the last directory `whisper`, where carbon keeps its files; else all of the path.
fn below_whisper(path: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = path.components().collect();
    let start = parts.iter().rposition(|part| part.as_os_str() == "whisper").map_or(0, |at| at + 1);
    parts[start..].iter().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// `host/cpu/user.wsp` is `host.cpu.user`; a file below `_tagged` has the whole name, its points as `_DOT_`.
fn series_name(path: &Path) -> Option<String> {
    let path = path.with_extension("");
    let parts: Option<Vec<&str>> = path.components().map(|part| part.as_os_str().to_str()).collect();
    let parts = parts?;
    match parts[..] {
        ["_tagged", .., name] => Some(name.replace("_DOT_", ".")),
        _ => Some(parts.join(".")),
    }
}

struct Archive {
    offset: u64,
    seconds: u64,
    points: u64,
}

fn file(import: &mut Import<'_>, path: &Path, named: &Path) -> Result<(), Error> {
    import.file = Some(path.to_owned());
    let Some(name) = series_name(named) else { return import.bad(0, "its name is not UTF-8") };
    let file = File::open(path).map_err(cannot("open", path))?;
    let archives = match archives(&file) {
        Ok(archives) => archives,
        Err(what) => return import.bad(0, what),
    };
    let shape = Shape::number();
    // Finer archives have what is not older than this.
    let mut covered = u64::MAX;
    for archive in archives {
        let mut newest = 0;
        let read = points(&file, &archive, |time, _| {
            newest = newest.max(time);
            Ok(())
        });
        read?.map_err(cannot("read", path))?;
        let oldest = newest.saturating_sub(archive.seconds * archive.points) + 1;
        let mut first = u64::MAX;
        let read = points(&file, &archive, |time, value| {
            if time < oldest || time >= covered {
                return Ok(());
            }
            first = first.min(time);
            let time = Timestamp::from_secs(time).expect("32 bits of seconds end in 2106");
            import.row(0, &name, &shape, time, Cell::Word(value.to_bits()))
        });
        read?.map_err(cannot("read", path))?;
        covered = covered.min(first);
    }
    Ok(())
}

/// The archives of a file, finest first; what makes no sense otherwise.
fn archives(file: &File) -> Result<Vec<Archive>, String> {
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
    Ok(archives)
}

/// Every point of an archive that has one; the outer error is that of `each`.
fn points(
    file: &File,
    archive: &Archive,
    mut each: impl FnMut(u64, f64) -> Result<(), Error>,
) -> Result<std::io::Result<()>, Error> {
    let mut bytes = vec![0; (READ_POINTS.min(archive.points) * POINT_BYTES) as usize];
    let mut done = 0;
    while done < archive.points {
        let count = READ_POINTS.min(archive.points - done);
        let bytes = &mut bytes[..(count * POINT_BYTES) as usize];
        if let Err(error) = file.read_exact_at(bytes, archive.offset + done * POINT_BYTES) {
            return Ok(Err(error));
        }
        for point in bytes.as_chunks::<{ POINT_BYTES as usize }>().0 {
            let (time, value) = point.split_first_chunk::<4>().expect("a point has twelve bytes");
            let time = u32::from_be_bytes(*time) as u64;
            let value = f64::from_be_bytes(value.try_into().expect("eight bytes are left"));
            if time != 0 {
                each(time, value)?;
            }
        }
        done += count;
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_named_by_its_path() {
        let check = |path: &str, name: &str| {
            assert_eq!(series_name(&below_whisper(Path::new(path))).as_deref(), Some(name), "{path}");
        };
        check("/opt/graphite/storage/whisper/host/web1/cpu.wsp", "host.web1.cpu");
        check("host/cpu.wsp", "host.cpu");
        check("./cpu.wsp", "cpu");
        check("whisper/_tagged/1a2/b3c/disk_DOT_used;host=a.wsp", "disk.used;host=a");
    }
}
