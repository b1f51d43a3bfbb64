//! `struct dotter_text`: a series of lines of text.

use std::ffi::{c_char, c_int};
use std::ptr;

use dotter_publisher::{Text, Timestamp};

use crate::border::{code, const_null, guard, name};
use crate::failure::Failure;
use crate::publisher::Handle;
use crate::tagged::{Tagged, tag};

tag!(Text, b"dot:text", "the text");

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts). `name`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_text(
    dotter: *const Tagged<Handle>,
    name_text: *const c_char,
) -> *const Tagged<Text> {
    guard(const_null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        // SAFETY: the caller's promise.
        let lines = handle.publisher.lines(unsafe { name(name_text) }?)?;
        handle.kept(|kept| {
            let text = kept.texts.entry(lines.name().clone());
            ptr::from_ref(&**text.or_insert_with(|| Box::new(Tagged::new(lines))))
        })
    })
}

/// A line as C gives it.
///
/// # Safety
///
/// `line`: NULL, or so many bytes that stay as they are while the result is used.
#[inline(always)]
pub(crate) unsafe fn line<'a>(line: *const c_char, bytes: usize) -> Result<&'a str, Failure> {
    if bytes == 0 {
        return Ok("");
    }
    if line.is_null() {
        return Err(Failure::null(c"the line is NULL; it is not published"));
    }
    if bytes > isize::MAX as usize {
        return Err(Failure::constant_size(c"the line has more bytes than there are; it is not published"));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    let line = unsafe { std::slice::from_raw_parts(line.cast::<u8>(), bytes) };
    // Nothing is made for this answer: a signal handler may ask.
    std::str::from_utf8(line).map_err(|_| Failure::line(c"the line is not UTF-8; it is not published"))
}

/// See `dotter.h`.
///
/// # Safety
///
/// `text`: NULL, or of a publisher that is not closed. `line`: NULL, or so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_line(
    text: *const Tagged<Text>,
    line_bytes: *const c_char,
    bytes: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; nobody has another than a shared reference.
        let (text, line) = unsafe { (Tagged::of(text)?, line(line_bytes, bytes)?) };
        text.line(line);
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_line`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_line_at(
    text: *const Tagged<Text>,
    nanoseconds: u64,
    line_bytes: *const c_char,
    bytes: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_line`.
        let (text, line) = unsafe { (Tagged::of(text)?, line(line_bytes, bytes)?) };
        text.line_at(Timestamp::from_nanos(nanoseconds), line);
        Ok(0)
    })
}
