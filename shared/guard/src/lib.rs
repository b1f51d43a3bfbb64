//! Surviving a mapped file that somebody cuts short, or a disk that cannot give its bytes.
//!
//! A load from a page behind a file's end, or from a bad sector, raises SIGBUS, which ends the process. With
//! [`survive_truncation`] such a page becomes one of zeros in the reader's own mapping, the load is done again, and
//! the mapping is marked: what it gives from then on is not believed.
//!
//! Always true: the handler touches nothing but the list below, which is atomics in static memory, and pages of
//! mappings in that list; every other fault goes to whoever handled it before.
#![allow(unsafe_code, reason = "a signal handler, and a page put in the place of another")]

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Mappings that can be guarded at once; further ones lean on the size alone.
const GUARDED_MAX: usize = 1024;

/// One guarded mapping: free where `start` is zero.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

static SLOTS: [Slot; GUARDED_MAX] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), broken: AtomicBool::new(false) } };
        GUARDED_MAX];

/// Keeps a place in the list while a mapping exists; to be dropped before it is unmapped.
#[derive(Debug)]
pub struct Guard(&'static Slot);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.load(Relaxed), self.end.load(Relaxed))
    }
}

/// Stands in `start` while a slot is being filled: no mapping begins at this address.
const FILLING: usize = 1;

impl Guard {
    /// Guards a mapping; `None` where the list is full, and then it is like any other.
    ///
    /// # Safety
    ///
    /// `start` is where a mapping of `bytes` begins that is of a whole file, read-only, and not unmapped before the
    /// guard is dropped; whoever reads it takes zeros in it for what they are.
    pub unsafe fn new(start: usize, bytes: usize) -> Option<Guard> {
        let free = |slot: &&Slot| slot.start.compare_exchange(0, FILLING, Acquire, Relaxed).is_ok();
        let slot = SLOTS.iter().find(free)?;
        slot.broken.store(false, Relaxed);
        slot.end.store(start + bytes, Relaxed);
        // Release, pair "mapping guarded": a handler that finds the start finds its end. The Acquire half is
        // in `on_fault`.
        slot.start.store(start, Release);
        Some(Guard(slot))
    }

    /// Whether a page of it was missing when it was read.
    #[inline]
    pub fn is_broken(&self) -> bool {
        // Acquire: asked after what was read, and the handler ran between the two on the same thread, or on
        // another whose zeros were seen.
        self.0.broken.load(Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Release: the next mapping here comes after all that was done with this one.
        self.0.start.store(0, Release);
    }
}

/// What handled SIGBUS before.
static BEFORE: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();

/// From now on a guarded file that is cut short while this process reads it does not end the process.
///
/// For programs whose business is reading files of others: it takes SIGBUS, for the whole process and for good,
/// and hands on every fault that is not a reader's. Cheap to repeat.
///
/// # Errors
///
/// What the system says where the handler cannot be set.
pub fn survive_truncation() -> io::Result<()> {
    let mut first = false;
    let before = BEFORE.get_or_init(|| {
        first = true;
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: no action is given, and the pointer is to one that the call fills.
        match unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), before.as_mut_ptr()) } {
            // SAFETY: filled by the call, and zeroed before it.
            0 => Ok(unsafe { before.assume_init() }),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        }
    });
    if let Err(code) = before {
        return Err(io::Error::from_raw_os_error(*code));
    }
    if !first {
        return Ok(());
    }
    // SAFETY: an action is plain numbers, of which zero is one: no flags, nothing masked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
    // On the thread's own signal stack, where it has one: the handler before may need it.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is whole and its handler takes what SA_SIGINFO gives.
    match unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the system gives a description of the fault, which for SIGBUS has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code == libc::BUS_ADRERR && mend(address) {
        return;
    }
    hand_on(signal, info, context);
}

/// Puts zeros where a page of a guarded mapping is missing; says whether that was the case.
fn mend(address: usize) -> bool {
    // Acquire, pair "mapping guarded": the Release half is in `Guard::new`.
    let holds = |slot: &&Slot| {
        let start = slot.start.load(Acquire);
        start > FILLING && (start..slot.end.load(Relaxed)).contains(&address)
    };
    let Some(slot) = SLOTS.iter().find(holds) else { return false };
    // Before the load is done again: who sees the zeros sees this.
    slot.broken.store(true, Release);
    // SAFETY: takes a number and gives one; allowed in a handler on Linux, where it reads memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let start = address & !(page - 1);
    // SAFETY: the page lies in a mapping of a whole file, which ends on a page and is not unmapped before its
    // guard is dropped, so nothing but that mapping is replaced; whoever made the guard promised that zeros
    // will do.
    let mended = unsafe {
        libc::mmap(
            start as *mut libc::c_void,
            page,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    mended != libc::MAP_FAILED
}

/// Lets whoever handled the signal before have it.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(Ok(before)) = BEFORE.get() else { return };
    if matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        // The faulting load is done again on return, and then ends the process as it would have.
        // SAFETY: restores an action that was in force before.
        unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
        return;
    }
    // SAFETY: neither of the two special values, so it is a function that takes what its flags say; functions
    // of one argument are called with more without harm on the platforms Linux runs on.
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(before.sa_sigaction) };
    handler(signal, info, context);
}
