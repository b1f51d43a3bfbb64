//! Whisper's directories: finding the files, and naming the series of each.
//!
//! Always true: the name of a series does not depend on which directory above its file is given on the command line,
//! as long as the path has a directory `whisper`, where carbon keeps its files, or `--root` names the directory. Two
//! files are never one series.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use dotter_dot::SeriesName;

use super::{Import, cannot, whisper};
use crate::error::Error;

/// How deep directories may lie in each other.
const DEPTH_MAX: usize = 64;

pub(super) fn run(import: &mut Import<'_>, paths: &[PathBuf]) -> Result<(), Error> {
    if paths.is_empty() {
        return Err(Error::Usage("no path: name .wsp files or directories of them".to_owned()));
    }
    let root = import.options.root.as_deref().map(whole).transpose()?;
    let mut tree = Tree { root, files: HashMap::new(), above: Vec::new() };
    for path in paths {
        if path.is_dir() {
            tree.directory(import, path, &whole(path)?)?;
        } else {
            let start = start_of_file(path)?;
            tree.file(import, path, &start)?;
        }
    }
    Ok(())
}

struct Tree {
    /// Of `--root`.
    root: Option<PathBuf>,
    /// By series, the file that it was read from.
    files: HashMap<Box<str>, Box<Path>>,
    /// Device and number of the directories that are being read, each within the one before.
    above: Vec<(u64, u64)>,
}

impl Tree {
    /// Every `.wsp` file below `dir`, by name.
    ///
    /// - `start`: the directory that was named, where all else fails what names are below
    fn directory(&mut self, import: &mut Import<'_>, dir: &Path, start: &Path) -> Result<(), Error> {
        import.file = Some(dir.to_owned());
        if self.above.len() > DEPTH_MAX {
            return import.bad(0, format!("more than {DEPTH_MAX} directories deep"));
        }
        let id = identity(&fs::metadata(dir).map_err(cannot("look at", dir))?);
        if self.above.contains(&id) {
            import.left_out(1, "symbolic link leads back to a directory that it lies in");
            return Ok(());
        }
        let entries = fs::read_dir(dir).map_err(cannot("list", dir))?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(cannot("list", dir))?;
        paths.sort_unstable();
        self.above.push(id);
        for path in paths {
            let is_whisper = path.extension().is_some_and(|extension| extension == "wsp");
            let is_link = fs::symlink_metadata(&path).map_err(cannot("look at", &path))?.is_symlink();
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => self.directory(import, &path, start)?,
                Ok(_) if is_whisper => self.file(import, &path, start)?,
                Ok(_) => {}
                Err(_) if is_link => {
                    import.file = Some(path);
                    match is_whisper {
                        true => import.bad(0, "a symbolic link to what is not there")?,
                        false => import.left_out(1, "symbolic link leads to what is not there"),
                    }
                }
                Err(error) => return Err(cannot("look at", &path)(error)),
            }
        }
        self.above.pop();
        Ok(())
    }

    fn file(&mut self, import: &mut Import<'_>, path: &Path, start: &Path) -> Result<(), Error> {
        import.file = Some(path.to_owned());
        let Some(name) = series_name(&self.below(path, start)?) else {
            return import.bad(0, "its name is not UTF-8");
        };
        // What is no valid name is told when it is taken.
        let name = SeriesName::new(&name).map_or(name, |name| name.as_str().to_owned());
        match self.files.entry(name.as_str().into()) {
            Entry::Vacant(entry) => {
                entry.insert(path.into());
            }
            Entry::Occupied(entry) => {
                let is_same = match (fs::metadata(path), fs::metadata(entry.get())) {
                    (Ok(one), Ok(other)) => identity(&one) == identity(&other),
                    _ => false,
                };
                if is_same {
                    return Ok(());
                }
                let what = format!(
                    "series {name} is that of {}, too; --root says which directory names are below",
                    entry.get().display()
                );
                return import.bad(0, what);
            }
        }
        whisper::file(import, path, &name)
    }

    /// The part of a file's path that names its series.
    fn below(&self, path: &Path, start: &Path) -> Result<PathBuf, Error> {
        let file = whole(path)?;
        if let Some(root) = &self.root {
            return file.strip_prefix(root).map(Path::to_owned).map_err(|_| {
                Error::Usage(format!("{} does not lie below --root {}", file.display(), root.display()))
            });
        }
        let parts: Vec<&OsStr> = normal(&file).collect();
        let directories = &parts[..parts.len().saturating_sub(1)];
        let last = |name: &str| directories.iter().rposition(|part| *part == name);
        Ok(match (last("whisper"), last("_tagged")) {
            (Some(whisper), _) => parts[whisper + 1..].iter().collect(),
            (None, Some(tagged)) => parts[tagged..].iter().collect(),
            (None, None) => file.strip_prefix(start).unwrap_or(&file).to_owned(),
        })
    }
}

/// Where a file is named by itself and nothing better is known, its name is all of the path that was given.
fn start_of_file(path: &Path) -> Result<PathBuf, Error> {
    let file = whole(path)?;
    let here = whole(Path::new("."))?;
    if path.is_relative() && file.starts_with(&here) {
        return Ok(here);
    }
    Ok(file.ancestors().nth(normal(path).count()).unwrap_or(Path::new("/")).to_owned())
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// A path from `/` on, without `.` and `..`; symbolic links are parts of it like others.
fn whole(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path).map_err(cannot("find", path))?;
    let mut whole = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    Ok(whole)
}

fn normal(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        _ => None,
    })
}

/// `host/cpu/user.wsp` is `host.cpu.user`; a file below `_tagged` has the whole name, its points as `_DOT_`.
fn series_name(path: &Path) -> Option<String> {
    let path = path.with_extension("");
    let parts: Vec<&str> = normal(&path).map(OsStr::to_str).collect::<Option<_>>()?;
    match parts[..] {
        ["_tagged", .., name] => Some(name.replace("_DOT_", ".")),
        _ => Some(parts.join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_named_by_its_path() {
        let name = |root: Option<&str>, path: &str, start: &str| {
            let tree = Tree { root: root.map(PathBuf::from), files: HashMap::new(), above: Vec::new() };
            let start = whole(Path::new(start)).unwrap();
            series_name(&tree.below(Path::new(path), &start).unwrap()).unwrap()
        };
        let check = |path: &str, start: &str, expected: &str| {
            assert_eq!(name(None, path, start), expected, "{path} below {start}");
        };
        for start in [
            "/opt/storage/whisper",
            "/opt/storage/whisper/host",
            "/opt/storage/whisper/host/web1",
            "/opt",
            "/",
        ] {
            check("/opt/storage/whisper/host/web1/cpu.wsp", start, "host.web1.cpu");
            check("/opt/storage/whisper/_tagged/1a2/b3c/disk_DOT_used;host=a.wsp", start, "disk.used;host=a");
        }
        check("/data/host/cpu.wsp", "/data", "host.cpu");
        check("/data/./other/../host/cpu.wsp", "/data", "host.cpu");
        for (path, expected) in [
            ("host/cpu.wsp", "host.cpu"),
            ("./a/../host/cpu.wsp", "host.cpu"),
            ("../host/cpu.wsp", "host.cpu"),
            ("/data/cpu.wsp", "data.cpu"),
        ] {
            let start = start_of_file(Path::new(path)).unwrap();
            assert_eq!(name(None, path, start.to_str().unwrap()), expected, "{path}");
        }
        check("whisper/host/cpu.wsp", "whisper/host", "host.cpu");
        check("whisper/whisper.wsp", "whisper", "whisper");
        check("/data/_tagged/1a2/b3c/disk_DOT_used;host=a.wsp", "/data/_tagged/1a2", "disk.used;host=a");
        for root in ["/data", "/data/"] {
            assert_eq!(name(Some(root), "/data/whisper/host/cpu.wsp", "/data/whisper"), "whisper.host.cpu");
        }
        let tree = Tree { root: Some("/data".into()), files: HashMap::new(), above: Vec::new() };
        let error = tree.below(Path::new("/other/cpu.wsp"), Path::new("/other")).unwrap_err();
        assert_eq!(error.to_string(), "/other/cpu.wsp does not lie below --root /data");
    }
}
