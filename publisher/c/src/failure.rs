//! What went wrong last, thread by thread: a number for the program and a sentence for its user.
//!
//! Always true: nothing here allocates, or frees, for what a signal handler can run into.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Write as _;

use dotter_publisher::Error;

/// A number of `dotter.h` and the sentence that goes with it.
pub(crate) struct Failure {
    code: c_int,
    message: Cow<'static, CStr>,
    /// Likely no more than a consequence of the failure before, which says more.
    follows: bool,
}

/// `DOTTER_NULL`
const NULL: c_int = -1;
/// `DOTTER_TEXT`
const TEXT: c_int = -2;
/// `DOTTER_SIZE`
const SIZE: c_int = -3;
/// `DOTTER_OWNED`
const OWNED: c_int = -4;
/// `DOTTER_FILE`
const FILE: c_int = -5;
/// `DOTTER_SYSTEM`
const SYSTEM: c_int = -6;
/// `DOTTER_BUG`
const BUG: c_int = -7;
/// `DOTTER_COLUMNS`
const COLUMNS: c_int = -8;
/// `DOTTER_HANDLE`
const HANDLE: c_int = -9;
/// `DOTTER_BUSY`
const BUSY: c_int = -10;

thread_local! {
    static CODE: Cell<c_int> = const { Cell::new(0) };
    /// What to say, where it is one of the sentences made before.
    static CONSTANT: Cell<Option<&'static CStr>> = const { Cell::new(Some(c"")) };
    /// The last one that was made; kept under a constant one, for it cannot be freed just anywhere.
    static MADE: RefCell<CString> = RefCell::default();
}

impl Failure {
    /// A pointer that must not be NULL.
    pub(crate) const fn null(message: &'static CStr) -> Failure {
        Failure { code: NULL, message: Cow::Borrowed(message), follows: false }
    }

    /// A publisher or series that is NULL, most likely because making it failed.
    pub(crate) const fn absent(message: &'static CStr) -> Failure {
        Failure { code: NULL, message: Cow::Borrowed(message), follows: true }
    }

    /// A pointer to something else than it should be.
    pub(crate) const fn handle(message: &'static CStr) -> Failure {
        Failure { code: HANDLE, message: Cow::Borrowed(message), follows: false }
    }

    /// A lane that is being written to.
    pub(crate) const fn busy(message: &'static CStr) -> Failure {
        Failure { code: BUSY, message: Cow::Borrowed(message), follows: false }
    }

    /// A line that is no text.
    pub(crate) const fn line(message: &'static CStr) -> Failure {
        Failure { code: TEXT, message: Cow::Borrowed(message), follows: false }
    }

    /// A size that cannot be, where a signal handler can run into it.
    pub(crate) const fn constant_size(message: &'static CStr) -> Failure {
        Failure { code: SIZE, message: Cow::Borrowed(message), follows: false }
    }

    /// Letters or columns that cannot be.
    pub(crate) fn columns(message: &str) -> Failure {
        Failure::new(COLUMNS, message)
    }

    /// A text that is none.
    pub(crate) fn text(message: &str) -> Failure {
        Failure::new(TEXT, message)
    }

    /// A struct or buffer of a size that cannot be.
    pub(crate) fn size(message: &str) -> Failure {
        Failure::new(SIZE, message)
    }

    /// Called from a signal handler that interrupted the very thing it asks for.
    pub(crate) const fn interrupted() -> Failure {
        let message = c"this cannot be done inside a signal handler that interrupted it; nothing was done";
        Failure { code: SYSTEM, message: Cow::Borrowed(message), follows: false }
    }

    /// A panic, which is a mistake in Dotter.
    pub(crate) const fn bug() -> Failure {
        let message = c"a mistake in libdotter; what it says of it is on standard error";
        Failure { code: BUG, message: Cow::Borrowed(message), follows: false }
    }

    fn new(code: c_int, message: &str) -> Failure {
        // Paths and names may hold anything but cannot hold zeros; should one come up, it is left out.
        let bytes: Vec<u8> = message.bytes().filter(|byte| *byte != 0).collect();
        Failure { code, message: Cow::Owned(CString::new(bytes).unwrap_or_default()), follows: false }
    }

    /// Makes it what this thread's `dotter_last_error` says, and gives its number.
    pub(crate) fn note(self) -> c_int {
        if self.follows && !matches!(last_code(), 0 | NULL) {
            return self.code;
        }
        // At a thread's end, or in a handler that interrupted this very line, nobody could ask for it.
        let _ = CODE.try_with(|code| code.set(self.code));
        let constant = match self.message {
            Cow::Borrowed(message) => Some(message),
            Cow::Owned(message) => MADE
                .try_with(|made| {
                    made.try_borrow_mut().map(|mut made| {
                        *made = message;
                        None
                    })
                })
                .ok()
                .and_then(Result::ok)
                .unwrap_or(Some(c"something else went wrong meanwhile")),
        };
        let _ = CONSTANT.try_with(|shown| shown.set(constant));
        self.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::Name { .. } | Error::Application { .. } => TEXT,
            Error::Columns { .. } => COLUMNS,
            Error::Size { .. } => SIZE,
            Error::Owned { .. } => OWNED,
            Error::File { .. } | Error::NotARing { .. } | Error::Version { .. } | Error::Header { .. } => {
                FILE
            }
            _ => SYSTEM,
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        Failure::new(code, &message)
    }
}

/// The number of this thread's last failure; zero before the first.
pub(crate) fn last_code() -> c_int {
    CODE.try_with(Cell::get).unwrap_or(0)
}

/// The sentence of this thread's last failure, empty before the first; good until the thread's next one.
pub(crate) fn last_message() -> *const c_char {
    match CONSTANT.try_with(Cell::get) {
        Ok(None) => {
            let made = MADE.try_with(|made| made.try_borrow().map(|made| made.as_ptr()));
            made.ok().and_then(Result::ok).unwrap_or(c"".as_ptr())
        }
        Ok(Some(message)) => message.as_ptr(),
        Err(_) => c"".as_ptr(),
    }
}
