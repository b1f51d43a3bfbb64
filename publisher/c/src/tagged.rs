//! What C holds a pointer to: something of ours behind a word that says what it is.
//!
//! Always true: the word is there from the making to the end, when it is struck out; so NULL, a pointer to
//! something else of ours, and (while nobody else has the memory) one to something that was closed are
//! answered with a sentence instead of being believed.

use std::ffi::CStr;
use std::ptr;

use crate::failure::Failure;

/// Something that C holds a pointer to.
pub trait Tag {
    /// What stands in front of it, unlike that of any other.
    const TAG: [u8; 8];
    /// What is said where the pointer is NULL.
    const ABSENT: &'static CStr;
    /// What is said where it points to something else.
    const OTHER: &'static CStr;
}

/// Says how one thing is told from another.
macro_rules! tag {
    ($type:ty, $tag:literal, $name:literal) => {
        impl $crate::tagged::Tag for $type {
            const TAG: [u8; 8] = *$tag;
            const ABSENT: &'static std::ffi::CStr =
                $crate::tagged::text(concat!($name, " is NULL; nothing was done\0"));
            const OTHER: &'static std::ffi::CStr =
                $crate::tagged::text(concat!($name, " is something else, or is closed; nothing was done\0"));
        }
    };
}
pub(crate) use tag;

/// A C string of a literal with its zero byte.
pub(crate) const fn text(bytes: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the literal has one zero byte, at its end"),
    }
}

/// A thing and its tag.
#[repr(C)]
pub struct Tagged<T> {
    tag: [u8; 8],
    it: T,
}

impl<T: Tag> Tagged<T> {
    pub(crate) fn new(it: T) -> Tagged<T> {
        Tagged { tag: T::TAG, it }
    }

    /// The thing that C's pointer is to.
    ///
    /// # Safety
    ///
    /// `pointer`: NULL or one to eight bytes that can be read; where they are the tag, one to a living thing
    /// of that kind, which nobody has another than a shared reference to.
    #[inline(always)]
    pub(crate) unsafe fn of<'a>(pointer: *const Tagged<T>) -> Result<&'a T, Failure> {
        if pointer.is_null() {
            return Err(Failure::absent(T::ABSENT));
        }
        // SAFETY: the caller's promise; the tag comes first and, being bytes, may lie anywhere.
        if unsafe { pointer.cast::<[u8; 8]>().read() } != T::TAG {
            return Err(Failure::handle(T::OTHER));
        }
        // SAFETY: the caller's promise for what has the tag.
        Ok(unsafe { &(*pointer).it })
    }
}

impl<T> Drop for Tagged<T> {
    fn drop(&mut self) {
        // SAFETY: a field of our own. Volatile, or the compiler would leave out what nobody may read.
        unsafe { ptr::write_volatile(&raw mut self.tag, [0; 8]) }
    }
}
