//! The programs under test, built from these sources before the first of them starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where `name` is, built with the profile of the running test.
///
/// The first call of a process asks cargo to bring all programs up to date, which takes a moment where they are.
///
/// # Panics
///
/// Where they cannot be built.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let path = DIRECTORY.get_or_init(build).join(name);
    assert!(path.is_file(), "there is no {}: expected a program of this workspace", path.display());
    path
}

/// Builds, and says into which directory.
fn build() -> PathBuf {
    // target/debug/deps/kill-0123456789abcdef, or target/debug/dotter-bench-pipeline
    let own = std::env::current_exe().expect("a running program has a file");
    let directory = own.parent().expect("a file is in a directory");
    let directory = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    let directory = directory.expect("deps lies in the directory of a profile");
    let target = directory.parent().expect("a profile lies in the target directory");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} is no directory of a profile", directory.display()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cannot build:\n{}", String::from_utf8_lossy(&output.stderr));
    directory.to_owned()
}
