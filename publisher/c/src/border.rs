//! The border itself: nothing unwinds over it, and what comes over it is looked at first.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::failure::Failure;

/// Runs what a function of the header does; what it gives where that fails is `otherwise`'s.
#[inline(always)]
pub(crate) fn guard<T>(otherwise: impl FnOnce(c_int) -> T, work: impl FnOnce() -> Result<T, Failure>) -> T {
    // Unwind safe: after a panic the handle is as it was, or holds one series more.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => done,
        Ok(Err(failure)) => otherwise(failure.note()),
        Err(panic) => {
            // What was thrown may throw again when it goes; nobody threw anything that needs to.
            std::mem::forget(panic);
            otherwise(Failure::bug().note())
        }
    }
}

/// What a function gives that gives pointers.
pub(crate) fn null<T>(_: c_int) -> *mut T {
    ptr::null_mut()
}

/// The same, to what C cannot change.
pub(crate) fn const_null<T>(_: c_int) -> *const T {
    ptr::null()
}

/// What a function gives that gives numbers.
pub(crate) fn code(code: c_int) -> c_int {
    code
}

/// The bytes of a C string.
///
/// # Safety
///
/// NULL, or a string that ends in a zero byte and stays as it is while the result is used.
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: not NULL in this arm; the rest is the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Text that must be UTF-8; `what` it is stands in the message.
pub(crate) fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::text(&format!(
            "the {what} is not UTF-8 from byte {} on; nothing was done",
            error.valid_up_to()
        ))
    })
}

/// A name that must be there.
///
/// # Safety
///
/// As [`bytes`].
pub(crate) unsafe fn name<'a>(text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    let name = unsafe { bytes(text) }.ok_or(Failure::null(c"the name is NULL; nothing was done"))?;
    utf8(name, "name")
}

/// A unit; NULL is none.
///
/// # Safety
///
/// As [`bytes`].
pub(crate) unsafe fn unit<'a>(text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    utf8(unsafe { bytes(text) }.unwrap_or_default(), "unit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dotter_last_code, dotter_last_error};

    #[test]
    fn a_panic_becomes_a_number_and_a_sentence() {
        assert_eq!(guard(code, || panic!("as it should")), -7);
        // SAFETY: the message is a C string, good until this thread's next failure.
        let message = unsafe { CStr::from_ptr(dotter_last_error()) };
        assert_eq!((dotter_last_code(), message.to_str().unwrap().contains("mistake")), (-7, true));
    }
}
