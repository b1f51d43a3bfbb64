//! Bundles the page from `web/` and embeds it, gzipped.
//!
//! - `DOTTER_UI=svg`: no bundle; the page is pictures drawn by the server
//! - `DOTTER_UI_DIST=folder`: `main.js`, `page.css` and `static.js` bundled before
//! - else npm fetches what `web/package-lock.json` names, by hash, into OUT_DIR, and esbuild bundles there; the
//!   source tree stays clean. Where npm is missing, fails or takes too long, the build goes on with the page of
//!   pictures and a warning.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

const NPM_TIME_MAX: Duration = Duration::from_secs(90);
const BUNDLE_TIME_MAX: Duration = Duration::from_secs(30);
const BUNDLED: [&str; 3] = ["main.js", "page.css", "static.js"];

fn main() {
    for variable in ["DOTTER_UI", "DOTTER_UI_DIST"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=web");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let web = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web");
    let page = out.join("page");
    fs::create_dir_all(&page).expect("OUT_DIR can be written");

    let kind = match bundle(&web, &out) {
        Ok((dist, kind)) => {
            for name in BUNDLED {
                embed(&dist.join(name), &page, name);
            }
            kind
        }
        Err(reason) => {
            if let Some(reason) = reason {
                println!("cargo::warning=the page is built without live plots: {reason}");
                // Never there, so cargo tries again at the next build.
                println!("cargo::rerun-if-changed={}", out.join("bundle-next-time").display());
            }
            without_bundle(&web, &page);
            "pictures"
        }
    };
    embed(&web.join("index.html"), &page, "index.html");
    embed(&web.join("icon.svg"), &page, "icon.svg");
    println!("cargo::rustc-env=DOTTER_PAGE_KIND={kind}");
    println!("cargo::rustc-check-cfg=cfg(dotter_pictures)");
    if kind == "pictures" {
        println!("cargo::rustc-cfg=dotter_pictures");
    }
}

/// The folder with the bundled files and what to call it; no reason where no bundle was asked for.
fn bundle(web: &Path, out: &Path) -> Result<(PathBuf, &'static str), Option<String>> {
    if let Some(dist) = env::var_os("DOTTER_UI_DIST") {
        let dist = PathBuf::from(dist);
        for name in BUNDLED {
            println!("cargo::rerun-if-changed={}", dist.join(name).display());
            if !dist.join(name).is_file() {
                return Err(Some(format!("DOTTER_UI_DIST has no {name}")));
            }
        }
        return Ok((dist, "prebuilt"));
    }
    match env::var("DOTTER_UI").as_deref() {
        Ok("svg") => return Err(None),
        Ok(other) if !other.is_empty() => {
            return Err(Some(format!("DOTTER_UI is '{other}', expected svg or nothing")));
        }
        _ => {}
    }
    let work = out.join("web");
    install(web, &work).map_err(Some)?;
    let dist = work.join("dist");
    let _ = fs::remove_dir_all(&dist);
    run(Command::new("npm").args(["run", "--silent", "bundle"]).current_dir(&work), BUNDLE_TIME_MAX)
        .map_err(Some)?;
    credit(&work, &dist).map_err(|error| Some(format!("cannot add the licence of uPlot: {error}")))?;
    Ok((dist, "bundled"))
}

/// Puts uPlot's licence in front of the script it is part of, as that licence asks.
fn credit(work: &Path, dist: &Path) -> io::Result<()> {
    let licence = fs::read_to_string(work.join("node_modules/uplot/LICENSE"))?;
    let script = fs::read_to_string(dist.join("main.js"))?;
    fs::write(
        dist.join("main.js"),
        format!("/*! Contains uPlot.\n{}\n*/\n{script}", licence.replace("*/", "* /")),
    )
}

/// Copies the sources to `work` and fetches what they need, unless it is there from the last build.
fn install(web: &Path, work: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot copy the page's sources: {error}");
    let _ = fs::remove_dir_all(work.join("src"));
    copy(web, work).map_err(cannot)?;
    let lock = fs::read(web.join("package-lock.json")).map_err(cannot)?;
    let stamp = work.join("installed-lock.json");
    if work.join("node_modules").is_dir() && fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let npm = [
        "ci",
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "--fetch-retries=0",
        "--fetch-timeout=15000",
    ];
    run(Command::new("npm").args(npm).current_dir(work), NPM_TIME_MAX)?;
    fs::write(&stamp, lock).map_err(cannot)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name != OsStr::new("node_modules") && name != OsStr::new("dist") {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// Runs to the end, or kills what takes too long.
fn run(command: &mut Command, time_max: Duration) -> Result<(), String> {
    let shown = format!(
        "{} {}",
        command.get_program().display(),
        command.get_args().next().unwrap_or_default().display()
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run '{shown}': {error}"))?;
    // Read beside the waiting, so that a talkative npm is never stopped by a full pipe.
    let talk = child.stderr.take().map(|stderr| std::thread::spawn(move || io::read_to_string(stderr)));
    let ended = wait(&mut child, time_max).map_err(|error| format!("'{shown}': {error}"))?;
    let talk = match talk {
        // A grandchild may hold the pipe open after the child was killed; then nobody waits for it.
        Some(thread) if ended.is_some() => thread.join().ok().and_then(Result::ok).unwrap_or_default(),
        _ => String::new(),
    };
    match ended {
        Some(true) => Ok(()),
        Some(false) => {
            let why = talk.lines().find(|line| line.contains("rror")).unwrap_or("no reason given").trim();
            Err(format!("'{shown}' failed: {}", why.chars().take(200).collect::<String>()))
        }
        None => Err(format!("'{shown}' took more than {} s", time_max.as_secs())),
    }
}

/// Whether it ended well; `None` where it had to be killed.
fn wait(child: &mut Child, time_max: Duration) -> io::Result<Option<bool>> {
    let until = Instant::now() + time_max;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// What the page of pictures needs can be served as it stands in the sources.
fn without_bundle(web: &Path, page: &Path) {
    let css = fs::read_to_string(web.join("src/page.css")).expect("the style sheet is part of the sources");
    let css: String =
        css.lines().filter(|line| !line.starts_with("@import")).map(|line| format!("{line}\n")).collect();
    write(page, "page.css", css.as_bytes());
    write(page, "main.js", b"");
    embed(&web.join("src/static.js"), page, "static.js");
}

fn embed(from: &Path, page: &Path, name: &str) {
    let bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    write(page, name, &bytes);
}

fn write(page: &Path, name: &str, bytes: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let zipped = gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory can be written");
    fs::write(page.join(name), bytes).expect("OUT_DIR can be written");
    fs::write(page.join(format!("{name}.gz")), zipped).expect("OUT_DIR can be written");
}
