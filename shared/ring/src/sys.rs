//! System calls and instructions that have no safe form.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// This processor's time stamp counter; zero where it has none, see [`crate::clock`] for when it is a clock.
#[inline(always)]
pub(crate) fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and where a system forbids it to programs its
    // kernel does not use it as the clock source either, which is asked for before any dot is stamped.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// The wall clock, nanoseconds since the epoch; zero before 1970.
#[inline]
pub(crate) fn realtime_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to a timespec, which the call fills; for this clock it cannot fail.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, time.as_mut_ptr());
        time.assume_init()
    };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Fills `bytes` from the system's random numbers.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: pointer and length are those of `rest`.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => done += count,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// The user this process acts as.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether the user this process acts as may make files in a directory.
pub(crate) fn may_write(dir: &Path) -> bool {
    let Ok(dir) = CString::new(dir.as_os_str().as_bytes()) else { return false };
    let how = libc::W_OK | libc::X_OK;
    // SAFETY: a string that ends in a zero byte and lives through the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, dir.as_ptr(), how, libc::AT_EACCESS) == 0 }
}

/// The system's number of this thread.
pub(crate) fn thread_id() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() as u64 }
}

/// What the system says of the file that a descriptor's number stands for.
///
/// Async-signal-safe, as is [`close`]: a forked child calls both before anything else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// How many names the file has.
    pub(crate) links: u64,
    /// How long the file is, in bytes.
    pub(crate) bytes: u64,
}

/// Asks for the status of a descriptor; `None` where the number stands for no open file.
pub(crate) fn status(number: RawFd) -> Option<Status> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a number that stands for nothing is an error; the pointer is to a struct that the call fills.
    if unsafe { libc::fstat(number, status.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it filled the struct.
    let status = unsafe { status.assume_init() };
    // The types of these fields differ from platform to platform.
    #[allow(clippy::unnecessary_cast)]
    Some(Status {
        device: status.st_dev as u64,
        inode: status.st_ino as u64,
        links: status.st_nlink as u64,
        bytes: status.st_size as u64,
    })
}

/// Closes a descriptor by its number, which the caller has just compared with the file it means.
pub(crate) fn close(number: RawFd) {
    // SAFETY: takes a number; one that stands for nothing is an error, which changes nothing.
    unsafe { libc::close(number) };
}

/// A descriptor as a file, by its number, which the caller has just compared with the file it means. Whoever
/// holds the number closes it.
pub(crate) fn file(number: RawFd) -> ManuallyDrop<File> {
    // SAFETY: the number was open a moment ago; it is not closed from here, as the file is never dropped. Where
    // another thread closes it now, calls on it answer an error, or reach what that thread opened: as they
    // would in any library of a program that closes descriptors of others.
    ManuallyDrop::new(unsafe { File::from_raw_fd(number) })
}

/// Gives `offset..offset + bytes` of `file` room on its disk; the file grows to the end of that at least.
pub(crate) fn allocate(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` is.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset as i64, bytes as i64) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// A write lock over the whole file, as `fcntl` takes it.
fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: the struct is plain numbers, zero is one of them.
    let mut lock: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the owner lock: a POSIX record lock, which falls when this process closes any descriptor of the file.
pub(crate) fn lock_owner(file: &File) -> io::Result<()> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, the pointer is to a lock description.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether another process holds the owner lock; never sees the asker's own.
pub(crate) fn owner_lock_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, the pointer is to a lock description that the call may change.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Renames `from` to `to`, which must not exist.
pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    let c = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let (from_c, to_c) = (c(from)?, c(to)?);
    // SAFETY: both are strings that end in a zero byte and live through the call.
    let code = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            from_c.as_ptr(),
            libc::AT_FDCWD,
            to_c.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
        return Err(error);
    }
    // A file system without that flag: a second name does not replace either.
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

/// Calls `prepare` before every fork, then `parent` and `child` in the respective process, for ever.
pub(crate) fn at_fork(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> io::Result<()> {
    // SAFETY: the three are functions of this program that take nothing, unwind never, and are never unloaded.
    match unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
