//! The layers of the crate, by its `use` lines: format, disk, read, write. A layer uses itself and those before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first.
const LAYERS: [&str; 4] = ["format", "disk", "read", "write"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments, and without its tests, which stand at its foot and may use whatever shows
/// what they show.
fn code(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(crate) mod tests {"];
    let end = tests.iter().find_map(|tests| text.find(tests)).unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |code, line| code + line + "\n")
}

/// Every path below `crate::` that a text names, braces taken apart.
fn paths(text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let end = rest
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'))
            .unwrap_or(rest.len());
        let stem: Vec<String> =
            rest[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        found.insert(stem.clone());
        if let Some(inside) = rest[end..].strip_prefix('{') {
            let inside = &inside[..inside.find('}').expect("a brace that opens is closed")];
            for item in inside.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "self") {
                found.insert(stem.iter().cloned().chain([item.to_owned()]).collect());
            }
        }
    }
    found
}

/// Every file with its layer's place, its code, and its path below `src`.
fn files() -> Vec<(usize, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let mut files = Vec::new();
    for path in found {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let Some((folder, _)) = name.split_once('/') else { continue };
        let layer = LAYERS.iter().position(|layer| *layer == folder);
        let layer = layer.unwrap_or_else(|| panic!("{name}: the folder is none of {LAYERS:?}"));
        let text = fs::read_to_string(&path).unwrap();
        files.push((layer, code(&text), name));
    }
    files
}

#[test]
fn no_layer_uses_one_above_it() {
    let files = files();
    for (place, layer) in LAYERS.iter().enumerate() {
        assert!(files.iter().any(|file| file.0 == place), "{layer} has files");
    }
    let mut wrong = Vec::new();
    for (layer, text, name) in &files {
        for path in paths(text) {
            let used = path.first().and_then(|first| LAYERS.iter().position(|layer| layer == first));
            let is_root = used.is_none() && !matches!(path[0].as_str(), "error" | "Error");
            if used.is_some_and(|used| used > *layer) || is_root {
                wrong.push(format!("{name} uses crate::{}", path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "an arrow points up, or past the layers:\n{}", wrong.join("\n"));
}

#[test]
fn format_touches_neither_files_nor_clocks() {
    for (layer, text, name) in files() {
        if layer > 0 {
            continue;
        }
        for word in [
            "std::fs",
            "std::io::",
            "nix::",
            "rustix::",
            "memmap2",
            "SystemTime",
            "Instant",
            "Timestamp::now",
        ] {
            assert!(!text.replace("os::unix::", "").contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn the_reader_of_use_lines_sees_what_is_there() {
    let found =
        paths("use crate::write::seal;\nuse crate::read::{self, scan::Row};\nlet x = crate::disk::on(y);");
    let found: BTreeMap<String, ()> = found.into_iter().map(|path| (path.join("::"), ())).collect();
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["disk::on", "read", "read::scan::Row", "write::seal"]);
}
