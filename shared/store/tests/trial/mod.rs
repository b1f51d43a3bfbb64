//! A disk on trial: real files, and beside them what of it a power cut would leave.
//!
//! Every step is done on the real disk, so that whoever runs sees what he wrote. The trial remembers what was not
//! made durable: bytes of a file since its last sync, names since the last sync of their directory. [`Trial::cut`]
//! builds the store as it might be after the power went at that moment: of what was not durable, any part.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dotter_store::disk::{Disk, System};

/// The folders of a store whose files are changed.
const FOLDERS: [&str; 6] = ["", "wal", "seg", "ledger", "kept", "hold"];

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// What goes wrong, counted in steps from the first, 0.
#[allow(dead_code, reason = "each test that uses this module has some of them")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// From this step on nothing is done any more: the process was killed there.
    Dies(u64),
    /// This many syncs succeed, the next one fails and loses what it should have kept, as systems do.
    SyncFails(u64),
    /// Between these steps there is no room.
    Full(u64, u64),
    /// Nothing, until [`Trial::dies_in`] says so.
    Later,
}

#[derive(Debug)]
pub(crate) struct Trial {
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: u64,
    /// The step from which on nothing is done, where [`Trial::dies_in`] said so.
    dies_at: Option<u64>,
    syncs: u64,
    /// By number, which no later file gets again.
    files: BTreeMap<u64, Content>,
    /// By inode, the number of the file that has it now.
    inodes: BTreeMap<u64, u64>,
    /// Names that would survive, with the file each is of.
    names: BTreeMap<PathBuf, u64>,
    /// What happened to names since, in order.
    renamed: Vec<Renamed>,
}

/// One file.
#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// Not synced, in order.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    /// The file is at least so long.
    Grow(u64),
    Shorten(u64),
}

/// Names that change together.
#[derive(Clone, Debug)]
struct Renamed {
    /// Gone.
    gone: Option<PathBuf>,
    /// There, and of which file.
    there: Option<(PathBuf, u64)>,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(at, new) => {
                let (at, end) = (*at as usize, *at as usize + new.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(new);
            }
            Change::Grow(length) => bytes.resize(bytes.len().max(*length as usize), 0),
            Change::Shorten(length) => bytes.truncate(*length as usize),
        }
    }
}

impl Renamed {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(path) = &self.gone {
            names.remove(path);
        }
        if let Some((path, file)) = &self.there {
            names.insert(path.clone(), *file);
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        let paths = self.gone.iter().chain(self.there.iter().map(|(path, _)| path));
        paths.into_iter().any(|path| path.parent() == Some(dir))
    }
}

impl Trial {
    pub(crate) fn new(fault: Fault) -> Trial {
        Trial { fault, state: Mutex::default() }
    }

    /// Takes the files of a store that is there already: they are durable.
    #[allow(dead_code, reason = "most tests that use this module make the store on it")]
    pub(crate) fn adopt(&self, dir: &Path) {
        let mut state = self.state.lock().unwrap();
        for folder in FOLDERS {
            // The folder of holds is made with the first.
            let files =
                fs::read_dir(dir.join(folder)).into_iter().flatten().map(|entry| entry.unwrap().path());
            for path in files.filter(|path| path.is_file()) {
                let number = state.files.len() as u64;
                let durable = fs::read(&path).unwrap();
                state.files.insert(number, Content { durable, pending: Vec::new() });
                state.inodes.insert(path.metadata().unwrap().ino(), number);
                state.names.insert(path, number);
            }
        }
    }

    /// Syncs of files asked for so far.
    #[allow(dead_code, reason = "not each test that uses this module counts them")]
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().unwrap().syncs
    }

    /// From now on so many steps are done, and then no more: what was done before is prepared by then.
    #[allow(dead_code, reason = "not each test that uses this module prepares something")]
    pub(crate) fn dies_in(&self, steps: u64) {
        let mut state = self.state.lock().unwrap();
        state.dies_at = Some(state.steps + steps);
    }

    /// Builds in `to` what a power cut now might leave of the store at `from`.
    ///
    /// - `dice`: gives a number below the one it is asked for
    pub(crate) fn cut(&self, from: &Path, to: &Path, dice: &mut dyn FnMut(u64) -> u64) {
        let state = self.state.lock().unwrap();
        let mut names = state.names.clone();
        // Some keep the order of names and some do not.
        let prefix = dice(2) == 0;
        let kept = dice(state.renamed.len() as u64 + 1);
        for (index, renamed) in state.renamed.iter().enumerate() {
            if if prefix { (index as u64) < kept } else { dice(2) == 0 } {
                renamed.apply(&mut names);
            }
        }
        for folder in FOLDERS {
            fs::create_dir_all(to.join(folder)).unwrap();
        }
        // By file, since names are random: the same dice then fall for the same file.
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|(_, file)| *file);
        for (path, file) in &names {
            let content = &state.files[file];
            let mut bytes = content.durable.clone();
            for change in &content.pending {
                match (dice(4), change) {
                    (0, change) => change.apply(&mut bytes),
                    // Torn at a sector.
                    (1, Change::Write(at, new)) => {
                        let sectors = dice(new.len() as u64 / SECTOR as u64 + 1) as usize;
                        Change::Write(*at, new[..sectors * SECTOR].to_vec()).apply(&mut bytes);
                    }
                    // Sectors are written in any order, so it may be the later ones that are there.
                    (2, Change::Write(at, new)) => {
                        let (mut from, end) = (*at, *at + new.len() as u64);
                        while from < end {
                            let until = (from + 1).next_multiple_of(SECTOR as u64).min(end);
                            if dice(2) == 0 {
                                let part = &new[(from - at) as usize..(until - at) as usize];
                                Change::Write(from, part.to_vec()).apply(&mut bytes);
                            }
                            from = until;
                        }
                    }
                    _ => {}
                }
            }
            fs::write(to.join(path.strip_prefix(from).unwrap()), bytes).unwrap();
        }
    }

    fn step(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let step = state.steps;
        state.steps += 1;
        let dies_at = match self.fault {
            Fault::Dies(at) => Some(at),
            _ => state.dies_at,
        };
        if dies_at.is_some_and(|at| step >= at) { Err(io::Error::other("killed here")) } else { Ok(()) }
    }

    /// A step that needs room.
    fn grow(&self) -> io::Result<()> {
        self.step()?;
        let step = self.state.lock().unwrap().steps - 1;
        match self.fault {
            Fault::Full(from, until) if (from..until).contains(&step) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn change(&self, file: &File, change: Change) {
        self.state.lock().unwrap().content(file).pending.push(change);
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.lock().unwrap();
        let sync = state.syncs;
        state.syncs += 1;
        let content = state.content(file);
        let changes = std::mem::take(&mut content.pending);
        if matches!(self.fault, Fault::SyncFails(at) if at == sync) {
            // The system takes the pages for clean from here on: a second sync would succeed and keep nothing.
            return Err(io::Error::from_raw_os_error(5));
        }
        changes.iter().for_each(|change| change.apply(&mut content.durable));
        Ok(())
    }

    fn renamed(&self, gone: Option<&Path>, there: Option<&Path>) {
        let mut state = self.state.lock().unwrap();
        let there = there.map(|path| (path.to_owned(), state.inodes[&path.metadata().unwrap().ino()]));
        state.renamed.push(Renamed { gone: gone.map(Path::to_owned), there });
    }
}

impl State {
    fn content(&mut self, file: &File) -> &mut Content {
        let number = self.inodes[&file.metadata().unwrap().ino()];
        self.files.get_mut(&number).expect("a file that was made here")
    }
}

impl Disk for Trial {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.grow()?;
        let file = System.create(path)?;
        {
            let mut state = self.state.lock().unwrap();
            let number = state.files.len() as u64;
            state.files.insert(number, Content::default());
            state.inodes.insert(file.metadata()?.ino(), number);
        }
        self.renamed(None, Some(path));
        Ok(file)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        // Over what is there already a write needs no room.
        if at + bytes.len() as u64 > file.metadata()?.len() {
            self.grow()?
        } else {
            self.step()?
        }
        System.write(file, path, bytes, at)?;
        self.change(file, Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn allocate(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        self.grow()?;
        System.allocate(file, path, bytes)?;
        self.change(file, Change::Grow(bytes));
        Ok(())
    }

    fn shorten(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        self.step()?;
        System.shorten(file, path, bytes)?;
        self.change(file, Change::Shorten(bytes));
        Ok(())
    }

    fn sync_data(&self, file: &File, _: &Path) -> io::Result<()> {
        self.sync(file)
    }

    fn sync_all(&self, file: &File, _: &Path) -> io::Result<()> {
        self.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        System.rename(from, to)?;
        self.renamed(Some(from), Some(to));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.grow()?;
        System.link(from, to)?;
        self.renamed(None, Some(to));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        System.remove(path)?;
        self.renamed(Some(path), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.lock().unwrap();
        let State { names, renamed, .. } = &mut *state;
        renamed.retain(|renamed| {
            let touches = renamed.touches(dir);
            if touches {
                renamed.apply(names);
            }
            !touches
        });
        Ok(())
    }
}
